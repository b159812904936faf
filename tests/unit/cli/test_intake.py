"""`foedus intake`: its commands, and the gateway's way to outboxes and nodes. The nodes are fakes, the broker amqtt."""

import asyncio
import stat
from pathlib import Path

import pytest

from node.cli.author import Author
from node.cli.client import LedgerClient, node_at
from node.cli.intake_ledger import NodesAccess, OutboxChains
from node.cli.nodes import Nodes
from node.cli.outbox import FileOutbox
from node.cli.statements import Draft
from node.intake.adapter import BrokerSettings, Subscription
from node.intake.chains import ChainBusy, EntryRefused, NodeUnavailable
from node.intake.loopback import loopback_broker
from node.intake.reading import parse_reading
from node.intake.settings import DeviceTable, FacilityTable, IntakeSettings, documented_intake
from node.signing.keystore import write_agency_keys
from node.signing.statements import entry_hash
from tests.e2e.cluster import free_ports
from tests.unit.cli.conftest import Run, document_of
from tests.unit.cli.fake_network import CHEAP_KDF, OPERATOR, PASSPHRASE, FakeNetwork
from tests.unit.cli.fake_nodes import Mood

NOTE = {"type": "evidence", "about": "KE", "hash": "ab" * 32}


def chains_of(network: FakeNetwork, folder: Path) -> OutboxChains:
    return OutboxChains(folder, ledger=network.founded.chain_id, keys={"acme": OPERATOR})


def content_of(network: FakeNetwork) -> bytes:
    author = Author(OPERATOR, ledger=network.founded.chain_id)
    return author.content(Draft(kind="note", body=NOTE))


def signed(network: FakeNetwork, folder: Path) -> bytes:
    with chains_of(network, folder).open("acme") as chain:
        entry = chain.sign(content_of(network))
        chain.record(entry)
    return entry


def nodes_of(network: FakeNetwork, *states: str) -> Nodes:
    founded = network.founded
    clients = [
        LedgerClient(
            node_at(
                founded.genesis, founded.chain_id, state, f"127.0.0.1:{network.nodes[state].port}"
            ),
            call_s=2,
        )
        for state in states
    ]
    return Nodes(clients, members=len(founded.genesis.members))


# Outboxes


def test_the_gateway_and_the_command_share_one_chain(network: FakeNetwork, tmp_path: Path) -> None:
    """One signs, then the other: no seq is used twice, and neither is blind to what the other left."""
    first = signed(network, tmp_path)
    with FileOutbox(tmp_path, ledger=network.founded.chain_id, author="acme") as box:
        by_hand = Author(OPERATOR, ledger=network.founded.chain_id, outbox=box)
        second = by_hand.say("note", NOTE).entry
    third = signed(network, tmp_path)
    with chains_of(network, tmp_path).open("acme") as chain:
        assert chain.kept(1) == {1: first, 2: second, 3: third}
        assert chain.kept(3) == {3: third}
        assert (chain.tip.seq, chain.tip.entry_hash) == (3, entry_hash(third))
        chain.forget_final(2)
        assert list(chain.kept(1)) == [3]


def test_while_one_signs_the_other_waits(network: FakeNetwork, tmp_path: Path) -> None:
    chains = chains_of(network, tmp_path)
    by_hand = FileOutbox(tmp_path, ledger=network.founded.chain_id, author="acme")
    with by_hand, pytest.raises(ChainBusy, match="acme"), chains.open("acme"):
        pass
    with chains.open("acme") as chain:
        assert chain.tip.seq == 0


# Nodes


async def test_an_entry_goes_to_the_next_node_and_final_is_proven(
    network: FakeNetwork, tmp_path: Path
) -> None:
    entry = signed(network, tmp_path)
    network.nodes["KE"].mood = Mood.STARTING
    async with nodes_of(network, "KE", "BR") as nodes:
        access = NodesAccess(nodes, network.founded.trust_policy)
        assert await access.final(entry) is None
        await access.submit(entry)
        await access.submit(entry)
        final = await access.final(entry)
        assert final is not None
        assert network.log.leaves[final.index] == entry
        assert final.code == ""
        tip = await access.tip("acme")
        assert (tip.logged.seq, tip.logged.entry_hash) == (1, entry_hash(entry))
        assert await access.used("acme", 1, entry_hash(entry)) is True
        assert await access.used("acme", 1, bytes(32)) is False
        assert await access.used("acme", 2, bytes(32)) is None


async def test_final_by_a_nodes_word_alone_is_not_believed(
    network: FakeNetwork, tmp_path: Path
) -> None:
    entry = signed(network, tmp_path)
    network.nodes["KE"].mood = Mood.BOASTING
    async with nodes_of(network, "KE", "BR") as nodes:
        access = NodesAccess(nodes, network.founded.trust_policy)
        await access.submit(entry)
        assert (await access.final(entry)) is not None, "BR proves what KE cannot"
    async with nodes_of(network, "KE") as nodes:
        with pytest.raises(NodeUnavailable, match="it says final"):
            await NodesAccess(nodes, network.founded.trust_policy).final(entry)


async def test_a_deaf_node_is_passed_by(network: FakeNetwork, tmp_path: Path) -> None:
    """RULINGS R59: f+1 nodes get what the first has not included in time."""
    entry, now = signed(network, tmp_path), [0.0]
    network.nodes["KE"].mood = Mood.DEAF
    async with nodes_of(network, "KE", "BR", "GB") as nodes:
        access = NodesAccess(
            nodes, network.founded.trust_policy, next_after_s=5, clock=lambda: now[0]
        )
        await access.submit(entry)
        assert await access.final(entry) is None
        assert entry not in network.nodes["BR"].given
        now[0] = 5.0
        await access.submit(entry)
        assert entry in network.nodes["BR"].given
        assert entry not in network.nodes["GB"].given, "f+1 = 2 of five"
        assert await access.final(entry) is not None


@pytest.mark.parametrize(
    ("mood", "error", "code"),
    [
        (Mood.REFUSING, EntryRefused, "UNKNOWN_AUTHOR"),
        (Mood.BUSY, NodeUnavailable, ""),
        (Mood.FORGING, NodeUnavailable, ""),
        (Mood.STARTING, NodeUnavailable, ""),
    ],
)
async def test_what_a_node_will_not_is_one_of_two_errors(
    network: FakeNetwork, tmp_path: Path, mood: Mood, error: type[Exception], code: str
) -> None:
    entry = signed(network, tmp_path)
    network.nodes["KE"].mood = mood
    async with nodes_of(network, "KE") as nodes:
        with pytest.raises(error) as caught:
            await NodesAccess(nodes, network.founded.trust_policy).submit(entry)
    assert getattr(caught.value, "code", "") == code


async def test_a_dropped_and_a_rejected_entry_say_why(network: FakeNetwork, tmp_path: Path) -> None:
    entry = signed(network, tmp_path)
    async with nodes_of(network, "KE") as nodes:
        access = NodesAccess(nodes, network.founded.trust_policy)
        network.nodes["KE"].mood = Mood.DROPPING
        await access.submit(entry)
        with pytest.raises(EntryRefused) as caught:
            await access.final(entry)
        assert caught.value.code == "COUNTERSIGN"
        network.nodes["KE"].mood = Mood.REJECTING
        await access.submit(entry)
        final = await access.final(entry)
        assert final is not None
        assert final.code == "LATE"


# Commands


def test_init_writes_once(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "intake.toml"
    assert document_of(run("intake", "init", path, "--json")) == {"file": str(path)}
    assert "# Seconds after a period's end" in path.read_text(encoding="utf-8")
    run("intake", "init", path, status=2)


def furnished(network: FakeNetwork, folder: Path) -> Path:
    """A gateway's folder in which nothing is missing."""
    write_agency_keys(folder / "operator.key", OPERATOR, PASSPHRASE, cost=CHEAP_KDF)
    (folder / "genesis.cbor").write_bytes(network.founded.document)
    settings = IntakeSettings(
        home=folder,
        facility=(FacilityTable(facility="dc1", state="KE", anchor_s=1),),
        device=(DeviceTable(facility="dc1", device="m1", public_key=OPERATOR.author.public.hex()),),
    )
    (folder / "intake.toml").write_text(documented_intake(settings), encoding="utf-8")
    return folder / "intake.toml"


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        ("settings", "foedus intake init"),
        ("genesis", "genesis.cbor"),
        ("mode", "chmod 600"),
        ("node", "no member of this ledger"),
        ("passphrase", "passphrase"),
    ],
)
def test_run_names_what_is_missing_and_starts_nothing(
    run: Run, network: FakeNetwork, tmp_path: Path, breakage: str, words: str
) -> None:
    config = furnished(network, tmp_path)
    options = network.passphrase_options()
    match breakage:
        case "settings":
            config.unlink()
        case "genesis":
            (tmp_path / "genesis.cbor").unlink()
        case "mode":
            (tmp_path / "operator.key").chmod(0o640)
        case "node":
            text = config.read_text(encoding="utf-8").replace('nodes = ""', 'nodes = "FR"')
            config.write_text(text, encoding="utf-8")
        case _:
            options = []
    result = run("intake", "run", "--config", config, *options, "--json", status=2)
    assert words in document_of(result)["error"]
    assert not (tmp_path / "intake.journal").exists()


async def test_a_device_publishes_signed_readings_and_never_uses_a_number_twice(
    run: Run, network: FakeNetwork, tmp_path: Path
) -> None:
    key = tmp_path / "m1.key"
    write_agency_keys(key, OPERATOR, PASSPHRASE, cost=CHEAP_KDF)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    (port,) = free_ports(1)
    arguments = [
        *("intake", "device", "--keys", key, "--topic", "KE/dc1/m1/energy"),
        *("--home", network.home("US"), "--broker", f"127.0.0.1:{port}", "--within", "20"),
        *network.passphrase_options(),
        "--json",
    ]
    broker = BrokerSettings(host="127.0.0.1", port=port, identifier="listener")
    async with loopback_broker(port), Subscription(broker, "foedus/v1/#") as subscription:
        first = await asyncio.to_thread(run, *arguments, "5", "9")
        second = await asyncio.to_thread(run, *arguments, typed="1700000000 12\n\n15\n")
        heard = []
        async for burst in subscription.bursts(10):
            heard += [parse_reading(each.topic, each.payload) for each in burst]
            subscription.acknowledge(burst)
            if len(heard) == 4:
                break
    assert document_of(first) == {
        "topic": "foedus/v1/KE/dc1/m1/energy",
        "published": 2,
        "next_sequence": 3,
    }
    assert document_of(second)["next_sequence"] == 5
    assert [(reading.sequence, reading.value) for reading in heard] == [
        *((1, 5), (2, 9), (3, 12), (4, 15)),
    ]
    assert heard[2].time_s == 1_700_000_000


def test_a_device_without_a_broker_says_so(run: Run, network: FakeNetwork, tmp_path: Path) -> None:
    key = tmp_path / "m1.key"
    write_agency_keys(key, OPERATOR, PASSPHRASE, cost=CHEAP_KDF)
    (port,) = free_ports(1)
    result = run(
        *("intake", "device", "1", "--keys", key, "--topic", "KE/dc1/m1/energy"),
        *("--home", network.home("US"), "--broker", f"127.0.0.1:{port}", "--within", "0.5"),
        *network.passphrase_options(),
        status=2,
    )
    assert str(port) in result.stderr
    result = run(
        *("intake", "device", "1", "--keys", key, "--topic", "KE/dc1/m1/heat"),
        *("--home", network.home("US"), *network.passphrase_options()),
        status=2,
    )
    assert "want one of power, energy, pflop" in result.stderr

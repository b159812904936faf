"""`foedus log`, `receipt`, `status`, `motions`, `cases`, `runs`, `facilities`, `node run`. The nodes are fakes."""

import base64
import json
import os
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from foedus.v1 import client_pb2 as pb
from node.api.access import reader_message
from node.cli.author import Author
from node.cli.client import LedgerClient, Reader, node_at
from node.cli.errors import BadAnswer, CouldNot, Refused, TooLate, Unreachable
from node.cli.nodes import Nodes
from node.cli.receipts import UntrustedReceipt, receipt_file, verify_receipt
from node.log.cose import encode_transparent, parse_transparent
from node.log.policy import parse_policy
from node.signing.verify import verify_ed25519
from tests.unit.cli.conftest import Run, document_of
from tests.unit.cli.fake_network import OPERATOR, FakeNetwork
from tests.unit.cli.fake_nodes import Mood

NOTE = {"type": "evidence", "about": "KE", "hash": "ab" * 32}


def fill(network: FakeNetwork, count: int) -> list[bytes]:
    """So many notes by acme in the log, from index 1."""
    acme = Author(OPERATOR, ledger=network.founded.chain_id)
    entries = [acme.say("note", NOTE).entry for _ in range(count)]
    for entry in entries:
        network.log.append(entry)
    return entries


def at(network: FakeNetwork, *nodes: str) -> list[str]:
    return ["--home", network.home("US"), *network.node_options(*(nodes or ("KE",)))]


# --- log ---------------------------------------------------------------------------------------------------------


def test_list_pages_through_the_log(run: Run, network: FakeNetwork) -> None:
    fill(network, 5)
    shown = document_of(run("log", "list", *at(network), "--json"))
    assert [entry["index"] for entry in shown["entries"]] == [0, 1, 2, 3, 4, 5]
    assert [entry["kind"] for entry in shown["entries"]] == ["genesis", *["note"] * 5]
    assert shown["entries"][1]["content"]["body"]["about"] == "KE"
    limited = document_of(run("log", "list", *at(network), "--limit", "3", "--json"))
    assert len(limited["entries"]) == 3
    notes = document_of(
        run("log", "list", *at(network), "--kind", "note", "--author", "acme", "--json")
    )
    assert [entry["index"] for entry in notes["entries"]] == [1, 2, 3, 4, 5]
    newest = document_of(run("log", "list", *at(network), "--newest", "--limit", "2", "--json"))
    assert [entry["index"] for entry in newest["entries"]] == [4, 5]
    text = run("log", "list", *at(network)).stdout
    assert "genesis" in text
    assert "note/KE" in text


def test_list_has_no_filters_beside_newest(run: Run, network: FakeNetwork) -> None:
    result = run("log", "list", *at(network), "--newest", "--kind", "note", status=2)
    assert "--newest reads the whole log" in result.stderr


def test_show_by_index_and_by_hash(run: Run, network: FakeNetwork, tmp_path: Path) -> None:
    (entry,) = fill(network, 1)
    by_index = document_of(run("log", "show", "1", *at(network), "--json"))
    out = tmp_path / "entry.cose"
    by_hash = document_of(
        run("log", "show", by_index["leaf_digest"], *at(network), "--out", out, "--json")
    )
    assert by_index == by_hash
    assert by_index["log_size"] == 2
    assert out.read_bytes() == entry
    assert json.loads(run("log", "show", "1", *at(network)).stdout)["author"] == "acme"


@pytest.mark.parametrize("key", ["x", "12ab", "-1", "9" * 30, "zz" * 32])
def test_keys_of_leaves_are_judged(run: Run, network: FakeNetwork, key: str) -> None:
    result = run("log", "show", *at(network), "--", key, status=2)
    assert "want a leaf's index" in result.stderr


def test_no_such_leaf(run: Run, network: FakeNetwork) -> None:
    assert "NOT_FOUND" in run("log", "show", "99", *at(network), status=2).stderr
    assert "NOT_FOUND" in run("receipt", "get", "99", *at(network), status=2).stderr


def test_what_is_withheld_needs_a_reader(run: Run, network: FakeNetwork, tmp_path: Path) -> None:
    fill(network, 1)
    network.nodes["KE"].withholding = True
    assert "--reader-keys" in run("log", "show", "1", *at(network), status=2).stderr
    assert "--reader-keys" in run("receipt", "get", "1", *at(network), status=2).stderr
    listed = document_of(run("log", "list", *at(network), "--json"))
    assert listed["entries"][1]["withheld"] is True
    assert listed["entries"][1]["content"] is None
    assert "(withheld)" in run("log", "list", *at(network)).stdout
    keys = network.homes["US"].folder / "keys" / "agency.key"
    network.nodes["KE"].withholding = False
    network.nodes["KE"].metadata.clear()
    run("log", "show", "1", *at(network), "--reader-keys", keys, *network.passphrase_options())
    proof = pb.ReaderProof.FromString(network.nodes["KE"].metadata[-1]["foedus-reader-bin"])
    assert (proof.party, proof.node) == ("US", "KE")


def test_a_readers_proof_is_the_one_of_the_protocol(network: FakeNetwork) -> None:
    """H("sign/reader/1", chain id || u64 expires_s || u8 length || node || party), as client.proto says."""
    address = node_at(network.founded.genesis, network.founded.chain_id, "KE")
    proof = pb.ReaderProof.FromString(Reader(party="acme", key=OPERATOR.author).proof(address, 77))
    label = b"sign/reader/1"
    body = network.founded.chain_id + (77).to_bytes(8, "big") + b"\x02KE" + b"acme"
    message = sha256(bytes([len(label)]) + label + body).digest()
    assert verify_ed25519(OPERATOR.author.public, message, proof.signature)
    assert (proof.kid, proof.expires_s) == (OPERATOR.author.kid, 77)


def test_a_header_for_bundles_is_the_same_proof(run: Run, network: FakeNetwork) -> None:
    home = network.homes["US"].folder
    keys = ("--reader-keys", home / "keys" / "agency.key", *network.passphrase_options())
    words = ("log", "reader-proof", "--home", home, "--node", "KE")
    before = int(time.time())
    header = run(*words, *keys, "--valid", "60").stdout.strip()
    name, _, value = header.partition(": ")
    proof = pb.ReaderProof.FromString(base64.b64decode(value))
    assert (name, proof.node, proof.party) == ("foedus-reader", "KE", "US")
    assert before + 60 <= proof.expires_s <= time.time() + 60
    message = reader_message(network.founded.chain_id, "KE", "US", proof.expires_s)
    shown = document_of(run("keys", "show", keys[1], "--json"))["keys"]
    (author,) = (key for key in shown if key["role"] == "author")
    assert verify_ed25519(bytes.fromhex(author["public"]), message, proof.signature)
    assert "--reader-keys" in run(*words, status=2).stderr
    assert run(*words[:-1], "XX", *keys, status=2).stderr


def test_watch_shows_leaves_as_they_come(run: Run, network: FakeNetwork) -> None:
    fill(network, 3)
    result = run("log", "watch", *at(network), "--first", "0", "--count", "4", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2, 3]
    text = run(
        "log", "watch", *at(network), "--first", "1", "--kind", "note", "--count", "2"
    ).stdout
    assert text.splitlines()[0].startswith("1  note  acme  final")


def test_watch_goes_on_at_the_next_node(run: Run, network: FakeNetwork) -> None:
    """A fake's stream ends after what is there; the others have nothing newer, so the watch ends in could-not."""
    fill(network, 2)
    result = run("log", "watch", *at(network, "KE", "BR"), "--first", "0", "--json", status=2)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]  # nothing twice, nothing left out
    assert "the stream ended" in result.stderr
    assert network.nodes["BR"].metadata


# --- receipts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def receipt(run: Run, network: FakeNetwork, tmp_path: Path) -> Path:
    fill(network, 3)
    path = tmp_path / "r.tlog-proof"
    run("receipt", "get", "2", *at(network), "-o", path)
    return path


def test_a_receipt_is_proven_offline(
    run: Run, network: FakeNetwork, receipt: Path, tmp_path: Path
) -> None:
    genesis = network.homes["GB"].folder / "genesis.cbor"
    shown = document_of(run("receipt", "verify", receipt, "--genesis", genesis, "--json"))
    assert shown["proven"] is True
    assert (shown["index"], shown["size"], shown["origin"]) == (2, 4, "ledger.test/main")
    assert shown["cosigned_by"] == ["US", "CN", "GB", "KE", "BR"]
    assert shown["content"]["author"] == "acme"
    policy = tmp_path / "trust.policy"
    policy.write_text(run("receipt", "policy", "--genesis", genesis).stdout, encoding="utf-8")
    text = run("receipt", "verify", receipt, "--policy", policy).stdout
    assert text.startswith(f"proven: {receipt} is entry 2 of 4")
    assert "author acme" in text


def test_another_entry_is_not_proven(
    run: Run, network: FakeNetwork, receipt: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.cose"
    other.write_bytes(network.log.leaves[1])
    result = run(
        *("receipt", "verify", receipt, "--entry", other, "--home", network.home("US"), "--json"),
        status=1,
    )
    shown = document_of(result)
    assert shown["proven"] is False
    assert "leads from the entry at index 2 to root" in shown["why"]
    assert "not proven" in result.stderr
    text = run(
        "receipt", "verify", receipt, "--entry", other, "--home", network.home("US"), status=1
    )
    assert text.stdout.startswith("NOT PROVEN")


def test_a_proof_of_the_wrong_shape_is_not_proven(network: FakeNetwork) -> None:
    entries = fill(network, 3)
    policy = parse_policy(network.founded.trust_policy)
    proof = network.log.receipt(2, "KE")
    lines = proof.split(b"\n")
    for changed in ([*lines[:2], *lines[3:]], [lines[0], b"index 9", *lines[2:]]):
        verdict = verify_receipt(b"\n".join(changed), policy, entries[1])
        assert not verdict.proven
        assert "no place for entry" in verdict.why


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: b"", "want c2sp.org/tlog-proof@v1"),
        (lambda data: data[:-2], "note"),
        (lambda data: data.replace(b"index 2", b"index 02"), "index"),
        (lambda data: data.replace(b"tlog-proof@v1", b"tlog-proof@v9"), "want c2sp.org"),
        (lambda data: data.replace(b"\n4\n", b"\n5\n"), "not to be trusted"),
        (
            lambda data: data.replace(b"ledger.test/main\n4", b"ledger.evil/main\n4"),
            "not to be trusted",
        ),
        (lambda data: b"\xff" * 3_000_000, "more than"),
    ],
)
def test_what_is_no_receipt_could_not_be_checked(
    run: Run, network: FakeNetwork, receipt: Path, damage: Any, why: str
) -> None:
    receipt.write_bytes(damage(receipt.read_bytes()))
    result = run("receipt", "verify", receipt, "--home", network.home("US"), "--json", status=2)
    assert why in document_of(result)["error"]


def test_too_few_cosignatures_are_no_ground(network: FakeNetwork) -> None:
    entries = fill(network, 2)
    policy = parse_policy(network.founded.trust_policy)
    assert verify_receipt(network.log.receipt(1, "KE", cosigners=4), policy, entries[0]).proven
    with pytest.raises(UntrustedReceipt, match="no quorum"):
        verify_receipt(network.log.receipt(1, "KE", cosigners=3), policy, entries[0])
    with pytest.raises(CouldNot, match="--entry"):
        verify_receipt(network.log.receipt(1, "KE"), policy)


def test_a_record_can_be_proven_too(network: FakeNetwork) -> None:
    receipt = receipt_file(network.log.receipt(0, "KE"), network.log.leaves[0])
    verdict = verify_receipt(receipt, parse_policy(network.founded.trust_policy))
    assert verdict.proven
    assert verdict.content is not None
    assert verdict.content["type"] == "genesis"


def test_a_node_cannot_hand_out_another_leafs_receipt(
    run: Run, network: FakeNetwork, tmp_path: Path
) -> None:
    fill(network, 2)
    network.nodes["KE"].mood = Mood.BOASTING
    out = tmp_path / "r.tlog-proof"
    result = run("receipt", "get", "2", *at(network), "-o", out, status=2)
    assert "answered for another leaf" in result.stderr
    assert not out.exists()


def test_a_cose_receipt_beside_it(run: Run, network: FakeNetwork, tmp_path: Path) -> None:
    """One node's word: verified before it is written, and by itself not final."""
    (entry,) = fill(network, 1)
    cose, leaf = tmp_path / "r.cose", tmp_path / "entry.cose"
    leaf.write_bytes(entry)
    run("receipt", "get", "1", *at(network), "-o", tmp_path / "r", "--cose", cose)
    home = ("--home", network.home("US"))
    said = run("receipt", "verify", cose, "--entry", leaf, *home, status=1)
    assert "signed by 1 of 5 logs, 4 make it final" in said.stdout
    assert "--entry" in run("receipt", "verify", cose, *home, status=2).stderr
    leaf.write_bytes(entry[:-1] + bytes((entry[-1] ^ 1,)))
    altered = run("receipt", "verify", cose, "--entry", leaf, *home, "--json", status=1)
    assert document_of(altered)["logs"] == []
    network.nodes["KE"].mood = Mood.FORGING
    lied = run(
        "receipt",
        "get",
        "1",
        *at(network),
        "-o",
        tmp_path / "s",
        "--cose",
        tmp_path / "t",
        status=2,
    )
    assert "COSE receipt" in lied.stderr
    assert not (tmp_path / "t").exists()


def test_a_transparent_statement_with_a_quorum_of_receipts(
    run: Run, network: FakeNetwork, tmp_path: Path
) -> None:
    (entry,) = fill(network, 1)
    states = list(network.nodes)
    receipts = [network.nodes[state].cose_receipt(1) for state in states]
    path, home = tmp_path / "statement.cose", ("--home", network.home("US"))

    def verified(parts: list[bytes], status: int) -> dict[str, Any]:
        path.write_bytes(encode_transparent(entry, parts))
        found: dict[str, Any] = document_of(
            run("receipt", "verify", path, *home, "--json", status=status)
        )
        return found

    proven = verified(receipts[:4], 0)
    assert (proven["proven"], len(proven["logs"]), proven["bad"]) == (True, 4, [])
    assert proven["entry"] == sha256(entry).hexdigest()
    assert not verified(receipts[:3], 1)["proven"]
    twice = verified([*receipts[:3], receipts[0]], 1)
    assert len(twice["logs"]) == 3, "a log that speaks twice counts once"
    broken = receipts[3][:-1] + bytes((receipts[3][-1] ^ 1,))
    assert len(verified([*receipts[:4], broken], 1)["bad"]) == 1
    path.write_bytes(b"\xd2\x84")
    assert run("receipt", "verify", path, *home, "--entry", path, status=2).stderr


def test_a_statement_is_gathered_from_a_quorum(
    run: Run, network: FakeNetwork, tmp_path: Path
) -> None:
    (entry,) = fill(network, 1)
    path, home = tmp_path / "statement.cose", ("--home", network.home("US"))
    everybody = at(network, *network.nodes)

    def get(key: str, status: int) -> str:
        words = ("receipt", "get", key, *everybody, "-o", tmp_path / "r", "--statement", path)
        return run(*words, status=status).stderr

    list(network.nodes.values())[-1].mood = Mood.FORGING  # one of five: passed over
    get("1", 0)
    inside, receipts = parse_transparent(path.read_bytes())
    assert (inside, len(receipts)) == (entry, 4)
    assert document_of(run("receipt", "verify", path, *home, "--json"))["proven"]
    path.unlink()
    assert "no signed statement" in get("0", 2)
    list(network.nodes.values())[1].mood = Mood.FORGING
    assert "signed by 3 of 5 logs" in get("1", 2)
    assert not path.exists()
    assert (tmp_path / "r").exists()


def test_without_a_policy_the_options_are_named(run: Run, receipt: Path, tmp_path: Path) -> None:
    result = run("receipt", "verify", receipt, "--home", tmp_path, status=2)
    assert "--genesis" in result.stderr
    bad = tmp_path / "bad.policy"
    bad.write_text("quorum\n")
    assert "policy line 1" in run("receipt", "verify", receipt, "--policy", bad, status=2).stderr


# --- status ------------------------------------------------------------------------------------------------------


def test_status_of_all_members(run: Run, network: FakeNetwork) -> None:
    shown = document_of(
        run("status", "--home", network.home("US"), *network.node_options(), "--json")
    )
    assert [node["state"] for node in shown["nodes"]] == ["US", "CN", "GB", "KE", "BR"]
    assert shown["unreachable"] == shown["roots_differ_at"] == []
    assert shown["nodes"][0]["root"] == network.log.hashes.root_at(1).hex()
    assert shown["nodes"][0]["peers"][0]["state"] == "CN"
    text = run("status", *at(network)).stdout
    assert "DRILL ledger.test/main: quorum 4 of 5" in text


def test_status_tells_who_is_passed_over_kept_out_or_lied(run: Run, network: FakeNetwork) -> None:
    """GB's turns are skipped, its own blocks take six times as long as others' do; BR signed twice."""
    shown = document_of(
        run("status", "--home", network.home("US"), *network.node_options(), "--json")
    )["nodes"][0]
    assert (shown["quorum_index"], shown["commit_lag"]) == (12, 2)
    figures = {one["state"]: one for one in shown["figures"]}
    assert (figures["GB"]["leads_skipped"], figures["GB"]["lag"]) == (7, 2)
    assert (figures["BR"]["equivocated_round"], figures["US"]["equivocated_round"]) == (33, None)
    assert shown["refused"] == {"malformed": 3}
    assert shown["queues"][0] == {"name": "core inbox", "held": 5, "limit": 512, "unit": "events"}
    assert shown["signing"]["state"] == "signing"
    lines = run("status", *at(network, "US", "GB")).stdout.splitlines()
    rows = {line.split()[1]: line for line in lines if line.startswith("│") and "40" in line}
    assert "900/1000" in rows["GB"]
    assert "not asked" in rows["KE"]
    assert rows["BR"].split("│")[-2].strip() == "33"
    (inside,) = [line for line in lines if line.startswith("GB: ")]
    assert inside == (
        "GB: signing; blocks refused: 3 malformed; queues: core inbox 5 of 512 events"
    )


def test_confirm_loss_wants_a_loss_and_all_answers_but_one(run: Run, network: FakeNetwork) -> None:
    """What it does with a node that can use it is shown by processes (tests/e2e/test_sign_state.py)."""
    home = network.home("US")
    command = ("node", "confirm-loss", "--home", home, *network.node_options("US"), "--yes")
    assert "has lost no sign state: signing" in run(*command, status=1).stderr
    network.nodes["US"].signing = pb.SigningStatus(
        state="sign state lost", sign_state_lost=True, answers=1, answers_needed=4
    )
    assert "1 of 4 members have answered" in run(*command, "--json", status=1).stderr
    network.nodes["US"].signing = pb.SigningStatus(
        state="sign state lost",
        sign_state_lost=True,
        answers=3,
        answers_needed=4,
        may_confirm_loss=True,
    )
    assert "add --yes" in run(*command[:-1], "--json", status=2).stderr
    elsewhere = ("node", "confirm-loss", "--home", home, *network.node_options("KE"), "--yes")
    assert "this home's node is US" in run(*elsewhere, status=2).stderr
    data = Path(home) / "data"
    data.mkdir(exist_ok=True)
    unheard = run(*command, "--wait", "0", "--json", status=1)
    assert "does not sign after 0 s" in unheard.stderr
    assert (data / "loss-confirmed").exists()


def test_status_is_no_when_not_all_is_well(run: Run, network: FakeNetwork) -> None:
    down = run(
        "status",
        "--home",
        network.home("US"),
        *network.node_options("KE"),
        "--node",
        "GB",
        "--json",
        status=1,
    )
    assert [item["state"] for item in document_of(down)["unreachable"]] == ["GB"]
    network.nodes["KE"].alarms = ["two roots at size 7"]
    alarmed = run("status", *at(network), status=1)
    assert "node KE: ALARM: two roots at size 7" in alarmed.stderr
    network.nodes["KE"].alarms = []
    network.nodes["KE"].root_shown = b"\x01" * 32
    parted = run("status", *at(network, "KE", "BR"), "--json", status=1)
    assert document_of(parted)["roots_differ_at"] == [1]
    none = run("status", "--home", network.home("US"), status=2)
    assert "node US" in none.stderr
    assert "node BR" in none.stderr


def test_status_waits_for_a_node_that_is_starting(run: Run, network: FakeNetwork) -> None:
    """What a script does between `foedus node run` and the first entry."""
    starting = network.nodes["KE"]
    port = starting.port
    starting.stop()
    soon = threading.Timer(1.2, lambda: starting.start(port))
    soon.start()
    try:
        shown = document_of(run("status", *at(network, "KE"), "--wait", "60", "--json"))
    finally:
        soon.join()
    assert [node["state"] for node in shown["nodes"]] == ["KE"]
    late = ("status", "--home", network.home("US"), "--node", "GB", "--wait", "1")
    assert "node GB" in run(*late, status=2).stderr


def test_a_node_of_another_certificate_is_not_believed(run: Run, network: FakeNetwork) -> None:
    """KE's address given for GB: the certificate in the genesis is GB's."""
    port = network.nodes["KE"].port
    result = run("status", "--home", network.home("US"), "--node", f"GB@127.0.0.1:{port}", status=2)
    assert "certificate" in result.stderr


@pytest.mark.parametrize(
    ("node", "why"), [("FR", "no member of this ledger"), ("KE@nowhere", "want host:port")]
)
def test_nodes_are_named_right(run: Run, network: FakeNetwork, node: str, why: str) -> None:
    assert why in run("status", "--home", network.home("US"), "--node", node, status=2).stderr


def test_run_hands_over_to_the_node(
    run: Run, network: FakeNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda path, words: handed.append((path, words)))
    monkeypatch.setenv("FOEDUS_LOG_FORMAT", "human")
    run("node", "run", "--home", network.home("KE"), *network.passphrase_options(), "--json")
    ((path, words),) = handed
    assert path == words[0] == sys.executable
    assert words[1:5] == ["-m", "node.main", "--home", network.home("KE")]
    assert words[5:] == network.passphrase_options()
    assert os.environ["FOEDUS_LOG_FORMAT"] == "json"
    result = run("node", "run", "--home", tmp_path, status=2)
    assert "`foedus init` makes one" in result.stderr
    assert len(handed) == 1


# --- the law's views -----------------------------------------------------------------------------------------------


def test_motions(run: Run, network: FakeNetwork) -> None:
    listed = document_of(run("motions", *at(network), "--json"))
    assert [motion["motion"] for motion in listed["motions"]] == ["m0", "m1", "m2"]
    one = document_of(run("motions", "m7", *at(network), "--json"))
    assert one["votes"] == [{"state": "KE", "choice": "yes"}]
    assert one["decision"]["outcome"] == "approved"
    assert one["decision"]["yes"] == 3
    text = run("motions", "m7", *at(network)).stdout
    assert "DECIDED approved: 3 yes, 1 no, 0 abstain, 0 absent" in text
    assert "m1" in run("motions", *at(network), "--open").stdout


def test_cases_runs_facilities(run: Run, network: FakeNetwork) -> None:
    cases = document_of(run("cases", *at(network), "--json"))
    assert cases["cases"][0]["case"] == "C15:US:x"
    one = document_of(run("cases", "C15:US:x", *at(network), "--json"))
    assert one["steps"] == [{"status": "RAISED", "time_s": 7, "entry": "0102", "index": 4}]
    assert "case C15:US:x: RAISED" in run("cases", "C15:US:x", *at(network)).stdout
    runs = document_of(run("runs", *at(network), "--json"))
    assert runs["runs"][0]["gates"] == ["flop"]
    facilities = document_of(run("facilities", *at(network), "--json"))
    assert facilities["facilities"][0]["operator"] == "acme"
    assert "dc1" in run("facilities", *at(network)).stdout


# --- the client --------------------------------------------------------------------------------------------------


def client(network: FakeNetwork, state: str = "KE") -> LedgerClient:
    target = f"127.0.0.1:{network.nodes[state].port}"
    founded = network.founded
    return LedgerClient(node_at(founded.genesis, founded.chain_id, state, target))


async def test_many_entries_in_one_call(network: FakeNetwork) -> None:
    acme = Author(OPERATOR, ledger=network.founded.chain_id)
    entries = [acme.say("note", NOTE).entry, b"rubbish", acme.say("note", NOTE).entry]
    async with client(network) as node:
        one, two, three = await node.submit_many(entries)
        assert isinstance(two, Refused)
        assert (two.code, two.node) == ("SCHEMA", "KE")
        assert not isinstance(one, Refused)
        assert not isinstance(three, Refused)
        assert (await node.wait_final(three.entry_hash, within_s=2)).index == 2
        tip = await node.tip("acme")
        assert (tip.seq, tip.entry_hash) == (2, three.entry_hash)
        assert len(await node.checkpoint()) < len(await node.checkpoint(full=True))
        assert (await node.veto_check()).members == 5


async def test_waiting_has_an_end(network: FakeNetwork) -> None:
    network.nodes["KE"].mood = Mood.DEAF
    signed = Author(OPERATOR, ledger=network.founded.chain_id).say("note", NOTE)
    async with client(network) as node:
        await node.submit(signed.entry)
        with pytest.raises(TooLate, match=r"is acknowledged after 0\.2 s"):
            await node.wait_integrated(signed.entry_hash, within_s=0.2)


async def test_a_node_that_starts_or_serves_another_ledger(network: FakeNetwork) -> None:
    network.nodes["KE"].mood = Mood.STARTING
    async with client(network) as node:
        with pytest.raises(Unreachable, match="starting"):
            await node.status()
    network.nodes["KE"].mood = Mood.HONEST
    address = node_at(
        network.founded.genesis, bytes(32), "KE", f"127.0.0.1:{network.nodes['KE'].port}"
    )
    async with LedgerClient(address) as node:
        with pytest.raises(BadAnswer, match="another ledger"):
            await node.status()


async def test_the_next_node_answers(network: FakeNetwork) -> None:
    network.nodes["KE"].mood = Mood.STARTING
    async with Nodes([client(network), client(network, "BR")], members=5) as nodes:
        assert (await nodes.first_reachable()).state == "BR"
        assert (await nodes.first(lambda node: node.status())).state == "BR"


# --- the genesis and what follows from it ------------------------------------------------------------------------


async def test_links_of_policies_come_in_several_answers(network: FakeNetwork) -> None:
    """A hundred epochs do not fit into one message."""
    node = network.nodes["KE"]
    for pages in ([], [[b"a"]], [[b"a", b"b"], [b"c"], [b"d", b"e"]]):
        node.link_pages = pages
        async with client(network) as asking:
            answer = await asking.genesis()
        assert answer.document == network.founded.document
        assert [link.proof for link in answer.policies] == [text for page in pages for text in page]
        assert not answer.more
    node.link_pages = [[b"a"], [], [b"b"]]
    async with client(network) as asking:
        with pytest.raises(BadAnswer, match="no end"):
            await asking.genesis()

"""Who validates when: the register fixes it, the engine's last commit puts it in force, the log tells it (SPEC 14, R44)."""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from consensus.committee import committee_hash
from foedus.v1 import content_pb2 as pb
from node.ledger.epochs import epoch_of_size, epochs_of
from node.ledger.errors import EpochForced
from node.ledger.reader import ReadEntry, read_entry
from node.ledger.records import parse_epoch_record
from node.ledger.seats import declared
from node.ledger.trust import policy_of, trust_policy
from tests.unit.ledger.founding import Author, Founding, found
from tests.unit.ledger.joining import (
    accedes,
    declares,
    new_state,
    registers,
    rotated,
    withdraws,
)
from tests.unit.ledger.running import Running, start

EPOCH_MIN_MS = 10_000  # of a drill
JOINS = "DE"
NODE, AGENCY = new_state(JOINS)


@pytest.fixture(scope="module")
def founding() -> Founding:
    return found(5, 1, law_version=2, policy={"withdrawal_s": 20})


@pytest.fixture
async def node(founding: Founding, tmp_path: Path) -> AsyncIterator[Running]:
    running = await start(founding, tmp_path)
    yield running
    running.close()


def codes(running: Running) -> list[str]:
    return [judged.code for judged in running.applied[-1].plan.judged]


def parse_content_of(leaf: bytes) -> pb.Content:
    parsed = read_entry(leaf, bytes(32))
    assert isinstance(parsed, ReadEntry)
    return pb.Content(identity=parsed.parsed.body)


def closing(running: Running) -> bool:
    return running.ledger.is_closing


def seats(running: Running) -> dict[str, int]:
    return dict(running.ledger.law.committee())


async def join(running: Running, founding: Founding) -> Author:
    """A sixth state is registered, accedes and declares its node."""
    joining = Author(AGENCY, founding.chain_id)
    sponsor = founding.state_author(0)
    await running.commit(registers(sponsor, AGENCY, founding.agencies[:2]))
    await running.commit(accedes(joining, founding.agencies[1:3]), declares(joining, NODE))
    assert codes(running) == ["", ""]
    return joining


async def test_a_state_accedes_and_validates_from_the_next_epoch_on(
    node: Running, founding: Founding
) -> None:
    await join(node, founding)
    assert not closing(node), "the epoch is younger than epoch_min_s"
    await node.commit(after_ms=1_000)  # what one state can block is looked at first
    assert node.ledger.next_due_ms == founding.genesis.time_ms + EPOCH_MIN_MS
    await node.commit(after_ms=EPOCH_MIN_MS)
    assert closing(node)
    assert node.ledger.epoch.number == 0
    await node.commit(after_ms=1_000)
    before = node.ledger.size
    await node.commit(ends_epoch=True, after_ms=1_000)
    assert not closing(node)
    leaf, commit = node.ledger.entries(before, 10)
    record = parse_epoch_record(leaf)
    first, second = node.ledger.epochs
    members = [*founding.genesis.members, next(m for m in second.members if m.state == JOINS)]
    members.sort(key=lambda member: member.state)
    assert [state for state, _ in record.members] == [member.state for member in members]
    assert [state for state, _ in record.members] == ["BR", "CN", "DE", "GB", "KE", "US"]
    declared_at = dict(record.members)[JOINS]
    assert {place for state, place in record.members if state != JOINS} == {0}
    assert parse_content_of(node.ledger.entry(declared_at).leaf).identity.party == JOINS
    keys = [member.block_key for member in members]
    assert keys[2] == NODE.block.public
    assert record.committee_hash == committee_hash(1, keys) == second.committee.committee_hash
    policy = policy_of(founding.genesis.origin, members)
    assert record.trust_policy == sha256(policy).digest()
    assert policy != trust_policy(founding.genesis)
    assert b"group states 5" in policy
    assert (first.last_commit, first.last_size) == (node.ledger.last_commit, node.ledger.size)
    assert (second.after_commit, second.after_size) == (first.last_commit, first.last_size)
    assert second.committee.previous_commit == node.applied[-1].plan.order_digest
    assert second.committee.genesis_time_ms == node.ledger.time_ms
    assert epoch_of_size(node.ledger.epochs, node.ledger.size) is first
    assert epoch_of_size(node.ledger.epochs, node.ledger.size + 1) is second
    assert commit != leaf


async def test_a_restart_finds_the_epochs_again(founding: Founding, tmp_path: Path) -> None:
    running = await start(founding, tmp_path)
    joining = await join(running, founding)
    running.close()
    running = await start(founding, tmp_path)
    await running.commit(after_ms=EPOCH_MIN_MS)
    assert closing(running), "what was due before the restart is due after it"
    running.close()
    running = await start(founding, tmp_path)
    assert closing(running)
    await running.commit(ends_epoch=True)
    await running.commit(declares(joining, rotated(JOINS)))
    await running.commit(after_ms=EPOCH_MIN_MS)
    await running.commit(ends_epoch=True)
    epochs = list(running.ledger.epochs)
    digest = running.ledger.state_digest
    running.close()
    running = await start(founding, tmp_path)
    assert list(running.ledger.epochs) == epochs
    assert running.ledger.state_digest == digest
    assert [epoch.number for epoch in epochs] == [0, 1, 2]
    assert seats(running)[JOINS] == 2
    assert epochs[2].members[2].block_key == rotated(JOINS).block.public
    assert epochs[1].members[2].block_key == NODE.block.public
    running.close()


async def test_changes_are_collected_and_at_most_one_epoch_begins_in_epoch_min_s(
    node: Running, founding: Founding
) -> None:
    await join(node, founding)
    await node.commit(after_ms=EPOCH_MIN_MS)
    us = founding.state_author(founding.genesis.member_index("US"))
    await node.commit(declares(us, rotated("US"), port=7201))
    assert codes(node) == [""], "declared while the epoch closes: it waits for the next change"
    await node.commit(ends_epoch=True)
    assert seats(node)["US"] == 0
    assert not closing(node)
    assert node.ledger.next_due_ms == (node.ledger.time_ms // 1000) * 1000 + EPOCH_MIN_MS
    await node.commit(after_ms=EPOCH_MIN_MS - 1_000)
    assert not closing(node)
    await node.commit(after_ms=1_000)
    assert closing(node)
    await node.commit(ends_epoch=True)
    assert seats(node)["US"] == 1


async def test_a_state_leaves_after_its_notice(node: Running, founding: Founding) -> None:
    kenya = founding.state_author(founding.genesis.member_index("KE"))
    await node.commit(withdraws(kenya))
    await node.commit(after_ms=15_000)
    assert not closing(node), "a state that withdraws still validates"
    await node.commit(after_ms=6_000)
    await node.commit(after_ms=1_000)
    assert closing(node)
    await node.commit(ends_epoch=True)
    assert list(seats(node)) == ["BR", "CN", "GB", "US"]
    assert node.ledger.epoch.index_of("KE") is None


@pytest.mark.parametrize(("drill", "left"), [(True, 3), (False, 4)])
async def test_outside_drills_four_at_least_go_on_validating(
    drill: bool, left: int, tmp_path: Path
) -> None:
    founding = found(4, 1, law_version=2, drill=drill)
    node = await start(founding, tmp_path)
    await node.commit(withdraws(founding.state_author(3)))
    await node.commit(after_ms=366 * 86_400_000)
    await node.commit(after_ms=10_000_000)
    assert node.ledger.law.members()["KE"] == "LEFT"
    if closing(node):
        await node.commit(ends_epoch=True)
    assert len(node.ledger.epoch.members) == left
    node.close()


async def test_newcomers_are_never_so_many_that_the_others_are_no_quorum(
    node: Running, founding: Founding
) -> None:
    """All five rotate at once: one changes at each epoch's end, in the order in which they declared it."""
    order = ["US", "BR", "KE", "CN", "GB"]
    for state in order:
        author = founding.state_author(founding.genesis.member_index(state))
        await node.commit(declares(author, rotated(state), port=7300 + 10 * order.index(state)))
        assert codes(node) == [""]
    for done in range(1, 6):
        await node.commit(after_ms=EPOCH_MIN_MS)
        assert closing(node)
        await node.commit(ends_epoch=True)
        changed = [state for state, seat in seats(node).items() if seat == 1]
        assert changed == sorted(order[:done])
    await node.commit(after_ms=EPOCH_MIN_MS)
    assert not closing(node)


async def test_nobody_declares_a_key_that_is_not_its_own_or_was_used_before(
    node: Running, founding: Founding
) -> None:
    chain = founding.chain_id
    us = founding.state_author(founding.genesis.member_index("US"))
    other = rotated("US")
    good = declared(other, ledger=chain, state="US", peer="h:1", client="h:2", http="h:3")
    stolen = type(good)()
    stolen.CopyFrom(good)
    stolen.block_key = NODE.block.public
    unsigned = type(good)()
    unsigned.CopyFrom(good)
    unsigned.possession[2] = unsigned.possession[1]
    foreign = type(good)()
    foreign.CopyFrom(good)
    foreign.certificate_pem = founding.nodes[0].transport.certificate_pem
    for bad in (stolen, unsigned, foreign):
        entry = us.sign(declares_content(us, bad), kind="identity", subject="US", advance=False)
        await node.commit(entry)
        assert codes(node) == ["SCHEMA"], bad
    for_another = declares(
        founding.state_author(founding.genesis.member_index("US")), other, ledger=bytes(32)
    )
    await node.commit(for_another)
    assert codes(node) == ["SCHEMA"], "its keys signed for another ledger"
    founders = founding.nodes[founding.genesis.member_index("US")]
    await node.commit(declares(us, other))
    assert codes(node) == [""]
    await node.commit(declares(us, other))
    assert codes(node) == ["REPEATED"], "the very seat it has"
    await node.commit(declares(us, founders))
    assert codes(node) == ["REPEATED"], "keys that were given up never come back"
    await node.commit(declares(us, other, port=7777))
    assert codes(node) == [""], "a node may move and keep its keys"


async def test_a_seat_may_have_an_ml_dsa_cosigner(node: Running, founding: Founding) -> None:
    us = founding.state_author(founding.genesis.member_index("US"))
    other = rotated("US", with_mldsa=True)
    good = declared(
        other, ledger=founding.chain_id, state="US", peer="h:1", client="h:2", http="h:3"
    )
    assert [len(signature) for signature in good.possession] == [64, 64, 64, 2420]
    stranger = rotated("US", 7, with_mldsa=True).cosigner_pq
    assert stranger is not None
    without, short, stolen = (type(good)() for _ in range(3))
    for bad in (without, short, stolen):
        bad.CopyFrom(good)
    del without.possession[3]
    short.cosigner_pq_key = good.cosigner_pq_key[1:]
    stolen.cosigner_pq_key = stranger.public
    for bad in (without, short, stolen):
        entry = us.sign(declares_content(us, bad), kind="identity", subject="US", advance=False)
        await node.commit(entry)
        assert codes(node) == ["SCHEMA"], bad
    await node.commit(declares(us, other))
    assert codes(node) == [""]
    await node.commit(after_ms=EPOCH_MIN_MS)
    await node.commit(ends_epoch=True)
    first, second = node.ledger.epochs
    origin = founding.genesis.origin
    seat = next(member for member in second.members if member.state == "US")
    assert other.cosigner_pq is not None
    assert seat.cosigner_pq_key == other.cosigner_pq.public
    assert b"witness US/pq " in second.trust_policy(origin)
    assert b"/pq " not in first.trust_policy(origin)
    record = parse_epoch_record(node.ledger.entry(second.record_leaf or 0).leaf)
    assert record.trust_policy == sha256(second.trust_policy(origin)).digest()
    reread = epochs_of(
        founding.genesis,
        founding.document,
        [second.record_leaf or 0],
        lambda at: node.ledger.entry(at).leaf,
    )
    assert reread[1] == second, "an auditor finds the same by the log alone"
    await node.commit(declares(us, rotated("US", 2, with_mldsa=True)))
    await node.commit(declares(us, other))
    assert codes(node) == ["REPEATED"], "keys that were given up never come back"
    await node.commit(declares(us, rotated("US", 3)))
    assert codes(node) == [""], "and a later seat may do without"


def declares_content(author: Author, seat: pb.Validator) -> bytes:
    state = author.keys.author_id
    return pb.Content(
        ver=1,
        ledger=author.ledger,
        author=state,
        confidentiality=pb.CONFIDENTIALITY_PUBLIC,
        identity=pb.Identity(party=state, role=pb.PARTY_ROLE_STATE, state=state, validator=seat),
    ).SerializeToString()


async def test_an_epoch_that_the_law_has_not_closed_cannot_end(
    node: Running, founding: Founding
) -> None:
    await join(node, founding)
    with pytest.raises(EpochForced, match="more than f of 5"):
        await node.commit(ends_epoch=True)


async def test_under_the_first_law_the_founders_validate_for_ever(tmp_path: Path) -> None:
    founding = found(4, 1)
    node = await start(founding, tmp_path)
    us = founding.state_author(3)
    await node.commit(declares(us, rotated(us.keys.author_id)))
    assert codes(node) == ["SCHEMA"]
    await node.commit(withdraws(founding.state_author(2)))
    await node.commit(after_ms=400 * 86_400_000)
    await node.commit(after_ms=100_000)
    assert not closing(node)
    node.close()

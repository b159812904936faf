"""ML-DSA-44 lines: when they are made, what counts, and that nothing changes where nobody has such a key."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.ledger.cosigned import Added, Cosigned, encode_cosigned, parse_line
from node.ledger.errors import MalformedRecord
from node.ledger.genesis import encode_genesis, parse_genesis
from node.ledger.second_lines import AHEAD_PER_MEMBER_MAX, HELD_MAX, PULLS_MAX
from node.ledger.trust import trust_policy
from node.log.checkpoint import Checkpoint
from node.log.note import KeyType
from node.log.policy import evaluate, parse_policy
from node.signing.checkpoints import sign_mldsa_cosignature
from node.signing.verify import verify_ed25519, verify_mldsa44
from node.storage.store import Store
from tests.unit.ledger.founding import Founding, found
from tests.unit.ledger.test_finality import NOW, Node, root_at

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def founding() -> Founding:
    """Four members, the first three with an ML-DSA cosigner."""
    return found(4, 0, second=3)


@pytest.fixture
def node(founding: Founding, tmp_path: Path) -> Iterator[Node]:
    made = Node(founding, tmp_path)
    yield made
    made.close()


def second(founding: Founding, member: int, size: int, root: bytes | None = None) -> Cosigned:
    root = root_at(size) if root is None else root
    checkpoint = Checkpoint(origin=founding.genesis.origin, size=size, root=root)
    node = founding.nodes[member]
    assert node.cosigner_pq is not None
    made = sign_mldsa_cosignature(node.cosigner_pq, node.state, checkpoint, NOW)
    return Cosigned(member=member, size=size, root=root, timestamp=NOW, signature=made.signature)


def finish(node: Node, size: int) -> None:
    """Ed25519 lines of two others: with our own a quorum."""
    for member in (1, 2):
        assert node.finality.add(node.line(member, size)) is Added.HELD


async def test_one_is_made_for_the_first_appending_commit_of_every_ten_seconds(node: Node) -> None:
    for size, time_ms in ((3, 40_000), (5, 44_000), (8, 49_999), (9, 50_000), (11, 65_000)):
        await node.append(size, time_ms)
    assert [line.size for line in node.sent if not line.is_second] == [3, 5, 8, 9, 11]
    assert [line.size for line in node.sent if line.is_second] == [3, 9, 11]


async def test_finality_rests_on_ed25519_lines_alone(node: Node, founding: Founding) -> None:
    await node.append(3, 40_000)
    for member in (1, 2):
        assert node.finality.add(second(founding, member, 3)) is Added.HELD
    assert node.finality.final_size == 0
    assert node.finality.second_note() is None
    finish(node, 3)
    assert node.finality.final_size == 3


async def test_full_checkpoint_shows_them_and_the_lean_one_does_not(
    node: Node, founding: Founding
) -> None:
    await node.append(3, 40_000)
    finish(node, 3)
    assert node.finality.add(second(founding, 1, 3)) is Added.HELD
    lean, full = node.finality.lean_note(), node.finality.full_note()
    assert lean is not None
    assert full is not None
    assert [len(line.signature) for line in lean.lines] == [64, 72, 72, 72]
    assert [len(line.signature) for line in full.lines] == [64, 72, 72, 72, 2428, 2428]
    policy = parse_policy(trust_policy(founding.genesis))
    for check in (None, verify_mldsa44):
        judged = evaluate(policy, bytes(full), verify_ed25519, check)
        assert judged.satisfied
        assert judged.witnesses == ("BR", "CN", "GB")
        assert len(judged.timestamps) == 3  # a second line gives its state no second voice
        assert judged.beside == (("BR/pq", "CN/pq") if check else ())


async def test_what_is_served_when_a_larger_size_has_none(node: Node, founding: Founding) -> None:
    await node.append(3, 40_000)
    finish(node, 3)
    await node.append(4, 41_000)
    finish(node, 4)
    full, shown = node.finality.full_note(), node.finality.second_note()
    assert full is not None
    assert shown is not None
    assert full.text.split(b"\n")[1] == b"4"
    assert shown.text.split(b"\n")[1] == b"3"
    node.start()  # and after a restart, though size 4 covers size 3
    shown = node.finality.second_note()
    assert shown is not None
    assert [len(line.signature) for line in shown.lines] == [64, 72, 72, 72, 2428]
    judged = evaluate(
        parse_policy(trust_policy(founding.genesis)), bytes(shown), verify_ed25519, verify_mldsa44
    )
    assert judged.satisfied


async def test_what_is_refused(node: Node, founding: Founding) -> None:
    await node.append(3, 40_000)
    good = second(founding, 1, 3)
    forged = Cosigned(member=2, size=3, root=good.root, timestamp=NOW, signature=good.signature)
    keyless = Cosigned(member=3, size=3, root=good.root, timestamp=NOW, signature=good.signature)
    strange = Cosigned(member=4, size=3, root=good.root, timestamp=NOW, signature=good.signature)
    for line in (forged, keyless, strange):
        assert node.finality.add(line) is Added.REFUSED
    assert node.finality.add(good) is Added.HELD
    assert node.finality.add(good) is Added.KNOWN
    for data in (encode_cosigned(good)[:-1], encode_cosigned(good) + b"\0"):
        with pytest.raises(MalformedRecord):
            parse_line(data)
    assert parse_line(encode_cosigned(good)) == good


async def test_lines_ahead_wait_within_a_bound(node: Node, founding: Founding) -> None:
    for size in range(10, 15):
        assert node.finality.add(second(founding, 1, size)) is Added.AHEAD
    held = node.finality._second._ahead[1]
    assert list(held) == [13, 14]
    assert len(held) == AHEAD_PER_MEMBER_MAX
    await node.append(13, 40_000)
    assert [line.member for line in node.finality.second_lines(13)] == [0, 1]
    await node.append(14, 41_000)  # not due
    assert node.finality.second_lines(14) == []


async def test_another_root_is_evidence_though_only_ml_dsa_signed_it(
    node: Node, founding: Founding
) -> None:
    await node.append(3, 40_000)
    await node.append(4, 41_000)
    assert node.finality.add(second(founding, 1, 4, b"x" * 32)) is Added.CONFLICT
    assert node.finality.alarm is not None
    assert "CN" in node.finality.alarm
    assert node.store.meta(b"conflict/second")
    await node.append(5, 42_000)
    assert node.sent[-1].size == 5, "one of four may lie"
    assert node.finality.add(second(founding, 2, 3, b"x" * 32)) is Added.CONFLICT
    assert node.finality.stopped
    node.start()
    assert [(each.line.member, each.line.size) for each in node.finality.conflicts] == [
        (1, 4),
        (2, 3),
    ]


async def test_a_line_ahead_with_another_root_is_found_when_we_get_there(
    node: Node, founding: Founding
) -> None:
    assert node.finality.add(second(founding, 1, 5, b"x" * 32)) is Added.AHEAD
    await node.append(5, 40_000)
    assert [each.line.member for each in node.finality.conflicts] == [1]


async def test_old_ones_go_but_one_size_an_hour(node: Node) -> None:
    times = [10_000 * number for number in range(1, HELD_MAX + 4)]
    times += [HOUR_MS + 10_000 * number for number in range(1, HELD_MAX + 4)]
    for size, time_ms in enumerate(times, start=1):
        node.now = NOW + time_ms // 1000
        await node.append(size, time_ms)
        finish(node, size)
    kept = [size for size in range(1, len(times) + 1) if node.store.second_lines(size)]
    first_of_hour = HELD_MAX + 4
    assert kept == [first_of_hour, *range(len(times) - HELD_MAX + 1, len(times) + 1)]
    for size in kept:
        assert node.store.log_lines(size)
        assert len(node.store.cosignatures(size)) >= 3


async def test_the_last_size_of_an_epoch_has_them_and_keeps_them(
    node: Node, founding: Founding
) -> None:
    """With it the old members hand over to the new ones (R44): due out of turn, and never let go."""
    node.start(5)
    await node.append(3, 40_000)
    await node.append(4, 41_000)  # not due
    await node.append(5, 42_000)
    assert [line.size for line in node.sent if line.is_second] == [3, 5]
    finish(node, 5)
    assert node.finality.add(second(founding, 1, 5), 0) is Added.HELD
    for number in range(1, HELD_MAX + 4):
        await node.append(5 + number, 50_000 + 10_000 * number)
        finish(node, 5 + number)
    assert node.store.second_lines(3) == []
    assert [member for member, _ in node.store.second_lines(5)] == [0, 1]
    assert len(node.store.cosignatures(5)) >= 3
    assert [line.member for line in node.finality.greeting(0) if line.is_second] == [0], "its own"


async def test_a_size_is_asked_for_a_few_times_only(node: Node, founding: Founding) -> None:
    await node.append(3, 40_000)
    assert node.finality.second_to_pull(0) is None  # not final yet
    finish(node, 3)
    asked = [node.finality.second_to_pull(0) for _ in range(PULLS_MAX + 2)]
    assert asked == [3] * PULLS_MAX + [None] * 2
    await node.append(4, 50_000)
    finish(node, 4)
    for member in (1, 2):
        node.finality.add(second(founding, member, 4))
    assert node.finality.second_to_pull(0) is None  # all three are there; the fourth has no key


async def test_no_machine_is_asked_what_it_cannot_check(
    node: Node, founding: Founding, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.append(3, 40_000)
    monkeypatch.setattr("node.signing.checkpoints.mldsa_check", lambda: None)
    assert node.finality.add(second(founding, 1, 3)) is Added.KNOWN
    assert [line.member for line in node.finality.second_lines(3)] == [0]


def test_a_genesis_carries_the_key_of_those_who_have_one(founding: Founding) -> None:
    genesis = parse_genesis(founding.document)
    assert [len(member.cosigner_pq_key) for member in genesis.members] == [1312] * 3 + [0]
    assert encode_genesis(genesis) == founding.document
    assert b"cosigner_pq_key" not in found(4, 0).document
    policy = parse_policy(trust_policy(genesis))
    kinds = [witness.key.key_type for witness in policy.witnesses]
    assert kinds == [KeyType.COSIGNATURE] * 4 + [KeyType.MLDSA_COSIGNATURE] * 3
    assert [group.name for group in policy.groups] == ["states", "states/pq"]
    assert policy.counted() == {"BR", "CN", "GB", "KE"}
    assert not policy.satisfied_by(["BR", "CN", "BR/pq", "CN/pq", "GB/pq"])
    assert policy.satisfied_by(["BR", "CN", "KE"])
    few = parse_policy(trust_policy(found(4, 0, second=2).genesis))
    assert [group.name for group in few.groups] == ["states"]  # two are no quorum of four


def test_the_store_holds_nothing_new_without_such_keys(tmp_path: Path) -> None:
    with Store.open(tmp_path / "db") as store:
        store.put_cosignatures([(3, 1, b"row")])
        store.put_second_lines([])
        assert store.second_lines(3) == []
        assert store.newest_second() is None

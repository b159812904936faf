"""Cosignatures: when is a size final, what a liar can and cannot do, and what a restart may sign."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.ledger.cosigned import Added, Cosigned, encode_cosigned, parse_cosigned
from node.ledger.errors import MalformedRecord
from node.ledger.finality import Finality
from node.ledger.terms import FoundingTerm
from node.log.checkpoint import Checkpoint
from node.log.cosignature import open_checkpoint
from node.signing.checkpoints import cosigner_vkey, log_vkey, sign_cosignature
from node.signing.verify import verify_ed25519
from node.storage import keys
from node.storage.errors import StoreDamaged
from node.storage.sign_state import SignState
from node.storage.store import Store
from tests.unit.ledger.founding import Founding, found

NOW = 1_700_000_100


def root_at(size: int) -> bytes:
    """A stand-in for the log: its root at each size."""
    return bytes([size % 256]) * 32


@pytest.fixture(scope="module")
def foundings() -> dict[int, Founding]:
    return {members: found(members, 0) for members in (1, 4, 5, 7)}


class Node:
    """Member 0's finality over a store of its own."""

    def __init__(self, founding: Founding, folder: Path, *, size: int = 0) -> None:
        self.founding = founding
        self.sent: list[Cosigned] = []
        self.now = NOW
        self.store = Store.open(folder / "db")
        self.sign_state = SignState(folder)
        self.size = size
        self.finality = self.start()

    def start(self, *ends: int) -> Finality:
        """`ends`: sizes with which epochs ended; the same four validate in each."""
        members = self.founding.genesis.members
        terms = [
            FoundingTerm(members=members, number=number, after_size=size)
            for number, size in enumerate((0, *ends))
        ]
        self.finality = Finality(
            self.store,
            self.sign_state,
            self.founding.genesis,
            own=0,
            cosigner_key=self.founding.nodes[0].cosigner,
            mldsa_keys=[n.cosigner_pq for n in self.founding.nodes[:1] if n.cosigner_pq],
            log_key=self.founding.nodes[0].log,
            log_size=self.size,
            root_at=root_at,
            clock_s=lambda: self.now,
            on_line=self.sent.append,
            epochs=lambda: terms,
        )
        return self.finality

    async def append(self, size: int, time_ms: int = 0) -> None:
        """The log grows; wait until the own line is out (or nothing will come)."""
        self.size = size
        self.finality.appended(size, time_ms or 1_000 * size)
        await self.settle()

    async def settle(self) -> None:
        task = asyncio.create_task(self.finality.run())
        async with asyncio.timeout(30):
            # What it was given is signed and out, or will never be.
            while not self.finality.is_idle:  # noqa: ASYNC110 - a look inside
                await asyncio.sleep(0.001)
        task.cancel()

    def line(self, member: int, size: int, root: bytes | None = None, time: int = NOW) -> Cosigned:
        root = root_at(size) if root is None else root
        checkpoint = Checkpoint(origin=self.founding.genesis.origin, size=size, root=root)
        made = sign_cosignature(self.founding.nodes[member].cosigner, checkpoint, time)
        return Cosigned(
            member=member, size=size, root=root, timestamp=time, signature=made.signature
        )

    def close(self) -> None:
        self.store.close()
        self.sign_state.close()


@pytest.fixture
def node(foundings: dict[int, Founding], tmp_path: Path) -> Iterator[Node]:
    made = Node(foundings[4], tmp_path)
    yield made
    made.close()


async def test_far_behind_only_the_newest_size_is_cosigned_at_the_end(node: Node) -> None:
    """R37: whoever catches up signs nothing on the way."""
    await node.append(5)
    node.finality.only_newest(is_on=True)
    for size in (7, 9, 12):
        node.size = size
        node.finality.appended(size, 1_000 * size)
    await node.settle()
    assert [line.size for line in node.sent] == [5]
    node.finality.only_newest(is_on=False)
    await node.settle()
    assert [line.size for line in node.sent] == [5, 12]
    await node.append(13)
    assert [line.size for line in node.sent] == [5, 12, 13]


async def test_nothing_is_signed_up_to_what_a_peer_has_shown_of_us(node: Node) -> None:
    """D12: our own line that we do not remember was made with our key all the same."""
    await node.append(5)
    assert node.finality.add(node.line(0, 9)) is Added.AHEAD
    for size in (7, 9, 12):
        await node.append(size)
    assert [line.size for line in node.sent] == [5, 12]


async def test_what_a_quorum_certified_otherwise_stops_finality(node: Node) -> None:
    """R39: our law or our state is not theirs."""
    await node.append(5)
    node.finality.contradicted("commit 3: certified otherwise")
    assert node.finality.stopped
    assert node.finality.alarm == "commit 3: certified otherwise"
    node.finality.contradicted("another")
    assert node.finality.alarm == "commit 3: certified otherwise"
    await node.append(6)
    assert [line.size for line in node.sent] == [5]


@pytest.mark.parametrize(("members", "quorum"), [(1, 1), (4, 3), (5, 4), (7, 5)])
async def test_a_size_is_final_at_a_quorum_and_not_before(
    foundings: dict[int, Founding], tmp_path: Path, members: int, quorum: int
) -> None:
    node = Node(foundings[members], tmp_path)
    heard: list[int] = []
    node.finality.subscribe(lambda final: heard.append(final.checkpoint.size))
    await node.append(9)
    assert [line.size for line in node.sent] == [9]
    for member in range(1, quorum):
        assert node.finality.final_size == 0
        assert node.finality.add(node.line(member, 9)) is Added.HELD
    assert node.finality.final_size == 9
    assert heard == [9]
    assert len(node.finality.final_lines()) == quorum
    assert node.finality.unfinal_size() is None
    if quorum < members:  # a late line strengthens the certificate and is kept
        assert node.finality.add(node.line(members - 1, 9)) is Added.HELD
        assert len(node.finality.final_lines()) == quorum + 1
        assert len(node.store.cosignatures(9)) == quorum + 1
    node.close()


async def test_a_larger_final_size_makes_smaller_ones_final(node: Node) -> None:
    await node.append(3)
    await node.append(8)
    for member in (1, 2):
        node.finality.add(node.line(member, 8))
    assert node.finality.final_size == 8
    assert node.finality.add(node.line(3, 3)) in (Added.HELD, Added.KNOWN)
    assert node.finality.final_size == 8
    assert node.finality.to_resend() == []
    assert (await asyncio.wait_for(node.finality.wait_past(7), 1)).checkpoint.size == 8


async def test_lines_ahead_of_the_log_wait_for_it(node: Node) -> None:
    for member in (1, 2, 3):
        assert node.finality.add(node.line(member, 20)) is Added.AHEAD
    assert node.finality.final_size == 0
    assert node.finality.add(node.line(1, 20)) is Added.KNOWN
    node.finality.appended(20, 20_000)
    assert node.finality.final_size == 20


async def test_lines_ahead_are_bounded(node: Node) -> None:
    for size in range(1, 200):
        assert node.finality.add(node.line(1, size)) is Added.AHEAD
    assert sum(len(waiting) for waiting in node.finality._ahead.values()) == 32
    assert max(node.finality._ahead[1]) == 199


async def test_forged_lines_are_refused_and_count_for_nothing(node: Node) -> None:
    await node.append(5)
    good = node.line(1, 5)
    forgeries = [
        Cosigned(member=2, size=5, root=good.root, timestamp=NOW, signature=good.signature),
        Cosigned(member=1, size=5, root=good.root, timestamp=NOW + 1, signature=good.signature),
        Cosigned(member=1, size=6, root=good.root, timestamp=NOW, signature=good.signature),
        Cosigned(member=1, size=5, root=bytes(32), timestamp=NOW, signature=good.signature),
        Cosigned(member=4, size=5, root=good.root, timestamp=NOW, signature=good.signature),
        Cosigned(member=1, size=0, root=good.root, timestamp=NOW, signature=good.signature),
        Cosigned(member=1, size=5, root=good.root, timestamp=NOW, signature=bytes(64)),
    ]
    assert [node.finality.add(line) for line in forgeries] == [Added.REFUSED] * len(forgeries)
    assert len(node.finality.lines(5)) == 1
    assert node.finality.conflicts == ()


async def test_one_liar_raises_the_alarm_and_stops_nothing(node: Node) -> None:
    """R39 without a veto: evidence is kept, the others' quorum still makes sizes final."""
    await node.append(5)
    lie = node.line(3, 5, root=b"\xee" * 32)
    assert node.finality.add(lie) is Added.CONFLICT
    (conflict,) = node.finality.conflicts
    assert (conflict.line, conflict.own_root) == (lie, root_at(5))
    assert "KE" in (node.finality.alarm or "")
    assert not node.finality.stopped
    node.finality.add(node.line(1, 5))
    node.finality.add(node.line(2, 5))
    assert node.finality.final_size == 5
    node.start()
    assert node.finality.conflicts == (conflict,), "evidence survives a restart"


async def test_more_than_f_contradictions_stop_cosigning_and_finality(node: Node) -> None:
    await node.append(5)
    for member in (2, 3):
        node.finality.add(node.line(member, 5, root=b"\xee" * 32))
    assert node.finality.stopped
    await node.append(6)
    assert [line.size for line in node.sent] == [5], "it went on cosigning"
    node.finality.add(node.line(1, 6))
    node.finality.add(node.line(2, 6))
    node.finality.add(node.line(3, 6))
    assert (node.finality.final, node.finality.final_size) == (None, 0)
    assert node.finality.lean_note() is None


async def test_a_contradiction_of_a_long_final_size_is_still_seen(node: Node) -> None:
    await node.append(5)
    for member in (1, 2):
        node.finality.add(node.line(member, 5))
    for size in range(6, 9):
        await node.append(size)
        for member in (1, 2):
            node.finality.add(node.line(member, size))
    node.start()
    assert node.finality.final_size == 8
    assert node.finality.add(node.line(3, 5)) is Added.KNOWN
    assert node.finality.add(node.line(3, 5, root=b"\xee" * 32)) is Added.CONFLICT


async def test_after_a_restart_the_same_line_is_sent_and_no_other(node: Node) -> None:
    await node.append(5)
    (line,) = node.sent
    assert node.finality.to_resend() == [line]
    node.now -= 50  # a clock set back
    node.start()
    await node.settle()
    assert node.finality.to_resend() == [line] == [node.finality.newest_own()]
    assert node.sent == [line]
    await node.append(6)
    assert node.sent[1].timestamp == line.timestamp, "timestamps never go back (R6)"


async def test_what_was_appended_before_a_crash_is_cosigned_after_it(node: Node) -> None:
    node.size = 7
    node.start()
    await node.settle()
    assert [line.size for line in node.sent] == [7]


async def test_a_store_behind_its_cosign_file_is_damaged(node: Node) -> None:
    await node.append(5)
    node.size = 4
    with pytest.raises(StoreDamaged, match=r"cosigned 5.*foedus repair"):
        node.start()


async def test_a_rebuild_may_be_behind_but_signs_nothing_again(node: Node) -> None:
    await node.append(5)
    node.size = 1
    node.store.put_meta(keys.META_REBUILD, keys.u64(5))
    node.start()
    await node.append(3)
    await node.append(5)
    assert [line.size for line in node.sent] == [5]
    await node.append(6)
    assert [line.size for line in node.sent] == [5, 6]


async def test_a_log_that_contradicts_what_was_signed_never_signs_again(node: Node) -> None:
    await node.append(5)
    state = node.sign_state.cosign()
    assert state is not None
    other = type(state)(
        size=state.size, root=b"\x99" * 32, timestamp=state.timestamp, signature=state.signature
    )
    node.sign_state.save_cosign(other)
    node.start()
    assert node.finality.stopped
    assert "cosigned root 9999" in (node.finality.alarm or "")
    await node.append(6)
    assert [line.size for line in node.sent] == [5]


async def test_a_node_far_behind_skips_to_the_newest(node: Node) -> None:
    for size in range(1, 150):
        node.finality.appended(size, 1_000 * size)
    node.size = 149
    await node.settle()
    assert len(node.sent) < 60
    assert node.sent[-1].size == 149


async def test_final_checkpoints_survive_a_restart(node: Node) -> None:
    await node.append(5)
    for member in (1, 2):
        node.finality.add(node.line(member, 5))
    node.start()
    assert node.finality.final_size == 5
    assert [line.member for line in node.finality.final_lines()] == [0, 1, 2]
    node.store.put_cosignatures([(5, 1, encode_cosigned(node.line(2, 5)))])
    row = encode_cosigned(node.line(1, 5))
    node.store.put_cosignatures([(5, 1, row[:-1] + bytes([row[-1] ^ 1]))])
    with pytest.raises(StoreDamaged, match="does not verify"):
        node.start()


async def test_who_lacks_the_certificate_of_an_epochs_end_knows_it_and_takes_it_late(
    node: Node,
) -> None:
    """It was down when the members cosigned: until something is appended nobody sends that size again (driver seed 0x1df)."""
    await node.append(5)
    node.start(5)
    assert node.finality.final_size == 0
    assert node.finality.uncertified_end() == (0, 5)
    assert node.finality.add(node.line(1, 5), epoch=1) is Added.REFUSED, "of another epoch"
    for member in (1, 2):
        assert node.finality.add(node.line(member, 5), epoch=0) is Added.HELD
    assert node.finality.final_size == 5
    assert node.finality.uncertified_end() is None


async def test_an_epochs_end_is_certified_also_where_a_later_size_is_final_already(
    node: Node,
) -> None:
    await node.append(5)
    node.start(5)
    await node.append(9)
    for member in (1, 2):
        node.finality.add(node.line(member, 9))
    assert node.finality.final_size == 9
    node.start(5)
    assert node.finality.uncertified_end() == (0, 5)
    assert node.finality.add(node.line(1, 5), epoch=0) is Added.HELD
    node.start(5)  # the first line is on the disk, and counts with those that come
    assert node.finality.add(node.line(2, 5), epoch=0) is Added.HELD
    assert node.finality.add(node.line(3, 5), epoch=0) is Added.HELD
    assert node.finality.uncertified_end() is None
    assert node.finality.final_size == 9
    assert node.finality.add(node.line(3, 4), epoch=0) is Added.KNOWN, "any other size is final"


async def test_old_certificates_thin_out_to_one_a_minute(node: Node) -> None:
    for size in range(1, 8):
        node.now = NOW + 20 * size
        await node.append(size)
        for member in (1, 2):
            node.finality.add(node.line(member, size, time=node.now))
    kept = node.store.cosigned_sizes(0, 100, 100)
    assert kept[-1] == 7, "the newest stays"
    assert 2 <= len(kept) <= 4


async def test_notes_open_with_the_published_keys(node: Node) -> None:
    await node.append(5)
    for member in (1, 2, 3):
        node.finality.add(node.line(member, 5))
    genesis, nodes = node.founding.genesis, node.founding.nodes
    vkeys = [log_vkey(genesis.origin, nodes[0].log.public)] + [
        cosigner_vkey(genesis.origin, keys_.state, keys_.cosigner.public) for keys_ in nodes
    ]
    for note in (node.finality.lean_note(), node.finality.full_note()):
        assert note is not None
        opened = open_checkpoint(bytes(note), vkeys, verify_ed25519)
        assert (opened.checkpoint.size, opened.checkpoint.root) == (5, root_at(5))
        assert len(opened.signers) == 5


def test_a_line_travels_as_its_bytes() -> None:
    line = Cosigned(member=3, size=2**40, root=b"r" * 32, timestamp=NOW, signature=b"s" * 64)
    data = encode_cosigned(line)
    assert len(data) == 114
    assert parse_cosigned(data) == line
    for bad in (data[:-1], data + b"\x00", data[:42] + b"\xff" * 8 + data[50:]):
        with pytest.raises(MalformedRecord):
            parse_cosigned(bad)

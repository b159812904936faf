"""From commits to the ledger and from the mempool to blocks; cosignatures; what peers are answered from the store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from consensus.committee import Committee
from consensus.dag import Dag
from consensus.events import CommitDecided
from consensus.linearizer import Linearizer
from consensus.types import (
    Block,
    CommitIndex,
    CommitRecord,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)
from node.engine import applying
from node.engine.applying import GROUP_COMMITS_MAX, Applier
from node.engine.catching_up import CommitServer
from node.engine.gossip import Gossip
from node.engine.hosting import BACKLOG_BLOCKS_MAX, Host
from node.engine.payload import OwnPayload
from node.engine.prefetching import Prefetcher
from node.ledger.cosigned import Added, Cosigned, encode_cosigned
from node.ledger.ledger import Ledger
from node.ledger.mempool import Place
from node.network import wire
from node.network.hosting import Rejected
from node.signing.statements import entry_hash
from node.storage.epoch_blocks import EpochBlocks
from tests.unit.engine.nodes import block_of, committee, data_of
from tests.unit.ledger.founding import Founding, found
from tests.unit.ledger.running import Running, start
from tests.unit.network.members import until

CHAIN = wire.Chain(bytes(32), 0)


@pytest.fixture
def founding() -> Founding:
    return found()


@pytest.fixture
async def running(founding: Founding, tmp_path: Path) -> AsyncIterator[Running]:
    started = await start(founding, tmp_path)
    yield started
    started.close()


class Commits:
    """Commits of hand-made blocks, one block each, numbered as the core would."""

    def __init__(self, founding: Founding) -> None:
        self._founding = founding
        self._committee: Committee = committee(founding)
        self._index = 0

    def next(self, *payload: bytes) -> CommitDecided:
        """A commit whose leader is a fresh block of member 1 with this payload, as its only block."""
        dag = Dag(self._committee)
        block = block_of(self._founding, 1, payload=payload).block
        dag.accept(block)
        commit = Linearizer(self._committee).order(dag, block.ref)
        self._index += 1
        numbered = _renumbered(commit, self._index)
        return CommitDecided(record=CommitRecord(commit=numbered, deciders=()), blocks=(block,))


def _renumbered(commit: Any, index: int) -> Any:
    return replace(commit, index=CommitIndex(index), time_ms=commit.time_ms + index)


async def test_commits_reach_the_ledger_in_order_with_their_records(
    founding: Founding, running: Running
) -> None:
    author, agency = founding.author(), founding.agencies[0]
    told: list[int] = []
    applier = Applier(
        running.ledger, committee(founding), (), lambda applied: told.append(applied.index)
    )
    commits = Commits(founding)
    entries = [author.facility("dc1", agency), author.energy(1), author.energy(2)]
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(applier.run())
        await applier.put(commits.next(*entries[:2]))
        await applier.put(commits.next())
        await applier.put(commits.next(entries[2]))
        await until(lambda: len(told) == 3, "three commits applied")
        task.cancel()
    ledger = running.ledger
    assert told == [1, 2, 3]
    assert [ledger.entry(index).leaf for index in ledger.list_indexes(author="op0")] == entries
    assert running.store.commit_record(3) is not None
    assert len(applier) == 0


async def test_a_ledger_that_is_behind_stops_payload_then_the_core(
    founding: Founding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "PAUSE_COMMITS", 2)
    monkeypatch.setattr(applying, "COMMITS_MAX", 3)
    ledger = _SlowLedger()
    applier = Applier(cast(Ledger, ledger), committee(founding), (), lambda _: None)
    commits = Commits(founding)
    behind = []
    for _ in range(3):
        await applier.put(commits.next())
        behind.append(applier.is_behind)
    assert behind == [False, True, True]
    fourth = asyncio.ensure_future(applier.put(commits.next()))
    await asyncio.sleep(0.01)
    assert not fourth.done()
    run = asyncio.ensure_future(applier.run())
    ledger.go.set()
    await asyncio.wait_for(fourth, 5)
    await until(lambda: len(ledger.applied) == 4, "all applied")
    assert ledger.applied == [1, 2, 3, 4]
    run.cancel()
    await asyncio.wait((run,))


async def test_the_commit_under_way_is_finished_when_the_node_stops(founding: Founding) -> None:
    ledger = _SlowLedger()
    applier = Applier(cast(Ledger, ledger), committee(founding), (), lambda _: None)
    commits = Commits(founding)
    await applier.put(commits.next())
    run = asyncio.ensure_future(applier.run())
    await until(lambda: ledger.begun, "the first is under way")
    await applier.put(commits.next())
    run.cancel()
    await asyncio.sleep(0.01)
    assert not run.done()
    ledger.go.set()
    await asyncio.wait((run,), timeout=5)
    assert run.cancelled()
    assert ledger.applied == [1]


async def test_commits_that_wait_share_a_flush_and_one_that_does_not_wait_has_its_own(
    founding: Founding, running: Running
) -> None:
    author, agency = founding.author(), founding.agencies[0]
    commits = Commits(founding)
    told: list[int] = []
    applier = Applier(
        running.ledger, committee(founding), (), lambda applied: told.append(applied.index)
    )
    await applier.put(commits.next(author.facility("dc1", agency)))
    for wh in range(GROUP_COMMITS_MAX):
        await applier.put(commits.next(author.energy(wh)))
    before = running.store.flushes
    run = asyncio.ensure_future(applier.run())
    last = GROUP_COMMITS_MAX + 1
    await until(lambda: len(told) == last, "all applied")
    assert running.store.flushes == before + 2  # sixteen, and the one that was too many
    assert told == list(range(1, last + 1))
    await applier.put(commits.next(author.energy(99)))
    await until(lambda: len(told) == last + 1, "the next")
    assert running.store.flushes == before + 3
    run.cancel()
    await asyncio.wait((run,))


class _SlowLedger:
    """A FAKE ledger: applies when it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self.applied: list[int] = []

    async def apply_all(self, work: Sequence[tuple[Any, bytes]]) -> list[Any]:
        assert all(engine_record for _, engine_record in work)
        self.begun += 1
        await self.go.wait()
        self.applied += [batch.index for batch, _ in work]
        return [batch for batch, _ in work]


# --- payload -------------------------------------------------------------------------------------


async def test_entries_go_into_blocks_and_come_back_from_void_ones(
    founding: Founding, running: Running
) -> None:
    author, agency = founding.author(), founding.agencies[0]
    entries = [author.facility("dc1", agency), author.energy(1)]
    for entry in entries:
        await running.admission.submit(entry)
    own = OwnPayload(ValidatorIndex(0), running.mempool)
    payload = own.take()
    assert list(payload) == entries
    assert running.mempool.pending() == 0
    block = block_of(founding, 0, payload=payload).block
    own.made(block)
    own.void(block.ref)
    assert running.mempool.pending() == 2
    assert own.take() == payload
    own.made(block)
    decided = CommitRecord(commit=_commit_of(founding, block), deciders=())
    own.committed(decided)
    own.void(block.ref)  # committed: not given back
    assert running.mempool.pending() == 0


async def test_after_a_restart_only_what_no_open_block_holds_is_proposed_again(
    founding: Founding, running: Running
) -> None:
    author, agency = founding.author(), founding.agencies[0]
    entries = [author.facility("dc1", agency), author.energy(1), author.energy(2)]
    for entry in entries:
        await running.admission.submit(entry)
    own = OwnPayload(ValidatorIndex(0), running.mempool)
    open_block = block_of(founding, 0, payload=(entries[0],)).block
    committed = block_of(founding, 0, round_=2, payload=(entries[1],)).block
    other = block_of(founding, 1, payload=(entries[2],)).block
    record = CommitRecord(commit=_commit_of(founding, committed), deciders=())
    own.restored([open_block, committed, other], [record])
    pending = running.mempool.find(entry_hash(entries[0]))
    assert pending is not None
    assert pending.place is Place.PROPOSED
    assert own.take() == tuple(entries[1:])
    own.void(open_block.ref)
    assert own.take() == (entries[0],)


def _commit_of(founding: Founding, block: Block) -> Any:
    template = Commits(founding).next().record.commit
    return replace(template, leader=block.ref, blocks=(block.ref,))


# --- signatures ahead of time --------------------------------------------------------------------


async def test_signatures_are_known_before_the_commit(founding: Founding, running: Running) -> None:
    author, agency = founding.author(), founding.agencies[0]
    entry = author.facility("dc1", agency)
    prefetcher = Prefetcher(running.ledger, running.pool)
    key = author.keys.author.public
    prefetcher.add(block_of(founding, 1, payload=(entry,)).block)
    task = asyncio.ensure_future(prefetcher.run())
    await until(lambda: running.pool.known(entry_hash(entry), key), "verdict remembered")
    task.cancel()
    await asyncio.wait((task,))


async def test_what_is_committed_first_is_left_to_the_ledger(
    founding: Founding, running: Running
) -> None:
    author, agency = founding.author(), founding.agencies[0]
    first, second = author.facility("dc1", agency), author.energy(1)
    prefetcher = Prefetcher(running.ledger, running.pool)
    committed = block_of(founding, 1, payload=(first,)).block
    prefetcher.add(committed)
    prefetcher.add(block_of(founding, 2, payload=(second,)).block)
    prefetcher.committed([committed])
    task = asyncio.ensure_future(prefetcher.run())
    key = author.keys.author.public
    await until(lambda: running.pool.known(entry_hash(second), key), "the second is checked")
    assert running.pool.known(entry_hash(first), key) is None
    task.cancel()
    await asyncio.wait((task,))


# --- cosignatures --------------------------------------------------------------------------------


class _Wire:
    """A FAKE network of one peer that holds `held`."""

    def __init__(self, held: list[bytes]) -> None:
        self.held = held
        self.sent: list[bytes] = []
        self.asked: list[int] = []
        self.charged: list[str] = []

    def broadcast(self, frame: bytes) -> None:
        self.sent.append(frame)

    def members(self) -> list[int]:
        return [1]

    def is_connected(self, member: int) -> bool:
        return member == 1

    async def cosignatures(self, member: int, size: int) -> tuple[bytes, ...]:
        del member
        self.asked.append(size)
        return tuple(self.held)

    def charge(self, member: int, why: str, points: float) -> None:
        del member, points
        self.charged.append(why)


async def _lines(founding: Founding, folder: Path, entry: bytes) -> list[Cosigned]:
    """What members 1 to 3 cosign once they have this entry."""
    found_: list[Cosigned] = []
    for own in (1, 2, 3):
        other = await start(founding, folder / str(own), own=own)
        task = asyncio.ensure_future(other.finality.run())
        await other.commit(entry)
        size = other.ledger.size

        def own_line(other: Running = other, size: int = size) -> bool:
            line = other.finality.newest_own()
            return line is not None and line.size == size

        await until(own_line, "its line")
        line = other.finality.newest_own()
        assert line is not None
        found_.append(line)
        task.cancel()
        await asyncio.wait((task,))
        other.close()
    return found_


async def test_lost_lines_are_pulled_and_make_it_final(
    founding: Founding, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.engine.gossip.EVERY_S", 0.02)
    entry = founding.author().facility("dc1", founding.agencies[0])
    lines = await _lines(founding, tmp_path / "others", entry)
    network = _Wire([encode_cosigned(line) for line in lines])
    gossip = Gossip(running.finality, cast(Any, network))
    running.finality.on_line(gossip.send)
    tasks = [
        asyncio.ensure_future(running.finality.run()),
        asyncio.ensure_future(gossip.run()),
    ]
    await running.commit(entry)
    size = running.ledger.size
    await until(lambda: running.finality.final_size == size, "final by what was pulled")
    assert network.asked  # for this size, or for the founding one: the answer held both
    finality = running.finality
    await until(
        lambda: (own := finality.newest_own()) is not None and own.size == size, "the own line"
    )
    assert network.sent
    assert gossip.newest_of(1) == size
    greeting = gossip.greeting()
    assert greeting is not None
    frame = wire.read_frame(greeting)
    assert isinstance(frame, wire.Cosigned)
    assert set(frame.lines) >= {encode_cosigned(line) for line in lines}
    assert set(gossip.lines(size)) == set(frame.lines)
    sent = len(network.sent)
    await asyncio.sleep(0.1)
    assert len(network.sent) == sent  # final: no more re-sending
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_line_of_nobody_is_rejected(running: Running) -> None:
    gossip = Gossip(running.finality, cast(Any, _Wire([])))
    line = Cosigned(member=1, size=1, root=bytes(32), timestamp=1, signature=bytes(64))
    assert running.finality.add(line) is Added.REFUSED
    for data in (encode_cosigned(line), b"", bytes(113), bytes(115)):
        with pytest.raises(Rejected):
            gossip.take([data])
    assert gossip.newest_of(1) == 0


# --- answers from the store ----------------------------------------------------------------------


def chain_of_own(founding: Founding, rounds: int) -> list[VerifiedBlock]:
    """Own blocks of rounds 1.. that only refer to one another: for the backlog nobody looks further."""
    blocks = [block_of(founding, 0)]
    for round_ in range(2, rounds + 1):
        blocks.append(block_of(founding, 0, round_=round_, parents=(blocks[-1].block.ref,)))
    return blocks


async def test_peers_are_answered_from_the_store(founding: Founding, running: Running) -> None:
    gossip = Gossip(running.finality, cast(Any, _Wire([])))
    readers: list[tuple[str, int]] = []
    host = Host(
        EpochBlocks(running.store),
        committee(founding),
        ValidatorIndex(0),
        CommitServer(
            EpochBlocks(running.store), running.store, running.finality, running.ledger.epoch
        ),
        lambda: gossip,
        on_reader=lambda member: readers.append(("came", member)),
        on_reader_left=lambda member: readers.append(("left", member)),
    )
    assert host.newest_own_frame() is None
    assert host.own_blocks_above(Round(0)) == []
    blocks = chain_of_own(founding, 40)
    data = [data_of(block) for block in blocks]
    running.store.put_blocks([(b.block.ref, d) for b, d in zip(blocks, data, strict=True)])

    assert host.own_blocks_above(Round(35)) == data[35:]
    assert host.own_blocks_above(Round(40)) == data[39:]  # the newest at least
    assert host.own_blocks_above(Round(0)) == data[-BACKLOG_BLOCKS_MAX:]
    assert host.newest_own_frame() == wire.bundle_frame([data[-1]])
    assert wire.read_frame(host.greeting(Round(38))[0]) == wire.Bundle(tuple(data[38:]))

    ref = blocks[4].block.ref
    unknown = Ref(Round(3), ValidatorIndex(2), ref.digest)
    fetched = host.fetch(wire.Fetch(CHAIN, (ref, unknown), Round(3)))
    assert fetched.blocks == (data[3], data[4])
    ranged = host.fetch_range(wire.FetchRange(CHAIN, Round(2), Round(4)))
    assert ranged == wire.Ranged(tuple(data[1:4]), Round(4), Round(40))
    assert host.newest(wire.GetNewest(CHAIN, ValidatorIndex(0))) == data[-1]
    assert host.newest(wire.GetNewest(CHAIN, ValidatorIndex(3))) is None
    assert host.fetch_below(wire.FetchBelow(CHAIN, CommitIndex(0))).commits == ()
    host.reader_came(2)
    host.reader_left(2)
    assert readers == [("came", 2), ("left", 2)]

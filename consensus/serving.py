"""What peers ask, answered from the store; and what a core starts from after a restart (SPEC 4, 10; PACEMAKER P1, P3, P6).

These read the store and change nothing, so they need no core: a node that is not ready yet answers all the same, or else every
restarting validator would wait for another. All answers are bounded in bytes; who asked for more asks again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from consensus.codec import (
    MalformedBlock,
    decode_block,
    decode_commit_record,
    encode_commit_record,
    read_header,
)
from consensus.types import (
    BELOW_COMMITS_MAX,
    COMMITS_ANSWERED_MAX,
    COMMITS_MAX,
    FETCH_LEVELS_MAX,
    FETCH_REFS_MAX,
    GC_DEPTH,
    GENESIS_ROUND,
    LISTED_REFS_MAX,
    RANGE_ROUNDS_MAX,
    CommitIndex,
    CommitRecord,
    EquivocationProof,
    Recovered,
    Ref,
    Round,
    VerifiedBlock,
)

ANSWER_BYTES_MAX: Final = 2 * 1024 * 1024  # of blocks in one answer; gRPC's usual limit is 4 MiB


class BadQuestion(ValueError):
    """A bound of the question itself is wrong: names field and value."""


class BlockReader(Protocol):
    """A store of blocks and commit records, both as the codec's bytes."""

    def block(self, ref: Ref, /) -> bytes | None: ...

    def blocks_in_rounds(
        self, first: int, last: int, limit_bytes: int, /
    ) -> list[tuple[Ref, bytes]]:
        """Ascending by ref, cut before `limit_bytes` is passed; at least one if there is any."""
        ...

    def newest_block_of(self, author: int, /) -> tuple[Ref, bytes] | None: ...

    def commit_record(self, index: int, /) -> bytes | None: ...

    def last_commit_index(self) -> int:
        """0 before the first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchServed:
    blocks: tuple[bytes, ...]  # ascending by round
    floor: Round
    below: tuple[Ref, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeServed:
    blocks: tuple[bytes, ...]  # ascending by ref
    complete_through: Round  # the round before the first, if none is served whole
    highest_round: Round


@dataclass(frozen=True, slots=True, kw_only=True)
class BelowServed:
    floor: Round
    commits: tuple[tuple[CommitIndex, tuple[bytes, ...]], ...]  # each with its deciders


class Certifier(Protocol):
    """Which commits this node can prove to be a quorum's (RULINGS R45)."""

    def last_certified(self, first: int, last: int, /) -> CommitIndex | None:
        """The highest such commit in first..last."""
        ...

    def next_certified(self, after: int, /) -> CommitIndex | None:
        """The lowest such commit above `after`."""
        ...


def floor_of(reader: BlockReader, gc_depth: int = GC_DEPTH) -> Round:
    """The floor after the last stored commit: blocks at or below it are void or committed."""
    record = _record(reader, reader.last_commit_index())
    if record is None:
        return GENESIS_ROUND
    return Round(max(GENESIS_ROUND, record.commit.leader.round - gc_depth))


def serve_fetch(
    reader: BlockReader,
    refs: Sequence[Ref],
    known_round: int,
    *,
    bytes_max: int = ANSWER_BYTES_MAX,
    gc_depth: int = GC_DEPTH,
) -> FetchServed:
    """The blocks asked for and their ancestors above `known_round`, nearest levels first, within the byte budget.

    Raises BadQuestion.
    """
    if not 1 <= len(refs) <= FETCH_REFS_MAX:
        raise BadQuestion(f"refs={len(refs)}: from 1 to {FETCH_REFS_MAX}")
    floor = floor_of(reader, gc_depth)
    found: dict[Ref, bytes] = {}
    asked = dict.fromkeys(refs)
    below: list[Ref] = []
    level, size = list(asked), 0
    for _ in range(FETCH_LEVELS_MAX):
        parents: dict[Ref, None] = {}
        for ref in level:
            data = reader.block(ref)
            if data is None:
                if ref in asked and ref.round <= floor:
                    below.append(ref)
                continue
            if found and size + len(data) > bytes_max:
                return _fetched(found, floor, below)
            found[ref] = data
            size += len(data)
            for parent in read_header(data).parents:
                if parent.round > known_round and parent not in found:
                    parents[parent] = None
        if not parents:
            break
        level = sorted(parents, reverse=True)
    return _fetched(found, floor, below)


def _fetched(found: dict[Ref, bytes], floor: Round, below: list[Ref]) -> FetchServed:
    return FetchServed(
        blocks=tuple([found[ref] for ref in sorted(found)]), floor=floor, below=tuple(below)
    )


def serve_range(
    reader: BlockReader,
    first: int,
    last: int,
    *,
    validators: int,
    bytes_max: int = ANSWER_BYTES_MAX,
) -> RangeServed:
    """All blocks held of rounds first..last, whole rounds as far as the byte budget goes.

    The first round always counts as served, so that a requester gets on; of one larger than the budget the rest is asked for by
    name, as parents of the next. Raises BadQuestion.
    """
    if not 1 <= first <= last or last - first >= RANGE_ROUNDS_MAX:
        raise BadQuestion(f"rounds {first}..{last}: at most {RANGE_ROUNDS_MAX}, from 1 on")
    newest = [reader.newest_block_of(author) for author in range(validators)]
    highest = max((found[0].round for found in newest if found is not None), default=GENESIS_ROUND)
    served: list[bytes] = []
    complete, size = first - 1, 0
    for number in range(first, min(last, highest) + 1):
        blocks = reader.blocks_in_rounds(number, number, bytes_max)
        size += sum(len(data) for _, data in blocks)
        if served and size > bytes_max:
            break
        served += [data for _, data in blocks]
        complete = number
    return RangeServed(
        blocks=tuple(served), complete_through=Round(complete), highest_round=Round(highest)
    )


def serve_below(
    reader: BlockReader,
    after_commit: int,
    *,
    bytes_max: int = ANSWER_BYTES_MAX,
    gc_depth: int = GC_DEPTH,
) -> BelowServed:
    """For each commit after `after_commit`, the blocks that decided it, as far as the bounds go (P1, RULINGS R73)."""
    commits: list[tuple[CommitIndex, tuple[bytes, ...]]] = []
    size = 0
    last = min(reader.last_commit_index(), after_commit + BELOW_COMMITS_MAX)
    for index in range(after_commit + 1, last + 1):
        record = _record(reader, index)
        if record is None:
            break
        blocks = [data for ref in record.deciders if (data := reader.block(ref)) is not None]
        size += sum(map(len, blocks))
        if commits and size > bytes_max:
            break
        commits.append((CommitIndex(index), tuple(blocks)))
    return BelowServed(floor=floor_of(reader, gc_depth), commits=tuple(commits))


def serve_commits(
    reader: BlockReader,
    first: int,
    last: int,
    certifier: Certifier,
    *,
    bytes_max: int = ANSWER_BYTES_MAX,
) -> list[bytes]:
    """Commits from `first` on, without their deciders, ending with one that can be certified (SPEC 11).

    The last such one in first..last that the bytes allow; where none is, on to the next one. Empty if there is none, or it is
    too far. Raises BadQuestion.
    """
    if not 1 <= first <= last or last - first >= COMMITS_MAX:
        raise BadQuestion(f"commits {first}..{last}: at most {COMMITS_MAX}, from 1 on")
    through = certifier.last_certified(first, last) or certifier.next_certified(last)
    if through is None or through - first >= COMMITS_ANSWERED_MAX:
        return []
    found: list[bytes] = []
    size, epoch = 0, None
    for index in range(first, through + 1):
        record = _record(reader, index)
        if record is None or epoch not in (None, record.commit.epoch):
            break
        epoch = record.commit.epoch
        data = encode_commit_record(CommitRecord(commit=record.commit, deciders=()))
        size += len(data)
        if size > bytes_max:
            break
        found.append(data)
    if first + len(found) <= through:  # cut short: to what can be certified of it
        end = certifier.last_certified(first, first + len(found) - 1) if found else None
        return [] if end is None else found[: end - first + 1]
    return found


def serve_listed(
    reader: BlockReader, refs: Sequence[Ref], *, bytes_max: int = ANSWER_BYTES_MAX
) -> list[bytes]:
    """Exactly these blocks, those that are held, as far as the bytes go. Raises BadQuestion."""
    if not 1 <= len(refs) <= LISTED_REFS_MAX:
        raise BadQuestion(f"refs={len(refs)}: from 1 to {LISTED_REFS_MAX}")
    found: list[bytes] = []
    size = 0
    for ref in refs:
        data = reader.block(ref)
        if data is None:
            continue
        size += len(data)
        if found and size > bytes_max:
            break
        found.append(data)
    return found


def serve_newest(reader: BlockReader, author: int) -> bytes | None:
    """The newest block held of this author."""
    found = reader.newest_block_of(author)
    return found[1] if found is not None else None


def recover(
    reader: BlockReader,
    own: VerifiedBlock | None,
    *,
    evidence: tuple[EquivocationProof, ...] = (),
    after_commit: int = 0,
    gc_depth: int = GC_DEPTH,
    bytes_max: int = 1 << 40,
) -> Recovered:
    """What the core of this store starts from. `own`: the block in the sign state. `evidence`: the proofs kept.

    `after_commit`: the last commit of the epoch before; `reader` shows blocks of this epoch alone.

    Blocks were verified before they were stored, so they are trusted as read. Raises MalformedBlock: the store is damaged.
    """
    floor = floor_of(reader, gc_depth)
    records: list[CommitRecord] = []
    for index in range(reader.last_commit_index(), after_commit, -1):
        record = _record(reader, index)
        if record is None:
            raise MalformedBlock(f"commit {index} is below the last one and not stored")
        records.append(record)
        if record.commit.leader.round <= floor:
            break
    records.reverse()
    blocks = reader.blocks_in_rounds(floor + 1, 0xFFFF_FFFF, bytes_max)
    return Recovered(
        own=own,
        blocks=tuple([VerifiedBlock(decode_block(data)) for _, data in blocks]),
        records=tuple(records),
        evidence=evidence,
    )


def _record(reader: BlockReader, index: int) -> CommitRecord | None:
    data = reader.commit_record(index) if index > 0 else None
    return decode_commit_record(data) if data is not None else None

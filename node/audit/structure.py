"""From entries to the root: whether what is stored hangs together, and if not, which part of it is wrong.

Two trees are grown side by side, one from the entries and one from the leaf hashes that the source keeps; every other stored hash
is compared on the way. Where the two part, the cosigned root tells which side was altered:

    entries -> cosigned root, stored hash differs     the hash was altered
    hashes  -> cosigned root, entry differs           the entry was altered
    neither                                           both stand as found: the law, or another source, says more
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from node.audit import swift
from node.audit.archive import ArchiveSource
from node.audit.findings import Depth, Findings
from node.audit.source import Lost, Source, lost_entries
from node.audit.swift import Workers
from node.log import merkle
from node.log.merkle import EMPTY_TREE, HashRun, Tree
from node.log.tiles import TILE_HEIGHT, TILE_WIDTH

Tick = Callable[[int], None]
"""Told how many entries were done since the last call."""

STEP: Final = TILE_WIDTH
LOST_MAX: Final = (
    20_000  # hashes that cannot be read, before the rest is called lost without a look at each
)


@dataclass(slots=True, kw_only=True)
class Structure:
    """What the pass over one source came to."""

    size: int
    roots: dict[int, bytes] = field(default_factory=dict)  # wanted size -> root by the entries
    stored_roots: dict[int, bytes] = field(
        default_factory=dict
    )  # the same by the stored leaf hashes
    parted: list[int] = field(
        default_factory=list
    )  # entries that differ from their stored hash, ascending
    lost: dict[int, Lost] = field(default_factory=dict)  # entries that cannot be read
    wrong_hashes: list[tuple[int, int]] = field(default_factory=list)  # (level, index)
    lost_hashes: dict[tuple[int, int], Lost] = field(default_factory=dict)
    given_up_at: int | None = None  # from this entry on nothing was looked at
    broken_at: int | None = None  # from this entry on neither entry nor hash is known

    def root_at(self, size: int) -> bytes:
        """By the entries; a size that was not wanted, or lies behind what is lost, raises Lost."""
        if size not in self.roots:
            raise Lost(f"root at size {size}: entry {self.broken_at} and its hash are lost")
        return self.roots[size]


def examine(
    source: Source, wanted: Sequence[int], tick: Tick, workers: Workers | None = None
) -> Structure:
    """Read all of a source once. `wanted`: sizes at which the root is asked for; the source's own is always known.

    An archive is first looked at by `workers`, if there are any; only what is wrong with it is told entry by entry.
    """
    if workers is not None and isinstance(source, ArchiveSource):
        marks = sorted({size for size in wanted if 0 < size <= source.size} | {source.size})
        try:
            found_roots = swift.roots(source, marks, workers, tick)
        except Lost:
            found_roots = None
        if found_roots is not None:
            return Structure(size=source.size, roots=found_roots, stored_roots=dict(found_roots))
    found = Structure(size=source.size)
    by_entries: Tree | None = EMPTY_TREE
    by_hashes: Tree | None = EMPTY_TREE
    marks = sorted({size for size in wanted if 0 < size <= source.size} | {source.size})
    first = 0
    while first < source.size:
        following = next(mark for mark in marks if mark > first)
        end = min(first // STEP * STEP + STEP, following)
        stored = _stored(source, found, first, end - first)
        leaves = _leaf_hashes(source, found, stored, first, end - first)
        by_entries = _grow(source, found, by_entries, leaves)
        by_hashes = _grow_alone(
            by_hashes, [kept or made for kept, made in zip(stored, leaves, strict=True)]
        )
        if end in marks and by_entries is not None and by_hashes is not None:
            found.roots[end], found.stored_roots[end] = by_entries.root(), by_hashes.root()
        tick(end - first)
        first = end
        if len(found.lost_hashes) > LOST_MAX:  # a size that was only claimed has no end
            found.given_up_at = end if end < source.size else None
            break
    return found


def prover(source: Source) -> Callable[[int, int], list[bytes]]:
    """Consistency proofs of a source's stored tree; whether they hold, the caller checks. Raises Lost."""

    def prove(old_size: int, new_size: int) -> list[bytes]:
        return merkle.consistency_proof(old_size, new_size, reader_of(source))

    return prove


def prover_of_inclusion(source: Source) -> Callable[[int, int], list[bytes]]:
    """The same for inclusion proofs: (index, size)."""

    def prove(index: int, size: int) -> list[bytes]:
        return merkle.inclusion_proof(index, size, reader_of(source))

    return prove


def reader_of(source: Source) -> merkle.ReadHash:
    """Hashes of any level, out of those that this source stores. Calls raise Lost."""

    def read(level: int, index: int) -> bytes:
        stored = level if source.every_level else level - level % TILE_HEIGHT
        count = 1 << level - stored
        return swift.fold(source.hashes(stored, index * count, count))

    return read


def _stored(source: Source, found: Structure, first: int, count: int) -> list[bytes | None]:
    try:
        return list(source.hashes(0, first, count))
    except Lost:
        pass
    kept: list[bytes | None] = []
    for index in range(first, first + count):
        try:
            kept += source.hashes(0, index, 1)
        except Lost as lost:
            found.lost_hashes[0, index] = lost
            kept.append(None)
    return kept


def _leaf_hashes(
    source: Source, found: Structure, stored: Sequence[bytes | None], first: int, count: int
) -> list[bytes | None]:
    """By the entries; where one is lost its stored hash stands in. None where both are gone: there the tree ends."""
    leaves: list[bytes | None]
    if not source.shows_entries:
        leaves = list(stored)
    else:
        entries = _entries(source, found, first, count)
        leaves = []
        for index, kept in enumerate(stored, start=first):
            leaf = merkle.leaf_hash(entries[index]) if index in entries else None
            if leaf is not None and kept is not None and leaf != kept:
                found.parted.append(index)
            leaves.append(kept if leaf is None else leaf)
    if None in leaves and found.broken_at is None:
        found.broken_at = first + leaves.index(None)
    return leaves


def _entries(source: Source, found: Structure, first: int, count: int) -> dict[int, bytes]:
    """Those that can be read, by index; the others are noted."""
    try:
        return dict(enumerate(source.entries(first, count), start=first))
    except Lost:
        lost = lost_entries(source, first, count)
    found.lost.update(lost)
    return {
        index: source.entries(index, 1)[0]
        for index in range(first, first + count)
        if index not in lost
    }


def _grow_alone(tree: Tree | None, leaves: Sequence[bytes | None]) -> Tree | None:
    known = [leaf for leaf in leaves if leaf is not None]
    if tree is None or len(known) < len(leaves):
        return None
    return merkle.append(tree, known).tree


def _grow(
    source: Source, found: Structure, tree: Tree | None, leaves: Sequence[bytes | None]
) -> Tree | None:
    """Append, and compare every new hash above the leaves with the stored one. None once a leaf is unknown."""
    known = [leaf for leaf in leaves if leaf is not None]
    if tree is None or len(known) < len(leaves):
        return None
    grown = merkle.append(tree, known)
    for run in grown.runs:
        if run.level and (source.every_level or run.level % TILE_HEIGHT == 0):
            _compare(source, found, run)
    return grown.tree


def _compare(source: Source, found: Structure, run: HashRun) -> None:
    kept: list[bytes | None]
    try:
        kept = list(source.hashes(run.level, run.first, len(run.hashes)))
    except Lost:
        kept = []
        for index in range(run.first, run.first + len(run.hashes)):
            try:
                kept += source.hashes(run.level, index, 1)
            except Lost as lost:
                found.lost_hashes[run.level, index] = lost
                kept.append(None)
    for index, (stored, made) in enumerate(zip(kept, run.hashes, strict=True), start=run.first):
        if stored is None or stored == made:
            continue
        # Above an entry that was altered every hash differs from the made one, and none of them is to blame.
        after = bisect_left(found.parted, index << run.level)
        above = after < len(found.parted) and found.parted[after] < (index + 1) << run.level
        if not above:
            found.wrong_hashes.append((run.level, index))


def report(
    found: Structure, final: tuple[int, bytes, tuple[str, ...]] | None, findings: Findings
) -> bool:
    """Say what is lost, and which hashes are wrong; entries that parted from theirs are for `audit` to explain.

    `final` is the cosigned (size, root, signers). Returns whether the entries themselves lead to that root.
    """
    signers = () if final is None else final[2]
    stand = final is not None and found.roots.get(final[0]) == final[1] and not found.lost
    for run in _runs([(0, index) for index in found.lost]):
        (_, first), (_, last) = run[0], run[-1]
        lost = found.lost[first]
        place = {"entry": first} if first == last else {"entries": (first, last)}
        findings.add(Depth.STRUCTURE, f"cannot be read: {lost.why}", file=lost.file, **place)
    if found.broken_at is not None:
        findings.add(
            Depth.STRUCTURE,
            f"from entry {found.broken_at} on there is no root: that entry and its hash are lost",
        )
    if found.given_up_at is not None:
        findings.add(
            Depth.STRUCTURE,
            f"more than {LOST_MAX} hashes before entry {found.given_up_at} cannot be read: the rest was not looked at",
        )
    for level, index in found.wrong_hashes:
        findings.add(
            Depth.STRUCTURE,
            f"the stored tree hash of level {level}, index {index} is not that of the entries below it",
            proven_by=signers if stand else (),
        )
    for run in _runs(sorted(found.lost_hashes)):
        (level, first), (_, last) = run[0], run[-1]
        lost = found.lost_hashes[level, first]
        indexes = f"index {first}" if first == last else f"indexes {first}-{last}"
        findings.add(
            Depth.STRUCTURE,
            f"the stored tree hash of level {level}, {indexes} cannot be read: {lost.why}",
            file=lost.file,
        )
    return stand


def _runs(places: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """(level, index), ascending, cut into neighbours."""
    runs: list[list[tuple[int, int]]] = []
    for level, index in places:
        if runs and runs[-1][-1] == (level, index - 1):
            runs[-1].append((level, index))
        else:
            runs.append([(level, index)])
    return runs

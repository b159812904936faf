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

from node.audit.findings import Depth, Findings
from node.audit.source import Lost, Source, lost_entries
from node.log import merkle
from node.log.merkle import EMPTY_TREE, HashRun, Tree
from node.log.tiles import TILE_HEIGHT, TILE_WIDTH

Tick = Callable[[int], None]
"""Told how many entries were done since the last call."""

STEP: Final = TILE_WIDTH


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
    broken_at: int | None = None  # from this entry on neither entry nor hash is known

    def root_at(self, size: int) -> bytes:
        """By the entries; a size that was not wanted, or lies behind what is lost, raises Lost."""
        if size not in self.roots:
            raise Lost(f"root at size {size}: entry {self.broken_at} and its hash are lost")
        return self.roots[size]


def examine(source: Source, wanted: Sequence[int], tick: Tick) -> Structure:
    """Read all of a source once. `wanted`: sizes at which the root is asked for; the source's own is always known."""
    found = Structure(size=source.size)
    by_entries = by_hashes = EMPTY_TREE
    marks = sorted({size for size in wanted if size <= source.size} | {source.size})
    if marks and marks[0] == 0:
        found.roots[0] = found.stored_roots[0] = EMPTY_TREE.root()
    first = 0
    while first < source.size and found.broken_at is None:
        following = next(mark for mark in marks if mark > first)
        end = min(first // STEP * STEP + STEP, following)
        stored = _stored(source, found, first, end - first)
        leaves = _leaf_hashes(source, found, stored, first, end - first)
        if leaves is None:
            break
        by_entries = _grow(source, found, by_entries, leaves)
        settled = [kept or made for kept, made in zip(stored, leaves, strict=True)]
        by_hashes = merkle.append(by_hashes, settled).tree
        if end in marks:
            found.roots[end], found.stored_roots[end] = by_entries.root(), by_hashes.root()
        tick(end - first)
        first = end
    return found


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
) -> list[bytes] | None:
    """By the entries; where one is lost its stored hash stands in. None once both are gone."""
    if not source.shows_entries:
        if None in stored:
            found.broken_at = first + stored.index(None)
            return None
        return [digest for digest in stored if digest is not None]
    lost: dict[int, Lost] = {}
    try:
        entries: dict[int, bytes] = dict(enumerate(source.entries(first, count), start=first))
    except Lost:
        lost = lost_entries(source, first, count)
        entries = {
            index: source.entries(index, 1)[0]
            for index in range(first, first + count)
            if index not in lost
        }
    found.lost.update(lost)
    leaves: list[bytes] = []
    for offset, kept in enumerate(stored):
        index = first + offset
        if index in entries:
            leaf = merkle.leaf_hash(entries[index])
            if kept is not None and leaf != kept:
                found.parted.append(index)
            leaves.append(leaf)
        elif kept is not None:
            leaves.append(kept)
        else:
            found.broken_at = index
            return None
    return leaves


def _grow(source: Source, found: Structure, tree: Tree, leaves: Sequence[bytes]) -> Tree:
    """Append, and compare every new hash above the leaves with the stored one."""
    grown = merkle.append(tree, leaves)
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
    for index, lost in found.lost.items():
        findings.add(Depth.STRUCTURE, f"cannot be read: {lost.why}", entry=index, file=lost.file)
    if found.broken_at is not None:
        findings.add(
            Depth.STRUCTURE,
            f"from entry {found.broken_at} on there is no root: that entry and its hash are lost",
        )
    for level, index in found.wrong_hashes:
        findings.add(
            Depth.STRUCTURE,
            f"the stored tree hash of level {level}, index {index} is not that of the entries below it",
            proven_by=signers if stand else (),
        )
    for (level, index), lost in found.lost_hashes.items():
        findings.add(
            Depth.STRUCTURE,
            f"the stored tree hash of level {level}, index {index} cannot be read: {lost.why}",
            file=lost.file,
        )
    return stand

"""Two copies side by side: at which entry, and at which bytes of it, they part."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from node.audit.source import Lost, Source
from node.log import merkle

STEP: Final = 256
DIFFERENCES_MAX: Final = 1_000


@dataclass(slots=True, kw_only=True)
class Comparison:
    """What two sources came to, over the entries that both hold."""

    upto: int  # entries compared: the smaller size
    differing: dict[int, tuple[bytes, bytes]] = field(
        default_factory=dict
    )  # index -> bytes in each
    hashes_differ: list[int] = field(default_factory=list)  # where one of them shows no entries
    only_other: dict[int, bytes] = field(default_factory=dict)  # lost in the first


def compare(source: Source, other: Source, tick: Callable[[int], None]) -> Comparison:
    """Entry by entry; by leaf hashes where one of the two does not show entries."""
    found = Comparison(upto=min(source.size, other.size))
    for first in range(0, found.upto, STEP):
        count = min(STEP, found.upto - first)
        if source.shows_entries and other.shows_entries:
            _entries(source, other, found, first, count)
        else:
            _hashes(source, other, found, first, count)
        tick(count)
        if len(found.differing) + len(found.hashes_differ) >= DIFFERENCES_MAX:
            found.upto = first + count
            break
    return found


def _entries(source: Source, other: Source, found: Comparison, first: int, count: int) -> None:
    mine, theirs = _each(source, first, count), _each(other, first, count)
    for index, (a, b) in enumerate(zip(mine, theirs, strict=True), start=first):
        if a is None and b is not None:
            found.only_other[index] = b
        elif a is not None and b is not None and a != b:
            found.differing[index] = (a, b)


def _hashes(source: Source, other: Source, found: Comparison, first: int, count: int) -> None:
    mine, theirs = _each_hash(source, first, count), _each_hash(other, first, count)
    for index, (a, b) in enumerate(zip(mine, theirs, strict=True), start=first):
        if a is not None and b is not None and a != b:
            found.hashes_differ.append(index)


def _each(source: Source, first: int, count: int) -> list[bytes | None]:
    try:
        return list(source.entries(first, count))
    except Lost:
        return [_maybe(source, index) for index in range(first, first + count)]


def _maybe(source: Source, index: int) -> bytes | None:
    try:
        return source.entries(index, 1)[0]
    except Lost:
        return None


def _each_hash(source: Source, first: int, count: int) -> list[bytes | None]:
    """Of the entries where they are shown: an altered entry does not hide behind its old hash."""
    if source.shows_entries:
        return [
            None if entry is None else merkle.leaf_hash(entry)
            for entry in _each(source, first, count)
        ]
    try:
        return list(source.hashes(0, first, count))
    except Lost:
        return [None] * count

"""Chip types and batches: `chip_type` describes one, a CHIPTYPE motion approves it, `chip_batch` says what was made.

No batch, count or movement of a type that is not approved (MODEL 3, kinds 4 and 5; MODEL 4, CHIPTYPE).
"""

from typing import Final, NamedTuple

from foedus.v1 import content_pb2 as pb
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import countersigned, require_past, require_role
from node.treaty.state import ChipType


class Chip(NamedTuple):
    """What the law reads of an approved type."""

    name: str  # its id: a name known at genesis, else author/name
    mh: int  # 0.001 H100-equivalents
    peak_any: int  # GFLOP/s, the best rate at 8 bit or more


# Chip types known and approved at genesis: (mH, best peak rate in GFLOP/s). LAW section 2.
CHIP_TYPES: Final = {
    "H100": (1_000, 1_979_000),
    "H200": (1_000, 1_979_000),
    "A100": (315, 624_000),
    "B200": (2_275, 4_500_000),
}


def approved_chip(book: Book, author: str, name: str) -> Chip:
    """The approved type that `author` means by `name`. Refuses CHIPTYPE."""
    known = CHIP_TYPES.get(name)
    if known is not None:
        return Chip(name, *known)
    chip_type = book.qualified(author, name)
    row = book.state.chip_types.get(chip_type)
    if row is None or not row.approved:
        raise Refused(Code.CHIPTYPE, f"{chip_type} is no approved chip type")
    return Chip(chip_type, row.mh, row.peak_any)


def approve(book: Book, chip_type: str) -> None:
    """A CHIPTYPE motion was adopted."""
    row = book.state.chip_types[chip_type]
    book.state.chip_types.put(chip_type, row._replace(approved=1))


def take_chip_type(book: Book, entry: Entry, body: pb.ChipType) -> Accepted:
    """Describe a type, once; it needs no countersignature, since a description permits nothing."""
    require_role(book, entry, "source", "operator")
    author = entry.parsed.author
    chip_type = book.qualified(author, body.chip_type)
    if body.chip_type in CHIP_TYPES or chip_type in book.state.chip_types:
        raise Refused(Code.REPEATED, f"chip type {body.chip_type} is already known")
    require_past(book, entry)
    row = ChipType(entry.entry_hash, author, body.mh, body.peak_any, approved=0)
    book.state.chip_types.put(chip_type, row)
    return Accepted(f"chip_type:{chip_type}")


def take_chip_batch(book: Book, entry: Entry, body: pb.ChipBatch) -> Accepted:
    """Chips that a fab or packager made, of an approved type."""
    if not body.count:
        raise Refused(Code.SCHEMA, "chip_batch.count: 0 chips are no batch")
    require_role(book, entry, "source")
    author = entry.parsed.author
    uncountersigned = countersigned(book, entry, book.state_of(author))
    chip = approved_chip(book, author, body.chip_type)
    require_past(book, entry)
    return Accepted(f"chip_batch:{chip.name}", uncountersigned)

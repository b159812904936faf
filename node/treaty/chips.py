"""Chip types: those known at genesis, and those that a CHIPTYPE motion approved (MODEL 4)."""

from typing import Final, NamedTuple

from node.treaty.book import Book, Refused
from node.treaty.codes import Code


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


DIGITAL: Final = (
    "digital"  # every other paradigm needs a factor of its own, voted as a standard (M56)
)


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


def known_chip(book: Book, author: str, name: str) -> str:
    """The id of the chip type, approved or not, that `author` means by `name`. Refuses UNKNOWN_REF."""
    chip_type = name if name in CHIP_TYPES else book.qualified(author, name)
    if chip_type not in CHIP_TYPES and chip_type not in book.state.chip_types:
        raise Refused(Code.UNKNOWN_REF, f"no chip type {chip_type}")
    return chip_type


def chip_of(book: Book, chip_type: str) -> Chip:
    """The approved type with this id. Raises KeyError."""
    known = CHIP_TYPES.get(chip_type)
    if known is not None:
        return Chip(chip_type, *known)
    row = book.state.chip_types[chip_type]
    return Chip(chip_type, row.mh, row.peak_any)


def approve(book: Book, chip_type: str) -> None:
    """A CHIPTYPE motion was adopted."""
    row = book.state.chip_types[chip_type]
    book.state.chip_types.put(chip_type, row._replace(approved=1))

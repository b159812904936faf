"""`chip_type`: describes a type; a CHIPTYPE motion approves it (MODEL 3, kind 4)."""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.chips import CHIP_TYPES
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.kinds import Kind
from node.treaty.state import ChipType


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


KIND: Final = Kind(
    form=Form(required=("mh", "peak_any"), integers=("mh", "peak_any"), names=("chip_type",)),
    take=take_chip_type,
    classes="PR",
)

"""`chip_batch`: chips that a fab or packager made, of an approved type (MODEL 3, kind 5)."""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import hardware
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.checks import balances
from node.treaty.chips import approved_chip
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import countersigned, require_past, require_role
from node.treaty.kinds import Kind


def take_chip_batch(book: Book, entry: Entry, body: pb.ChipBatch) -> Accepted:
    """Chips that a fab or packager made, of an approved type."""
    if not body.count:
        raise Refused(Code.SCHEMA, "chip_batch.count: 0 chips are no batch")
    require_role(book, entry, "source")
    author = entry.parsed.author
    uncountersigned = countersigned(book, entry, book.state_of(author))
    chip = approved_chip(book, author, body.chip_type)
    require_past(book, entry)
    hardware.require_within_production(book, body.count * chip.mh)
    balances.take_batch(book, author, chip.name, body.fab, body.count, entry.entry_hash)
    return Accepted(f"chip_batch:{chip.name}", uncountersigned)


KIND: Final[Kind] = Kind(
    form=Form(
        required=("chip_type", "count", "serial_root"),
        integers=("count", "made_at"),
        texts=("fab",),
        references=("chip_type",),
        hashes=("serial_root",),
    ),
    take=take_chip_batch,
)

"""`energy`: a meter's reading for one period (MODEL 3, kind 10)."""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.kinds import Kind


def take_energy(book: Book, entry: Entry, body: pb.Energy) -> Accepted:
    """A meter's reading for one period: from the operator, a utility, or a device at the site."""
    parsed = entry.parsed
    name = book.qualified(parsed.author, body.facility)
    row = book.state.facilities.get(name)
    if row is None:
        raise Refused(Code.UNKNOWN_REF, f"no facility {name}")
    role = require_role(book, entry, "operator", "source", "device")
    if row.operator != parsed.author and (
        role == "operator" or book.state_of(parsed.author) != row.state
    ):
        raise Refused(Code.STANDING, f"{name} is {row.operator}'s, in {row.state}")
    if body.seal and not book.is_first_law and f"{name}:{body.seal}" not in book.state.seals:
        raise Refused(Code.EVIDENCE, f"no inspection left a seal {body.seal} at {name}")
    require_past(book, entry)
    return Accepted(f"energy:{name}")


KIND: Final[Kind] = Kind(
    form=Form(
        required=("facility", "wh"),
        integers=("wh", "peak_w", "min_w"),
        names=("meter",),
        references=("facility",),
        texts=("seal",),
    ),
    take=take_energy,
    speaks_of="facility",
    needs_period=True,
)

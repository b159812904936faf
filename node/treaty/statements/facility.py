"""`facility`: a site is declared, once (MODEL 3, kind 3)."""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import departures
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.checks import heat
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import check_place, countersigned, operator_of, require_past
from node.treaty.kinds import Kind
from node.treaty.register import leaves_at
from node.treaty.reports import cover
from node.treaty.rows.parties import Place
from node.treaty.rows.sites import Facility


def take_facility(book: Book, entry: Entry, body: pb.Facility) -> Accepted:
    """Declare a site, once."""
    author = entry.parsed.author
    if body.owner and body.owner not in book.state.parties:
        raise Refused(Code.UNKNOWN_REF, f"no party {body.owner}")
    state = operator_of(book, entry)
    uncountersigned = countersigned(book, entry, state)
    name = book.qualified(author, body.facility)
    if name in book.state.facilities:
        raise Refused(Code.REPEATED, f"facility {name} is already declared")
    if body.jurisdiction:
        check_place(body.jurisdiction, state)
    require_past(book, entry)
    row = Facility(
        operator=author,
        state=state,
        capacity_mh=body.capacity_mh,
        mem_gb=body.mem_gb,
        covered_at=0,
        slot=0,
        severe_after=0,
        due_slot=0,
        reported=(),
        missed=0,
    )
    book.state.facilities.put(name, row)
    if body.jurisdiction:
        book.state.places.put(name, Place(body.jurisdiction))
    heat.declared(book, name, body.max_w, body.cell)
    departures.site_declared(book, name, leaves_at(book, state))
    cover(book, name, row, body.capacity_mh)
    return Accepted(f"facility:{name}", uncountersigned)


KIND: Final[Kind] = Kind(
    form=Form(
        required=("capacity_mh", "mem_gb"),
        integers=("capacity_mh", "mem_gb", "max_w", "host_link_mbps"),
        names=("facility",),
        references=("owner",),
        texts=("cell", "purpose", "jurisdiction"),
        lists=("feeds",),
    ),
    take=take_facility,
    speaks_of="facility",
)

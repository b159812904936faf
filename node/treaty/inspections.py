"""`inspection`: what two inspectors of two states saw, within a mandate (MODEL 3, kind 18; LAW K29, K44)."""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role

DRAWN: Final = "drawn"
INSPECTOR_STATES_MIN: Final = 2


def is_appointed(book: Book, what: str, party: str) -> bool:
    """Whether `party` was appointed as `what`, by genesis or by an APPOINT."""
    return f"{what}/{party}" in book.state.appointments


def require_inspectors(book: Book, entry: Entry, inspected: str) -> None:
    """The author and who signs with it: appointed, of two states, none the inspected. Refuses INSPECTORS."""
    signers = (entry.parsed.author, *entry.endorsers)
    states = {book.state_of(one) for one in signers if is_appointed(book, "inspector", one)}
    if not is_appointed(book, "inspector", entry.parsed.author):
        raise Refused(Code.INSPECTORS, f"{entry.parsed.author} is no appointed inspector")
    if inspected in states or len(states) < INSPECTOR_STATES_MIN:
        raise Refused(
            Code.INSPECTORS,
            f"signed by inspectors of {sorted(states)}: two states other than {inspected} are needed",
        )


def take_inspection(book: Book, entry: Entry, body: pb.Inspection) -> Accepted:
    """Judge a report of inspectors. Refused access is no access, but it is evidence of the refusal."""
    site, inspected = _inspected(book, entry, body)
    require_role(book, entry, "inspector")
    require_inspectors(book, entry, inspected)
    require_past(book, entry)
    access = book.state.access.get(body.mandate)
    if body.mandate != DRAWN and (access is None or access.site != site):
        raise Refused(Code.MANDATE, f"{body.mandate} lets nobody into {site}")
    if access is not None and book.now <= access.due:
        if body.denied_s:
            access = access._replace(denied=(*access.denied, entry.entry_hash)[:2])
        else:
            access = access._replace(granted=1)
        book.state.access.put(body.mandate, access)
    return Accepted(f"inspection:{body.mandate}")


def _inspected(book: Book, entry: Entry, body: pb.Inspection) -> tuple[str, str]:
    """(site, its state): a facility, or what the mandate names where there is none (LAW K37)."""
    access = book.state.access.get(body.mandate)
    if access is not None and body.site == access.site:
        return access.site, access.subject
    motions = book.state.motions, book.state.closed
    if body.mandate != DRAWN and not any(body.mandate in table for table in motions):
        raise Refused(Code.UNKNOWN_REF, f"no motion {body.mandate}")
    site = book.qualified(entry.parsed.author, body.site)
    facility = book.state.facilities.get(site)
    if facility is None:
        raise Refused(Code.UNKNOWN_REF, f"no facility {site}")
    return site, facility.state

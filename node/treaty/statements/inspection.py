"""`inspection`: what two inspectors of two states saw, within a mandate (MODEL 3, kind 18; LAW K29, K44)."""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import INTEGER_LIMIT, Form, is_reference
from node.treaty.book import Accepted, Book, Refused
from node.treaty.checks import sampling
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.filing import require_past, require_role
from node.treaty.inspections import require_inspectors, require_team
from node.treaty.kinds import Kind
from node.treaty.rows.sites import Seal

DRAWN: Final = "drawn"


def _counts(body: Any) -> None:
    for row in body.counts:
        if not is_reference(row.chip_type) or row.count >= INTEGER_LIMIT:
            raise MalformedContent(
                "inspection.counts", f"{row.chip_type[:80]!r}, or not below 2^53"
            )


def take_inspection(book: Book, entry: Entry, body: pb.Inspection) -> Accepted:
    """Judge a report of inspectors. Refused access is no access, but it is evidence of the refusal."""
    site, inspected = _inspected(book, entry, body)
    require_role(book, entry, "inspector")
    require_inspectors(book, entry, inspected)
    require_team(book, entry, body.mandate)
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
    for seal in body.seals:
        book.state.seals.put(f"{site}:{seal}", Seal(entry.entry_hash, book.now))
    if body.mandate == DRAWN:
        sampling.inspected(
            book,
            site,
            entry.entry_hash,
            checked=body.serials_checked,
            mismatches=body.mismatches,
            denied_s=body.denied_s,
        )
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


KIND: Final = Kind(
    form=Form(
        required=("mandate",),
        enums=("type",),
        integers=("mismatches", "denied_s", "serials_checked"),
        references=("site",),
        hashes=("code_hash",),
        lists=("counts", "seals"),
        extra=(_counts,),
        texts=("mandate",),
    ),
    take=take_inspection,
)

"""`inspection`: what two inspectors of two states saw, within a mandate (MODEL 3, kind 18; LAW K29, K44)."""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty import lessons
from node.treaty.bodies import INTEGER_LIMIT, Form, is_reference
from node.treaty.book import Accepted, Book, Refused
from node.treaty.checks import sampling
from node.treaty.checks.budget import over_budget
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.filing import require_past, require_role
from node.treaty.inspections import require_inspectors, require_team
from node.treaty.kinds import Kind
from node.treaty.rows.runs import Plan
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
    found = _code_found(book, entry, body, inspected)
    taught_by = lessons.known_teachers(book, entry.parsed.author, body.teachers)
    access = book.state.access.get(body.mandate)
    if body.mandate != DRAWN and (access is None or access.site != site):
        raise Refused(Code.MANDATE, f"{body.mandate} lets nobody into {site}")
    if access is not None and book.now <= access.due:
        if body.denied_s:
            access = access._replace(denied=(*access.denied, entry.entry_hash)[:2])
        else:
            access = access._replace(granted=1)
        book.state.access.put(body.mandate, access)
    if found is not None:
        run, plan = found
        numbers = (("code_hash_planned", 1), ("code_hash_found", 0))
        inputs = (entry.entry_hash,)
        over_budget(book, run, plan, book.state.lives[run], 3, numbers, inputs)
    if taught_by:
        run = book.qualified(entry.parsed.author, body.run)
        lessons.learn(book, run, taught_by, entry.entry_hash)
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


def _code_found(
    book: Book, entry: Entry, body: pb.Inspection, inspected: str
) -> tuple[str, Plan] | None:
    """Of a developer: the run whose code in use is not the plan's (C14). Refuses UNKNOWN_REF, STANDING."""
    if not body.run:
        return None
    run = book.qualified(entry.parsed.author, body.run)
    plan = book.state.plans.get(run)
    if plan is None:
        raise Refused(Code.UNKNOWN_REF, f"no run {run}")
    if plan.state != inspected:
        raise Refused(Code.STANDING, f"{run} is of {plan.state}, and {inspected} is inspected")
    other_code = bool(plan.code_hash and body.code_hash) and body.code_hash != plan.code_hash
    return (run, plan) if other_code else None


def _developer(body: Any) -> None:
    found = body.code_hash or body.teachers
    if body.run and (body.type != pb.INSPECTION_TYPE_DEVELOPER or not found):
        raise MalformedContent("inspection.run", "is for inspections of developers, with code_hash")
    if body.teachers and not body.run:
        raise MalformedContent("inspection.teachers", "goes with the run that learns from them")


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


KIND: Final[Kind] = Kind(
    form=Form(
        required=("mandate",),
        enums=("type",),
        integers=("mismatches", "denied_s", "serials_checked"),
        references=("site", "run"),
        hashes=("code_hash",),
        lists=("counts", "seals", "teachers"),
        extra=(_counts, _developer),
        texts=("mandate",),
    ),
    take=take_inspection,
)

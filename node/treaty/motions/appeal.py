"""APPEAL: the subject state asks once, with new evidence, that an upheld case be overturned (MODEL 4; LAW K14).

Filed within 30 days of the decision. Two thirds of the others overturn it; else it stays upheld, for good.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import cases, lives, remedies
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.motions.kind import (
    MotionKind,
    always,
    cases_in,
    entries_in,
    never_acts,
    one_subject,
    subject_states,
)
from node.treaty.rows.motions import Motion


def _file(book: Book, entry: Entry, _body: pb.Appeal) -> Accepted:
    subjects = subject_states(book, entry)
    require_role(book, entry, "state")
    named = cases_in(book, entry)
    for name in named:
        if book.state.cases[name].subject != entry.parsed.author:
            raise Refused(Code.STANDING, f"{name} is {book.state.cases[name].subject}'s")
    one_subject(subjects)
    if len(named) != 1:
        raise Refused(Code.EVIDENCE, f"refs name {len(named)} cases, not one")
    name = named[0]
    case = book.state.cases[name]
    decided = book.state.closed.get(case.motion)  # an explanation ends a case without a motion
    decided_at = decided.closed_at if case.result and decided is not None else 0
    if not any(facts.time_s >= decided_at for facts in entries_in(book, entry)):
        raise Refused(Code.EVIDENCE, f"nothing among the refs is newer than {decided_at}")
    is_repeated = case.status in {"APPEALED", "FINAL"}
    if is_repeated and book.law <= 2:  # there this was told before CASES and LATE
        raise _repeated(name, case.status)
    if case.result != "UPHELD":
        raise Refused(Code.CASES, f"{name} is {case.status}, not upheld")
    if book.now > decided_at + book.value("appeal_file"):
        raise Refused(Code.LATE, f"{name} was decided at {decided_at}")
    if is_repeated:
        raise _repeated(name, case.status)
    require_past(book, entry)
    cases.enter(book, name, case._replace(status="APPEALED"), entry.entry_hash)
    open_motion(
        book,
        entry.name,
        "APPEAL",
        about=name,
        subjects=subjects,
        rule="SUP",
        default="upheld",
        closes_after_s=book.value("appeal_close"),
    )
    return Accepted(f"APPEAL:{entry.name}")


def _repeated(name: str, status: str) -> Refused:
    return Refused(Code.REPEATED, f"{name} is {status}: there is one appeal")


def _effect(book: Book, _motion_id: str, motion: Motion, outcome: str) -> None:
    case = book.state.cases[motion.about]
    result = "SET_ASIDE" if outcome == "overturned" else "UPHELD"
    cases.enter(book, motion.about, case._replace(status="FINAL", result=result))
    if result == "SET_ASIDE":
        remedies.overturned(book, motion.about)
        lives.end_halts_of(book, motion.about)


KIND: Final[MotionKind] = MotionKind(
    form=Form(),
    file=_file,
    outcomes=always("upheld", "overturned"),
    force=never_acts,
    effect=_effect,
)

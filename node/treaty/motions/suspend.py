"""SUSPEND: take a state's votes and panel seats for 180 days (MODEL 4; LAW K10, K15).

Filed by three states on one upheld case of severity 4, or three of severity 3; three quarters of the others
decide. At most k states are suspended at once, and never so that what remains gives one state a block. A
suspended state still writes, replies, reads and counts in N.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import RANK_LAPSE, Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.motions.kind import (
    Force,
    MotionKind,
    always,
    cases_in,
    one_subject,
    require_states,
    subject_states,
)
from node.treaty.rows.motions import Motion
from node.treaty.rows.parties import Member, Suspension
from node.treaty.rules import k_of
from node.treaty.veto import first_weakness

FILING_STATES_MIN: Final = 3
GRAVE_CASES_MIN: Final = 3  # of severity 3; of severity 4 one is enough


def _file(book: Book, entry: Entry, _body: pb.Suspend) -> Accepted:
    subjects = subject_states(book, entry)
    require_role(book, entry, "state")
    require_states(book, entry, FILING_STATES_MIN)
    subject = one_subject(subjects)
    weak = _weakness(book, subject)
    if weak:
        raise Refused(Code.VETO, weak)
    _require_cases(book, cases_in(book, entry))
    suspended = _suspended(book)
    if len(suspended) + 1 > k_of(book.membership()):
        raise Refused(Code.SUSPEND_LIMIT, f"{len(suspended)} states are suspended already")
    if subject in suspended:
        raise Refused(Code.REPEATED, f"{subject} is suspended already")
    require_past(book, entry)
    open_motion(
        book,
        entry.name,
        "SUSPEND",
        about=subject,
        subjects=subjects,
        rule="HIGH",
        default="no_change",
        closes_after_s=book.value("suspend_close"),
    )
    return Accepted(f"SUSPEND:{entry.name}")


def _require_cases(book: Book, names: list[str]) -> None:
    rows = [book.state.cases[name] for name in names]
    upheld = [
        case.severity
        for case in rows
        if case.status in {"UPHELD", "FINAL"} and case.result == "UPHELD"
    ]
    if not any(severity >= 4 for severity in upheld) and (
        sum(severity >= 3 for severity in upheld) < GRAVE_CASES_MIN
    ):
        raise Refused(
            Code.CASES, f"upheld cases of severity {sorted(upheld)}: one of 4 or three of 3 needed"
        )


def _suspended(book: Book) -> list[str]:
    return sorted(state for state, row in book.state.members.items() if row.status == "SUSPENDED")


def _weakness(book: Book, subject: str) -> str:
    """Why the states left would give one of them a block, with one more recused; empty if they do not."""
    left = [state for state in book.standing() if state != subject]
    weak = first_weakness(len(left) - 1, k_of(book.membership()), book.shares())
    return weak.told(left) if weak else ""


def _barrier(book: Book, _motion_id: str, motion: Motion) -> str:
    """Other suspensions or departures may have come first."""
    if motion.about not in book.standing():
        return Code.STANDING.value
    if _weakness(book, motion.about):
        return Code.VETO.value
    full = len(_suspended(book)) + 1 > k_of(book.membership())
    return Code.SUSPEND_LIMIT.value if full else ""


def _force(book: Book, _motion: Motion, outcome: str) -> Force:
    if outcome != "suspended":
        return Force(None)
    return Force(book.now, book.now + book.value("suspend_valid"))


def _effect(book: Book, motion_id: str, motion: Motion, outcome: str) -> None:
    if outcome != "suspended":
        return
    state = motion.about
    member = book.state.members[state]
    until = book.now + book.value("suspend_valid")
    row = Suspension(motion=motion_id, until=until, status=member.status, since=member.since)
    book.state.suspensions.put(state, row)
    book.state.members.put(state, Member("SUSPENDED", book.now))
    book.schedule(until, RANK_LAPSE, "unsuspend", state)
    book.ask_veto_check()


def end(book: Book, state: str) -> None:
    """The clock looks whether a suspension is over; the state is again what it was."""
    row = book.state.suspensions.get(state)
    if row is None:
        return
    if book.now < row.until:
        book.schedule(row.until, RANK_LAPSE, "unsuspend", state)
        return
    book.state.suspensions.drop(state)
    book.state.members.put(state, Member(row.status, row.since))
    book.ask_veto_check()


def reschedule(book: Book) -> None:
    """After a restart: the ends of suspensions."""
    for state, row in book.state.suspensions.items():
        book.schedule(row.until, RANK_LAPSE, "unsuspend", state)


KIND: Final[MotionKind] = MotionKind(
    form=Form(),
    file=_file,
    outcomes=always("no_change", "suspended"),
    barrier=_barrier,
    force=_force,
    effect=_effect,
)

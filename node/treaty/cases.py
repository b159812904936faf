"""Findings and their cases: RAISED -> REPLIED or SILENT -> DECIDED (MODEL 9, LAW K19, K38).

A finding is a check's output, a case what follows from it: the subject state has `reply` seconds to
answer, and from severity 3 on a BREACH motion opens by itself, in which the accused has no vote and
which stands unless two thirds of the others set it aside. Severity 4 halts the runs it names as well
(`lives`).
"""

from typing import Any, Final

from node.treaty import consent, explanations
from node.treaty.ballots import CASE_OPEN_TO_CLOSE, open_motion
from node.treaty.book import RANK_SILENT, Book
from node.treaty.derived import CaseStep, Finding
from node.treaty.entry_into_force import in_force_since
from node.treaty.grounds import GROUNDS, ground_of
from node.treaty.rows.verdicts import Basis, Case, Latest, Provisional

BREACH_SEVERITY: Final = 3
UNDECIDED: Final = frozenset({"RAISED"}) | CASE_OPEN_TO_CLOSE
_RESULTS: Final = {"upheld": "UPHELD", "set_aside": "SET_ASIDE", "not_upheld": "NOT_UPHELD"}


def raise_finding(
    book: Book,
    check: str,
    subject: str,
    about: str,
    *,
    severity: int,
    size: int,
    numbers: tuple[tuple[str, int], ...] = (),
    inputs: tuple[bytes, ...] = (),
    actor: str = "",
    fresh: bool = False,
    event: bool = False,
    level: int | None = None,
) -> str:
    """A check found something. New, risen, or already known: then nothing happens. Returns its id.

    `level` is the level of protection, where it is not the check's own (C28).
    `size` grows with the act: once a case is decided, only a larger act is a new finding (#2), unless it is
    an `event`, which happens and does not last (LAW K38). With `fresh` it is new in any case; so is the same
    finding about another `actor`.
    """
    severity = consent.capped(book, subject, about, inputs, severity)
    key = f"{check}:{subject}:{about}"
    latest = book.state.latest.get(key)
    name, number = key, 1
    if latest is not None:
        case = book.state.cases[latest.finding]
        decided = case.status not in UNDECIDED
        # What was explained was explained as far as it went: growing worse is a new event.
        worse = case.status == explanations.EXPLAINED and severity > case.severity
        if fresh or case.actor != actor or worse or (decided and (event or size > case.size)):
            number = latest.number + 1
            name = f"{key}#{number}"
        elif decided:
            return ""  # the same act as the one decided
        else:
            _grow(book, latest.finding, case, severity, size, numbers, inputs, level)
            return latest.finding
    while (
        book.law > 2 and name in book.state.cases
    ):  # what repeats X#2's remedy, and X's own second (record 0233)
        number += 1
        name = f"{key}#{number}"
    book.state.latest.put(key, Latest(name, number))
    case = Case(
        check=check,
        subject=subject,
        about=about,
        severity=severity,
        size=size,
        actor=actor,
        status="RAISED",
        result="",
        reply_due=book.now + book.value("reply"),
        motion="",
    )
    _record(book, name, case, numbers, inputs, level)
    _start(book, name, case)
    return name


def _grow(
    book: Book,
    name: str,
    case: Case,
    severity: int,
    size: int,
    numbers: tuple[tuple[str, int], ...],
    inputs: tuple[bytes, ...],
    level: int | None,
) -> None:
    grown = case._replace(size=max(size, case.size))
    if severity <= case.severity:
        if grown != case:
            book.put_case(name, grown)
        return
    grown = grown._replace(severity=severity)
    _record(book, name, grown, numbers, inputs, level)
    if case.severity < BREACH_SEVERITY <= severity:  # the case starts anew (K19)
        explanations.grown(book, name)
        grown = grown._replace(status="RAISED", reply_due=book.now + book.value("reply"))
        _start(book, name, grown)
    else:
        book.put_case(name, grown)


def _record(
    book: Book,
    name: str,
    case: Case,
    numbers: tuple[tuple[str, int], ...],
    inputs: tuple[bytes, ...],
    level: int | None,
) -> None:
    inputs = tuple(sorted(set(inputs)))
    for entry_hash in inputs:
        book.state.basis.put(entry_hash.hex(), Basis(name))
    book.emit(
        Finding(
            finding=name,
            check=case.check,
            subject=case.subject,
            about=case.about,
            severity=case.severity,
            numbers=numbers,
            inputs=inputs,
            at=book.now,
            **_ground_of(book, case.check, level),
        )
    )


def _ground_of(book: Book, check: str, level: int | None) -> dict[str, Any]:
    """What a Finding says of its check, from law 2 on."""
    if book.is_first_law:
        return {}
    ground = ground_of(check, book.law)
    return {
        "formula": ground.formula,
        "asks": ground.asks,
        "limits": tuple((param, book.value(param)) for param in ground.params),
        "level": level or ground.level,
        "clears": ground.clears,
    }


def _start(book: Book, name: str, case: Case) -> None:
    """The case is RAISED; from severity 3 on its BREACH opens."""
    motion = f"BREACH:{name}" if case.severity >= BREACH_SEVERITY else ""
    case = case._replace(motion=motion)
    book.put_case(name, case)
    _mark_provisional(book, name)
    emit_step(book, name, case)
    book.schedule(case.reply_due + 1, RANK_SILENT, "silent", name)
    if motion:
        open_breach(book, motion, name, case.subject, rule="SUP")


def is_accused(book: Book, site: str) -> bool:
    """Whether a case of severity 3 or 4 is about this site that is not yet decided, or appealed."""
    state = book.state.facilities[site].state
    for check in GROUNDS:
        latest = book.state.latest.get(f"{check}:{state}:{site}")
        case = book.state.cases[latest.finding] if latest is not None else None
        is_grave = case is not None and case.severity >= BREACH_SEVERITY
        if case is not None and is_grave and case.status in UNDECIDED | {"APPEALED"}:
            return True
    return False


def _mark_provisional(book: Book, name: str) -> None:
    """Before entry into force all works, and what it works on is marked (MODEL 7)."""
    known = book.is_first_law or name in book.state.provisional
    if not known and in_force_since(book) is None:
        book.state.provisional.put(name, Provisional(book.now))


def open_breach(book: Book, motion: str, case: str, subject: str, *, rule: str) -> None:
    """SUP where a Finding accuses, MAJ where a state does without one."""
    open_motion(
        book,
        motion,
        "BREACH",
        about=case,
        subjects=(subject,),
        rule=rule,
        default="not_upheld" if case == motion else "upheld",
        closes_after_s=book.value("breach_close"),
        case=case,
    )


def open_case_without_finding(book: Book, motion: str, subject: str) -> None:
    """A state accuses: the case has the motion's id, severity 3, and starts RAISED (LAW K15)."""
    case = Case(
        check="BREACH",
        subject=subject,
        about=motion,
        severity=BREACH_SEVERITY,
        size=0,
        actor="",
        status="RAISED",
        result="",
        reply_due=book.now + book.value("reply"),
        motion=motion,
    )
    book.put_case(motion, case)
    _mark_provisional(book, motion)
    emit_step(book, motion, case)
    book.schedule(case.reply_due + 1, RANK_SILENT, "silent", motion)
    open_breach(book, motion, motion, subject, rule="MAJ")


def reply(book: Book, name: str, case: Case, entry_hash: bytes) -> None:
    """The subject answered in time."""
    if case.status == "RAISED":
        _step(book, name, case._replace(status="REPLIED"), entry_hash)
        explanations.replied(book, name, case)


def fall_silent(book: Book, name: str) -> None:
    """The clock passed the reply deadline: overdue from due + 1 (LAW K2)."""
    case = book.state.cases[name]
    if case.status != "RAISED":
        return
    if book.now <= case.reply_due:  # it started anew meanwhile
        book.schedule(case.reply_due + 1, RANK_SILENT, "silent", name)
        return
    _step(book, name, case._replace(status="SILENT"), b"")


def decide(book: Book, name: str, outcome: str) -> None:
    """The BREACH motion of this case closed."""
    result = _RESULTS[outcome]
    _step(book, name, book.state.cases[name]._replace(status=result, result=result), b"")


def enter(book: Book, name: str, case: Case, entry_hash: bytes = b"") -> None:
    """A decided case enters another status: appealed, or final."""
    _step(book, name, case, entry_hash)


def _step(book: Book, name: str, case: Case, entry_hash: bytes) -> None:
    book.put_case(name, case)
    book.case_moved = True
    emit_step(book, name, case, entry_hash)
    if case.motion:
        book.to_judge[case.motion] = None


def emit_step(book: Book, name: str, case: Case, entry_hash: bytes = b"") -> None:
    book.emit(
        CaseStep(
            case=name,
            status=case.status,
            subject=case.subject,
            severity=case.severity,
            result=case.result or None,
            entry=entry_hash,
            reply_due=case.reply_due,
            at=book.now,
            motion=None if book.is_first_law else case.motion,
        )
    )

"""C28, duties overdue: counts, meetings, evaluations, shares of weights, tips, access (CHECKS 4, LAW K26, K44).

A new kind of duty is a row of `_KINDS`. A duty is fulfilled in time at its very due second and overdue from the next (K2).
One missed again is a new finding: each period that passes without a count or a meeting is a duty of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.treaty import stocks
from node.treaty.book import RANK_DUTY, Book
from node.treaty.cases import raise_finding
from node.treaty.grounds import DEPLOYMENT, HARDWARE, TRAINING
from node.treaty.rows.sites import Access, Duty

MEETING: Final = "meeting"
SECRETARIAT: Final = "SEC"
SEVERITY_MAX: Final = 4
_REMEDY: Final = "remedy:"


def schedule_duty(book: Book, what: str) -> None:
    """Have the clock look when this duty is overdue."""
    book.schedule(book.state.duties[what].due + 1, RANK_DUTY, "duty", what)


def owe(book: Book, what: str, within_s: int) -> None:
    """A duty falls due `within_s` from now; an earlier due time of it is forgotten."""
    book.state.duties.put(what, Duty(book.now + within_s))
    schedule_duty(book, what)


def owe_meeting(book: Book) -> None:
    """Meetings are the secretariat's to call: from genesis on, and again after each."""
    if not book.is_first_law:
        owe(book, MEETING, book.value("meeting"))


def owe_review(book: Book) -> None:
    """A meeting within `review`, unless one is due earlier anyway (M34, M47)."""
    due = book.now + book.value("review")
    row = book.state.duties.get(MEETING)
    if row is None or due < row.due:
        owe(book, MEETING, book.value("review"))


def owe_census(book: Book, facility: str) -> None:
    """A site became covered: its chips are to be counted."""
    if not book.is_first_law:
        owe(book, f"count:{facility}", book.value("census"))


def counted(book: Book, facility: str) -> None:
    """A count was reported: a covered site owes the next."""
    if f"count:{facility}" in book.state.duties:
        owe(book, f"count:{facility}", book.value("inventory"))


def is_owed(book: Book, what: str) -> bool:
    return what in book.state.duties


def fulfil(book: Book, what: str) -> None:
    """What is owed once has been done."""
    if what in book.state.duties:
        book.state.duties.drop(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyKind:
    """Whose duty it is and what its finding says. The key of a duty is the kind's name, and ':' and `rest` if it has one."""

    subject: Callable[[Book, str], str]  # of the duty's rest: a state, or SEC
    about: Callable[[str], str]
    severity: Callable[[Book, str], int]
    period: str  # parameter: owed again so long after; empty: owed once
    level: int  # 1 use, 2 deployment, 3 training, 4 hardware and algorithms (M41)
    is_met: Callable[[Book, str], bool] = lambda _book, _rest: (
        False
    )  # at its due second, without an entry


def _secretariat(_book: Book, _rest: str) -> str:
    return SECRETARIAT


def _state_of_facility(book: Book, facility: str) -> str:
    return book.state.facilities[facility].state


def _state_of_model(book: Book, model: str) -> str:
    return book.state.plans[book.state.models[model].run].state


def _steward(_book: Book, rest: str) -> str:
    return rest.partition(":")[2]  # model:state


def _subject_of_case(book: Book, case: str) -> str:
    return book.state.cases[case].subject


def _graver(book: Book, case: str) -> int:
    return min(book.state.cases[case].severity + 1, SEVERITY_MAX)


def _of_first_case(case: str) -> str:
    """A remedy missed again and again is about the first case still, under the next number."""
    return f"{_REMEDY}{case.partition(f':{_REMEDY}')[2].partition('#')[0] or case}"


def _grade(severity: int) -> Callable[[Book, str], int]:
    return lambda _book, _rest: severity


def _itself(rest: str) -> str:
    return rest


_KINDS: Final[dict[str, DutyKind]] = {
    MEETING: DutyKind(
        subject=_secretariat,
        about=lambda _: MEETING,
        severity=_grade(1),
        period="meeting",
        level=TRAINING,
    ),
    "count": DutyKind(
        subject=_state_of_facility,
        about=_itself,
        severity=_grade(1),
        period="inventory",
        level=HARDWARE,
    ),
    "final": DutyKind(
        subject=_state_of_facility,
        about=lambda rest: f"final:{rest}",
        severity=_grade(2),
        period="",
        level=HARDWARE,
    ),
    "removal": DutyKind(
        subject=_state_of_facility,
        about=lambda rest: f"removal:{rest}",
        severity=_grade(2),
        period="",
        level=HARDWARE,
        is_met=stocks.is_cleared,
    ),
    "remedy": DutyKind(
        subject=_subject_of_case,
        about=_of_first_case,
        severity=_graver,
        period="",
        level=TRAINING,
    ),
    # A deployed model that nobody has looked at again is deployed without knowledge: more than late paper.
    "reeval": DutyKind(
        subject=_state_of_model,
        about=_itself,
        severity=_grade(2),
        period="reeval",
        level=DEPLOYMENT,
    ),
    "steward": DutyKind(
        subject=_steward,
        about=lambda rest: rest.partition(":")[0],
        severity=_grade(1),
        period="",
        level=DEPLOYMENT,
    ),
    "tip": DutyKind(
        subject=_secretariat,
        about=lambda rest: f"tip:{rest}",
        severity=_grade(1),
        period="",
        level=TRAINING,
    ),
}


def who_and_what(book: Book, what: str) -> tuple[str, tuple[str, str]]:
    """Of a duty's key: whose it is, and (kind, what it is about)."""
    name, _, rest = what.partition(":")
    kind = _KINDS[name]
    return kind.subject(book, rest), (name, kind.about(rest))


def level_of(name: str) -> int:
    """The level of protection of a kind of duty, as `who_and_what` names it; of a reply that of training."""
    kind = _KINDS.get(name)
    return kind.level if kind is not None else TRAINING


def duty_due(book: Book, what: str) -> None:
    """The clock looks at a duty. Overdue, it is a finding, and owed anew if it is owed again and again."""
    row = book.state.duties.get(what)
    if row is None:
        return  # done, or owed no more
    if book.now <= row.due:
        schedule_duty(book, what)
        return
    name, _, rest = what.partition(":")
    kind = _KINDS[name]
    if kind.period:
        book.state.duties.put(what, Duty(row.due + book.value(kind.period)))
        schedule_duty(book, what)
    else:
        book.state.duties.drop(what)
        if kind.is_met(book, rest):
            return
    raise_finding(
        book,
        "C28",
        kind.subject(book, rest),
        kind.about(rest),
        severity=kind.severity(book, rest),
        size=0,
        numbers=(("due", row.due),),
        fresh=True,
        level=kind.level,
    )


def open_access(book: Book, motion: str, site: str, subject: str) -> None:
    """An inspection goes ahead from now on: `site` of state `subject` owes access."""
    due = book.now + book.value("access")
    row = Access(site, subject, due, granted=0, judged=0, denied=())
    book.state.access.put(motion, row)
    schedule_access(book, motion, row)


def schedule_access(book: Book, motion: str, row: Access) -> None:
    """Have the clock look when access is overdue, unless it was had."""
    if not row.granted and not row.judged:
        book.schedule(row.due + 1, RANK_DUTY, "access", motion)


def access_due(book: Book, motion: str) -> None:
    """Nobody was let in: severe if inspectors say so, the secretariat's matter if none came (K44)."""
    row = book.state.access[motion]
    if row.granted:
        return
    if book.now <= row.due:  # an outage moved it
        schedule_access(book, motion, row)
        return
    book.state.access.put(motion, row._replace(judged=1))
    subject, severity = (row.subject, 3) if row.denied else (SECRETARIAT, 1)
    raise_finding(
        book,
        "C28",
        subject,
        motion,
        severity=severity,
        size=0,
        numbers=(("access_due", row.due),),
        inputs=row.denied,
    )

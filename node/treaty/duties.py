"""C28, duties overdue: counts of chips, meetings, access for inspectors (CHECKS 4, LAW K26, K44).

A duty is fulfilled in time at its very due second and overdue from the next (K2). One missed again is
a new finding: each period that passes without a count or a meeting is a duty of its own.
"""

from typing import Final

from node.treaty.book import RANK_DUTY, Book
from node.treaty.cases import raise_finding
from node.treaty.state import Access, Duty

MEETING: Final = "meeting"
SECRETARIAT: Final = "SEC"


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


def owe_census(book: Book, facility: str) -> None:
    """A site became covered: its chips are to be counted."""
    if not book.is_first_law:
        owe(book, f"count:{facility}", book.value("census"))


def counted(book: Book, facility: str) -> None:
    """A count was reported: a covered site owes the next."""
    if f"count:{facility}" in book.state.duties:
        owe(book, f"count:{facility}", book.value("inventory"))


def duty_due(book: Book, what: str) -> None:
    """The clock looks at a duty. Overdue, it is a finding and owed anew."""
    due = book.state.duties[what].due
    if book.now <= due:
        schedule_duty(book, what)
        return
    kind, _, facility = what.partition(":")
    if kind == MEETING:
        subject, about, period = SECRETARIAT, MEETING, book.value("meeting")
    else:
        subject, about = book.state.facilities[facility].state, facility
        period = book.value("inventory")
    book.state.duties.put(what, Duty(due + period))
    schedule_duty(book, what)
    raise_finding(
        book,
        "C28",
        subject,
        about,
        severity=1,
        size=0,
        numbers=(("due", due),),
        fresh=True,
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

"""The ledger stood still: deadlines that nobody could meet move on (RULINGS R34, LAW K54).

More than f validators down, and no commit comes. When commits come again, whatever fell due meanwhile would be
judged at once, though nobody could have replied, voted or reported. A gap of more than `outage` seconds
between two commits is therefore recorded, and moves every open deadline of a reply, a vote, a report or an
access by what it lasted longer. Nothing else moves: what must lapse lapses, what must wait has waited.

An objection to being named is a reply (record 0240). What is reported: usage by slot, progress of runs, counts of chips.
Deadlines of rows (replies, votes, access, counts) are moved in the row; those that follow from a schedule (slots, progress) by
`later`.
"""

from node.treaty import consent
from node.treaty.book import Book
from node.treaty.derived import Outage
from node.treaty.rows import NEVER
from node.treaty.rows.clock import Gap

_COUNTS = "count:"


def stood_still(book: Book, since_s: int, until_s: int) -> None:
    """Two successive commits came at these seconds: if that is an outage, record it and move what is open.

    To be called before the clock of the second commit runs.
    """
    moved = until_s - since_s - book.value("outage")
    if book.is_first_law or moved <= 0:
        return
    state = book.state
    number = book.count("outages")
    state.gaps.put(f"{number:08d}", Gap(since_s, until_s, moved))
    book.emit(Outage(since=since_s, until=until_s, moved=moved, at=until_s))
    for name, motion in sorted(state.motions.items()):
        state.motions.put(name, motion._replace(closes_at=motion.closes_at + moved))
    for name, case in sorted(state.cases.items()):
        if case.status == "RAISED":
            book.put_case(name, case._replace(reply_due=case.reply_due + moved))
    for name, access in sorted(state.access.items()):
        if not access.granted and not access.judged:
            state.access.put(name, access._replace(due=access.due + moved))
    consent.postpone(book, moved)
    for what, duty in sorted(state.duties.items()):
        if what.startswith(_COUNTS):
            state.duties.put(what, duty._replace(due=duty.due + moved))
    for name, halting in sorted(state.halts.items()):
        if name in state.motions:  # it ends with its vote
            state.halts.put(name, halting._replace(until=halting.until + moved))


def later(book: Book, begun_s: int, due_s: int) -> int:
    """A deadline that follows from a schedule: `due_s` of what began at `begun_s`, moved by all outages it met."""
    if book.state.gaps:
        for gap in sorted(book.state.gaps.values()):
            if begun_s < gap.until and due_s >= gap.since and begun_s != NEVER:
                due_s += gap.moved
    return due_s

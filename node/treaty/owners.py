"""Owners that change: who is independent of whom, and which runs belong together, over time (M39; MODEL 3, kind 1).

A party's own state says that its owners changed. What was owned yesterday is not independent today: former owners count for
`owner_memory` seconds where an evaluator is asked whom it depends on. In C15 a run keeps every ultimate owner that its
operator has had since the plan, so that nobody leaves a group by selling.
"""

from typing import Final

from node.treaty import consent
from node.treaty.book import Book, Refused
from node.treaty.codes import Code
from node.treaty.filing import require_allowance
from node.treaty.lives import done_of
from node.treaty.rows.parties import Owned
from node.treaty.rows.runs import Owning

CHANGES_PER_DAY: Final = 8  # by one state: a change looks at all runs of whoever it concerns
PAST_MAX: Final = 64  # former owners that are kept of one party, the latest


def check_change(book: Book, party: str, owners: tuple[str, ...]) -> None:
    """Refuses STANDING: it would own itself. Refuses QUOTA; call it as the last check."""
    for owner in owners:
        if party in book.owner_closure(owner):
            raise Refused(Code.STANDING, f"{party} owns {owner}, directly or not")
    require_allowance(book, f"owners/{book.state_of(party)}", CHANGES_PER_DAY)


def stands(book: Book, party: str, owner: str, event: str, entry_hash: bytes) -> None:
    """An owner that was only named is one from now on, unless the party would come to own itself meanwhile."""
    if party in book.owner_closure(owner):
        event = "VOID"
    consent.settle(book, party, owner, event, entry_hash)
    if event != "VOID":
        owners = {*book.state.parties[party].owners, owner}
        change(book, party, tuple(sorted(owners)))


def naming_due(book: Book, party: str) -> None:
    """The clock looks: who was named and said nothing in time has agreed."""
    for owner in consent.silent(book, party):
        stands(book, party, owner, "SILENT", b"")


def change(book: Book, party: str, owners: tuple[str, ...]) -> None:
    """From now on `owners` are the direct owners of `party`."""
    concerned = {
        operator
        for operator in {plan.operator for plan in book.state.plans.values()}
        if party in book.owner_closure(operator)
    }
    runs = [run for run, plan in sorted(book.state.plans.items()) if plan.operator in concerned]
    before = {run: set(book.owners_of_run(run, book.state.plans[run])) for run in runs}
    row = book.state.parties[party]
    past = book.state.owned.get(party)
    gone = tuple((owner, book.now) for owner in row.owners if owner not in owners)
    if gone:
        book.state.owned.put(party, Owned((*(past.past if past else ()), *gone)[-PAST_MAX:]))
    book.state.parties.put(party, row._replace(owners=owners))
    for run in runs:
        plan = book.state.plans[run]
        now = before[run] | set(book.ultimate_owners(plan.operator))
        book.state.owning.put(run, Owning(tuple(sorted(now))))
        book.join_groups(run, plan, done_of(book.state.lives[run]))

"""Who may evaluate and review: appointed, and independent of the developer (M39; LAW K29); one by lot (MODEL 10).

Beside the evaluators that a developer finds for itself, one is drawn for each run once its first evaluation after the end is
there. Until it has spoken, or its `examiner` seconds are over, no DEPLOY is taken: its silence delays, and stops nothing.
"""

from typing import Final

from node.treaty import beacon
from node.treaty.book import Book, Chance, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_role
from node.treaty.inspections import is_appointed
from node.treaty.rows.runs import Examiner

EXAMINER: Final = "examiner"  # what is drawn, and the parameter that governs it
STATES_MIN: Final = (
    3  # with fewer there is nothing to choose from beside the two that a DEPLOY needs anyway
)
_APPOINTED: Final = "evaluator/"


def require_evaluator(book: Book, entry: Entry) -> None:
    """The author is an evaluator whom genesis or an APPOINT made one. Refuses FILER."""
    require_role(book, entry, "evaluator")
    author = entry.parsed.author
    if not is_appointed(book, "evaluator", author):
        raise Refused(Code.FILER, f"{author} is no appointed evaluator")


def require_independence(book: Book, evaluator: str, run: str) -> None:
    """Neither of the developer's state nor of its owners' circle, and without a declared interest. Refuses NOT_INDEPENDENT."""
    why = dependence(book, evaluator, run)
    if why:
        raise Refused(Code.NOT_INDEPENDENT, why)


def dependence(book: Book, evaluator: str, run: str) -> str:
    """Why an evaluator is not independent of a run's developer; empty: it is. Owners of the last `owner_memory` seconds count."""
    plan = book.state.plans[run]
    if book.state_of(evaluator) == plan.state:
        return f"{evaluator} and {plan.operator} are of {plan.state}"
    if f"{evaluator}/{plan.operator}" in book.state.conflicts:
        return f"{evaluator} declared an interest in {plan.operator}"
    since = book.now - book.value("owner_memory")
    shared = book.owner_closure(evaluator, since=since) & book.owner_closure(
        plan.operator, since=since
    )
    return f"{evaluator} and {plan.operator} share {sorted(shared)}" if shared else ""


def first_evaluated(book: Book, run: str) -> None:
    """Have an evaluator drawn, where there are enough to draw from."""
    if not book.draws_for(EXAMINER):
        return
    if len({book.state_of(name) for name in _independent(book, run)}) >= STATES_MIN:
        beacon.ask(book, EXAMINER, run)


def _independent(book: Book, run: str) -> list[str]:
    named = sorted(key for key in book.state.appointments if key.startswith(_APPOINTED))
    names = [key.removeprefix(_APPOINTED) for key in named]
    return [name for name in names if not dependence(book, name, run)]


def draw_examiner(book: Book, chance: Chance) -> None:
    """The round is over: one of those that are independent now."""
    names = _independent(book, chance.name)
    drawn: tuple[str, ...] = ()
    if chance.value is not None:
        drawn = beacon.draw(chance.value, f"{EXAMINER}:{chance.name}", names, 1)
    for name in drawn:
        row = Examiner(name, book.now + book.value(EXAMINER))
        book.state.examiners.put(chance.name, row)
    beacon.show(book, chance, names, drawn)


def awaited(book: Book, run: str, heard: set[str]) -> str:
    """Which drawn evaluator must still be heard before a deployment; empty: none, or not any more."""
    if beacon.waits(book, EXAMINER, run):
        return "who is still to be drawn"
    row = book.state.examiners.get(run)
    if row is None or book.now > row.due or row.evaluator in heard:
        return ""
    return "" if dependence(book, row.evaluator, run) else row.evaluator

"""Who may evaluate and review: appointed, and independent of the developer (M39; LAW K29)."""

from node.treaty.book import Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_role
from node.treaty.inspections import is_appointed


def require_evaluator(book: Book, entry: Entry) -> None:
    """The author is an evaluator whom genesis or an APPOINT made one. Refuses FILER."""
    require_role(book, entry, "evaluator")
    author = entry.parsed.author
    if not is_appointed(book, "evaluator", author):
        raise Refused(Code.FILER, f"{author} is no appointed evaluator")


def require_independence(book: Book, evaluator: str, run: str) -> None:
    """Neither of the developer's state nor of its owners' circle, and without a declared interest. Refuses NOT_INDEPENDENT."""
    plan = book.state.plans[run]
    if book.state_of(evaluator) == plan.state:
        raise Refused(Code.NOT_INDEPENDENT, f"{evaluator} and {plan.operator} are of {plan.state}")
    if f"{evaluator}/{plan.operator}" in book.state.conflicts:
        raise Refused(Code.NOT_INDEPENDENT, f"{evaluator} declared an interest in {plan.operator}")
    shared = book.owner_closure(evaluator) & book.owner_closure(plan.operator)
    if shared:
        raise Refused(
            Code.NOT_INDEPENDENT, f"{evaluator} and {plan.operator} share {sorted(shared)}"
        )

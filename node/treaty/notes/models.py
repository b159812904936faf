"""Notes about runs and their models: reviews, the safety case, harm, shares of weights, weights put away for good."""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import releases
from node.treaty.book import Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.evaluators import require_evaluator, require_independence
from node.treaty.filing import (
    countersigned,
    operator_of,
    require_endorsed_agency,
    require_past,
    require_role,
)
from node.treaty.lives import enter
from node.treaty.rows.runs import Plan, SafetyCase, Sealed

_SEALABLE: Final = frozenset({"ENDED", "EVALUATED", "DEPLOY_REFUSED", "WITHDRAWN"})


def _known_run(book: Book, entry: Entry, name: str) -> tuple[str, Plan]:
    run = book.qualified(entry.parsed.author, name)
    plan = book.state.plans.get(run)
    if plan is None:
        raise Refused(Code.UNKNOWN_REF, f"no run {run}")
    return run, plan


def take_review(book: Book, entry: Entry, body: pb.Note) -> str:
    """An evaluator judges a plan. Returns the run's id."""
    run, _ = _known_run(book, entry, body.about)
    if book.is_first_law:  # it asked for the role alone
        require_role(book, entry, "evaluator")
    else:
        require_evaluator(book, entry)
        require_independence(book, entry.parsed.author, run)
    require_past(book, entry)
    return run


def take_safety_case(book: Book, entry: Entry, body: pb.Note) -> str:
    """The developer argues that its run is safe, by a standard that a motion adopted (M17). Returns the run's id.

    Whether it is, no program knows: the ledger holds who argued what, by which standard, and who reviewed it.
    """
    run, plan = _known_run(book, entry, body.about)
    if body.standard not in book.state.standards:
        raise Refused(Code.UNKNOWN_REF, f"no motion {body.standard} adopted a standard")
    countersigned(book, entry, operator_of(book, entry))
    if plan.operator != entry.parsed.author:
        raise Refused(Code.STANDING, f"{run} is {plan.operator}'s")
    require_past(book, entry)
    row = SafetyCase(entry.entry_hash, body.standard, book.now)
    book.state.safety_cases.put(run, row)
    return run


def take_seal(book: Book, entry: Entry, body: pb.Note) -> str:
    """The developer puts a model away for good: it is not deployed, and nothing is trained from it. Returns the run's id."""
    run, plan = _known_run(book, entry, body.about)
    countersigned(book, entry, operator_of(book, entry))
    if plan.operator != entry.parsed.author:
        raise Refused(Code.STANDING, f"{run} is {plan.operator}'s")
    life = book.state.lives[run]
    if life.status not in _SEALABLE:
        raise Refused(Code.RUN_STATE, f"{run} is {life.status}")
    require_past(book, entry)
    releases.end(book, plan.model)
    book.state.sealed.put(run, Sealed(entry.entry_hash, book.now))
    enter(book, run, life._replace(status="SEALED"))
    return run


def take_incident(book: Book, entry: Entry, body: pb.Note) -> str:
    """Harm done with a model, as a state's courts or police have it (M45). Returns the model's id."""
    model = book.qualified(entry.parsed.author, body.about)
    if model not in book.state.models:
        raise Refused(Code.UNKNOWN_REF, f"no model {model}")
    require_role(book, entry, "state", "secretariat", "agency")
    require_endorsed_agency(book, entry)
    require_past(book, entry)
    releases.incident(
        book, model, book.state_of(entry.parsed.author), entry.entry_hash, body.severity
    )
    return model


def take_share(book: Book, entry: Entry, body: pb.Note) -> str:
    """A steward confirms that it holds its share of a model's weights (M37). Returns the model's id."""
    model = book.qualified(entry.parsed.author, body.about)
    if model not in book.state.models:
        raise Refused(Code.UNKNOWN_REF, f"no model {model}")
    author = entry.parsed.author
    require_role(book, entry, "state")
    if not releases.is_unconfirmed_steward(book, model, author):
        raise Refused(Code.STANDING, f"{author} is no steward of {model} that has still to confirm")
    require_past(book, entry)
    releases.confirm_share(book, model, author)
    return model

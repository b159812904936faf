"""EXEMPT and CLASS: a narrow run, or a class of them, needs no TRAIN of its own (MODEL 4; M21; LAW K11, K52, K54).

Filed by an operator with its state, or by the secretariat. A panel grants it for 365 days; nobody acts:
not granted. EXEMPT names one run of Tier 1 at most and an evaluator's evaluation or review of it; CLASS names none.
"""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty import runs
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry, EntryFacts
from node.treaty.filing import require_past, require_role
from node.treaty.motions.kind import (
    Force,
    MotionKind,
    always,
    countersigned_operator,
    entries_in,
    lane_of,
    named_in,
    require_few_panels,
    require_rested,
    rest,
    subject_states,
)
from node.treaty.rows.motions import Motion
from node.treaty.rows.runs import Licence

TIER_MAX: Final = 1
NOT_GRANTED: Final = 0  # `until` of a licence that is being voted on


def _applicant(book: Book, entry: Entry) -> str:
    """The filing operator's state, which is recused; empty for the secretariat. Refuses FILER, COUNTERSIGN."""
    if require_role(book, entry, "operator", "secretariat") == "secretariat":
        return ""
    return countersigned_operator(book, entry)


def _require_narrow(body: Any) -> None:
    if body.general_output:
        raise Refused(Code.EXEMPT_LIMIT, f"{body.domain}: its output is general")


def _file_exempt(book: Book, entry: Entry, body: pb.Exempt) -> Accepted:
    subjects = subject_states(book, entry)
    applicant = _applicant(book, entry)
    facts = entries_in(book, entry)
    named = named_in(facts, "run")
    for run in named:
        plan = book.state.plans[run]
        if applicant and plan.operator != entry.parsed.author:
            raise Refused(Code.STANDING, f"{run} is {plan.operator}'s")
    owners = {applicant} if applicant else {book.state.plans[run].state for run in named}
    if set(subjects) - owners or len(owners) > 1:
        raise Refused(Code.SUBJECTS, f"refs lead to {subjects}, not to {sorted(owners)} alone")
    _require_narrow(body)
    for run in named:
        runs.weigh(book, run)
        if book.state.lives[run].tier > TIER_MAX:
            raise Refused(Code.EXEMPT_LIMIT, f"{run} is tier {book.state.lives[run].tier}")
    for run in named:
        if book.state.lives[run].status not in {"PLANNED", "REFUSED"}:
            raise Refused(Code.RUN_STATE, f"{run} is {book.state.lives[run].status}")
    if len(named) != 1:
        raise Refused(Code.EVIDENCE, f"refs name {len(named)} runs, not one")
    run = named[0]
    _require_assessment(book, facts, run)
    _open(book, entry, "EXEMPT", run, tuple(sorted(owners)))
    runs.submitted(book, run, entry.name)
    return Accepted(f"EXEMPT:{entry.name}")


def _require_assessment(book: Book, facts: list[EntryFacts], run: str) -> None:
    wanted = {f"note:review:{run}", f"eval:{book.state.plans[run].model}"}
    if not any(one.topic in wanted for one in facts):
        raise Refused(Code.EVIDENCE, f"no evaluator's evaluation or review of {run}")


def _file_class(book: Book, entry: Entry, body: pb.ClassMotion) -> Accepted:
    subjects = subject_states(book, entry)
    applicant = _applicant(book, entry)
    if set(subjects) - {applicant}:
        raise Refused(Code.SUBJECTS, f"refs lead to {subjects}")
    _require_narrow(body)
    _open(book, entry, "CLASS", body.domain, (applicant,) if applicant else ())
    operator = entry.parsed.author if applicant else ""
    book.state.licences.put(entry.name, Licence(operator, body.domain, until=NOT_GRANTED))
    return Accepted(f"CLASS:{entry.name}")


def _open(book: Book, entry: Entry, kind: str, about: str, subjects: tuple[str, ...]) -> None:
    for state in subjects:
        require_few_panels(book, state, lane_of(book, about))
    require_rested(book, _rest_key(kind, about, subjects), book.value("train_refile"))
    require_past(book, entry)
    open_motion(
        book,
        entry.name,
        kind,
        about=about,
        subjects=subjects,
        rule="PANEL",
        default="not_granted",
        closes_after_s=book.value("exempt_close"),
        tier=TIER_MAX,
    )


def _rest_key(kind: str, about: str, subjects: tuple[str, ...]) -> str:
    return f"{kind}/{'+'.join(subjects)}:{about}"


def _force(book: Book, _motion: Motion, outcome: str) -> Force:
    if outcome != "granted":
        return Force(None)
    return Force(book.now, book.now + book.value("exempt_valid"))


def _barrier(book: Book, _motion_id: str, motion: Motion) -> str:
    return runs.barrier_to_approval(book, motion.about, motion.tier)


def _exempted(book: Book, motion_id: str, motion: Motion, outcome: str) -> None:
    runs.decided(
        book,
        motion.about,
        approved_tier=TIER_MAX if outcome == "granted" else 0,
        until=book.now + book.value("exempt_valid"),
        inspectors=(),
    )
    _rested(book, motion_id, motion, outcome)


def _licensed(book: Book, motion_id: str, motion: Motion, outcome: str) -> None:
    """Granted, plans of Tier 1 may name it and start without a vote (M21)."""
    if outcome == "granted":
        row = book.state.licences[motion_id]
        until = book.now + book.value("exempt_valid")
        book.state.licences.put(motion_id, row._replace(until=until))
    else:
        book.state.licences.drop(motion_id)
    _rested(book, motion_id, motion, outcome)


def _rested(book: Book, _motion_id: str, motion: Motion, outcome: str) -> None:
    if outcome != "granted":
        rest(book, _rest_key(motion.kind, motion.about, motion.subjects), book.now)


_FORM: Final = Form(required=("domain", "general_output"), texts=("domain",))
EXEMPT: Final[MotionKind] = MotionKind(
    form=_FORM,
    file=_file_exempt,
    outcomes=always("not_granted", "granted"),
    barrier=_barrier,
    force=_force,
    effect=_exempted,
)
CLASS: Final[MotionKind] = MotionKind(
    form=_FORM,
    file=_file_class,
    outcomes=always("not_granted", "granted"),
    force=_force,
    effect=_licensed,
)

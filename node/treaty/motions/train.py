"""TRAIN: approval of one training run, by the tier it is in (MODEL 4; LAW K11).

Filed by its operator with its state. Tier 1: a panel, or the plenary where it is called up; Tier 2: two
thirds, and inspectors of two other states; Tier 3: three quarters, three reviews, mandates, and only
while the horizon is open. Nobody acts: not approved.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import lives, runs
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry, EntryFacts
from node.treaty.filing import require_past
from node.treaty.inspections import ask_for_watch
from node.treaty.motions.kind import (
    Force,
    MotionKind,
    always,
    countersigned_operator,
    entries_in,
    lane_of,
    own_run,
    require_few_panels,
    subject_states,
)
from node.treaty.rows import NEVER
from node.treaty.rows.motions import Motion
from node.treaty.rows.runs import Life

TRAIN_RULES: Final = {1: "PANEL", 2: "SUP", 3: "HIGH"}
INSPECTOR_STATES_MIN: Final = 2  # LAW K11, from Tier 2 on
REVIEW_STATES_MIN: Final = 3  # LAW K11, Tier 3
WATCHED_TIER: Final = lives.TIER_WITH_OVERSIGHT


def _file(book: Book, entry: Entry, body: pb.Train) -> Accepted:
    subjects = subject_states(book, entry)
    operator_state = countersigned_operator(book, entry)
    run = own_run(book, entry, operator_state, subjects)
    runs.weigh(book, run)
    life = book.state.lives[run]
    if life.tier == 3 and not book.value("horizon_open"):
        raise Refused(Code.HORIZON, "no Tier 3 run may be approved while the horizon is shut")
    if life.tier < 1 or life.status not in {"PLANNED", "REFUSED"}:
        raise Refused(Code.RUN_STATE, f"{run} is {life.status} in tier {life.tier}")
    inspectors = tuple(sorted(set(body.inspectors)))
    if life.tier >= lives.TIER_WITH_OVERSIGHT:
        _require_inspectors(book, inspectors, entry.parsed.author, operator_state)
    if life.tier == 3:
        _require_safety_case(book, entries_in(book, entry), run)
        _require_reviews(book, entries_in(book, entry), run)
    if life.tier == 1:
        require_few_panels(book, operator_state, lane_of(book, run))
        _require_patience(book, run, life)
    require_past(book, entry)
    motion = entry.name
    runs.submitted(book, run, motion)
    open_motion(
        book,
        motion,
        "TRAIN",
        about=run,
        subjects=subjects,
        rule=TRAIN_RULES[life.tier],
        default="not_approved",
        closes_after_s=book.value("train_t3_close" if life.tier == 3 else "train_close"),
        tier=life.tier,
        until=body.until,
        inspectors=inspectors,
        mandate=life.tier == 3,
    )
    return Accepted(f"TRAIN:{motion}")


def _require_inspectors(
    book: Book, inspectors: tuple[str, ...], operator: str, applicant: str
) -> None:
    states = set()
    for name in inspectors:
        if f"inspector/{name}" not in book.state.appointments:
            raise Refused(Code.INSPECTORS, f"{name} is no appointed inspector")
        if f"{name}/{operator}" in book.state.conflicts:
            raise Refused(Code.INSPECTORS, f"{name} declared an interest in {operator}")
        states.add(book.state_of(name))
    if len(states) < INSPECTOR_STATES_MIN or applicant in states:
        raise Refused(
            Code.INSPECTORS, f"inspectors of two states other than {applicant} are needed"
        )


def _require_safety_case(book: Book, facts: list[EntryFacts], run: str) -> None:
    """The newest safety case of the run, by a standard adopted, among the refs (M17). Refuses EVIDENCE.

    Scenarios ask for one only where their policy names `safety_case`, as with other duties of a node alone.
    """
    if not book.draws_for("safety_case") or not book.value("safety_case"):
        return
    row = book.state.safety_cases.get(run)
    if row is None or row.entry not in {one.entry_hash for one in facts}:
        raise Refused(Code.EVIDENCE, f"the refs hold no safety case of {run}, or not its newest")
    early = [one for one in facts if one.topic == f"note:review:{run}" and one.time_s < row.at]
    if early:
        raise Refused(Code.EVIDENCE, f"{len(early)} reviews are older than the safety case")


def _require_reviews(book: Book, facts: list[EntryFacts], run: str) -> None:
    states = {book.state_of(one.author) for one in facts if one.topic == f"note:review:{run}"}
    if len(states) < REVIEW_STATES_MIN:
        raise Refused(Code.EVIDENCE, f"reviews by evaluators of {len(states)} of 3 states")


def _require_patience(book: Book, run: str, life: Life) -> None:
    """LAW K52: not the same panel motion again at once."""
    if life.refused_at != NEVER and book.now < life.refused_at + book.value("train_refile"):
        raise Refused(Code.REPEATED, f"{run} was refused at {life.refused_at}")


def _barrier(book: Book, _motion_id: str, motion: Motion) -> str:
    return runs.barrier_to_approval(book, motion.about, motion.tier)


def _until(book: Book, motion: Motion) -> int:
    latest = book.now + book.value("train_valid")
    return min(motion.until or latest, latest)


def _force(book: Book, motion: Motion, outcome: str) -> Force:
    return Force(book.now, _until(book, motion)) if outcome == "approved" else Force(None)


def _effect(book: Book, _motion_id: str, motion: Motion, outcome: str) -> None:
    runs.decided(
        book,
        motion.about,
        approved_tier=motion.tier if outcome == "approved" else 0,
        until=_until(book, motion),
        inspectors=motion.inspectors,
    )
    if outcome == "approved" and book.state.lives[motion.about].approved >= WATCHED_TIER:
        ask_for_watch(book, motion.about)


KIND: Final[MotionKind] = MotionKind(
    form=Form(integers=("until",), counted=("inspectors",)),
    file=_file,
    outcomes=always("not_approved", "approved"),
    barrier=_barrier,
    force=_force,
    effect=_effect,
)

"""Filing motions: TRAIN, BREACH, APPOINT, CLASSIFY; and what their outcomes do.

A kind of motion is a filing rule, its two outcomes (`ballots.OUTCOMES`), a condition judged again at
the close, and an effect. The kinds of MODEL 4 that have no row in `FILERS` are not in force under
this law version.
"""

from collections.abc import Callable
from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty import cases, lives, runs
from node.treaty.ballots import close_motion, open_motion
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry, EntryFacts
from node.treaty.filing import operator_of, require_past, require_role
from node.treaty.state import NEVER, Appointment, Life, Motion

TRAIN_RULES: Final = {1: "PANEL", 2: "SUP", 3: "HIGH"}
INSPECTOR_STATES_MIN: Final = 2  # LAW K11, from Tier 2 on
REVIEW_STATES_MIN: Final = 3  # LAW K11, Tier 3
PANEL_MOTIONS_MAX: Final = 8  # open at once per applicant state (LAW K52)
_APPOINTMENTS: Final = {
    pb.APPOINTMENT_TYPE_INSPECTOR: "inspector",
    pb.APPOINTMENT_TYPE_EVALUATOR: "evaluator",
    pb.APPOINTMENT_TYPE_OFFICER: "officer",
    pb.APPOINTMENT_TYPE_STANDARD: "standard",
    pb.APPOINTMENT_TYPE_CAPABILITY: "capability",
}


def subject_states(book: Book, entry: Entry) -> tuple[str, ...]:
    """The states that an entry's refs lead to, sorted: they are recused (LAW K4, K37).

    Derived, never typed in, so nobody strips votes by naming states. Refuses UNKNOWN_REF.
    """
    states = set()
    for ref in entry.parsed.refs:
        target = book.referred(ref)
        subject = (
            book.state.cases[target].subject
            if isinstance(target, str)
            else _subject_of(book, target)
        )
        if subject and subject != "SEC":
            states.add(subject)
    return tuple(sorted(states))


def _subject_of(book: Book, facts: EntryFacts) -> str | None:
    kind, _, name = facts.topic.partition(":")
    if kind in {"facility", "usage"}:
        return book.state.facilities[name].state
    if kind == "run":
        return book.state.plans[name].state
    if kind == "note" and name.startswith("evidence:"):
        return name.removeprefix("evidence:") or None
    return None


def file_train(book: Book, entry: Entry, body: pb.Train) -> Accepted:
    """Ask for approval of one run: a panel in Tier 1, two thirds in Tier 2, three quarters in Tier 3."""
    subjects = subject_states(book, entry)
    operator_state = operator_of(book, entry)
    if operator_state not in entry.endorsers:
        raise Refused(Code.COUNTERSIGN, f"{operator_state} has not endorsed this motion")
    referred = [book.referred(ref) for ref in entry.parsed.refs]
    facts = [target for target in referred if isinstance(target, EntryFacts)]
    named = sorted({one.topic[4:] for one in facts if one.topic.startswith("run:")})
    for run in named:
        if book.state.plans[run].operator != entry.parsed.author:
            raise Refused(Code.STANDING, f"{run} is {book.state.plans[run].operator}'s")
    if set(subjects) - {operator_state}:
        raise Refused(Code.SUBJECTS, f"refs lead to {subjects}, not to {operator_state} alone")
    if len(named) != 1:
        raise Refused(Code.EVIDENCE, f"refs name {len(named)} runs, not one")
    run = named[0]
    runs.weigh(book, run)
    life = book.state.lives[run]
    if life.tier == 3 and not book.value("horizon_open"):
        raise Refused(Code.HORIZON, "no Tier 3 run may be approved while the horizon is shut")
    if life.tier < 1 or life.status not in {"PLANNED", "REFUSED"}:
        raise Refused(Code.RUN_STATE, f"{run} is {life.status} in tier {life.tier}")
    inspectors = tuple(sorted(body.inspectors))
    if life.tier >= lives.TIER_WITH_OVERSIGHT:
        _require_inspectors(book, inspectors, operator_state)
    if life.tier == 3:
        _require_reviews(book, facts, run)
    if life.tier == 1:
        _require_patience(book, run, life, operator_state)
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
        closes_after_s=book.value("train_t3_close" if life.tier == 3 else "train_close"),
        tier=life.tier,
        until=body.until,
        inspectors=inspectors,
        mandate=life.tier == 3,
    )
    return Accepted(f"TRAIN:{motion}")


def _require_inspectors(book: Book, inspectors: tuple[str, ...], applicant: str) -> None:
    states = set()
    for name in inspectors:
        if f"inspector/{name}" not in book.state.appointments:
            raise Refused(Code.INSPECTORS, f"{name} is no appointed inspector")
        states.add(book.state_of(name))
    if len(states) < INSPECTOR_STATES_MIN or applicant in states:
        raise Refused(
            Code.INSPECTORS, f"inspectors of two states other than {applicant} are needed"
        )


def _require_reviews(book: Book, facts: list[EntryFacts], run: str) -> None:
    states = {book.state_of(one.author) for one in facts if one.topic == f"note:review:{run}"}
    if len(states) < REVIEW_STATES_MIN:
        raise Refused(Code.EVIDENCE, f"reviews by evaluators of {len(states)} of 3 states")


def _require_patience(book: Book, run: str, life: Life, state: str) -> None:
    """LAW K52: neither a flood of panel motions nor the same one again at once."""
    open_now = sum(
        motion.kind == "TRAIN" and motion.tier == 1 and state in motion.subjects
        for _, motion in book.state.motions.items()
    )
    if open_now >= PANEL_MOTIONS_MAX:
        raise Refused(Code.QUOTA, f"{open_now} panel motions of {state} are open")
    if life.refused_at != NEVER and book.now < life.refused_at + book.value("train_refile"):
        raise Refused(Code.REPEATED, f"{run} was refused at {life.refused_at}")


def file_breach(book: Book, entry: Entry, _body: pb.Breach) -> Accepted:
    """Accuse a state without a Finding: a majority must uphold it."""
    subjects = subject_states(book, entry)
    require_role(book, entry, "state", "secretariat")
    if len(subjects) != 1:
        raise Refused(Code.SUBJECTS, f"refs lead to {len(subjects)} states, not one")
    require_past(book, entry)
    cases.open_case_without_finding(book, entry.name, subjects[0])
    return Accepted(f"BREACH:{entry.name}")


def file_appoint(book: Book, entry: Entry, body: pb.Appoint) -> Accepted:
    """Appoint an inspector, evaluator or officer; adopt a standard or a capability."""
    subject_states(book, entry)  # refs must exist
    what = _APPOINTMENTS[body.what]
    if what in {"inspector", "evaluator"} and body.name not in book.state.parties:
        raise Refused(Code.UNKNOWN_REF, f"no party {body.name}")
    require_role(book, entry, "state", "secretariat")
    require_past(book, entry)
    open_motion(
        book,
        entry.name,
        "APPOINT",
        about=f"{what}/{body.name}",
        subjects=(),
        rule="MAJ",
        closes_after_s=book.value("appoint_close"),
    )
    return Accepted(f"APPOINT:{entry.name}")


def file_classify(book: Book, entry: Entry, _body: pb.Classify) -> Accepted:
    """Restrict a publication; unless a majority does, it is released."""
    subjects = subject_states(book, entry)
    require_role(book, entry, "state")
    if subjects:
        raise Refused(Code.SUBJECTS, f"refs lead to {subjects}")
    papers = [
        target.entry_hash.hex()
        for ref in entry.parsed.refs
        if isinstance(target := book.referred(ref), EntryFacts)
        and target.topic.startswith("note:publication:")
    ]
    if len(papers) != 1:
        raise Refused(Code.EVIDENCE, f"refs name {len(papers)} publications, not one")
    require_past(book, entry)
    open_motion(
        book,
        entry.name,
        "CLASSIFY",
        about=papers[0],
        subjects=(),
        rule="MAJ",
        closes_after_s=book.value("classify_close"),
    )
    return Accepted(f"CLASSIFY:{entry.name}")


FILERS: Final[dict[str, Callable[[Book, Entry, Any], Accepted]]] = {
    "TRAIN": file_train,
    "BREACH": file_breach,
    "APPOINT": file_appoint,
    "CLASSIFY": file_classify,
}


def close(book: Book, motion_id: str, motion: Motion) -> None:
    """Close a motion now and let its outcome take effect."""
    barrier = ""
    until = 0
    if motion.kind == "TRAIN":
        barrier = runs.barrier_to_approval(book, motion.about, motion.tier)
        latest = book.now + book.value("train_valid")
        until = min(motion.until or latest, latest)
    outcome = close_motion(book, motion_id, motion, barrier, until)
    match motion.kind:
        case "TRAIN":
            approved = motion.tier if outcome == "approved" else 0
            runs.decided(
                book,
                motion.about,
                approved_tier=approved,
                until=until,
                inspectors=motion.inspectors,
            )
        case "BREACH":
            cases.decide(book, motion.case, outcome)
            if outcome == "set_aside":
                lives.end_halts_of(book, motion.case)
        case "HALT":
            if outcome == "lifted":
                lives.lift(book, motion.about, motion_id)
        case "APPOINT":
            if outcome == "appointed":
                book.state.appointments.put(motion.about, Appointment(motion_id))
        case _:
            pass  # the Decision is the effect

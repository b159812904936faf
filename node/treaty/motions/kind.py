"""What a kind of motion is, and what kinds share: who signs, who is recused, how long to rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry, EntryFacts
from node.treaty.filing import is_filing_state, operator_of
from node.treaty.rows.motions import Motion, Rest
from node.treaty.rules import k_of, trigger_of

PANEL_MOTIONS_MAX: Final = 8  # open at once per applicant state (LAW K52)


class Force(NamedTuple):
    """When a decision acts (LAW section 3)."""

    in_force_at: int | None
    until: int | None = None


def never_acts(_book: Book, _motion: Motion, _outcome: str) -> Force:
    """A verdict: what follows from it is another matter."""
    return Force(None)


def nothing(_book: Book, _motion_id: str, _motion: Motion, _outcome: str) -> None:
    """The Decision is the effect."""


def unbarred(_book: Book, _motion_id: str, _motion: Motion) -> str:
    """Nothing is judged again at the close."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionKind:
    """One row of MODEL 4. `outcomes`: the default, what yes-votes lead to, and, of a halt, what no-votes do."""

    form: Form
    file: Callable[[Book, Entry, Any], Accepted]
    outcomes: Callable[[str, Motion], tuple[str, ...]]
    barrier: Callable[[Book, str, Motion], str] = (
        unbarred  # why the default stands against the votes
    )
    force: Callable[[Book, Motion, str], Force]
    effect: Callable[[Book, str, Motion, str], None] = nothing


def always(*outcomes: str) -> Callable[[str, Motion], tuple[str, ...]]:
    """A kind whose outcomes have the same names in every motion."""

    def names(_motion_id: str, _motion: Motion) -> tuple[str, ...]:
        return outcomes

    return names


def acts_if(won: str) -> Callable[[Book, Motion, str], Force]:
    """It acts from the close if it came out so, without an end."""

    def force(book: Book, _motion: Motion, outcome: str) -> Force:
        return Force(book.now if outcome == won else None)

    return force


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
    if kind in _OF_FACILITIES:
        return book.state.facilities[name].state
    if kind == "run":
        return book.state.plans[name].state
    if kind == "note" and name.startswith("evidence:"):
        return name.removeprefix("evidence:") or None
    if kind == "tip" and name.startswith("open:"):
        return name.split(":")[1]  # open:STATE:report
    return None


# Kinds whose topic names a facility. Energy is none of them: law 1 read it so (K4).
_OF_FACILITIES: Final = frozenset(
    ["facility", "usage", "inventory", "custody", "chipmeter", "locate", "net", "snapshot"]
)


def one_subject(subjects: tuple[str, ...]) -> str:
    """Refuses SUBJECTS: adjudicative motions have exactly one, so joint cases are split (MODEL 4)."""
    if len(subjects) != 1:
        raise Refused(Code.SUBJECTS, f"refs lead to {len(subjects)} states, not one")
    return subjects[0]


def entries_in(book: Book, entry: Entry) -> list[EntryFacts]:
    """The accepted entries among the refs, in their order."""
    referred = [book.referred(ref) for ref in entry.parsed.refs]
    return [target for target in referred if isinstance(target, EntryFacts)]


def cases_in(book: Book, entry: Entry) -> list[str]:
    """The cases among the refs, in their order."""
    referred = [book.referred(ref) for ref in entry.parsed.refs]
    return [target for target in referred if isinstance(target, str)]


def named_in(facts: list[EntryFacts], kind: str) -> list[str]:
    """What entries of one kind are about, each once, sorted: of "run" the runs."""
    prefix = f"{kind}:"
    return sorted({one.topic.removeprefix(prefix) for one in facts if one.topic.startswith(prefix)})


def own_run(book: Book, entry: Entry, operator_state: str, subjects: tuple[str, ...]) -> str:
    """The one run that the refs name, the author's own. Refuses STANDING, SUBJECTS, EVIDENCE (LAW K11, K31)."""
    named = named_in(entries_in(book, entry), "run")
    for run in named:
        if book.state.plans[run].operator != entry.parsed.author:
            raise Refused(Code.STANDING, f"{run} is {book.state.plans[run].operator}'s")
    if set(subjects) - {operator_state}:
        raise Refused(Code.SUBJECTS, f"refs lead to {subjects}, not to {operator_state} alone")
    if len(named) != 1:
        raise Refused(Code.EVIDENCE, f"refs name {len(named)} runs, not one")
    return named[0]


def countersigned_operator(book: Book, entry: Entry) -> str:
    """The state of the filing operator, which must have endorsed the motion. Refuses FILER, COUNTERSIGN."""
    state = operator_of(book, entry)
    if state not in entry.endorsers:
        raise Refused(Code.COUNTERSIGN, f"{state} has not endorsed this motion")
    return state


def signing_states(book: Book, entry: Entry) -> set[str]:
    """The states behind an entry: author and endorsers, as far as they may file."""
    signers = (entry.parsed.author, *entry.endorsers)
    return {state for state in signers if is_filing_state(book, state)}


def require_states(book: Book, entry: Entry, needed: int) -> None:
    """Refuses SIGNERS."""
    states = signing_states(book, entry)
    if len(states) < needed:
        raise Refused(Code.SIGNERS, f"{len(states)} states sign, and {needed} are needed")


def require_trigger(book: Book, entry: Entry) -> None:
    """MODEL's q: as many states may start an emergency. Refuses SIGNERS."""
    require_states(book, entry, trigger_of(book.membership()))


def is_broad(book: Book, entry: Entry) -> bool:
    """Whether k+1 states sign: at least one of them is not hostile, so limits against misuse do not bind."""
    return len(signing_states(book, entry)) > k_of(book.membership())


def require_rested(book: Book, what: str, wait_s: int) -> None:
    """Refuses REPEATED while the last such act that ended without success is not long enough ago."""
    row = book.state.rests.get(what)
    if row is not None and book.now < row.since + wait_s:
        raise Refused(Code.REPEATED, f"{what} ended at {row.since}; wait {wait_s} s")


def rest(book: Book, what: str, since: int) -> None:
    """An act ended without success."""
    book.state.rests.put(what, Rest(since))


def lane_of(book: Book, run: str) -> str:
    """What a run says it is for, or empty. Research on safety is asked the same, and has its own place in the queue (X09)."""
    row = book.state.purposes.get(run)
    return row.name if row is not None else ""


def require_few_panels(book: Book, state: str, lane: str = "") -> None:
    """LAW K52: no flood of panel motions by one applicant state, in each lane. Refuses QUOTA."""
    open_now = sum(
        motion.kind in PANEL_KINDS
        and motion.tier <= 1
        and state in motion.subjects
        and lane_of(book, motion.about) == lane
        for _, motion in book.state.motions.items()
    )
    if open_now >= PANEL_MOTIONS_MAX:
        raise Refused(Code.QUOTA, f"{open_now} panel motions of {state} are open")


PANEL_KINDS: Final = frozenset({"TRAIN", "EXEMPT", "CLASS", "CHIPTYPE"})

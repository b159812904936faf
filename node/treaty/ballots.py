"""Motions and votes as such: opened, voted on, judged, closed (MODEL 4, 5). What a kind means stands elsewhere.

At filing everything is fixed (LAW K3): who may vote, the rule, the threshold, the panel. Recused are
the subject states, derived from refs and never typed in. The last valid vote before the close counts.
"""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty import beacon
from node.treaty.bodies import Form
from node.treaty.book import RANK_MOTION, Accepted, Book, Chance, Refused
from node.treaty.codes import Code
from node.treaty.derived import Decision, MotionOpened
from node.treaty.entries import Entry
from node.treaty.filing import require_past
from node.treaty.kinds import Kind
from node.treaty.rows.motions import Closed, Ground, Motion
from node.treaty.rules import (
    PANEL_SEATS_MAX,
    Counts,
    is_settled,
    k_of,
    one_state_could_change,
    result,
    trigger_of,
)

_CHOICES: Final = {pb.CHOICE_YES: "yes", pb.CHOICE_NO: "no", pb.CHOICE_ABSTAIN: "abstain"}
PANEL: Final = "panel"  # what is drawn for a motion
CASE_OPEN_TO_CLOSE: Final = frozenset({"REPLIED", "SILENT"})


def open_motion(
    book: Book,
    motion_id: str,
    kind: str,
    *,
    about: str,
    subjects: tuple[str, ...],
    rule: str,
    default: str,
    closes_after_s: int,
    case: str = "",
    tier: int = 0,
    until: int = 0,
    inspectors: tuple[str, ...] = (),
    mandate: bool = False,
) -> None:
    """File a motion now; `default` is its outcome if nobody acts.

    PANEL draws its seats by the next round of the beacon, or sits as a plenary where there can be none (LAW K52).
    """
    eligible = tuple(state for state in book.standing() if state not in subjects)
    panel: tuple[str, ...] = ()
    early_from = book.now
    seats = len(eligible)
    if rule == "PANEL" and book.genesis.beacon is None and not beacon.can_open(book):
        rule = "SUP"
    if rule == "PANEL":
        seats = min(PANEL_SEATS_MAX, seats)
        early_from = book.now + book.value("callup")
        book.schedule(early_from, RANK_MOTION, "early", motion_id)
        if book.genesis.beacon is not None:  # its seats stand at once
            panel = beacon.draw(book.genesis.beacon, motion_id, eligible, seats)
    k = k_of(book.membership())
    order = book.count("motions")
    motion = Motion(
        kind=kind,
        order=order,
        about=about,
        subjects=subjects,
        rule=rule,
        threshold=book.threshold(rule, seats, k),
        k=k,
        eligible=eligible,
        panel=panel,
        filed_at=book.now,
        closes_at=book.now + closes_after_s,
        early_from=early_from,
        case=case,
        tier=tier,
        until=until,
        inspectors=inspectors,
        mandate=int(mandate),
        votes=(),
        barred=(),
        trigger=trigger_of(book.membership()),
        callers=(),
    )
    book.state.motions.put(motion_id, motion)
    book.schedule(motion.closes_at, RANK_MOTION, "close", motion_id, order)
    book.to_judge[motion_id] = None
    ground = _note_ground(book, motion_id, rule, seats)
    book.emit(
        MotionOpened(
            motion=motion_id,
            kind=kind,
            about=about,
            subjects=subjects,
            rule=rule,
            threshold=motion.threshold,
            eligible=eligible,
            panel=panel,
            default=default,
            closes_at=motion.closes_at,
            at=book.now,
            share=(ground.num, ground.den) if ground else None,
            k=k if ground else None,
        )
    )
    if rule == "PANEL" and not panel:
        beacon.ask(book, PANEL, motion_id)


def _note_ground(book: Book, motion_id: str, rule: str, voters: int) -> Ground | None:
    """Keep what fixes a motion's threshold, for its Decision; votes already cast stay. None under law 1."""
    if book.is_first_law:
        return None
    before = book.state.grounds.get(motion_id)
    num, den = book.share(rule, voters)
    ground = Ground(book.policy_version, num, den, before.ballots if before else ())
    book.state.grounds.put(motion_id, ground)
    return ground


def seat_panel(book: Book, chance: Chance) -> None:
    """The round for a panel is over: its seats in draw order, or the plenary if chance gave nothing."""
    motion = book.state.motions.get(chance.name)
    if motion is None or motion.rule != "PANEL" or motion.panel:
        return
    panel: tuple[str, ...] = ()
    if chance.value is not None:
        seats = min(PANEL_SEATS_MAX, len(motion.eligible))
        panel = beacon.draw(chance.value, chance.name, motion.eligible, seats)
    beacon.show(book, chance, motion.eligible, panel)
    if chance.value is None:
        _to_plenary(book, chance.name, motion)
    else:
        book.state.motions.put(chance.name, motion._replace(panel=panel))


def _to_plenary(book: Book, motion_id: str, motion: Motion) -> None:
    """All states eligible at filing decide, by SUP; votes already cast stay (LAW K6)."""
    beacon.forget(book, PANEL, motion_id)
    motion = motion._replace(
        rule="SUP",
        threshold=book.threshold("SUP", len(motion.eligible), motion.k),
        panel=(),
        early_from=book.now,
    )
    book.state.motions.put(motion_id, motion)
    _note_ground(book, motion_id, "SUP", len(motion.eligible))
    book.to_judge[motion_id] = None


def voters_of(motion: Motion) -> tuple[str, ...]:
    """Who may vote: the panel, once it is drawn, or all that are eligible."""
    return motion.panel if motion.rule == "PANEL" else motion.eligible


def call_up(book: Book, motion_id: str, motion: Motion, states: set[str]) -> None:
    """Count `states` as asking for the plenary: the applicant's state is enough, or `trigger` others (LAW K6).

    A panel not yet drawn may be called up as well.
    """
    callers = tuple(sorted({*motion.callers, *states}))
    motion = motion._replace(callers=callers)
    if set(callers).intersection(motion.subjects) or len(callers) >= motion.trigger:
        _to_plenary(book, motion_id, motion)
    else:
        book.state.motions.put(motion_id, motion)


def cast_vote(book: Book, entry: Entry, body: pb.Vote) -> Accepted:
    """Take one state's vote. Refuses UNKNOWN_REF, FILER, CLOSED, NOT_ELIGIBLE, MANDATE."""
    state = entry.parsed.author
    motion = book.state.motions.get(body.motion)
    if motion is None and body.motion not in book.state.closed:
        raise Refused(Code.UNKNOWN_REF, f"no motion {body.motion}")
    if book.law > 2 and body.HasField("mandate_ref"):
        book.referred(body.mandate_ref)
    if book.state.parties[state].role != "state":
        raise Refused(Code.FILER, f"{state} is no state")
    require_past(book, entry)
    if motion is None:
        raise Refused(Code.CLOSED, f"motion {body.motion} is closed")
    if state not in voters_of(motion) or state in motion.barred:
        raise Refused(Code.NOT_ELIGIBLE, f"{state} has no vote in {body.motion}")
    if motion.mandate and not _has_mandate(book, state, body.mandate_ref):
        raise Refused(Code.MANDATE, f"{state} shows no mandate note of its own")
    votes = dict(motion.votes)
    votes[state] = _CHOICES[body.choice]
    book.state.motions.put(body.motion, motion._replace(votes=tuple(sorted(votes.items()))))
    _note_ballot(book, body.motion, state, entry.entry_hash)
    book.to_judge[body.motion] = None
    return Accepted(f"vote:{body.motion}")


def _note_ballot(book: Book, motion_id: str, state: str, entry_hash: bytes) -> None:
    ground = book.state.grounds.get(motion_id)
    if ground is not None:
        ballots = dict(ground.ballots) | {state: entry_hash}
        book.state.grounds.put(motion_id, ground._replace(ballots=tuple(sorted(ballots.items()))))


def _has_mandate(book: Book, state: str, ref: bytes) -> bool:
    facts = book.index.get(ref) if ref else None
    return (
        facts is not None
        and not facts.code
        and facts.author == state
        and facts.topic.startswith("note:mandate:")
    )


def bar(book: Book, motion_id: str, state: str) -> None:
    """Count an equivocator as absent and take its vote for good (LAW K16)."""
    motion = book.state.motions.get(motion_id)
    if motion is None or state in motion.barred:
        return
    if state not in (motion.panel or motion.eligible):  # whoever may yet be drawn counts
        return
    kept = tuple(vote for vote in motion.votes if vote[0] != state)
    barred = tuple(sorted((*motion.barred, state)))
    book.state.motions.put(motion_id, motion._replace(votes=kept, barred=barred))
    book.to_judge[motion_id] = None


def counts_of(motion: Motion) -> Counts:
    """The present tally."""
    choices = [choice for _, choice in motion.votes]
    voters = voters_of(motion)
    barred = sum(state in voters for state in motion.barred)
    return Counts(
        yes=choices.count("yes"),
        no=choices.count("no"),
        abstain=choices.count("abstain"),
        silent=len(voters) - len(choices) - barred,
        barred=barred,
    )


def may_close_early(book: Book, motion_id: str, motion: Motion) -> bool:
    """LAW K5: settled against k changes, not before a panel's call-up time or the accused's reply."""
    if book.now < motion.early_from or (motion.rule == "PANEL" and not motion.panel):
        return False
    if motion.case and book.state.cases[motion.case].status not in CASE_OPEN_TO_CLOSE:
        return False  # right of reply (I11)
    return is_settled(
        motion.rule, motion.threshold, counts_of(motion), motion.k, lift_of(book, motion_id)
    )


def lift_of(book: Book, motion_id: str) -> int:
    """The no-votes that end an open filed halt at once (LAW K8), 0 for every other motion."""
    row = book.state.halts.get(motion_id)
    return row.lift if row is not None else 0


def result_of(book: Book, motion_id: str, motion: Motion) -> int:
    """How the present tally ends: rules.DEFAULT, WON or LIFTED."""
    counts = counts_of(motion)
    return result(motion.rule, motion.threshold, counts.yes, counts.no, lift_of(book, motion_id))


def close_motion(
    book: Book,
    motion_id: str,
    motion: Motion,
    outcome: str,
    *,
    in_force_at: int | None,
    until: int | None,
    barrier: str,
) -> None:
    """Close now and record the Decision.

    `barrier` names a condition that fails at the close, so that the default stands whatever the votes
    (LAW K41); `until` ends what was decided, None if it has no end.
    """
    counts = counts_of(motion)
    changeable = not barrier and one_state_could_change(
        motion.rule, motion.threshold, counts, lift_of(book, motion_id)
    )
    book.emit(
        Decision(
            motion=motion_id,
            kind=motion.kind,
            about=motion.about,
            outcome=outcome,
            rule=motion.rule,
            threshold=motion.threshold,
            yes=counts.yes,
            no=counts.no,
            abstain=counts.abstain,
            absent=counts.silent + counts.barred,
            eligible=motion.eligible,
            panel=motion.panel,
            votes=motion.votes,
            subjects=motion.subjects,
            filed_at=motion.filed_at,
            closed_at=book.now,
            in_force_at=in_force_at,
            until=until,
            one_state_could_change=int(changeable),
            reason=barrier,
            **_ground_of(book, motion_id, motion),
        )
    )
    beacon.forget(book, PANEL, motion_id)
    book.state.motions.drop(motion_id)
    book.state.closed.put(motion_id, Closed(motion.kind, outcome, book.now))


def _ground_of(book: Book, motion_id: str, motion: Motion) -> dict[str, Any]:
    """What a Decision tells of its rule and its votes, from law 2 on; the row is needed no more."""
    ground = book.state.grounds.get(motion_id)
    if ground is None:
        return {}
    book.state.grounds.drop(motion_id)
    ballots = dict(ground.ballots)  # of a barred state too, whose vote counts no more
    return {
        "share": (ground.num, ground.den),
        "k": motion.k,
        "policy_filed": ground.policy,
        "ballots": tuple(ballots[state] for state, _ in motion.votes),
    }


VOTE: Final[Kind] = Kind(
    form=Form(
        required=("motion",),
        enums=("choice",),
        texts=("motion",),
        hashes=("reason_hash", "mandate_ref"),
    ),
    take=cast_vote,
    speaks_of="motion",
)

"""All kinds of motion under random histories: restarts, deadlines, and what must never be seen (MODEL 12)."""

import random
from typing import Any

import pytest

from foedus.v1 import content_pb2 as pb
from node.treaty.derived import Decision, MotionOpened, PolicyStep
from node.treaty.law import Law
from node.treaty.policy import PARAMS, safer
from tests.unit.treaty.court import Court, genesis_of

STATES = ("BR", "CN", "DE", "GB", "IN", "JP", "KE", "NL", "US")
DAY = 86_400
NAMES = ("t1_flop", "t1_params", "oversight_bp", "frontier_flop")
REAL_TIMES: dict[str, object] = {
    "train_close": 30 * DAY,
    "breach_close": 21 * DAY,
    "reply": 5 * DAY,
    "offer_wait": 3 * DAY,
}
MOTIONS_MAX = 60 * DAY  # the longest deadline of MODEL 4


def random_act(rng: random.Random, court: Court) -> tuple[str, Any, dict[str, Any]]:
    """Something that a state, acme or the secretariat might file or vote."""
    book = court.law.book
    signers = tuple(rng.sample(STATES, rng.choice([0, 1, 2, 3, 4])))
    author = rng.choice(STATES)
    refs = [entry.entry_hash for entry in court.entries if entry.parsed.kind != "vote"]
    chosen = tuple(rng.sample(refs, min(len(refs), rng.randrange(4))))
    name = rng.choice(NAMES)
    value = book.value(name) * rng.choice([5, 9, 10, 11, 12]) // 10
    parts: dict[str, Any] = {"by": signers, "period": (0, 1 + rng.randrange(book.now))}
    newest = sorted(book.state.motions.items(), key=lambda item: item[1].order)[-5:]
    motions = [motion for motion, _ in newest]
    match rng.randrange(19 if motions else 7):
        case 0:
            return author, pb.Amend(param=name, value=value), parts
        case 1:
            # Only towards safety: a schedule moves by itself, and no record would say so.
            less = book.value("t1_flop") * 9 // 10
            points = [pb.SchedulePoint(t_from=book.now + 200 * DAY, value=less)]
            return author, pb.Amend(param="t1_flop", schedule=points), parts
        case 2:
            scale = rng.choice([4_000, 9_000, 12_000])
            return rng.choice([author, "SEC"]), pb.TightenNow(param=name, scale_bp=scale), parts
        case 3:
            body = rng.choice([pb.Halt(), pb.Inspect(), pb.Appeal()])
            if isinstance(body, pb.Halt):
                chosen = (rng.choice(refs[:3]),)
            return author, body, parts | {"refs": chosen}
        case 4:
            return author, pb.Breach(), parts | {"refs": chosen[:1]}
        case 5:
            about = rng.choice(STATES[:3])
            note = pb.Note(type=pb.NOTE_TYPE_EVIDENCE, hash=rng.randbytes(32), about=about)
            return author, note, {}
        case 6:
            done = rng.choice([1, 900, 40_000])
            run = rng.choice(["r0", "r1"])
            body = pb.Run(run=run, phase=pb.RUN_PHASE_PROGRESS, pflop_done=done)
            return "acme", body, {"by": ("US",), "period": parts["period"]}
        case _:
            motion = rng.choice(motions)
            choice = rng.choice([pb.CHOICE_YES, pb.CHOICE_YES, pb.CHOICE_YES, pb.CHOICE_NO])
            voter = rng.choice(STATES)
            return voter, pb.Vote(motion=motion, choice=choice), {}


def history(seed: int, commits: int, *, restarts: bool = False) -> tuple[Court, list[Any]]:
    rng = random.Random(seed)
    court = Court(genesis_of(STATES, REAL_TIMES, drill=False))
    site = pb.Facility(facility="dc1", capacity_mh=1, mem_gb=1)
    court.must("acme", site, by=("US",))
    for run in ("r0", "r1"):
        court.plan(run, 1_000, sites=["acme/dc1"])
        court.phase(run, pb.RUN_PHASE_START)
    seen: list[Any] = []
    for number in range(commits):
        derived = court.pass_time(rng.choice([1, 60, 600, DAY, 4 * DAY, 30 * DAY]))
        outcomes = []
        for _ in range(rng.randrange(10)):
            author, body, parts = random_act(rng, court)
            outcomes.append(court.say(author, body, **parts))
        if rng.random() < 0.5 and court.law.book.state.motions:
            motion = rng.choice(sorted(court.law.book.state.motions))
            for state in STATES:
                if rng.random() < 0.85:
                    vote = pb.Vote(motion=motion, choice=pb.CHOICE_YES)
                    outcomes.append(court.say(state, vote))
        seen.append((derived, outcomes, court.save()))
        if restarts and number % 3 == 0:
            rows = list(court.stored.items())
            random.Random(number).shuffle(rows)
            now = court.law.book.now
            court.law = Law.restore(court.genesis, court.index, rows)
            court.law.book.now = now  # as the ledger's next advance would set it
    return court, seen


HISTORIES = {seed: history(seed, 60) for seed in range(10)}


def test_the_histories_reach_all_that_is_shown_here() -> None:
    kinds: set[tuple[str, str]] = set()
    events: set[str] = set()
    for court, _ in HISTORIES.values():
        kinds |= {(one.kind, one.outcome) for one in court.found(Decision)}
        events |= {one.event for one in court.found(PolicyStep)}
    assert kinds >= {
        ("AMEND", "adopted"),
        ("AMEND", "unchanged"),
        ("TIGHTEN_NOW", "kept"),
        ("TIGHTEN_NOW", "lapsed"),
        ("HALT", "kept"),
        ("HALT", "lapsed"),
        ("INSPECT", "goes_ahead"),
        ("BREACH", "upheld"),
    }, kinds
    assert events >= {"IN_FORCE", "DROPPED", "KEPT", "LAPSED", "ENDED"}, events


@pytest.mark.parametrize("seed", HISTORIES)
def test_a_restart_changes_nothing(seed: int) -> None:
    assert history(seed, 60, restarts=True)[1] == HISTORIES[seed][1]


@pytest.mark.parametrize("seed", HISTORIES)
@pytest.mark.measure("M11")
def test_every_motion_closes_by_its_deadline(seed: int) -> None:
    """I4, whoever votes what or keeps silent; and the recused never vote (I6)."""
    court, _ = HISTORIES[seed]
    decided = {one.motion: one for one in court.found(Decision)}
    for opened in court.found(MotionOpened):
        assert opened.closes_at <= opened.at + MOTIONS_MAX
        decision = decided.get(opened.motion)
        if decision is None:
            assert opened.closes_at > court.law.book.now
            continue
        assert decision.closed_at <= opened.closes_at
        assert not set(decision.subjects) & {state for state, _ in decision.votes}


@pytest.mark.parametrize("seed", HISTORIES)
def test_a_parameter_gets_looser_only_by_a_loosening_of_ninety_days_or_as_an_emergency_ends(
    seed: int,
) -> None:
    """I8, I9, from the records alone: what each step left behind, and which decision stood behind it."""
    court, _ = HISTORIES[seed]
    decided = {one.motion: one for one in court.found(Decision)}
    values = {name: PARAMS[name].default for name in NAMES}
    steps = court.found(PolicyStep)
    ends = {(one.param, one.at) for one in steps if one.event in {"LAPSED", "ENDED"}}
    for step in steps:
        before, after = values[step.param], step.value
        values[step.param] = after
        # What ends in this second no longer counts, whichever of the two records comes first.
        if safer(step.param, before, after) == after or (step.param, step.at) in ends:
            continue
        assert step.event == "IN_FORCE", step
        decision = decided[step.motion]
        assert (decision.kind, decision.rule) == ("AMEND", "HIGH"), (step, before)
        assert step.at >= decision.closed_at + 90 * DAY
        assert decision.yes >= decision.threshold >= -(-3 * len(decision.eligible) // 4)


@pytest.mark.parametrize("seed", HISTORIES)
@pytest.mark.measure("X02")
def test_emergencies_lapse_unless_kept(seed: int) -> None:
    """I9: after the last deadline nothing temporary is left."""
    court, _ = history(seed, 60)
    court.pass_time(61 * DAY)
    state = court.law.book.state
    assert all(row.until == -1 for row in state.tightenings.values())
    assert not state.halts
    kept = {one.motion for one in court.found(Decision) if one.outcome == "kept"}
    assert set(state.tightenings) <= kept

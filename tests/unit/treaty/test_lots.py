"""Inspectors of a run by lot (M35), and records that can be drawn again from themselves alone."""

import pytest

from foedus.v1 import content_pb2 as pb
from node.treaty.beacon import draw
from node.treaty.derived import Drawn
from node.treaty.law import Law
from tests.unit.treaty.court import Court
from tests.unit.treaty.test_beacon import anchored, reveal

MORE = (
    ("insp-br", "inspector", "BR"),
    ("insp-cn", "inspector", "CN"),
    ("insp-gb2", "inspector", "GB"),
)
FRONTIER = 10**9


def approved(court: Court) -> str:
    """A Tier 2 run of acme (US), approved with insp-gb and insp-ke; returns its id."""
    motion = court.train(court.plan("r1", FRONTIER))
    for state in ("BR", "CN", "GB", "KE"):
        assert court.vote(state, motion, pb.CHOICE_YES) is None
    assert court.law.book.state.lives["acme/r1"].status == "APPROVED"
    return "acme/r1"


@pytest.mark.measure("M35")
def test_inspectors_of_a_run_are_drawn_from_other_states() -> None:
    court = anchored("BR", "CN", "GB", "KE", more=MORE)
    court.must("insp-ke", pb.Note(type=pb.NOTE_TYPE_CONFLICT_OF_INTEREST, about="acme"))
    # insp-ke has an interest: the motion may not name it either
    plan = court.plan("r1", FRONTIER)
    court.must("acme", pb.Train(inspectors=["insp-gb", "insp-br"]), by=("US",), refs=(plan,))
    motion = court.entries[-1].name
    for state in ("BR", "CN", "GB", "KE"):
        assert court.vote(state, motion, pb.CHOICE_YES) is None
    life = court.law.book.state.lives["acme/r1"]
    assert life.inspectors == ("insp-br", "insp-gb")  # till the lot is drawn
    for state in ("BR", "CN", "GB", "KE"):
        assert reveal(court, state, 1) is None
    (drawn,) = court.found(Drawn)
    team = court.law.book.state.lives["acme/r1"].inspectors
    assert (drawn.what, drawn.draw, drawn.population) == ("watch", "acme/r1", ("BR", "CN", "GB"))
    assert sorted(drawn.drawn) == list(team)
    assert len(team) == 3
    states = [court.law.book.state_of(name) for name in drawn.drawn]
    assert len(set(states)) == 3
    assert "US" not in states
    assert "insp-ke" not in team
    # The record alone says how: whoever holds its one proof can draw again.
    assert drawn.beacon
    assert tuple(states) == draw(drawn.beacon, "watch:acme/r1", drawn.population, 3)
    restored = Law.restore(court.genesis, court.index, court.save().items())
    assert restored.book.state.lives["acme/r1"].inspectors == team


def test_without_a_beacon_the_named_inspectors_stay() -> None:
    court = anchored("BR", more=MORE)
    run = approved(court)
    (drawn,) = court.found(Drawn)
    assert (drawn.drawn, drawn.round, drawn.beacon) == ((), 0, b"")
    assert court.law.book.state.lives[run].inspectors == ("insp-gb", "insp-ke")


@pytest.mark.measure("M39")
def test_no_deployment_is_taken_while_the_evaluator_is_still_to_be_drawn() -> None:
    """Else whoever files at once would never wait for the lot."""
    more = (("eval-br", "evaluator", "BR"), ("eval-cn", "evaluator", "CN"))
    court = anchored("BR", "CN", "GB", "KE", more=more)
    run = court.plan("r1", 1)
    court.phase("r1", pb.RUN_PHASE_START)
    court.phase("r1", pb.RUN_PHASE_END, pflop_done=1)
    results = [
        pb.CapabilityResult(capability=name, presence=pb.PRESENCE_ABSENT)
        for name in ("cyber", "bio_chem", "self_improvement", "deception", "self_replication")
    ]
    body = pb.Eval(
        model="acme/r1-model", bench_ver=1, items=100, score_bp=5_000, capabilities=results
    )
    shown = [run]
    for evaluator in ("eval-gb", "eval-ke"):
        court.must(evaluator, body)
        shown.append(court.entries[-1].entry_hash)
    deploy = pb.Deploy(cap_ver=1, mode="api", stewards=["BR", "CN", "GB", "KE", "US"])
    early = court.say("acme", deploy, by=("US",), refs=tuple(shown))
    assert early.code == "EVALS"
    assert "still to be drawn" in early.why
    for state in ("BR", "CN", "GB", "KE"):
        assert reveal(court, state, 1) is None
    drawn = court.found(Drawn)[-1]
    assert (drawn.what, drawn.population) == (
        "examiner",
        ("eval-br", "eval-cn", "eval-gb", "eval-ke"),
    )
    (name,) = drawn.drawn
    if name not in {"eval-gb", "eval-ke"}:
        assert (
            court.say("acme", deploy, by=("US",), refs=tuple(shown), period=(0, 1)).code == "EVALS"
        )
        court.must(name, body)
        shown.append(court.entries[-1].entry_hash)
    court.must("acme", deploy, by=("US",), refs=tuple(shown), period=(0, 2))

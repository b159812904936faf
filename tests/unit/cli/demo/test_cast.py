"""What the cast says, judged by the law itself."""

from collections.abc import Sequence

from node.cli.author import Signed
from node.cli.demo import cast as story
from node.cli.demo.cast import ACCUSED, PARTS, Application
from tests.unit.cli.demo.court import CASE, LAB, Court

DEADLINE_S = story.DEADLINE_S


async def _filed(court: Court, application: Application) -> Signed:
    plan = court.cast.plan(application.state, application.lab, application.run)
    motion = court.cast.apply(application.state, application.lab, plan, application.inspectors)
    await court.take(plan, motion, after_s=1)
    assert (court.code_of(plan), court.code_of(motion)) == ("", "")
    return motion


def _votes(court: Court, application: Application, motion: Signed) -> list[Signed]:
    choices = dict.fromkeys(application.yes, "yes") | dict.fromkeys(application.no, "no")
    return [court.cast.vote(state, motion.name, choice) for state, choice in choices.items()]


async def test_three_yes_against_one_no_are_enough_at_the_deadline(court: Court) -> None:
    application, _ = story.applications()
    motion = await _filed(court, application)
    assert court.ledger.law.book.state.lives["ke-lab/savanna"].tier == 2
    await court.take(*_votes(court, application, motion), after_s=2)
    await court.take(after_s=DEADLINE_S - 3)
    assert court.is_open(motion.name), "with k = 1 a yes may still flip: no early close (R66)"
    await court.take(after_s=1)
    decision = court.decision(motion.name)
    assert (decision["outcome"], decision["rule"], decision["threshold"]) == ("approved", "SUP", 3)
    assert (decision["yes"], decision["no"], decision["absent"]) == (3, 1, 0)
    assert "KE" not in decision["eligible"]


async def test_three_yes_beside_one_silence_are_enough(court: Court) -> None:
    _, application = story.applications()
    motion = await _filed(court, application)
    await court.take(*_votes(court, application, motion), after_s=2)
    await court.take(after_s=DEADLINE_S)
    decision = court.decision(motion.name)
    assert decision["outcome"] == "approved"
    assert (decision["yes"], decision["no"], decision["absent"]) == (3, 0, 1)


async def test_parts_below_the_threshold_cross_it_in_one_lineage(court: Court) -> None:
    await court.run_the_parts()
    for part in PARTS[:-1]:
        await court.take(court.cast.progress(ACCUSED, LAB, part), after_s=1)
        assert not court.records("finding")
    await court.take(court.cast.progress(ACCUSED, LAB, PARTS[-1]), after_s=1)
    graves = [one for one in court.records("finding") if one["severity"] >= 3]
    assert [(one["finding"], one["severity"]) for one in graves] == [(CASE, 4)]
    assert court.case(CASE).status == "RAISED"
    assert court.is_open(f"BREACH:{CASE}"), "it opens by itself"


async def test_the_accused_votes_replies_and_is_upheld_against(court: Court) -> None:
    await court.run_the_parts()
    await court.take(*(court.cast.progress(ACCUSED, LAB, part) for part in PARTS))
    motion = f"BREACH:{CASE}"
    veto = court.cast.vote(ACCUSED, motion, "yes")
    reply = court.cast.reply(ACCUSED, CASE)
    await court.take(veto, reply, after_s=1)
    assert court.code_of(veto) == "NOT_ELIGIBLE"
    assert court.ledger.status_of(veto.entry_hash).index is not None, "recorded all the same"
    assert court.case(CASE).status == "REPLIED"
    for state in ("GB", "CN"):
        await court.take(court.cast.vote(state, motion, "no"), after_s=1)
        assert court.is_open(motion)
    await court.take(court.cast.vote("KE", motion, "no"), after_s=1)
    assert court.case(CASE).status == "UPHELD"
    decision = court.decision(motion)
    assert (decision["outcome"], decision["no"], decision["yes"]) == ("upheld", 3, 0)
    assert ACCUSED not in decision["eligible"]


async def test_were_nobody_to_vote_it_is_upheld_at_the_deadline(court: Court) -> None:
    await court.run_the_parts()
    await court.take(*(court.cast.progress(ACCUSED, LAB, part) for part in PARTS))
    await court.take(after_s=4 * DEADLINE_S)
    assert court.case(CASE).status == "UPHELD"


async def test_facilities_of_the_figures_are_declared_and_owe_reports(court: Court) -> None:
    declared: Sequence[Signed] = [
        court.cast.declare(state, facility) for state, facility in story.facilities().items()
    ]
    await court.take(*declared, after_s=1)
    assert [court.code_of(one) for one in declared] == [""] * 5
    rows = court.ledger.law.book.state.facilities
    assert {row.slot for _, row in rows.items()} == {story.SLOT_S}


def test_no_threshold_is_moved_for_the_drill() -> None:
    gates = {"frontier_flop", "posttrain_flop", "t1_flop", "t1_params", "horizon_flop"}
    assert not gates & story.drill_policy(DEADLINE_S).keys()
    assert sum(part.pflop for part in PARTS) >= 10**9

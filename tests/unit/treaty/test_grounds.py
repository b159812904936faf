"""What records of law 2 say of themselves: law, policy version, formula, limits, ballots (record 0185)."""

import pytest

from foedus.v1 import content_pb2 as pb
from node.treaty.checks import CHECKS
from node.treaty.derived import CaseStep, Decision, Drawn, Finding, PolicyStep, RunStep, VetoCheck
from node.treaty.grounds import GROUNDS, LEVELS, ground_of
from node.treaty.policy import PARAMS
from tests.unit.treaty.court import Court, genesis_of

FRONTIER = 10**9


def test_every_check_in_force_has_its_ground() -> None:
    judged = {name for name, check in CHECKS.items() if check.since} - {"C01"}  # C01 refuses
    assert set(GROUNDS) == judged
    for name, ground in GROUNDS.items():
        assert ground.formula.startswith(f"{name}/")
        assert set(ground.params) <= set(PARAMS)
        assert ground.level in LEVELS


@pytest.mark.measure("M02")
def test_the_policy_version_rises_when_a_change_begins_or_ends_to_act() -> None:
    court = Court(genesis_of(policy={"tighten_now_close": 50}))
    assert {record.policy for record in court.record} == {1}
    court.must("BR", pb.TightenNow(param="frontier_flop", scale_bp=5_000), by=("CN",))
    (begun,) = court.found(PolicyStep)
    assert (begun.policy, begun.value, begun.law) == (2, FRONTIER // 2, 3)
    court.plan("r1", FRONTIER // 2)
    step = court.found(RunStep)[-1]
    assert step.policy == 2
    assert (
        dict(step.limits)["frontier_flop"] == FRONTIER // 2
    )  # the value that the tier was judged by
    assert (step.tier, step.own_pflop, step.motion) == (2, FRONTIER // 2, "")
    assert step.plan == court.entries[-1].entry_hash
    court.pass_time(51)
    ended = court.found(PolicyStep)[-1]
    assert (ended.event, ended.policy, ended.value) == ("LAPSED", 3, FRONTIER)


def test_a_decision_names_the_entries_of_its_votes_and_what_fixed_its_threshold() -> None:
    court = Court()
    motion = court.train(court.plan("r1", FRONTIER))
    votes = {}
    for state, choice in (("KE", "NO"), ("BR", "YES"), ("GB", "YES"), ("KE", "YES")):
        assert court.vote(state, motion, pb.Choice.Value(f"CHOICE_{choice}")) is None
        votes[state] = court.entries[-1].entry_hash  # the last one counts
    court.must("BR", pb.TightenNow(param="t1_flop", scale_bp=5_000), by=("CN",))
    court.pass_time(21)
    (decision,) = [one for one in court.found(Decision) if one.kind == "TRAIN"]
    assert [state for state, _ in decision.votes] == ["BR", "GB", "KE"]
    assert decision.ballots == tuple(votes[state] for state, _ in decision.votes)
    assert (decision.share, decision.k, decision.threshold) == ((2, 3), 1, 3)
    assert (decision.policy_filed, decision.policy) == (1, 2)
    assert not court.law.book.state.grounds.get(motion)  # the row goes with the motion


def test_a_finding_says_what_was_asked_and_what_would_clear_it() -> None:
    court = Court()
    motion = court.train(court.plan("r1", FRONTIER))
    for state in ("BR", "CN", "GB", "KE"):
        court.vote(state, motion, pb.CHOICE_YES)
    court.phase("r1", pb.RUN_PHASE_START)
    court.phase("r1", pb.RUN_PHASE_END, pflop_done=FRONTIER * 2, oversight_pflop=FRONTIER)
    finding = court.found(Finding)[0]
    assert (finding.formula, finding.law, finding.policy) == ("C14/2", 3, 1)
    assert finding.asks == ground_of("C14", 3).asks != ground_of("C14", 2).asks
    assert dict(finding.limits) == {"oversight_bp": 300, "progress": PARAMS["progress"].default}
    assert (finding.level, finding.clears) == (3, ground_of("C14", 3).clears)
    raised = court.found(CaseStep)[0]
    assert raised.motion == f"BREACH:{finding.finding}"


def test_amended_shares_stand_in_the_veto_check() -> None:
    court = Court()
    (check,) = court.found(VetoCheck)
    assert (check.shares, check.law, check.policy) == ((), 3, 1)


@pytest.mark.measure("M41")
def test_duties_and_findings_bear_the_level_that_they_protect() -> None:
    """Missing evaluations are of deployment, missing counts of hardware: none stands in for another."""
    court = Court(genesis_of(policy={"census": 10, "inventory": 10, "meeting": 20}))
    court.must("acme", pb.Facility(facility="dc1", capacity_mh=20_000, mem_gb=1), by=("US",))
    court.pass_time(21)
    levels = {(one.check, one.about): one.level for one in court.found(Finding)}
    assert levels["C28", "acme/dc1"] == 4
    assert levels["C28", "meeting"] == 3


def test_a_site_with_a_grave_case_is_inspected_without_chance() -> None:
    """CHECKS 6. No member anchors, so nothing is left to chance, and only the accused site is drawn."""
    policy: dict[str, object] = {"slot_s": 10, "timeliness_s": 30, "routine_draw": 200}
    court = Court(genesis_of(policy=policy | {"reply": 1_000, "breach_close": 10_000}))
    for site in ("dc1", "dc2"):
        court.must("acme", pb.Facility(facility=site, capacity_mh=20_000, mem_gb=1), by=("US",))
        court.pass_time(185 if site == "dc1" else 15)
    severities = {one.about: one.severity for one in court.found(Finding)}
    assert severities.get("acme/dc1") == 3
    assert severities.get("acme/dc2", 0) < 3
    (drawn,) = court.found(Drawn)
    assert (drawn.what, drawn.drawn, drawn.population) == (
        "sites",
        ("acme/dc1",),
        ("acme/dc1", "acme/dc2"),
    )


@pytest.mark.measure("M08")
def test_meetings_before_the_founding_are_history_and_fulfil_no_duty() -> None:
    court = Court(genesis_of(policy={"meeting": 100}))
    founded = court.law.book.now
    due = court.law.book.state.duties["meeting"].due
    court.pass_time(50)
    summit = pb.Note(type=pb.NOTE_TYPE_MEETING, about="Bletchley 2023", hash=bytes(32))
    court.must("SEC", summit, period=(founded - 1_000, founded - 900))
    assert court.law.book.state.duties["meeting"].due == due
    held = pb.Note(type=pb.NOTE_TYPE_MEETING, hash=bytes(32))
    court.must("SEC", held, period=(founded + 10, founded + 20))
    assert court.law.book.state.duties["meeting"].due == founded + 150


@pytest.mark.measure("M12")
def test_nobody_takes_a_listed_states_code() -> None:
    """I15: else whoever registers an operator under that name keeps the state out for ever."""
    court = Court()
    squatter = pb.Identity(
        party="FR",
        role=pb.PARTY_ROLE_OPERATOR,
        state="US",
        keys=[pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=b"s" * 32)],
    )
    refused = court.say("US", squatter)
    assert (refused.code, refused.why) == ("STANDING", "FR is the code of a state")
    squatter.party = "us-op"
    court.must("US", squatter)


def test_what_an_old_key_may_not_have_signed_is_flagged_and_stays() -> None:
    """MODEL 9, Key: a party names the span that it doubts when it changes its key."""
    court = Court()
    court.pass_time(100)
    now = court.law.book.now
    identity = pb.Identity(
        party="acme",
        role=pb.PARTY_ROLE_OPERATOR,
        state="US",
        keys=[pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=b"n" * 32)],
        suspect_from=now + 1,
    )
    assert court.say("acme", identity).code == "EVIDENCE"
    identity.suspect_from = now - 50
    court.must("acme", identity)
    assert court.law.book.state.suspects["acme"].spans == ((now - 50, now),)

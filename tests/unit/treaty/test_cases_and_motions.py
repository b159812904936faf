"""Stories before the court: approvals, accusations, silence, and who may not stop them."""

from dataclasses import replace
from typing import Any

import pytest

from foedus.v1 import content_pb2 as pb
from node.treaty.codes import Code
from node.treaty.derived import CaseStep, Decision, Finding, MotionOpened, RunStep, VetoCheck
from node.treaty.genesis import FoundingParty
from node.treaty.law import Law
from node.treaty.register import kid_of
from tests.unit.treaty.court import START, STATES, Court, genesis_of, key_of

YES, NO, ABSTAIN = pb.CHOICE_YES, pb.CHOICE_NO, pb.CHOICE_ABSTAIN
FRONTIER = 10**9
END, PROGRESS, START_PHASE = pb.RUN_PHASE_END, pb.RUN_PHASE_PROGRESS, pb.RUN_PHASE_START


@pytest.fixture
def court() -> Court:
    return Court()


def status(court: Court, run: str) -> str:
    return court.law.book.state.lives[f"acme/{run}"].status


def test_one_no_and_three_yes_approve_with_the_applicant_recused(court: Court) -> None:
    motion = court.train(court.plan("r1", FRONTIER))
    opened = court.found(MotionOpened)[-1]
    assert (opened.rule, opened.threshold, opened.eligible) == ("SUP", 3, ("BR", "CN", "GB", "KE"))
    assert court.vote("US", motion, YES) is Code.NOT_ELIGIBLE
    assert court.vote("BR", motion, NO) is None
    for state in ("CN", "GB", "KE"):
        assert court.vote(state, motion, YES) is None
    assert not court.found(Decision)  # one changed vote could still refuse it
    court.pass_time(19)
    assert not court.found(Decision)
    court.pass_time(1)
    decision = court.found(Decision)[0]
    assert (decision.outcome, decision.yes, decision.no, decision.absent) == ("approved", 3, 1, 0)
    assert (decision.closed_at, decision.in_force_at) == (START + 20, START + 20)
    assert (decision.one_state_could_change, decision.about) == (1, "acme/r1")
    assert decision.votes == (("BR", "no"), ("CN", "yes"), ("GB", "yes"), ("KE", "yes"))
    assert court.vote("BR", motion, YES) is Code.CLOSED
    assert court.phase("r1", START_PHASE).code is None
    assert status(court, "r1") == "RUNNING"


def test_one_silent_state_stops_nothing(court: Court) -> None:
    motion = court.train(court.plan("r1", FRONTIER))
    for state in ("BR", "GB", "KE"):
        court.vote(state, motion, YES)
    court.pass_time(20)
    decision = court.found(Decision)[0]
    assert (decision.outcome, decision.yes, decision.absent) == ("approved", 3, 1)


def test_four_yes_close_at_once(court: Court) -> None:
    motion = court.train(court.plan("r1", FRONTIER))
    for state in ("BR", "CN", "GB", "KE"):
        court.vote(state, motion, YES)
    assert court.found(Decision)[0].closed_at == START


def test_two_no_refuse_and_silence_approves_nothing(court: Court) -> None:
    plan = court.plan("r1", FRONTIER)
    motion = court.train(plan)
    court.vote("BR", motion, NO)
    court.vote("CN", motion, NO)
    assert not court.found(Decision)
    court.vote("GB", motion, NO)  # now no single change brings three yes
    assert court.found(Decision)[0].outcome == "not_approved"
    assert status(court, "r1") == "REFUSED"
    assert court.phase("r1", START_PHASE).code is Code.NOT_APPROVED
    court.pass_time(1)
    refiled = pb.Train(inspectors=["insp-ke", "insp-gb"], until=START + 100)
    court.must("acme", refiled, by=("US",), refs=(plan,))  # another content: else a DUPLICATE (R14)
    court.pass_time(20)
    assert court.found(Decision)[1].absent == 4
    assert status(court, "r1") == "REFUSED"


@pytest.mark.parametrize(
    ("inspectors", "code"),
    [
        ([], Code.INSPECTORS),
        (["insp-gb"], Code.INSPECTORS),
        (["insp-gb", "acme"], Code.INSPECTORS),
        (["insp-gb", "nobody"], Code.INSPECTORS),
        (["insp-gb", "insp-us"], Code.INSPECTORS),
        (["insp-gb", "insp-ke", "insp-us"], Code.INSPECTORS),
        (["insp-gb", "insp-ke"], None),
    ],
)
def test_tier_2_needs_inspectors_of_two_other_states(
    court: Court, inspectors: list[str], code: Code | None
) -> None:
    plan = court.plan("r1", FRONTIER)
    train = pb.Train(inspectors=inspectors)
    assert court.say("acme", train, by=("US",), refs=(plan,)).code is code


def test_who_may_ask_for_approval_of_what(court: Court) -> None:
    plan = court.plan("r1", FRONTIER)
    train = pb.Train(inspectors=["insp-gb", "insp-ke"])
    assert court.say("acme", train, refs=(plan,)).code is Code.COUNTERSIGN
    assert court.say("US", train, refs=(plan,)).code is Code.FILER
    assert court.say("beta", train, by=("CN",), refs=(plan,)).code is Code.STANDING
    assert court.say("acme", train, by=("US",)).code is Code.EVIDENCE
    foreign = court.plan("r2", FRONTIER, author="beta")
    both = court.say("acme", train, by=("US",), refs=(plan, foreign))
    assert both.code is Code.STANDING
    second = court.plan("r3", FRONTIER)
    both = court.say("acme", train, by=("US",), refs=(plan, second))
    assert both.code is Code.EVIDENCE
    court.must("CN", pb.Note(type=pb.NOTE_TYPE_EVIDENCE, about="GB"))
    against_gb = court.entries[-1].entry_hash
    blamed = court.say("acme", train, by=("US",), refs=(plan, against_gb))
    assert blamed.code is Code.SUBJECTS  # nobody is recused by being named
    small = court.plan("small", 1)
    assert court.say("acme", train, by=("US",), refs=(small,)).code is Code.RUN_STATE
    huge = court.plan("huge", 10**10 + 1)
    assert court.say("acme", train, by=("US",), refs=(huge,)).code is Code.HORIZON


def test_an_approval_ends(court: Court) -> None:
    plan = court.plan("r1", FRONTIER)
    court.must(
        "acme",
        pb.Train(inspectors=["insp-gb", "insp-ke"], until=START + 50),
        by=("US",),
        refs=(plan,),
    )
    motion = court.entries[-1].name
    for state in ("BR", "CN", "GB", "KE"):
        court.vote(state, motion, YES)
    assert court.found(Decision)[0].until == START + 50
    assert court.phase("r1", START_PHASE).code is None
    court.pass_time(49)
    assert status(court, "r1") == "RUNNING"
    court.pass_time(1)
    assert status(court, "r1") == "HALTED"
    assert court.phase("r1", PROGRESS, pflop_done=5).code is None  # its past may still be told
    assert not court.found(Finding)
    assert court.phase("r1", PROGRESS, pflop_done=6).code is None
    assert court.found(Finding)[0].severity == 4  # K39: it works on while halted


def test_an_approval_unused_falls_back(court: Court) -> None:
    motion = court.train(court.plan("r1", FRONTIER))
    for state in ("BR", "CN", "GB", "KE"):
        court.vote(state, motion, YES)
    court.pass_time(365 * 86_400)
    assert status(court, "r1") == "PLANNED"


def test_run_phases_in_order(court: Court) -> None:
    court.plan("r1", 100)
    assert court.phase("r1", PROGRESS, pflop_done=1).code is Code.RUN_STATE
    assert court.phase("r2", START_PHASE).code is Code.UNKNOWN_REF
    assert court.phase("acme/r1", START_PHASE, author="beta").code is Code.STANDING
    assert court.phase("r1", START_PHASE).code is None
    assert court.phase("r1", START_PHASE).code is Code.DUPLICATE  # endorsed content, again
    assert court.phase("r1", PROGRESS, pflop_done=100).code is None
    assert court.phase("r1", END, pflop_done=102).code is None
    assert court.phase("r1", PROGRESS, pflop_done=103).code is Code.RUN_STATE
    assert not court.found(Finding)  # 2 % over the plan are tolerated
    plan = pb.Run(run="r1", phase=pb.RUN_PHASE_PLAN, model="m2", params_total=1, pflop_plan=1)
    assert court.say("acme", plan, by=("US",)).code is Code.RUN_STATE
    plan = pb.Run(run="r3", phase=pb.RUN_PHASE_PLAN, model="r1-model", params_total=1, pflop_plan=1)
    assert court.say("acme", plan, by=("US",)).code is Code.REPEATED


@pytest.mark.measure("M35")
def test_c14_code_oversight_and_missing_progress() -> None:
    court = Court(genesis_of(policy={"progress": 50}))
    motion = court.train(court.plan("r1", FRONTIER, code_hash=b"\1" * 32))
    for state in ("BR", "CN", "GB", "KE"):
        court.vote(state, motion, YES)
    court.phase("r1", START_PHASE)
    court.pass_time(50)
    assert not court.found(Finding)
    court.phase("r1", PROGRESS, pflop_done=1, code_hash=b"\1" * 32)
    court.pass_time(50)
    assert not court.found(Finding)
    court.pass_time(1)
    assert [one.numbers[0][0] for one in court.found(Finding)] == ["last_report_at"]
    other = Court(genesis_of())
    other.plan("r1", 100, code_hash=b"\1" * 32)
    other.phase("r1", START_PHASE)
    other.phase("r1", PROGRESS, pflop_done=1, code_hash=b"\2" * 32)
    assert other.found(Finding)[0].severity == 3


@pytest.mark.measure("X10")
def test_c14_rises_when_the_tier_rises(court: Court) -> None:
    court.plan("r1", 9_000_000)
    court.phase("r1", START_PHASE)
    court.phase("r1", PROGRESS, pflop_done=9_500_000)
    court.phase("r1", PROGRESS, pflop_done=10_000_000)
    severities = [(one.finding, one.severity) for one in court.found(Finding)]
    assert severities == [("C14:US:acme/r1", 3), ("C14:US:acme/r1", 4)]
    steps = [(step.status, step.tier) for step in court.found(RunStep)]
    assert steps == [("PLANNED", 0), ("RUNNING", 0), ("RUNNING", 1), ("HALTED", 1)]
    assert len([one for one in court.found(MotionOpened) if one.kind == "BREACH"]) == 1


def split_run(court: Court) -> str:
    """Two siblings of one base, each below the frontier; returns the BREACH motion's id."""
    court.plan("base", 1_000)
    court.phase("base", START_PHASE)
    court.phase("base", END, pflop_done=1_000)
    for name in ("r1", "r2"):
        court.plan(name, 9_000_000, parents=["base"])
        court.phase(name, START_PHASE)
        court.phase(name, PROGRESS, pflop_done=9_000_000)
    return "BREACH:C15:US:lineage:acme/base"


def test_the_accused_cannot_stop_its_case() -> None:
    court = Court(genesis_of(policy={"frontier_flop": 15_000_000}))
    motion = split_run(court)
    finding = next(one for one in court.found(Finding) if one.about.startswith("lineage:"))
    assert (finding.check, finding.subject, finding.severity) == ("C15", "US", 4)
    assert ("done_pflop", 18_001_000) in finding.numbers
    assert len(finding.inputs) == 3
    owner = next(one for one in court.found(Finding) if one.about == "owner:acme")
    assert owner.severity == 2
    assert court.vote("US", motion, YES) is Code.NOT_ELIGIBLE
    court.pass_time(10)
    assert court.law.book.state.cases[finding.finding].status == "RAISED"
    court.pass_time(1)
    assert court.law.book.state.cases[finding.finding].status == "SILENT"
    reply = pb.Note(type=pb.NOTE_TYPE_REPLY, about=finding.finding)
    assert court.say("US", reply).code is Code.LATE
    court.pass_time(19)
    decision = next(one for one in court.found(Decision) if one.motion == motion)
    assert (decision.outcome, decision.absent, decision.in_force_at) == ("upheld", 4, None)
    step = [one for one in court.found(CaseStep) if one.case == finding.finding][-1]
    assert (step.status, step.result) == ("UPHELD", "UPHELD")
    court.pass_time(1)
    court.phase("r2", PROGRESS, pflop_done=9_000_000, code_hash=b"\1" * 32)
    assert f"{finding.finding}#2" not in court.law.book.state.cases  # unchanged: not repeated
    court.phase("r2", PROGRESS, pflop_done=9_000_001)
    assert f"{finding.finding}#2" in court.law.book.state.cases  # more work: a new finding


def test_a_run_approved_as_frontier_work_is_no_part_of_a_split() -> None:
    court = Court(genesis_of(policy={"frontier_flop": 15_000_000}))
    motion = court.train(court.plan("big", 16_000_000))
    for state in ("BR", "CN", "GB", "KE"):
        court.vote(state, motion, YES)
    court.phase("big", START_PHASE)
    court.phase("big", PROGRESS, pflop_done=14_000_000)
    court.plan("small", 5_000_000)
    court.phase("small", START_PHASE)
    court.phase("small", PROGRESS, pflop_done=5_000_000)
    assert not court.found(Finding)  # one owner, 19,000,000 together, but not cut in order to hide


def test_an_old_run_is_no_part_of_a_split() -> None:
    court = Court(genesis_of(policy={"frontier_flop": 15_000_000, "lineage_window": 100}))
    for name in ("r1", "r2"):
        court.plan(name, 9_000_000)
        court.phase(name, START_PHASE)
        court.phase(name, PROGRESS, pflop_done=9_000_000)
        court.pass_time(101)
    assert not court.found(Finding)
    court.plan("r3", 9_000_000)
    court.phase("r3", START_PHASE)
    court.phase("r2", END, pflop_done=9_000_000)
    court.phase("r3", PROGRESS, pflop_done=6_000_000)
    assert [one.finding for one in court.found(Finding)] == ["C15:US:owner:acme"]


@pytest.mark.measure("M19", "X10")
def test_work_of_an_ancestor_raises_the_tier_of_its_descendants() -> None:
    court = Court(genesis_of(policy={"frontier_flop": 15_000_000}))
    court.plan("base", 6_000_000)
    court.plan("middle", 4_000_000, parents=["base"])
    court.plan("other", 1_000_000, parents=["base"])
    court.plan("leaf", 3_000_000, parents=["middle", "other"])
    lives = court.law.book.state.lives
    assert lives["acme/leaf"].lineage == 14_000_000  # the base counts once
    court.phase("base", START_PHASE)
    court.phase("leaf", START_PHASE)
    court.phase("base", PROGRESS, pflop_done=6_999_999)
    assert lives["acme/leaf"].lineage == 14_999_999
    assert lives["acme/leaf"].tier == 0
    court.phase("base", PROGRESS, pflop_done=7_000_000)
    assert lives["acme/leaf"].tier == 2
    assert ("C14:US:acme/leaf", 4) in [(one.finding, one.severity) for one in court.found(Finding)]
    court.phase("base", END, pflop_done=7_000_000)
    assert lives["acme/middle"].lineage == 11_000_000


def test_a_set_aside_waits_for_the_reply() -> None:
    court = Court(genesis_of(policy={"frontier_flop": 15_000_000}))
    motion = split_run(court)
    for state in ("BR", "CN", "GB", "KE"):
        court.vote(state, motion, YES)
    assert not court.found(Decision)  # right of reply
    case = motion.removeprefix("BREACH:")
    reply = pb.Note(type=pb.NOTE_TYPE_REPLY, about=case)
    assert court.say("CN", reply).code is Code.STANDING
    assert court.say("US", reply).code is None
    assert court.found(Decision)[0].outcome == "set_aside"
    assert court.say("US", reply).code is Code.CLOSED


@pytest.mark.measure("M52")
def test_parts_under_another_owner_join_only_if_endorsed() -> None:
    """LAW K33: nobody is drawn into a case by a stranger who names its run as parent."""
    policy: dict[str, object] = {"frontier_flop": 15_000_000}
    for by, accused in ((("CN",), []), (("CN", "acme"), ["CN", "US"])):
        court = Court(genesis_of(policy=policy))
        court.plan("base", 9_000_000)
        court.phase("base", START_PHASE)
        court.phase("base", PROGRESS, pflop_done=9_000_000)
        for name, pflop in (("one", 4_500_000), ("two", 2_000_000)):
            child = pb.Run(
                run=name,
                phase=pb.RUN_PHASE_PLAN,
                model=name,
                params_total=1,
                pflop_plan=pflop,
                parents=["acme/base"],
            )
            assert not court.found(Finding)
            court.must("beta", child, by=by)
            court.phase(name, START_PHASE, author="beta")
            court.phase(name, PROGRESS, author="beta", pflop_done=pflop)
        assert sorted(one.subject for one in court.found(Finding)) == accused


def test_breach_without_a_finding_needs_a_majority(court: Court) -> None:
    court.must("acme", pb.Facility(facility="dc1", capacity_mh=1, mem_gb=1), by=("US",))
    site = court.entries[-1].entry_hash
    assert court.say("CN", pb.Breach()).code is Code.SUBJECTS
    court.must("CN", pb.Breach(), refs=(site,))
    motion = court.entries[-1].name
    court.vote("CN", motion, YES)
    court.vote("BR", motion, YES)
    court.vote("GB", motion, ABSTAIN)
    court.pass_time(30)
    decision = court.found(Decision)[0]
    assert (decision.rule, decision.threshold, decision.outcome) == ("MAJ", 2, "upheld")
    assert court.law.book.state.cases[motion].result == "UPHELD"


def test_two_votes_under_one_seq_bar_the_voter(court: Court) -> None:
    motion = court.train(court.plan("r1", FRONTIER))
    assert court.vote("BR", motion, YES) is None
    second = pb.Vote(motion=motion, choice=NO)
    assert court.say("BR", second, seq=1, prev=bytes(32)).code is Code.EQUIVOCATION
    assert court.vote("BR", motion, YES) is Code.NOT_ELIGIBLE
    for state in ("CN", "GB", "KE"):
        court.vote(state, motion, YES)
    court.pass_time(20)
    decision = court.found(Decision)[0]
    assert (decision.yes, decision.absent, decision.outcome) == (3, 1, "approved")


def test_keys_rotate_and_are_replaced_by_others_only(court: Court) -> None:
    def keys(name: str) -> list[pb.PublicKey]:
        return [pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=key_of(name, "author"))]

    def acme(name: str) -> pb.Identity:
        return pb.Identity(party="acme", role=pb.PARTY_ROLE_OPERATOR, state="US", keys=keys(name))

    assert court.say("acme", acme("next")).code is None
    old, new = kid_of(key_of("acme", "author")), kid_of(key_of("next", "author"))
    assert court.law.resolve_key("acme", old) is None
    found = court.law.resolve_key("acme", new)
    assert found is not None
    assert (found.public_key, found.purpose) == (key_of("next", "author"), "author")
    assert court.say("acme", acme("x")).code is Code.UNKNOWN_AUTHOR  # signed by the old key
    assert court.say("CN", acme("lost")).code is Code.SIGNERS
    assert court.say("CN", acme("lost"), by=("US",)).code is Code.SIGNERS  # its own state is none
    assert court.say("CN", acme("lost"), by=("GB",)).code is None
    assert court.say("CN", acme("acme"), by=("GB",)).code is Code.REPEATED  # never comes back


def test_no_state_gags_a_new_operator(court: Court) -> None:
    body = pb.Identity(
        party="nova",
        role=pb.PARTY_ROLE_OPERATOR,
        state="BR",
        owners=["acme"],
        keys=[pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=key_of("nova", "author"))],
    )
    assert court.say("CN", body).code is Code.SIGNERS
    assert court.say("CN", body, by=("GB",)).code is None
    assert court.say("nova", pb.Note(type=pb.NOTE_TYPE_EVIDENCE)).code is None
    assert court.say("CN", body, by=("KE",)).code in {Code.DUPLICATE, Code.SIGNERS}
    stranger = pb.Identity(party="z", role=pb.PARTY_ROLE_OPERATOR, state="XX")
    assert court.say("US", stranger).code is Code.UNKNOWN_REF


@pytest.mark.measure("M12")
def test_accession_needs_keys_and_attestation_but_no_vote(court: Court) -> None:
    france = pb.Identity(
        party="FR",
        role=pb.PARTY_ROLE_STATE,
        state="FR",
        keys=[
            pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=key_of("FR", "author")),
            pb.PublicKey(purpose=pb.KEY_PURPOSE_VOTE, ed25519=key_of("FR", "vote")),
        ],
    )
    court.must("CN", france, by=("GB",))
    joins = pb.Instrument(type=pb.INSTRUMENT_TYPE_ACCEDE, attested_by=["CN", "GB"])
    assert court.say("FR", joins, by=("CN",)).code is Code.ATTESTATION
    assert court.say("FR", joins, by=("CN", "GB")).code is None
    assert court.law.members()["FR"] == "MEMBER"
    court.pass_time(1)
    assert [check.members for check in court.found(VetoCheck)] == [5, 6]
    again = pb.Instrument(type=pb.INSTRUMENT_TYPE_RATIFY, attested_by=["CN", "GB"])
    assert court.say("FR", again, by=("CN", "GB")).code is Code.INSTRUMENT
    assert court.say("FR", pb.Instrument(type=pb.INSTRUMENT_TYPE_WITHDRAW)).code is None
    court.pass_time(365 * 86_400)
    assert court.law.members()["FR"] == "LEFT"
    court.pass_time(1)
    assert court.found(VetoCheck)[-1].members == 5


def test_genesis_that_cannot_be() -> None:
    court = Court()
    with pytest.raises(ValueError, match="law_version=4"):
        Law.at_genesis(genesis_of(law_version=4), court.index)
    with pytest.raises(ValueError, match="not on the genesis list"):
        Law.at_genesis(replace(genesis_of(), states=STATES[:2]), court.index)
    for wrong, why in (
        ({"role": "king"}, "no such name or role"),
        ({"party": "a/b"}, "no such name or role"),
        ({"state": "XX"}, "not on the list"),
        ({"author_key": bytes(31)}, "31 bytes"),
        ({"author_key": key_of("US", "vote")}, "already taken"),
    ):
        fields: dict[str, Any] = {"party": "x", "role": "device", "state": "US"}
        party = FoundingParty(**{"author_key": bytes(32)} | fields | wrong)
        with pytest.raises(ValueError, match=why):
            Law.at_genesis(genesis_of(parties=(party,)), court.index)
    with pytest.raises(ValueError, match="twice"):
        Law.at_genesis(genesis_of(states=("US", "US")), court.index)

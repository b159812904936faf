"""The ledger stood still: what moves, what does not, and that nobody gains by it (RULINGS R34, LAW K54)."""

import pytest

from foedus.v1 import content_pb2 as pb
from node.treaty import consent
from node.treaty.codes import Code
from node.treaty.derived import CaseStep, Decision, Finding, Outage
from node.treaty.law import Law
from tests.unit.treaty.court import Court, genesis_of

DAY = 86_400
POLICY: dict[str, object] = {
    "train_close": 30 * DAY,
    "breach_close": 21 * DAY,
    "reply": 5 * DAY,
    "frontier_flop": 100,
    "progress": DAY,
    "slot_s": 3_600,
}
BREACH = "BREACH:C14:US:acme/r1"


def accused() -> Court:
    """Case C14:US:acme/r1 of severity 4 raised now: a run of Tier 1 that did what is Tier 2 without approval."""
    court = Court(genesis_of(policy=POLICY))
    court.plan("r1", 50)
    court.phase("r1", pb.RUN_PHASE_START)
    court.phase("r1", pb.RUN_PHASE_PROGRESS, pflop_done=1_000)
    return court


def stop(court: Court, seconds: int) -> None:
    """No commit for so long, then one."""
    now = court.law.book.now
    court.record.extend(court.law.stood_still(now, now + seconds))
    court.pass_time(seconds)


def test_replies_and_votes_have_their_time_after_it() -> None:
    court = accused()
    raised = court.law.book.now
    case = court.law.book.state.cases["C14:US:acme/r1"]
    assert case.reply_due == raised + 5 * DAY
    stop(court, 30 * DAY)  # beyond every deadline
    (outage,) = court.found(Outage)
    assert (outage.since, outage.until) == (raised, raised + 30 * DAY)
    assert outage.moved == 30 * DAY - 600
    assert not court.found(Decision), "nobody could have replied or voted"
    assert court.law.book.state.cases["C14:US:acme/r1"].status == "RAISED"
    note = pb.Note(type=pb.NOTE_TYPE_REPLY, about="C14:US:acme/r1")
    court.pass_time(5 * DAY - 600)  # the last second
    assert court.say("US", note).code is None
    for state in ("BR", "CN", "GB", "KE"):
        assert court.vote(state, BREACH, pb.CHOICE_YES) is None
    assert court.found(Decision)[0].outcome == "set_aside"


def test_a_second_later_it_is_too_late() -> None:
    court = accused()
    stop(court, 30 * DAY)
    court.pass_time(5 * DAY - 600 + 1)
    note = pb.Note(type=pb.NOTE_TYPE_REPLY, about="C14:US:acme/r1")
    assert court.say("US", note).code is Code.LATE
    assert [step.status for step in court.found(CaseStep)] == ["RAISED", "SILENT"]
    court.pass_time(16 * DAY)
    assert court.found(Decision)[0].closed_at == court.found(Decision)[0].filed_at + 51 * DAY - 600


@pytest.mark.parametrize("seconds", [1, 599, 600])
def test_a_short_gap_moves_nothing(seconds: int) -> None:
    court = accused()
    due = court.law.book.state.cases["C14:US:acme/r1"].reply_due
    stop(court, seconds)
    assert not court.found(Outage)
    assert court.law.book.state.cases["C14:US:acme/r1"].reply_due == due


def test_who_is_named_can_still_say_no_after_an_outage() -> None:
    """An objection is a reply: its deadline moves (record 0240)."""
    court = Court(genesis_of(policy={**POLICY, "consent": 5_000}))
    named = pb.Identity(party="acme", role=pb.PARTY_ROLE_OPERATOR, state="US", owners=["beta"])
    court.must("US", named)
    (claim,) = consent.claims_of(court.law.book, "acme")
    stop(court, 10_000)
    (moved,) = consent.claims_of(court.law.book, "acme")
    assert moved.due == claim.due + 10_000 - court.law.book.value("outage")
    court.must("CN", pb.Note(type=pb.NOTE_TYPE_OBJECTION, about="acme"))
    assert consent.claims_of(court.law.book, "acme")[0].objected


def test_the_first_law_knows_no_outage() -> None:
    court = Court(genesis_of(policy=POLICY, law_version=1))
    stop(court, 30 * DAY)
    assert not court.found(Outage)


def test_missed_slots_of_the_outage_are_no_gaps_once_they_are_reported() -> None:
    court = Court(genesis_of(policy=POLICY))
    court.must("acme", pb.Facility(facility="dc1", capacity_mh=20_000, mem_gb=1), by=("US",))
    begun = court.law.book.now
    stop(court, 2 * DAY)
    court.pass_time(3_600)
    assert not court.found(Finding)
    for slot in range(48):
        report = pb.Usage(
            facility="dc1", chip_type="H100", chips_on=1, chip_seconds=1, pflop_total=0
        )
        start = begun + slot * 3_600
        court.must("acme", report, period=(start, start + 3_600))
    assert not [one for one in court.found(Finding) if one.check == "C02"]
    court.pass_time(4 * 3_600 + 2)  # what falls due after it falls due as ever
    found = [(one.check, one.severity) for one in court.found(Finding)]
    assert found == [("C02", 1), ("C02", 2)]  # the first slot missed, and the third


def test_slots_never_reported_are_gaps_when_their_time_has_moved_on() -> None:
    court = Court(genesis_of(policy=POLICY))
    court.must("acme", pb.Facility(facility="dc1", capacity_mh=20_000, mem_gb=1), by=("US",))
    stop(court, 2 * DAY)
    court.pass_time(2 * 3_600 - 600)
    assert not court.found(Finding)
    court.pass_time(1)
    assert court.found(Finding)[0].check == "C02"


def test_progress_of_runs_counts_and_access_wait_as_well() -> None:
    policy = POLICY | {"frontier_flop": 10, "inspect_close": 60, "access": DAY, "census": 7 * DAY}
    court = Court(genesis_of(policy=policy))
    court.must("acme", pb.Facility(facility="dc1", capacity_mh=20_000, mem_gb=1), by=("US",))
    site = court.entries[-1].entry_hash
    approval = court.train(court.plan("r1", 50))
    for state in ("BR", "CN", "GB", "KE"):
        court.vote(state, approval, pb.CHOICE_YES)
    assert court.phase("r1", pb.RUN_PHASE_START).code is None
    court.must("CN", pb.Note(type=pb.NOTE_TYPE_EVIDENCE, hash=b"e" * 32))
    court.must("CN", pb.Inspect(), refs=(site, court.entries[-1].entry_hash))
    inspect = court.entries[-1].name
    court.pass_time(60)
    stop(court, 9 * DAY)
    access = court.law.book.state.access[inspect]
    assert not access.judged
    assert not [one for one in court.found(Finding) if one.check != "C02"]
    court.pass_time(DAY - 620)
    assert {one.check for one in court.found(Finding)} == {"C02", "C14"}
    court.pass_time(7 * DAY)
    assert {one.check for one in court.found(Finding)} == {"C02", "C14", "C28"}


def test_what_must_lapse_lapses_and_what_must_wait_has_waited() -> None:
    """No emergency outlives its vote, and no approval its `until`, because the ledger stood still."""
    court = Court(genesis_of(policy=POLICY))
    approval = court.train(court.plan("r1", 100))
    for state in ("BR", "CN", "GB", "KE"):
        court.vote(state, approval, pb.CHOICE_YES)
    until = court.found(Decision)[0].until
    court.must("CN", pb.TightenNow(param="t1_flop", scale_bp=5_000), by=("GB",))
    stop(court, 400 * DAY)
    assert until is not None
    assert court.law.book.now > until
    assert court.law.book.state.lives["acme/r1"].status == "PLANNED"  # the approval is over
    assert court.law.book.value("t1_flop") == 5 * 10**6  # its vote is still to come
    court.pass_time(30 * DAY)
    assert court.law.book.value("t1_flop") == 10**7


def test_a_restart_after_it_changes_nothing() -> None:
    court, other = accused(), accused()
    for one in (court, other):
        one.must("acme", pb.Facility(facility="dc1", capacity_mh=20_000, mem_gb=1), by=("US",))
        stop(one, 3 * DAY)
        one.save()
    now = court.law.book.now
    court.law = Law.restore(court.genesis, court.index, reversed(court.stored.items()))
    assert court.law.advance(now) == ()
    assert court.law.drain_changes() == {}
    assert court.pass_time(60 * DAY) == other.pass_time(60 * DAY)
    assert court.save() == other.save()

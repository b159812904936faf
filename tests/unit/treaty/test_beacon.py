"""The beacon (RULINGS R63): rounds of reveals, what they draw, and what hostile members gain by it."""

import hashlib
from collections import Counter

import pytest

from foedus.v1 import content_pb2 as pb
from node.treaty.beacon import LINKS_MAX, draw, link
from node.treaty.codes import Code
from node.treaty.derived import Beacon, Decision, Drawn, MotionOpened, RoundOpened
from node.treaty.law import Law
from node.treaty.rows.clock import Anchor
from tests.unit.treaty.court import STATES, Court, genesis_of

REAL: dict[str, object] = {
    "train_close": 20 * 86_400,
    "callup": 86_400,
    "breach_close": 30,
    "beacon": 60,
}
CHAIN = 8  # links that each member makes


def secret(state: str) -> bytes:
    return hashlib.sha256(f"secret of {state}".encode()).digest()


def anchored(
    *states: str,
    policy: dict[str, object] | None = None,
    more: tuple[tuple[str, str, str], ...] = (),
) -> Court:
    """A court in which these states have anchored chains of CHAIN links; `more` parties as in `genesis_of`."""
    court = Court(genesis_of(policy=REAL | (policy or {}), more=more))
    for state in states:
        note = pb.Note(type=pb.NOTE_TYPE_ANCHOR, hash=link(secret(state), CHAIN))
        court.must(state, note)
    return court


def reveal(court: Court, state: str, number: int, value: bytes | None = None) -> Code | None:
    if value is None:
        value = link(secret(state), CHAIN - number)
    note = pb.Note(type=pb.NOTE_TYPE_REVEAL, about=str(number), hash=value)
    return court.say(state, note).code


def file_panel(court: Court, run: str = "r1") -> str:
    """A TRAIN of Tier 1 by acme of US; returns its id."""
    plan = court.plan(run, 10**7)
    court.must("acme", pb.Train(), by=("US",), refs=(plan,))
    return court.entries[-1].name


def test_a_round_fixes_who_is_expected_and_draws_the_panel_when_all_have_revealed() -> None:
    court = anchored("BR", "CN", "GB", "KE")
    motion = file_panel(court)
    (opened,) = court.found(RoundOpened)
    assert (opened.round, opened.expected) == (1, ("BR", "CN", "GB", "KE"))
    filed = court.found(MotionOpened)[-1]
    assert (filed.rule, filed.panel, filed.threshold) == ("PANEL", (), 3)
    assert court.vote("BR", motion, pb.CHOICE_YES) is Code.NOT_ELIGIBLE  # not drawn yet
    for state in ("KE", "CN", "BR"):
        assert reveal(court, state, 1) is None
    assert not court.found(Beacon)
    assert reveal(court, "GB", 1) is None
    (closed,) = court.found(Beacon)
    values = b"".join(link(secret(state), CHAIN - 1) for state in opened.expected)
    assert closed.beacon == hashlib.sha256(values).digest()
    assert (closed.silent, [state for state, _ in closed.revealed]) == ((), list(opened.expected))
    (drawn,) = court.found(Drawn)
    assert drawn.drawn == draw(closed.beacon, motion, ("BR", "CN", "GB", "KE"), 15)
    assert court.law.book.state.motions[motion].panel == drawn.drawn
    assert court.vote("BR", motion, pb.CHOICE_YES) is None
    court.pass_time(20 * 86_400)
    (decision,) = court.found(Decision)
    assert (decision.rule, decision.panel, decision.yes) == ("PANEL", drawn.drawn, 1)


def test_who_does_not_reveal_in_time_is_recorded_and_skipped() -> None:
    court = anchored("BR", "CN", "GB", "KE")
    file_panel(court)
    for state in ("BR", "GB"):
        reveal(court, state, 1)
    court.pass_time(60)
    assert not court.found(Beacon)
    assert reveal(court, "KE", 1) is None  # at the due second itself
    court.pass_time(1)
    (closed,) = court.found(Beacon)
    assert closed.silent == ("CN",)
    assert len(court.found(Drawn)[0].drawn) == 4
    assert reveal(court, "CN", 1) is Code.CLOSED


@pytest.mark.parametrize("revealing", [(), ("BR",)])
def test_fewer_than_k_plus_one_draw_nothing_and_the_plenary_decides(
    revealing: tuple[str, ...],
) -> None:
    court = anchored("BR", "CN")
    motion = file_panel(court)
    for state in revealing:
        reveal(court, state, 1)
    court.pass_time(61)
    assert court.found(Beacon)[0].beacon == b""
    assert court.found(Drawn)[0].drawn == ()
    row = court.law.book.state.motions[motion]
    assert (row.rule, row.threshold, row.panel) == ("SUP", 3, ())
    for state in ("BR", "CN", "GB", "KE"):
        assert court.vote(state, motion, pb.CHOICE_YES) is None
    assert court.found(Decision)[0].outcome == "approved"  # and early, as a plenary may


def test_with_too_few_anchors_no_round_opens() -> None:
    """LAW K52: a panel motion sits as a plenary from the start."""
    court = anchored("BR")
    file_panel(court)
    assert not court.found(RoundOpened)
    assert court.found(MotionOpened)[-1].rule == "SUP"


def test_a_call_up_before_the_draw_makes_it_a_plenary_for_good() -> None:
    court = anchored("BR", "CN", "GB", "KE")
    motion = file_panel(court)
    court.must("US", pb.Note(type=pb.NOTE_TYPE_CALLUP, about=motion))
    assert court.law.book.state.motions[motion].rule == "SUP"
    for state in ("BR", "CN", "GB", "KE"):
        reveal(court, state, 1)
    assert not court.found(Drawn)
    assert court.law.book.state.motions[motion].panel == ()


def test_what_is_filed_while_a_round_is_open_waits_for_the_next() -> None:
    """Whoever has seen a reveal cannot file what that reveal decides: no draw is ground out."""
    court = anchored("BR", "CN", "GB", "KE")
    first = file_panel(court)
    reveal(court, "BR", 1)
    second = file_panel(court, "r2")
    for state in ("CN", "GB", "KE"):
        reveal(court, state, 1)
    assert [drawn.draw for drawn in court.found(Drawn)] == [first]
    assert [opened.round for opened in court.found(RoundOpened)] == [1, 2]
    for state in ("BR", "CN", "GB", "KE"):
        assert reveal(court, state, 2) is None
    assert [drawn.draw for drawn in court.found(Drawn)] == [first, second]


def test_a_link_belongs_to_one_round() -> None:
    """Silent in round 1, a member shows in round 2 the link of round 2; that of round 1 counts no more."""
    court = anchored("BR", "CN", "GB", "KE")
    file_panel(court)
    for state in ("BR", "GB", "KE"):
        reveal(court, state, 1)
    court.pass_time(61)
    file_panel(court, "r2")
    stale = link(secret("CN"), CHAIN - 1)
    assert reveal(court, "CN", 2, stale) is Code.EVIDENCE
    assert reveal(court, "CN", 2, link(secret("CN"), CHAIN - 3)) is Code.EVIDENCE  # nor a later one
    assert reveal(court, "CN", 2) is None
    assert reveal(court, "CN", 2) is Code.REPEATED
    assert reveal(court, "US", 2) is Code.NOT_ELIGIBLE
    assert reveal(court, "BR", 3) is Code.UNKNOWN_REF


def test_no_chain_is_changed_while_its_link_is_expected() -> None:
    """A member that has seen the others' reveals cannot choose among chains."""
    court = anchored("BR", "CN", "GB")
    file_panel(court)
    fresh = pb.Note(type=pb.NOTE_TYPE_ANCHOR, hash=link(b"z" * 32, CHAIN))
    assert court.say("BR", fresh).code is Code.REPEATED
    assert court.say("KE", fresh).code is None  # for the next round
    assert court.found(RoundOpened)[-1].expected == ("BR", "CN", "GB")
    assert reveal(court, "KE", 1, link(b"z" * 32, CHAIN - 1)) is Code.NOT_ELIGIBLE
    assert court.say("acme", fresh).code is Code.FILER


def test_an_anchor_of_long_ago_expects_nothing_of_anybody() -> None:
    """What a reveal costs to check is bounded, however long its author was away."""
    court = anchored("BR", "CN", "GB")
    anchors = court.law.book.state.anchors
    anchors.put("BR", Anchor(anchors["BR"].tip, -LINKS_MAX))
    file_panel(court)
    assert court.found(RoundOpened)[-1].expected == ("CN", "GB")


def test_a_restart_within_a_round_changes_nothing() -> None:
    court = anchored("BR", "CN", "GB", "KE")
    file_panel(court)
    file_panel(court, "r2")
    reveal(court, "KE", 1)
    court.save()
    now = court.law.book.now
    court.law = Law.restore(court.genesis, court.index, reversed(court.stored.items()))
    court.law.advance(now)
    assert court.law.drain_changes() == {}
    for state in ("BR", "CN"):
        reveal(court, state, 1)
    court.pass_time(61)
    assert court.found(Beacon)[0].silent == ("GB",)
    court.pass_time(61)
    assert len(court.found(Drawn)) == 2


def test_each_seat_is_as_likely_for_every_state() -> None:
    """10,000 draws of 2 of 5; chi-square with 4 degrees of freedom, 0.1 % bound 18.5. And order too is by lot."""
    draws = [
        draw(hashlib.sha256(b"%d" % n).digest(), "m", ("A", "B", "C", "D", "E"), 2)
        for n in range(10_000)
    ]
    for place in (0, 1):
        seen = Counter(drawn[place] for drawn in draws)
        assert sum((count - 2_000) ** 2 / 2_000 for count in seen.values()) < 18.5
    assert all(len(set(drawn)) == 2 for drawn in draws)


# --- inspectors by lot -------------------------------------------------------------------------------

INSPECTORS = (
    *(("insp-gb2", "inspector", "GB"), ("insp-br", "inspector", "BR")),
    *(("insp-cn", "inspector", "CN"), ("insp-us2", "inspector", "US")),
)


def inspection(*, anchoring: tuple[str, ...] = STATES) -> tuple[Court, str]:
    """An INSPECT of acme's site in US that went ahead; its id."""
    court = Court(genesis_of(policy=REAL | {"inspect_close": 5, "access": 600}, more=INSPECTORS))
    for state in anchoring:
        court.must(state, pb.Note(type=pb.NOTE_TYPE_ANCHOR, hash=link(secret(state), CHAIN)))
    court.must("acme", pb.Facility(facility="dc1", capacity_mh=1, mem_gb=1), by=("US",))
    site = court.entries[-1].entry_hash
    court.must("CN", pb.Note(type=pb.NOTE_TYPE_EVIDENCE, hash=b"e" * 32))
    court.must("CN", pb.Inspect(), refs=(site, court.entries[-1].entry_hash))
    motion = court.entries[-1].name
    court.pass_time(5)
    return court, motion


def visit(court: Court, motion: str, first: str, second: str) -> Code | None:
    body = pb.Inspection(
        type=pb.INSPECTION_TYPE_CHALLENGE, site="acme/dc1", mandate=motion, mismatches=0
    )
    return court.say(first, body, by=(second,)).code


def test_the_team_is_drawn_and_only_it_may_report() -> None:
    court, motion = inspection()
    assert visit(court, motion, "insp-gb", "insp-ke") is Code.INSPECTORS  # still to be drawn
    for state in STATES:
        reveal(court, state, 1)
    (drawn,) = court.found(Drawn)
    assert drawn.population == ("BR", "CN", "GB", "KE")  # states with inspectors, not the inspected
    assert len(drawn.drawn) == 3  # k + 2
    of = {name: court.law.book.state_of(name) for name in drawn.drawn}
    assert len(set(of.values())) == 3
    assert "US" not in of.values()
    outside = {"insp-gb", "insp-gb2", "insp-ke", "insp-br", "insp-cn"} - set(of)
    other = next(
        name for name in sorted(outside) if court.law.book.state_of(name) != of[drawn.drawn[0]]
    )
    assert visit(court, motion, drawn.drawn[0], other) is Code.INSPECTORS
    assert visit(court, motion, drawn.drawn[0], drawn.drawn[1]) is None
    assert court.law.book.state.access[motion].granted


def test_without_a_beacon_any_two_inspectors_report() -> None:
    court, motion = inspection(anchoring=())
    assert court.found(Drawn)[0].drawn == ()
    assert visit(court, motion, "insp-gb", "insp-ke") is None

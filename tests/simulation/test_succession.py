"""Real cores through epochs: members join and leave, liars close early and push old blocks, and the history is one (SPEC 14)."""

from dataclasses import replace

import pytest

from consensus.epoch import EpochEnd
from consensus.events import EpochClosing, Event
from consensus.simulate import member
from consensus.simulate.checkers import Violation
from consensus.simulate.law import Law
from consensus.simulate.network import Weather
from consensus.simulate.regime import LATER, Change, Regime, _bears, draw, fresh
from consensus.simulate.run import simulate
from consensus.simulate.succession import Succession

FRESH = 2
# The first seeds that change members in each size.
FIXED = (0x100E, 0x1014, 0x104C, 0x1061)


def changing(count: int) -> list[int]:
    return [seed for seed in fresh(12 * count) if draw(seed).changes][:count]


@pytest.mark.parametrize("seed", [*FIXED, *changing(FRESH)], ids=hex)
def test_one_history_over_all_epochs(seed: int) -> None:
    outcome = simulate(draw(seed))
    assert outcome.epochs >= 2
    assert outcome.commits > outcome.epochs


def calm(
    *changes: Change, strategies: tuple[str, ...] = (), byzantine: tuple[int, ...] = ()
) -> Regime:
    """Four founders and no fault but those given."""
    drawn = draw(0x1014)
    weather = Weather(delay_min_ms=1, delay_max_ms=20)
    machinery = drawn.machinery[:1] * (4 + sum(change.joins for change in changes))
    return replace(
        drawn,
        size=4,
        byzantine=byzantine,
        strategies=strategies,
        machinery=machinery,
        weather=weather,
        healed=weather,
        storm_ms=3_000,
        cuts=(),
        crashes=(),
        submitters=(0, 1),
        healed_submitters=(0,),
        changes=changes,
        law_lag_ms=300,
    )


JOINS, LEAVES = Change(at_ms=200, seat=4, joins=True), Change(at_ms=1_500, seat=1, joins=False)


def test_one_joins_and_one_leaves() -> None:
    run = Succession(calm(JOINS, LEAVES))
    outcome = run.run()
    assert outcome.epochs == 3
    assert [term.validators for term in run.terms] == [(0, 1, 2, 3), (0, 1, 2, 3, 4), (0, 2, 3, 4)]
    # Index and log go on, rounds begin anew (SPEC 14.4).
    for before, after in zip(run.terms, run.terms[1:], strict=False):
        last = before.history.commits[-1]
        assert after.history.commits[0].index == last.index + 1
        assert after.history.commits[0].prev_digest == last.digest
        assert after.history.commits[0].leader.round < last.leader.round


def test_old_blocks_are_pushed_and_refused() -> None:
    regime = calm(JOINS, strategies=("two-chains",), byzantine=(2,))
    assert Succession(regime).run().refused > 0


def test_every_transaction_handed_in_is_ordered_once_in_some_epoch() -> None:
    """What blocks of an old epoch held and no commit took is proposed in the next."""
    run = Succession(calm(JOINS, LEAVES))
    run.storm()
    run.heal()
    run.recover()
    submitted = {
        b"%d/%d" % (seat, number)
        for seat, each in run.members.items()
        if seat in run.regime.staying
        for number in range(1, each._submitted + 1)
    }
    waiting = {entry for each in run.members.values() for entry in each.mempool}
    of_newest = run.terms[-1].mint.rounds.values()  # in blocks that are still to be committed
    under_way = {entry for blocks in of_newest for block in blocks for entry in block.payload}
    assert len(submitted) > 20
    assert not submitted - run._ordered.keys() - waiting - under_way


class Forgets(member.TermNode):
    """Never tells its core that the law has closed the epoch."""

    def receive(self, event: Event) -> None:
        if not isinstance(event, EpochClosing):
            super().receive(event)


def broken(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    match how:
        case "a core that is not told of the closing":
            monkeypatch.setattr("consensus.simulate.succession.TermNode", Forgets)
            monkeypatch.setattr("consensus.simulate.succession.HEAL_DELTAS_MAX", 20)
        case "an epoch that goes on after its end":
            monkeypatch.setattr(EpochEnd, "reached", property(lambda _: False))
        case "old blocks that are let in":
            monkeypatch.setattr(member, "check_block", lambda *_, **__: None)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("a core that is not told of the closing", "after healing"),
        ("an epoch that goes on after its end", "after the end of its epoch"),
        ("old blocks that are let in", "Ref|block|parent"),
    ],
)
def test_it_can_fail(how: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(how, monkeypatch)
    with pytest.raises((Violation, AssertionError, KeyError), match=says):
        Succession(calm(JOINS, strategies=("two-chains",), byzantine=(2,))).run()


def test_the_law_fixes_so_few_newcomers_that_the_others_are_a_quorum() -> None:
    law = Law(range(4))
    law.execute([b"joins 4", b"joins 5", b"leaves 2", b"joins 4"])
    for _ in range(2):
        law.execute([b"0/1"])
    assert law.closing == (0, 1, 3, 4)
    assert law.end_epoch() == (0, 1, 3, 4)
    for _ in range(3):
        law.execute([])
    assert law.end_epoch() == (0, 1, 3, 4, 5)
    law.execute([b"joins 5"])
    assert not law.wanted


def test_the_seeds_change_members_in_every_way() -> None:
    regimes = [draw(seed) for seed in range(LATER, LATER + 800)]
    found = [regime for regime in regimes if regime.changes]
    assert len(found) > 100
    assert {regime.size for regime in found} == {4, 5, 7}
    assert any(regime.leaving & set(regime.byzantine) for regime in found)
    assert any(seat >= regime.size for regime in found for seat in regime.byzantine)
    assert any(regime.leaving and regime.seats > regime.size for regime in found)
    for regime in found:
        leaving = [change for change in regime.changes if not change.joins]
        assert _bears(regime.size, regime.byzantine, leaving)

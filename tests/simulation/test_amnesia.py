"""Nodes that lose their sign state, with or without their store, sign again and never twice (SPEC 10)."""

from dataclasses import replace

import pytest

from consensus.amnesia import Amnesia
from consensus.events import Accuse, Alarm, Reject, Trouble
from consensus.simulate.checkers import Violation
from consensus.simulate.cluster import Cluster
from consensus.simulate.network import Weather
from consensus.simulate.node import HonestNode, Machinery
from consensus.simulate.regime import Crash, Regime, draw
from consensus.types import Millis, Round


class WithoutSignState(HonestNode):
    """A crash takes the sign state along."""

    def crash(self) -> None:
        super().crash()
        self.sign_state = None


class WithoutAnything(WithoutSignState):
    """And the store."""

    def crash(self) -> None:
        super().crash()
        self.store.__init__()  # type: ignore[misc]
        self.evidence.clear()


class Forgiving(Cluster):
    """The one alarm that is right here is counted instead of being a violation."""

    lost = 0

    def said(self, node: int, effect: Reject | Accuse | Alarm) -> None:
        if isinstance(effect, Alarm) and effect.trouble is Trouble.SIGN_STATE_LOST:
            self.lost += 1
        else:
            super().said(node, effect)


def forgetful(seed: int, size: int, *, liar: str | None = None) -> Regime:
    """One honest node dies now and then; of four no other may be at fault, of seven one may lie."""
    drawn = draw(seed)
    delta = drawn.parameters.delta_ms
    victim = seed % size
    liars = () if liar is None else ((victim + 1) % size,)
    return replace(
        drawn,
        size=size,
        byzantine=liars,
        strategies=() if liar is None else (liar,),
        liars_answer=seed % 2 == 0,
        gc_depth=(8, 128)[seed % 2],
        machinery=tuple([Machinery(sync_ms=4 * (seed % 3))] * size),
        weather=Weather(delay_min_ms=1, delay_max_ms=delta // 2, loss=50 * (seed % 3)),
        cuts=(),
        crashes=tuple(
            Crash(node=victim, at_ms=at * delta, down_ms=(seed % 4) * delta, point=None)
            for at in (6, 17, 31)
        ),
        submitters=tuple(seat for seat in range(size) if seat not in liars),
        submit_every_ms=drawn.parameters.min_round_delay_ms,
        healed_submitters=(victim,),
        storm_ms=(40 if size == 4 else 36) * delta,
    )


@pytest.mark.parametrize("node_type", [WithoutSignState, WithoutAnything])
@pytest.mark.parametrize("seed", range(6))
def test_a_node_that_forgot_what_it_signed_comes_back_and_signs_no_round_twice(
    seed: int, node_type: type[HonestNode]
) -> None:
    """The checkers see every block ever kept or shown; `run` ends when all have committed new blocks of everybody."""
    cluster = Forgiving(forgetful(seed, 4), node_type=node_type)
    outcome = cluster.run()
    assert cluster.lost == 3
    assert outcome.crashes == 3


@pytest.mark.parametrize("liar", ["silent", "two-chains", "withhold"])
def test_with_a_liar_among_seven_it_comes_back_as_well(liar: str) -> None:
    cluster = Forgiving(forgetful(hash_of(liar), 7, liar=liar), node_type=WithoutAnything)
    cluster.run()
    assert cluster.lost == 3


def hash_of(name: str) -> int:
    return sum(name.encode())


def test_signing_from_the_first_round_on_again_would_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at_once(self: Amnesia, now: Millis) -> Round | None:
        return Round(0)

    monkeypatch.setattr(Amnesia, "last_unsafe_round", at_once)
    with pytest.raises(Violation, match=r"signed both|accuses|OWN_SLOT_TWICE"):
        Forgiving(forgetful(1, 4), node_type=WithoutAnything).run()

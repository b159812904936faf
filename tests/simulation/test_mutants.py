"""The simulator can fail: cores and drivers broken on purpose, here in the test, and the checkers that must notice.

A mutant runs over a few seeds of a regime that gives its mistake a chance; one violation is enough, and its words must name
the mistake. The same regimes hold with what ships: what is caught is the mutation.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import pytest

from consensus.committee import Committee
from consensus.core import Core
from consensus.dag import Dag
from consensus.events import Alarm, Effect, Event, TimerFired
from consensus.linearizer import Linearizer
from consensus.simulate.cluster import Cluster, MakeCore, shipping_core
from consensus.simulate.network import Weather
from consensus.simulate.node import CrashPoint, HonestNode, Machine, Machinery
from consensus.simulate.regime import Crash, Cut, Regime, draw
from consensus.types import Block, Millis, Recovered, Ref, ValidatorIndex

SEEDS: Final = range(8)


def caught(
    regimes: Sequence[Regime],
    *,
    make: MakeCore = shipping_core,
    node_type: type[HonestNode] = HonestNode,
    naming: str = "",
) -> str:
    """What the checkers say of the first run they stop with these words in it; empty if there is none."""
    for regime in regimes:
        try:
            Cluster(regime, make=make, node_type=node_type).run()
        except AssertionError as error:
            if naming in str(error):
                return str(error)
    return ""


# --- regimes ------------------------------------------------------------------------------------------------------------


def calm(seed: int) -> Regime:
    """Four members, no liar, links that delay and lose nothing, nobody crashes."""
    drawn = draw(seed)
    return replace(
        drawn,
        size=4,
        byzantine=(),
        strategies=(),
        liars_answer=True,
        gc_depth=8,
        machinery=tuple([Machinery()] * 4),
        schedule=None,
        weather=Weather(delay_min_ms=1, delay_max_ms=drawn.parameters.delta_ms // 2),
        cuts=(),
        crashes=(),
        submitters=(0, 1, 2, 3),
        submit_every_ms=drawn.parameters.min_round_delay_ms,
        storm_ms=40 * drawn.parameters.delta_ms,
    )


def two_chains(seed: int) -> Regime:
    liar = seed % 4
    regime = calm(seed)
    delta = regime.parameters.delta_ms
    return replace(
        regime,
        byzantine=(liar,),
        strategies=("two-chains",),
        submitters=tuple(index for index in range(4) if index != liar),
        weather=replace(regime.weather, straggler=200, straggler_ms=3 * delta),
    )


def crashes(seed: int) -> Regime:
    """Everybody crashes a few times, when one peer at most has its newest block."""
    regime = calm(seed)
    step = regime.storm_ms // 16
    planned = tuple(
        Crash(
            node=turn % 4,
            at_ms=step * (turn + 1),
            down_ms=1,
            point=(CrashPoint.AFTER_ONE_SEND, CrashPoint.BETWEEN_SYNCS)[turn // 4 % 2],
        )
        for turn in range(15)
    )
    return replace(regime, crashes=planned, weather=replace(regime.weather, loss=300))


def stragglers(seed: int) -> Regime:
    """One member is unheard for about as long as blocks are kept: some are ordered in the last round in which they may be."""
    regime = calm(seed)
    delta = regime.parameters.delta_ms
    unheard = seed % 4
    links = tuple((unheard, other) for other in range(4) if other != unheard)
    cuts = tuple(
        Cut(start_ms=at, end_ms=at + (2 + turn) * delta, links=links, noticed=True)
        for turn, at in enumerate(range(2 * delta, regime.storm_ms, 10 * delta))
    )
    return replace(regime, gc_depth=4, cuts=cuts)


REGIMES: Final[dict[str, Callable[[int], Regime]]] = {
    "calm": calm,
    "two chains": two_chains,
    "crashes": crashes,
    "stragglers": stragglers,
}


@pytest.mark.parametrize("name", REGIMES)
def test_what_ships_holds_in_these_regimes(name: str) -> None:
    assert caught([REGIMES[name](seed) for seed in SEEDS]) == ""


# --- broken cores -------------------------------------------------------------------------------------------------------


def lower_quorum(
    committee: Committee, regime: Regime, own: ValidatorIndex, recovered: Recovered
) -> Machine:
    """Decides by one vote too few."""
    low = replace(committee, quorum=committee.quorum - 1)
    return Core(
        committee=low,
        own=own,
        parameters=regime.parameters,
        recovered=recovered,
        gc_depth=regime.gc_depth,
    )


def test_a_quorum_off_by_one_is_caught() -> None:
    words = caught([two_chains(seed) for seed in SEEDS], make=lower_quorum)
    assert "no block certifies it" in words or "elsewhere" in words, words


def test_a_floor_of_the_commit_itself_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 8: the floor of a commit is that of the commit before it. All agree, and all are wrong."""
    shipping = Linearizer._not_yet_committed

    def early(self: Linearizer, dag: Dag, leader: Ref) -> list[Ref]:
        floor = leader.round - self._gc_depth
        return [ref for ref in shipping(self, dag, leader) if ref.round > floor]

    monkeypatch.setattr(Linearizer, "_not_yet_committed", early)
    words = caught([stragglers(seed) for seed in SEEDS])
    assert "its history above round" in words, words


def test_an_order_by_digest_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    shipping = Linearizer._not_yet_committed

    def shuffled(self: Linearizer, dag: Dag, leader: Ref) -> list[Ref]:
        return sorted(shipping(self, dag, leader), key=lambda ref: ref.digest)

    monkeypatch.setattr(Linearizer, "_not_yet_committed", shuffled)
    assert "its history above round" in caught([calm(0)])


def test_a_clock_of_one_member_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader's own time instead of the median of its parents."""

    def own_time(self: Linearizer, dag: Dag, leader: Ref) -> Millis:
        node = dag.node(leader)
        assert node is not None
        return node.time_ms

    monkeypatch.setattr(Linearizer, "_median_time", own_time)
    assert "median" in caught([calm(0)])


def test_a_commit_forgotten_at_a_restart_is_caught() -> None:
    """Without the records of earlier commits blocks would be ordered twice."""

    def forgetful(
        committee: Committee, regime: Regime, own: ValidatorIndex, recovered: Recovered
    ) -> Machine:
        return shipping_core(
            committee, regime, own, replace(recovered, records=recovered.records[-1:])
        )

    words = caught([crashes(seed) for seed in SEEDS], make=forgetful)
    assert "blocks, elsewhere" in words or "its history above round" in words, words


class Deaf:
    """A core whose timer never fires: it stands still as soon as something is lost."""

    def __init__(self, core: Machine) -> None:
        self._core = core

    def start(self, now: Millis) -> list[Effect]:
        return self._core.start(now)

    def step(self, now: Millis, event: Event) -> list[Effect]:
        return [] if isinstance(event, TimerFired) else self._core.step(now, event)


def test_standing_still_is_caught() -> None:
    regimes = [calm(seed) for seed in SEEDS]
    words = caught(regimes, make=lambda *parts: Deaf(shipping_core(*parts)))
    assert "deltas after healing" in words, words


# --- broken drivers -----------------------------------------------------------------------------------------------------


class SendsFirst(HonestNode):
    """Syncs the sign state only with the block after: at a crash the newest block, already sent, is forgotten."""

    _unsynced: bytes | None = None

    def syncs(self, block: Block) -> tuple[Callable[[], None], Callable[[], None]]:
        flush, _ = super().syncs(block)

        def sync_the_one_before() -> None:
            self.sign_state, self._unsynced = self._unsynced, self._mint.data[block.ref]
            self.put_own(block)

        return flush, sync_the_one_before


class StoresFirst(HonestNode):
    """Puts the block into the store, where peers read, before the sign state knows of it."""

    def syncs(self, block: Block) -> tuple[Callable[[], None], Callable[[], None]]:
        flush, sign = super().syncs(block)

        def put_and_flush() -> None:
            self.put_own(block)
            flush()

        return put_and_flush, sign


@pytest.mark.parametrize("node_type", [SendsFirst, StoresFirst])
def test_a_sign_state_that_comes_late_is_caught(node_type: type[HonestNode]) -> None:
    """The core defends itself (it adopts, and raises an alarm) where it can know; the checkers take that for a failure too."""
    words = caught([crashes(seed) for seed in SEEDS], node_type=node_type)
    assert "signed both" in words or "ROLLED_BACK" in words or "SIGN_STATE_LOST" in words, words


class LosesAlarms(SendsFirst):
    """As above, in front of an operator who looks away: what remains is the double signature itself."""

    def _carry_out(self) -> None:
        self._effects = deque(each for each in self._effects if not isinstance(each, Alarm))
        super()._carry_out()


def test_two_signatures_for_one_round_are_caught() -> None:
    """It takes a crash after the block went to one peer, and that peer not among those asked at the restart."""
    regimes = [crashes(seed) for seed in range(24)]
    assert caught(regimes, node_type=LosesAlarms, naming="signed both")

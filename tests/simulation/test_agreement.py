"""Agreement and progress over many seeds: each draws sizes, liars, links, cuts, crashes and machines.

The checkers look on at every event (`checkers`), so a failure stops at its cause; then the network heals, and every honest node
must commit new blocks of every honest author (`Cluster.recover`). Some seeds are fixed, some new at every call; the base seed of
the new ones is printed with the results and can be given by FOEDUS_SIMULATION_BASE_SEED.
"""

import pytest

from consensus.simulate.regime import LATER, STRATEGIES, draw, fixed, fresh
from consensus.simulate.run import simulate
from consensus.simulate.schedules import SCHEDULES
from tests.simulation.kept import kept

FIXED = 150
FRESH = 50


@pytest.mark.parametrize(
    "seed", dict.fromkeys([*kept("core"), *fixed(FIXED), *fresh(FRESH)]), ids=hex
)
def test_honest_validators_share_one_history(seed: int) -> None:
    outcome = simulate(draw(seed))
    assert outcome.commits > 0


def test_the_seeds_meet_what_they_are_meant_to_meet() -> None:
    """Regimes that never crash, cut or lie would let everything pass."""
    regimes = [draw(seed) for seed in [*fixed(FIXED), *range(LATER, LATER + 400)]]
    assert {regime.size for regime in regimes} == {4, 5, 7, 10, 13, 25}
    assert {name for regime in regimes for name in regime.strategies} == set(STRATEGIES)
    assert {regime.schedule for regime in regimes} == {None, *SCHEDULES}
    one_way = [
        cut
        for regime in regimes
        for cut in regime.cuts
        if not any((b, a) in cut.links for a, b in cut.links)
    ]
    assert len(one_way) > 10
    assert any(cut.extra_ms for regime in regimes for cut in regime.cuts)
    assert any(regime.changes for regime in regimes)
    assert any(regime.parameters.min_round_delay_ms == 1 for regime in regimes)
    assert sum(len(regime.crashes) for regime in regimes) > 50
    assert any(regime.weather.loss >= 300 for regime in regimes)
    assert any(regime.weather.duplication for regime in regimes)

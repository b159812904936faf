"""Loss while everybody is idle: the pause between re-sends grows, and must end when anybody has something to order."""

from dataclasses import replace

import pytest

from consensus.simulate.script import HONEST, Stage
from tests.simulation.test_breaks import DELTA_MS, H1, H2, PACE, A


@pytest.mark.parametrize("quiet_ms", [5_000, 60_000])
def test_what_was_lost_while_idle_does_not_delay_a_later_entry(quiet_ms: int) -> None:
    """A's blocks vanish; all are idle; then one other node has an entry, and A is the third that a quorum needs."""
    pace = replace(PACE, idle_delay_ms=1_000)
    stage = Stage(gc_depth=8, parameters=dict.fromkeys(HONEST, pace))
    stage.begin()
    stage.wait(3_000)
    for peer in (H1, H2):
        stage.nodes[A].hold(peer)
    stage.wait(quiet_ms)
    for peer in (H1, H2):
        stage.nodes[A].discard(peer)
    heights = {index: stage.height(index) for index in HONEST}
    stage.nodes[H1].submit()
    stage.until(
        lambda: all(stage.height(index) > heights[index] for index in HONEST),
        within_ms=12 * DELTA_MS,
    )

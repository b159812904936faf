"""How late timers are, smoothed, and from when on a node counts as late."""

import pytest

from node.engine.pulse import LATE_MS_MIN, Pulse


@pytest.mark.parametrize(("delta_ms", "late_ms"), [(50, LATE_MS_MIN), (100, 5), (500, 25)])
def test_late_is_a_twentieth_of_delta_and_not_for_one_timer(delta_ms: int, late_ms: int) -> None:
    pulse = Pulse(delta_ms)
    for at in range(0, 1_000, 50):
        pulse.fired(at, at + late_ms - 2)
    assert pulse.late_ms < late_ms
    pulse.fired(1_000, 1_000 + late_ms + 4)  # one in a row of good ones
    assert pulse.late_ms < late_ms
    for at in range(1_050, 2_000, 50):
        pulse.fired(at, at + late_ms + 2)
    assert pulse.is_late
    assert late_ms < pulse.late_ms <= late_ms + 2
    for at in range(2_000, 2_500, 50):
        pulse.fired(at, at)
    assert not pulse.is_late


def test_a_timer_that_came_early_is_not_late() -> None:
    pulse = Pulse(50)
    pulse.fired(100, 90)
    assert pulse.late_ms == 0

"""Sums: whatever a counter does, reports add up to what it counted, and nothing is in two of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.intake.reading import Kind, Reading
from node.intake.tally import (
    UNREPORTED_MAX,
    Meter,
    RefusedReading,
    advance,
    first,
    is_repeat,
    mark_reported,
    unreported,
)
from tests.unit.intake.world import source

REGISTER = 1 << 16


def reading(sequence: int, time_s: int, value: int, kind: Kind = Kind.ENERGY) -> Reading:
    return Reading(
        source=source(kind), sequence=sequence, time_s=time_s, value=value, signature=bytes(64)
    )


# Steps of a meter: what it counts before its next reading, and whether a period closes after that.
STEPS = st.lists(st.tuples(st.integers(0, REGISTER // 4), st.booleans()), max_size=60)


@given(STEPS, st.integers(0, REGISTER - 1))
def test_a_register_that_runs_over_loses_nothing(steps: list[tuple[int, bool]], start: int) -> None:
    """Against the obvious: the sum of what was counted."""
    counted, reported = 0, 0
    meter = first(reading(1, 0, start))
    for number, (growth, closes) in enumerate(steps, start=2):
        counted += growth
        value = (start + counted) % REGISTER
        meter = advance(meter, reading(number, number, value), hold_s=1, wraps_at=REGISTER)
        if closes:
            reported += unreported(meter, Kind.ENERGY)
            meter = mark_reported(meter, Kind.ENERGY)
    assert reported + unreported(meter, Kind.ENERGY) == counted
    assert meter.resets == 0


@given(st.lists(st.tuples(st.integers(0, 1000), st.booleans(), st.booleans()), max_size=60))
def test_a_counter_that_begins_anew_counts_from_zero(
    steps: list[tuple[int, bool, bool]],
) -> None:
    """What it counted before its last reading and after its restart is all there; each restart that shows is counted."""
    meter = first(reading(1, 0, 5000))
    expected, resets, value = 0, 0, 5000
    for number, (growth, restarts, closes) in enumerate(steps, start=2):
        before, value = value, (0 if restarts else value) + growth
        shows = value < before
        expected += value if shows else value - before
        resets += shows
        meter = advance(meter, reading(number, number, value), hold_s=1)
        if closes:
            expected -= unreported(meter, Kind.ENERGY)
            meter = mark_reported(meter, Kind.ENERGY)
    assert unreported(meter, Kind.ENERGY) == expected
    assert meter.resets == resets


def test_a_long_way_round_is_a_restart_and_not_a_full_register() -> None:
    meter = first(reading(1, 0, REGISTER // 2))
    after = advance(meter, reading(2, 1, 10), hold_s=1, wraps_at=REGISTER)
    assert (after.total, after.resets) == (10, 1)
    after = advance(
        first(reading(1, 0, REGISTER - 5)), reading(2, 1, 10), hold_s=1, wraps_at=REGISTER
    )
    assert (after.total, after.resets) == (15, 0)


def test_a_value_beyond_the_register_is_refused() -> None:
    with pytest.raises(RefusedReading, match=f"value={REGISTER}"):
        advance(first(reading(1, 0, 1)), reading(2, 1, REGISTER), hold_s=1, wraps_at=REGISTER)


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 50_000), st.booleans()), max_size=40)
)
def test_power_is_its_step_integral_and_the_remainder_stays(
    steps: list[tuple[int, int, bool]],
) -> None:
    hold_s, now, value, watt_seconds, reported = 900, 0, 700, 0, 0
    meter = first(reading(1, 0, value, Kind.POWER))
    for number, (pause, power, closes) in enumerate(steps, start=2):
        watt_seconds += value * min(pause, hold_s)
        now, value = now + pause, power
        meter = advance(meter, reading(number, now, value, Kind.POWER), hold_s=hold_s)
        if closes:
            reported += unreported(meter, Kind.POWER)
            meter = mark_reported(meter, Kind.POWER)
    assert reported + unreported(meter, Kind.POWER) == watt_seconds // 3600


def test_peak_and_low_are_of_the_open_period_alone() -> None:
    meter = first(reading(1, 0, 50, Kind.POWER))
    for number, value in enumerate((10, 90, 40), start=2):
        meter = advance(meter, reading(number, number, value, Kind.POWER), hold_s=1)
    assert (meter.peak, meter.low, meter.samples) == (90, 10, 4)
    meter = advance(mark_reported(meter, Kind.POWER), reading(5, 9, 30, Kind.POWER), hold_s=1)
    assert (meter.peak, meter.low, meter.samples) == (30, 30, 1)


def test_gaps_in_the_sequence_are_counted_and_repeats_seen() -> None:
    meter = advance(first(reading(3, 0, 0)), reading(7, 1, 1), hold_s=1)
    assert meter.missing == 2 + 3
    assert is_repeat(meter, reading(7, 1, 1))
    assert is_repeat(meter, reading(4, 1, 1))
    assert not is_repeat(meter, reading(8, 1, 1))


def test_what_no_meter_can_count_is_refused_and_changes_nothing() -> None:
    meter: Meter = first(reading(1, 0, 0))
    with pytest.raises(RefusedReading, match="at most"):
        advance(meter, reading(2, 1, UNREPORTED_MAX + 1), hold_s=1)
    assert advance(meter, reading(2, 1, UNREPORTED_MAX), hold_s=1).total == UNREPORTED_MAX


def test_time_that_runs_backwards_is_refused() -> None:
    with pytest.raises(RefusedReading, match="time_s=4"):
        advance(first(reading(1, 5, 0)), reading(2, 4, 1), hold_s=1)

"""Readings of one reporting period become sums: integer arithmetic only, every rounding stated.

A period is [start, end) in Unix seconds. What one device contributes:

- a *counter* (Wh, PFLOP): last counter value at or before `end` minus last counter value at or before `start`. The value at
  the boundary is carried over, so two neighbouring periods add up to the difference over both: nothing twice, nothing lost.
- *power* (W): peak and minimum of the samples, and their step integral: each sample holds until the next one, at most
  `hold_s` seconds; watt-seconds are summed exactly and divided by 3600 once, rounded down.

A counter that runs backwards is not a reading of that device (its replacement is a new device): the gateway refuses it.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One accepted reading without its source: Unix seconds and a value in the unit of its kind."""

    time_s: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerTally:
    """Power over one period. `covered_s` is the time that samples vouch for, at most the period."""

    energy_wh: int
    peak_w: int
    min_w: int
    samples: int
    covered_s: int


def counter_delta(before: int | None, samples: Iterable[Sample]) -> int:
    """What a cumulative counter grew by, from the value carried into the period to the last sample in it.

    `before` None: the device is new, its first sample is the zero of its count.
    """
    first = before
    last = before
    for sample in samples:
        if first is None:
            first = sample.value
        assert last is None or sample.value >= last, (
            f"counter ran backwards: {last} -> {sample.value}"
        )
        last = sample.value
    if first is None or last is None:
        return 0
    return last - first


def integrate_power(
    samples: Iterable[Sample], *, start: int, end: int, hold_s: int
) -> PowerTally | None:
    """Step integral over [start, end); None when no sample lies in the period.

    Samples are ascending by time. A sample holds until the next one, the end, or `hold_s` seconds, whichever is first.
    """
    assert start < end, f"period [{start}, {end})"
    assert hold_s > 0, f"hold_s={hold_s}"
    inside = [sample for sample in samples if start <= sample.time_s < end]
    if not inside:
        return None
    watt_seconds = 0
    covered_s = 0
    following = [sample.time_s for sample in inside[1:]] + [end]
    for sample, until in zip(inside, following, strict=True):
        held = min(until - sample.time_s, hold_s)
        assert held >= 0, f"samples not ascending at {sample.time_s}"
        watt_seconds += sample.value * held
        covered_s += held
    values = [sample.value for sample in inside]
    return PowerTally(
        energy_wh=watt_seconds // 3600,
        peak_w=max(values),
        min_w=min(values),
        samples=len(inside),
        covered_s=covered_s,
    )

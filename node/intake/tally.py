"""What a device has measured so far, as one growing total; a period's sum is a difference of totals.

Every kind becomes a cumulative total: counters (Wh, PFLOP) by the growth between two readings, power by its step
integral in watt-seconds (a sample holds until the next one, at most `hold_s` seconds). A report takes `total - reported`
and moves `reported` up, in one transaction. So nothing is counted twice and nothing is lost, however late a reading
arrives: what comes after a period was closed is part of the next report. Integer arithmetic; the one rounding is
watt-seconds to Wh, downwards, and its remainder stays in the total.

A counter that stands lower than before has done one of two things. It ran over: its register is full at `wraps_at`, and the way
forward through zero is short. Or it was restarted, and has counted its value since: that is taken, and `resets` says that what it
counted between its last reading and the restart is unknown. Neither is refused, for then nothing would be counted ever after.
"""

from dataclasses import dataclass, replace
from typing import Final

from node.intake.reading import Kind, Reading

WATT_SECONDS_PER_WH: Final = 3600
# What one source may add to one report, Wh or PFLOP. With at most DEVICES_MAX sources at a facility every sum stays below 2^53,
# the ledger's limit for integers; a reading that claims more is a fault of the device, not a measurement.
UNREPORTED_MAX: Final = 2**43
DEVICES_MAX: Final = 1000


class RefusedReading(ValueError):
    """A genuine reading that contradicts the device's earlier ones. The message names field and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One source's running account.

    `total` and `reported` are Wh (energy), PFLOP (pflop) or watt-seconds (power). `peak`, `low` and `samples` speak of the
    readings since the last report: W for power, meaningless for counters. `missing` counts sequence numbers never seen,
    `resets` restarts of a counter.
    """

    sequence: int
    time_s: int
    value: int
    total: int
    reported: int
    peak: int
    low: int
    samples: int
    missing: int
    resets: int = 0


def first(reading: Reading) -> Meter:
    """A new device: its first counter value is the zero of its count."""
    return Meter(
        sequence=reading.sequence,
        time_s=reading.time_s,
        value=reading.value,
        total=0,
        reported=0,
        peak=reading.value,
        low=reading.value,
        samples=1,
        missing=reading.sequence - 1,
    )


def is_repeat(meter: Meter, reading: Reading) -> bool:
    """A sequence number at or below the last one: already counted (QoS 1 may deliver twice)."""
    return reading.sequence <= meter.sequence


def advance(meter: Meter, reading: Reading, *, hold_s: int, wraps_at: int = 0) -> Meter:
    """The account after a reading that is not a repeat. Raises RefusedReading; the account then stands as it was.

    `wraps_at`: the counter's values are 0 to wraps_at - 1; 0 if it never runs over.
    """
    assert reading.sequence > meter.sequence, f"{reading.sequence} after {meter.sequence}"
    if reading.time_s < meter.time_s:
        raise RefusedReading(f"time_s={reading.time_s}: before this device's last, {meter.time_s}")
    restarted = False
    if reading.source.kind is Kind.POWER:
        grown = meter.value * min(reading.time_s - meter.time_s, hold_s)
    else:
        grown, restarted = _counted(meter.value, reading.value, wraps_at)
    fresh = meter.samples == 0
    after = replace(
        meter,
        sequence=reading.sequence,
        time_s=reading.time_s,
        value=reading.value,
        total=meter.total + grown,
        peak=reading.value if fresh else max(meter.peak, reading.value),
        low=reading.value if fresh else min(meter.low, reading.value),
        samples=meter.samples + 1,
        missing=meter.missing + reading.sequence - meter.sequence - 1,
        resets=meter.resets + restarted,
    )
    amount = unreported(after, reading.source.kind)
    if amount > UNREPORTED_MAX:
        raise RefusedReading(
            f"value={reading.value}: {amount} in one report, at most {UNREPORTED_MAX}"
        )
    return after


def _counted(before: int, now: int, wraps_at: int) -> tuple[int, bool]:
    """Growth of a counter between two readings, and whether it was restarted. Raises RefusedReading."""
    if wraps_at and now >= wraps_at:
        raise RefusedReading(f"value={now}: this counter runs over at {wraps_at}")
    if now >= before:
        return now - before, False
    forward = wraps_at - before + now
    # More than a quarter of the register between two readings is less likely than a restart.
    if wraps_at and 0 < forward <= wraps_at // 4:
        return forward, False
    return now, True


def unreported(meter: Meter, kind: Kind) -> int:
    """What the next report will say: whole Wh for power and energy, PFLOP for pflop."""
    grown = meter.total - meter.reported
    return grown // WATT_SECONDS_PER_WH if kind is Kind.POWER else grown


def mark_reported(meter: Meter, kind: Kind) -> Meter:
    """The account once `unreported` stands in a report; the remainder of watt-seconds is kept for the next."""
    unit = WATT_SECONDS_PER_WH if kind is Kind.POWER else 1
    return replace(
        meter,
        reported=meter.reported + unreported(meter, kind) * unit,
        samples=0,
    )

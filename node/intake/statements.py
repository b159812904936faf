"""A facility's meters at the end of a period become the content of `energy` and `usage` statements.

One `energy` statement for each energy counter (or, for a site that has none, for each power meter, from its integral), one
`usage` statement for the facility's PFLOP counters together. A source that was silent for the whole period makes no
statement: a gap is then visible as a gap (check C02), never as a report of zero.

Which of the two tells a site's energy is settled by whether it has ever had an energy counter, not by who spoke in this
period: a counter that was silent for a while brings the energy of that while with its next value, and a report from
the power meters in between would count it twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from foedus.v1 import content_pb2
from node.intake.journal import Draft
from node.intake.reading import Kind, Source, parse_topic
from node.intake.tally import Meter, unreported


@dataclass(frozen=True, slots=True, kw_only=True)
class FacilityPlan:
    """How one facility reports.

    Periods are [anchor_s + i * period_s, anchor_s + (i + 1) * period_s): the slots that check C02 expects, counted from
    the ledger time at which the facility's declaration was included. `chips_on` and `workload_class` are the operator's
    own declaration; PFLOP and energy are what devices signed.
    """

    state: str
    facility: str
    author: str
    chip_type: str
    chips_on: int
    workload_class: str
    anchor_s: int
    period_s: int
    point: "content_pb2.MeterPoint.ValueType" = content_pb2.METER_POINT_SITE  # where its meters sit


def slot_of(plan: FacilityPlan, time_s: int) -> int:
    """Start of the period that holds `time_s`; the first period for anything earlier."""
    slots = max(0, time_s - plan.anchor_s) // plan.period_s
    return plan.anchor_s + slots * plan.period_s


def drafts(
    plan: FacilityPlan, meters: Mapping[str, Meter], *, ledger: bytes, start_s: int, end_s: int
) -> list[Draft]:
    """The statements of one period, in a fixed order: energy by device, then usage."""
    known = {parse_topic(topic): meter for topic, meter in sorted(meters.items())}
    heard = {source: meter for source, meter in known.items() if meter.samples > 0}
    power = {source.device: meter for source, meter in heard.items() if source.kind is Kind.POWER}
    made: list[Draft] = []
    has_counters = any(source.kind is Kind.ENERGY for source in known)
    told_by = Kind.ENERGY if has_counters else Kind.POWER
    for source in (source for source in heard if source.kind is told_by):
        content = _content(plan, ledger, start_s, end_s)
        _fill_energy(content, plan, source, heard[source], power.get(source.device))
        made.append(_draft(plan, "energy", source.device, content, start_s, end_s))
    pflop = [
        unreported(meter, Kind.PFLOP)
        for source, meter in heard.items()
        if source.kind is Kind.PFLOP
    ]
    if pflop:
        content = _content(plan, ledger, start_s, end_s)
        _fill_usage(content, plan, sum(pflop), end_s - start_s)
        made.append(_draft(plan, "usage", plan.facility, content, start_s, end_s))
    return made


def _content(plan: FacilityPlan, ledger: bytes, start_s: int, end_s: int) -> content_pb2.Content:
    return content_pb2.Content(
        ver=1,
        ledger=ledger,
        author=plan.author,
        period=content_pb2.Period(start=start_s, end=end_s),
        confidentiality=content_pb2.CONFIDENTIALITY_RESTRICTED,
    )


def _fill_energy(
    content: content_pb2.Content,
    plan: FacilityPlan,
    source: Source,
    meter: Meter,
    power: Meter | None,
) -> None:
    energy = content.energy
    energy.facility = source.facility
    energy.meter = source.device
    energy.wh = unreported(meter, source.kind)
    energy.point = plan.point
    if power is not None:
        energy.peak_w = power.peak
        energy.min_w = power.low


def _fill_usage(content: content_pb2.Content, plan: FacilityPlan, pflop: int, seconds: int) -> None:
    usage = content.usage
    usage.facility = plan.facility
    usage.chip_type = plan.chip_type
    usage.chips_on = plan.chips_on
    usage.chip_seconds = plan.chips_on * seconds
    usage.pflop_total = pflop
    usage.by_class.add(name=plan.workload_class, amount=usage.pflop_total)


def _draft(
    plan: FacilityPlan,
    kind: str,
    meter: str,
    content: content_pb2.Content,
    start_s: int,
    end_s: int,
) -> Draft:
    return Draft(
        facility=plan.facility,
        kind=kind,
        meter=meter,
        start_s=start_s,
        end_s=end_s,
        content=content.SerializeToString(deterministic=True),
        author=plan.author,
    )

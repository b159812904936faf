"""Sums become content that the law's own parser takes, one statement for each meter and one for the site's work."""

from collections.abc import Sequence

from foedus.v1 import content_pb2 as pb
from node.intake.journal import Draft
from node.intake.reading import Kind, Reading, Source
from node.intake.statements import drafts, slot_of
from node.intake.tally import Meter, advance, first, mark_reported
from node.treaty.parsing import header_subject, parse_content
from tests.unit.intake.world import ANCHOR_S, AUTHOR, LEDGER, PERIOD_S, plan, source


def meter(of: Source, values: Sequence[int], pause_s: int = 10) -> Meter:
    readings = [
        Reading(
            source=of, sequence=n, time_s=ANCHOR_S + pause_s * n, value=value, signature=bytes(64)
        )
        for n, value in enumerate(values, start=1)
    ]
    made = first(readings[0])
    for reading in readings[1:]:
        made = advance(made, reading, hold_s=3600)
    return made


def made(*meters: tuple[Source, Meter]) -> list[Draft]:
    by_topic = {of.topic: row for of, row in meters}
    return drafts(plan(), by_topic, ledger=LEDGER, start_s=ANCHOR_S, end_s=ANCHOR_S + PERIOD_S)


def test_every_content_is_well_formed_and_says_what_was_measured() -> None:
    energy, power, work = source(), source(Kind.POWER), source(Kind.PFLOP, "c1")
    other = source(Kind.PFLOP, "c2")
    found = made(
        (energy, meter(energy, [100, 250])),
        (power, meter(power, [900, 300, 700])),
        (work, meter(work, [0, 40])),
        (other, meter(other, [5, 7])),
    )
    assert [(draft.kind, draft.meter) for draft in found] == [("energy", "m1"), ("usage", "dc1")]
    contents = [parse_content(draft.content) for draft in found]
    for content in contents:
        assert (content.author, content.ledger) == (AUTHOR, LEDGER)
        assert (content.period.start, content.period.end) == (ANCHOR_S, ANCHOR_S + PERIOD_S)
        assert content.confidentiality == pb.CONFIDENTIALITY_RESTRICTED
    told = contents[0].energy
    assert (told.meter, told.wh, told.peak_w, told.min_w) == ("m1", 150, 900, 300)
    usage = contents[1].usage
    assert (usage.pflop_total, usage.chips_on, usage.chip_seconds) == (42, 8, 8 * PERIOD_S)
    assert [(share.name, share.amount) for share in usage.by_class] == [("infer", 42)]
    assert header_subject(found[0].content) == "energy/dc1"


def test_the_silent_say_nothing_and_a_quiet_counter_says_zero() -> None:
    silent, quiet = source(device="m1"), source(device="m2")
    heard_before = mark_reported(meter(silent, [1, 2]), Kind.ENERGY)
    found = made((silent, heard_before), (quiet, meter(quiet, [7, 7])))
    assert [draft.meter for draft in found] == ["m2"]
    assert parse_content(found[0].content).energy.wh == 0
    assert made((silent, heard_before)) == []


def test_power_tells_the_energy_of_a_site_without_counters() -> None:
    power = source(Kind.POWER)
    (draft,) = made((power, meter(power, [3600, 3600], pause_s=100)))
    assert parse_content(draft.content).energy.wh == 100


def test_energy_that_a_silent_counter_brings_later_is_not_told_twice() -> None:
    """The counter is silent for a period in which power meters spoke; its next value holds that period's energy."""
    energy, power = source(), source(Kind.POWER)
    silent = mark_reported(meter(energy, [0, 10]), Kind.ENERGY)
    assert made((energy, silent), (power, meter(power, [3600, 3600], pause_s=100))) == []


def test_same_meters_same_bytes() -> None:
    rows = [(of, meter(of, [1, 5])) for of in (source(device=name) for name in ("b", "a", "c"))]
    assert made(*rows) == made(*reversed(rows))


def test_slots_are_counted_from_the_anchor() -> None:
    assert slot_of(plan(), ANCHOR_S) == ANCHOR_S
    assert slot_of(plan(), ANCHOR_S + PERIOD_S - 1) == ANCHOR_S
    assert slot_of(plan(), ANCHOR_S + PERIOD_S) == ANCHOR_S + PERIOD_S
    assert slot_of(plan(), 5) == ANCHOR_S

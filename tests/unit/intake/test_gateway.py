"""The gateway without a broker: what it counts, refuses, closes and says."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from node.intake.adapter import BrokerSettings, Delivery
from node.intake.gateway import (
    FUTURE_S,
    REFUSALS_LOGGED_A_MINUTE,
    DeviceKey,
    Gateway,
    GatewaySettings,
)
from node.intake.journal import Journal, ReportState
from node.intake.reading import Kind, Reading, Source
from node.signing.verify import VerifyPool
from tests.unit.intake.world import (
    ANCHOR_S,
    AUTHOR,
    LEDGER,
    PERIOD_S,
    MemoryChains,
    MemoryLedger,
    amounts,
    delivery,
    device,
    parsed_of,
    plan,
    sample,
    source,
    until,
)

GRACE_S = 2


@dataclass
class Site:
    """A gateway, its clock, and what surrounds it."""

    journal: Journal
    pool: VerifyPool
    now_s: int = ANCHOR_S
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    chains: MemoryChains = field(default_factory=MemoryChains)
    port: int = 1  # nobody listens there

    def gateway(self, sources: Sequence[Source] = (), *facilities: str) -> Gateway:
        known = sources or (source(), source(Kind.PFLOP, "c1"))
        settings = GatewaySettings(
            broker=BrokerSettings(host="127.0.0.1", port=self.port, identifier="gateway"),
            ledger=LEDGER,
            facilities=tuple(plan(name) for name in facilities or ("dc1",)),
            devices={of.topic: DeviceKey(public_key=device(of).public_key) for of in known},
            grace_s=GRACE_S,
            resend_s=0.02,
        )
        return Gateway(
            settings,
            journal=self.journal,
            pool=self.pool,
            chains=self.chains,
            ledger=self.ledger,
            now_s=lambda: self.now_s,
            registry=self.registry,
        )

    def outcomes(self, outcome: str) -> float:
        return sample(self.registry, "foedus_intake_readings_total", outcome=outcome)

    def closed(self) -> list[tuple[int, int]]:
        reports = self.journal.reports(ReportState.CLOSED, AUTHOR)
        return [(report.draft.start_s, report.draft.end_s) for report in reports]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with (
        closing(Journal(tmp_path / "journal", ledger=LEDGER)) as journal,
        VerifyPool(threads=1) as pool,
    ):
        yield Site(journal=journal, pool=pool)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = record.__dict__["foedus_fields"]
    return found


def deliveries(readings: Sequence[Reading]) -> list[Delivery]:
    return [delivery(reading, mid) for mid, reading in enumerate(readings, start=1)]


async def test_good_readings_are_counted_and_delivered_again_only_seen(site: Site) -> None:
    meter, gateway = device(), site.gateway()
    burst = deliveries([meter.reading(time_s=ANCHOR_S, value=v) for v in (5, 9, 20)])
    await gateway.take(burst)
    await gateway.take(burst)
    row = site.journal.meter(source().topic)
    assert row is not None
    assert row.total == 15
    assert (site.outcomes("counted"), site.outcomes("repeated")) == (3, 3)
    assert len(site.journal.evidence(source().topic)) == 3


async def test_poison_is_refused_with_its_reason_and_stands_in_nobodys_way(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    meter, stranger = device(), device(source(device="stranger"))
    good = [meter.reading(time_s=ANCHOR_S, value=v) for v in (5, 9)]
    forged = replace(device().reading(time_s=ANCHOR_S, value=7), signature=bytes(64))
    elsewhere = device(replace(source(), state="US")).reading(time_s=ANCHOR_S, value=1)
    unknown_site = device(source(facility="dc7")).reading(time_s=ANCHOR_S, value=1)
    other_kind = device(source(Kind.POWER)).reading(time_s=ANCHOR_S, value=1)
    ahead = device(sequence=9).reading(time_s=ANCHOR_S + FUTURE_S + 1, value=1)
    early = device(sequence=9).reading(time_s=ANCHOR_S - 1, value=1)
    nonsense = Delivery(topic="foedus/v1/KE/dc1/m1/energy", payload=b"\x01", mid=9, qos=1)
    no_topic = Delivery(topic="foedus/v1/#", payload=bytes(90), mid=9, qos=1)
    poison = [
        *deliveries(
            [
                forged,
                elsewhere,
                unknown_site,
                other_kind,
                ahead,
                early,
                stranger.reading(time_s=ANCHOR_S, value=1),
            ]
        ),
        nonsense,
        no_topic,
    ]
    with caplog.at_level(logging.WARNING, "foedus.intake"):
        await site.gateway().take([delivery(good[0]), *poison, delivery(good[1])])
    assert site.outcomes("refused") == len(poison)
    assert site.outcomes("counted") == 2
    row = site.journal.meter(source().topic)
    assert row is not None
    assert row.total == 4
    said = [str(fields_of(record)["why"]) for record in caplog.records]
    for words in (
        "signature does not verify",
        "facility=dc1: not one of",
        "facility=dc7: not one of",
        "not registered for power",
        f"more than {FUTURE_S} s ahead",
        "before the facility's",
        "device=stranger: not registered",
        "payload of 1 bytes",
        "want foedus/v1/<state>",
    ):
        assert any(words in text for text in said), words


async def test_a_flood_of_nonsense_does_not_fill_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = site.gateway()
    flood = [Delivery(topic="foedus/v1/x", payload=b"", mid=1, qos=0)] * 500
    with caplog.at_level(logging.WARNING, "foedus.intake"):
        await gateway.take(flood)
        assert len(caplog.records) == REFUSALS_LOGGED_A_MINUTE
        site.now_s += 60
        await gateway.take(flood[:1])
    counts = [fields_of(record).get("count") for record in caplog.records]
    assert 500 - REFUSALS_LOGGED_A_MINUTE in counts
    assert site.outcomes("refused") == 501


async def test_a_backlog_is_reported_under_the_periods_it_belongs_to(site: Site) -> None:
    """The broker held three periods while the gateway was away: they come in one burst."""
    meter, gateway = device(), site.gateway()
    site.now_s = ANCHOR_S + 10 * PERIOD_S
    times = [ANCHOR_S + 20 * n for n in range(12)]
    await gateway.take(deliveries([meter.reading(time_s=t, value=n) for n, t in enumerate(times)]))
    reports = site.journal.reports(ReportState.CLOSED, AUTHOR)
    assert [(r.draft.start_s - ANCHOR_S) // PERIOD_S for r in reports] == [0, 1, 2]
    row = site.journal.meter(source().topic)
    assert row is not None
    assert row.total == 11
    assert row.reported + 2 <= row.total, "the open period's are not reported yet"


async def test_a_reading_within_grace_belongs_to_the_old_period_and_nothing_is_lost(
    site: Site,
) -> None:
    meter, gateway = device(), site.gateway()
    end_s = ANCHOR_S + PERIOD_S
    site.now_s = end_s + 100
    for time_s, value, closed in (
        (ANCHOR_S, 0, 0),
        (end_s + GRACE_S - 1, 5, 0),
        (end_s + GRACE_S, 7, 1),
    ):
        await gateway.take([delivery(meter.reading(time_s=time_s, value=value))])
        assert len(site.closed()) == closed
    row = site.journal.meter(source().topic)
    assert row is not None
    assert (row.reported, row.total) == (5, 7)


async def test_a_devices_clock_alone_closes_nothing(site: Site) -> None:
    meter, gateway = device(), site.gateway()
    site.now_s = ANCHOR_S + 10
    await gateway.take([delivery(meter.reading(time_s=ANCHOR_S, value=0))])
    await gateway.take([delivery(meter.reading(time_s=ANCHOR_S + PERIOD_S + 2 * GRACE_S, value=1))])
    assert site.closed() == []


async def test_the_clock_closes_when_all_is_quiet_and_for_the_silent_beside_the_talkative(
    site: Site,
) -> None:
    other = source(device="m2", facility="dc2")
    gateway = site.gateway([source(), other], "dc1", "dc2")
    silent, talker = device(), device(other)
    await gateway.take([delivery(silent.reading(time_s=ANCHOR_S, value=0))])
    await gateway.take([delivery(silent.reading(time_s=ANCHOR_S + 1, value=3))])
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(gateway.run())
        site.now_s = ANCHOR_S + PERIOD_S + GRACE_S

        def silent_is_final() -> bool:
            return amounts(site.ledger.log)["energy"] >= 3

        for n in range(30):  # never quiet for a grace
            await gateway.take([delivery(talker.reading(time_s=site.now_s, value=n))])
            await asyncio.sleep(0.1)
            if silent_is_final():
                break
        await until(silent_is_final)
        site.now_s += PERIOD_S + GRACE_S
        await until(lambda: len(site.ledger.log) >= 2)  # quiet now: the talker's period
        running.cancel()
    facilities = [parsed_of(entry).body.facility for entry in site.ledger.log]
    assert facilities[0] == "dc1"
    assert "dc2" in facilities


async def test_years_of_silence_cost_one_step(site: Site) -> None:
    meter, gateway = device(), site.gateway()
    await gateway.take([delivery(meter.reading(time_s=ANCHOR_S, value=0))])
    site.now_s = ANCHOR_S + 1_000_000 * PERIOD_S
    await gateway.take([delivery(meter.reading(time_s=site.now_s, value=8))])
    await gateway.take([delivery(meter.reading(time_s=site.now_s, value=9))])
    assert site.closed() == [(ANCHOR_S, ANCHOR_S + PERIOD_S)]
    start_s = site.journal.open_period("dc1", 0)
    assert start_s == site.now_s - (site.now_s - ANCHOR_S) % PERIOD_S or (
        start_s == site.now_s - PERIOD_S
    )
    row = site.journal.meter(source().topic)
    assert row is not None
    assert row.total - row.reported == 9


async def test_a_restarted_counter_is_told(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    meter, gateway = device(), site.gateway()
    with caplog.at_level(logging.WARNING, "foedus.intake"):
        await gateway.take(
            deliveries([meter.reading(time_s=ANCHOR_S, value=v) for v in (50, 60, 4)])
        )
    assert sample(site.registry, "foedus_intake_counter_resets_total") == 1
    assert [record.message for record in caplog.records] == ["counter began anew"]


async def test_two_kinds_of_one_device_are_two_sources(site: Site) -> None:
    gateway = site.gateway([source(), source(Kind.PFLOP, "m1")])
    for kind in (Kind.ENERGY, Kind.PFLOP):
        meter = device(source(kind, "m1"))
        await gateway.take(deliveries([meter.reading(time_s=ANCHOR_S, value=v) for v in (1, 4)]))
    site.now_s = ANCHOR_S + PERIOD_S + GRACE_S
    gateway._close_due(plan(), site.now_s)
    kinds = [report.draft.kind for report in site.journal.reports(ReportState.CLOSED, AUTHOR)]
    assert kinds == ["energy", "usage"]

"""The gateway: readings in, reports out, each step durable before the next relies on it.

    broker -> parse -> verify (threads) -> journal (one synced transaction a burst) -> acknowledge
    period over -> close (one transaction) -> `reporter`: sign, submit, final

A period of a facility is closed when a reading shows that its time has come (`end + grace_s`), so a backlog that the broker
held while the gateway was away is reported under the periods it belongs to; or when the clock shows it and the broker has
been quiet for `grace_s`, or has brought other readings from so late. Refused readings are counted and logged with their
reason and acknowledged: a poisoned message must not stand in front of the good ones for ever.

Bounds: devices and facilities are those of the settings; a burst has at most BURST messages; what the broker may have
unacknowledged with us is its own limit (`adapter`); the journal forgets by age and by number (`journal.forget`).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from node.intake.adapter import BrokerLost, BrokerSettings, Delivery, Subscription
from node.intake.chains import Chains, LedgerAccess
from node.intake.journal import Journal, Outcome
from node.intake.reading import (
    TOPIC_PREFIX,
    MalformedReading,
    Reading,
    message_of,
    parse_reading,
)
from node.intake.reporter import Reporter
from node.intake.statements import FacilityPlan, drafts, slot_of
from node.intake.turns import Turns
from node.signing.verify import SignatureCheck, VerifyPool
from node.telemetry import event

log = logging.getLogger("foedus.intake")

FUTURE_S: Final = 300  # how far a device's clock may run ahead (MODEL 2: the same for periods)
BURST: Final = 512
RECONNECT_S: Final = (1, 2, 4, 8, 15)
CLOSES_AT_ONCE: Final = 1024  # periods one call may close: a year of daily slots, and a bound
FORGET_EVERY_S: Final = 3600
CLOCK_S: Final = 1
# Refusals are for a person to read: beyond so many in a minute only their number is logged.
REFUSALS_LOGGED_A_MINUTE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceKey:
    """A registered source's key, and where its counter runs over (0: never)."""

    public_key: bytes
    wraps_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """`devices` maps topics to keys; a source not listed is refused."""

    broker: BrokerSettings
    ledger: bytes  # ledger id, 32 bytes
    facilities: tuple[FacilityPlan, ...]
    devices: Mapping[str, DeviceKey]
    grace_s: int = 2
    hold_s: int = 900
    retain_s: int = 90 * 86_400
    readings_max: int = 5_000_000
    resend_s: float = 10
    adopt: bool = False


class Gateway:
    """Runs until cancelled. One instance owns its journal."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        journal: Journal,
        pool: VerifyPool,
        chains: Chains,
        ledger: LedgerAccess,
        now_s: Callable[[], int],
        registry: CollectorRegistry,
    ) -> None:
        assert len({plan.facility for plan in settings.facilities}) == len(settings.facilities)
        self._settings = settings
        self._plans = {plan.facility: plan for plan in settings.facilities}
        self._journal = journal
        self._pool = pool
        self._wraps_at = {topic: key.wraps_at for topic, key in settings.devices.items()}
        self._now_s = now_s
        self._turns = Turns()
        self._refusals = _Refusals()
        self._quiet_since_s = now_s()
        self._heard_s = 0  # the newest time that a reading showed
        self._readings = Counter(
            "foedus_intake_readings", "Readings by outcome.", ["outcome"], registry=registry
        )
        self._resets = Counter(
            "foedus_intake_counter_resets", "Counters that began anew.", registry=registry
        )
        self._closed = Counter(
            "foedus_intake_periods_closed",
            "Reporting periods closed with statements.",
            registry=registry,
        )
        self._last_s = Gauge(
            "foedus_intake_last_reading_seconds",
            "When a reading was last counted, Unix time.",
            registry=registry,
        )
        self._connected = Gauge(
            "foedus_intake_broker_connected", "1 while subscribed.", registry=registry
        )
        self._reporter = Reporter(
            journal,
            self._turns,
            chains=chains,
            ledger=ledger,
            authors=tuple(sorted({plan.author for plan in settings.facilities})),
            resend_s=settings.resend_s,
            adopt=settings.adopt,
            registry=registry,
        )

    async def run(self) -> None:
        """Consume, report, forget old evidence; raises what our own bugs or a failed disk raise."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._consume())
            tasks.create_task(self._close_by_clock())
            tasks.create_task(self._reporter.run())
            tasks.create_task(self._forget())

    # -- readings ------------------------------------------------------------------------------

    async def _consume(self) -> None:
        attempt = 0
        while True:
            try:
                async with Subscription(self._settings.broker, f"{TOPIC_PREFIX}/#") as subscription:
                    attempt = 0
                    self._connected.set(1)
                    event(log, "broker connected", host=self._settings.broker.host)
                    async for burst in subscription.bursts(BURST):
                        await self.take(burst)
                        subscription.acknowledge(burst)
            except BrokerLost as err:
                wait_s = RECONNECT_S[min(attempt, len(RECONNECT_S) - 1)]
                attempt += 1
                event(log, "broker lost", level=logging.WARNING, why=str(err), retry_in_s=wait_s)
                await asyncio.sleep(wait_s)
            finally:
                self._connected.set(0)

    async def take(self, burst: Sequence[Delivery]) -> None:
        """Check and count one burst. When this returns, what was good is durable and the rest is on record."""
        self._quiet_since_s = self._now_s()
        readings: list[Reading] = []
        checks: list[SignatureCheck] = []
        for delivery in burst:
            try:
                reading = parse_reading(delivery.topic, delivery.payload)
                key = self._key_of(reading)
            except MalformedReading as err:
                self._refuse(delivery.topic, str(err))
                continue
            readings.append(reading)
            message = message_of(self._settings.ledger, reading)
            checks.append(SignatureCheck(key.public_key, message, reading.signature))
        verdicts = await self._pool.verify_many(checks)
        genuine: list[Reading] = []
        for reading, good in zip(readings, verdicts, strict=True):
            if good:
                genuine.append(reading)
            else:
                self._refuse(
                    reading.source.topic, "signature does not verify for this device and topic"
                )
        if await self._turns.take(self._count, genuine):
            self._reporter.wake()

    def _count(self, readings: Sequence[Reading]) -> bool:
        """Count readings in order, closing each period before the first reading that shows it over.

        Whether a period was closed. A device's clock alone closes nothing: ours must agree.
        """
        closed = False
        group: list[Reading] = []
        for reading in readings:
            plan = self._plans[reading.source.facility]
            seen_s = min(reading.time_s, self._now_s())
            self._heard_s = max(self._heard_s, seen_s)
            if seen_s >= self._end_of_open_period(plan, seen_s) + self._settings.grace_s:
                self._accept(group)
                group = []
                closed = self._close_due(plan, seen_s) or closed
            group.append(reading)
        self._accept(group)
        return closed

    def _accept(self, group: Sequence[Reading]) -> None:
        if not group:
            return
        outcomes = self._journal.accept(
            group, hold_s=self._settings.hold_s, wraps_at=self._wraps_at
        )
        for reading, (outcome, why) in zip(group, outcomes, strict=True):
            self._readings.labels(outcome.value).inc()
            if outcome is Outcome.REFUSED:
                self._refusals.log(reading.source.topic, why, self._now_s())
            elif outcome is Outcome.RESTARTED:
                self._resets.inc()
                event(
                    log,
                    "counter began anew",
                    level=logging.WARNING,
                    topic=reading.source.topic,
                    value=reading.value,
                )
        self._last_s.set(self._now_s())

    def _end_of_open_period(self, plan: FacilityPlan, time_s: int) -> int:
        return self._journal.open_period(plan.facility, slot_of(plan, time_s)) + plan.period_s

    def _key_of(self, reading: Reading) -> DeviceKey:
        source = reading.source
        plan = self._plans.get(source.facility)
        if plan is None or plan.state != source.state:
            raise MalformedReading(f"facility={source.facility}: not one of this gateway's")
        key = self._settings.devices.get(source.topic)
        if key is None:
            raise MalformedReading(
                f"device={source.device}: not registered for {source.kind.value} at {source.facility}"
            )
        if reading.time_s > self._now_s() + FUTURE_S:
            raise MalformedReading(f"time_s={reading.time_s}: more than {FUTURE_S} s ahead of us")
        if reading.time_s < plan.anchor_s:
            raise MalformedReading(
                f"time_s={reading.time_s}: before the facility's {plan.anchor_s}"
            )
        return key

    def _refuse(self, topic: str, why: str) -> None:
        self._readings.labels(Outcome.REFUSED.value).inc()
        self._refusals.log(topic, why, self._now_s())

    # -- reports -------------------------------------------------------------------------------

    async def _close_by_clock(self) -> None:
        while True:
            now = self._now_s()
            quiet = now - self._quiet_since_s >= self._settings.grace_s
            # While readings come, the broker may hold older ones: nobody is later than the newest that came.
            until_s = now if quiet else self._heard_s
            for plan in self._plans.values():
                if await self._turns.take(self._close_due, plan, until_s):
                    self._reporter.wake()
            await asyncio.sleep(CLOCK_S)

    def _close_due(self, plan: FacilityPlan, time_s: int) -> bool:
        """Close every period of the facility whose grace is over at `time_s`; whether that made a statement."""
        stated = False
        for _ in range(CLOSES_AT_ONCE):
            end = self._end_of_open_period(plan, time_s)
            if time_s < end + self._settings.grace_s:
                break
            start = end - plan.period_s
            meters = self._journal.meters(plan.facility)
            made = drafts(plan, meters, ledger=self._settings.ledger, start_s=start, end_s=end)
            if not made:  # silent: so is every period up to the one that is open at `time_s`
                self._journal.skip_to(plan.facility, slot_of(plan, time_s - self._settings.grace_s))
                break
            self._journal.close_period(plan.facility, end_s=end, drafts=made)
            stated = True
            self._closed.inc()
            event(
                log,
                "period closed",
                facility=plan.facility,
                start_s=start,
                end_s=end,
                statements=len(made),
            )
        return stated

    async def _forget(self) -> None:
        while True:
            gone = 1
            while gone:
                gone = await self._turns.take(
                    self._journal.forget,
                    before_s=self._now_s() - self._settings.retain_s,
                    readings_max=self._settings.readings_max,
                )
            await asyncio.sleep(FORGET_EVERY_S)


class _Refusals:
    """Logs refusals, but not more than a person can read: who sends nonsense must not fill the disk."""

    def __init__(self) -> None:
        self._minute = 0
        self._logged = 0
        self._silent = 0

    def log(self, topic: str, why: str, now_s: int) -> None:
        if now_s // 60 != self._minute:
            if self._silent:
                event(log, "more readings refused", level=logging.WARNING, count=self._silent)
            self._minute, self._logged, self._silent = now_s // 60, 0, 0
        if self._logged >= REFUSALS_LOGGED_A_MINUTE:
            self._silent += 1
            return
        self._logged += 1
        event(log, "reading refused", level=logging.WARNING, topic=topic, why=why)

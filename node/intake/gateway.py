"""The gateway's loop: readings in, reports out, each step durable before the next relies on it.

    broker -> parse -> verify (threads) -> journal (one synced transaction a burst) -> acknowledge
    period over -> close -> sign -> submit to a node -> final, or the same bytes again

A period of a facility is closed when a reading shows that its time has come (`end + grace_s`), so a backlog that the broker
held while the gateway was away is reported under the periods it belongs to; or when the clock shows it and the broker
has been quiet for `grace_s`. Refused readings are counted and logged with their reason and acknowledged: a poisoned
message must not stand in front of the good ones for ever.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from node.intake.adapter import BrokerLost, BrokerSettings, Delivery, Subscription
from node.intake.journal import Journal, Outcome, Report, ReportState
from node.intake.reading import (
    TOPIC_PREFIX,
    MalformedReading,
    Reading,
    message_of,
    parse_reading,
)
from node.intake.statements import FacilityPlan, drafts, slot_of

log = logging.getLogger("foedus.intake")

FUTURE_S: Final = 300  # how far a device's clock may run ahead (MODEL 2: the same for periods)
BURST: Final = 512
RECONNECT_S: Final = (1, 2, 4, 8, 15)
CLOSES_AT_ONCE: Final = 1024  # periods one call may close: a year of daily slots, and a bound


class NodeUnavailable(Exception):
    """No node could be asked just now; the same call may succeed later."""


class LedgerAccess(Protocol):
    """What the gateway needs of a node. Each call may try several nodes; each raises NodeUnavailable."""

    async def submit(self, entry: bytes) -> None:
        """Hand over a signed entry; handing over the same bytes again is harmless."""

    async def tip(self, author: str) -> tuple[int, bytes]:
        """The author's last seq on the ledger and that entry's hash; (0, 32 zero bytes) for none."""

    async def final_index(self, entry_hash: bytes) -> int | None:
        """Where the entry stands once final; None while it is not."""


# Content bytes, kind, subject, author, seq, prev -> the signed entry.
Sign = Callable[[bytes, str, str, str, int, bytes], bytes]
# (public key, message, signature) of each reading -> whether each is good, in order; off the event loop.
VerifyMany = Callable[[Sequence[tuple[bytes, bytes, bytes]]], Awaitable[Sequence[bool]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """`devices` maps (facility, device) to its Ed25519 public key; a device not listed is refused."""

    broker: BrokerSettings
    ledger: bytes  # ledger id, 32 bytes
    facilities: tuple[FacilityPlan, ...]
    devices: Mapping[tuple[str, str], bytes]
    grace_s: int = 2
    hold_s: int = 900
    retain_s: int = 90 * 86_400
    resend_s: int = 10


class Gateway:
    """Runs until cancelled. One instance owns its journal."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        journal: Journal,
        verify: VerifyMany,
        sign: Sign,
        ledger: LedgerAccess,
        now_s: Callable[[], int],
        registry: CollectorRegistry,
    ) -> None:
        self._settings = settings
        self._plans = {plan.facility: plan for plan in settings.facilities}
        self._journal = journal
        self._verify = verify
        self._sign = sign
        self._ledger = ledger
        self._now_s = now_s
        self._lock = asyncio.Lock()  # one user of the journal at a time
        self._reports_waiting = asyncio.Event()
        self._quiet_since_s = now_s()
        self._readings = Counter(
            "foedus_intake_readings", "Readings by outcome", ["outcome"], registry=registry
        )
        self._reported = Counter(
            "foedus_intake_reports_final", "Statements final on the ledger", registry=registry
        )
        self._connected = Gauge(
            "foedus_intake_broker_connected", "1 while subscribed", registry=registry
        )

    async def run(self) -> None:
        """Consume, report, forget old evidence; raises what our own bugs or a failed disk raise."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._consume())
            tasks.create_task(self._close_by_clock())
            tasks.create_task(self._report())

    # -- readings ------------------------------------------------------------------------------

    async def _consume(self) -> None:
        attempt = 0
        while True:
            try:
                async with Subscription(self._settings.broker, f"{TOPIC_PREFIX}/#") as subscription:
                    attempt = 0
                    self._connected.set(1)
                    log.info(
                        "broker_connected", extra={"fields": {"host": self._settings.broker.host}}
                    )
                    async for burst in subscription.bursts(BURST):
                        await self.take(burst)
                        subscription.acknowledge(burst)
            except BrokerLost as err:
                wait_s = RECONNECT_S[min(attempt, len(RECONNECT_S) - 1)]
                attempt += 1
                fields = {"why": str(err), "retry_in_s": wait_s}
                log.warning("broker_lost", extra={"fields": fields})
                await asyncio.sleep(wait_s)
            finally:
                self._connected.set(0)

    async def take(self, burst: Sequence[Delivery]) -> None:
        """Check and count one burst. When this returns, what was good is durable and the rest is on record."""
        self._quiet_since_s = self._now_s()
        readings: list[Reading] = []
        checks: list[tuple[bytes, bytes, bytes]] = []
        for delivery in burst:
            try:
                reading = parse_reading(delivery.topic, delivery.payload)
                key = self._key_of(reading)
            except MalformedReading as err:
                self._refuse(delivery.topic, str(err))
                continue
            readings.append(reading)
            checks.append((key, message_of(self._settings.ledger, reading), reading.signature))
        verdicts = await self._verify(checks)
        genuine: list[Reading] = []
        for reading, good in zip(readings, verdicts, strict=True):
            if good:
                genuine.append(reading)
            else:
                self._refuse(
                    reading.source.topic, "signature does not verify for this device and topic"
                )
        async with self._lock:
            closed = await asyncio.to_thread(self._count, genuine)
        if closed:
            self._reports_waiting.set()

    def _count(self, readings: Sequence[Reading]) -> bool:
        """Count readings in order, closing each period before the first reading that shows it over.

        Whether a period was closed. A device's clock alone closes nothing: ours must agree.
        """
        closed = False
        group: list[Reading] = []
        for reading in readings:
            plan = self._plans[reading.source.facility]
            seen_s = min(reading.time_s, self._now_s())
            if seen_s >= self._end_of_open_period(plan, seen_s) + self._settings.grace_s:
                self._accept(group)
                group = []
                closed = self._close_due(plan, seen_s) or closed
            group.append(reading)
        self._accept(group)
        return closed

    def _accept(self, group: Sequence[Reading]) -> None:
        outcomes = self._journal.accept(group, hold_s=self._settings.hold_s)
        for reading, (outcome, why) in zip(group, outcomes, strict=True):
            self._readings.labels(outcome.value).inc()
            if outcome is Outcome.REFUSED:
                self._log_refusal(reading.source.topic, why)

    def _end_of_open_period(self, plan: FacilityPlan, time_s: int) -> int:
        return self._journal.open_period(plan.facility, slot_of(plan, time_s)) + plan.period_s

    def _key_of(self, reading: Reading) -> bytes:
        source = reading.source
        plan = self._plans.get(source.facility)
        if plan is None or plan.state != source.state:
            raise MalformedReading(f"facility={source.facility}: not one of this gateway's")
        key = self._settings.devices.get((source.facility, source.device))
        if key is None:
            raise MalformedReading(f"device={source.device}: not registered at {source.facility}")
        if reading.time_s > self._now_s() + FUTURE_S:
            raise MalformedReading(f"time_s={reading.time_s}: more than {FUTURE_S} s ahead of us")
        if reading.time_s < plan.anchor_s:
            raise MalformedReading(
                f"time_s={reading.time_s}: before the facility's {plan.anchor_s}"
            )
        return key

    def _refuse(self, topic: str, why: str) -> None:
        self._readings.labels(Outcome.REFUSED.value).inc()
        self._log_refusal(topic, why)

    def _log_refusal(self, topic: str, why: str) -> None:
        log.warning("reading_refused", extra={"fields": {"topic": topic[:200], "why": why}})

    # -- reports -------------------------------------------------------------------------------

    async def _close_by_clock(self) -> None:
        while True:
            now = self._now_s()
            if now - self._quiet_since_s >= self._settings.grace_s:
                async with self._lock:
                    closed = [
                        await asyncio.to_thread(self._close_due, plan, now)
                        for plan in self._plans.values()
                    ]
                if any(closed):
                    self._reports_waiting.set()
            await asyncio.sleep(1)

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
            self._journal.close_period(plan.facility, end_s=end, drafts=made)
            if made:
                stated = True
                fields = {"facility": plan.facility, "start_s": start, "statements": len(made)}
                log.info("period_closed", extra={"fields": fields})
        return stated

    async def _report(self) -> None:
        """Sign and submit what is closed, in order; ask about what is signed until it is final."""
        while True:
            try:
                await self._sign_closed()
                await self._submit_signed()
            except NodeUnavailable as err:
                log.warning("node_unavailable", extra={"fields": {"why": str(err)}})
            self._reports_waiting.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reports_waiting.wait(), self._settings.resend_s)

    async def _sign_closed(self) -> None:
        async with self._lock:
            closed = self._journal.reports(ReportState.CLOSED)
        for author in sorted({report.draft.author for report in closed}):
            seq, entry_hash = await self._ledger.tip(author)
            async with self._lock:
                await asyncio.to_thread(self._journal.adopt_chain, author, seq, entry_hash)
        for report in closed:
            async with self._lock:
                await asyncio.to_thread(self._sign_one, report)

    def _sign_one(self, report: Report) -> None:
        draft = report.draft
        last, prev = self._journal.chain(draft.author)
        entry = self._sign(draft.body, draft.kind, draft.facility, draft.author, last + 1, prev)
        entry_hash = hashlib.sha256(entry).digest()
        self._journal.sign(report, seq=last + 1, entry=entry, entry_hash=entry_hash)

    async def _submit_signed(self) -> None:
        async with self._lock:
            signed = self._journal.reports(ReportState.SIGNED)
        for report in signed:
            assert report.entry is not None
            assert report.entry_hash is not None
            index = await self._ledger.final_index(report.entry_hash)
            if index is None:
                await self._ledger.submit(report.entry)
                continue
            async with self._lock:
                await asyncio.to_thread(self._journal.finish, report, index)
            self._reported.inc()
            fields = {"kind": report.draft.kind, "facility": report.draft.facility, "index": index}
            log.info("report_final", extra={"fields": fields})

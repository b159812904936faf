"""Devices, plans, an author's outbox and a ledger in memory, for tests of the gateway's parts. No broker, no node."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from prometheus_client import CollectorRegistry

from node.intake.adapter import Delivery
from node.intake.chains import ChainBusy, ChainTip, EntryRefused, Final, LedgerTip, NodeUnavailable
from node.intake.device import Device
from node.intake.reading import Kind, Reading, Source, encode_reading
from node.intake.statements import FacilityPlan
from node.log.cose import parse_statement
from node.signing.keys import AgencyKeys, Role, SigningKey, generate_agency_keys
from node.signing.statements import FIRST_PREV, sign_entry
from node.treaty.entries import ParsedEntry
from node.treaty.parsing import header_subject, parse_entry

LEDGER = sha256(b"ledger").digest()
AUTHOR = "acme"
ANCHOR_S = 1_000_000
PERIOD_S = 60


def plan(facility: str = "dc1", *, author: str = AUTHOR) -> FacilityPlan:
    return FacilityPlan(
        state="KE",
        facility=facility,
        author=author,
        chip_type="H100",
        chips_on=8,
        workload_class="infer",
        anchor_s=ANCHOR_S,
        period_s=PERIOD_S,
    )


def source(kind: Kind = Kind.ENERGY, device: str = "m1", facility: str = "dc1") -> Source:
    return Source(state="KE", facility=facility, device=device, kind=kind)


def device(of: Source | None = None, *, sequence: int = 1) -> Device:
    """A device whose key follows from its name."""
    of = of or source()
    key = SigningKey.from_seed(Role.AUTHOR, sha256(of.device.encode()).digest())
    return Device(of, key=key, ledger=LEDGER, sequence=sequence)


def delivery(reading: Reading, mid: int = 1) -> Delivery:
    return Delivery(topic=reading.source.topic, payload=encode_reading(reading), mid=mid, qos=1)


class Crash(BaseException):
    """The process ends here: nothing above may handle it."""


@dataclass
class MemoryChains:
    """One author's outbox, which survives crashes of the gateway; `crash_before` and `crash_after` break `record`."""

    keys: AgencyKeys = field(default_factory=lambda: generate_agency_keys(AUTHOR, with_vote=False))
    tip: ChainTip = field(default_factory=lambda: ChainTip(seq=0, entry_hash=FIRST_PREV))
    entries: dict[int, bytes] = field(default_factory=dict)
    busy: bool = False
    crash_before: bool = False
    crash_after: bool = False

    @contextmanager
    def open(self, author: str) -> Iterator["MemoryChains"]:
        if self.busy:
            raise ChainBusy("another process signs for acme now")
        yield self

    def sign(self, content: bytes) -> bytes:
        kind, _, subject = header_subject(content).partition("/")
        return sign_entry(
            self.keys.author,
            author=AUTHOR,
            kind=kind,
            subject=subject,
            content=content,
            seq=self.tip.seq + 1,
            prev=self.tip.entry_hash,
        )

    def record(self, entry: bytes) -> None:
        if self.crash_before:
            raise Crash
        seq = self.tip.seq + 1
        self.entries[seq] = entry
        self.tip = ChainTip(seq=seq, entry_hash=sha256(entry).digest())
        if self.crash_after:
            raise Crash

    def adopt(self, tip: ChainTip) -> None:
        self.tip = tip

    def kept(self, first_seq: int) -> dict[int, bytes]:
        return {seq: entry for seq, entry in self.entries.items() if seq >= first_seq}

    def forget_final(self, seq: int) -> None:
        for number in [number for number in self.entries if number <= seq]:
            del self.entries[number]


@dataclass
class MemoryLedger:
    """A ledger that takes entries in order; final as soon as taken, unless it is `slow`."""

    log: list[bytes] = field(default_factory=list)
    down: bool = False
    slow: bool = False
    refusing: str = ""
    rejecting: str = ""
    submitted: int = 0
    deaf: bool = False  # takes, and never includes
    blind: bool = False  # its chain is not so long yet, it says
    asked: int = 0  # whose a place is

    def _check(self) -> None:
        if self.down:
            raise NodeUnavailable("node KE: no answer")

    async def submit(self, entry: bytes) -> None:
        self._check()
        self.submitted += 1
        if self.refusing:
            raise EntryRefused(self.refusing, "no")
        if entry not in self.log and not self.deaf:
            self.log.append(entry)

    async def tip(self, author: str) -> LedgerTip:
        self._check()
        last = sha256(self.log[-1]).digest() if self.log else FIRST_PREV
        tip = ChainTip(seq=len(self.log), entry_hash=last)
        return LedgerTip(logged=tip, pending=tip)

    async def final(self, entry: bytes) -> Final | None:
        self._check()
        if self.slow or entry not in self.log:
            return None
        return Final(index=self.log.index(entry), code=self.rejecting)

    async def used(self, author: str, seq: int, entry_hash: bytes) -> bool | None:
        self.asked += 1
        if self.blind or len(self.log) < seq:
            return None
        return sha256(self.log[seq - 1]).digest() == entry_hash


def amounts(log: list[bytes]) -> dict[str, int]:
    """What the entries say in sum: Wh of all `energy`, PFLOP of all `usage`."""
    found = {"energy": 0, "usage": 0}
    for entry in log:
        parsed = parsed_of(entry)
        found[parsed.kind] += parsed.body.wh if parsed.kind == "energy" else parsed.body.pflop_total
    return found


def parsed_of(entry: bytes) -> ParsedEntry:
    payload = parse_statement(entry).payload
    assert payload is not None
    return parse_entry(payload)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition with a deadline."""
    deadline = time.monotonic() + seconds
    while True:
        if condition():
            return
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.01)


def sample(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """A metric's value; 0 while it has none."""
    return registry.get_sample_value(name, labels) or 0.0

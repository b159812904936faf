"""The meters of five facilities, the broker they publish to, and the gateway that makes reports of their readings.

    meter, counter --signed reading, MQTT--> broker --> gateway: journal, outbox --signed statement, gRPC--> any node

What a site runs as processes of its own runs inside the rehearsal here: an embedded broker (amqtt), one `Device` for each
quantity, and one `Gateway` that holds the keys of all five operators. The code is what `foedus intake` runs.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from node.cli.demo.cast import SLOT_S
from node.cli.figures import FacilityFigures
from node.cli.intake_ledger import NodesAccess, OutboxChains
from node.cli.nodes import Nodes
from node.intake.adapter import BrokerSettings
from node.intake.device import Device, publish
from node.intake.gateway import DeviceKey, Gateway, GatewaySettings
from node.intake.journal import Journal
from node.intake.loopback import loopback_broker
from node.intake.reading import Kind, Reading, Source
from node.intake.statements import FacilityPlan
from node.signing.keys import AgencyKeys, Role, SigningKey
from node.signing.verify import VerifyPool
from node.telemetry import JsonFormatter

CHIP: Final = "H100"
CHIP_GFLOPS: Final = 989_000  # 16-bit peak of one (MODEL 2)
UTILISATION_BP: Final = 4_000  # what a well-run training reaches; invented, as the readings are
LOAD_BP: Final = 7_000  # mean power against the site's maximum; invented likewise
READING_EVERY_S: Final = 1.0
GRACE_S: Final = 1
RESEND_S: Final = 1.0
NEXT_NODE_S: Final = 4.0
WATT_SECONDS_PER_WH: Final = 3_600
_KINDS: Final = (Kind.POWER, Kind.ENERGY, Kind.PFLOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One facility on the ledger and who reports for it."""

    state: str
    operator: str
    facility: str
    figures: FacilityFigures
    anchor_s: int  # ledger second of its declaration: its slots count from there

    @property
    def chips(self) -> int:
        """As many H100s as its capacity amounts to."""
        return self.figures.capacity_mh // 1_000


class Metering:
    """Broker, meters and gateway. `run` until cancelled; `published` counts what the broker has taken."""

    def __init__(
        self,
        folder: Path,
        *,
        ledger: bytes,
        trust_policy: bytes,
        sites: Sequence[Site],
        operators: Mapping[str, AgencyKeys],
        nodes: Nodes,
        port: int,
    ) -> None:
        """`operators`: their author keys by party id. `folder` holds journal, outboxes and log."""
        self._folder = folder
        self._ledger = ledger
        self._trust_policy = trust_policy
        self._sites = tuple(sites)
        self._operators = operators
        self._nodes = nodes
        self._port = port
        self._began = time.monotonic()
        self._devices = {
            site.facility: [self._device(site, kind) for kind in _KINDS] for site in sites
        }
        self.published = 0

    @property
    def sources(self) -> int:
        """Devices times quantities."""
        return sum(map(len, self._devices.values()))

    async def run(self) -> None:
        """Until cancelled; it may be run again, and goes on where it was."""
        async with self._nodes, loopback_broker(self._port):
            with (
                closing(Journal(self._folder / "intake.journal", ledger=self._ledger)) as journal,
                VerifyPool(threads=1) as pool,
                _logged_to(self._folder / "intake.log"),
            ):
                gateway = self._gateway(journal, pool)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(gateway.run(), name="gateway")
                    for site in self._sites:
                        tasks.create_task(self._meter(site), name=site.facility)

    def _gateway(self, journal: Journal, pool: VerifyPool) -> Gateway:
        devices = [device for held in self._devices.values() for device in held]
        return Gateway(
            GatewaySettings(
                broker=self._broker("gateway"),
                ledger=self._ledger,
                facilities=tuple(map(_plan, self._sites)),
                devices={
                    device.source.topic: DeviceKey(public_key=device.public_key)
                    for device in devices
                },
                grace_s=GRACE_S,
                resend_s=RESEND_S,
                adopt=True,  # the operators have declared their facilities by other means
            ),
            journal=journal,
            pool=pool,
            chains=OutboxChains(
                self._folder / "outbox", ledger=self._ledger, keys=dict(self._operators)
            ),
            ledger=NodesAccess(self._nodes, self._trust_policy, next_after_s=NEXT_NODE_S),
            now_s=lambda: int(time.time()),
            registry=CollectorRegistry(),
        )

    def _broker(self, identifier: str) -> BrokerSettings:
        return BrokerSettings(host="127.0.0.1", port=self._port, identifier=identifier)

    def _device(self, site: Site, kind: Kind) -> Device:
        """A quantity of the site's one meter, with a key of its own."""
        source = Source(state=site.state, facility=site.facility, device="meter-1", kind=kind)
        return Device(source, key=SigningKey.generate(Role.AUTHOR), ledger=self._ledger)

    async def _meter(self, site: Site) -> None:
        await publish(self._broker(site.facility), self._readings(site))

    async def _readings(self, site: Site) -> AsyncIterator[Reading]:
        """Each quantity once a second, for ever. The next one is asked for once the broker has the last."""
        while True:
            now_s, running_s = int(time.time()), time.monotonic() - self._began
            for device in self._devices[site.facility]:
                value = value_of(device.source.kind, site, running_s)
                yield device.reading(time_s=now_s, value=value)
                self.published += 1
            await asyncio.sleep(READING_EVERY_S)


def value_of(kind: Kind, site: Site, running_s: float) -> int:
    """What the meter shows after so many seconds: W as they are, Wh and PFLOP as counters from 0."""
    watts = site.figures.power_w * LOAD_BP // 10_000
    if kind is Kind.POWER:
        return watts
    if kind is Kind.ENERGY:
        return int(watts * running_s) // WATT_SECONDS_PER_WH
    gflops = site.chips * CHIP_GFLOPS * UTILISATION_BP // 10_000
    return int(gflops * running_s) // 1_000_000


def _plan(site: Site) -> FacilityPlan:
    return FacilityPlan(
        state=site.state,
        facility=site.facility,
        author=site.operator,
        chip_type=CHIP,
        chips_on=site.chips,
        workload_class="other",
        anchor_s=site.anchor_s,
        period_s=SLOT_S,
    )


@contextlib.contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """The gateway's own words go to a file: standard error is the rehearsal's."""
    log = logging.getLogger("foedus.intake")
    with path.open("a", encoding="utf-8") as stream:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(JsonFormatter())
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            yield
        finally:
            log.removeHandler(handler)

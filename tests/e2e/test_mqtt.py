"""Device readings over a real Mosquitto become final reports, while gateway, broker and node are killed.

The claim is one sum: what the devices counted is what the final statements say, each period once. Devices publish at QoS 1 and
keep a reading until the broker has it, as meters do. Mosquitto writes its state a moment after it acknowledges, so SIGKILL may
cost it readings; counters are cumulative for that reason, and the next one brings what the lost ones said.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from foedus.v1 import client_pb2 as pb
from node.cli.intake_run import gateway_arguments
from node.cli.outbox import FileOutbox, Tip
from node.intake.adapter import BrokerSettings
from node.intake.device import Device, publish
from node.intake.reading import Kind, Reading, Source
from node.intake.settings import (
    BrokerTable,
    DeviceTable,
    FacilityTable,
    IntakeSettings,
    IntakeTable,
    MetricsTable,
    documented_intake,
)
from node.log.cose import parse_statement
from node.settings import LogSettings
from node.signing.keys import Role, SigningKey
from node.signing.keystore import write_agency_keys
from node.signing.statements import entry_hash
from node.treaty.entries import ParsedEntry
from node.treaty.parsing import parse_entry
from tests.e2e.cluster import (
    CHEAP_KDF,
    PASSPHRASE,
    PYTHON_PATH,
    ROOT,
    Cluster,
    found_cluster,
    free_ports,
)
from tests.e2e.mosquitto import Mosquitto, mosquitto_or_skip
from tests.e2e.statements import Outbox

pytestmark = pytest.mark.e2e

PERIOD_S = 3
READINGS = 120
PAUSE_S = 0.1
READY_S = 40.0
END_S = 60.0


@dataclass(kw_only=True)
class GatewayProcess:
    """`foedus intake run` as a process of its own. Its outbox, journal and log lie in `folder`."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)

    def start(self) -> None:
        assert self.process is None, "it runs already"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("FOEDUS_")}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                gateway_arguments(self.folder / "intake.toml"),
                cwd=ROOT,
                env={**inherited, "PYTHONPATH": PYTHON_PATH},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.starts += 1

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None, "it does not run"
        self.process.send_signal(number)
        status = self.process.wait(20)
        self.process = None
        return status

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged; text that is no JSON line fails the test."""
        text = (self.folder / "log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line]

    def said(self, event: str) -> int:
        return sum(line["event"] == event for line in self.lines())


@dataclass(kw_only=True)
class Site:
    """A ledger, a broker, a gateway, and two devices that count."""

    cluster: Cluster
    broker: Mosquitto
    gateway: GatewayProcess
    devices: list[Device]
    counted: dict[str, int] = field(default_factory=lambda: {"energy": 0, "usage": 0})
    periods: set[tuple[str, int]] = field(default_factory=set)

    async def declare(self) -> None:
        """The facility, by the operator, in the outbox that the gateway shares."""
        outbox = Outbox(keys=self.cluster.operators[0], ledger=self.cluster.chain_id)
        state = self.cluster.states[0]
        entry = outbox.facility("dc1", countersigned_by=self.cluster.homes[state].agency)
        async with self.cluster.client(state) as node:
            await node.Submit(pb.SubmitRequest(entry=entry), timeout=10)
        await self.cluster.until(
            lambda: self.cluster.all_final([entry_hash(entry)], state), "facility declared"
        )
        with FileOutbox(
            self.gateway.folder / "outbox", ledger=self.cluster.chain_id, author="op0"
        ) as box:
            box.adopt(Tip(seq=1, entry_hash=entry_hash(entry)))

    async def publish(self, device: Device) -> None:
        """READINGS readings of a counter that grows, each kept until the broker has it."""
        kind = "energy" if device.source.kind is Kind.ENERGY else "usage"
        draw = random.Random(device.source.device)

        async def readings() -> AsyncIterator[Reading]:
            value = 0
            for number in range(READINGS):
                yield device.reading(time_s=int(time.time()), value=value)
                if number < READINGS - 1:
                    growth = draw.randrange(1000)
                    value += growth
                    self.counted[kind] += growth
                    await asyncio.sleep(PAUSE_S)

        identifier = f"device-{device.source.device}"
        await publish(
            BrokerSettings(host="127.0.0.1", port=self.broker.port, identifier=identifier),
            readings(),
        )

    async def reports(self) -> list[ParsedEntry]:
        """The operator's `energy` and `usage` statements that are final and accepted."""
        async with self.cluster.client(self.cluster.states[0]) as node:
            page = await node.List(pb.ListRequest(author="op0", limit=1000), timeout=10)
        assert all(not entry.code for entry in page.entries), [e.code for e in page.entries]
        found = [
            parsed(entry.leaf) for entry in page.entries if entry.state == pb.ENTRY_STATE_FINAL
        ]
        return [entry for entry in found if entry.kind in ("energy", "usage")]

    async def sums(self) -> dict[str, int]:
        said = {"energy": 0, "usage": 0}
        for entry in await self.reports():
            said[entry.kind] += entry.body.wh if entry.kind == "energy" else entry.body.pflop_total
        return said

    async def all_is_final(self) -> bool:
        return await self.sums() == self.counted

    async def check(self) -> None:
        """The claim, and that each period was said once."""
        await self.cluster.until(self.all_is_final, f"the sums {self.counted}", END_S)
        reports = await self.reports()
        names = [(entry.kind, entry.period) for entry in reports]
        assert len(names) == len(set(names)), "a period was reported twice"
        # Nothing more comes after the sums are right.
        await asyncio.sleep(2 * PERIOD_S)
        assert await self.sums() == self.counted


def parsed(leaf: bytes) -> ParsedEntry:
    payload = parse_statement(leaf).payload
    assert payload is not None
    return parse_entry(payload)


@contextmanager
def site(tmp_path: Path, *, states: tuple[str, ...], module: str) -> Iterator[Site]:
    mosquitto_or_skip()
    cluster = found_cluster(tmp_path / "cluster", states=states, operators=1)
    cluster.module = module
    port, metrics = free_ports(2)
    folder = tmp_path / "gateway"
    folder.mkdir()
    devices = [
        Device(
            Source(state="KE", facility="dc1", device=name, kind=kind),
            key=SigningKey.generate(Role.AUTHOR),
            ledger=cluster.chain_id,
        )
        for name, kind in (("m1", Kind.ENERGY), ("c1", Kind.PFLOP))
    ]
    _furnish(folder, cluster, devices, port, metrics)
    with (
        cluster,
        Mosquitto(tmp_path / "broker", port) as broker,
        GatewayProcess(folder=folder) as gateway,
    ):
        yield Site(cluster=cluster, broker=broker, gateway=gateway, devices=devices)


def _furnish(
    folder: Path, cluster: Cluster, devices: list[Device], port: int, metrics: int
) -> None:
    settings = IntakeSettings(
        home=folder,
        intake=IntakeTable(
            passphrase_file="passphrase",
            nodes=",".join(f"{state}@{home.client}" for state, home in cluster.homes.items()),
            grace_s=1,
            resend_s=1,
        ),
        broker=BrokerTable(address=f"127.0.0.1:{port}"),
        metrics=MetricsTable(listen=f"127.0.0.1:{metrics}"),
        log=LogSettings(format="json"),
        facility=(
            FacilityTable(
                facility="dc1",
                state="KE",
                chips_on=8,
                anchor_s=int(time.time()) - 600,
                period_s=PERIOD_S,
            ),
        ),
        device=tuple(
            DeviceTable(
                facility="dc1",
                device=device.source.device,
                kind=device.source.kind.value,
                public_key=device.public_key.hex(),
            )
            for device in devices
        ),
    )
    (folder / "intake.toml").write_text(documented_intake(settings), encoding="utf-8")
    (folder / "genesis.cbor").write_bytes(cluster.document)
    (folder / "passphrase").touch(mode=0o600)
    (folder / "passphrase").write_bytes(PASSPHRASE + b"\n")
    write_agency_keys(folder / "operator.key", cluster.operators[0], PASSPHRASE, cost=CHEAP_KDF)


async def started(site: Site) -> None:
    site.cluster.start_all()
    await site.cluster.wait_ready()
    await site.declare()
    site.gateway.start()
    await connected(site)


async def connected(site: Site) -> None:
    """The running gateway has subscribed, so its session is the broker's to keep."""

    def is_so() -> bool:
        lines = site.gateway.lines()
        ready = max(
            n for n, line in enumerate([{"event": "ready"}, *lines]) if line["event"] == "ready"
        )
        return any(line["event"] == "broker connected" for line in lines[ready:])

    await site.cluster.until(
        lambda: site.gateway.said("ready") == site.gateway.starts, "gateway ready", READY_S
    )
    await site.cluster.until(is_so, "gateway connected", READY_S)


async def kill_the_gateway(site: Site, draw: random.Random, times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(draw.uniform(0.2, 1.8))
        site.gateway.end(signal.SIGKILL)
        site.gateway.start()
        await site.cluster.until(
            lambda: site.gateway.said("ready") == site.gateway.starts, "gateway ready", READY_S
        )


async def test_the_gateway_killed_at_random_moments(tmp_path: Path) -> None:
    """The node around a fake engine (see `lone_node`): the gateway's own durability is at stake here."""
    with site(tmp_path, states=("KE",), module="tests.e2e.lone_node") as here:
        await started(here)
        async with asyncio.TaskGroup() as tasks:
            for device in here.devices:
                tasks.create_task(here.publish(device))
            tasks.create_task(kill_the_gateway(here, random.Random(1), 6))
        await here.check()
        assert here.gateway.starts == 7
        assert here.gateway.end(signal.SIGTERM) == 0
        assert here.gateway.lines()[-1]["event"] == "stopped"
        told = (here.gateway.folder / "log").read_text(encoding="utf-8")
        assert PASSPHRASE.decode() not in told
        assert here.cluster.operators[0].author.seed.hex() not in told


async def test_broker_and_node_killed_and_restarted(tmp_path: Path) -> None:
    """The same node; broker and node die while readings come, the gateway stays."""
    with site(tmp_path, states=("KE",), module="tests.e2e.lone_node") as here:
        await started(here)

        async def trouble() -> None:
            await asyncio.sleep(2)
            here.cluster.kill("KE")
            await asyncio.sleep(1)
            here.broker.kill()
            await asyncio.sleep(0.5)
            here.broker.start()
            here.cluster.start("KE")
            await here.cluster.wait_ready()
            await asyncio.sleep(1)
            here.broker.stop()
            here.broker.start()
            here.cluster.kill("KE")
            here.cluster.start("KE")
            await here.cluster.wait_ready()

        async with asyncio.TaskGroup() as tasks:
            for device in here.devices:
                tasks.create_task(here.publish(device))
            tasks.create_task(trouble())
        await here.check()
        assert here.gateway.said("broker lost") >= 1
        assert here.gateway.end(signal.SIGTERM) == 0


@pytest.mark.measure("M26")
async def test_with_real_nodes_one_of_them_killed(tmp_path: Path) -> None:
    """Four states' real nodes: the gateway's first one dies for good, the next is asked, and it is killed itself."""
    with site(tmp_path, states=("KE", "BR", "GB", "US"), module="node.main") as here:
        await started(here)

        async def trouble() -> None:
            await asyncio.sleep(1)
            here.cluster.kill("US")
            await kill_the_gateway(here, random.Random(2), 2)
            here.cluster.start("US")
            await here.cluster.wait_ready("US")

        async with asyncio.TaskGroup() as tasks:
            for device in here.devices:
                tasks.create_task(here.publish(device))
            tasks.create_task(trouble())
        await here.check()
        await here.cluster.until(here.cluster.one_root, "one root everywhere", END_S)
        assert here.gateway.end(signal.SIGTERM) == 0

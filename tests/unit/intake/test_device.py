"""A device's memory, and readings that reach the broker although it comes and goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from node.intake.adapter import BrokerSettings
from node.intake.device import SequenceFile, publish
from node.intake.gateway import DeviceKey, Gateway, GatewaySettings
from node.intake.journal import Journal
from node.intake.loopback import loopback_broker
from node.intake.reading import VALUE_MAX, MalformedReading, Reading
from node.signing.verify import VerifyPool
from tests.e2e.cluster import free_ports
from tests.unit.intake.world import (
    ANCHOR_S,
    LEDGER,
    PERIOD_S,
    MemoryChains,
    MemoryLedger,
    amounts,
    device,
    plan,
    sample,
    source,
    until,
)


def test_the_next_number_is_remembered(tmp_path: Path) -> None:
    memory = SequenceFile(tmp_path / "m1.sequence")
    assert memory.next() == 1
    memory.keep(17)
    assert SequenceFile(tmp_path / "m1.sequence").next() == 17


@pytest.mark.parametrize(
    "text", [b"", b"0", b"-1", b"1_0", b"7 ", b"x", b"9" * 17, str(VALUE_MAX + 1).encode()]
)
def test_a_damaged_memory_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "sequence").write_bytes(text)
    with pytest.raises(MalformedReading, match="sequence"):
        SequenceFile(tmp_path / "sequence").next()


@pytest.mark.parametrize(("time_s", "value"), [(-1, 0), (0, -1), (0, VALUE_MAX + 1)])
def test_what_cannot_be_read_is_not_signed(time_s: int, value: int) -> None:
    with pytest.raises(MalformedReading):
        device().reading(time_s=time_s, value=value)


async def test_from_device_over_the_embedded_broker_to_the_ledger(tmp_path: Path) -> None:
    """The demonstration's way, once whole: devices, amqtt, gateway, final."""
    (port,) = free_ports(1)
    now_s, registry, ledger = [ANCHOR_S], CollectorRegistry(), MemoryLedger()
    broker = BrokerSettings(host="127.0.0.1", port=port, identifier="gateway")
    with (
        closing(Journal(tmp_path / "journal", ledger=LEDGER)) as journal,
        VerifyPool(threads=1) as pool,
    ):
        gateway = Gateway(
            GatewaySettings(
                broker=broker,
                ledger=LEDGER,
                facilities=(plan(),),
                devices={source().topic: DeviceKey(public_key=device().public_key)},
                grace_s=0,
                resend_s=0.05,
            ),
            journal=journal,
            pool=pool,
            chains=MemoryChains(),
            ledger=ledger,
            now_s=lambda: now_s[0],
            registry=registry,
        )
        async with loopback_broker(port), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(gateway.run())
            await until(lambda: sample(registry, "foedus_intake_broker_connected") == 1)
            meter = device()
            readings = [meter.reading(time_s=ANCHOR_S + n, value=3 * n) for n in range(40)]
            to = BrokerSettings(host="127.0.0.1", port=port, identifier="m1")
            assert await publish(to, readings) == 40
            await until(
                lambda: sample(registry, "foedus_intake_readings_total", outcome="counted") == 40
            )
            now_s[0] += PERIOD_S + 1
            await until(lambda: amounts(ledger.log)["energy"] == 3 * 39)
            running.cancel()


async def test_publishing_outlives_the_broker() -> None:
    (port,) = free_ports(1)
    meter, taken = device(), asyncio.Event()
    down = asyncio.Event()

    async def readings() -> AsyncIterator[Reading]:
        for number in range(6):
            if number == 3:
                taken.set()
                await down.wait()
            yield meter.reading(time_s=ANCHOR_S + number, value=number)

    to = BrokerSettings(host="127.0.0.1", port=port, identifier="m1")
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        publishing = tasks.create_task(publish(to, readings()))
        async with loopback_broker(port):
            await taken.wait()
        down.set()
        async with loopback_broker(port):
            assert await publishing == 6

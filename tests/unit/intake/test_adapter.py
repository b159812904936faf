"""Manual acknowledgement below aiomqtt, guarded; the broker is the demonstration's, inside this process."""

import asyncio
from importlib import metadata
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.client import Client as PahoClient

from node.intake import adapter
from node.intake.adapter import (
    UNASSURED_WAITING_MAX,
    BrokerLost,
    BrokerSettings,
    Publisher,
    Subscription,
)
from node.intake.loopback import loopback_broker
from tests.e2e.cluster import free_ports

TOPIC = "foedus/v1/KE/dc1/m1/energy"


def settings(port: int, identifier: str = "gateway") -> BrokerSettings:
    return BrokerSettings(host="127.0.0.1", port=port, identifier=identifier)


async def test_the_private_attribute_is_there_and_the_version_is_the_measured_one() -> None:
    """RULINGS R64: if this fails, look at aiomqtt before the pin is moved."""
    assert metadata.version("aiomqtt") == "2.5.1"
    subscription = Subscription(settings(1), "#")
    paho = subscription._client._client
    assert isinstance(paho, PahoClient)
    assert paho._manual_ack is True
    assert not paho._clean_session
    assert callable(paho.ack)


async def test_nothing_is_acknowledged_before_it_is_told_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bytes on the wire: PUBACK packets, counted below paho."""
    acknowledged: list[int] = []
    send = PahoClient._send_puback

    def watched(self: PahoClient, mid: int) -> Any:
        acknowledged.append(mid)
        return send(self, mid)

    monkeypatch.setattr(PahoClient, "_send_puback", watched)
    (port,) = free_ports(1)
    async with loopback_broker(port), Subscription(settings(port), "foedus/v1/#") as subscription:
        async with Publisher(settings(port, "meter")) as publisher:
            for number in range(3):
                await publisher.publish(TOPIC, b"%d" % number)
        received: list[bytes] = []
        async for burst in subscription.bursts(2):
            assert acknowledged == [], "not before"
            received += [each.payload for each in burst]
            if len(received) == 3:
                subscription.acknowledge(burst)
                break
        assert received == [b"0", b"1", b"2"]
        assert len(acknowledged) == len(burst)


async def test_of_what_needs_no_acknowledgement_only_so_much_waits() -> None:
    queue = adapter._Waiting()

    def message(qos: int) -> aiomqtt.Message:
        return aiomqtt.Message(
            topic=TOPIC, payload=b"", qos=qos, retain=False, mid=1, properties=None
        )

    for _ in range(UNASSURED_WAITING_MAX + 50):
        queue.put_nowait(message(0))
    assert queue.qsize() == UNASSURED_WAITING_MAX
    queue.put_nowait(message(1))
    assert queue.qsize() == UNASSURED_WAITING_MAX + 1, "what is assured is never let go"


async def test_no_broker_is_one_error_and_a_lost_one_too() -> None:
    (port,) = free_ports(1)
    with pytest.raises(BrokerLost):
        async with Publisher(settings(port)):
            pass
    with pytest.raises(BrokerLost):
        async with Subscription(settings(port), "foedus/v1/#"):
            pass

    async def listen() -> None:
        async with Subscription(settings(port), "foedus/v1/#") as subscription:
            connected.set()
            async for _ in subscription.bursts(10):
                pass

    connected = asyncio.Event()
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012 - the broker ends inside
        async with asyncio.TaskGroup() as tasks, loopback_broker(port):
            tasks.create_task(listen())
            await asyncio.wait_for(connected.wait(), 10)
    assert caught.group_contains(BrokerLost)


async def test_a_password_is_not_shown() -> None:
    shown = repr(BrokerSettings(host="h", port=1, identifier="i", username="u", password="hush"))
    assert "hush" not in shown


async def test_a_taken_port_is_named() -> None:
    (port,) = free_ports(1)
    async with loopback_broker(port):
        with pytest.raises(OSError, match=str(port)):
            async with loopback_broker(port):
                pass

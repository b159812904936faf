"""MQTT with the acknowledgement in our hands: the one place that reaches under aiomqtt.

aiomqtt 2.5.1 acknowledges a QoS 1 message on receipt and has no public switch for it (RULINGS R64, measured); paho, below it,
has one. So this file sets manual acknowledgement on aiomqtt's private client and sends each PUBACK when the caller says
that the message is durable. The version is pinned in pyproject.toml and `tests/unit/intake/test_adapter.py` guards the
attribute. With `clean_session=False` and a fixed identifier the broker delivers again whatever was not acknowledged.

Bound: nothing is dropped here. The broker keeps at most its inflight limit (Mosquitto: max_inflight_messages, 20 by default)
of messages unacknowledged with us, so the queue in aiomqtt never holds more than that.
"""

import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode

QOS_AT_LEAST_ONCE: Final = 1
BrokerLost = aiomqtt.MqttError  # what entering, iterating and acknowledging raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message as it came, still the broker's until acknowledged."""

    topic: str
    payload: bytes
    mid: int
    qos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """Where the broker is and who we are to it. `identifier` must be the same after every restart."""

    host: str
    port: int
    identifier: str
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    keepalive_s: int = 30


class Subscription:
    """An async context manager: connected and subscribed inside, session kept by the broker outside."""

    def __init__(self, broker: BrokerSettings, topic_filter: str) -> None:
        tls = ssl.create_default_context(cafile=broker.ca_file) if broker.ca_file else None
        self._client = aiomqtt.Client(
            broker.host,
            broker.port,
            identifier=broker.identifier,
            username=broker.username,
            password=broker.password,
            tls_context=tls,
            clean_session=False,
            keepalive=broker.keepalive_s,
        )
        self._filter = topic_filter
        self._client._client.manual_ack_set(True)  # noqa: FBT003 - paho takes it by position only

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        await self._client.subscribe(self._filter, qos=QOS_AT_LEAST_ONCE)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def bursts(self, limit: int) -> AsyncIterator[list[Delivery]]:
        """What has arrived, at most `limit` at a time, in order of arrival. Raises BrokerLost when disconnected."""
        messages = self._client.messages
        async for message in messages:
            burst = [_delivery(message)]
            while len(messages) and len(burst) < limit:
                burst.append(_delivery(await anext(messages)))
            yield burst

    def acknowledge(self, burst: Sequence[Delivery]) -> None:
        """Let the broker forget these. A lost PUBACK only means that it delivers them again."""
        for delivery in burst:
            status = self._client._client.ack(delivery.mid, delivery.qos)
            if status not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                raise BrokerLost(f"acknowledging message {delivery.mid}: {status.name}")


def _delivery(message: aiomqtt.Message) -> Delivery:
    payload = message.payload
    return Delivery(
        topic=message.topic.value,
        payload=payload if isinstance(payload, bytes) else b"",
        mid=message.mid,
        qos=message.qos,
    )

"""MQTT with the acknowledgement in our hands: the one place that reaches under aiomqtt.

aiomqtt 2.5.1 acknowledges a QoS 1 message on receipt and has no public switch for it (RULINGS R64, measured); paho, below it,
has one. So this file sets manual acknowledgement on aiomqtt's private client and sends each PUBACK when the caller says
that the message is durable. The version is pinned in pyproject.toml and `tests/unit/intake/test_adapter.py` guards the
attribute. With `clean_session=False` and a fixed identifier the broker delivers again whatever was not acknowledged.

Bound: of messages with an acknowledgement none is dropped here, for the broker keeps at most its inflight limit (Mosquitto:
max_inflight_messages, 20 by default) of them unacknowledged with us. Messages of QoS 0 know no such limit: beyond
UNASSURED_WAITING_MAX waiting ones they are let go, which is what their sender agreed to.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode

QOS_AT_LEAST_ONCE: Final = 1
UNASSURED_WAITING_MAX: Final = 1024
CALL_S: Final = 10.0  # connecting, subscribing, one publication
BrokerLost = aiomqtt.MqttError  # what entering, iterating, publishing and acknowledging raise


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
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    keepalive_s: int = 30


class _Waiting(asyncio.Queue[aiomqtt.Message]):
    """What has arrived and is not yet taken. See the module's bound."""

    def put_nowait(self, item: aiomqtt.Message) -> None:
        if item.qos == 0 and self.qsize() >= UNASSURED_WAITING_MAX:
            return
        super().put_nowait(item)


class Subscription:
    """An async context manager: connected and subscribed inside, session kept by the broker outside."""

    def __init__(self, broker: BrokerSettings, topic_filter: str) -> None:
        self._client = _client(broker, clean_session=False)
        self._filter = topic_filter
        self._client._client.manual_ack_set(True)  # noqa: FBT003 - paho takes it by position only

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        try:
            granted = await self._client.subscribe(self._filter, qos=QOS_AT_LEAST_ONCE)
        except BaseException as err:
            await self._client.__aexit__(type(err), err, err.__traceback__)
            raise
        for reason in granted:
            if not isinstance(reason, int) and reason.is_failure:
                await self._client.__aexit__(None, None, None)
                raise BrokerLost(f"the broker refuses the subscription to {self._filter}: {reason}")
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


class Publisher:
    """A device's connection to the broker: an async context manager."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._client = _client(broker, clean_session=True)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def publish(self, topic: str, payload: bytes) -> None:
        """The broker has it on return. Raises BrokerLost: it may have it or not, so publish it again."""
        await self._client.publish(topic, payload, qos=QOS_AT_LEAST_ONCE)


def _client(broker: BrokerSettings, *, clean_session: bool) -> aiomqtt.Client:
    tls = ssl.create_default_context(cafile=broker.ca_file) if broker.ca_file else None
    return aiomqtt.Client(
        broker.host,
        broker.port,
        identifier=broker.identifier,
        username=broker.username,
        password=broker.password,
        tls_context=tls,
        clean_session=clean_session,
        keepalive=broker.keepalive_s,
        queue_type=_Waiting,
        timeout=CALL_S,
    )


def _delivery(message: aiomqtt.Message) -> Delivery:
    payload = message.payload
    return Delivery(
        topic=message.topic.value,
        payload=payload if isinstance(payload, bytes) else b"",
        mid=message.mid,
        qos=message.qos,
    )

"""The HTTP port against those who only take up room: the limit stands before TLS, and places come back."""

import asyncio
import contextlib
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator, Callable

import pytest

from node.api.door import TLS_BUFFER_BYTES
from node.api.listener import HttpListener, metrics_app
from node.signing.transport import TransportIdentity, generate_transport, server_name
from node.telemetry import Metrics
from tests.unit.api.serving import free_port

PLACES = 4


@pytest.fixture
def identity() -> TransportIdentity:
    return generate_transport("BR", scalar_seed=b"d" * 32)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a socket has no event of ours
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def listening(identity: TransportIdentity) -> AsyncIterator[tuple[HttpListener, int]]:
    port = free_port()
    listener = HttpListener(
        metrics_app(Metrics("BR")), f"127.0.0.1:{port}", requests_max=PLACES, identity=identity
    )
    await listener.start()
    try:
        yield listener, port
    finally:
        await listener.stop()


async def get(port: int, identity: TransportIdentity) -> bytes:
    trust = ssl.create_default_context(cadata=identity.certificate_pem.decode())
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=trust, server_hostname=server_name("BR")
    )
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_who_never_begins_tls_is_shown_out_and_those_beyond_the_places_are_closed(
    identity: TransportIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.api.listener.PLACES_SPARE", 0)
    monkeypatch.setattr("node.api.listener.REQUEST_S", 1.5)
    async with listening(identity) as (listener, port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(PLACES)]
        await until(lambda: listener.connections == PLACES)
        late_reader, late = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionResetError):
            assert (
                await asyncio.wait_for(late_reader.read(), 1) == b""
            )  # at once, not after the patience
        assert listener.connections == PLACES
        assert listener._door is not None
        assert listener._door.turned_away == 1
        for reader, _ in silent:
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
        await until(lambda: listener.connections == 0)
        assert (await get(port, identity)).startswith(b"HTTP/1.1 200")
        for writer in (late, *(writer for _, writer in silent)):
            writer.close()


async def test_a_guest_that_settles_is_not_shown_out_by_the_handshakes_patience(
    identity: TransportIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(identity) as (listener, port):
        assert listener._door is not None
        monkeypatch.setattr(listener._door, "_patience_s", 0.5)
        monkeypatch.setattr("node.api.listener.REQUEST_S", 30)
        trust = ssl.create_default_context(cadata=identity.certificate_pem.decode())
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trust, server_hostname=server_name("BR")
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 1)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
        await until(lambda: listener.connections == 0)


async def test_broken_handshakes_leave_nothing_behind(identity: TransportIdentity) -> None:
    async with listening(identity) as (listener, port):
        for number in range(60):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"\xff" * 99)[number % 2]
            )
            writer.close()
        await until(lambda: listener.connections == 0)
        assert listener._door is not None
        assert not listener._door._unsettled
        assert (await get(port, identity)).startswith(b"HTTP/1.1 200")


def test_the_buffer_of_tls_is_the_small_one(identity: TransportIdentity) -> None:
    """asyncio's name for it is no documented promise: should it go, this fails and the bound needs another way."""
    HttpListener(metrics_app(Metrics("BR")), "127.0.0.1:1", requests_max=PLACES, identity=identity)
    assert SSLProtocol.max_size == TLS_BUFFER_BYTES
    assert "max_size" in SSLProtocol.__init__.__code__.co_names

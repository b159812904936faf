"""A node's web face that lies in HTTP itself: it is told in bounded time and memory, and hides nobody else (`exchange`)."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

import pytest

from node.audit import exchange
from node.audit.exchange import address_of
from node.audit.monitor import Monitor
from node.audit.source import CannotAudit, Lost
from node.audit.web import WebSource
from node.ledger.genesis import encode_genesis
from node.log.note import NOTE_BYTES_MAX
from tests.unit.ledger.founding import Founding, found

EXCHANGE_S = 0.5
PATIENCE_S = 10 * EXCHANGE_S
OK = b"HTTP/1.1 200 OK\r\n"

Talk = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def founding() -> Founding:
    return found(4, 0)


@asynccontextmanager
async def serving(founding: Founding, folder: Path, talk: Talk) -> AsyncIterator[str]:
    """A TLS server with a member's own certificate that answers each request by `talk`."""
    identity = founding.nodes[0].transport
    (folder / "c.pem").write_bytes(identity.certificate_pem)
    (folder / "k.pem").write_bytes(identity.private_key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "c.pem", folder / "k.pem")

    answering: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a handler is a task"
        answering.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await talk(writer)
            await reader.read()  # until the other side has had enough
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering)
        await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next turn


async def without_end(
    writer: asyncio.StreamWriter, head: bytes, part: bytes, pause_s: float
) -> None:
    writer.write(head)
    while not writer.is_closing():
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(pause_s)


async def once(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)
    await writer.drain()


async def closed(writer: asyncio.StreamWriter) -> None:
    raise ConnectionAbortedError


def endless(head: bytes, part: bytes, pause_s: float = 0.0) -> Talk:
    return lambda writer: without_end(writer, head, part, pause_s)


def cut(answer: bytes) -> Talk:
    async def talk(writer: asyncio.StreamWriter) -> None:
        await once(writer, answer)
        await closed(writer)

    return talk


def whole(answer: bytes) -> Talk:
    return lambda writer: once(writer, answer)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = b"\x1f\x8b\x08\x00" + bytes(64)
LIES: dict[str, Talk] = {
    "continue without end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
    "a slow body": endless(OK + b"Content-Length: 900000\r\n\r\n", b"x", 0.02),
    "slow headers": endless(OK, b"A: b\r\n", 0.02),
    "a slow status line": endless(b"", b"H", 0.02),
    "a body without end": endless(OK + b"\r\n", bytes(65_536)),
    "chunks without end": endless(CHUNKED, b"1000\r\n" + bytes(4096) + b"\r\n"),
    "a slow chunk size": endless(CHUNKED, b"0", 0.02),
    "trailers without end": endless(CHUNKED + b"0\r\n", b"A: b\r\n", 0.001),
    "a header line without end": endless(OK + b"A: ", bytes([0x41]) * 4096),
    "headers without end": endless(OK, b"A: b\r\n"),
    "nothing": endless(b"", b"", 0.02),
    "closed": closed,
    "a body cut short": cut(OK + b"Content-Length: 500\r\n\r\nabc"),
    "a length that no machine counts": cut(OK + b"Content-Length: %d\r\n\r\nabc" % 10**22),
    "a huge chunk cut short": cut(CHUNKED + b"f" * 30 + b"\r\nabc"),
    "a negative length": whole(OK + b"Content-Length: -5\r\n\r\nabc"),
    "a length of words": whole(OK + b"Content-Length: many\r\nConnection: close\r\n\r\nabc"),
    "a chunk of a negative size": whole(CHUNKED + b"-5\r\nabc\r\n0\r\n\r\n"),
    "a chunk of size -1": endless(CHUNKED + b"-1\r\n", bytes(65_536)),
    "a huge chunk": whole(CHUNKED + b"f" * 30 + b"\r\nabc"),
    "a redirect": whole(
        b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    ),
    "a redirect without end": endless(b"HTTP/1.1 302 Found\r\n\r\n", bytes(65_536)),
    "gzip": whole(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIP) + GZIP),
    "no HTTP": whole(b"\x00\x01\x02\x03" * 100),
    "HTTP/0.9": whole(b"just a body\n"),
    "no checkpoint": whole(OK + b"Content-Length: 5\r\n\r\nhello"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_each_lie_ends_in_time_and_is_told(
    founding: Founding, tmp_path: Path, lie: str
) -> None:
    document = encode_genesis(founding.genesis)
    async with serving(founding, tmp_path, LIES[lie]) as url:
        opening = asyncio.to_thread(WebSource.open, url, founding.genesis, document)
        with mock.patch.object(exchange, "EXCHANGE_S", EXCHANGE_S), pytest.raises(CannotAudit):
            await asyncio.wait_for(opening, PATIENCE_S)


async def test_a_monitor_tells_of_them_and_goes_on(founding: Founding, tmp_path: Path) -> None:
    genesis = founding.genesis
    async with serving(founding, tmp_path, LIES["a slow body"]) as url:
        watching = Monitor(
            [url, "https://x:99999", "https://.x", "https://[x", "https://a b:1", "http://x:1"],
            genesis,
            encode_genesis(genesis),
            clock_s=lambda: 0,
            stale_s=60,
        )
        with mock.patch.object(exchange, "EXCHANGE_S", EXCHANGE_S):
            found = await asyncio.wait_for(asyncio.to_thread(watching.look), PATIENCE_S)
    assert all(one.trouble for one in found.seen)
    assert (found.split, found.believed) == ((), 0)
    assert "timed out" in found.seen[0].trouble or "took too long" in found.seen[0].trouble


async def test_an_answer_left_over_is_not_the_next_one(founding: Founding, tmp_path: Path) -> None:
    """A body longer than it may be, with a whole answer inside: the connection is not used again."""
    inside = OK + b"Content-Length: 2\r\n\r\nok"
    body = bytes(NOTE_BYTES_MAX + 1) + inside
    answer = whole(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    async with serving(founding, tmp_path, answer) as url:
        held = exchange.Exchanges(url, _any())
        with pytest.raises(Lost, match="more than"):
            await asyncio.to_thread(held.get, "checkpoint.full", NOTE_BYTES_MAX)
        with pytest.raises(Lost, match="more than"):
            await asyncio.to_thread(held.get, "checkpoint.full", NOTE_BYTES_MAX)
        held.close()


async def test_another_certificate_after_a_closed_connection_is_refused(
    founding: Founding, tmp_path: Path
) -> None:
    closing = whole(OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok")
    async with serving(founding, tmp_path, closing) as url:
        held = exchange.Exchanges(url, _any())
        assert await asyncio.to_thread(held.get, "a", 10) == b"ok"
        assert await asyncio.to_thread(held.get, "a", 10) == b"ok"
        held.shown = b"another"
        with pytest.raises(CannotAudit, match="another certificate"):
            await asyncio.to_thread(held.get, "a", 10)


def _any() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize(
    "url",
    [
        *("", "https://", "https://:443", "https://x:0x1", "https://x:65536", "https://x:-1"),
        *("http://x", "ftp://x", "https://x/path", "https://x..y", "https://" + "a" * 64),
        *("https://[::1", "https://a\u2028b", "https://a\x7fb", "https://\ud800"),
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(CannotAudit):
        address_of(url)


def test_addresses() -> None:
    assert address_of("https://ke.example:8443") == ("ke.example", 8443)
    assert address_of("https://ke.example/") == ("ke.example", 443)
    assert address_of("https://[::1]:1") == ("::1", 1)

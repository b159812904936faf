"""One HTTPS request to a stranger: its whole answer is bounded in bytes, and the whole exchange in time.

The answer is read to its end before a byte of it is looked at, then `http.client` reads it from memory, so that nothing in it can
make this side wait or hold more. Redirects are not followed and content codings not undone.
"""

import asyncio
import io
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from node.signing.transport import encrypting

PORT = 443
URL_CHARACTERS_MAX = 2_000


class BadUrl(ValueError):
    """Says what would have been right."""


class BadHttp(OSError):
    """What came back is no HTTP answer, or a longer one than it may be."""


def parse_url(url: str) -> tuple[str, int, str]:
    """Host, port and path, without its last slash, of https://host:port/path. Raises BadUrl."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORT
        host.encode("idna")
    except ValueError as err:
        raise BadUrl(f"{url[:80]!r}: {err}") from err
    plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    if parts.scheme != "https" or not host or not plain or len(url) > URL_CHARACTERS_MAX:
        raise BadUrl(f"{url[:80]!r}: want https://host:port/path")
    if parts.query or parts.fragment:
        raise BadUrl(f"{url[:80]!r}: want no query and no fragment")
    return host, port, parts.path.rstrip("/")


async def post(url: str, body: bytes, *, seconds: float, bytes_max: int) -> tuple[int, bytes]:
    """Status and body. `bytes_max`: of all that comes. Raises OSError, TimeoutError and BadHttp among them."""
    return await _exchange("POST", url, body, seconds, bytes_max)


async def get(url: str, *, seconds: float, bytes_max: int) -> tuple[int, bytes]:
    """The same."""
    return await _exchange("GET", url, b"", seconds, bytes_max)


async def _exchange(
    method: str, url: str, body: bytes, seconds: float, bytes_max: int
) -> tuple[int, bytes]:
    host, port, path = parse_url(url)
    named = f"[{host}]" if ":" in host else host
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {named}:{port}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    )
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(host, port, ssl=encrypting())
        try:
            writer.write(head.encode("ascii") + body)
            await writer.drain()
            answer = await _all_of(reader, bytes_max)
        finally:
            writer.transport.abort()  # a polite end would wait for the other side
    return _read(answer, method)


async def _all_of(reader: asyncio.StreamReader, bytes_max: int) -> bytes:
    found = bytearray()
    while chunk := await reader.read(bytes_max + 1 - len(found)):
        found += chunk
        if len(found) > bytes_max:
            raise BadHttp(f"the answer has more than {bytes_max} bytes")
    return bytes(found)


class _Memory:
    """As much of a socket as `http.client` reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        assert mode == "rb", f"http.client reads: {mode}"
        return io.BytesIO(self._data)


def _read(answer: bytes, method: str) -> tuple[int, bytes]:
    memory: Any = _Memory(answer)
    response = HTTPResponse(memory, method=method)
    try:
        response.begin()
        return response.status, response.read()
    except (
        HTTPException,
        ValueError,
        OverflowError,
    ) as err:  # a size below zero, or beyond any memory's
        raise BadHttp(f"the answer is no HTTP: {err!r:.200}") from err
    finally:
        response.close()

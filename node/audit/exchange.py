"""One HTTPS connection to a stranger: what it answers is bounded in bytes, and each exchange in time, however slowly it drips.

`http.client` bounds the length of each line and its socket each wait; neither ends a body that comes one byte a time, or a
status line "100 Continue" without end. Here a whole exchange, from the request to the last byte of the body, has one deadline.
Redirects are not followed and content codings not undone: what is meant is what was asked for, or it is no answer.
"""

import http.client
import io
import ssl
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from node.audit.source import CannotAudit, Lost

CONNECT_S: Final = 20.0
EXCHANGE_S: Final = 60.0  # for the largest answer, 16 MiB: 0.3 MB/s
FRAMING_BYTES_MAX: Final = 1 << 20  # headers, chunk sizes, trailers
WHY_BYTES: Final = 300
PORT: Final = 443


def address_of(url: str) -> tuple[str, int]:
    """Host and port of https://host:port. Raises CannotAudit: members list these addresses, so they may be anything."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORT
        host.encode("idna")
    except ValueError as err:
        raise CannotAudit(f"{url}: {err}: want https://host:port") from err
    plain = host.isprintable() and not any(character.isspace() for character in host)
    if parts.scheme != "https" or not host or not plain or parts.path not in ("", "/"):
        raise CannotAudit(f"{url}: want https://host:port, as the genesis lists it")
    return host, port


class Exchanges:
    """Opened anew when the other side closes it; then it must show the certificate that it showed first."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        """Raises CannotAudit: no address."""
        host, port = address_of(url)
        self._url = url
        self._connection = http.client.HTTPSConnection(
            host, port, timeout=CONNECT_S, context=context
        )
        self._connection.auto_open = 0  # or it would connect without looking at the certificate
        self._socket: _Timed | None = None
        self.shown: bytes | None = None  # its certificate, DER

    def connect(self) -> None:
        """Raises OSError, CannotAudit: another certificate than the one shown first."""
        self._connection.connect()
        tls = self._connection.sock
        shown = tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLSocket) else None
        if shown is None or self.shown not in (None, shown):
            self.close()
            raise CannotAudit(f"{self._url}: shows another certificate than before: ask it anew")
        self.shown = shown
        self._socket = self._connection.sock = _Timed(tls)

    def get(self, path: str, bytes_max: int) -> bytes:
        """The body at /`path`. Raises OSError (a TimeoutError too), HTTPException, CannotAudit; Lost for any other answer."""
        try:
            return self._get(path, bytes_max)
        except (ConnectionError, http.client.RemoteDisconnected):
            self.close()
            return self._get(path, bytes_max)

    def _get(self, path: str, bytes_max: int) -> bytes:
        if self._connection.sock is None or self._socket is None:
            self.connect()
        assert self._socket is not None, "connected"
        self._socket.begin(EXCHANGE_S, 2 * bytes_max + FRAMING_BYTES_MAX)
        try:
            self._connection.request("GET", f"/{path}")
            with self._connection.getresponse() as answer:
                body = answer.read(bytes_max + 1)
        except (OSError, http.client.HTTPException):
            self.close()  # what is left of it would be taken for the next answer
            raise
        except ValueError as err:  # so http.client meets a chunk of a negative size
            self.close()
            raise http.client.HTTPException(f"the answer is no HTTP: {err}") from err
        if answer.status != http.HTTPStatus.OK:
            self.close()
            why = body[:WHY_BYTES].decode("utf-8", "replace").strip()
            raise Lost(f"{path}: {answer.status}: {why}", path)
        if len(body) > bytes_max:
            self.close()
            raise Lost(f"{path}: more than {bytes_max} bytes", path)
        return body

    def close(self) -> None:
        self._connection.close()
        if self._socket is not None:
            self._socket.abort()


class _Timed:
    """A socket as far as `http.client` uses one, whose reads and writes of an exchange share one deadline."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock
        self._ends = 0.0
        self._bytes_left = 0
        self._readers = 0
        self._closed = False

    def begin(self, seconds: float, bytes_max: int) -> None:
        """`bytes_max`: of all that may come. A chunk of size -1 would else be read into memory until the end of the stream."""
        self._ends = time.monotonic() + seconds
        self._bytes_left = bytes_max

    def wait(self) -> None:
        """Let the next call wait as long as is left. Raises TimeoutError."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left)

    def sendall(self, data: Any) -> None:
        self.wait()
        self._sock.sendall(data)

    def recv_into(self, buffer: Any) -> int:
        self.wait()
        count = self._sock.recv_into(buffer)
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise http.client.HTTPException("the answer is far longer than it may be")
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb", f"http.client reads: {mode}"
        self._readers += 1
        return io.BufferedReader(_Reader(self.recv_into, self._reader_closed))

    def close(self) -> None:
        """Once no answer is being read from it any more: `http.client` closes before it reads the last one."""
        self._closed = True
        if not self._readers:
            self._sock.close()

    def abort(self) -> None:
        self._sock.close()

    def _reader_closed(self) -> None:
        self._readers -= 1
        if self._closed:
            self.close()


class _Reader(io.RawIOBase):
    def __init__(self, recv_into: Callable[[Any], int], closed: Callable[[], None]) -> None:
        super().__init__()
        self._recv_into = recv_into
        self._told = closed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._told()

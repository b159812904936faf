"""HTTP listeners: one with the node's certificate for everybody, one plain on this machine for metrics."""

import asyncio
import logging
import os
import socket
import ssl
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from node.api.door import Door, shrink_tls_buffers
from node.settings import host_and_port
from node.signing.transport import TransportIdentity
from node.telemetry import METRICS_TYPE, Metrics

BACKLOG: Final = 128
KEEP_ALIVE_S: Final = 10
REQUEST_S: Final = 10.0  # to finish the handshake, and again to send a first request
PLACES_SPARE: Final = (
    16  # connections beyond `requests_max`: they are told 503, those beyond are closed
)
CONNECTION_S: Final = 120.0  # for all requests of one connection; the largest bundle has 16 MiB
STOP_GRACE_S: Final = 2
REQUEST_LINE_BYTES_MAX: Final = 16 * 1024


class HttpListener:
    """Serves one application on one address from `start` to `stop`."""

    def __init__(
        self,
        app: Starlette,
        address: str,
        *,
        requests_max: int,
        identity: TransportIdentity | None = None,
    ) -> None:
        """`identity` None: plain HTTP."""
        self._host, self._port = host_and_port(address)
        self._places = requests_max + PLACES_SPARE
        self._task: asyncio.Task[None] | None = None
        context = None if identity is None else server_context(identity)
        self._context = context
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            ws="none",
            http=_patient(self._settle),
            h11_max_incomplete_event_size=REQUEST_LINE_BYTES_MAX,
            limit_concurrency=requests_max,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_GRACE_S,
            ssl_context_factory=None if context is None else lambda *_: context,
        )
        self._server = _Server(config)
        self._door: Door | None = None
        if identity is not None:
            shrink_tls_buffers()

    def show(self, identity: TransportIdentity) -> None:
        """From the next handshake on: the certificate of another seat. Not of plain HTTP."""
        if self._context is not None:
            with _as_file(identity.certificate_pem + identity.private_key_pem) as path:
                self._context.load_cert_chain(path)

    async def start(self) -> None:
        """Answers on return. Raises OSError naming the address if it cannot be had."""
        try:
            listening = socket.create_server(
                (self._host.strip("[]"), self._port),
                family=socket.AF_INET6 if ":" in self._host else socket.AF_INET,
                backlog=BACKLOG,
            )
        except OSError as err:
            address = f"{self._host}:{self._port}"
            raise OSError(f"{address}: cannot listen there: {err.strerror}") from err
        self._door = Door(listening, places=self._places, patience_s=REQUEST_S)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._door]))
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait((ready, self._task), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._task.result()

    @property
    def connections(self) -> int:
        """Open now, handshakes included."""
        return 0 if self._door is None else self._door.open

    def _settle(self, address: object) -> None:
        if self._door is not None:
            self._door.settle(address)

    async def stop(self) -> None:
        """Finish what is under way, for two seconds at most."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


class _Server(uvicorn.Server):
    """Says when it serves; signals are the node's business, not one listener's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class _PatientProtocol(H11Protocol):
    """Patient to a limit: who connects and says nothing, or sends or reads a byte now and then, holds a place no longer."""

    _timers: tuple[asyncio.TimerHandle, ...] = ()
    _arrived: Callable[[object], None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as its base does
        super().connection_made(transport)
        self._arrived(transport.get_extra_info("peername"))
        self._timers = (
            self.loop.call_later(REQUEST_S, self._end_if_silent),
            self.loop.call_later(CONNECTION_S, transport.abort),
        )

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in self._timers:
            timer.cancel()
        super().connection_lost(exc)

    def _end_if_silent(self) -> None:
        if not self.cycle:  # no request was read yet
            self.transport.abort()


def _patient(arrived: Callable[[object], None]) -> type[_PatientProtocol]:
    """The protocol of one listener; `arrived` hears of each peer whose connection stands, TLS included."""
    return type("_PatientProtocol", (_PatientProtocol,), {"_arrived": staticmethod(arrived)})


def server_context(identity: TransportIdentity) -> ssl.SSLContext:
    """TLS 1.2 or newer with the node's certificate; no client certificate is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with _as_file(identity.certificate_pem + identity.private_key_pem) as path:
        context.load_cert_chain(path)
    return context


@contextmanager
def _as_file(data: bytes) -> Iterator[Path]:
    """The bytes under a path, since `ssl` reads keys from files only: in memory where the system can, else a private file."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("foedus-tls", os.MFD_CLOEXEC)
        try:
            os.write(handle, data)
            yield Path(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
        return
    with tempfile.NamedTemporaryFile() as file:  # mode 0600, gone when closed
        file.write(data)
        file.flush()
        yield Path(file.name)


def metrics_app(metrics: Metrics) -> Starlette:
    """`/metrics` in Prometheus's text format."""

    async def show(request: Request) -> Response:
        del request
        return Response(metrics.text(), headers={"content-type": METRICS_TYPE})

    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return Starlette(routes=[Route("/metrics", show)])

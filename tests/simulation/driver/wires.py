"""Calls between members without gRPC: links that delay, lose, double, reorder, are cut, and connections that end.

A `Transport` of `node.network.transport` for each life of a process. What crosses a link is drawn by its weather:

    a message       delayed; with `loss` it never comes, with `duplication` it comes twice, unless `ordered` it may be overtaken
    a cut link      keeps what is sent for when it is mended, as TCP would send it again, or until the connection ends
    a connection    ends when a machine dies, when a cut is noticed or lasts for KEEPALIVE_S, and by `reset`

The names of calls, statuses and errors are gRPC's, as far as node.network knows them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final, NoReturn, Protocol

import grpc
from grpc import StatusCode

from node.network.certificates import SHOWN_CERTIFICATE_KEY, PeerCertificate
from node.signing.transport import TransportIdentity
from tests.simulation.driver.loop import VirtualLoop, World

KEEPALIVE_S: Final = 15.0
WINDOW: Final = 32  # frames on their way to a reader, or unread there, before its writer waits
MS: Final = 1_000
Link = tuple[int, int]
Tap = Callable[[int, int, str, bytes], Sequence[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Chances are per message, in thousandths."""

    delay_min_ms: int
    delay_max_ms: int
    loss: int = 0
    duplication: int = 0
    straggler: int = 0  # chance of `straggler_ms` instead
    straggler_ms: int = 0
    ordered: bool = True


class Process(Protocol):
    """One life of a machine, as the wires see it."""

    @property
    def seat(self) -> int: ...

    @property
    def loop(self) -> VirtualLoop: ...


class Aborted(Exception):
    """What `abort` raises in a handler."""


class Wires:
    """All links of a network. `tap` sees each message and says what goes in its place: `tap(source, target, kind, data)`.

    `kind` is the method's name, with `?` before it for a request. `route(seat, endpoint)` may lead a caller to another listener.
    """

    def __init__(self, world: World, rng: Random, weather: Weather) -> None:
        self.world = world
        self._rng = rng
        self.weather = weather
        self._cut: dict[Link, int] = {}
        self._slow_ms: dict[int, int] = {}  # seat -> extra delay of all it sends
        self._drag_ms: dict[Link, int] = {}  # extra delay of a link
        self._held: dict[Link, list[Callable[[], None]]] = {}
        self._latest: dict[Link, int] = {}
        self.servers: dict[str, Server] = {}
        self.sessions: dict[Session, None] = {}
        self.route: Callable[[int, str], str] = lambda _, endpoint: endpoint
        self.tap: Tap = lambda source, target, kind, data: (data,)
        self.sent = 0
        self.lost = 0

    # Messages

    def send(self, source: int, target: int, arrive: Callable[[], None]) -> bool:
        """False if it is lost: nobody but the simulation knows."""
        self.sent += 1
        weather, draw = self.weather, self._rng.randrange
        link = (source, target)
        if weather.loss and draw(1000) < weather.loss:
            self.lost += 1
            return False
        if link in self._cut:
            self._held.setdefault(link, []).append(arrive)
            return True
        copies = 2 if weather.duplication and draw(1000) < weather.duplication else 1
        for _ in range(copies):
            self._carry(link, arrive)
        return True

    def _carry(self, link: Link, arrive: Callable[[], None]) -> None:
        weather, draw = self.weather, self._rng.randrange
        delay_us = draw(weather.delay_min_ms * MS, weather.delay_max_ms * MS + 1)
        if weather.straggler and draw(1000) < weather.straggler:
            delay_us = weather.straggler_ms * MS
        at = self.world.now_us + delay_us + self._slow_ms.get(link[0], 0) * MS
        at += self._drag_ms.get(link, 0) * MS
        if weather.ordered:
            at = max(at, self._latest.get(link, 0))
            self._latest[link] = at
        self.world.call_at(at, arrive)

    def is_cut(self, source: int, target: int) -> bool:
        return (source, target) in self._cut

    def drag(self, links: Iterable[Link], extra_ms: int) -> Callable[[], None]:
        """Make these links slower until the returned function is called, or all is healed; may overlap."""
        kept = tuple(links)
        for link in kept:
            self._drag_ms[link] = self._drag_ms.get(link, 0) + extra_ms

        def mend() -> None:
            for link in kept:
                self._drag_ms[link] = max(0, self._drag_ms.get(link, 0) - extra_ms)

        return mend

    def cut(self, links: Iterable[Link], *, noticed: bool) -> Callable[[], None]:
        """Cut these links until the returned function is called."""
        kept = tuple(links)
        for link in kept:
            self._cut[link] = self._cut.get(link, 0) + 1
        if noticed:
            self._end_across(kept)
        else:
            self.world.call_in(round(KEEPALIVE_S * 1_000 * MS), partial(self._end_across, kept))

        def mend() -> None:
            for link in kept:
                count = self._cut.get(link, 0) - 1
                if count > 0:
                    self._cut[link] = count
                elif self._cut.pop(link, None) is not None:
                    for arrive in self._held.pop(link, ()):
                        self._carry(link, arrive)

        return mend

    def _end_across(self, links: Iterable[Link]) -> None:
        """Connections over links that are still cut end at both sides."""
        still = {link for link in links if link in self._cut}
        for session in list(self.sessions):
            if (session.client, session.host) in still or (session.host, session.client) in still:
                session.end("the link is cut")

    def slow(self, seat: int, extra_ms: int) -> None:
        self._slow_ms[seat] = extra_ms

    def reset(self, one: int, other: int) -> None:
        """Connections between two members end; what was on its way is lost."""
        for session in list(self.sessions):
            if {session.client, session.host} == {one, other}:
                session.end("reset")

    def heal(self, weather: Weather) -> None:
        self.weather = weather
        self._slow_ms.clear()
        self._drag_ms.clear()
        for link in list(self._cut):
            del self._cut[link]
            for arrive in self._held.pop(link, ()):
                self._carry(link, arrive)

    def died(self, process: Process, *, silent: bool) -> None:
        """A process is gone. Its machine says so to whoever is connected, or is gone too: then they notice by keepalive."""
        for address, server in list(self.servers.items()):
            if server.process is process:
                del self.servers[address]
        ending = [session for session in self.sessions if session.ends_at(process)]

        def end() -> None:
            for session in ending:
                session.end("the process is gone")

        self.world.call_in(round(KEEPALIVE_S * 1_000 * MS) if silent else 0, end)


class SimulatedTransport:
    """A `node.network.transport.Transport`."""

    def __init__(self, wires: Wires, process: Process) -> None:
        self._wires = wires
        self._process = process

    def server(self, *, options: Any, maximum_concurrent_rpcs: int) -> "Server":
        return Server(self._wires, self._process)

    def channel(
        self, endpoint: str, own: TransportIdentity, peer: PeerCertificate, options: Any
    ) -> "Channel":
        return Channel(self._wires, self._process, endpoint, own.certificate_pem)

    async def shown_certificate(self, endpoint: str) -> bytes | None:
        del endpoint
        return None


class Session:
    """One connection: a client's channel and the server it reached."""

    def __init__(self, wires: Wires, channel: "Channel", server: "Server") -> None:
        self._wires = wires
        self._channel = channel
        self.server = server
        self.certificate_pem = channel.certificate_pem
        self.client = channel.process.seat
        self.host = server.process.seat
        self.open = True
        self.handlers: dict[asyncio.Task[Any], None] = {}
        wires.sessions[self] = None

    def ends_at(self, process: Process) -> bool:
        return process in (self._channel.process, self.server.process)

    def end(self, why: str) -> None:
        """Both sides hear of it: calls fail, handlers are cancelled."""
        if not self.open:
            return
        self.open = False
        self._wires.sessions.pop(self, None)
        self._channel.process.loop.call_soon(self._channel.lost, self, why)
        for task in list(self.handlers):
            self.server.process.loop.call_soon(task.cancel)

    def to_server(self, act: Callable[[], object]) -> None:
        self._wires.send(self.client, self.host, partial(self._at, self.server.process, act))

    def to_client(self, act: Callable[[], object]) -> bool:
        return self._wires.send(
            self.host, self.client, partial(self._at, self._channel.process, act)
        )

    def _at(self, process: Process, act: Callable[[], object]) -> None:
        if self.open and process.loop.alive:
            process.loop.enter(act)

    def from_server(self, kind: str, data: bytes) -> Sequence[bytes]:
        return self._wires.tap(self.host, self.client, kind, data)

    def from_client(self, kind: str, data: bytes) -> Sequence[bytes]:
        return self._wires.tap(self.client, self.host, f"?{kind}", data)


class Server:
    """`grpc.aio.Server`."""

    def __init__(self, wires: Wires, process: Process) -> None:
        self.process = process
        self._wires = wires
        self._handlers: tuple[grpc.GenericRpcHandler, ...] = ()
        self._address = ""

    def add_generic_rpc_handlers(self, handlers: tuple[grpc.GenericRpcHandler, ...]) -> None:
        self._handlers = handlers

    def add_secure_port(self, address: str, credentials: Any) -> int:
        if address in self._wires.servers:
            raise RuntimeError(f"{address} is taken")
        self._address = address
        return 1

    async def start(self) -> None:
        self._wires.servers[self._address] = self

    async def stop(self, grace: float | None) -> None:
        self._wires.servers.pop(self._address, None)
        for session in list(self._wires.sessions):
            if session.server is self:
                session.end("the server stops")
        await asyncio.sleep(0)

    def called(self, session: Session, call: "Call", path: str, data: bytes) -> None:
        """A request has come."""
        handler = self._handlers[0].service(_Details(path))
        context = Context(session, call, path.rpartition("/")[2])
        if handler is None:
            call.refuse(session, StatusCode.UNIMPLEMENTED, path)
            return
        behaviour: Any = handler.unary_stream if handler.response_streaming else handler.unary_unary
        task = self.process.loop.create_task(self._handle(behaviour, data, context))
        session.handlers[task] = None
        task.add_done_callback(lambda done: session.handlers.pop(done, None))

    async def _handle(self, behaviour: Any, data: bytes, context: "Context") -> None:
        try:
            answer = await behaviour(data, context)
        except Aborted:
            return
        except asyncio.CancelledError:
            return
        context.finish(answer)


class _Details(grpc.HandlerCallDetails):
    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


class Context:
    """`grpc.aio.ServicerContext`."""

    def __init__(self, session: Session, call: "Call", kind: str) -> None:
        self._session = session
        self._call = call
        self._kind = kind
        self._room = asyncio.Event()
        self._under_way = 0

    def peer(self) -> str:
        return f"sim:{self._session.client}"

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {SHOWN_CERTIFICATE_KEY: (self._session.certificate_pem,)}

    async def abort(self, code: StatusCode, details: str = "") -> NoReturn:
        self._call.refuse(self._session, code, details)
        raise Aborted(details)

    async def send_initial_metadata(self, metadata: Any) -> None:
        self._session.to_client(self._call.began)

    async def write(self, data: bytes) -> None:
        while self._under_way >= WINDOW:
            self._room.clear()
            await self._room.wait()
        for frame in self._session.from_server(self._kind, data):
            self._under_way += 1
            credit = self._credit()
            if not self._session.to_client(partial(self._call.take, frame, credit)):
                credit()

    def _credit(self) -> Callable[[], None]:
        """To be called when the reader has taken a frame: once, though it may come twice. Word of it is not lost."""
        process, is_due = self._session.server.process, True

        def come() -> None:
            nonlocal is_due
            if is_due and process.loop.alive:
                is_due = False
                self._under_way -= 1
                process.loop.enter(self._room.set)

        return come

    def finish(self, answer: bytes | None) -> None:
        call = self._call
        if answer is None:
            self._session.to_client(partial(call.end, StatusCode.OK, ""))
            return
        for data in self._session.from_server(self._kind, answer):
            self._session.to_client(partial(call.end, StatusCode.OK, "", data))


class Channel:
    """`grpc.aio.Channel` to one endpoint; connects at the first call."""

    def __init__(
        self, wires: Wires, process: Process, endpoint: str, certificate_pem: bytes
    ) -> None:
        self.process = process
        self.certificate_pem = certificate_pem
        self._wires = wires
        self._endpoint = endpoint
        self._session: Session | None = None
        self._calls: dict[Call, None] = {}

    def unary_unary(self, path: str) -> Callable[..., Any]:
        async def ask(request: bytes, *, timeout: float) -> bytes:
            call = self._begin(path, request)
            try:
                async with asyncio.timeout(timeout):
                    await call.ended.wait()
            except TimeoutError:
                call.end(StatusCode.DEADLINE_EXCEEDED, f"no answer within {timeout:g} s")
            self._calls.pop(call, None)
            call.raise_for_status()
            return call.answer or b""

        return ask

    def unary_stream(self, path: str) -> Callable[[bytes], "Call"]:
        return partial(self._begin, path)

    def _begin(self, path: str, request: bytes) -> "Call":
        call = Call(self)
        self._calls[call] = None
        session = self._connected()
        if session is None:
            self.process.loop.call_soon(call.end, StatusCode.UNAVAILABLE, "nobody listens there")
        else:
            for data in session.from_client(path.rpartition("/")[2], request):
                session.to_server(partial(session.server.called, session, call, path, data))
        return call

    def _connected(self) -> Session | None:
        if self._session is None or not self._session.open:
            server = self._wires.servers.get(self._wires.route(self.process.seat, self._endpoint))
            self._session = None if server is None else Session(self._wires, self, server)
        return self._session

    def lost(self, session: Session, why: str) -> None:
        if session is self._session:
            for call in list(self._calls):
                call.end(StatusCode.UNAVAILABLE, why)
            self._calls.clear()

    def forget(self, call: "Call") -> None:
        self._calls.pop(call, None)

    async def close(self) -> None:
        for call in list(self._calls):
            call.end(StatusCode.CANCELLED, "the channel is closed")
        self._calls.clear()
        if self._session is not None:
            self._session.end("the client has closed")
        await asyncio.sleep(0)


class Call:
    """`grpc.aio.UnaryStreamCall`, and the client's side of a unary one."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._metadata = asyncio.Event()
        self.ended = asyncio.Event()
        self._some = asyncio.Event()
        self._frames: deque[tuple[bytes, Callable[[], None]]] = deque()
        self._status: tuple[StatusCode, str] | None = None
        self.answer: bytes | None = None

    # What comes from the server

    def began(self) -> None:
        self._metadata.set()

    def take(self, frame: bytes, credit: Callable[[], None]) -> None:
        self._frames.append((frame, credit))
        self._some.set()

    def end(self, code: StatusCode, details: str, answer: bytes | None = None) -> None:
        if self._status is not None:
            return
        self._status = (code, details)
        self.answer = answer
        self._metadata.set()
        self._some.set()
        self.ended.set()
        self._channel.forget(self)

    def refuse(self, session: Session, code: StatusCode, details: str) -> None:
        session.to_client(partial(self.end, code, details))

    # What node.network.link asks

    async def initial_metadata(self) -> None:
        await self._metadata.wait()

    def done(self) -> bool:
        return self._status is not None

    async def code(self) -> StatusCode:
        assert self._status is not None, "asked before the end"
        return self._status[0]

    async def details(self) -> str:
        assert self._status is not None, "asked before the end"
        return self._status[1]

    def cancel(self) -> None:
        self.end(StatusCode.CANCELLED, "by the reader")
        session = self._channel._session
        if session is not None:
            session.end("the reader has left")

    async def read(self) -> Any:
        while not self._frames:
            if self._status is not None:
                self.raise_for_status()
                return grpc.aio.EOF
            self._some.clear()
            await self._some.wait()
        frame, credit = self._frames.popleft()
        credit()
        return frame

    def raise_for_status(self) -> None:
        assert self._status is not None, "asked before the end"
        code, details = self._status
        if code is not StatusCode.OK:
            nothing = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(code, nothing, nothing, details)

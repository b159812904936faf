"""Our side of one connection: dial a member, read its stream, ask it things. Dialled again whenever it ends.

The pause before dialling again doubles up to `PAUSE_MAX_S` and starts anew once a stream has lived; when the member dials us it
ends early. A new channel each time: an address that moved is looked up again, and no connection that died in silence is kept.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from typing import Any, Final

import grpc

from consensus.types import Round
from node.network import wire
from node.network.certificates import PeerCertificate
from node.network.doorkeeper import MALFORMED_POINTS, Doorkeeper
from node.network.hosting import Heard, Rejected
from node.network.service import SERVICE
from node.network.transport import Transport
from node.network.wire import Chain, MalformedMessage
from node.signing.transport import TransportIdentity
from node.telemetry import event

CONNECT_S: Final = 10.0
HANDSHAKE_MS: Final = 5_000
REQUEST_S: Final = 5.0
REQUESTS_MAX: Final = 16  # under way to one peer; the core asks again for what is refused here
PAUSE_FIRST_S: Final = 0.1
PAUSE_MAX_S: Final = 3.0
POKED_S: Final = 0.5
STEADY_S: Final = 5.0  # a stream that lived so long was a good one
_log = logging.getLogger("foedus.network")


class Unanswered(Exception):
    """The peer gave no answer that can be used: says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One member as the register has it."""

    certificate: PeerCertificate
    endpoint: str  # host:port


class Link:
    """One member, dialled. `connected` tells whether its stream is being read."""

    def __init__(
        self,
        peer: Peer,
        *,
        own: int,
        identity: TransportIdentity,
        chain: Chain,
        heard: Heard,
        door: Doorkeeper,
        transport: Transport,
    ) -> None:
        self.member = peer.certificate.member
        self.connected = False
        self._peer = peer
        self._identity = identity
        self._chain = chain
        self._heard = heard
        self._door = door
        self._transport = transport
        self.unpinned = False  # dial by what the server shows: all pins fail (R48)
        self._is_shown = False  # the connection that stands was made so
        self._channel: Any = None
        self._slots = REQUESTS_MAX
        self._poked = asyncio.Event()
        # Members that lost one peer do not all dial it again at one instant.
        self._spread_s = 0.01 * ((7 * own + self.member) % 10)

    async def run(self) -> None:
        """Until cancelled."""
        pause = PAUSE_FIRST_S
        while True:
            await asyncio.sleep(self._door.penalty_s(self.member))
            began = self._door.monotonic()
            why = await self._connection()
            if self._door.monotonic() - began > STEADY_S:
                pause = PAUSE_FIRST_S
            level = logging.INFO if self.connected else logging.DEBUG
            if self.connected:
                self.connected = False
                self._heard.stream_ended(self.member)
            state = self._peer.certificate.state
            event(_log, "peer not read", level=level, peer=state, why=why)
            await self._pause(pause + self._spread_s)
            pause = min(PAUSE_MAX_S, 2 * pause)

    def poke(self) -> None:
        """The member has just dialled us, so it can be dialled: a pause under way ends now."""
        self._poked.set()

    def renew(self, certificate: PeerCertificate, identity: TransportIdentity) -> None:
        """From the next time on it is dialled by these; a connection that stands stays."""
        self._peer = replace(self._peer, certificate=certificate)
        self._identity = identity

    async def _pause(self, seconds: float) -> None:
        self._poked.clear()
        # However often a member dials us, it makes us dial no more than twice a second.
        await asyncio.sleep(min(seconds, POKED_S))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._poked.wait(), max(0.0, seconds - POKED_S))

    async def ask(self, method: str, request: bytes) -> bytes:
        """One request, one answer. Raises Unanswered."""
        channel = self._channel
        if channel is None or not self.connected:
            raise Unanswered("not connected")
        if self._slots < 1:
            raise Unanswered(f"{REQUESTS_MAX} requests are under way")
        self._slots -= 1
        try:
            call: Any = channel.unary_unary(f"/{SERVICE}/{method}")
            answer: bytes = await call(request, timeout=REQUEST_S)
        except grpc.aio.AioRpcError as err:
            raise Unanswered(f"{err.code().name}: {err.details()}") from None
        except asyncio.CancelledError:
            # A channel that is closed cancels its calls; our own task is cancelled only at the end.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unanswered("the connection ended") from None
        finally:
            self._slots += 1
        return answer

    @property
    def is_pinned(self) -> bool:
        """Whether it is read, and its certificate is one of the register."""
        return self.connected and not self._is_shown

    async def _peer_to_dial(self) -> Peer:
        """The register's; after a long absence also whoever answers there: what is read is proven block by block (R48)."""
        peer, self._is_shown = self._peer, False
        shown = await self._transport.shown_certificate(peer.endpoint) if self.unpinned else None
        if shown is None or shown in peer.certificate.certificates:
            return peer
        self._is_shown = True
        event(_log, "peer dialled by the certificate it shows", peer=peer.certificate.state)
        # Alone: among two roots of one subject the wrong one may be taken for its issuer.
        return replace(peer, certificate=replace(peer.certificate, certificate_pem=shown, also=()))

    async def _connection(self) -> str:
        """Dial, and read to the end of the stream. Returns why it ended."""
        peer = await self._peer_to_dial()
        self._channel = self._transport.channel(
            peer.endpoint,
            self._identity,
            peer.certificate,
            _OPTIONS,
        )
        try:
            return await self._read(self._channel)
        except grpc.aio.AioRpcError as err:
            return f"{err.code().name}: {err.details()}"
        except TimeoutError:
            return f"no answer within {CONNECT_S:g} s"
        finally:
            channel, self._channel = self._channel, None
            await channel.close()

    async def _read(self, channel: Any) -> str:
        after = self._heard.newest_round_of(self.member)
        open_stream: Any = channel.unary_stream(f"/{SERVICE}/Subscribe")
        call = open_stream(wire.write_subscribe(wire.Subscribe(self._chain, Round(after))))
        async with asyncio.timeout(CONNECT_S):
            # A server that refuses ends the call here: initial metadata alone says nothing.
            await call.initial_metadata()
        if call.done():
            return f"{(await call.code()).name}: {await call.details()}"
        self.connected = True
        self._heard.stream_opened(self.member)
        event(_log, "peer is read", peer=self._peer.certificate.state, after=after)
        account = self._door.account(self.member)
        while (data := await call.read()) is not grpc.aio.EOF:
            now = self._door.monotonic()
            wait_s = max(account.read.wait_s(len(data), now), account.frames.wait_s(1, now))
            if wait_s > 0:
                # Not read, not answered: flow control slows the peer down, and us it costs nothing.
                await asyncio.sleep(wait_s)
            try:
                await self._take(wire.read_frame(data))
            except MalformedMessage as err:
                self._door.charge(self.member, str(err), MALFORMED_POINTS)
            except Rejected as err:
                self._door.charge(self.member, str(err), err.points)
            if self._door.penalty_s(self.member) > 0:
                call.cancel()
                return "left alone for what it sent"
        return f"{(await call.code()).name}: {await call.details()}"

    async def _take(self, frame: wire.Frame) -> None:
        match frame:
            case wire.Bundle(blocks):
                await self._heard.bundle(self.member, blocks)
            case wire.Wake(round_):
                self._heard.wake(self.member, round_)
            case wire.Cosigned(lines):
                self._heard.cosigned(self.member, lines)


_OPTIONS: Final = (
    ("grpc.max_receive_message_length", wire.MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", wire.REQUEST_BYTES_MAX),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Despite its name the time that TCP and TLS together may take: three or four round trips, between far states and with loss.
    ("grpc.min_reconnect_backoff_ms", HANDSHAKE_MS),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
)

"""The node among its peers: one listener, one link to each other member.

network = Network(...)
await network.start()                listens
await network.run()                  dials and reads, until cancelled; raises what stops the node
network.send(member, frame)          to a member's stream, if it reads; never waits
await network.fetch(member, ...)     ask, or Unanswered
await network.stop()
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from consensus.types import CommitIndex, Ref, Round, ValidatorIndex
from node.network import wire
from node.network.certificates import CertificateRegister, PeerCertificate
from node.network.doorkeeper import MALFORMED_POINTS, Doorkeeper, Handshakes
from node.network.hosting import Heard, Hosted, Rejected
from node.network.link import Link, Peer
from node.network.listener import Listener
from node.network.service import PeerService
from node.network.transport import GrpcTransport, Transport
from node.network.wire import Chain, MalformedMessage
from node.signing.transport import TransportIdentity
from node.telemetry import Metrics

PINS_LOOK_S: Final = 1.0
PINS_FAIL_S: Final = 20.0  # so long no member could be reached by the register's certificates
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a member's node stands towards this one."""

    member: int
    reads_us: bool
    is_read: bool


class Network:
    """See the module's text. Used from one event loop."""

    def __init__(
        self,
        *,
        own: int | None,
        peers: Sequence[Peer],
        identity: TransportIdentity,
        address: str,
        chain: Chain,
        hosted: Hosted,
        heard: Heard | None,
        metrics: Metrics,
        transport: Transport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        listener: Listener | None = None,
    ) -> None:
        """`peers[i]` is member i, the own one included; a guest has no endpoint and is not dialled. `address` is where to listen.

        `own` None: an observer, who validates in another epoch. `heard` None: an epoch that is over: its members are answered,
        and nobody is dialled. `transport` carries the calls (gRPC over TLS); `monotonic` gives the seconds of pauses and budgets.
        `listener`: the node's port, if it has one already; whoever made it starts and stops it.
        """
        self._own = own
        self._peers = list(peers)
        self._identity = identity
        self._transport = transport or GrpcTransport()
        self._has_own_listener = listener is None
        self.listener = listener or Listener(
            address, self._transport, Handshakes(metrics, monotonic)
        )
        self._states = [peer.certificate.state for peer in peers]
        self._door = Doorkeeper(
            own=own,
            states=self._states,
            register=CertificateRegister(peer.certificate for peer in peers),
            chain=chain,
            metrics=metrics,
            handshakes=self.listener.handshakes,
            monotonic=monotonic,
        )
        self._fault: asyncio.Future[None] | None = None
        self._chain = chain
        self.service = PeerService(
            self._door, hosted, self._states, metrics, self._on_reader, self._fail
        )
        self._links: dict[int, Link] = {}
        if heard is not None:
            self._links = {
                peer.certificate.member: Link(
                    peer,
                    own=len(peers) if own is None else own,
                    identity=identity,
                    chain=chain,
                    heard=heard,
                    door=self._door,
                    transport=self._transport,
                )
                for peer in peers
                if peer.certificate.member != own and peer.endpoint
            }

    async def start(self) -> None:
        """Answer from now on, for this epoch. Raises OSError naming the address."""
        self._fault = asyncio.get_running_loop().create_future()
        self.listener.attach(self._chain.epoch, self.service)
        if self._has_own_listener:
            certificates = [pem for peer in self._peers for pem in peer.certificate.certificates]
            self.listener.show(self._identity, certificates)
            await self.listener.start(len(self._peers))

    def renew(self, certificates: Sequence[PeerCertificate], identity: TransportIdentity) -> None:
        """The register changed: who is let in and by what. Members first, in order; after them guests, of whom none goes."""
        self._door.renew(
            [certificate.state for certificate in certificates], CertificateRegister(certificates)
        )
        for certificate in certificates:
            link = self._links.get(certificate.member)
            if link is not None:
                link.renew(certificate, identity)

    async def run(self) -> None:
        """Dial everybody and keep reading. Raises StorageError or AssertionError met in a handler."""
        assert self._fault is not None, "start before run"
        async with asyncio.TaskGroup() as tasks:
            for link in self._links.values():
                tasks.create_task(link.run(), name=f"link {link.member}")
            tasks.create_task(self._watch_pins(), name="pins")
            if self._has_own_listener:
                tasks.create_task(self.listener.count_handshakes(), name="handshakes")
            await self._fault

    async def stop(self) -> None:
        """Leave the peers: their streams end, calls under way get a moment."""
        self.service.close()
        self.listener.detach(self._chain.epoch)
        if self._has_own_listener:
            await self.listener.stop()

    # What the engine does with it

    def members(self) -> list[int]:
        """All members but this one, ascending."""
        return sorted(self._links)

    def is_connected(self, member: int) -> bool:
        """Whether this member can be asked now."""
        return self._links[member].connected

    def is_reader(self, member: int) -> bool:
        """Whether this member reads from us."""
        return member in self.service.readers

    def send(self, member: int, frame: bytes) -> None:
        """Queue a frame for this member, if it reads. Never waits: what does not fit is dropped."""
        self.service.send(member, frame)

    def broadcast(self, frame: bytes) -> None:
        for member in list(self.service.readers):
            self.service.send(member, frame)

    def charge(self, member: int, why: str, points: float) -> None:
        """Something of this member's that no honest one sends."""
        self._door.charge(member, why, points)

    @property
    def outbox_bytes(self) -> tuple[int, int]:
        """What waits for readers now, and the most that may."""
        return self.service.outbox_bytes

    def standings(self) -> list[Standing]:
        return [
            Standing(
                member=member,
                reads_us=member in self.service.readers,
                is_read=self._links[member].connected,
            )
            for member in self.members()
        ]

    # Asking; each raises Unanswered, and Rejected where the answer is none: for the caller to charge

    async def fetch(self, member: int, refs: tuple[Ref, ...], known_round: Round) -> wire.Fetched:
        request = wire.write_fetch(wire.Fetch(self._chain, refs, known_round))
        return await self._ask(member, "Fetch", request, wire.read_fetched)

    async def fetch_range(self, member: int, first: Round, last: Round) -> wire.Ranged:
        request = wire.write_range(wire.FetchRange(self._chain, first, last))
        return await self._ask(member, "FetchRange", request, wire.read_ranged)

    async def fetch_below(self, member: int, after_commit: CommitIndex) -> wire.Below:
        request = wire.write_below(wire.FetchBelow(self._chain, after_commit))
        return await self._ask(member, "FetchBelow", request, wire.read_below_answer)

    async def fetch_commits(
        self, member: int, first: CommitIndex, last: CommitIndex
    ) -> wire.Commits:
        request = wire.write_commits(wire.FetchCommits(self._chain, first, last))
        return await self._ask(member, "FetchCommits", request, wire.read_commits_answer)

    async def fetch_listed(self, member: int, refs: tuple[Ref, ...]) -> tuple[bytes, ...]:
        request = wire.write_listed(wire.FetchListed(self._chain, refs))
        return await self._ask(member, "FetchListed", request, wire.read_listed_answer)

    async def newest(self, member: int, author: ValidatorIndex) -> bytes | None:
        request = wire.write_newest(wire.GetNewest(self._chain, author))
        return await self._ask(member, "GetNewestBlock", request, wire.read_newest_answer)

    async def cosignatures(self, member: int, size: int) -> tuple[bytes, ...]:
        request = wire.write_cosignatures(wire.GetCosignatures(self._chain, size))
        return await self._ask(member, "GetCosignatures", request, wire.read_lines)

    async def hand_over(self, member: int, entries: tuple[bytes, ...]) -> int:
        """How many of them the member takes."""
        request = wire.write_hand_over(wire.HandOver(self._chain, entries))
        return await self._ask(member, "HandOver", request, wire.read_taken)

    async def _ask(self, member: int, method: str, request: bytes, read: Callable[[bytes], T]) -> T:
        data = await self._links[member].ask(method, request)
        try:
            return read(data)
        except MalformedMessage as err:
            raise Rejected(f"{method}: {err}", MALFORMED_POINTS) from None

    def _on_reader(self, member: int) -> None:
        if (link := self._links.get(member)) is not None:
            link.poke()

    async def _watch_pins(self) -> None:
        """Where no member can be reached by the register's certificates, they are too old: see `Link.unpinned` (R48)."""
        failing_since = self._door.monotonic()
        while True:
            await asyncio.sleep(PINS_LOOK_S)
            now = self._door.monotonic()
            if any(link.is_pinned for link in self._links.values()):
                failing_since = now
            for link in self._links.values():
                link.unpinned = now - failing_since >= PINS_FAIL_S

    def _fail(self, err: BaseException) -> None:
        if self._fault is not None and not self._fault.done():
            self._fault.set_exception(err)

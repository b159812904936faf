"""Who may call, and how much: the checks before every handler, and what peers have spent.

Each refusal has a status, a log line and a metric (`foedus_peer_refused`, by why):

    tls       the handshake did not come to an end: no member's certificate, or no TLS at all
    stranger  TLS passed, but the certificate is not in the register (RULINGS R47)
    chain     another ledger or epoch
    malformed bytes that are no such request: charged
    penalty   the caller has spent its score
    budget    its requests or bytes are spent; they come back with time

gRPC does not tell a server of handshakes that fail. It asks for our certificate at each one, so those that no call has followed
within `HANDSHAKE_S` are counted as refused.
"""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, Protocol, TypeVar

import grpc
from grpc import StatusCode
from prometheus_client import Counter

from node.network.budget import Bucket, Score
from node.network.certificates import CertificateRegister, UnknownPeer
from node.network.wire import Chain, MalformedMessage
from node.telemetry import Metrics, event

REQUESTS_PER_S: Final = 200.0
SERVED_BYTES_PER_S: Final = 8.0 * 1024 * 1024  # SPEC 13
READ_BYTES_PER_S: Final = 32.0 * 1024 * 1024
READ_FRAMES_PER_S: Final = 2_000.0
BURST_S: Final = 2.0  # of each budget

MALFORMED_POINTS: Final = 20.0
HANDSHAKE_S: Final = 12.0  # gRPC's own limit for one is 10 s
HANDSHAKES_MAX: Final = 4_096
ADDRESSES_MAX: Final = 4_096
_log = logging.getLogger("foedus.network")

Context = grpc.aio.ServicerContext[Any, Any]


class ChainRequest(Protocol):
    @property
    def chain(self) -> Chain: ...


R = TypeVar("R", bound=ChainRequest)


class Account:
    """What one member may still cost us."""

    def __init__(self, now: float) -> None:
        self.requests = _bucket(REQUESTS_PER_S, now)
        self.served = _bucket(SERVED_BYTES_PER_S, now)
        self.read = _bucket(READ_BYTES_PER_S, now)
        self.frames = _bucket(READ_FRAMES_PER_S, now)
        self.score = Score(now)


def _bucket(rate: float, now: float) -> Bucket:
    return Bucket(rate=rate, burst=BURST_S * rate, now=now)


class Handshakes:
    """Connections that were accepted and of which nothing was heard since."""

    def __init__(self, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._begun: deque[float] = deque(maxlen=HANDSHAKES_MAX)
        self._addresses: OrderedDict[str, None] = OrderedDict()
        self._refused = refused_counter(metrics)

    def begun(self) -> None:
        """From any thread: a connection was accepted."""
        self._begun.append(self._monotonic())

    def seen(self, address: str) -> None:
        """A call came from there, so a handshake came to its end."""
        if address in self._addresses:
            return
        self._addresses[address] = None
        if len(self._addresses) > ADDRESSES_MAX:
            self._addresses.popitem(last=False)
        if self._begun:
            self._begun.popleft()

    def count_failed(self) -> None:
        """Each second: what began long ago and was never heard of."""
        before = self._monotonic() - HANDSHAKE_S
        failed = 0
        while self._begun and self._begun[0] < before:
            self._begun.popleft()
            failed += 1
        if failed:
            self._refused.labels("tls").inc(failed)
            why = "no call followed the handshake: not a member's certificate, or no TLS"
            event(
                _log,
                "peer refused",
                level=logging.WARNING,
                status="tls",
                connections=failed,
                why=why,
            )


def refused_counter(metrics: Metrics) -> Counter:
    return metrics.counter(
        "foedus_peer_refused", "Connections and calls of peers refused, by why.", ("why",)
    )


class Doorkeeper:
    """One per epoch. Used from the event loop."""

    def __init__(
        self,
        *,
        own: int | None,
        states: list[str],
        register: CertificateRegister,
        chain: Chain,
        metrics: Metrics,
        handshakes: Handshakes,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`states[i]` is member i's code, for log and metrics; `monotonic` gives seconds, from any thread."""
        self.monotonic = monotonic
        self._own = own
        self._states = states
        self._register = register
        self._chain = chain
        self._accounts = [Account(monotonic()) for _ in states]
        self._handshakes = handshakes
        self._refused = refused_counter(metrics)
        self._charged = metrics.counter(
            "foedus_peer_charged", "Faults charged to a peer.", ("state",)
        )

    def account(self, member: int) -> Account:
        return self._accounts[member]

    def penalty_s(self, member: int) -> float:
        """Seconds for which this member is still left alone."""
        return self._accounts[member].score.penalty_s(self.monotonic())

    def charge(self, member: int, why: str, points: float) -> None:
        """Something of this member's that no honest one sends."""
        state = self._states[member]
        self._charged.labels(state).inc()
        event(_log, "peer charged", level=logging.WARNING, peer=state, points=points, why=why)
        penalty = self._accounts[member].score.charge(points, self.monotonic())
        if penalty is not None:
            event(
                _log,
                "peer left alone",
                level=logging.WARNING,
                peer=state,
                seconds=int(penalty.seconds),
                why=why,
            )

    def renew(self, states: Sequence[str], register: CertificateRegister) -> None:
        """The register changed: indexes stay, and there may be more of them."""
        assert list(states[: len(self._states)]) == self._states, f"{states} after {self._states}"
        now = self.monotonic()
        self._accounts += [Account(now) for _ in states[len(self._states) :]]
        self._states[:] = states
        self._register = register

    # Calls

    async def admit(
        self, data: bytes, read: Callable[[bytes], R], context: Context
    ) -> tuple[int, R]:
        """The member that calls and what it asks, or the call is aborted."""
        self._handshakes.seen(context.peer())
        try:
            member = self._register.member_of(context.auth_context())
        except UnknownPeer as err:
            await self._refuse(context, StatusCode.PERMISSION_DENIED, "stranger", str(err))
        if member == self._own:
            why = "the caller shows this node's own certificate"
            await self._refuse(context, StatusCode.PERMISSION_DENIED, "stranger", why)
        account, now = self._accounts[member], self.monotonic()
        if (seconds := account.score.penalty_s(now)) > 0:
            why = f"left alone for another {seconds:.0f} s: see what was charged"
            await self._refuse(context, StatusCode.RESOURCE_EXHAUSTED, "penalty", why, member)
        # The answer's size is known only later: it overdraws, and the next call finds the debt.
        if not account.requests.take(1, now) or not account.served.take(0, now):
            why = "the budget of requests or bytes is spent: ask again in a second"
            await self._refuse(context, StatusCode.RESOURCE_EXHAUSTED, "budget", why, member)
        try:
            request = read(data)
        except MalformedMessage as err:
            self.charge(member, str(err), MALFORMED_POINTS)
            await self._refuse(context, StatusCode.INVALID_ARGUMENT, "malformed", str(err), member)
        if request.chain != self._chain:
            want, got = self._chain, request.chain
            why = (
                f"chain {got.chain_id.hex()} epoch {got.epoch}:"
                f" this node is of {want.chain_id.hex()} epoch {want.epoch}"
            )
            await self._refuse(context, StatusCode.FAILED_PRECONDITION, "chain", why, member)
        return member, request

    def spent(self, member: int, size: int) -> None:
        """Bytes that were served to this member."""
        self._accounts[member].served.wait_s(size, self.monotonic())

    async def _refuse(
        self, context: Context, status: StatusCode, kind: str, why: str, member: int | None = None
    ) -> NoReturn:
        self._refused.labels(kind).inc()
        event(
            _log,
            "peer refused",
            level=logging.INFO if kind == "budget" else logging.WARNING,
            peer=context.peer() if member is None else self._states[member],
            status=kind,
            why=why,
        )
        await context.abort(status, why)
        raise AssertionError("abort raises")

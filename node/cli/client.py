"""Asking nodes: one connection to one node, trusting only the certificate that the genesis registers for it.

    async with LedgerClient(node_at(genesis, chain_id, "KE")) as ke:
        taken = await ke.submit(entry)                    # acknowledged: verified against KE's log key
        final = await ke.wait_final(taken.entry_hash, within_s=10)
        receipt = await ke.receipt(taken.entry_hash)

`nodes` asks several. A node's word is only its word: what must hold whoever lies is a receipt, judged by `receipts`. Every
failure is a `ClientError`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import Final, Self, TypeVar

import grpc
from google.protobuf.message import DecodeError

from foedus.v1 import client_pb2 as pb
from foedus.v1 import client_pb2_grpc as rpc
from foedus.v1 import law_pb2, law_pb2_grpc
from node.cli.errors import (
    BadAnswer,
    ClientError,
    CouldNot,
    Dropped,
    Overloaded,
    Refused,
    TooLate,
    Unreachable,
)
from node.ledger.genesis import Genesis, GenesisMember
from node.ledger.policy_chain import FILE_BYTES_MAX as POLICIES_BYTES_MAX
from node.ledger.policy_chain import LINKS_MAX
from node.log.errors import MalformedStatement
from node.signing.acknowledgement import verify_acknowledgement
from node.signing.keys import Role, SigningKey
from node.signing.statements import entry_hash
from node.signing.transport import server_name

REFUSAL_KEY: Final = "foedus-refusal-bin"
READER_KEY: Final = "foedus-reader-bin"
READER_VALID_S: Final = 600
CALL_S: Final = 10.0  # one call, as long as a node allows by default
MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
POLL_S: Final = (0.05, 0.5)  # first and longest pause between questions about one entry

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAddress:
    """Where a member's node answers clients, and what proves that it is that node."""

    state: str
    target: str  # host:port
    certificate_pem: bytes
    log_key: bytes
    chain_id: bytes


def node_at(genesis: Genesis, chain_id: bytes, state: str, target: str = "") -> NodeAddress:
    """The address of a founding member's node; `target` stands over the one in the genesis. Raises CouldNot."""
    for member in genesis.members:
        if member.state == state:
            return address_of(member, chain_id, target)
    codes = ", ".join(member.state for member in genesis.members)
    raise CouldNot(f"node {state!r}: no member of this ledger: there are {codes}")


def address_of(member: GenesisMember, chain_id: bytes, target: str = "") -> NodeAddress:
    return NodeAddress(
        state=member.state,
        target=target or member.client_endpoint,
        certificate_pem=member.certificate_pem,
        log_key=member.log_key,
        chain_id=chain_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who reads restricted entries where publication is `members` (RULINGS R61): a party and its author key."""

    party: str
    key: SigningKey

    def proof(self, address: NodeAddress, expires_s: int) -> bytes:
        """The metadata value: H("sign/reader/1", chain id || u64 expires_s || u8 length || node || party), signed."""
        assert self.key.role is Role.AUTHOR, f"reader's proof by a {self.key.role} key"
        node, label = address.state.encode(), b"sign/reader/1"
        body = address.chain_id + expires_s.to_bytes(8, "big")
        body += bytes((len(node),)) + node + self.party.encode()
        message = sha256(bytes((len(label),)) + label + body).digest()
        return pb.ReaderProof(
            party=self.party,
            kid=self.key.kid,
            node=address.state,
            expires_s=expires_s,
            signature=self.key.sign(message),
        ).SerializeToString()


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A node has the entry on its disk. `acknowledgement` is its verified promise; empty while the entry is held."""

    node: str
    entry_hash: bytes
    state: "pb.EntryState.ValueType"
    acknowledgement: bytes
    inclusion_by_ms: int  # ledger time; 0 while held


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an entry has come, says this node. `code`: why the law rejected it, or a commit dropped it."""

    node: str
    state: "pb.EntryState.ValueType"
    index: int | None
    code: str

    @property
    def is_integrated(self) -> bool:
        return self.state in (pb.ENTRY_STATE_INTEGRATED, pb.ENTRY_STATE_FINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTip:
    """Where an author's chain stands: on the ledger, and after what waits in this node's mempool."""

    seq: int
    entry_hash: bytes
    pending_seq: int
    pending_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a node offers as proof; nothing in it is believed yet."""

    index: int
    size: int
    proof: bytes  # c2sp.org/tlog-proof@v1 text
    leaf: bytes  # empty if withheld
    cose_receipts: tuple[bytes, ...]


class LedgerClient:
    """A connection to one node. Enter it, or call `close`. Calls may run side by side."""

    def __init__(
        self, address: NodeAddress, *, reader: Reader | None = None, call_s: float = CALL_S
    ) -> None:
        self.address = address
        self._reader = reader
        self._call_s = call_s
        # Made with the first call: a channel belongs to the event loop in which it is made.
        self._channel: grpc.aio.Channel | None = None
        self._stub: rpc.LedgerServiceAsyncStub | None = None
        self._law: law_pb2_grpc.LawServiceAsyncStub | None = None

    @property
    def stub(self) -> "rpc.LedgerServiceAsyncStub":
        """The generated stub, for calls that this class does not wrap."""
        if self._stub is None:
            self._stub = rpc.LedgerServiceStub(self._connected())
        return self._stub

    @property
    def law(self) -> "law_pb2_grpc.LawServiceAsyncStub":
        """The stub of the service that asks the law."""
        if self._law is None:
            self._law = law_pb2_grpc.LawServiceStub(self._connected())
        return self._law

    def _connected(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = grpc.aio.secure_channel(
                self.address.target,
                grpc.ssl_channel_credentials(self.address.certificate_pem),
                options=[
                    ("grpc.ssl_target_name_override", server_name(self.address.state)),
                    ("grpc.use_local_subchannel_pool", 1),
                    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ],
            )
        return self._channel

    @property
    def state(self) -> str:
        return self.address.state

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = self._stub = self._law = None

    # Entries

    async def submit(self, entry: bytes) -> Taken:
        """Give one signed entry. Giving the same bytes again is harmless. Raises ClientError."""
        answer = await self._ask(self.stub.Submit, pb.SubmitRequest(entry=entry))
        return self._taken(entry, answer)

    async def submit_many(self, entries: Sequence[bytes]) -> list[Taken | Refused]:
        """Give at most 512 entries (256 KiB) in one call; each is answered for itself, in order."""
        answer = await self._ask(self.stub.SubmitMany, pb.SubmitManyRequest(entries=entries))
        if len(answer.results) != len(entries):
            raise BadAnswer(self.state, f"{len(answer.results)} answers to {len(entries)} entries")
        return [
            self._taken(entry, result.taken)
            if result.WhichOneof("result") == "taken"
            else _refused(self.state, result.refusal)
            for entry, result in zip(entries, answer.results, strict=True)
        ]

    def _taken(self, entry: bytes, answer: pb.SubmitResponse) -> Taken:
        """Holds the node to its word: the acknowledgement must be its own, for this entry, on this ledger."""
        digest = entry_hash(entry)
        if answer.entry_hash != digest:
            raise BadAnswer(self.state, f"answered for another entry, {answer.entry_hash.hex()}")
        if answer.acknowledgement:
            try:
                promise = verify_acknowledgement(answer.acknowledgement, self.address.log_key)
            except MalformedStatement as err:
                raise BadAnswer(self.state, f"its acknowledgement: {err}") from err
            if promise is None:
                raise BadAnswer(self.state, "its acknowledgement is not signed by its log key")
            said = (promise.chain_id, promise.entry_hash, promise.node)
            if said != (self.address.chain_id, digest, self.state):
                raise BadAnswer(self.state, "its acknowledgement is about something else")
            if promise.inclusion_by_ms != answer.inclusion_by_ms:
                raise BadAnswer(self.state, "it says one deadline and signs another")
        elif answer.state == pb.ENTRY_STATE_ACKNOWLEDGED:
            raise BadAnswer(self.state, "it says acknowledged, and signs nothing")
        return Taken(
            node=self.state,
            entry_hash=digest,
            state=answer.state,
            acknowledgement=answer.acknowledgement,
            inclusion_by_ms=answer.inclusion_by_ms,
        )

    async def progress(self, digest: bytes) -> Progress:
        """How far the entry of this hash has come."""
        answer = await self._ask(
            self.stub.GetEntryState, pb.GetEntryStateRequest(entry_hash=digest)
        )
        return Progress(
            node=self.state,
            state=answer.state,
            index=answer.index if answer.HasField("index") else None,
            code=answer.code,
        )

    async def wait_final(self, digest: bytes, *, within_s: float) -> Progress:
        """The entry's place once this node says that it is final. Raises Dropped, TooLate, ClientError.

        `code` then says whether the law accepted it: a rejected entry is final too.
        """
        return await self._wait(digest, lambda now: now.state == pb.ENTRY_STATE_FINAL, within_s)

    async def wait_integrated(self, digest: bytes, *, within_s: float) -> Progress:
        """The same, once it is in the log."""
        return await self._wait(digest, lambda now: now.is_integrated, within_s)

    async def _wait(
        self, digest: bytes, reached: Callable[[Progress], bool], within_s: float
    ) -> Progress:
        deadline = time.monotonic() + within_s
        pause, longest = POLL_S
        while True:
            now = await self.progress(digest)
            if reached(now):
                return now
            if now.state == pb.ENTRY_STATE_DROPPED:
                raise Dropped(self.state, now.code)
            if time.monotonic() + pause > deadline:
                raise TooLate(
                    self.state,
                    f"entry {digest.hex()} is {state_word(now.state)} after {within_s:g} s",
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def tip(self, author: str) -> ChainTip:
        """What the author's next entry follows."""
        answer = await self._ask(self.stub.GetAuthorTip, pb.GetAuthorTipRequest(author=author))
        if answer.next_seq < 1 or answer.pending_next_seq < 1:
            raise BadAnswer(self.state, f"chain of {author} without a next seq")
        return ChainTip(
            seq=answer.next_seq - 1,
            entry_hash=answer.prev,
            pending_seq=answer.pending_next_seq - 1,
            pending_hash=answer.pending_prev,
        )

    # The law, asked

    async def check(self, content: bytes, endorsers: Sequence[str]) -> law_pb2.CheckResponse:
        """What the law would say now of this content, presuming these countersignatures."""
        request = law_pb2.CheckRequest(content=content, endorsers=endorsers)
        return await self._ask(self.law.Check, request)

    async def ask(self, request: law_pb2.AskRequest) -> law_pb2.AskResponse:
        """One page of one question about the records, now or at a past index."""
        return await self._ask(self.law.Ask, request)

    # The log

    async def get(self, key: int | bytes) -> pb.GetResponse:
        """One leaf, by index or entry hash."""
        return await self._ask(self.stub.Get, _by_key(pb.GetRequest(), key))

    async def list_entries(self, request: pb.ListRequest) -> pb.ListResponse:
        return await self._ask(self.stub.List, request)

    async def watch(self, request: pb.WatchRequest) -> AsyncIterator[pb.WatchResponse]:
        """Batches of leaves as they come, heartbeats left out; until the caller stops or the node does (Unreachable)."""
        call = self.stub.Watch(request, metadata=self._metadata(), wait_for_ready=False)
        try:
            async for batch in call:
                if batch.entries:
                    yield batch
        except grpc.aio.AioRpcError as err:
            raise self._error(err) from err
        finally:
            call.cancel()

    async def receipt(self, key: int | bytes, *, cose: bool = False, outside: int = 0) -> Receipt:
        """The proof for one final leaf, as the node offers it. Judge it with `receipts.verify_receipt`.

        `outside`: under a checkpoint that so many outside witnesses cosigned.
        """
        request = _by_key(pb.GetReceiptRequest(cose=cose, outside=outside), key)
        answer = await self._ask(self.stub.GetReceipt, request)
        return Receipt(
            index=answer.index,
            size=answer.size,
            proof=answer.tlog_proof,
            leaf=answer.leaf,
            cose_receipts=tuple(answer.cose_receipts),
        )

    async def checkpoint(self, *, full: bool = False) -> bytes:
        """The newest final checkpoint note; empty before the first."""
        answer = await self._ask(self.stub.GetCheckpoint, pb.GetCheckpointRequest(full=full))
        return answer.note

    # The node and the law

    async def status(self) -> pb.GetStatusResponse:
        answer = await self._ask(self.stub.GetStatus, pb.GetStatusRequest())
        if answer.chain_id != self.address.chain_id:
            raise BadAnswer(self.state, f"it serves another ledger, {answer.chain_id.hex()}")
        return answer

    async def genesis(self) -> pb.GetGenesisResponse:
        """With all links of policies, however many answers they come in. Raises BadAnswer: they have no end."""
        answer = await self._ask(self.stub.GetGenesis, pb.GetGenesisRequest())
        held = answer.ByteSize()
        while answer.more:
            first = len(answer.policies)
            request = pb.GetGenesisRequest(links_only=True, first_link=first)
            page = await self._ask(self.stub.GetGenesis, request)
            held += page.ByteSize()
            if not page.policies or first > LINKS_MAX or held > POLICIES_BYTES_MAX:
                raise BadAnswer(
                    self.state, f"its trust policies have no end: {first} links, {held} bytes"
                )
            answer.policies.extend(page.policies)
            answer.more = page.more
        return answer

    async def veto_check(self) -> pb.GetVetoCheckResponse:
        return await self._ask(self.stub.GetVetoCheck, pb.GetVetoCheckRequest())

    async def motion(self, motion: str) -> pb.Motion:
        answer = await self._ask(self.stub.GetMotion, pb.GetMotionRequest(motion=motion))
        return answer.motion

    async def motions(self, request: pb.ListMotionsRequest) -> pb.ListMotionsResponse:
        return await self._ask(self.stub.ListMotions, request)

    async def case(self, case: str) -> pb.Case:
        answer = await self._ask(self.stub.GetCase, pb.GetCaseRequest(case=case))
        return answer.case

    async def cases(self, request: pb.ListCasesRequest) -> pb.ListCasesResponse:
        return await self._ask(self.stub.ListCases, request)

    async def runs(self, request: pb.ListRunsRequest) -> pb.ListRunsResponse:
        return await self._ask(self.stub.ListRuns, request)

    async def facilities(self, request: pb.ListFacilitiesRequest) -> pb.ListFacilitiesResponse:
        return await self._ask(self.stub.ListFacilities, request)

    # Calls

    async def _ask(self, method: Callable[..., Awaitable[Answer]], request: object) -> Answer:
        try:
            return await method(request, timeout=self._call_s, metadata=self._metadata())
        except grpc.aio.AioRpcError as err:
            raise self._error(err) from err

    def _metadata(self) -> tuple[tuple[str, bytes], ...]:
        if self._reader is None:
            return ()
        expires_s = int(time.time()) + READER_VALID_S
        return ((READER_KEY, self._reader.proof(self.address, expires_s)),)

    def _error(self, err: grpc.aio.AioRpcError) -> ClientError:
        for key, value in err.trailing_metadata() or ():
            if key == REFUSAL_KEY and isinstance(value, bytes):
                return _refused_or_busy(self.state, value, err)
        if err.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Overloaded(self.state, str(err.details()), 1000)
        where = f"{self.address.target}: {err.code().name}: {err.details()}"
        return Unreachable(
            self.state, f"{where}: is it running, and is this its address and certificate?"
        )


def _refused_or_busy(state: str, value: bytes, err: grpc.aio.AioRpcError) -> ClientError:
    try:
        refusal = pb.Refusal.FromString(value)
    except DecodeError:
        return BadAnswer(state, f"{err.code().name} with unreadable details")
    if err.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Overloaded(state, refusal.why, refusal.retry_after_ms)
    if err.code() is grpc.StatusCode.UNAVAILABLE:
        return Unreachable(state, f"{refusal.code}: {refusal.why}")
    return _refused(state, refusal)


def _refused(state: str, refusal: pb.Refusal) -> Refused:
    return Refused(
        state, code=refusal.code, field=refusal.field, value=refusal.value, why=refusal.why
    )


Keyed = TypeVar("Keyed", pb.GetRequest, pb.GetReceiptRequest)


def _by_key(request: Keyed, key: int | bytes) -> Keyed:
    if isinstance(key, int):
        request.index = key
    else:
        request.entry_hash = key
    return request


def state_word(state: "pb.EntryState.ValueType") -> str:
    """`final`, `acknowledged`, ...: the field's own words, in lower case; a state of a later version by its number."""
    known: dict[int, str] = {item.number: item.name for item in pb.EntryState.DESCRIPTOR.values}
    return known.get(state, str(state)).removeprefix("ENTRY_STATE_").lower()

"""The handlers of `LedgerService`: translate, call, translate back.

Each raises what `refusals` knows, or answers; `guard` stands around them all, so none here deals with statuses, deadlines or
limits. An answer that reads many leaves lets other work pass every `LEAVES_PER_TURN`.
"""

# ruff: noqa: N802 - the schema names the methods, and gRPC looks them up by these names

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, TypeAlias

import grpc

from foedus.v1 import client_pb2 as pb
from foedus.v1 import client_pb2_grpc as rpc
from node.api import receipts, wire
from node.api.access import Access
from node.api.node import ServedNode
from node.api.refusals import Unanswerable, answer_of, bad_field, not_found, restricted
from node.api.views import LogViews
from node.ledger.admission import Acknowledged, Answer, Held
from node.ledger.ledger import LIST_LIMIT_MAX
from node.ledger.policy_chain import links_from, page_of
from node.ledger.trust import trust_policy
from node.storage.keys import FACET_VALUE_BYTES_MAX

LIST_LIMIT: Final = 100
PAGE_BYTES_MAX: Final = 3 * 1024 * 1024  # gRPC clients refuse messages above 4 MiB by default
LEAVES_PER_TURN: Final = 32
HEARTBEAT_S: Final = 15
KINDS_MAX: Final = 32
HASH_BYTES: Final = 32
SUBMIT_MANY_MAX: Final = 512

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class LedgerService(rpc.LedgerServiceServicer):
    """See the module's text. `watch_queue` leaves at most are read ahead of a watcher."""

    def __init__(self, node: ServedNode, *, watch_queue: int) -> None:
        self._node = node
        self._access = Access(node)
        self._views = LogViews(node)
        self._watch_queue = watch_queue

    # Entries

    async def Submit(self, request: pb.SubmitRequest, context: Context) -> pb.SubmitResponse:
        del context
        return self._taken(await self._node.admission.submit(request.entry))

    async def SubmitMany(
        self, request: pb.SubmitManyRequest, context: Context
    ) -> pb.SubmitManyResponse:
        del context
        entries = request.entries
        if not 0 < len(entries) <= SUBMIT_MANY_MAX:
            raise bad_field("entries", len(entries), f"1 to {SUBMIT_MANY_MAX} entries")
        answers = await self._node.admission.submit_many(entries)
        return pb.SubmitManyResponse(results=map(self._result, answers))

    def _result(self, answer: Answer) -> pb.SubmitResult:
        match answer:
            case Acknowledged() | Held():
                return pb.SubmitResult(taken=self._taken(answer))
            case _:
                return pb.SubmitResult(refusal=answer_of(answer)[1])

    def _taken(self, taken: Acknowledged | Held) -> pb.SubmitResponse:
        status = self._node.ledger.status_of(taken.entry_hash)
        answer = pb.SubmitResponse(state=wire.state_of(status.status), entry_hash=taken.entry_hash)
        match taken:
            case Acknowledged():
                answer.acknowledgement = taken.acknowledgement
                answer.inclusion_by_ms = taken.inclusion_by_ms
            case Held():
                pass
        return answer

    async def GetEntryState(
        self, request: pb.GetEntryStateRequest, context: Context
    ) -> pb.GetEntryStateResponse:
        del context
        digest = _hash("entry_hash", request.entry_hash)
        return wire.entry_state(self._node.ledger.status_of(digest), wire.at(self._node))

    async def Get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:
        may_read = self._may_read(context)
        index = self._index_of(request)
        leaf = self._node.ledger.entry(index).leaf
        entry = wire.log_entry(self._node, index, leaf, may_read=may_read, brief=False)
        return pb.GetResponse(entry=entry, at=wire.at(self._node))

    async def List(self, request: pb.ListRequest, context: Context) -> pb.ListResponse:
        may_read = self._may_read(context)
        filters = {
            name: _filter(name, getattr(request, name))
            for name in ("author", "kind", "subject", "case")
        }
        if not may_read and any(text is not None for text in filters.values()):
            raise restricted("filters")
        limit = _limit(request.limit)
        size = self._node.ledger.size
        end = min(request.end, size) if request.HasField("end") else size
        first = max(0, end - limit) if request.newest else request.first
        indexes = self._node.ledger.list_indexes(**filters, first=first, end=end, limit=limit)
        answer = pb.ListResponse(at=wire.at(self._node))
        answer.entries.extend(await self._page(indexes, may_read=may_read, brief=request.brief))
        shown = len(answer.entries)
        if shown < len(indexes):
            answer.next_first = indexes[shown]
        elif shown == limit and indexes[-1] + 1 < end:
            answer.next_first = indexes[-1] + 1
        return answer

    async def Watch(
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.WatchResponse]:
        """Reads on only when the client has taken what was sent, so a slow watcher holds one batch and no queue."""
        may_read = self._may_read(context)
        if len(request.kinds) > KINDS_MAX:
            raise bad_field("kinds", len(request.kinds), f"at most {KINDS_MAX} kinds")
        if not may_read and (request.kinds or request.author):
            raise restricted("filters")
        kinds = frozenset(request.kinds)
        cursor = request.first if request.HasField("first") else self._end(request)
        while True:
            end = self._end(request)
            if cursor >= end:
                woken = await self._wait_past(request, max(cursor, end))
                if not woken:
                    yield pb.WatchResponse(at=wire.at(self._node), next_first=cursor)
                continue
            batch = range(cursor, min(end, cursor + self._watch_queue))
            entries = await self._page(batch, may_read=may_read, brief=request.brief)
            cursor += len(entries)
            matching = [
                entry
                for entry in entries
                if (not kinds or entry.kind in kinds)
                and (not request.author or entry.author == request.author)
            ]
            if matching:
                yield pb.WatchResponse(entries=matching, at=wire.at(self._node), next_first=cursor)

    def _end(self, request: pb.WatchRequest) -> int:
        """First index that this watcher does not get yet."""
        if request.integrated:
            return self._node.ledger.size
        if self._node.finality.stopped:
            why = f"nothing is served as final: {self._node.finality.alarm}"
            raise Unanswerable(grpc.StatusCode.UNAVAILABLE, "ALARM", why)
        return self._node.finality.final_size

    async def _wait_past(self, request: pb.WatchRequest, size: int) -> bool:
        """False if a heartbeat is due first."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                if request.integrated:
                    await self._node.ledger.wait_past(size)
                else:
                    await self._node.finality.wait_past(size)
        except TimeoutError:
            return False
        return True

    async def _page(
        self, indexes: Sequence[int], *, may_read: bool, brief: bool
    ) -> list[pb.LogEntry]:
        """These leaves, or as many of the first as fit one message; at least one."""
        found: list[pb.LogEntry] = []
        size = 0
        for index in indexes:
            leaf = self._node.ledger.entry(index).leaf
            entry = wire.log_entry(self._node, index, leaf, may_read=may_read, brief=brief)
            size += entry.ByteSize()
            if found and size > PAGE_BYTES_MAX:
                break
            found.append(entry)
            if len(found) % LEAVES_PER_TURN == 0:
                await asyncio.sleep(0)
        return found

    # Proofs

    async def GetReceipt(
        self, request: pb.GetReceiptRequest, context: Context
    ) -> pb.GetReceiptResponse:
        may_read = self._may_read(context)
        index = self._index_of(request)
        leaf = self._node.ledger.entry(index).leaf
        answer = receipts.receipt(self._node, index, cose=request.cose, outside=request.outside)
        answer.at.CopyFrom(wire.at(self._node))
        if may_read or wire.is_public(leaf):
            answer.leaf = leaf
        return answer

    async def GetCheckpoint(
        self, request: pb.GetCheckpointRequest, context: Context
    ) -> pb.GetCheckpointResponse:
        del context
        finality = self._node.finality
        note = finality.full_note() if request.full else finality.lean_note()
        return pb.GetCheckpointResponse(
            note=b"" if note is None else bytes(note), at=wire.at(self._node)
        )

    async def GetGenesis(
        self, request: pb.GetGenesisRequest, context: Context
    ) -> pb.GetGenesisResponse:
        del context
        ledger = self._node.ledger
        answer = pb.GetGenesisResponse()
        if not request.links_only:
            answer.document = ledger.document
            answer.trust_policy = trust_policy(ledger.genesis)
        room = PAGE_BYTES_MAX - len(answer.document) - len(answer.trust_policy)
        links = links_from(ledger, self._node.finality, request.first_link)
        page, answer.more = page_of(links, room, links_min=int(request.links_only))
        answer.policies.extend(pb.PolicyLink(proof=link.proof, policy=link.policy) for link in page)
        return answer

    # The node and the law

    async def GetStatus(
        self, request: pb.GetStatusRequest, context: Context
    ) -> pb.GetStatusResponse:
        del request
        return wire.node_status(self._node, may_read=self._may_read(context))

    async def GetAuthorTip(
        self, request: pb.GetAuthorTipRequest, context: Context
    ) -> pb.GetAuthorTipResponse:
        del context
        author = _name("author", request.author)
        next_seq, prev = self._node.ledger.author_tip(author)
        pending_seq, pending_prev = self._node.admission.author_tip(author)
        return pb.GetAuthorTipResponse(
            next_seq=next_seq,
            prev=prev,
            pending_next_seq=pending_seq,
            pending_prev=pending_prev,
            at=wire.at(self._node),
        )

    async def GetVetoCheck(
        self, request: pb.GetVetoCheckRequest, context: Context
    ) -> pb.GetVetoCheckResponse:
        del request, context
        return wire.veto_check(self._node.ledger.law.veto_check(), wire.at(self._node))

    # Views of the log

    async def GetMotion(
        self, request: pb.GetMotionRequest, context: Context
    ) -> pb.GetMotionResponse:
        self._reader_only(context, "motions")
        motion = self._views.motion(_name("motion", request.motion))
        return pb.GetMotionResponse(motion=motion, at=wire.at(self._node))

    async def ListMotions(
        self, request: pb.ListMotionsRequest, context: Context
    ) -> pb.ListMotionsResponse:
        self._reader_only(context, "motions")
        page = await self._views.motions(
            first=request.first, limit=_limit(request.limit), open_only=request.open_only
        )
        return pb.ListMotionsResponse(
            motions=page.items, next_first=page.next_first, at=wire.at(self._node)
        )

    async def GetCase(self, request: pb.GetCaseRequest, context: Context) -> pb.GetCaseResponse:
        self._reader_only(context, "cases")
        case = self._views.case(_name("case", request.case))
        return pb.GetCaseResponse(case=case, at=wire.at(self._node))

    async def ListCases(
        self, request: pb.ListCasesRequest, context: Context
    ) -> pb.ListCasesResponse:
        self._reader_only(context, "cases")
        page = await self._views.cases(
            first=request.first, limit=_limit(request.limit), open_only=request.open_only
        )
        return pb.ListCasesResponse(
            cases=page.items, next_first=page.next_first, at=wire.at(self._node)
        )

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        self._reader_only(context, "runs")
        page = await self._views.runs(first=request.first, limit=_limit(request.limit))
        return pb.ListRunsResponse(
            runs=page.items, next_first=page.next_first, at=wire.at(self._node)
        )

    async def ListFacilities(
        self, request: pb.ListFacilitiesRequest, context: Context
    ) -> pb.ListFacilitiesResponse:
        self._reader_only(context, "facilities")
        page = await self._views.facilities(first=request.first, limit=_limit(request.limit))
        return pb.ListFacilitiesResponse(
            facilities=page.items, next_first=page.next_first, at=wire.at(self._node)
        )

    # Requests

    def _may_read(self, context: Context) -> bool:
        return self._access.may_read(tuple(context.invocation_metadata() or ()))

    def _reader_only(self, context: Context, what: str) -> None:
        if not self._may_read(context):
            raise restricted(what)

    def _index_of(self, request: pb.GetRequest | pb.GetReceiptRequest) -> int:
        match request.WhichOneof("key"):
            case "index":
                return request.index
            case "entry_hash":
                digest = _hash("entry_hash", request.entry_hash)
                index = self._node.ledger.find(digest)
                if index is None:
                    raise not_found("logged entry", digest)
                return index
        raise bad_field("key", "nothing", "an index or an entry_hash")


def _hash(field: str, value: bytes) -> bytes:
    if len(value) != HASH_BYTES:
        raise bad_field(field, value, f"{HASH_BYTES} bytes, not {len(value)}")
    return value


def _name(field: str, value: str) -> str:
    if not value or len(value.encode()) > FACET_VALUE_BYTES_MAX:
        raise bad_field(field, value, f"1 to {FACET_VALUE_BYTES_MAX} bytes")
    return value


def _filter(field: str, value: str) -> str | None:
    return _name(field, value) if value else None


def _limit(limit: int) -> int:
    if limit > LIST_LIMIT_MAX:
        raise bad_field("limit", limit, f"at most {LIST_LIMIT_MAX}")
    return limit or LIST_LIMIT

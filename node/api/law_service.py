"""The handlers of `LawService`. They translate; `node/treaty` judges."""

# ruff: noqa: N802 - the schema names the methods, and gRPC looks them up by these names

from typing import Any, Final, TypeAlias

import grpc

from foedus.v1 import law_pb2 as pb
from foedus.v1 import law_pb2_grpc as rpc
from node.api import wire
from node.api.access import Access
from node.api.asked import Questions
from node.api.node import ServedNode
from node.api.refusals import bad_field, restricted
from node.ledger.questions.moment import Moment
from node.treaty.dry_run import check_content
from node.treaty.parsing import CONTENT_BYTES_MAX, ENDORSEMENTS_MAX

WITHHELD: Final = "the reason goes to readers of this ledger alone"

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class LawService(rpc.LawServiceServicer):
    """Asks the law, as it stands or stood; changes nothing."""

    def __init__(self, node: ServedNode) -> None:
        self._node = node
        self._access = Access(node)
        self._questions = Questions(node)

    async def Check(self, request: pb.CheckRequest, context: Context) -> pb.CheckResponse:
        if len(request.content) > CONTENT_BYTES_MAX:
            want = f"at most {CONTENT_BYTES_MAX} bytes"
            raise bad_field("content", f"{len(request.content)} bytes", want)
        if len(request.endorsers) > ENDORSEMENTS_MAX:
            raise bad_field("endorsers", len(request.endorsers), f"at most {ENDORSEMENTS_MAX}")
        may_read = self._access.may_read(tuple(context.invocation_metadata() or ()))
        code, why = check_content(self._node.ledger.law, request.content, request.endorsers)
        # A reason may tell what the register holds: how far a run is, who countersigned what.
        shown = why if may_read or not why else WITHHELD
        return pb.CheckResponse(code=code or "", why=shown, at=wire.at(self._node))

    async def Ask(self, request: pb.AskRequest, context: Context) -> pb.AskResponse:
        if not self._access.may_read(tuple(context.invocation_metadata() or ())):
            raise restricted("the records")
        document, size = await self._questions.answer(
            request.question,
            about=request.about,
            after=request.after,
            limit=request.limit,
            moment=_moment(request),
        )
        return pb.AskResponse(document=document, size=size, at=wire.at(self._node))


def _moment(request: pb.AskRequest) -> Moment | None:
    """None: the present. Raises Unanswerable if both are said."""
    by_index, by_time = request.HasField("index"), request.HasField("time_s")
    if by_index and by_time:
        raise bad_field("time_s", request.time_s, "unset beside an index")
    if by_index:
        return Moment(index=request.index)
    return Moment(time_s=request.time_s) if by_time else None

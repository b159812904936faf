"""Around every handler: limits, a deadline, and errors as statuses.

Bounds on what strangers can make the node do at once, each answered with RESOURCE_EXHAUSTED and a time to come back:

    calls        all calls under way together (`client_calls`), streams included
    streams      open-ended ones (watchers, health watch, reflection): they never starve the others (`watchers`)

A request that is no message of its type is refused like any other wrong one. gRPC itself would answer UNKNOWN and write a stack
trace for each, so that a stranger could fill the disk with our log.

Faults: what `refusals.ANSWERS` names becomes a status with details. A failed durable write or a broken assertion stops the
node (`on_fatal`): nothing may be answered any more by a process that cannot trust its disk or itself.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode

from foedus.v1 import client_pb2 as pb
from node.api.refusals import ANSWERS, REFUSAL_KEY, Unanswerable, answer_of, sentence
from node.storage.errors import WriteFailed
from node.telemetry import Metrics, event

RETRY_MS: Final = 1000
_OURS: Final = "/foedus.v1."
_UNREADABLE: Final = object()  # stands for a request that could not be decoded
_log = logging.getLogger("foedus.api")

Context = grpc.aio.ServicerContext[Any, Any]


class Guard(grpc.aio.ServerInterceptor):
    """One per server. `on_fatal` is told what stops the node."""

    def __init__(
        self,
        *,
        calls_max: int,
        streams_max: int,
        deadline_s: float,
        metrics: Metrics,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._calls_max = calls_max
        self._streams_max = streams_max
        self._deadline_s = deadline_s
        self._on_fatal = on_fatal
        self._calls = 0
        self._streams = 0
        self._count = metrics.counter(
            "foedus_client_calls", "Client calls by method and status.", ("method", "status")
        )
        self._seconds = metrics.counter(
            "foedus_client_call_seconds", "Time spent in unary client calls.", ("method",)
        )
        metrics.read_at_scrape(
            "foedus_client_calls_open", "Client calls under way.", lambda: self._calls
        )
        metrics.read_at_scrape(
            "foedus_client_streams_open", "Client streams open.", lambda: self._streams
        )

    async def intercept_service(
        self,
        # The stubs' classes are generic, grpc's own are not: hence the quotes.
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        path = handler_call_details.method
        # Methods that we do not have are answered UNIMPLEMENTED and never counted by name: strangers choose names.
        method = path.rpartition("/")[2] if path.startswith(_OURS) else "other"
        codec = {
            "request_deserializer": _decoder(handler.request_deserializer),
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary:
            unary = self._unary(method, handler.unary_unary)
            return grpc.unary_unary_rpc_method_handler(unary, **codec)
        if handler.unary_stream:
            stream = self._stream(method, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(stream, **codec)
        both = self._stream(method, _reading(handler.stream_stream))
        return grpc.stream_stream_rpc_method_handler(both, **codec)

    def _unary(
        self, method: str, handler: Callable[[Any, Context], Awaitable[Any]]
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def guarded(request: Any, context: Context) -> Any:
            began = time.monotonic()
            status, refusal = StatusCode.OK, pb.Refusal()
            try:
                _require_readable(request)
                self._enter()
                try:
                    async with asyncio.timeout(self._deadline_s):
                        return await handler(request, context)
                except TimeoutError:
                    status, refusal = _too_long(self._deadline_s)
                finally:
                    self._calls -= 1
            except ANSWERS as err:
                status, refusal = answer_of(err.with_traceback(None))  # see `_refuse`
            except (AssertionError, WriteFailed) as err:
                status, refusal = self._fatal(method, err)
            finally:
                self._count.labels(method, status.name).inc()
                self._seconds.labels(method).inc(time.monotonic() - began)
            request = None  # see `_refuse`
            return await _refuse(context, status, refusal)

        return guarded

    def _stream(
        self, method: str, handler: Callable[[Any, Context], AsyncIterator[Any]]
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def guarded(request: Any, context: Context) -> AsyncIterator[Any]:
            status, refusal = StatusCode.OK, pb.Refusal()
            try:
                _require_readable(request)
                self._enter_stream()
                try:
                    async for answer in handler(request, context):
                        yield answer
                finally:
                    self._calls -= 1
                    self._streams -= 1
            except ANSWERS as err:
                status, refusal = answer_of(err.with_traceback(None))  # see `_refuse`
            except (AssertionError, WriteFailed) as err:
                status, refusal = self._fatal(method, err)
            finally:
                self._count.labels(method, status.name).inc()
            if status is not StatusCode.OK:
                request = None  # see `_refuse`
                await _refuse(context, status, refusal)

        return guarded

    def _enter(self) -> None:
        if self._calls >= self._calls_max:
            raise _busy(f"{self._calls_max} calls are under way")
        self._calls += 1

    def _enter_stream(self) -> None:
        if self._streams >= self._streams_max:
            raise _busy(f"{self._streams_max} streams are open")
        self._enter()
        self._streams += 1

    def _fatal(self, method: str, err: BaseException) -> tuple[StatusCode, pb.Refusal]:
        event(_log, "call failed for good", level=logging.CRITICAL, method=method, why=str(err))
        self._on_fatal(err)
        why = "this node met a fault of its own and stops: ask another node"
        return StatusCode.UNAVAILABLE, pb.Refusal(code="STOPPING", why=why)


def _decoder(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def decoded(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            return _UNREADABLE

    return decoded


def _require_readable(request: Any) -> None:
    """Raises Unanswerable for what `_decoder` could not read."""
    if request is _UNREADABLE:
        why = "these bytes are no message of the method's request type (foedus.v1, client.proto)"
        raise Unanswerable(StatusCode.INVALID_ARGUMENT, "REQUEST", why, field="request")


def _reading(
    handler: Callable[[Any, Context], AsyncIterator[Any]],
) -> Callable[[Any, Context], AsyncIterator[Any]]:
    """A handler that is given only readable requests of a stream of them."""

    async def readable(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            _require_readable(request)
            yield request

    def reading(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        return handler(readable(requests), context)

    return reading


def _busy(why: str) -> Unanswerable:
    return Unanswerable(
        StatusCode.RESOURCE_EXHAUSTED,
        "OVERLOADED",
        f"{why}; try again in {RETRY_MS} ms",
        retry_after_ms=RETRY_MS,
    )


def _too_long(deadline_s: float) -> tuple[StatusCode, pb.Refusal]:
    why = f"the answer took longer than {deadline_s:g} s: ask for less, or later"
    return StatusCode.DEADLINE_EXCEEDED, pb.Refusal(code="DEADLINE", why=why)


async def _refuse(context: Context, status: StatusCode, refusal: pb.Refusal) -> NoReturn:
    """End the call. Raises grpc's own abort.

    Exceptions hold the frames that they passed, and frames the request. One that is kept as a value, ours in
    `Admission.submit` or gRPC's in the state of its call, is a cycle then, and Python sweeps those by and by: a flood of
    refusals cost half a megabyte each (measured: 600 refusals, 330 MiB). Hence no traceback on ours, and no request in
    the frames of gRPC's.
    """
    details = ((REFUSAL_KEY, refusal.SerializeToString()),)
    await context.abort(status, sentence(refusal), details)

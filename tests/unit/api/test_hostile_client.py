"""A hostile client: whatever it sends gets a clear refusal; nothing crashes, nothing grows (fault of the client, never ours)."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode

from foedus.v1 import client_pb2 as pb
from foedus.v1 import client_pb2_grpc as rpc
from node.ledger.errors import Refused
from node.settings import LimitSettings
from tests.unit.api.serving import Serving, refusal_of
from tests.unit.ledger.founding import Author

SERVICE = pb.DESCRIPTOR.services_by_name["LedgerService"]
METHODS = {method.name: method for method in SERVICE.methods}
UNARY = sorted(name for name in METHODS if name != "Watch")
CLEAR = {
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.OUT_OF_RANGE,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.UNAUTHENTICATED,
    StatusCode.PERMISSION_DENIED,
    StatusCode.RESOURCE_EXHAUSTED,
}
NUMBERS = (0, 1, 7, 1000, 1001, 2**31 - 1, 2**32 - 1, 2**53, 2**63, 2**64 - 1)
TEXTS = (
    "",
    "BR",
    "op0",
    "energy",
    "a" * 65,
    "a" * 300,
    "\0",
    "ä\U0001f600",
    "../../x",
    "C15:BR:x#2",
)
SEED = 20261126


def raw_call(serving: Serving, method: str, data: bytes) -> Any:
    """The bytes as they are, without our own stub around them."""
    call = serving.channel().unary_unary(
        f"/{SERVICE.full_name}/{method}",
        request_serializer=lambda sent: sent,
        response_deserializer=lambda answer: answer,
    )
    return call(data, timeout=20)


async def error_of(call: Any) -> grpc.aio.AioRpcError | None:
    try:
        await call
    except grpc.aio.AioRpcError as err:
        return err
    return None


def random_message(dice: random.Random, kind: type[Message]) -> Message:
    """Any of the fields, each with a value that somebody might try."""
    message = kind()
    for field in message.DESCRIPTOR.fields:
        if dice.random() < 0.5:
            continue
        value = random_value(dice, field)
        if field.is_repeated:
            getattr(message, field.name).extend([value] * dice.choice((1, 2, 33)))
        elif field.message_type is None:
            setattr(message, field.name, value)
    return message


def random_value(dice: random.Random, field: Any) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return dice.randbytes(dice.choice((0, 1, 31, 32, 33, 200)))
        case FieldDescriptor.CPPTYPE_STRING:
            return dice.choice(TEXTS)
        case FieldDescriptor.CPPTYPE_UINT32:
            return dice.choice([number for number in NUMBERS if number < 2**32])
        case FieldDescriptor.CPPTYPE_UINT64:
            return dice.choice(NUMBERS)
        case other:
            raise AssertionError(
                f"{field.full_name}: a type ({other}) that this test does not send"
            )


@pytest.mark.parametrize("method", UNARY)
async def test_any_request_is_answered_or_refused_by_name(serving: Serving, method: str) -> None:
    await serving.commit(*entries(serving))
    await serving.finalise()
    dice = random.Random(f"{SEED}/{method}")
    kind = GetMessageClass(METHODS[method].input_type)
    for _ in range(60):
        request = random_message(dice, kind)
        err = await error_of(raw_call(serving, method, request.SerializeToString()))
        if err is not None:
            assert err.code() in CLEAR, f"{method}({request}): {err.code()} {err.details()}"
            assert refusal_of(err).why
    assert serving.fatal == []


def entries(serving: Serving) -> list[bytes]:
    author = serving.founding.author(0)
    return [author.facility("dc1", serving.founding.agencies[0]), author.energy(1)]


@pytest.mark.parametrize("method", ["Submit", "List", "GetReceipt", "Watch"])
async def test_bytes_that_are_no_message(
    serving: Serving, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """gRPC by itself would answer UNKNOWN and log a stack trace for each: a way to fill a disk."""
    for data in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x07"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw_call(serving, method, data)
        assert caught.value.code() is StatusCode.INVALID_ARGUMENT
        assert refusal_of(caught.value).field == "request"
    assert not caplog.records


async def test_a_reflection_stream_of_garbage(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    call = serving.channel().stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda sent: sent,
        response_deserializer=lambda answer: answer,
    )

    refused = asyncio.Event()

    async def garbage() -> AsyncIterator[bytes]:
        yield b"\xff" * 40
        # The refusal ends the stream: what is sent into it after that fails here, and would be reported in its place.
        await refused.wait()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call(garbage(), timeout=20):
            pass
    refused.set()
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert not caplog.records


async def test_methods_and_services_that_are_not_there(serving: Serving) -> None:
    for path in ("/foedus.v1.LedgerService/Erase", "/foedus.v1.PeerService/Wake", "/x", "nonsense"):
        call: Any = serving.channel().unary_unary(path)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", timeout=20)
        assert caught.value.code() is StatusCode.UNIMPLEMENTED
    assert "Erase" not in serving.metrics.text().decode()


async def test_a_flood_leaves_nothing_behind(serving: Serving) -> None:
    """Unsigned, altered, replayed, in the wrong role, for another ledger, by nobody, out of order: 1,600 of them."""
    founding = serving.founding
    author = founding.author(0)
    good = author.energy(1)
    await serving.commit(good)
    vote_key = founding.agencies[0].vote
    assert vote_key is not None
    altered = author.energy(2)
    wrong = [
        b"",
        b"\xd2" * 500,
        altered[:-1] + bytes((altered[-1] ^ 1,)),
        Author(replace(founding.operators[0], author_id="nobody"), founding.chain_id).energy(1),
        Author(founding.operators[0], bytes(32)).energy(1),
        Author(replace(founding.agencies[0], author=vote_key), founding.chain_id).energy(1),
        Author(founding.operators[1], founding.chain_id, seq=900, prev=bytes(32)).energy(1),
        good,  # replayed: answered again, and not taken again
    ]
    stub = rpc.LedgerServiceStub(serving.channel())
    # As many as one connection may have under way; HTTP/2 itself refuses more.
    turns = asyncio.Semaphore(LimitSettings().calls_per_connection)

    async def send(entry: bytes) -> StatusCode:
        async with turns:
            err = await error_of(stub.Submit(pb.SubmitRequest(entry=entry), timeout=60))
        assert err is None or err.code() in CLEAR, err
        return StatusCode.OK if err is None else StatusCode(err.code())

    statuses = await asyncio.gather(*(send(entry) for entry in wrong * 200))
    assert [status is StatusCode.OK for status in statuses] == [
        entry is good for entry in wrong * 200
    ]
    running = serving.running
    # What was logged once still waits for finality here; nothing else stayed.
    assert [running.mempool.pending(), running.mempool.pending_of("op1")] == [0, 0]
    assert len(running.mempool) <= 1
    assert not running.admission._last_turn
    assert serving.metrics.registry.get_sample_value("foedus_client_calls_open") == 0
    assert serving.fatal == []
    assert (await stub.GetStatus(pb.GetStatusRequest(), timeout=20)).log_size == running.ledger.size


@pytest.mark.parametrize("method", ["Submit", "SubmitMany", "GetEntryState", "Watch"])
async def test_a_refused_request_is_let_go_at_once(serving: Serving, method: str) -> None:
    """Not when Python next looks for cycles: by then a flood would have filled the memory."""
    requests: dict[str, Message] = {
        "Submit": pb.SubmitRequest(entry=bytes(200_000)),
        "SubmitMany": pb.SubmitManyRequest(entries=[bytes(300)] * 513),
        "GetEntryState": pb.GetEntryStateRequest(entry_hash=bytes(200_000)),
        "Watch": pb.WatchRequest(kinds=["x" * 5_000] * 40),
    }
    request = requests.pop(method)
    data, kind = request.SerializeToString(), type(request)
    del request, requests
    before = held(kind)
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            assert await error_of(raw_call(serving, method, data)) is not None
        await asyncio.sleep(0.05)
        assert held(kind) <= before
    finally:
        gc.enable()


async def test_refusals_within_an_answer_hold_no_frames(serving: Serving) -> None:
    answers = await serving.running.admission.submit_many([b"", bytes(70_000), b"\xd2"])
    assert [isinstance(answer, Refused) for answer in answers] == [True, True, True]
    assert all(answer.__traceback__ is None for answer in answers if isinstance(answer, Refused))


def held(kind: type[Message]) -> int:
    return sum(type(thing) is kind for thing in gc.get_objects())

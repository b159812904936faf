"""The law asked through a node: what it would say, with nothing changed."""

import functools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from grpc import StatusCode

from foedus.v1 import content_pb2
from foedus.v1 import law_pb2 as pb
from foedus.v1 import law_pb2_grpc as rpc
from node.api import asked
from node.cli.statements import Draft, content_bytes
from node.ledger.questions.answer import QUESTIONS
from tests.unit.api.serving import Serving, refusal_of, serve
from tests.unit.ledger.courtroom import ABOUTS, Courtroom, founding, held


def law(serving: Serving) -> "rpc.LawServiceAsyncStub":
    return rpc.LawServiceStub(serving.channel())


def content(serving: Serving, kind: str, body: dict[str, object], author: str = "op0") -> bytes:
    draft = Draft(kind=kind, body=body)
    return content_bytes(draft, ledger=serving.running.ledger.chain_id, author=author)


SITE: dict[str, object] = {"facility": "dc9", "capacity_mh": 5, "mem_gb": 5}


async def test_a_check_gives_the_laws_code_and_changes_nothing(serving: Serving) -> None:
    ledger = serving.running.ledger
    stub = law(serving)
    before = (ledger.size, ledger.state_digest, ledger.author_tip("op0"))
    state = serving.founding.genesis.members[0].state
    site = content(serving, "facility", SITE)
    bare = await stub.Check(pb.CheckRequest(content=site))
    assert bare.code == "COUNTERSIGN"
    assert bare.at.size == ledger.size
    presumed = await stub.Check(pb.CheckRequest(content=site, endorsers=[state]))
    assert (presumed.code, presumed.why) == ("", "")
    stranger = await stub.Check(
        pb.CheckRequest(content=content(serving, "facility", SITE, "nobody"))
    )
    assert stranger.code == "UNKNOWN_AUTHOR"
    vote = content(serving, "vote", {"motion": "none", "choice": "yes"}, state)
    assert (await stub.Check(pb.CheckRequest(content=vote))).code == "UNKNOWN_REF"
    assert before == (ledger.size, ledger.state_digest, ledger.author_tip("op0"))
    assert not ledger.law.drain_changes()


async def test_what_is_no_content_is_schema(serving: Serving) -> None:
    stub = law(serving)
    assert (await stub.Check(pb.CheckRequest(content=b"\xff"))).code == "SCHEMA"
    other = content_pb2.Content(ver=1, author="op0")
    answer = await stub.Check(pb.CheckRequest(content=other.SerializeToString()))
    assert answer.code == "SCHEMA"
    assert "content.ledger" in answer.why


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.CheckRequest(content=bytes(20_000)), "content"),
        (pb.CheckRequest(content=b"x", endorsers=["US"] * 65), "endorsers"),
    ],
)
async def test_a_check_is_bounded(serving: Serving, request_: pb.CheckRequest, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await law(serving).Check(request_)
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert refusal_of(caught.value).field == field


# Questions


@pytest_asyncio.fixture
async def court(tmp_path: Path) -> AsyncIterator[tuple[Serving, Courtroom]]:
    """A served node that has lived the courtroom's history."""
    serving = await serve(founding(), tmp_path / "served")
    room = await held(serving.running)
    yield serving, room
    await serving.close()


async def test_every_question_now_and_at_every_past_commit(
    court: tuple[Serving, Courtroom], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one call each; earlier than where the kept replay stands begins anew, later goes on."""
    monkeypatch.setattr(asked, "SLICE_S", 0.001)
    serving, room = court
    stub = law(serving)
    sizes = sorted(room.said)
    for size in (sizes[-1], sizes[4], sizes[9], sizes[9]):
        for name in ("runs", "cases", "decisions", "obligations"):
            request = pb.AskRequest(question=name, about=ABOUTS.get(name, ""), index=size - 1)
            answer = await stub.Ask(request)
            assert answer.document == room.said[size][name]
            assert (answer.size, answer.at.size) == (size, sizes[-1])
    for name in QUESTIONS:
        live = await stub.Ask(pb.AskRequest(question=name, about=ABOUTS.get(name, "")))
        assert json.loads(live.document)["question"] == name
        assert live.size == sizes[-1]
    page = await stub.Ask(pb.AskRequest(question="runs", limit=1))
    assert json.loads(page.document)["next_after"] == "op0/r1"


async def test_a_replay_that_takes_longer_is_gone_on_with(
    court: tuple[Serving, Courtroom], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "LENT_S", 0.0)
    monkeypatch.setattr(asked, "SLICE_S", 0.0)
    serving, room = court
    stub = law(serving)
    last = max(room.said)
    request = pb.AskRequest(question="runs", index=last - 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Ask(request)
    assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
    refusal = refusal_of(caught.value)
    assert refusal.code == "REPLAYING"
    assert refusal.retry_after_ms > 0
    monkeypatch.setattr(asked, "LENT_S", 5.0)
    monkeypatch.setattr(asked, "SLICE_S", 0.01)
    assert (await stub.Ask(request)).document == room.said[last]["runs"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.AskRequest(question="tea"), "question"),
        (pb.AskRequest(question="runs", about="x" * 300), "about"),
        (pb.AskRequest(question="runs", limit=1_001), "limit"),
        (pb.AskRequest(question="runs", index=10**9), "index"),
    ],
)
async def test_a_question_is_bounded(serving: Serving, request_: pb.AskRequest, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await law(serving).Ask(request_)
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert refusal_of(caught.value).field == field


async def test_an_answer_that_reads_too_much_is_for_the_own_store(
    court: tuple[Serving, Courtroom], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, _ = court
    few = functools.partial(asked.CountedLeaves, left=2)
    monkeypatch.setattr(asked, "CountedLeaves", few)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await law(serving).Ask(pb.AskRequest(question="cases"))
    assert refusal_of(caught.value).code == "TOO_MANY"
    assert (await law(serving).Ask(pb.AskRequest(question="runs"))).document

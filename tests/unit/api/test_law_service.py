"""The law asked through a node: what it would say, with nothing changed."""

import grpc
import pytest
from grpc import StatusCode

from foedus.v1 import content_pb2
from foedus.v1 import law_pb2 as pb
from foedus.v1 import law_pb2_grpc as rpc
from node.cli.statements import Draft, content_bytes
from tests.unit.api.serving import Serving, refusal_of


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

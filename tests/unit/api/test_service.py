"""The client services over a real ledger: what is answered, at which point, and how a refusal reads."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from foedus.v1 import client_pb2 as pb
from foedus.v1 import content_pb2
from node.api.access import READER_KEY, sign_reader_proof
from node.ledger.genesis import encode_genesis
from node.log import cose, policy
from node.log.proof import parse_proof
from node.settings import LimitSettings
from node.signing.acknowledgement import verify_acknowledgement
from node.signing.checkpoints import log_vkey
from node.signing.statements import entry_hash, sign_entry
from node.signing.verify import verify_ed25519
from tests.unit.api.serving import Serving, refusal_of, serve
from tests.unit.ledger.founding import Author, Founding, found, sign_by_all


async def refused(call: Any) -> tuple[StatusCode, pb.Refusal, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    err = caught.value
    return err.code(), refusal_of(err), err.details() or ""


def author_of(serving: Serving) -> Author:
    return serving.founding.author(0)


async def logged(serving: Serving, count: int = 3) -> list[bytes]:
    """A facility and `count` energy statements, integrated in one commit, not final."""
    author = author_of(serving)
    entries = [author.facility("dc1", serving.founding.agencies[0])]
    entries += [author.energy(100 + number) for number in range(count)]
    await serving.commit(*entries)
    return entries


async def test_submit_is_acknowledged_by_the_nodes_log_key(serving: Serving) -> None:
    entry = author_of(serving).energy(5)
    answer = await serving.client().Submit(pb.SubmitRequest(entry=entry))
    assert answer.state == pb.ENTRY_STATE_ACKNOWLEDGED
    assert answer.entry_hash == entry_hash(entry)
    promise = verify_acknowledgement(answer.acknowledgement, serving.founding.nodes[0].log.public)
    assert promise is not None
    assert promise.entry_hash == entry_hash(entry)
    assert promise.inclusion_by_ms == answer.inclusion_by_ms > 0
    again = await serving.client().Submit(pb.SubmitRequest(entry=entry))
    assert again.inclusion_by_ms == answer.inclusion_by_ms
    tip = await serving.client().GetAuthorTip(pb.GetAuthorTipRequest(author="op0"))
    assert (tip.next_seq, tip.pending_next_seq) == (1, 2)
    assert tip.pending_prev == entry_hash(entry)


async def test_many_at_once_are_each_answered_for_themselves(serving: Serving) -> None:
    """One bad signature among forty of a chain: those behind it wait, none is lost, order is kept."""
    author = author_of(serving)
    entries = [author.energy(number) for number in range(40)]
    bad = 25
    sent = list(entries)
    sent[bad] = sent[bad][:-1] + bytes((sent[bad][-1] ^ 1,))
    client = serving.client()
    answer = await client.SubmitMany(pb.SubmitManyRequest(entries=sent))
    results = answer.results
    assert [result.WhichOneof("result") for result in results] == [
        "refusal" if place == bad else "taken" for place in range(40)
    ]
    assert results[bad].refusal.code == "SIGNATURE"
    assert [result.taken.entry_hash for result in results[:bad]] == [
        entry_hash(entry) for entry in entries[:bad]
    ]
    assert all(result.taken.acknowledgement for result in results[:bad])
    assert all(result.taken.state == pb.ENTRY_STATE_HELD for result in results[bad + 1 :])
    await client.Submit(pb.SubmitRequest(entry=entries[bad]))
    assert serving.running.mempool.take(1 << 20, 100) == tuple(entries)
    for count in (0, 513):
        status, refusal, _ = await refused(
            client.SubmitMany(pb.SubmitManyRequest(entries=[b"x"] * count))
        )
        assert (status, refusal.field) == (StatusCode.INVALID_ARGUMENT, "entries")


async def test_submit_before_its_predecessor_is_held(serving: Serving) -> None:
    author = author_of(serving)
    author.energy(1)
    answer = await serving.client().Submit(pb.SubmitRequest(entry=author.energy(2)))
    assert answer.state == pb.ENTRY_STATE_HELD
    assert answer.acknowledgement == b""


async def test_refusals_name_code_field_and_reason(serving: Serving) -> None:
    """One case for each way in which an entry can be wrong as it is."""
    client, author, founding = serving.client(), author_of(serving), serving.founding
    good = author.energy(1)
    flipped = good[:-1] + bytes((good[-1] ^ 1,))
    stranger = Author(replace(founding.operators[0], author_id="nobody"), founding.chain_id)
    elsewhere = Author(founding.operators[0], bytes(32))
    vote_key = founding.agencies[0].vote
    assert vote_key is not None
    wrong_role = Author(replace(founding.agencies[0], author=vote_key), founding.chain_id)
    far = Author(founding.operators[1], founding.chain_id, seq=500, prev=bytes(32))
    cases = [
        (b"", StatusCode.INVALID_ARGUMENT, "SCHEMA", ""),
        (b"\x00" * 100, StatusCode.INVALID_ARGUMENT, "SCHEMA", ""),
        (b"\xd2" + b"\x00" * 65_535, StatusCode.INVALID_ARGUMENT, "TOO_LARGE", "entry"),
        (flipped, StatusCode.UNAUTHENTICATED, "SIGNATURE", "signature"),
        (stranger.energy(1), StatusCode.UNAUTHENTICATED, "UNKNOWN_AUTHOR", "cose.kid"),
        (wrong_role.energy(1), StatusCode.UNAUTHENTICATED, "UNKNOWN_AUTHOR", "cose.kid"),
        (elsewhere.energy(1), StatusCode.FAILED_PRECONDITION, "LEDGER", "content.ledger"),
        (far.energy(1), StatusCode.FAILED_PRECONDITION, "SEQ_GAP", ""),
    ]
    for entry, status, code, field in cases:
        found_status, refusal, text = await refused(client.Submit(pb.SubmitRequest(entry=entry)))
        assert (found_status, refusal.code) == (status, code), text
        assert not field or refusal.field == field
        assert refusal.why
        assert refusal.code in text
    assert len(serving.running.mempool) == 0
    assert serving.fatal == []


async def test_a_message_beyond_the_limit_never_reaches_the_handler(serving: Serving) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await serving.client().Submit(pb.SubmitRequest(entry=bytes(1 << 20)))
    assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED


async def test_an_entry_is_followed_to_final_and_proven_offline(serving: Serving) -> None:
    entries = await logged(serving)
    client, digest = serving.client(), entry_hash(entries[2])
    key = pb.GetEntryStateRequest(entry_hash=digest)
    before = await client.GetEntryState(key)
    assert before.state == pb.ENTRY_STATE_INTEGRATED
    status, refusal, _ = await refused(client.GetReceipt(pb.GetReceiptRequest(entry_hash=digest)))
    assert (status, refusal.code) == (StatusCode.FAILED_PRECONDITION, "NOT_FINAL")
    assert refusal.retry_after_ms > 0
    await serving.finalise()
    later = serving.founding.author(1).energy(9)
    await serving.commit(later)
    status, refusal, _ = await refused(
        client.GetReceipt(pb.GetReceiptRequest(entry_hash=entry_hash(later)))
    )
    assert (status, refusal.code) == (StatusCode.FAILED_PRECONDITION, "NOT_FINAL")
    after = await client.GetEntryState(key)
    assert (after.state, after.index) == (pb.ENTRY_STATE_FINAL, before.index)
    genesis = await client.GetGenesis(pb.GetGenesisRequest())
    assert genesis.document == serving.founding.document
    answer = await client.GetReceipt(pb.GetReceiptRequest(entry_hash=digest, cose=True))
    assert answer.leaf == entries[2]
    proof = parse_proof(answer.tlog_proof)
    trusted = policy.parse_policy(genesis.trust_policy)
    judged = policy.evaluate(trusted, proof.note, verify_ed25519)
    assert judged.satisfied, judged
    assert judged.checkpoint.size == answer.size < serving.running.ledger.size
    assert proof.root_of(entries[2]) == judged.checkpoint.root
    assert proof.root_of(entries[1]) != judged.checkpoint.root
    receipt = cose.parse_inclusion_receipt(answer.cose_receipts[0])
    log_key = serving.founding.nodes[0].log.public
    assert verify_ed25519(log_key, receipt.to_be_signed(entries[2]), receipt.signature)
    assert not verify_ed25519(log_key, receipt.to_be_signed(entries[1]), receipt.signature)


async def test_checkpoints_lean_and_full(serving: Serving) -> None:
    await logged(serving)
    client = serving.client()
    empty = await client.GetCheckpoint(pb.GetCheckpointRequest())
    assert (empty.note, empty.at.final_size) == (b"", 0)
    await serving.finalise()
    for full in (False, True):
        answer = await client.GetCheckpoint(pb.GetCheckpointRequest(full=full))
        origin, size, *_ = answer.note.decode().split("\n")
        assert origin == serving.founding.genesis.origin
        assert int(size) == answer.at.final_size == serving.running.ledger.size
        assert answer.note.count("\u2014".encode()) == 1 + serving.running.finality.quorum


async def test_get_by_index_and_hash(serving: Serving) -> None:
    entries = await logged(serving)
    client = serving.client()
    by_hash = await client.Get(pb.GetRequest(entry_hash=entry_hash(entries[1])))
    by_index = await client.Get(pb.GetRequest(index=by_hash.entry.index))
    assert by_index.entry == by_hash.entry
    entry = by_hash.entry
    assert (entry.leaf, entry.kind, entry.author) == (entries[1], "energy", "op0")
    assert json.loads(entry.json)["body"]["wh"] == 100
    record = await client.Get(pb.GetRequest(index=0))
    assert (record.entry.kind, record.entry.author) == ("genesis", "")
    status, refusal, _ = await refused(client.Get(pb.GetRequest(index=10_000)))
    assert (status, refusal.code) == (StatusCode.OUT_OF_RANGE, "NOT_YET")
    for request in (pb.GetRequest(), pb.GetRequest(entry_hash=b"short")):
        status, refusal, _ = await refused(client.Get(request))
        assert status is StatusCode.INVALID_ARGUMENT
        assert refusal.field in {"key", "entry_hash"}
    status, _, _ = await refused(client.Get(pb.GetRequest(entry_hash=bytes(32))))
    assert status is StatusCode.NOT_FOUND


async def test_list_pages_cover_everything_once(serving: Serving) -> None:
    await logged(serving, count=10)
    client, size = serving.client(), serving.running.ledger.size
    seen: list[int] = []
    request = pb.ListRequest(limit=4)
    while True:
        page = await client.List(request)
        assert len(page.entries) <= 4
        seen += [entry.index for entry in page.entries]
        if not page.HasField("next_first"):
            break
        request.first = page.next_first
    assert seen == list(range(size))
    energy = await client.List(pb.ListRequest(kind="energy", author="op0", limit=6, brief=True))
    assert [entry.kind for entry in energy.entries] == ["energy"] * 6
    assert all(entry.leaf == b"" and entry.json == "" for entry in energy.entries)
    rest = await client.List(pb.ListRequest(kind="energy", author="op0", first=energy.next_first))
    assert len(rest.entries) == 4
    assert not rest.HasField("next_first")
    newest = await client.List(pb.ListRequest(newest=True, limit=2))
    assert [entry.index for entry in newest.entries] == [size - 2, size - 1]
    status, refusal, _ = await refused(client.List(pb.ListRequest(limit=1001)))
    assert (status, refusal.field) == (StatusCode.INVALID_ARGUMENT, "limit")


async def test_watch_sends_what_becomes_final_in_order_and_once(serving: Serving) -> None:
    await logged(serving)
    client = serving.client()
    watch = client.Watch(pb.WatchRequest(first=0))
    seen: list[int] = []

    async def collect() -> None:
        async for answer in watch:
            seen.extend(entry.index for entry in answer.entries)
            assert answer.next_first == (seen[-1] + 1 if seen else 0)
            assert all(entry.state == pb.ENTRY_STATE_FINAL for entry in answer.entries)
            if seen and seen[-1] + 1 == wanted:
                return

    first_size = wanted = serving.running.ledger.size
    await serving.finalise()
    await asyncio.wait_for(collect(), 5)
    author = serving.founding.author(1)
    await serving.commit(author.energy(1), author.energy(2))
    wanted = serving.running.ledger.size
    assert wanted > first_size
    await serving.finalise()
    await asyncio.wait_for(collect(), 5)
    assert seen == list(range(wanted))
    watch.cancel()


async def next_of(watch: Any) -> pb.WatchResponse:
    answer = await asyncio.wait_for(watch.read(), 5)
    assert isinstance(answer, pb.WatchResponse)
    return answer


async def test_watch_of_integrated_energy_only(serving: Serving) -> None:
    client = serving.client()
    watch = client.Watch(pb.WatchRequest(first=0, integrated=True, kinds=["energy"], brief=True))
    entries = await logged(serving)
    answer = await next_of(watch)
    assert [entry.kind for entry in answer.entries] == ["energy"] * (len(entries) - 1)
    assert all(entry.state == pb.ENTRY_STATE_INTEGRATED for entry in answer.entries)
    watch.cancel()


async def test_watch_without_news_beats(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.api.service.HEARTBEAT_S", 0.02)
    watch = serving.client().Watch(pb.WatchRequest())
    for _ in range(2):
        beat = await next_of(watch)
        assert not beat.entries
        assert beat.HasField("at")
    watch.cancel()


async def test_status_and_veto_check(serving: Serving) -> None:
    await logged(serving)
    await serving.finalise()
    client, ledger = serving.client(), serving.running.ledger
    status = await client.GetStatus(pb.GetStatusRequest())
    assert (status.state, status.version, status.round) == ("BR", "test", 7)
    assert status.chain_id == serving.founding.chain_id
    assert status.log_size == status.final_size == ledger.size
    assert status.root == status.final_root == ledger.root
    assert (status.members, status.quorum) == (4, 3)
    assert [peer.state for peer in status.peers] == ["CN"]
    assert not status.alarms
    assert status.state_digest == ledger.state_digest
    assert status.rss_bytes > 1_000_000
    assert (status.quorum_index, status.commit_lag, status.quorum_round) == (9, 3, 31)
    first, second = status.figures
    assert (first.state, first.round, first.leads_committed, first.leads_skipped) == (
        "BR",
        31,
        4,
        1,
    )
    assert not first.HasField("equivocated_round")
    assert (second.state, second.ordered_p50_ms, second.equivocated_round) == ("CN", 80, 7)
    assert [(item.reason, item.count) for item in status.refused] == [("signature", 2)]
    assert [(item.name, item.held, item.limit) for item in status.queues] == [
        ("core inbox", 1, 512)
    ]
    assert (status.signing.state, status.signing.sign_state_lost) == ("signing", False)
    check = await client.GetVetoCheck(pb.GetVetoCheckRequest())
    assert (check.members, check.quorum, check.veto_possible) == (4, 3, True)


async def test_views_of_facilities_and_absent_things(serving: Serving) -> None:
    await logged(serving)
    client = serving.client()
    page = await client.ListFacilities(pb.ListFacilitiesRequest())
    assert [item.facility for item in page.facilities] == ["op0/dc1"]
    assert page.facilities[0].capacity_mh == 1000
    for call in (
        client.GetMotion(pb.GetMotionRequest(motion="x")),
        client.GetCase(pb.GetCaseRequest(case="x")),
    ):
        status, refusal, _ = await refused(call)
        assert (status, refusal.code) == (StatusCode.NOT_FOUND, "NOT_FOUND")
    status, refusal, _ = await refused(client.GetMotion(pb.GetMotionRequest()))
    assert (status, refusal.field) == (StatusCode.INVALID_ARGUMENT, "motion")


async def test_health_and_reflection(serving: Serving) -> None:
    channel = serving.channel()
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "foedus.v1.LedgerService"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    names = await reflected(channel)
    assert "foedus.v1.LedgerService" in names


async def reflected(channel: grpc.aio.Channel) -> list[str]:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    )
    async for answer in call:
        return [service.name for service in answer.list_services_response.service]
    return []


# --- limits -------------------------------------------------------------------------------------


async def test_streams_beyond_the_limit_are_refused_and_calls_are_not(
    founding: Founding, tmp_path: Path
) -> None:
    serving = await serve(founding, tmp_path, limits=LimitSettings(watchers=2))
    try:
        client = serving.client()
        watches = [client.Watch(pb.WatchRequest(first=0, integrated=True)) for _ in range(2)]
        for watch in watches:
            await asyncio.wait_for(watch.read(), 5)
        status, refusal, _ = await refused(client.Watch(pb.WatchRequest()).read())
        assert (status, refusal.code) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert refusal.retry_after_ms > 0
        await client.GetStatus(pb.GetStatusRequest())
        watches[0].cancel()
        async with asyncio.timeout(5):
            while await open_streams(serving) > 1:  # noqa: ASYNC110 - a gauge has no event
                await asyncio.sleep(0.01)
        again = client.Watch(pb.WatchRequest(first=0, integrated=True))
        await asyncio.wait_for(again.read(), 5)
        again.cancel()
        watches[1].cancel()
    finally:
        await serving.close()


async def open_streams(serving: Serving) -> float:
    value = serving.metrics.registry.get_sample_value("foedus_client_streams_open")
    assert value is not None
    return value


async def test_a_call_beyond_its_deadline_is_ended(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, founding: Founding, tmp_path: Path
) -> None:
    del serving
    served = await serve(founding, tmp_path / "second", limits=LimitSettings(deadline_s=1))

    async def never() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(served.running.store, "durable", never)
    try:
        entry = author_of(served).energy(1)
        status, refusal, _ = await refused(served.client().Submit(pb.SubmitRequest(entry=entry)))
        assert (status, refusal.code) == (StatusCode.DEADLINE_EXCEEDED, "DEADLINE")
    finally:
        monkeypatch.undo()
        await served.close()


async def test_a_broken_assertion_stops_the_node(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: bytes) -> None:
        raise AssertionError("two and two are five")

    monkeypatch.setattr(serving.running.ledger, "status_of", broken)
    status, refusal, text = await refused(
        serving.client().GetEntryState(pb.GetEntryStateRequest(entry_hash=bytes(32)))
    )
    assert (status, refusal.code) == (StatusCode.UNAVAILABLE, "STOPPING")
    assert "five" not in text
    assert [str(err) for err in serving.fatal] == ["two and two are five"]


# --- who reads what is restricted ---------------------------------------------------------------


@pytest.fixture(scope="module")
def closed_founding() -> Founding:
    founding = found(4, 1)
    genesis = replace(founding.genesis, publication="members", signatures={})
    genesis = sign_by_all(genesis, founding.nodes)
    return Founding(
        genesis, encode_genesis(genesis), founding.nodes, founding.agencies, founding.operators
    )


async def test_restricted_leaves_are_withheld_from_strangers(
    closed_founding: Founding, tmp_path: Path
) -> None:
    serving = await serve(closed_founding, tmp_path)
    try:
        entries = await logged(serving, count=1)
        public = public_note(serving.founding.author(0), entries)
        await serving.commit(public)
        await serving.finalise()
        client = serving.client()
        page = await client.List(pb.ListRequest())
        shown = [entry for entry in page.entries if not entry.withheld]
        assert [entry.leaf for entry in shown] == [public]
        assert all(not (e.leaf or e.json or e.kind or e.author) for e in page.entries if e.withheld)
        receipt = await client.GetReceipt(pb.GetReceiptRequest(entry_hash=entry_hash(entries[0])))
        assert (receipt.leaf, bool(receipt.tlog_proof)) == (b"", True)
        for call in (
            client.List(pb.ListRequest(kind="energy")),
            client.ListMotions(pb.ListMotionsRequest()),
            client.ListFacilities(pb.ListFacilitiesRequest()),
        ):
            status, refusal, _ = await refused(call)
            assert (status, refusal.code) == (StatusCode.PERMISSION_DENIED, "RESTRICTED")
        metadata = proof_of(serving, party="CN", key=1)
        # R62: who knows the state digest knows the nonces of the next commit's records.
        assert (await client.GetStatus(pb.GetStatusRequest())).state_digest == b""
        standing = await client.GetStatus(pb.GetStatusRequest(), metadata=metadata)
        assert standing.state_digest == serving.running.ledger.state_digest
        page = await client.List(pb.ListRequest(kind="energy"), metadata=metadata)
        assert [entry.leaf for entry in page.entries] == [entries[1]]
    finally:
        await serving.close()


async def test_bad_reader_proofs_are_refused_by_name(
    closed_founding: Founding, tmp_path: Path
) -> None:
    serving = await serve(closed_founding, tmp_path)
    try:
        client = serving.client()
        for field, metadata in {
            "node": proof_of(serving, node="CN"),
            "expires_s": proof_of(serving, valid_s=-1),
            "party": proof_of(serving, party="op0"),
            "kid": proof_of(serving, party="CN", key=2),
            "proof": ((READER_KEY, b"\xff\xff"),),
        }.items():
            status, refusal, _ = await refused(client.List(pb.ListRequest(), metadata=metadata))
            assert status is StatusCode.UNAUTHENTICATED
            assert refusal.field == f"{READER_KEY}.{field}"
    finally:
        await serving.close()


def proof_of(
    serving: Serving, *, party: str = "CN", key: int = 1, node: str = "BR", valid_s: int = 60
) -> tuple[tuple[str, bytes], ...]:
    made = sign_reader_proof(
        serving.founding.agencies[key].author,
        party=party,
        chain_id=serving.founding.chain_id,
        node=node,
        expires_s=serving.running.now_ms // 1000 + valid_s,
    )
    return ((READER_KEY, made),)


def public_note(author: Author, before: list[bytes]) -> bytes:
    content = content_pb2.Content(
        ver=1,
        ledger=author.ledger,
        author=author.keys.author_id,
        confidentiality=content_pb2.CONFIDENTIALITY_PUBLIC,
        note=content_pb2.Note(type=content_pb2.NOTE_TYPE_PUBLICATION, hash=bytes(32)),
    )
    return sign_entry(
        author.keys.author,
        author=author.keys.author_id,
        kind="note",
        subject=author.keys.author_id,
        content=content.SerializeToString(),
        seq=len(before) + 1,
        prev=entry_hash(before[-1]),
    )


def test_log_keys_of_the_policy_are_the_members(founding: Founding) -> None:
    from node.ledger.trust import trust_policy

    text = trust_policy(founding.genesis).decode()
    for node in founding.nodes:
        assert str(log_vkey(founding.genesis.origin, node.log.public)) in text
    assert "group states 3 " in text

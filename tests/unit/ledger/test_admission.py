"""The way in: each refusal names its field; what is acknowledged survives; overload is an answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from foedus.v1 import content_pb2 as pb
from node.ledger.admission import Acknowledged, Held
from node.ledger.errors import Overloaded, Refused
from node.ledger.mempool import MempoolLimits
from node.log.cose import (
    ALG_ED25519,
    ENTRY_TYPE,
    Header,
    encode_header,
    encode_statement,
    sig_structure,
)
from node.signing.acknowledgement import verify_acknowledgement
from node.signing.keys import SigningKey, generate_agency_keys
from node.signing.statements import entry_hash, sign_payload
from node.signing.verify import SignatureCheck
from node.storage.rows import PendingRow
from node.storage.store import Store
from tests.compiled import plain_law_only
from tests.unit.ledger.founding import GENESIS_MS, Author, Founding, found
from tests.unit.ledger.running import Running, start


@pytest.fixture(scope="module")
def founding() -> Founding:
    return found(4, 2)


@pytest.fixture
async def node(founding: Founding, tmp_path: Path) -> AsyncIterator[Running]:
    running = await start(founding, tmp_path)
    yield running
    running.close()


@pytest.fixture
def author(founding: Founding) -> Author:
    return founding.author(0)


async def test_an_acknowledgement_is_signed_and_names_its_deadline(
    node: Running, founding: Founding, author: Author
) -> None:
    node.now_ms = GENESIS_MS + 5_000
    entry = author.energy(1)
    answer = await node.admission.submit(entry)
    assert isinstance(answer, Acknowledged)
    promise = verify_acknowledgement(answer.acknowledgement, founding.nodes[0].log.public)
    assert promise is not None
    assert (promise.chain_id, promise.entry_hash, promise.node) == (
        founding.chain_id,
        entry_hash(entry),
        "BR",
    )
    assert promise.inclusion_by_ms == answer.inclusion_by_ms == GENESIS_MS + 5_000 + 60_000


async def test_a_promise_never_rests_on_a_slow_clock(node: Running, author: Author) -> None:
    node.now_ms = GENESIS_MS - 10**6
    answer = await node.admission.submit(author.energy(1))
    assert isinstance(answer, Acknowledged)
    assert answer.inclusion_by_ms == GENESIS_MS + 60_000


async def test_an_entry_whose_commit_is_on_its_way_to_the_disk_is_no_duplicate(
    node: Running, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came into the log by another node; its author hands it to this one while the commit is written and not yet durable."""
    await node.commit(author.facility("dc1", node.founding.agencies[0]))
    entry = author.energy(1)
    flushed, waiting = asyncio.Event(), asyncio.Event()
    flush = Store.durable
    calls = 0

    async def slow_at_first(store: Store) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            waiting.set()
            await flushed.wait()
        await flush(store)

    monkeypatch.setattr(Store, "durable", slow_at_first)
    commit = asyncio.create_task(node.commit(entry))
    await waiting.wait()
    assert node.ledger.find(entry_hash(entry)) is None, "readers see it when it is durable"
    answer = await node.admission.submit(entry)
    assert isinstance(answer, Acknowledged)
    flushed.set()
    await commit
    assert node.ledger.find(entry_hash(entry)) is not None


def signed_as(
    key: SigningKey, content: pb.Content, *, iss: str, sub: str, kind: str = ENTRY_TYPE
) -> bytes:
    """An entry with a header of our choice."""
    envelope = pb.Envelope(content=content.SerializeToString(), seq=1, prev=bytes(32))
    payload = envelope.SerializeToString()
    protected = encode_header(
        Header(alg=ALG_ED25519, content_type=kind, kid=key.kid, issuer=iss, subject=sub)
    )
    return encode_statement(protected, payload, key.sign(sig_structure(protected, payload)))


async def test_each_refusal_names_code_and_field(
    node: Running, founding: Founding, author: Author
) -> None:
    key = founding.operators[0].author
    vote_key = founding.agencies[0].vote
    assert vote_key is not None
    good = author.energy_content(1)
    state_content = founding.state_author(0).energy_content(1)
    stranger = generate_agency_keys("op0", with_vote=False, seed=b"s" * 32).author
    other_ledger = Author(founding.operators[0], b"L" * 32).energy(1)
    unclassed = author.energy_content(1)
    unclassed.ClearField("confidentiality")
    late = author.energy_content(1)
    late.energy.ClearField("meter")
    entry = author.sign(good, advance=False)
    endorsed = founding.author(1).facility("dc1", founding.agencies[1])
    forged_endorsement = Author(founding.operators[1], founding.chain_id).facility(
        "dc1",
        generate_agency_keys(
            "CN", seed=b"f" * 32
        ),  # another key under CN's name: unknown, so not counted
    )
    wrong_prev = Author(founding.operators[0], founding.chain_id, 0, b"p" * 32)
    cases: list[tuple[bytes, str, str]] = [
        (bytes(70_000), "TOO_LARGE", "entry"),
        (b"", "SCHEMA", "cose"),
        (b"\xd2\x84garbage", "SCHEMA", "cose"),
        (entry + b"\x00", "SCHEMA", "cose"),
        (
            sign_payload(key, author="op0", kind="energy", subject="dc1", payload=b"\xff\xff"),
            "SCHEMA",
            "envelope",
        ),
        (
            signed_as(key, unclassed, iss="op0", sub="energy/dc1"),
            "SCHEMA",
            "content.confidentiality",
        ),
        (signed_as(key, late, iss="op0", sub="energy/dc1"), "SCHEMA", "energy.meter"),
        (signed_as(key, good, iss="op1", sub="energy/dc1"), "SCHEMA", "cose.iss"),
        (signed_as(key, good, iss="op0", sub="energy/dc2"), "SCHEMA", "cose.sub"),
        (
            signed_as(key, good, iss="op0", sub="energy/dc1", kind="text/plain"),
            "SCHEMA",
            "cose.content_type",
        ),
        (other_ledger, "LEDGER", "content.ledger"),
        (signed_as(stranger, good, iss="op0", sub="energy/dc1"), "UNKNOWN_AUTHOR", "cose.kid"),
        (
            signed_as(vote_key, state_content, iss="BR", sub="energy/dc1"),
            "UNKNOWN_AUTHOR",
            "cose.kid",
        ),
        (entry[:-1] + bytes([entry[-1] ^ 1]), "SIGNATURE", "signature"),
        (wrong_prev.energy(1), "SEQ_GAP", "envelope.prev"),
        (
            Author(founding.operators[0], founding.chain_id, 64, b"p" * 32).energy(1),
            "SEQ_GAP",
            "envelope.seq",
        ),
    ]
    for raw, code, field in cases:
        with pytest.raises(Refused) as caught:
            await node.admission.submit(raw)
        assert (caught.value.code, caught.value.field) == (code, field), caught.value
        assert caught.value.why
    assert len(node.mempool) == 0
    assert isinstance(await node.admission.submit(endorsed), Acknowledged)
    assert isinstance(await node.admission.submit(forged_endorsement), Acknowledged)


async def test_a_bad_endorsement_is_refused(node: Running, founding: Founding) -> None:
    author = founding.author(1)
    facility = author.facility("dc1", founding.agencies[1])
    envelope = pb.Envelope.FromString(
        facility[
            facility.index(b"\xa0") + 4 : -66
        ]  # the payload: after the empty map and its u16 head
    )
    endorsement = envelope.endorsements[0]
    envelope.endorsements[0] = endorsement[:-1] + bytes([endorsement[-1] ^ 1])
    raw = sign_payload(
        founding.operators[1].author,
        author="op1",
        kind="facility",
        subject="dc1",
        payload=envelope.SerializeToString(),
    )
    with pytest.raises(Refused, match="endorsement of 'CN'") as caught:
        await node.admission.submit(raw)
    assert (caught.value.code, caught.value.field) == ("SIGNATURE", "envelope.endorsements")


async def test_resubmission_gets_the_same_answer(
    node: Running, founding: Founding, author: Author
) -> None:
    entry = author.energy(1)
    first = await node.admission.submit(entry)
    node.now_ms += 9_000
    assert await node.admission.submit(entry) == first
    assert len(node.mempool) == 1
    await node.commit(*node.mempool.take(10**6, 10))
    assert await node.admission.submit(entry) == first, "still here until it is final"
    node.mempool.final(node.ledger.size)
    later = await node.admission.submit(entry)
    assert isinstance(later, Acknowledged)
    assert len(node.mempool) == 0, "what is logged is not taken again"


async def test_the_same_content_again_is_a_duplicate(
    node: Running, founding: Founding, author: Author
) -> None:
    facility = author.facility("dc1", founding.agencies[0])
    await node.commit(facility)
    again = author.facility("dc1", founding.agencies[0])  # the next seq, the same endorsed content
    with pytest.raises(Refused, match=r"DUPLICATE: content: .* entry 3"):
        await node.admission.submit(again)


async def test_a_gap_is_held_and_acknowledged_once_it_closes(node: Running, author: Author) -> None:
    first, second = author.energy(1), author.energy(2)
    assert await node.admission.submit(second) == Held(entry_hash=entry_hash(second), missing_seq=1)
    assert await node.admission.submit(second) == Held(entry_hash=entry_hash(second), missing_seq=1)
    assert isinstance(await node.admission.submit(first), Acknowledged)
    answer = await node.admission.submit(second)
    assert isinstance(answer, Acknowledged)
    assert answer.inclusion_by_ms == node.now_ms + 60_000
    node.now_ms += 1_000
    assert await node.admission.submit(second) == answer
    assert node.mempool.take(10**6, 10) == (first, second)


async def test_the_next_place_of_an_author_counts_what_waits(node: Running, author: Author) -> None:
    assert node.admission.author_tip("op0") == (1, bytes(32))
    entry = author.energy(1)
    await node.admission.submit(entry)
    assert node.admission.author_tip("op0") == (2, entry_hash(entry))
    await node.commit(entry)
    assert node.admission.author_tip("op0") == (2, entry_hash(entry))


async def test_an_equivocation_is_admitted_for_it_is_evidence(
    node: Running, author: Author
) -> None:
    first = author.sign(author.energy_content(1), advance=False)
    second = author.sign(author.energy_content(2))
    await node.commit(first)
    assert isinstance(await node.admission.submit(second), Acknowledged)
    await node.commit(*node.mempool.take(10**6, 10))
    assert node.ledger.status_of(entry_hash(second)).code == "EQUIVOCATION"


async def test_acknowledged_entries_survive_a_restart(
    node: Running, founding: Founding, author: Author, tmp_path: Path
) -> None:
    entries = [author.energy(number) for number in range(10)]
    answers = [await node.admission.submit(entry) for entry in entries]
    node.mempool.take(10**6, 4)
    node.close()
    again = await start(founding, tmp_path)
    assert again.mempool.take(10**6, 100) == tuple(entries)
    assert [await again.admission.submit(entry) for entry in entries] == answers
    again.close()


async def test_many_submissions_share_the_disk(node: Running, author: Author) -> None:
    entries = [author.energy(number) for number in range(200)]
    before = node.store.flushes
    answers = await asyncio.gather(*(node.admission.submit(entry) for entry in entries))
    assert all(isinstance(answer, Acknowledged) for answer in answers), "taken out of order"
    assert node.mempool.pending() == 200
    assert node.store.flushes - before < len(entries), "each had a flush of its own"


async def test_a_slow_check_does_not_let_later_entries_overtake(
    node: Running, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = asyncio.Event()
    verify_many, calls = node.pool.verify_many, 0

    async def slow_for_the_first(checks: Sequence[SignatureCheck]) -> list[bool]:
        nonlocal calls
        calls += 1
        if calls == 1:
            await checked.wait()
        return await verify_many(checks)

    monkeypatch.setattr(node.pool, "verify_many", slow_for_the_first)
    first = asyncio.create_task(node.admission.submit(author.energy(1)))
    second = asyncio.create_task(node.admission.submit(author.energy(2)))
    await asyncio.sleep(0.05)
    checked.set()
    assert isinstance(await first, Acknowledged)
    assert isinstance(await second, Acknowledged), "held: it overtook the entry before it"


async def test_a_cancelled_or_refused_submission_lets_the_next_one_pass(
    node: Running, author: Author
) -> None:
    first = asyncio.create_task(node.admission.submit(author.energy(1)))
    bad = author.sign(author.energy_content(2), advance=False)
    refused = asyncio.create_task(node.admission.submit(bad[:-1] + bytes([bad[-1] ^ 1])))
    gone = asyncio.create_task(node.admission.submit(bad))
    last = asyncio.create_task(node.admission.submit(author.energy(3)))
    await asyncio.sleep(0)
    gone.cancel()
    answers = await asyncio.wait_for(
        asyncio.gather(first, refused, gone, last, return_exceptions=True), 20
    )
    assert [type(answer) for answer in answers] == [
        Acknowledged,
        Refused,
        asyncio.CancelledError,
        Acknowledged,
    ]
    await asyncio.sleep(0.01)
    assert node.admission._last_turn == {}


async def test_no_acknowledgement_before_the_entry_is_durable(
    node: Running, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = asyncio.Event()
    waiting = asyncio.Event()

    async def flush() -> None:
        waiting.set()
        await flushed.wait()

    monkeypatch.setattr(node.store, "durable", flush)
    entry = author.energy(1)
    first = asyncio.create_task(node.admission.submit(entry))
    await asyncio.wait_for(waiting.wait(), 20)
    second = asyncio.create_task(node.admission.submit(entry))
    await asyncio.sleep(0.02)
    assert not first.done()
    assert not second.done(), "the same entry again must wait for the disk too"
    flushed.set()
    assert await first == await second


async def test_two_submissions_of_one_entry_at_once_are_one_entry(
    node: Running, author: Author
) -> None:
    entry = author.energy(1)
    answers = await asyncio.gather(*(node.admission.submit(entry) for _ in range(5)))
    assert all(answer == answers[0] for answer in answers)
    assert len(node.mempool) == 1


async def test_overload_and_quota_are_answers(founding: Founding, tmp_path: Path) -> None:
    limits = MempoolLimits(entries_max=5, per_author_max=3, retry_after_ms=250)
    node = await start(founding, tmp_path, limits=limits)
    one, two = founding.author(0), founding.author(1)
    for number in range(3):
        await node.admission.submit(one.energy(number))
    with pytest.raises(Overloaded, match="3 entries of op0") as caught:
        await node.admission.submit(one.energy(9))
    assert caught.value.retry_after_ms == 250
    for number in range(2):
        await node.admission.submit(two.energy(number))
    with pytest.raises(Overloaded, match="5 entries are waiting"):
        await node.admission.submit(two.energy(9))
    node.close()


async def test_a_stopping_node_admits_nothing(node: Running, author: Author) -> None:
    node.admission.close()
    with pytest.raises(Refused, match="CLOSING"):
        await node.admission.submit(author.energy(1))


async def test_many_are_answered_one_by_one_and_written_together(
    node: Running, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (author.energy(number) for number in range(3))
    writes: list[int] = []
    put = node.store.put_pending

    def counted(rows: Sequence[PendingRow]) -> None:
        writes.append(len(rows))
        put(rows)

    monkeypatch.setattr(node.store, "put_pending", counted)
    told: list[None] = []
    node.mempool.on_change(lambda: told.append(None))
    forged = second[:-1] + bytes([second[-1] ^ 1])
    answers = await node.admission.submit_many([b"", first, forged, third, second, first])
    codes = [answer.code if isinstance(answer, Refused) else "" for answer in answers]
    assert codes == ["SCHEMA", "", "SIGNATURE", "", "", ""]
    # `third` came before `second`, and is promised all the same: its gap had closed when the call was answered.
    promised = [answer.entry_hash for answer in answers if isinstance(answer, Acknowledged)]
    assert promised == [entry_hash(entry) for entry in (first, third, second, first)]
    assert writes[0] == 3, "all rows in one write"
    assert told == [None]
    assert [row.entry for row in node.store.all_pending()] == [first, third, second]


async def test_an_author_s_calls_keep_their_order_whatever_their_size(
    node: Running, author: Author
) -> None:
    """The longer call takes longer to check; what was sent after it must not overtake it."""
    entries = [author.energy(number) for number in range(200)]
    pieces = [entries[:150], entries[150:151], entries[151:]]
    calls = [asyncio.ensure_future(node.admission.submit_many(piece)) for piece in pieces]
    for answers in await asyncio.gather(*calls):
        assert all(isinstance(answer, Acknowledged) for answer in answers)
    assert node.mempool.take(1 << 20, 1000) == tuple(entries)


@plain_law_only
async def test_what_there_is_no_room_for_is_parsed_once_and_other_authors_are_not_told_so(
    founding: Founding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood that is refused must not cost the node what it would have cost taken in (decision 0180)."""
    node = await start(founding, tmp_path, limits=MempoolLimits(per_author_max=3))
    flooder, other = founding.author(0), founding.author(1)
    parsed: list[bytes] = []
    read = node.ledger.reader.read

    def counted(raw: bytes) -> object:
        parsed.append(raw)
        return read(raw)

    monkeypatch.setattr(node.ledger.reader, "read", counted)
    flood = [flooder.energy(number) for number in range(40)]
    await node.admission.submit_many(flood[:3])
    parsed.clear()
    answers = await node.admission.submit_many([*flood[3:], other.energy(1)])
    assert [type(answer) for answer in answers] == [Overloaded] * 37 + [Acknowledged]
    assert "3 entries of" in str(answers[36])
    assert len(parsed) == 2
    node.close()

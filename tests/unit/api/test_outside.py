"""Outside witnesses are asked for their lines over this ledger; whatever one answers, only good lines are kept and served."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from node.api import outside as asking
from node.api.http import LogFiles
from node.api.listener import HttpListener
from node.api.outside import OutsideWitnesses, read_asked_witnesses
from node.api.receipts import receipt
from node.api.refusals import Unanswerable
from node.api.witness import WitnessBook, WitnessKeys
from node.log import merkle
from node.log.checkpoint import Checkpoint, parse_checkpoint
from node.log.cose import parse_inclusion_receipt
from node.log.cosignature import open_checkpoint
from node.log.note import (
    KeyType,
    Note,
    SignatureLine,
    VerifierKey,
    parse_note,
    signature_line,
    verifier_key,
)
from node.log.policy import PolicyWitness
from node.log.proof import parse_proof
from node.log.strict import base64_text
from node.log.witness import encode_request, parse_request
from node.settings import BadSettings, Settings, WitnessSettings
from node.signing.checkpoints import log_vkey, sign_log_line, sign_witness_line, witness_vkey
from node.signing.verify import verify_ed25519
from tests.unit.api.serving import Serving, free_port, serve
from tests.unit.audit.test_hostile_servers import LIES
from tests.unit.audit.test_hostile_servers import serving as lying
from tests.unit.ledger.founding import Author, found

ELSEWHERE = found(4, 0, origin="igo.example/log")
assert ELSEWHERE.nodes[0].witness is not None
VKEY = witness_vkey("igo.example/log", "BR", ELSEWHERE.nodes[0].witness.public)


@dataclass
class Two:
    """Our node, and a node of another ledger as its outside witness; they speak over HTTPS."""

    ours: Serving
    log_keys: tuple[VerifierKey, ...]
    url: str
    folder: Path
    author: Author

    def asks(self, *more: PolicyWitness) -> OutsideWitnesses:
        running = self.ours.running
        named = PolicyWitness(name="igo", key=VKEY, url=self.url)
        return OutsideWitnesses(
            running.ledger, running.finality, (named, *more), self.folder, every_s=60
        )

    async def grow(self) -> int:
        before = self.ours.running.finality.final_size
        await self.ours.commit(self.author.energy(7))
        await self.ours.finalise()
        assert self.ours.running.finality.final_size > before
        return self.ours.running.finality.final_size

    async def get(self, outside: OutsideWitnesses, path: str) -> httpx.Response:
        node = replace(self.ours.node, outside=outside)
        app = LogFiles(node, lambda: 0.0, on_fatal=self.ours.fatal.append).app()
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="https://br.foedus") as client:
            return await client.get(path)


@pytest.fixture
async def two(serving: Serving, tmp_path: Path) -> AsyncIterator[Two]:
    genesis = serving.founding.genesis
    keys = ELSEWHERE.nodes[0].witness
    assert keys is not None
    ours = tuple(log_vkey(genesis.origin, member.log_key) for member in genesis.members)
    async with AsyncExitStack() as stack:
        their = await serve(ELSEWHERE, tmp_path / "elsewhere")
        stack.push_async_callback(their.close)
        book = WitnessBook(
            WitnessKeys(key=keys, vkey=VKEY, logs={genesis.origin: ours}), tmp_path / "witness"
        )
        files = LogFiles(their.node, time.monotonic, on_fatal=their.fatal.append, book=book)
        address = f"127.0.0.1:{free_port()}"
        identity = ELSEWHERE.nodes[0].transport
        listener = HttpListener(files.app(), address, requests_max=16, identity=identity)
        await listener.start()
        stack.push_async_callback(listener.stop)
        author = serving.founding.author()
        yield Two(serving, ours, f"https://{address}/witness", tmp_path / "outside", author)


def signed_by(note: bytes, key: VerifierKey) -> int:
    """The size of a checkpoint that this key signed."""
    return open_checkpoint(note, [key], verify_ed25519).checkpoint.size


async def test_a_node_of_another_ledger_witnesses_ours_as_it_grows(two: Two) -> None:
    outside = two.asks()
    await outside.round()
    assert (await two.get(outside, "/checkpoint.witnessed")).status_code == 404, "nothing is final"
    for _ in range(3):
        size = await two.grow()
        await outside.round()
        answer = await two.get(outside, "/checkpoint.witnessed")
        assert (answer.status_code, signed_by(answer.content, VKEY)) == (200, size)
        node = two.ours.founding.nodes[0]
        assert signed_by(answer.content, log_vkey("ledger.test/main", node.log.public)) == size
        assert outside.size == size
    assert (await two.get(outside, "/checkpoint.witnessed/1")).content == answer.content
    for count in ("0", "2", "99999999999"):
        assert (await two.get(outside, f"/checkpoint.witnessed/{count}")).status_code == 404


async def test_what_was_witnessed_outlives_the_process_and_its_size_is_asked_for(two: Two) -> None:
    size = await two.grow()
    first = two.asks()
    await first.round()
    again = two.asks()
    assert again.size == size, "kept on the disk"
    grown = await two.grow()
    await again.round()  # it begins with old 0, is told the size by 409, and proves the growth
    assert again.size == grown


async def test_a_kept_note_that_was_altered_is_left_aside(two: Two) -> None:
    size = b"\n%d\n" % await two.grow()
    await two.asks().round()
    path = two.folder / "1"
    note = path.read_bytes()
    for altered in (note.replace(size, b"\n2\n"), b"", note[:-9], note[: note.rindex(b"\xe2")]):
        assert altered != note
        path.write_bytes(altered)
        assert two.asks().note() is None
    key = ELSEWHERE.nodes[0].witness
    assert key is not None
    other = Checkpoint(origin="ledger.test/main", size=2, root=bytes(32))
    line = sign_witness_line(key, VKEY, other, 1_700_000_000)
    path.write_bytes(bytes(Note(text=other.text(), lines=(line,))))
    assert two.asks().note() is None, "signed well, and of another history than this store's"


async def test_a_receipt_under_a_witnessed_checkpoint(two: Two) -> None:
    """The proof leads to the root that the outside witness cosigned, though the log has gone on."""
    outside = two.asks()
    size = await two.grow()
    await outside.round()
    await two.grow()
    node = replace(two.ours.node, outside=outside)
    given = receipt(node, 1, cose=True, outside=1)
    proof = parse_proof(given.tlog_proof)
    assert (given.size, signed_by(proof.note, VKEY)) == (size, size)
    root = parse_checkpoint(parse_note(proof.note).text).root
    leaf = two.ours.running.ledger.entry(1).leaf
    assert proof.root_of(leaf) == root
    signed = parse_inclusion_receipt(given.cose_receipts[0])
    log_key = two.ours.founding.nodes[0].log.public
    assert verify_ed25519(log_key, signed.to_be_signed(leaf), signed.signature)
    assert receipt(node, size, cose=False).size > size, "final it is"
    for asked, index, code in ((1, size, "NOT_WITNESSED"), (2, 1, "NOT_WITNESSED")):
        with pytest.raises(Unanswerable) as refused:
            receipt(node, index, cose=False, outside=asked)
        assert refused.value.code == code
    with pytest.raises(Unanswerable):
        receipt(two.ours.node, 1, cose=False, outside=1)


class Scripted:
    """A witness' face: what it answers, by the request's body; and the bodies it was sent."""

    def __init__(self, answer: Callable[[bytes], Awaitable[Response]]) -> None:
        self.answer = answer
        self.bodies: list[bytes] = []
        self.held = b""  # what monitors are shown

    async def add(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        return await self.answer(self.bodies[-1])

    async def note(self, request: Request) -> Response:
        del request
        return Response(self.held)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        address = f"127.0.0.1:{free_port()}"
        routes = [
            Route("/w/add-checkpoint", self.add, methods=["POST"]),
            Route("/w/{origin}/checkpoint", self.note),
        ]
        app = Starlette(routes=routes)
        identity = ELSEWHERE.nodes[1].transport
        listener = HttpListener(app, address, requests_max=16, identity=identity)
        await listener.start()
        try:
            yield f"https://{address}/w/"
        finally:
            await listener.stop()


def fixed(status: int, body: bytes, held: bytes = b"") -> Scripted:
    async def answer(asked: bytes) -> Response:
        del asked
        return Response(body, status)

    made = Scripted(answer)
    made.held = held
    return made


async def test_one_that_falls_silent_makes_no_older_proof_worse(two: Two, tmp_path: Path) -> None:
    """With two witnesses asked and one silent: one line at the new size, two at the older."""
    keys = ELSEWHERE.nodes[1].witness
    assert keys is not None
    vkey = witness_vkey("ngo.example/log", "CN", keys.public)
    logs = {two.ours.founding.genesis.origin: two.log_keys}
    book = WitnessBook(WitnessKeys(key=keys, vkey=vkey, logs=logs), tmp_path / "second")

    async def cosigned(asked: bytes) -> Response:
        answer = await book.add(asked, lambda: 1_700_000_001)
        return Response(answer.body, answer.status)

    second = Scripted(cosigned)
    async with second.serve() as url:
        named = PolicyWitness(name="ngo", key=vkey, url=url)
        outside = two.asks(named)
        old = await two.grow()
        await outside.round()
        both = outside.note(2)
        assert both is not None
        assert signed_by(bytes(both), vkey) == signed_by(bytes(both), VKEY) == old
        second.answer = fixed(503, b"out of order").answer
        new = await two.grow()
        await outside.round()
    assert outside.size == new
    assert outside.note(2) == both
    assert two.asks(named).note(2) == both, "durable"
    (two.folder / "2").write_bytes((two.folder / "1").read_bytes())
    assert two.asks(named).note(2) is None, "one line is not two"


def ping_pong() -> Scripted:
    sizes = itertools.cycle((1, 2))

    async def answer(asked: bytes) -> Response:
        del asked
        return Response(b"%d\n" % next(sizes), 409)

    return Scripted(answer)


STRANGER = signature_line(replace(VKEY, name="stranger"), bytes(72))
HOSTILE = {
    "a line by a stranger": (fixed(200, str(STRANGER).encode()), "known keys"),
    "a line that is bad": (
        fixed(200, f"\u2014 {VKEY.name} {base64_text(VKEY.key_id + bytes(72))}\n".encode()),
        "is bad",
    ),
    "no line": (fixed(200, b""), "signature lines"),
    "another note": (fixed(200, b"x\n\n" + str(STRANGER).encode()), "empty line"),
    "octets": (fixed(200, bytes(range(256))), "UTF-8"),
    "too much": (fixed(200, bytes(100_000)), "more than 65536 bytes"),
    "far ahead": (fixed(409, b"18446744073709551615\n"), "it holds 18446744073709551615 entries"),
    "ahead of all numbers": (fixed(409, b"99999999999999999999\n"), "it answers 409"),
    "no size": (fixed(409, b" 3\n"), "it answers 409"),
    "what was said already": (fixed(409, b"0\n"), "it answers 409"),
    "now this, now that": (ping_pong(), "it answers 409 3 times"),
    "another history, it says": (fixed(422, b"another root\n"), "its own note: note: want text"),
    "unknown": (fixed(404, b"origin is not known here\n"), "it answers 404"),
    "a redirect": (fixed(302, b""), "it answers 302"),
}


async def test_a_hostile_answer_gives_no_line_and_is_told(
    two: Two, caplog: pytest.LogCaptureFixture
) -> None:
    size = await two.grow()
    for lie, (witness, why) in HOSTILE.items():
        caplog.clear()
        async with witness.serve() as url:
            outside = replace(two, url=url).asks()
            with caplog.at_level("WARNING", "foedus.witness"):
                await outside.round()
        told = [vars(record)["foedus_fields"]["why"] for record in caplog.records]
        assert len(told) == 1, (lie, told)
        assert why in told[0], lie
        assert (outside.note(), two.ours.running.finality.final_size) == (None, size), lie
    assert not any(two.folder.iterdir())


async def test_lies_in_http_itself_end_in_time_and_hold_up_nobody(two: Two, tmp_path: Path) -> None:
    """The connection's own deadline: all these liars are asked in one round, beside one who is honest."""
    size = await two.grow()
    async with AsyncExitStack() as stack:
        liars = []
        for number, lie in enumerate(LIES.values()):
            folder = tmp_path / f"liar{number}"
            folder.mkdir()
            url = await stack.enter_async_context(lying(two.ours.founding, folder, lie))
            key = verifier_key(f"liar{number}", KeyType.COSIGNATURE, number.to_bytes(32, "big"))
            liars.append(PolicyWitness(name=f"liar{number}", key=key, url=url))
        outside = two.asks(*liars)
        with mock.patch.object(asking, "ANSWER_S", 3.0):
            await asyncio.wait_for(outside.round(), 20)
    assert (outside.size, outside.note(2)) == (size, None)


async def test_a_witness_that_was_shown_another_history_is_an_alarm(
    two: Two, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody with CN's log key showed it a fork first: our growth is refused, and its note says why."""
    origin, nodes = two.ours.founding.genesis.origin, two.ours.founding.nodes
    fork = Checkpoint(origin=origin, size=2, root=merkle.root_of_entries([b"one", b"other"]))
    asked = Note(text=fork.text(), lines=(sign_log_line(nodes[1].log, fork),))
    async with httpx.AsyncClient(verify=False) as client:
        body = encode_request(0, [], asked)
        assert (await client.post(f"{two.url}/add-checkpoint", content=body)).status_code == 200
    outside = two.asks()
    await two.grow()
    for _ in range(2):
        await outside.round()
    (alarm,) = outside.alarms
    assert f"another log of 2 entries, signed by the log key of {nodes[1].state}" in alarm
    (kept,) = two.folder.iterdir()
    assert open_checkpoint(kept.read_bytes(), [VKEY], verify_ed25519).checkpoint == fork
    assert outside.note() is None
    assert [r.levelname for r in caplog.records if r.message == "another history"] == ["ERROR"]


async def test_a_422_without_a_members_line_is_no_alarm(two: Two) -> None:
    """Of a witness' own making: a root that nobody's log key signed, our own root, or nothing at all."""
    size = await two.grow()
    key = ELSEWHERE.nodes[0].witness
    assert key is not None
    log = two.ours.founding.nodes[1].log
    origin = two.ours.founding.genesis.origin
    fork = Checkpoint(origin=origin, size=2, root=bytes(32))
    ours = replace(fork, root=two.ours.running.ledger.root_at(2))
    ahead = replace(fork, size=size + 1)
    elsewhere = replace(fork, origin="elsewhere")
    line = sign_log_line(log, fork)

    def cosigned(checkpoint: Checkpoint, *lines: SignatureLine) -> bytes:
        witness = sign_witness_line(key, VKEY, checkpoint, 1_700_000_000)
        return bytes(Note(text=checkpoint.text(), lines=(*lines, witness)))

    unsigned = bytes(Note(text=fork.text(), lines=(line,)))
    signed = [(c, cosigned(c, sign_log_line(log, c))) for c in (ours, ahead, elsewhere)]
    for note in (b"", cosigned(fork), unsigned, *(note for _, note in signed)):
        witness = fixed(422, b"no\n", note)
        async with witness.serve() as url:
            outside = replace(two, url=url).asks()
            await outside.round()
        assert outside.alarms == []
    witness = fixed(422, b"no\n", cosigned(fork, line))
    async with witness.serve() as url:
        outside = replace(two, url=url).asks()
        await outside.round()
    assert len(outside.alarms) == 1, "else nothing above is shown"


async def test_a_silent_witness_is_asked_less_often_and_told_once(
    two: Two, caplog: pytest.LogCaptureFixture
) -> None:
    await two.grow()
    witness = fixed(500, b"no\n")
    async with witness.serve() as url:
        outside = replace(two, url=url).asks()
        with caplog.at_level("WARNING", "foedus.witness"):
            for _ in range(12):
                await outside.round()
    assert len(witness.bodies) == 4, "in rounds 1, 2, 4 and 8"
    assert len(caplog.records) == 1


async def test_a_round_tells_of_one_and_takes_the_others(two: Two) -> None:
    size = await two.grow()
    key = log_vkey("x", bytes(32))
    silent = PolicyWitness(name="gone", key=replace(VKEY, name=key.name), url="https://127.0.0.1:9")
    outside = two.asks(silent)
    await outside.round()
    assert outside.size == size
    assert outside.note(2) is None


async def test_what_is_sent_is_small_and_carries_the_own_log_line_alone(two: Two) -> None:
    """Reference witnesses take 16 KiB; a member's cosignature is none of their business."""
    await two.grow()
    witness = fixed(500, b"")
    async with witness.serve() as url:
        await replace(two, url=url).asks().round()
    (body,) = witness.bodies
    request = parse_request(body)
    assert (request.old_size, len(request.note.lines), len(body) < 16_384) == (0, 1, True)


async def test_nothing_is_shown_that_cannot_be_kept(two: Two) -> None:
    await two.grow()
    outside = two.asks()
    two.folder.rmdir()
    await outside.round()
    assert outside.note() is None


def settings(folder: Path, text: str) -> Settings:
    (folder / "ask").write_text(text, encoding="utf-8")
    return Settings(home=folder, witness=WitnessSettings(ask="ask"))


def test_whom_the_settings_name(tmp_path: Path) -> None:
    assert read_asked_witnesses(Settings(home=tmp_path)) == ()
    good = settings(tmp_path, f"witness igo {VKEY} https://igo.example/w\nquorum none\n")
    (witness,) = read_asked_witnesses(good)
    assert (witness.name, witness.key, witness.url) == ("igo", VKEY, "https://igo.example/w")
    for text, why in (
        ("quorum none\n", "0 witnesses: want 1 to 32"),
        (f"witness igo {VKEY}\nquorum none\n", "want https"),
        (f"witness igo {VKEY} http://igo.example\nquorum none\n", "want https"),
        (f"witness igo {VKEY} https://igo.example/?a\nquorum none\n", "no query"),
        (f"witness igo {VKEY} https://igo.example:0x1/\nquorum none\n", "Port"),
        (f"witness igo {VKEY} https://igo.example/w\n", "no quorum line"),
    ):
        with pytest.raises(BadSettings, match=why):
            read_asked_witnesses(settings(tmp_path, text))
    with pytest.raises(BadSettings, match="No such file"):
        read_asked_witnesses(Settings(home=tmp_path, witness=WitnessSettings(ask="none")))

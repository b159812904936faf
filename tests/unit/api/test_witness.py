"""A node as a witness: of other people's logs under its witness key, of its own ledger by the line made already."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from node.api.http import LogFiles
from node.api.witness import WitnessBook, WitnessKeys, name_of, read_witness_keys
from node.log import merkle
from node.log.checkpoint import Checkpoint
from node.log.cosignature import open_checkpoint
from node.log.note import Note, VerifierKey
from node.settings import BadSettings, Settings, WitnessSettings
from node.signing.checkpoints import cosigner_vkey, log_vkey, sign_log_line, witness_vkey
from node.signing.keys import Role, SigningKey, generate_node_keys
from node.signing.verify import verify_ed25519
from node.storage.files import OsFiles
from tests.unit.api.serving import Serving

ORIGIN = "log.elsewhere.example/7"
LOG_KEY = SigningKey.from_seed(Role.LOG, bytes(range(32)))
KEYS = generate_node_keys("BR", seed=bytes(32))
LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(40)]


def read_hash(level: int, index: int) -> bytes:
    """Of the whole subtree of 2**level leaves."""
    return merkle.root_of_leaf_hashes(LEAVES[index << level : (index + 1) << level])


class Elsewhere:
    """Another people's log, honest: its checkpoint at any size, and consistency proofs."""

    vkey = log_vkey(ORIGIN, LOG_KEY.public)

    @staticmethod
    def root(size: int) -> bytes:
        return merkle.root_of_leaf_hashes(LEAVES[:size])

    @classmethod
    def note(cls, size: int, root: bytes | None = None) -> Note:
        checkpoint = Checkpoint(origin=ORIGIN, size=size, root=root or cls.root(size))
        return Note(text=checkpoint.text(), lines=(sign_log_line(LOG_KEY, checkpoint),))

    @classmethod
    def request(cls, old: int, size: int, root: bytes | None = None) -> bytes:
        proof = merkle.consistency_proof(old, size, read_hash) if 0 < old < size else []
        lines = [b"old %d\n" % old, *(base64.b64encode(each) + b"\n" for each in proof), b"\n"]
        return b"".join(lines) + bytes(cls.note(size, root))


def keys() -> WitnessKeys:
    assert KEYS.witness is not None
    vkey = witness_vkey("ours.example", "BR", KEYS.witness.public)
    return WitnessKeys(key=KEYS.witness, vkey=vkey, logs={ORIGIN: (Elsewhere.vkey,)})


@pytest.fixture
async def http(serving: Serving, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    book = WitnessBook(keys(), tmp_path / "witness")
    transport = httpx.ASGITransport(
        app=LogFiles(serving.node, lambda: 0.0, on_fatal=serving.fatal.append, book=book).app()
    )
    async with httpx.AsyncClient(transport=transport, base_url="https://br.foedus") as client:
        yield client


async def add(http: httpx.AsyncClient, body: bytes) -> httpx.Response:
    return await http.post("/witness/add-checkpoint", content=body)


def opened(note: bytes, key: VerifierKey) -> Checkpoint:
    found = open_checkpoint(note, [key], verify_ed25519)
    assert found.signers == (key,)
    return found.checkpoint


async def test_growth_is_cosigned_and_shown(http: httpx.AsyncClient) -> None:
    path = f"/witness/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint"
    assert (await http.get(path)).status_code == 404
    first = await add(http, Elsewhere.request(0, 5))
    assert first.status_code == 200
    note = bytes(Elsewhere.note(5)) + first.content
    assert opened(note, keys().vkey).size == 5
    second = await add(http, Elsewhere.request(5, 13))
    assert second.status_code == 200
    shown = await http.get(path)
    assert (shown.status_code, shown.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert opened(shown.content, keys().vkey) == opened(shown.content, Elsewhere.vkey)
    assert opened(shown.content, keys().vkey).root == Elsewhere.root(13)


async def test_what_was_seen_binds(http: httpx.AsyncClient) -> None:
    await add(http, Elsewhere.request(0, 8))
    stale = await add(http, Elsewhere.request(5, 13))
    assert (stale.status_code, stale.content) == (409, b"8\n")
    assert stale.headers["content-type"] == "text/x.tlog.size"
    forked = await add(http, Elsewhere.request(8, 13, root=bytes(32)))
    assert forked.status_code == 422
    assert (await add(http, Elsewhere.request(8, 8, root=bytes(32)))).status_code == 422
    other = Elsewhere.request(8, 13).replace(ORIGIN.encode(), b"log.nowhere.example/7")
    assert (await add(http, other)).status_code == 404
    assert (await add(http, Elsewhere.request(8, 13)[:-9] + b"AAAAAAA=\n")).status_code in (
        400,
        403,
    )
    assert (await add(http, b"old 1\n")).status_code == 400
    assert (await add(http, b"x" * 70_000)).status_code == 413
    assert (await add(http, Elsewhere.request(8, 13))).status_code == 200


async def test_two_at_once_get_one_cosignature(http: httpx.AsyncClient) -> None:
    """Compare and persist are one step: else a fork could be cosigned on both of its sides."""
    await add(http, Elsewhere.request(0, 8))
    answers = await asyncio.gather(*(add(http, Elsewhere.request(8, size)) for size in (13, 21)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_what_was_cosigned_outlives_the_process(tmp_path: Path) -> None:
    folder = tmp_path / "witness"
    answer = await WitnessBook(keys(), folder).add(Elsewhere.request(0, 8), lambda: 1_700_000_000)
    assert answer.status == 200
    again = await WitnessBook(keys(), folder).add(Elsewhere.request(0, 5), lambda: 1_700_000_001)
    assert (again.status, again.body) == (409, b"8\n")


class FullDisk(OsFiles):
    def rename(self, old: Path, new: Path) -> None:
        raise OSError(28, "No space left on device")


async def test_nothing_is_cosigned_that_cannot_be_kept(tmp_path: Path) -> None:
    book = WitnessBook(keys(), tmp_path / "witness", FullDisk())
    with pytest.raises(OSError, match="No space"):
        await book.add(Elsewhere.request(0, 8), lambda: 1_700_000_000)
    assert book.note(name_of(ORIGIN)) is None
    later = await WitnessBook(keys(), tmp_path / "witness").add(Elsewhere.request(8, 13), lambda: 2)
    assert (later.status, later.body) == (409, b"0\n")


@pytest.mark.parametrize("damage", [b"", b"not a note", "another"])
async def test_a_damaged_memory_cosigns_nothing(tmp_path: Path, damage: bytes | str) -> None:
    """Else the witness would take up an older size as if it had seen nothing."""
    folder = tmp_path / "witness"
    await WitnessBook(keys(), folder).add(Elsewhere.request(0, 8), lambda: 1_700_000_000)
    path = folder / name_of(ORIGIN)
    unsigned = bytes(Elsewhere.note(5))
    path.write_bytes(damage if isinstance(damage, bytes) else unsigned)
    answer = await WitnessBook(keys(), folder).add(Elsewhere.request(0, 5), lambda: 1_700_000_001)
    assert answer.status == 503
    assert str(path) in answer.body.decode()


async def test_its_own_ledger_gets_no_signature_by_request(
    serving: Serving, http: httpx.AsyncClient
) -> None:
    founding = serving.founding
    author = founding.author(0)
    await serving.commit(author.facility("dc1", founding.agencies[0]))
    await serving.finalise()
    ledger = serving.running.ledger
    origin, own = ledger.genesis.origin, founding.nodes[0]
    assert serving.running.finality.newest_own() is None, "the fixture's node signs nothing itself"

    def request(checkpoint: Checkpoint) -> bytes:
        lines = (sign_log_line(founding.nodes[1].log, checkpoint),)
        return b"old 0\n\n" + bytes(Note(text=checkpoint.text(), lines=lines))

    checkpoint = Checkpoint(origin=origin, size=ledger.size, root=ledger.root)
    known = await add(http, request(checkpoint))
    assert known.status_code == 200
    note = checkpoint.text() + b"\n" + known.content
    assert opened(note, cosigner_vkey(origin, own.state, own.cosigner.public)) == checkpoint
    other = await add(http, request(replace(checkpoint, root=bytes(32))))
    assert other.status_code == 422
    unknown = await add(http, request(replace(checkpoint, size=ledger.size + 1)))
    assert (unknown.status_code, unknown.content) == (409, b"0\n")
    shown = await http.get(f"/witness/{name_of(ledger.genesis.origin)}/checkpoint")
    assert shown.status_code == 200
    assert opened(shown.content, log_vkey(ledger.genesis.origin, founding.nodes[0].log.public))


# --- settings -----------------------------------------------------------------------------------------------------------


def settings(home: Path, policy: str | None) -> Settings:
    if policy is not None:
        (home / "logs.policy").write_text(policy, encoding="utf-8")
    return Settings(home=home, witness=WitnessSettings(logs="logs.policy"))


def test_logs_are_read_from_a_policy(tmp_path: Path) -> None:
    found = read_witness_keys(
        settings(tmp_path, f"log {Elsewhere.vkey}\nquorum none\n"), KEYS, "ours.example"
    )
    assert found is not None
    assert found.logs == {ORIGIN: (Elsewhere.vkey,)}
    assert found.vkey.name == "ours.example/witness/BR"
    assert read_witness_keys(Settings(home=tmp_path), KEYS, "ours.example") is None


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (None, "No such file"),
        ("quorum none\n", "0 logs"),
        ("log nonsense\nquorum none\n", "nonsense"),
        (f"log {log_vkey('ours.example', LOG_KEY.public)}\nquorum none\n", "own ledger"),
    ],
)
def test_a_policy_that_names_no_good_log_is_refused(
    tmp_path: Path, policy: str | None, why: str
) -> None:
    with pytest.raises(BadSettings, match=why):
        read_witness_keys(settings(tmp_path, policy), KEYS, "ours.example")


def test_a_key_file_without_a_witness_key_says_so(tmp_path: Path) -> None:
    old = replace(generate_node_keys("BR", seed=bytes(32)), witness=None)
    with pytest.raises(BadSettings, match="no witness key"):
        read_witness_keys(
            settings(tmp_path, f"log {Elsewhere.vkey}\nquorum none\n"), old, "ours.example"
        )


def test_the_witness_key_is_its_own() -> None:
    assert KEYS.witness is not None
    publics = {KEYS.block.public, KEYS.log.public, KEYS.cosigner.public, KEYS.witness.public}
    assert len(publics) == 4


async def test_what_is_no_request_is_malformed_and_no_unknown_log(serving: Serving) -> None:
    """A node that witnesses its own ledger alone tells 400 from 404 as any other witness."""
    app = LogFiles(serving.node, lambda: 0.0, on_fatal=serving.fatal.append).app()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://br.foedus") as http:
        unsigned = Elsewhere.request(0, 5).partition("\n—".encode())[0] + b"\n"
        for body in (b"", b"old 0\n", b"old x\n\n", unsigned):
            assert (await add(http, body)).status_code == 400, body
        assert (await add(http, Elsewhere.request(0, 5))).status_code == 404

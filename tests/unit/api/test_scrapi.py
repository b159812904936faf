"""The SCITT surface, and what it hands out read by PyPI's scitt-cose, which nobody here wrote."""

import base64
from collections.abc import AsyncIterator
from hashlib import sha256

import cbor2
import httpx
import pytest
import scitt_cose
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from node.api.http import LogFiles
from node.api.scrapi import PROBLEM_TYPE, RECEIPT_TYPE
from node.ledger.admission import Admission
from node.log.cose import parse_entry
from node.storage.errors import WriteFailed
from tests.unit.api.serving import Serving

COSE = {"content-type": "application/cose"}


@pytest.fixture
async def http(serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    app = LogFiles(serving.node, lambda: 0.0, on_fatal=serving.fatal.append).app()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://br.foedus") as client:
        yield client


def pem(public: bytes) -> bytes:
    key = Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def problem_of(answer: httpx.Response) -> tuple[int, str, str]:
    assert answer.headers["content-type"] == PROBLEM_TYPE
    details = cbor2.loads(answer.content)
    return answer.status_code, details[-1], details[-2]


async def test_a_statement_becomes_a_receipt(serving: Serving, http: httpx.AsyncClient) -> None:
    founding = serving.founding
    statement = founding.author(0).facility("dc1", founding.agencies[0])
    taken = await http.post("/entries", content=statement, headers=COSE)
    where = f"/entries/{sha256(statement).hexdigest()}"
    assert (taken.status_code, taken.headers["location"]) == (303, where)
    waiting = await http.get(where)
    assert (waiting.status_code, waiting.headers["location"]) == (302, where)
    assert waiting.headers["retry-after"] == "1"
    await serving.commit(statement)
    assert (await http.get(where)).status_code == 302, "in the log, but not final"
    await serving.finalise()
    done = await http.get(where)
    assert (done.status_code, done.headers["content-type"]) == (200, RECEIPT_TYPE)
    again = await http.post("/entries", content=statement, headers=COSE)
    assert (again.status_code, again.headers["location"]) == (201, where)
    assert cbor2.loads(again.content).tag == 18

    older = await http.get(f"{where}?alg=-8")
    assert cbor2.loads(cbor2.loads(done.content).value[0])[1] == -19
    assert cbor2.loads(cbor2.loads(older.content).value[0])[1] == -8
    keys = cbor2.loads((await http.get("/.well-known/scitt-keys")).content)
    (log_key,) = [key for key in keys if key[2] == founding.nodes[0].log.kid]
    found = scitt_cose.verify_receipt(
        older.content, leaf_entry_hex=statement.hex(), log_public_key_pem=pem(log_key[-2])
    )
    assert (found.ok, found.errors) == (True, [])
    assert (found.root, found.tree_size) == (
        serving.running.ledger.root.hex(),
        serving.running.ledger.size,
    )
    assert found.issuer == serving.running.ledger.genesis.origin
    other = scitt_cose.verify_receipt(
        older.content, leaf_entry_hex=b"other".hex(), log_public_key_pem=pem(log_key[-2])
    )
    assert not other.ok


async def test_a_statement_made_by_somebody_elses_code_is_one_here(
    serving: Serving, http: httpx.AsyncClient
) -> None:
    author = serving.founding.author(1)
    ours = parse_entry(author.energy(7))
    header = ours.header
    secret = Ed25519PrivateKey.from_private_bytes(author.keys.author.seed).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    theirs = scitt_cose.sign_sign1(
        ours.payload,
        alg="EdDSA",
        private_key_pem=secret,
        protected={
            1: -8,
            3: header.content_type,
            4: header.kid,
            15: {1: header.issuer, 2: header.subject},
        },
        unprotected={},
    )
    read = scitt_cose.parse_signed_statement(theirs, public_key_pem=pem(author.keys.author.public))
    assert (read["issuer"], read["subject"]) == (header.issuer, header.subject)
    taken = await http.post("/entries", content=theirs, headers=COSE)
    assert taken.status_code == 303, cbor2.loads(taken.content)
    await serving.commit(theirs)
    assert serving.running.ledger.find(sha256(theirs).digest()) is not None


async def test_keys_one_by_one(serving: Serving, http: httpx.AsyncClient) -> None:
    key = serving.founding.nodes[0].log
    kid = base64.urlsafe_b64encode(key.kid).decode().rstrip("=")
    one = await http.get(f"/.well-known/scitt-keys/{kid}")
    assert cbor2.loads(one.content) == {1: 1, 2: key.kid, 3: -19, -1: 6, -2: key.public}
    status, title, _ = problem_of(await http.get("/.well-known/scitt-keys/AAAA"))
    assert (status, title) == (404, "No such key")


async def test_what_is_refused_says_why(serving: Serving, http: httpx.AsyncClient) -> None:
    statement = serving.founding.author(0).energy(1)
    plain = await http.post("/entries", content=statement, headers={"content-type": "text/plain"})
    assert problem_of(plain)[:2] == (415, "Not a statement")
    large = await http.post("/entries", content=bytes(65_536), headers=COSE)
    assert problem_of(large)[0] == 413
    status, code, why = problem_of(await http.post("/entries", content=b"\xd2\x84", headers=COSE))
    assert (status, code) == (400, "SCHEMA"), why
    forged = statement[:-1] + bytes([statement[-1] ^ 1])
    status, code, _ = problem_of(await http.post("/entries", content=forged, headers=COSE))
    assert (status, code) == (403, "SIGNATURE")
    assert problem_of(await http.get("/entries/" + "0" * 64))[:2] == (404, "No such entry")
    assert problem_of(await http.get("/entries/" + "0" * 64 + "?alg=1"))[0] == 400
    for bad in ("12", "z" * 64, "0" * 65):
        assert problem_of(await http.get(f"/entries/{bad}"))[:2] == (400, "Malformed id")


async def test_a_disk_that_refuses_stops_the_node(
    serving: Serving, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: Admission, raw: bytes) -> None:
        raise WriteFailed("no space left")

    monkeypatch.setattr(Admission, "submit", full)
    answer = await http.post("/entries", content=b"x", headers=COSE)
    assert answer.status_code == 503
    assert [type(err) for err in serving.fatal] == [WriteFailed]

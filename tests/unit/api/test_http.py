"""Checkpoints and tiles over HTTP: right bytes, right headers, nothing beyond what is final."""

import asyncio
import base64
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from node.api.http import LogFiles
from node.api.listener import HttpListener, metrics_app
from node.ledger.genesis import encode_genesis
from node.log import merkle, tiles
from node.signing.transport import server_name
from node.storage import keys
from tests.unit.api.serving import Serving, free_port, serve
from tests.unit.api.test_service import proof_of
from tests.unit.ledger.founding import Founding, found, sign_by_all


class Clock:
    """A monotone clock moved by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def client_for(serving: Serving, clock: Callable[[], float]) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(
        app=LogFiles(serving.node, clock, on_fatal=serving.fatal.append).app()
    )
    return httpx.AsyncClient(transport=transport, base_url="https://br.foedus")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def http(serving: Serving, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    async with client_for(serving, clock) as client:
        yield client


async def fill(serving: Serving, energies: int) -> None:
    author = serving.founding.author(0)
    entries = [author.facility("dc1", serving.founding.agencies[0])]
    entries += [author.energy(number) for number in range(energies)]
    await serving.commit(*entries)
    await serving.finalise()


async def test_checkpoint_appears_with_finality_and_is_renewed_each_second(
    serving: Serving, http: httpx.AsyncClient, clock: Clock
) -> None:
    answer = await http.get("/checkpoint")
    assert (answer.status_code, answer.headers["cache-control"]) == (503, "no-store")
    clock.now_s += 1
    await fill(serving, 1)
    answer = await http.get("/checkpoint")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=1"
    first_size = answer.text.split("\n")[1]
    assert first_size == str(serving.running.ledger.size)
    await serving.commit(serving.founding.author(1).energy(1))
    await serving.finalise()
    assert (await http.get("/checkpoint")).text.split("\n")[1] == first_size
    clock.now_s += 1
    assert (await http.get("/checkpoint")).text.split("\n")[1] != first_size
    full = await http.get("/checkpoint.full")
    assert full.text.count("\u2014") == 1 + serving.running.finality.quorum


async def test_every_tile_of_the_log_leads_to_its_root(
    serving: Serving, http: httpx.AsyncClient
) -> None:
    await fill(serving, 300)
    size = serving.running.ledger.size
    assert size > 300
    entries: list[bytes] = []
    for path in tiles.paths(size):
        answer = await http.get(f"/{path}")
        assert answer.status_code == 200, path
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "immutable" in answer.headers["cache-control"]
        if path.level is None:
            entries += tiles.decode_bundle(answer.content, path.width)
        elif path.level == 0:
            first = 256 * path.index
            stored = serving.running.ledger.hashes(0, first, path.width)
            assert answer.content == b"".join(stored)
    assert merkle.root_of_entries(entries) == serving.running.ledger.root
    full = tiles.TilePath(level=None, index=0)
    cut = await http.get(f"/{full}.p/7")
    assert tiles.decode_bundle(cut.content) == entries[:7]


async def test_tiles_beyond_the_final_size_and_other_spellings(
    serving: Serving, http: httpx.AsyncClient
) -> None:
    await fill(serving, 10)
    final = serving.running.finality.final_size
    await serving.commit(serving.founding.author(1).energy(1))
    assert (await http.get(f"/tile/0/000.p/{final}")).status_code == 200
    assert (await http.get(f"/tile/0/000.p/{final + 1}")).status_code == 404
    assert (await http.get("/tile/0/000")).status_code == 404
    for path in ("0/0", "0/000.p/0", "0/000.p/256", "64/000", "x/000", "0/x000/000", "0/%30%30%30"):
        answer = await http.get(f"/tile/{path}")
        assert answer.status_code == 400, path
        assert answer.headers["cache-control"] == "no-store"
    assert (await http.get("/elsewhere")).status_code == 404
    assert (await http.post("/checkpoint")).status_code == 405


async def test_bundles_of_a_closed_ledger_are_for_members(tmp_path: Path, clock: Clock) -> None:
    founding = found(4, 1)
    genesis = replace(founding.genesis, publication="members", signatures={})
    genesis = sign_by_all(genesis, founding.nodes)
    closed = Founding(
        genesis, encode_genesis(genesis), founding.nodes, founding.agencies, founding.operators
    )
    serving = await serve(closed, tmp_path)
    try:
        await fill(serving, 2)
        async with client_for(serving, clock) as http:
            answer = await http.get("/tile/entries/000.p/1")
            assert answer.status_code == 403
            assert "members" in answer.text
            assert (await http.get("/tile/0/000.p/1")).status_code == 200

            async def asked(proof: str) -> httpx.Response:
                return await http.get("/tile/entries/000.p/1", headers={"foedus-reader": proof})

            ((_, proof),) = proof_of(serving, party="CN", key=1)
            shown = await asked(base64.b64encode(proof).decode())
            assert tiles.decode_bundle(shown.content) == serving.running.ledger.entries(0, 1)
            assert shown.headers["cache-control"] == "no-store"  # for no cache between
            ((_, other),) = proof_of(serving, party="CN", key=2)  # signed by another's key
            for bad in (base64.b64encode(other).decode(), "%%%", "", "AAAA"):
                refused = await asked(bad)
                assert refused.status_code == 403, bad
                assert not refused.content.startswith(shown.content[:2])
    finally:
        await serving.close()


async def test_health(
    serving: Serving, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await http.get("/healthz")).status_code == 200
    monkeypatch.setattr(type(serving.running.finality), "stopped", property(lambda _: True))
    assert (await http.get("/healthz")).status_code == 503
    assert (await http.get("/checkpoint")).status_code == 503


async def test_over_tls_with_the_registered_certificate(serving: Serving, clock: Clock) -> None:
    identity = serving.founding.nodes[0].transport
    port = free_port()
    listener = HttpListener(
        LogFiles(serving.node, clock, on_fatal=serving.fatal.append).app(),
        f"127.0.0.1:{port}",
        requests_max=8,
        identity=identity,
    )
    await listener.start()
    try:
        trust = ssl.create_default_context(cadata=identity.certificate_pem.decode())
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trust, server_hostname=server_name("BR")
        )
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: br.foedus\r\nconnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 200")
        session = writer.get_extra_info("ssl_object")
        shown = ssl.DER_cert_to_PEM_cert(session.getpeercert(binary_form=True))
        assert _digest(shown) == _digest(identity.certificate_pem.decode())
        writer.close()
        await writer.wait_closed()
        with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
            await HttpListener(
                metrics_app(serving.metrics), f"127.0.0.1:{port}", requests_max=1
            ).start()
    finally:
        await listener.stop()


async def test_who_says_nothing_loses_the_place(
    serving: Serving, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two silent connections fill the house; once they are shown out, others are served."""
    monkeypatch.setattr("node.api.listener.REQUEST_S", 0.3)
    port = free_port()
    listener = HttpListener(
        LogFiles(serving.node, clock, on_fatal=serving.fatal.append).app(),
        f"127.0.0.1:{port}",
        requests_max=3,
    )
    await listener.start()
    try:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        silent[1][1].write(b"GET /healthz HTTP/1.1\r\nx: y")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            assert (await http.get("/healthz")).status_code == 503
        for reader, _ in silent:
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            assert (await http.get("/healthz")).status_code == 200
        for _, writer in silent:
            writer.close()
    finally:
        await listener.stop()


async def test_metrics_on_their_own_plain_listener(serving: Serving) -> None:
    port = free_port()
    listener = HttpListener(metrics_app(serving.metrics), f"127.0.0.1:{port}", requests_max=8)
    await listener.start()
    try:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{port}/metrics")
        assert answer.status_code == 200
        assert "foedus_client_calls_open 0.0" in answer.text
    finally:
        await listener.stop()


def _digest(pem: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


async def test_a_damaged_bundle_is_refused_and_every_other_tile_served(
    serving: Serving, http: httpx.AsyncClient
) -> None:
    await fill(serving, 300)
    store = serving.running.store
    leaf = store.entry(270)
    store.put_row("log", keys.u64(270), leaf[:-1] + bytes((leaf[-1] ^ 1,)))
    answers = {
        path: await http.get(f"/{path}") for path in tiles.paths(serving.running.ledger.size)
    }
    refused = {str(path) for path, answer in answers.items() if answer.status_code != 200}
    width = serving.running.ledger.size - 256
    assert refused == {f"tile/entries/001.p/{width}"}
    answer = await http.get(f"/tile/entries/001.p/{width}")
    assert answer.status_code == 500
    assert "entry 270" in answer.text
    assert "Ask another node" in answer.text
    assert (await http.get("/tile/entries/001.p/14")).status_code == 200, "what lies before it"
    assert [line for line in serving.running.ledger.damage if "entry 270" in line]

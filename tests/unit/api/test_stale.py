"""What a node shows while it mends its store: the newest checkpoint that the damaged store proves, and what leads to it."""

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from node.api.stale import StaleFiles, newest_proven
from node.log import merkle, tiles
from node.log.checkpoint import parse_checkpoint
from node.log.note import parse_note
from node.storage import keys
from tests.unit.api.serving import Serving
from tests.unit.api.test_http import fill


@pytest.fixture
async def filled(serving: Serving) -> Serving:
    await fill(serving, 30)
    await serving.commit(serving.founding.author(1).energy(1))
    await serving.finalise()
    return serving


@contextlib.asynccontextmanager
async def stale(serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    store = serving.running.store
    genesis = serving.founding.genesis
    stands = newest_proven(store, genesis, serving.founding.document)
    assert stands is not None
    files = StaleFiles(store, stands, genesis, serving.node.log_key, "entry 3 was altered")
    transport = httpx.ASGITransport(app=files.app())
    async with httpx.AsyncClient(transport=transport, base_url="https://br.foedus") as client:
        yield client


async def test_what_was_certified_is_shown_and_that_it_is_old(filled: Serving) -> None:
    ledger = filled.running.ledger
    async with stale(filled) as http:
        note = parse_note((await http.get("/checkpoint.full")).content)
        shown = parse_checkpoint(note.text)
        assert (shown.size, shown.root) == (ledger.size, ledger.root)
        assert len(note.lines) == 1 + filled.running.finality.quorum
        entries: list[bytes] = []
        for path in tiles.paths(ledger.size):
            answer = await http.get(f"/{path}")
            assert answer.status_code == 200, path
            if path.level is None:
                entries += tiles.decode_bundle(answer.content, path.width)
        assert merkle.root_of_entries(entries) == shown.root
        health = await http.get("/healthz")
        assert health.status_code == 503
        assert "entry 3 was altered" in health.text


async def test_an_altered_entry_is_not_shown(filled: Serving) -> None:
    store = filled.running.store
    leaf = store.entry(20)
    store.put_row("log", keys.u64(20), leaf + b"x")
    async with stale(filled) as http:
        size = filled.running.ledger.size
        answer = await http.get(f"/tile/entries/000.p/{size}")
        assert answer.status_code == 500
        assert "entry 20" in answer.text
        assert (await http.get("/tile/entries/000.p/20")).status_code == 200
        assert (await http.get(f"/tile/0/000.p/{size}")).status_code == 200


async def test_where_the_newest_cannot_be_proven_an_older_one_is_shown(filled: Serving) -> None:
    store, size = filled.running.store, filled.running.ledger.size
    rows = store.cosignatures(size)
    for member, row in rows[:-1]:
        store.put_row("cosignatures", keys.cosignature(size, member), row[:-3] + b"abc")
    genesis, document = filled.founding.genesis, filled.founding.document
    stands = newest_proven(store, genesis, document)
    assert stands is None or stands.checkpoint.size < size
    for member, row in rows:
        store.put_row("cosignatures", keys.cosignature(size, member), row)
    again = newest_proven(store, genesis, document)
    assert again is not None
    assert again.checkpoint.size == size
    peak = merkle.peak_positions(size)[0]
    store.put_row("hashes", keys.node_hash(*peak), b"\0" * 32)
    assert newest_proven(store, genesis, document) is None, "no root of these hashes was cosigned"

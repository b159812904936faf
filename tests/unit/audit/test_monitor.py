"""A split view is seen, proven and pinned on who signed both; everything else is told and accuses nobody."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from node.api.listener import HttpListener
from node.audit.monitor import Look, Monitor
from node.audit.source import CannotAudit
from node.ledger.genesis import chain_id, encode_genesis
from node.log import merkle
from node.log.checkpoint import Checkpoint
from node.log.merkle import MemoryHashes
from node.log.note import Note
from node.log.tiles import cut_tile, parse_path
from node.signing.checkpoints import (
    cosignature_line,
    cosigner_vkey,
    sign_cosignature,
    sign_log_line,
)
from tests.unit.api.serving import free_port
from tests.unit.ledger.founding import Founding, found

ROOT = Path(__file__).resolve().parents[3]
NOW_S = 1_700_000_100
LEAVES = [b"entry %d" % number for number in range(700)]
FORKED = [*LEAVES[:300], *(b"other %d" % number for number in range(300, 650))]


@dataclass
class View:
    """What one state's node shows: some log, and a checkpoint of it cosigned by some members."""

    founding: Founding
    own: int
    leaves: Sequence[bytes] = ()
    signers: Sequence[int] = (0, 1, 2)
    signed_at_s: int = NOW_S
    hashes: MemoryHashes = field(default_factory=MemoryHashes)
    url: str = ""
    keeps_back: bool = False

    def show(self, leaves: Sequence[bytes], signers: Sequence[int] = (0, 1, 2)) -> None:
        self.leaves, self.signers = leaves, signers
        self.hashes = MemoryHashes()
        self.hashes.append(merkle.leaf_hashes(leaves))

    def checkpoint_now(self) -> Checkpoint:
        root = merkle.root_of_entries(self.leaves)
        return Checkpoint(origin=self.founding.genesis.origin, size=len(self.leaves), root=root)

    def note(self) -> bytes:
        checkpoint = self.checkpoint_now()
        origin = checkpoint.origin
        lines = [sign_log_line(self.founding.nodes[self.own].log, checkpoint)]
        for member in self.signers:
            keys = self.founding.nodes[member]
            made = sign_cosignature(keys.cosigner, checkpoint, self.signed_at_s)
            vkey = cosigner_vkey(origin, keys.state, keys.cosigner.public)
            lines.append(cosignature_line(vkey, made))
        return bytes(Note(text=checkpoint.text(), lines=tuple(lines)))

    async def checkpoint(self, request: Request) -> Response:
        del request
        return Response(self.note())

    async def tile(self, request: Request) -> Response:
        if self.keeps_back:
            return Response("not here", status_code=404)
        return Response(cut_tile(parse_path(request.url.path.lstrip("/")), self.hashes.read))

    async def serve(self) -> HttpListener:
        routes = [
            Route("/checkpoint.full", self.checkpoint),
            Route("/tile/{path:path}", self.tile),
        ]
        address = f"127.0.0.1:{free_port()}"
        self.url = f"https://{address}"
        listener = HttpListener(
            Starlette(routes=routes),
            address,
            requests_max=16,
            identity=self.founding.nodes[self.own].transport,
        )
        await listener.start()
        return listener


@pytest.fixture(scope="module")
def founding() -> Founding:
    return found(4, 0)


@pytest.fixture
async def views(founding: Founding) -> AsyncIterator[list[View]]:
    async with AsyncExitStack() as stack:
        made = [View(founding, own) for own in range(4)]
        for view in made:
            view.show(LEAVES[:600])
            stack.push_async_callback((await view.serve()).stop)
        yield made


def monitor(views: list[View], newest: bytes | None = None) -> Monitor:
    genesis = views[0].founding.genesis
    return Monitor(
        [view.url for view in views],
        genesis,
        encode_genesis(genesis),
        clock_s=lambda: NOW_S + 10,
        stale_s=60,
        newest=newest,
    )


async def look(watching: Monitor) -> Look:
    return await asyncio.to_thread(watching.look)


def troubles(found: Look) -> dict[str | None, str]:
    return {one.state: one.trouble for one in found.seen if one.trouble}


async def test_one_log_at_different_sizes_is_well(views: list[View]) -> None:
    for view, size in zip(views, (600, 257, 600, 700), strict=True):
        view.show(LEAVES[:size])
    watching = monitor(views)
    found = await look(watching)
    assert (found.size, found.believed, found.split, troubles(found)) == (700, 4, (), {})
    for view in views:
        view.show(LEAVES)
    assert (await look(watching)).split == ()


@pytest.mark.parametrize("sizes", [(600, 650), (650, 650), (650, 600)])
async def test_two_logs_are_proven_against_who_signed_both(
    views: list[View], sizes: tuple[int, int], tmp_path: Path
) -> None:
    """n = 4: two quorums of three share two members at least. Whoever signed one of the two alone is not accused."""
    views[0].show(LEAVES[: sizes[0]], signers=(0, 1, 2))
    views[1].show(FORKED[: sizes[1]], signers=(1, 2, 3))
    found = await look(monitor(views[:2]))
    (split,) = found.split
    founding = views[0].founding
    states = tuple(keys.state for keys in founding.nodes)
    assert split.accused == states[1:3]
    assert confirmed(split.evidence, founding, tmp_path) == ", ".join(states[1:3])


def confirmed(evidence: dict[str, object], founding: Founding, folder: Path) -> str:
    """Whom `foedus-verify` accuses on this evidence; it runs in a process of its own and imports nothing of ours."""
    path = folder / "evidence.json"
    path.write_text(json.dumps(evidence), encoding="utf-8")
    ledger = chain_id(encode_genesis(founding.genesis)).hex()
    done = subprocess.run(
        [sys.executable, ROOT / "foedus_verify.py", "evidence", path, "--chain-id", ledger],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.partition("shown_of: ")[2].partition("\n")[0]


async def test_a_log_that_was_seen_before_binds(views: list[View], tmp_path: Path) -> None:
    views[0].show(LEAVES)
    watching = monitor(views[:1])
    await look(watching)
    later = monitor(views[:1], newest=watching.newest)
    views[0].show([*FORKED, *(b"more %d" % number for number in range(200))])
    found = await look(later)
    (split,) = found.split
    assert confirmed(split.evidence, views[0].founding, tmp_path) == ", ".join(split.accused)
    assert later.newest == watching.newest, "what was seen first is still held"
    views[0].show(LEAVES[:600])
    found = await look(later)
    assert (found.split, found.size) == ((), 700)
    assert "700 were final before" in str(troubles(found))


async def test_even_one_cosignature_on_another_log_is_evidence(
    views: list[View], tmp_path: Path
) -> None:
    """The second log has no quorum, so nobody may believe it; who signed it lied all the same."""
    views[1].show(FORKED, signers=(1,))
    found = await look(monitor(views))
    (split,) = found.split
    state = views[1].founding.nodes[1].state
    assert split.accused == (state,)
    assert confirmed(split.evidence, views[0].founding, tmp_path) == state
    assert found.believed == 3


async def test_two_logs_that_nobody_signed_both_accuse_nobody(views: list[View]) -> None:
    views[1].show(FORKED, signers=(3,))
    found = await look(monitor(views))
    (split,) = found.split
    assert split.accused == ()


async def test_what_cannot_be_had_is_told_and_accuses_nobody(views: list[View]) -> None:
    views[1].show(LEAVES[:600], signers=(0, 1))
    views[2].signed_at_s = NOW_S - 1_000
    views[3].show(LEAVES[:400])
    views[3].hashes = views[0].hashes
    lying_tiles = views[0]
    lying_tiles.hashes = MemoryHashes()
    lying_tiles.hashes.append(merkle.leaf_hashes(FORKED[:600]))
    silent = "https://127.0.0.1:9"
    watching = monitor([*views, View(views[0].founding, 0, url=silent)])
    found = await look(watching)
    states = [keys.state for keys in views[0].founding.nodes]
    told = troubles(found)
    assert found.split == ()
    assert "not final" in told[states[1]]
    assert "1010 s old" in told[states[2]]
    assert "do not lead to its own checkpoint" in told[states[0]]
    assert states[3] not in told, "compared with another that shows as much"
    assert silent in told[None]


async def test_who_shows_most_and_keeps_its_hashes_back_hides_no_fork(
    views: list[View], tmp_path: Path
) -> None:
    """The largest log is asked first: one that is always ahead, and silent, must not stand between the others."""
    views[0].show(LEAVES)
    views[0].keeps_back = True
    views[1].show(LEAVES[:650], signers=(0, 1, 2))
    views[2].show(FORKED[:600], signers=(1, 2, 3))
    watching = monitor(views)
    found = await look(watching)
    states = [keys.state for keys in views[0].founding.nodes]
    (split,) = found.split
    assert split.accused == tuple(states[1:3])
    assert confirmed(split.evidence, views[0].founding, tmp_path) == ", ".join(states[1:3])
    assert "keeps back the hashes" in troubles(found)[states[0]]
    held = watching.newest
    views[2].show(LEAVES[:620])
    views[1].show(LEAVES[:660])
    assert (await look(watching)).split == ()
    assert watching.newest != held, "what others prove is held on"


async def test_a_memory_that_was_altered_is_refused(views: list[View]) -> None:
    altered = views[0].note().replace(b"\n600\n", b"\n601\n")
    with pytest.raises(CannotAudit, match="not final"):
        monitor(views, newest=altered)


async def test_the_command_writes_evidence_and_keeps_its_memory(
    views: list[View], tmp_path: Path
) -> None:
    genesis = tmp_path / "genesis.cbor"
    genesis.write_bytes(encode_genesis(views[0].founding.genesis))
    memory = tmp_path / "seen.note"
    arguments = ["monitor", *(view.url for view in views), "--genesis", str(genesis), "--once"]
    arguments += ["--memory", str(memory), "--evidence", str(tmp_path), "--stale", "999999999"]

    async def run(*instead: str) -> tuple[int, list[dict[str, Any]], str]:
        program = "from node.cli.main import main; main()"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", program, *arguments, "--json", *instead),
            cwd=ROOT,
            stdout=PIPE,
            stderr=PIPE,
        )
        shown, told = await process.communicate()
        assert process.returncode is not None
        lines = [json.loads(line) for line in shown.splitlines()]
        return process.returncode, lines, told.decode()

    code, (first,), _ = await run()
    assert (code, first["believed"], first["size"], first["evidence"]) == (0, 4, 600, [])
    assert memory.read_bytes() == views[0].note()
    views[2].show(FORKED[:600], signers=(0, 1, 2))
    code, (second,), _ = await run()
    assert code == 1
    # A disk that refuses swallows no alarm: neither the evidence's nor the memory's.
    code, (third,), told = await run("--evidence", str(genesis), "--memory", str(genesis / "no"))
    assert (code, third["evidence"], third["split"]) == (1, [None], second["split"])
    assert "could not be written" in told
    assert '"kind": "two-roots"' in told
    (evidence,) = second["evidence"]
    assert kind_of(Path(evidence)) == "two-roots"
    for view in views:
        view.show(LEAVES[:600], signers=(0,))
    code, _, _ = await run()
    assert code == 2


def kind_of(path: Path) -> str:
    return str(json.loads(path.read_text(encoding="utf-8"))["kind"])

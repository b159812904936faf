"""What outside witnesses cosigned is compared with the nodes' logs; whatever they answer, only signatures raise the alarm."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from node.api.listener import HttpListener
from node.audit.monitor import Look, Monitor, Seen
from node.audit.outside import OutsideWitness, parse_witness
from node.audit.source import CannotAudit
from node.ledger.genesis import encode_genesis
from node.log.note import NOTE_BYTES_MAX, parse_note
from node.signing.checkpoints import sign_log_line, sign_witness_line, witness_vkey
from node.signing.keys import generate_node_keys
from tests.unit.api.serving import free_port
from tests.unit.audit.test_monitor import FORKED, LEAVES, NOW_S, ROOT, View, confirmed
from tests.unit.ledger.founding import Founding, found

KEYS = generate_node_keys("IGO", seed=bytes(32))
assert KEYS.witness is not None
VKEY = witness_vkey("igo.example", "IGO", KEYS.witness.public)


@dataclass
class Outside:
    """A witness' monitoring face: what it answers at the one path, whatever that is."""

    founding: Founding
    status: int = 404
    body: bytes = b"none\n"
    url: str = ""

    def cosigned(self, view: View, *, log_keys: tuple[int, ...] = (0,), at_s: int = NOW_S) -> None:
        """It cosigned the log that `view` shows; states' cosignatures of that view stand in the note as well."""
        assert KEYS.witness is not None
        note = view.note()
        checkpoint = view.checkpoint_now()
        log_lines = [sign_log_line(self.founding.nodes[own].log, checkpoint) for own in log_keys]
        states = parse_note(note).lines[1:]
        witness = sign_witness_line(KEYS.witness, VKEY, checkpoint, at_s)
        lines = "".join(map(str, (*log_lines, *states, witness)))
        self.status, self.body = 200, checkpoint.text() + b"\n" + lines.encode()

    async def note(self, request: Request) -> Response:
        wanted = sha256(self.founding.genesis.origin.encode()).hexdigest()
        if request.path_params["origin"] != wanted:
            return Response(status_code=404)
        return Response(self.body, self.status)

    async def serve(self) -> HttpListener:
        address = f"127.0.0.1:{free_port()}"
        self.url = f"https://{address}/under/here"
        routes = [Route("/under/here/{origin}/checkpoint", self.note)]
        identity = KEYS.transport
        app = Starlette(routes=routes)
        listener = HttpListener(app, address, requests_max=16, identity=identity)
        await listener.start()
        return listener

    @property
    def named(self) -> OutsideWitness:
        return parse_witness(f"{VKEY}@{self.url}")


@dataclass
class Scene:
    views: list[View]
    outside: Outside

    async def look(self, stale_s: int = 60) -> Look:
        genesis = self.outside.founding.genesis
        watching = Monitor(
            [view.url for view in self.views],
            genesis,
            encode_genesis(genesis),
            clock_s=lambda: NOW_S + 10,
            stale_s=stale_s,
            witnesses=[self.outside.named],
        )
        return await asyncio.to_thread(watching.look)

    async def told(self) -> Seen:
        (seen,) = (await self.look()).outside
        return seen

    def other(self, size: int, signers: tuple[int, ...] = ()) -> View:
        """A fork, which no node shows."""
        view = View(self.outside.founding, 0)
        view.show(FORKED[:size], signers)
        return view


@pytest.fixture(scope="module")
def founding() -> Founding:
    return found(4, 0)


@pytest.fixture
async def scene(founding: Founding) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        views = [View(founding, own) for own in range(2)]
        for view in views:
            view.show(LEAVES[:600])
            stack.push_async_callback((await view.serve()).stop)
        outside = Outside(founding)
        stack.push_async_callback((await outside.serve()).stop)
        yield Scene(views, outside)


@pytest.mark.parametrize("size", [1, 257, 600])
async def test_a_witness_of_the_same_log_is_well(scene: Scene, size: int) -> None:
    view = View(scene.outside.founding, 0)
    view.show(LEAVES[:size], signers=())
    scene.outside.cosigned(view)
    look = await scene.look()
    (seen,) = look.outside
    assert (look.split, seen.trouble) == ((), "")
    told = look.as_json()["witnesses"][0]
    assert (told["witness"], told["size"]) == (VKEY.name, size)
    assert told["log_keys_of"] == [scene.outside.founding.nodes[0].state]


@pytest.mark.parametrize("size", [400, 600])
async def test_another_log_is_the_alarm_and_names_the_log_key(scene: Scene, size: int) -> None:
    """Nobody cosigned both, so nobody is accused; whose log key signed the fork is in the file, with both notes."""
    scene.outside.cosigned(scene.other(size), log_keys=(2,))
    look = await scene.look()
    (split,) = look.split
    state = scene.outside.founding.nodes[2].state
    assert split.accused == ()
    assert split.evidence["witness"] == str(VKEY)
    assert split.evidence["log_keys_of"] == [state]
    assert split.evidence["first"].encode() == scene.outside.body
    assert f"signed by the log key of {state}" in split.evidence["what"]
    assert VKEY.name in str(split)
    assert "nobody is shown to have cosigned both" in str(split)


async def test_who_cosigned_both_is_accused_and_confirmed(scene: Scene, tmp_path: Path) -> None:
    """All states agree on a rewritten history and show it everywhere: the witness holds what they signed before."""
    scene.outside.cosigned(scene.other(400, signers=(0, 1, 2)))
    look = await scene.look()
    states = [keys.state for keys in scene.outside.founding.nodes]
    (split,) = look.split
    assert split.accused == tuple(states[:3])
    shown = confirmed(split.evidence, scene.outside.founding, tmp_path)
    assert shown == ", ".join(states[:3])


async def test_what_it_does_not_show_is_told_and_is_no_alarm(scene: Scene) -> None:
    assert "404" in (await scene.told()).trouble
    scene.outside.url = "https://127.0.0.1:9/x"
    assert "127.0.0.1:9" in (await scene.told()).trouble


async def test_old_or_ahead_is_told_and_is_no_alarm(scene: Scene) -> None:
    scene.outside.cosigned(scene.views[0], at_s=NOW_S - 3_580)
    assert (await scene.told()).trouble == "", "it may lag an hour"
    scene.outside.cosigned(scene.views[0], at_s=NOW_S - 3_600)
    assert "3610 s old" in (await scene.told()).trouble
    scene.outside.cosigned(scene.other(640))
    look = await scene.look()
    assert look.split == ()
    assert "no node shows a final log of the 640 entries" in look.outside[0].trouble


async def test_nodes_that_keep_their_hashes_back_prove_nothing(scene: Scene) -> None:
    scene.outside.cosigned(scene.other(400))
    for view in scene.views:
        view.keeps_back = True
    look = await scene.look()
    assert look.split == ()
    assert "could not be compared" in look.outside[0].trouble


def unsigned(scene: Scene, body: bytes) -> bytes:
    """Without the witness' line, which is the last."""
    del scene
    return body[: body.rindex("— ".encode())]


def resized(scene: Scene, body: bytes) -> bytes:
    del scene
    return body.replace(b"\n400\n", b"\n401\n")


def by_no_member(scene: Scene, body: bytes) -> bytes:
    text, lines = body.split(b"\n\n")
    del scene
    return text + b"\n\n" + lines.split(b"\n")[1] + b"\n"


HOSTILE = {
    "no line by the witness": (unsigned, "known keys"),
    "another size": (resized, "is bad"),
    "no line by a log key": (by_no_member, "no good line by a member's log key"),
    "nothing": (lambda scene, body: b"", "want text"),
    "too much": (lambda scene, body: bytes(NOTE_BYTES_MAX + 1), "more than"),
    "no text": (lambda scene, body: b"\xff\xfe" + body, "UTF-8"),
}


@pytest.mark.parametrize("lie", HOSTILE)
async def test_hostile_answers_are_told_and_raise_no_alarm(scene: Scene, lie: str) -> None:
    """A witness alone cannot make an alarm: what it shows must be signed by a member's log key too."""
    change, why = HOSTILE[lie]
    scene.outside.cosigned(scene.other(400))
    scene.outside.body = change(scene, scene.outside.body)
    look = await scene.look()
    assert (look.split, look.believed) == ((), 2)
    assert why in look.outside[0].trouble


async def test_a_note_of_another_log_or_of_nothing_counts_for_nothing(
    scene: Scene, founding: Founding
) -> None:
    view = View(founding, 0)
    view.show([], signers=())
    scene.outside.cosigned(view)
    assert "it shows 0 entries" in (await scene.told()).trouble
    elsewhere = View(replace(founding, genesis=replace(founding.genesis, origin="elsewhere")), 0)
    elsewhere.show(FORKED[:400])
    scene.outside.cosigned(elsewhere)
    assert "400 entries of elsewhere" in (await scene.told()).trouble


@pytest.mark.parametrize(
    "text",
    [
        *("", "https://igo.example", f"{VKEY}", f"{VKEY}@", f"{VKEY}@http://igo.example"),
        *(f"{VKEY}@https://a:b@igo.example", f"{VKEY}@https://igo.example/?q", f"x+0+x@{VKEY}"),
        *(f"{VKEY}@https://igo.example/a b", f"{VKEY}@https://[x", f"{VKEY}@https://é.example"),
        str(VKEY).replace("+", "+0") + "@https://igo.example",
    ],
)
def test_a_witness_is_named_by_its_key_and_address(text: str) -> None:
    with pytest.raises(CannotAudit):
        parse_witness(text)


async def test_the_command_writes_what_a_witness_proves(scene: Scene, tmp_path: Path) -> None:
    genesis = tmp_path / "genesis.cbor"
    genesis.write_bytes(encode_genesis(scene.outside.founding.genesis))
    scene.outside.cosigned(scene.other(400))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from node.cli.main import main; main()", "monitor"),
        *(view.url for view in scene.views),
        *("--genesis", str(genesis), "--once", "--json", "--evidence", str(tmp_path)),
        *("--witness", f"{VKEY}@{scene.outside.url}", "--stale", "999999999"),
        cwd=ROOT,
        stdout=PIPE,
        stderr=PIPE,
    )
    shown, told = await process.communicate()
    look = json.loads(shown)
    assert process.returncode == 1, told.decode()
    (path,) = look["evidence"]
    assert read(path)["witness"] == str(VKEY)
    assert look["witnesses"][0]["size"] == 400
    assert "the outside witness" in told.decode()


def read(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found

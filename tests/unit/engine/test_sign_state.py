"""Sign states lost, put back, and used by two, among four engines over real stores and sockets (SPEC 10, record 0139)."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from node.storage.sign_state import confirm_loss, parse_block
from node.storage.store import Store
from tests.e2e.cluster import free_ports
from tests.unit.engine.nodes import FAST, Node, engine_node, founded
from tests.unit.ledger.founding import Founding
from tests.unit.network.members import until

MEMBERS = 4
VICTIM = 0
HASTY = replace(FAST, delta_ms=20)  # after an adoption it waits 60 delta


def signed_round(folder: Path) -> int:
    """0: never."""
    path = folder / "block"
    return parse_block(path.read_bytes()).round if path.exists() else 0


def slots(*folders: Path) -> dict[tuple[int, int], set[bytes]]:
    """All blocks that these stores and sign states hold, by round and author."""
    found: dict[tuple[int, int], set[bytes]] = {}
    for folder in folders:
        with Store.open(folder / "rocksdb", read_only=True) as store:
            for ref, _ in store.blocks_in_rounds(1, 2**32 - 1, 1 << 26):
                found.setdefault((ref.round, ref.author), set()).add(ref.digest)
    return found


def assert_one_block_per_slot(*folders: Path) -> None:
    found = slots(*folders)
    assert len(found) > 20, "hardly any block: this shows nothing"
    assert [slot for slot, digests in found.items() if len(digests) > 1] == []


@dataclass
class World:
    """Four members in one process; `folder(i)` is a member's data."""

    founding: Founding
    root: Path
    nodes: dict[int, Node] = field(default_factory=dict)
    stacks: dict[int, AsyncExitStack] = field(default_factory=dict)

    def folder(self, member: int) -> Path:
        return self.root / str(member)

    async def start(self, *members: int) -> None:
        for member in members:
            stack = AsyncExitStack()
            node = engine_node(self.founding, self.folder(member), own=member, pace=HASTY)
            self.nodes[member] = await stack.enter_async_context(node)
            self.stacks[member] = stack

    async def stop(self, member: int) -> None:
        del self.nodes[member]
        await self.stacks.pop(member).aclose()

    def newest_held(self, member: int, author: int) -> int:
        """Round of the newest block of `author` that this member has stored."""
        newest = self.nodes[member].running.store.newest_block_of(author)
        return 0 if newest is None else newest[0].round

    async def rounds(self, more: int, *members: int) -> None:
        """Until each of these has signed in so many further rounds."""
        goals = {member: self.nodes[member].engine.own_round() + more for member in members}
        for member, goal in goals.items():
            engine = self.nodes[member].engine
            await until(lambda: engine.own_round() >= goal, f"{member} reaches round {goal}")  # noqa: B023 # awaited in the turn


@asynccontextmanager
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(founded(free_ports(MEMBERS)), tmp_path)
    await made.start(*range(MEMBERS))
    try:
        await made.rounds(6, *range(MEMBERS))
        yield made
    finally:
        for member in list(made.nodes):
            await made.stop(member)
    assert_one_block_per_slot(*(made.folder(member) for member in range(MEMBERS)))


async def test_with_all_others_there_a_lost_sign_state_needs_nobodys_word(tmp_path: Path) -> None:
    """First the file alone, then the whole folder: what is safe to sign, the others' blocks show."""
    async with world(tmp_path) as made:
        for lose in (lambda path: (path / "block").unlink(), shutil.rmtree):
            await made.stop(VICTIM)
            before = signed_round(made.folder(VICTIM))
            lose(made.folder(VICTIM))
            await made.start(VICTIM)
            engine = made.nodes[VICTIM].engine
            await until(lambda: signed_round(made.folder(VICTIM)) > before, "it signs again")  # noqa: B023 # awaited in the turn
            assert any("no sign state" in alarm for alarm in engine.alarms())
            assert engine.figures().signing == "signing"
            await made.rounds(3, *range(MEMBERS))


async def test_one_answer_short_it_observes_until_an_operator_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.stop(3)
        await made.stop(VICTIM)
        before = signed_round(made.folder(VICTIM))
        (made.folder(VICTIM) / "block").unlink()
        confirm_loss(made.folder(VICTIM))  # an old word, of another loss
        await made.start(VICTIM)
        engine = made.nodes[VICTIM].engine
        await until(lambda: engine.figures().may_confirm_loss, "two of three answers")
        assert (engine.figures().answers, engine.figures().answers_needed) == (2, 3)
        await asyncio.sleep(
            0.6
        )  # 4 delta are 0.08 s: time alone settles nothing, nor does the old word
        assert engine.figures().sign_state_lost
        assert signed_round(made.folder(VICTIM)) == 0

        confirm_loss(made.folder(VICTIM))
        await until(lambda: not engine.figures().sign_state_lost, "it may sign")
        assert not (made.folder(VICTIM) / "loss-confirmed").exists()
        # From R + 2 on: none of the three gets there before a quorum of the others does.
        assert signed_round(made.folder(VICTIM)) == 0
        await made.start(3)
        await until(lambda: signed_round(made.folder(VICTIM)) > before + 1, "it signs again")
        await made.rounds(3, *range(MEMBERS))


async def test_what_was_put_back_from_a_copy_is_noticed_and_what_peers_hold_adopted(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as made:
        await made.stop(VICTIM)
        shutil.copytree(made.folder(VICTIM), tmp_path / "copy")
        copied = signed_round(made.folder(VICTIM))
        await made.start(VICTIM)
        await made.rounds(6, *range(MEMBERS))
        for member in range(MEMBERS):
            await until(
                lambda: made.newest_held(member, VICTIM) > copied,  # noqa: B023 # awaited in the turn
                f"{member} holds what the copy does not know of",
            )
        await made.stop(VICTIM)
        before = signed_round(made.folder(VICTIM))
        shutil.rmtree(made.folder(VICTIM))
        shutil.move(tmp_path / "copy", made.folder(VICTIM))
        assert signed_round(made.folder(VICTIM)) < before
        await made.start(VICTIM)
        await until(lambda: signed_round(made.folder(VICTIM)) > before, "it signs again")
        (alarm,) = made.nodes[VICTIM].engine.alarms()
        assert "rolled back" in alarm
        await made.rounds(3, *range(MEMBERS))


# --- two hosts -----------------------------------------------------------------------------------


class Forwarder:
    """A registered address that somebody points at one host or another; connections to the old one end."""

    def __init__(self, listen: str, target: str) -> None:
        self._listen = listen
        self.target = target
        self._open: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        host, _, port = self._listen.rpartition(":")
        self._server = await asyncio.start_server(self._carry, host, int(port))
        return self

    async def __aexit__(self, *args: object) -> None:
        self._server.close()
        self._cut()
        await self._server.wait_closed()

    def point_at(self, target: str) -> None:
        self.target = target
        self._cut()

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.target.rpartition(":")
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection(host, int(port))
            self._open += [writer, back]
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_one_key_on_two_hosts_never_signs_on_both(tmp_path: Path) -> None:
    """A spare made from a copy runs beside the first, then takes over its address: one of them signs, whichever is read."""
    ports = free_ports(MEMBERS + 2)
    made = World(founded(ports[:MEMBERS]), tmp_path)
    at_first, at_second = (f"127.0.0.1:{port}" for port in ports[MEMBERS:])
    registered = made.founding.genesis.members[VICTIM].peer_endpoint
    spare = tmp_path / "spare"
    async with AsyncExitStack() as stack:
        stack.push_async_callback(stop_all, made)
        address = await stack.enter_async_context(Forwarder(registered, at_first))
        await made.start(1, 2, 3)
        first = await stack.enter_async_context(
            engine_node(made.founding, made.folder(VICTIM), listen=at_first)
        )
        await until(lambda: first.engine.own_round() >= 6, "six rounds")
        shutil.copytree(made.folder(VICTIM), spare)
        before = signed_round(spare)
        await until(lambda: first.engine.own_round() >= 12, "six more")

        # The first goes on signing: the copy sees that, halts, and has signed nothing.
        async with engine_node(made.founding, spare, listen=at_second) as second:
            await until(lambda: "halted" in second.engine.figures().signing, "the copy halts", 20)
            assert any("used elsewhere" in alarm for alarm in second.engine.alarms())
            so_far = first.engine.own_round()
            await until(lambda: first.engine.own_round() > so_far + 6, "the first goes on", 20)
            assert signed_round(spare) == before

        # Nobody hears the first any more: started again, the spare goes on, and the first halts when it sees that.
        address.point_at(at_second)
        async with engine_node(made.founding, spare, listen=at_second, pace=HASTY) as second:
            await until(lambda: second.engine.own_round() > so_far + 6, "the spare goes on", 20)
            await until(lambda: "halted" in first.engine.figures().signing, "the first halts", 20)
            assert any("used elsewhere" in alarm for alarm in first.engine.alarms())
            halted, going = first.engine.own_round(), second.engine.own_round()
            await until(lambda: second.engine.own_round() > going + 6, "the spare goes on", 20)
            assert first.engine.own_round() == halted
    assert_one_block_per_slot(*(made.folder(member) for member in (1, 2, 3)))


async def stop_all(made: World) -> None:
    for member in list(made.nodes):
        await made.stop(member)

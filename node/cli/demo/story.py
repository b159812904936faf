"""What the steps share: the folder, the cast, the processes, one connection to each node; and waiting for what nodes say."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from foedus.v1 import client_pb2 as pb
from node.cli.author import Signed
from node.cli.client import LedgerClient, Progress, node_at
from node.cli.demo.cast import STATES, Cast, Party
from node.cli.demo.metering import Metering
from node.cli.demo.outcome import Outcome
from node.cli.demo.processes import Child, Processes
from node.cli.demo.show import Show, StoryBroke, expect
from node.cli.demo.side_by_side import side_by_side
from node.cli.errors import ClientError, Unreachable
from node.cli.founding import Founded, Home
from node.cli.node_command import node_arguments
from node.cli.nodes import Nodes, Submission

FINAL_S: Final = 30.0  # one entry, on a busy machine
NEXT_NODE_S: Final = (
    1.5  # a node that has not included an entry by then is not the only one asked (RULINGS R59)
)
_POLL_S: Final = 0.15


@dataclass(kw_only=True)
class Story:
    """Where the story stands. Made by step 1; the later steps read and go on."""

    folder: Path
    show: Show
    processes: Processes
    deadline_s: int
    outcome: Outcome
    homes: Mapping[str, Home] = field(default_factory=dict)
    nodes: dict[str, Child] = field(default_factory=dict)  # state -> its newest process
    clients: dict[str, LedgerClient] = field(default_factory=dict)
    parties: dict[str, Party] = field(default_factory=dict)
    background: asyncio.TaskGroup | None = None  # where what runs beside the steps belongs
    _founded: Founded | None = None
    _cast: Cast | None = None
    _metering: Metering | None = None
    _metered: asyncio.Task[None] | None = None

    # Founding

    def found(
        self, founded: Founded, cast: Cast, homes: Sequence[Home], parties: Sequence[Party]
    ) -> None:
        """The ledger exists from here on."""
        self._founded, self._cast = founded, cast
        self.homes = {home.state: home for home in homes}
        self.parties = {party.id: party for party in parties}

    @property
    def founded(self) -> Founded:
        assert self._founded is not None, "step 1 founds"
        return self._founded

    @property
    def cast(self) -> Cast:
        assert self._cast is not None, "step 1 founds"
        return self._cast

    @property
    def genesis_path(self) -> Path:
        return self.folder / "genesis.cbor"

    # Meters

    def meter(self, metering: Metering) -> None:
        """Meters and gateway run from here on, beside everything else."""
        self._metering = metering
        self.resume_metering()

    def resume_metering(self) -> None:
        assert self._metering is not None, "step 2 meters"
        assert self.background is not None, "the story runs"
        self._metered = self.background.create_task(self._metering.run(), name="metering")

    async def pause_metering(self) -> None:
        """Nothing more is reported; what the gateway holds is on its disk."""
        metered = self._metered
        assert metered is not None, "step 2 meters"
        metered.cancel()
        await asyncio.wait([metered])

    # Nodes

    def start_node(self, state: str, module: str = "") -> Child:
        """Start the state's node: the published program, or another `module` that the state wrote itself."""
        home = self.homes[state].folder
        command = node_arguments(home)
        if module:
            command[command.index("-m") + 1] = module
        child = self.processes.start(f"node {state}", command, home / "node.log")
        self.nodes[state] = child
        return child

    async def connect(self, *states: str) -> None:
        """A fresh connection to each: an old one would wait before it dials again."""
        for state in states:
            old = self.clients.pop(state, None)
            if old is not None:
                await old.close()
            address = node_at(self.founded.genesis, self.founded.chain_id, state)
            self.clients[state] = LedgerClient(address)

    async def disconnect(self) -> None:
        for client in self.clients.values():
            await client.close()
        self.clients.clear()

    def running(self) -> tuple[str, ...]:
        """The states whose node runs."""
        return tuple(state for state in STATES if self.nodes[state].is_running)

    # Speaking

    def asking(self, *first: str) -> Nodes:
        """The nodes in the order of asking: `first`, then the others. Its clients stay open."""
        order = [*first, *(state for state in STATES if state not in first)]
        clients = [self.clients[state] for state in order if state in self.clients]
        return Nodes(clients, members=len(STATES))

    async def submit(self, signed: Signed, *first: str) -> Submission:
        """Give an entry to the first node, to more when it does not include it (R59); wait until it is in the log."""
        return await self.asking(*first).submit(
            signed.entry, until_final=False, next_after_s=NEXT_NODE_S, within_s=FINAL_S
        )

    async def submit_all(self, given: Sequence[tuple[Signed, str]]) -> list[Progress]:
        """Each to its first node, side by side; where each stands then. The law must have taken all of them."""
        made = await side_by_side(*(self.submit(signed, state) for signed, state in given))
        found: list[Progress] = []
        for (signed, _), submission in zip(given, made, strict=True):
            progress = submission.progress
            assert progress is not None, "submit waits for it"
            expected = f"the law takes {signed.kind} of {signed.author}"
            expect(not progress.code, expected, f"rejected: {progress.code}")
            found.append(progress)
        return found

    async def chain(self, entries: Sequence[Signed], *first: str) -> None:
        """Entries of one author in their order: each is given at once, the last is waited for."""
        nodes = self.asking(*first)
        for signed in entries[:-1]:
            await nodes.give(signed.entry)
        await self.submit_all([(entries[-1], first[0])])

    # Waiting

    async def until(
        self, what: str, ask: Callable[[], Awaitable[str]], within_s: float = FINAL_S
    ) -> None:
        """Until `ask` answers "": what it says else is what was seen. A node that is not reached is asked again."""
        self.show.doing(what)
        deadline = time.monotonic() + within_s
        while True:
            try:
                seen = await ask()
            except Unreachable as err:
                seen = str(err)
            if not seen:
                return
            if time.monotonic() > deadline:
                raise StoryBroke(what, f"after {within_s:g} s: {seen}")
            for child in self.nodes.values():
                self._still_runs(child)
            await asyncio.sleep(_POLL_S)

    def _still_runs(self, child: Child) -> None:
        """Nobody but us ends a node: one that ended by itself with an error is a fault."""
        status = child.popen.poll()
        expect(
            not status, f"{child.name} runs", f"it ended with status {status}: {child.log_tail()}"
        )

    async def statuses(self, *states: str) -> dict[str, pb.GetStatusResponse]:
        names = states or self.running()
        answers = await side_by_side(*(self.clients[state].status() for state in names))
        return dict(zip(names, answers, strict=True))

    async def one_root(self, *states: str) -> pb.GetStatusResponse:
        """Until these nodes (all running ones) have one log, all of it final, under one root; where they then stand."""
        found: list[pb.GetStatusResponse] = []

        async def ask() -> str:
            answers = await self.statuses(*states)
            places = {(a.log_size, a.final_size, a.root, a.final_root) for a in answers.values()}
            alarms = [f"{name}: {alarm}" for name, a in answers.items() for alarm in a.alarms]
            expect(not alarms, "no node raises an alarm", alarms)
            found[:] = list(answers.values())
            if len(places) == 1 and found[0].log_size == found[0].final_size:
                return ""
            return ", ".join(f"{n} {a.final_size}/{a.log_size}" for n, a in answers.items())

        await self.until("one root, all of it final, on every node", ask)
        return found[0]

    async def motion_decided(self, motion: str, state: str, within_s: float) -> pb.Motion:
        """The motion as this node shows it once it is decided."""
        found: list[pb.Motion] = []

        async def ask() -> str:
            found[:] = [await self.clients[state].motion(motion)]
            return "" if found[0].HasField("decision") else f"open, {len(found[0].votes)} votes"

        await self.until(f"motion {motion[:40]} is decided", ask, within_s)
        return found[0]

    async def same_everywhere(
        self, what: str, ask: Callable[[LedgerClient], Awaitable[str]]
    ) -> str:
        """What every running node answers, which must be one thing. Asked again until nodes agree."""
        found: list[str] = []

        async def one() -> str:
            answers = {}
            for state in self.running():
                try:
                    answers[state] = await ask(self.clients[state])
                except ClientError as err:
                    answers[state] = str(err)
            found[:] = list(answers.values())
            return "" if len(set(found)) == 1 else str(answers)

        await self.until(what, one)
        return found[0]

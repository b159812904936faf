"""A ledger of real nodes on this machine: founded, started, watched, stopped. For commands that show or measure a network.

    with Localnet.found(folder, states=("US", "CN", "GB", "KE"), operators=8) as net:
        net.start_all()
        net.wait_ready()
        ...
    # whatever still runs is ended, by its process id

Each node is a process of its own (`python -m node.main --home DIR`) with a home as `foedus init` makes it, on free ports of the
loopback interface, its log in JSON lines beside it. The folder is the caller's to delete.
"""

import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from node.cli import founding
from node.cli.client import NodeAddress, node_at
from node.cli.errors import CouldNot
from node.cli.founding import Endpoints, Founded, Home, Terms
from node.cli.node_command import node_arguments
from node.ledger.genesis import GenesisParty
from node.settings import ENVIRONMENT_PREFIX, ListenSettings
from node.signing.keys import AgencyKeys, generate_agency_keys
from node.signing.keystore import KdfCost

READY_S: Final = 30.0
STOP_S: Final = 20.0
LOG_TAIL_LINES: Final = 8
_LOOPBACK: Final = "127.0.0.1"


class NodeEnded(CouldNot):
    """A node's process ended by itself, or did not do in time what it was told."""


@dataclass(kw_only=True)
class LocalNode:
    """One member's home and process."""

    home: Home
    listen: ListenSettings
    process: subprocess.Popen[bytes] | None = None
    log_start: int = 0  # where the running process began to write

    @property
    def state(self) -> str:
        return self.home.state

    @property
    def log(self) -> Path:
        return self.home.folder / "node.log"

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.state} does not run"
        return self.process.pid

    def has_said(self, name: str) -> bool:
        """Whether the running process has logged this event."""
        data = self.log.read_bytes()[self.log_start :] if self.log.exists() else b""
        lines = data[: data.rfind(b"\n") + 1].splitlines()
        return any(line.startswith(b"{") and json.loads(line)["event"] == name for line in lines)

    def log_tail(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else "(no log)"
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


@dataclass(kw_only=True)
class Localnet:
    """See the module's text. `module` is what each process runs: `node.main`, but for tests."""

    founded: Founded
    nodes: dict[str, LocalNode]
    operators: tuple[
        AgencyKeys, ...
    ]  # genesis parties, each of the state at its place modulo members
    environment: dict[str, str] = field(default_factory=dict)  # over every node's own
    module: str = ""

    @classmethod
    def found(
        cls,
        folder: Path,
        *,
        states: Sequence[str],
        operators: int,
        terms: Terms | None = None,
        cost: KdfCost | None = None,
        module: str = "",
    ) -> Self:
        """Keys, a genesis signed by all, and a home for each state below `folder`. Nothing runs yet."""
        parties = tuple(
            generate_agency_keys(f"op{number:02}", with_vote=False) for number in range(operators)
        )
        ports = iter(free_ports(4 * len(states)))
        nodes = [_home(folder, state, ports, cost) for state in states]
        terms = terms or Terms(origin="localnet.foedus/main", drill=True, publication="open")
        genesis_parties = [
            GenesisParty(
                id=keys.author_id,
                role="operator",
                state=states[number % len(states)],
                author_key=keys.author.public,
            )
            for number, keys in enumerate(parties)
        ]
        document = _founded_by(nodes, terms, (*terms.parties, *genesis_parties))
        for node in nodes:
            founded = founding.install_genesis(node.home.folder, document)
        return cls(
            founded=founded,
            nodes={node.state: node for node in nodes},
            operators=parties,
            module=module,
        )

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(self.nodes)

    def state_of_operator(self, number: int) -> str:
        return self.states[number % len(self.states)]

    def addresses(self) -> list[NodeAddress]:
        """Where clients find the nodes, in member order."""
        genesis, chain_id = self.founded.genesis, self.founded.chain_id
        return [node_at(genesis, chain_id, state) for state in self.states]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what still runs, whatever happened."""
        running = [node.process for node in self.nodes.values() if node.process is not None]
        for process in running:
            if process.poll() is None:
                process.kill()
        for process in running:
            process.wait(STOP_S)

    # Processes

    def start(self, state: str) -> None:
        """Start one node; `wait_ready` waits for it."""
        node = self.nodes[state]
        assert node.process is None, f"{state} runs already"
        arguments = node_arguments(node.home.folder)
        if self.module:
            arguments[2] = self.module
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(ENVIRONMENT_PREFIX)  # this shell's settings are of another node
        }
        node.log_start = node.log.stat().st_size if node.log.exists() else 0
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                arguments,
                env={**inherited, **self._shared_cores(), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _shared_cores(self) -> dict[str, str]:
        """With a process or more for each core, threads within a process only take turns (`VerifyPool`)."""
        if len(self.nodes) < len(os.sched_getaffinity(0)):
            return {}
        return {f"{ENVIRONMENT_PREFIX}LIMITS_VERIFY_THREADS": "0"}

    def start_all(self) -> None:
        for state, node in self.nodes.items():
            if node.process is None:
                self.start(state)

    def wait_ready(self, seconds: float = READY_S) -> None:
        """Until every running node has said that it serves. Raises NodeEnded with its last words."""
        deadline = time.monotonic() + seconds
        for node in self.nodes.values():
            while node.process is not None and not node.has_said("ready"):
                self.check_running()
                if time.monotonic() > deadline:
                    raise NodeEnded(f"{node.state} not ready in {seconds:g} s:\n{node.log_tail()}")
                time.sleep(0.05)

    def check_running(self) -> None:
        """Raises NodeEnded if a node that was started has ended."""
        for node in self.nodes.values():
            if node.process is not None and (status := node.process.poll()) is not None:
                raise NodeEnded(f"{node.state} ended with status {status}:\n{node.log_tail()}")

    def kill(self, state: str) -> None:
        """SIGKILL: as a power loss to the process, though not to the disk."""
        node = self.nodes[state]
        assert node.process is not None, f"{state} does not run"
        node.process.kill()
        node.process.wait(STOP_S)
        node.process = None

    def stop(self, *states: str) -> dict[str, int]:
        """SIGTERM to these (all running ones by default) at once; their exit statuses. Raises NodeEnded."""
        names = states or tuple(s for s, node in self.nodes.items() if node.process is not None)
        for state in names:
            process = self.nodes[state].process
            assert process is not None, f"{state} does not run"
            process.send_signal(signal.SIGTERM)
        return {state: self._wait_ended(self.nodes[state]) for state in names}

    def _wait_ended(self, node: LocalNode) -> int:
        assert node.process is not None, f"{node.state} does not run"
        try:
            status = node.process.wait(STOP_S)
        except subprocess.TimeoutExpired as err:
            raise NodeEnded(
                f"{node.state} did not stop in {STOP_S:g} s:\n{node.log_tail()}"
            ) from err
        node.process = None
        return status


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on now, all different."""
    with ExitStack() as stack:
        found: list[int] = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket())
            probe.bind((_LOOPBACK, 0))
            found.append(probe.getsockname()[1])
        return found


def _home(folder: Path, state: str, ports: Iterator[int], cost: KdfCost | None) -> LocalNode:
    peer, client, http, metrics = (f"{_LOOPBACK}:{port}" for port in itertools.islice(ports, 4))
    listen = ListenSettings(peer=peer, client=client, http=http, metrics=metrics)
    passphrase = secrets.token_hex(16).encode()
    passphrase_file = folder / f"{state}.pass"
    folder.mkdir(parents=True, exist_ok=True)
    passphrase_file.touch(mode=0o600)
    passphrase_file.write_bytes(passphrase + b"\n")
    home = founding.make_home(
        folder / state,
        state=state,
        endpoints=Endpoints(peer=peer, client=client, http=http),
        passphrase=passphrase,
        passphrase_file=passphrase_file,
        listen=listen,
        pace="drill",
        log_format="json",
        cost=cost,
    )
    return LocalNode(home=home, listen=listen)


def _founded_by(
    nodes: Sequence[LocalNode], terms: Terms, parties: tuple[GenesisParty, ...]
) -> bytes:
    """The genesis document of these members, signed by all."""
    declarations = [node.home.declaration for node in nodes]
    proposal = founding.propose(declarations, replace(terms, parties=parties))
    return founding.combine(
        [founding.sign_proposal(proposal, node.home.node_keys) for node in nodes]
    )

"""A ledger of real node processes on this machine: founded, started, watched, killed, restarted.

    cluster = found_cluster(tmp_path, states=("US", "CN", "GB", "KE", "BR"))
    with cluster:                                   # whatever still runs at the end is stopped, by its process id
        cluster.start_all()
        await cluster.wait_ready()
        async with cluster.client("KE") as node: await node.Submit(...)
        cluster.kill("GB")                          # SIGKILL
        cluster.start("GB"); await cluster.wait_ready("GB")
        cluster.stop("US")                          # SIGTERM, waits for exit status 0

Ports are free ones of this machine, chosen once; each node has a home folder as `foedus init` makes it, with a log in JSON
lines. All waiting is for a condition with a deadline; what each node wrote last is in the message when it passes.
"""

import asyncio
import itertools
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from foedus.v1 import client_pb2 as pb
from foedus.v1 import client_pb2_grpc as rpc
from node.ledger.genesis import (
    Genesis,
    GenesisMember,
    GenesisParty,
    chain_id,
    declaration_signed_bytes,
    encode_declaration,
    encode_genesis,
    signed_bytes,
    with_signature,
)
from node.settings import (
    ListenSettings,
    LogSettings,
    NodeSettings,
    PaceSettings,
    Settings,
    documented_toml,
)
from node.signing.keys import AgencyKeys, NodeKeys, generate_agency_keys, generate_node_keys
from node.signing.keystore import KdfCost, write_node_keys
from node.signing.transport import server_name
from node.treaty.genesis import LAW_VERSION

ROOT = Path(__file__).resolve().parents[2]
FIVE_STATES = ("US", "CN", "GB", "KE", "BR")
PYTHON_PATH = os.pathsep.join((str(ROOT), str(ROOT / "proto"), os.environ.get("PYTHONPATH", "")))
READY_S = 30.0
STOP_S = 20.0
PASSPHRASE = b"correct horse battery staple"
CHEAP_KDF = KdfCost(ops=1, memory_bytes=8 * 1024 * 1024)  # five starts must not take a second each
LOG_TAIL_LINES = 15
_PORTS = random.SystemRandom()


@dataclass(kw_only=True)
class Home:
    """One member's home folder, addresses and keys."""

    state: str
    folder: Path
    keys: NodeKeys
    agency: AgencyKeys
    peer: str
    client: str
    http: str
    metrics: str
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    log_start: int = 0  # where the running process began to write

    @property
    def log(self) -> Path:
        return self.folder / "node.log"

    def log_lines(self) -> list[dict[str, Any]]:
        """The JSON lines that the last process wrote; other text (a stack trace) as {"text": ...}."""
        data = self.log.read_bytes() if self.log.exists() else b""
        text = data[self.log_start : data.rfind(b"\n") + 1].decode()
        return [
            json.loads(line) if line.startswith("{") else {"text": line}
            for line in text.splitlines()
        ]

    def log_tail(self) -> str:
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else "(no log)"
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])

    def resident_bytes(self) -> int:
        """Resident memory of the running process."""
        assert self.process is not None, f"{self.state} does not run"
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Processor time of the running process."""
        assert self.process is not None, f"{self.state} does not run"
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(kw_only=True)
class Cluster:
    """See the module's text. Members are named by their state codes."""

    genesis: Genesis
    document: bytes
    homes: dict[str, Home]
    operators: tuple[AgencyKeys, ...]
    environment: dict[str, str] = field(default_factory=dict)  # over every node's own
    module: str = "node.main"  # what each process runs

    @property
    def chain_id(self) -> bytes:
        return chain_id(self.document)

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(self.homes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running = [home.process for home in self.homes.values() if home.process is not None]
        for process in running:
            if process.poll() is None:
                process.kill()
        for process in running:
            process.wait(STOP_S)

    # Processes

    def start(self, state: str, *, arguments: Iterable[str] = ()) -> None:
        """Start one node's process; `wait_ready` waits for it."""
        home = self.homes[state]
        assert home.process is None, f"{state} runs already"
        command = [*self.command(state), "--home", str(home.folder), *arguments]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FOEDUS_")},
            "PYTHONPATH": PYTHON_PATH,
            "PYTHONHASHSEED": str(home.starts + len(state)),  # agreement must not rest on one order
            **self.environment,
        }
        home.starts += 1
        home.log_start = home.log.stat().st_size if home.log.exists() else 0
        with home.log.open("ab") as log:
            home.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def command(self, state: str) -> list[str]:
        """How this member's process is started, before its arguments."""
        del state
        return [sys.executable, "-m", self.module]

    def start_all(self) -> None:
        for state in self.homes:
            if self.homes[state].process is None:
                self.start(state)

    def kill(self, state: str) -> None:
        """SIGKILL: as a power loss to the process, though not to the disk."""
        self._end(state, signal.SIGKILL)

    def stop(self, state: str) -> int:
        """SIGTERM; returns the exit status."""
        return self._end(state, signal.SIGTERM)

    def stop_all(self) -> dict[str, int]:
        """SIGTERM to all at once; their exit statuses."""
        running = [state for state, home in self.homes.items() if home.process is not None]
        for state in running:
            process = self.homes[state].process
            assert process is not None, "listed as running"
            process.send_signal(signal.SIGTERM)
        # Signalled once: a second SIGTERM ends a node at once, without order.
        return {state: self._await_end(state, signal.SIGTERM) for state in running}

    def _end(self, state: str, number: signal.Signals) -> int:
        home = self.homes[state]
        assert home.process is not None, f"{state} does not run"
        if home.process.poll() is None:
            home.process.send_signal(number)
        return self._await_end(state, number)

    def _await_end(self, state: str, number: signal.Signals) -> int:
        home = self.homes[state]
        assert home.process is not None, f"{state} does not run"
        try:
            status = home.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            home.process.kill()
            home.process.wait(STOP_S)
            raise AssertionError(
                f"{state} did not end on {number.name} in {STOP_S} s:\n{home.log_tail()}"
            ) from None
        home.process = None
        return status

    # Waiting

    async def wait_ready(self, *states: str, seconds: float = READY_S) -> None:
        """Until these nodes (all running ones by default) have said that they serve."""
        names = states or tuple(s for s, home in self.homes.items() if home.process is not None)
        for state in names:
            await self.until(partial(self._is_ready, state), f"{state} ready", seconds)

    def _is_ready(self, state: str) -> bool:
        home = self.homes[state]
        assert home.process is not None, f"{state} was not started"
        status = home.process.poll()
        assert status is None, f"{state} ended with status {status}:\n{home.log_tail()}"
        return any(line.get("event") == "ready" for line in home.log_lines())

    async def until(
        self,
        condition: Callable[[], bool | Awaitable[bool]],
        what: str,
        seconds: float = READY_S,
        *,
        every_s: float = 0.05,
    ) -> None:
        """Wait for a condition with a deadline; says what every node wrote last when it passes."""
        deadline = time.monotonic() + seconds
        while True:
            holds = condition()
            if not isinstance(holds, bool):
                holds = await holds
            if holds:
                return
            if time.monotonic() > deadline:
                tails = "\n".join(
                    f"--- {state}\n{home.log_tail()}" for state, home in self.homes.items()
                )
                raise AssertionError(f"not within {seconds} s: {what}\n{tails}")
            await asyncio.sleep(every_s)

    # Talking

    def channel(self, state: str, *, options: Iterable[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        """A client's connection to this node, trusting only the certificate of the register."""
        home = self.homes[state]
        return grpc.aio.secure_channel(
            home.client,
            grpc.ssl_channel_credentials(home.keys.transport.certificate_pem),
            options=[
                ("grpc.ssl_target_name_override", server_name(state)),
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_receive_message_length", 8 * 1024 * 1024),
                *options,
            ],
        )

    @asynccontextmanager
    async def client(self, state: str) -> AsyncIterator["rpc.LedgerServiceAsyncStub"]:
        async with self.channel(state) as channel:
            yield rpc.LedgerServiceStub(channel)

    async def https_get(self, state: str, path: str) -> tuple[int, bytes]:
        """Status and body of one HTTP request, trusting only the certificate of the register."""
        home = self.homes[state]
        trust = ssl.create_default_context(cadata=home.keys.transport.certificate_pem.decode())
        host, _, port = home.http.rpartition(":")
        reader, writer = await asyncio.open_connection(
            host, int(port), ssl=trust, server_hostname=server_name(state)
        )
        request = f"GET {path} HTTP/1.1\r\nhost: {server_name(state)}\r\nconnection: close\r\n\r\n"
        writer.write(request.encode())
        head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1]), body

    async def status(self, state: str) -> pb.GetStatusResponse:
        async with self.client(state) as node:
            return await node.GetStatus(pb.GetStatusRequest(), timeout=10)

    async def statuses(self, *states: str) -> dict[str, pb.GetStatusResponse]:
        names = states or tuple(s for s, home in self.homes.items() if home.process is not None)
        answers = await asyncio.gather(*(self.status(state) for state in names))
        return dict(zip(names, answers, strict=True))

    async def all_final(self, entry_hashes: Iterable[bytes], *states: str) -> bool:
        """Are all of these final at each of these nodes (all running ones by default)?"""
        names = states or tuple(s for s, home in self.homes.items() if home.process is not None)
        wanted = list(entry_hashes)
        for state in names:
            async with self.client(state) as node:
                for digest in reversed(wanted):  # the newest is the likeliest to be missing
                    request = pb.GetEntryStateRequest(entry_hash=digest)
                    answer = await node.GetEntryState(request, timeout=10)
                    if answer.state != pb.ENTRY_STATE_FINAL:
                        return False
        return True

    async def one_root(self, *states: str) -> bool:
        """Do these nodes have everything final, at one size, under one root?"""
        found = {
            (answer.log_size, answer.final_size, answer.root, answer.final_root)
            for answer in (await self.statuses(*states)).values()
        }
        return len(found) == 1 and all(size == final for size, final, _, _ in found)


def found_cluster(
    folder: Path,
    *,
    states: Iterable[str] = FIVE_STATES,
    operators: int = 2,
    drill: bool = True,
    publication: str = "open",
    protocol: Mapping[str, int] | None = None,
    policy: Mapping[str, int] | None = None,
    pace: str = "drill",
    origin: str = "ledger.test/main",
    addresses: Iterable[str] = (),
    may_join: Iterable[str] = (),
) -> Cluster:
    """Keys, a genesis signed by all, and a home folder for each state. Nothing runs yet.

    `addresses`: for each state those of peers, clients, HTTP and metrics; else free ones of this machine. `may_join`: states
    that found nothing.
    """
    codes = tuple(states)
    given = iter(tuple(addresses) or _free_addresses(4 * len(codes)))
    homes = {code: _home(folder / code, code, given) for code in codes}
    parties = tuple(
        generate_agency_keys(f"op{number}", with_vote=False) for number in range(operators)
    )
    genesis = Genesis(
        origin=origin,
        time_ms=int(time.time() * 1000),
        drill=drill,
        publication=publication,
        protocol={"inclusion_s": 60, **(protocol or {})},
        policy=dict(policy or {}),
        law_version=LAW_VERSION,
        states=tuple(sorted({*codes, *may_join})),
        members=tuple(_member(home) for home in homes.values()),
        parties=tuple(
            GenesisParty(
                id=keys.author_id,
                role="operator",
                state=codes[number % len(codes)],
                author_key=keys.author.public,
            )
            for number, keys in enumerate(parties)
        ),
    )
    message = signed_bytes(genesis)
    for home in homes.values():
        genesis = with_signature(genesis, home.state, home.keys.block.sign(message))
    document = encode_genesis(genesis)
    for home in homes.values():
        _furnish(home, document, pace)
    return Cluster(genesis=genesis, document=document, homes=homes, operators=parties)


def add_home(cluster: Cluster, folder: Path, state: str) -> Home:
    """A state that founded nothing gets a home with the genesis, and keys of its own. It is no member yet."""
    home = _home(folder, state, iter(_free_addresses(4)))
    _furnish(home, cluster.document, "drill")
    declared = _member(home)
    signature = home.keys.block.sign(declaration_signed_bytes(declared))
    (folder / f"{state}.declaration").write_bytes(encode_declaration(declared, signature))
    cluster.homes[state] = home
    return home


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different.

    Below those that the system gives to outgoing connections: nodes dial one another, and a port chosen above could be in
    use by such a connection before its node listens.
    """
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", _PORTS.randrange(16_384, 32_768)))
                found.append(probe.getsockname()[1])
    return found


def _free_addresses(count: int) -> tuple[str, ...]:
    return tuple(f"127.0.0.1:{port}" for port in free_ports(count))


def _home(folder: Path, state: str, addresses: Iterator[str]) -> Home:
    peer, client, http, metrics = itertools.islice(addresses, 4)
    return Home(
        state=state,
        folder=folder,
        keys=generate_node_keys(state),
        agency=generate_agency_keys(state),
        peer=peer,
        client=client,
        http=http,
        metrics=metrics,
    )


def _member(home: Home) -> GenesisMember:
    assert home.agency.vote is not None, "a state's agency votes"
    return GenesisMember(
        state=home.state,
        block_key=home.keys.block.public,
        log_key=home.keys.log.public,
        cosigner_key=home.keys.cosigner.public,
        author_key=home.agency.author.public,
        vote_key=home.agency.vote.public,
        certificate_pem=home.keys.transport.certificate_pem,
        peer_endpoint=home.peer,
        client_endpoint=home.client,
        http_endpoint=home.http,
    )


def _furnish(home: Home, document: bytes, pace: str) -> None:
    (home.folder / "keys").mkdir(parents=True, mode=0o700)
    settings = Settings(
        home=home.folder,
        node=NodeSettings(state=home.state, passphrase_file="passphrase"),
        listen=ListenSettings(
            peer=home.peer, client=home.client, http=home.http, metrics=home.metrics
        ),
        pace=PaceSettings(profile=pace),
        log=LogSettings(format="json"),
    )
    (home.folder / "foedus.toml").write_text(documented_toml(settings), encoding="utf-8")
    settings.genesis_path.write_bytes(document)
    passphrase = home.folder / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_bytes(PASSPHRASE + b"\n")
    write_node_keys(settings.keys_path, home.keys, PASSPHRASE, cost=CHEAP_KDF)

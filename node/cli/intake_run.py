"""A gateway put together and run: settings, keys, journal, outboxes, nodes, broker, metrics; until it is told to stop.

python -m node.cli.main intake run --config DIR/intake.toml
"""

import asyncio
import json
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server

from foedus.v1 import client_pb2 as pb
from node.cli.client import LedgerClient, node_at
from node.cli.errors import ClientError, CouldNot
from node.cli.founding import Founded, read_founded
from node.cli.intake_ledger import NodesAccess, OutboxChains
from node.cli.nodes import Nodes
from node.cli.passphrases import read_passphrase
from node.intake.gateway import Gateway, GatewaySettings
from node.intake.journal import Journal
from node.intake.settings import FacilityTable, IntakeSettings, gateway_settings, load_intake
from node.settings import host_and_port
from node.signing.errors import SigningError
from node.signing.keys import AgencyKeys
from node.signing.keystore import read_agency_keys
from node.signing.verify import VerifyPool
from node.telemetry import event

COMMAND_MODULE: Final = "node.cli.main"
VERIFY_THREADS: Final = 2
RETRY_S: Final = 2.0  # between questions to the ledger before the gateway can start

_log = logging.getLogger("foedus.intake")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All that was read before anything is started."""

    settings: IntakeSettings
    founded: Founded
    keys: AgencyKeys
    password: str | None  # the broker's


def gateway_arguments(config: Path, passphrase_file: Path | None = None) -> list[str]:
    """The command line of a gateway's process, for those who start one beside other things."""
    arguments = [sys.executable, "-m", COMMAND_MODULE, "intake", "run", "--config", str(config)]
    if passphrase_file is not None:
        arguments += ["--passphrase-file", str(passphrase_file)]
    return arguments


def prepare(config: Path, passphrase_file: Path | None, environ: Mapping[str, str]) -> Prepared:
    """Read settings, genesis and keys. Raises CouldNot, BadSettings, SigningError, OSError."""
    settings = load_intake(config, environ)
    genesis, keys = settings.path(settings.intake.genesis), settings.path(settings.intake.keys)
    if genesis is None or keys is None or not settings.intake.journal:
        raise CouldNot(f"{config}: intake.genesis, intake.keys and intake.journal name files")
    founded = read_founded(genesis)
    for name in settings.node_names:
        node_at(founded.genesis, founded.chain_id, name.partition("@")[0])
    password_file = settings.path(settings.broker.password_file)
    password = None
    if password_file is not None:
        password = read_passphrase(password_file, "the broker").decode("utf-8", "replace")
    passphrase = read_passphrase(
        passphrase_file or settings.path(settings.intake.passphrase_file), str(keys)
    )
    return Prepared(
        settings=settings,
        founded=founded,
        keys=read_agency_keys(keys, passphrase),
        password=password,
    )


async def run(prepared: Prepared, *, adopt: bool) -> bool:
    """Until SIGTERM or SIGINT; whether it ended because of one. False: it cannot go on, and the last log line says why."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopped = True
    try:
        await _until(stop, prepared, adopt=adopt)
    except* (CouldNot, SigningError, OSError, sqlite3.Error) as group:
        for err in _leaves(group):
            event(_log, "gateway cannot go on", level=logging.CRITICAL, why=str(err))
        stopped = False
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    if stopped:
        event(_log, "stopped")
    return stopped


async def _until(stop: asyncio.Event, prepared: Prepared, *, adopt: bool) -> None:
    async with _nodes(prepared) as nodes, asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(_serve(prepared, nodes, adopt=adopt))
        await stop.wait()
        event(_log, "stopping")
        serving.cancel()


async def _serve(prepared: Prepared, nodes: Nodes, *, adopt: bool) -> None:
    settings, founded, keys = prepared.settings, prepared.founded, prepared.keys
    registry = CollectorRegistry()
    anchors = await _anchors(nodes, keys.author_id, settings.facility)
    made = gateway_settings(
        settings,
        ledger=founded.chain_id,
        author=keys.author_id,
        anchors=anchors,
        password=prepared.password,
        adopt=adopt,
    )
    path = settings.home / settings.intake.journal
    with (
        closing(Journal(path, ledger=founded.chain_id)) as journal,
        VerifyPool(threads=VERIFY_THREADS) as pool,
        _metrics(settings.metrics.listen, registry),
    ):
        gateway = Gateway(
            made,
            journal=journal,
            pool=pool,
            chains=OutboxChains(
                settings.home / settings.intake.outbox,
                ledger=founded.chain_id,
                keys={keys.author_id: keys},
            ),
            ledger=NodesAccess(nodes, founded.trust_policy),
            now_s=lambda: int(time.time()),
            registry=registry,
        )
        _say_ready(settings, made, nodes, keys.author_id)
        await gateway.run()


def _nodes(prepared: Prepared) -> Nodes:
    founded = prepared.founded
    names = prepared.settings.node_names or tuple(
        member.state for member in founded.genesis.members
    )
    clients = []
    for name in names:
        state, _, target = name.partition("@")
        clients.append(LedgerClient(node_at(founded.genesis, founded.chain_id, state, target)))
    return Nodes(clients, members=len(founded.genesis.members))


@contextmanager
def _metrics(listen: str, registry: CollectorRegistry) -> Iterator[None]:
    """Serves the metrics meanwhile. Raises OSError naming the address."""
    if not listen:
        yield
        return
    host, port = host_and_port(listen)
    try:
        server, thread = start_http_server(port, host.strip("[]"), registry)
    except OSError as err:
        raise OSError(f"metrics.listen = {listen}: cannot listen there: {err.strerror}") from err
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def _anchors(
    nodes: Nodes, author: str, facilities: tuple[FacilityTable, ...]
) -> dict[str, int]:
    """From which second each facility's periods count, for those whose settings leave it to the ledger.

    Waits until a node answers and the declaration is in the log: without it there is nothing to report under.
    """
    found: dict[str, int] = {}
    for row in facilities:
        while not row.anchor_s and row.facility not in found:
            try:
                declared_s = await _declared_s(nodes, author, row.facility)
            except ClientError as err:
                event(_log, "node unavailable", level=logging.WARNING, why=str(err))
                declared_s = None
            if declared_s is not None:
                found[row.facility] = declared_s
                continue
            event(_log, "facility not declared yet", level=logging.WARNING, facility=row.facility)
            await asyncio.sleep(RETRY_S)
    return found


async def _declared_s(nodes: Nodes, author: str, facility: str) -> int | None:
    """The ledger second in which the facility's first accepted declaration was included. Raises ClientError, CouldNot."""
    wanted = pb.ListRequest(author=author, kind="facility", subject=facility, brief=True)
    listed = await nodes.first(lambda client: client.list_entries(wanted))
    index = next((entry.index for entry in listed.entries if not entry.code), None)
    if index is None:
        return None
    closing_record = pb.ListRequest(kind="commit", first=index, limit=1)
    commits = await nodes.first(lambda client: client.list_entries(closing_record))
    if not commits.entries:
        return None
    if commits.entries[0].withheld:
        raise CouldNot(
            f"facility {facility}: commit records are not shown to operators on this ledger: set anchor_s to the"
            f" ledger second of the commit that holds entry {index}"
        )
    return int(json.loads(commits.entries[0].json)["time_ms"]) // 1000


def _say_ready(settings: IntakeSettings, made: GatewaySettings, nodes: Nodes, author: str) -> None:
    event(
        _log,
        "ready",
        author=author,
        broker=settings.broker.address,
        nodes=",".join(client.state for client in nodes.clients),
        facilities=len(made.facilities),
        sources=len(made.devices),
        metrics=settings.metrics.listen,
        pid=os.getpid(),
    )


def _leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    found: list[BaseException] = []
    for err in group.exceptions:
        found += _leaves(err) if isinstance(err, BaseExceptionGroup) else [err]
    return found

"""One node, one process: settings once, objects built and handed over, run until told to stop.

    python -m node.main --home DIR [--passphrase-file FILE]

    home: settings, keys, genesis                  2  something there is missing or wrong: nothing was started
      sign state (lock), store, ledger             1  the node cannot go on; the last log line says what to do
        mempool, admission, finality               0  stopped by SIGTERM or SIGINT
        network (peers), engine
        client server, HTTP, metrics

It starts from the bottom up and stops from the top down: nothing more is admitted, callers get a moment, then peers are left, the
engine ends, the store closes last. A second signal ends the process at once: whatever left it is durable.
"""

import argparse
import asyncio
import contextlib
import gc
import getpass
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final, Protocol

from consensus.pace import pace_of
from node.api.http import LogFiles
from node.api.listener import HttpListener, metrics_app
from node.api.node import PeerStanding, ServedNode
from node.api.server import ClientServer
from node.api.stale import StaleFiles, newest_proven
from node.api.witness import WitnessBook, WitnessKeys, read_witness_keys
from node.audit.at_start import mend_at_start
from node.engine.epochs import Epochs
from node.engine.figures import EngineFigures
from node.engine.parts import EngineParts, PeerLink
from node.engine.seating import Keyring
from node.ledger.admission import Admission, chain_place
from node.ledger.append import StoreFacts
from node.ledger.cosigned import Cosigned
from node.ledger.errors import LedgerError, MalformedGenesis
from node.ledger.finality import Finality
from node.ledger.genesis import GENESIS_BYTES_MAX, Genesis, parse_genesis
from node.ledger.ledger import Applied, Ledger
from node.ledger.mempool import MIB, Mempool, MempoolLimits
from node.reporting import CouldNot
from node.settings import FILE_NAME, BadSettings, Settings, load_settings
from node.signing.errors import SigningError
from node.signing.keys import NodeKeys, SigningKey
from node.signing.keystore import read_node_keys
from node.signing.verify import VerifyPool
from node.storage.errors import StorageError, StoreDamaged
from node.storage.sign_state import SignState
from node.storage.store import Store
from node.telemetry import Metrics, event, start_logging

EXIT_STOPPED: Final = 0
EXIT_FATAL: Final = 1
EXIT_BAD_START: Final = 2
PASSPHRASE_BYTES_MAX: Final = 4096
METRICS_REQUESTS_MAX: Final = 8
JOINING_SINCE_LAW: Final = 2
DAMAGE_NOTE: Final = (
    "store-damaged"  # file in the data folder: what stopped the node when it ran last
)
DAMAGE_NOTE_CHARS_MAX: Final = 2_000
_log = logging.getLogger("foedus.node")


class BadStart(Exception):
    """What the home folder holds does not make a node. Says what to do; nothing was started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All that was read before anything is started: checked, and checked against one another."""

    settings: Settings
    keys: NodeKeys
    document: bytes
    genesis: Genesis
    later_keys: tuple[NodeKeys, ...]  # of seats that the state declared since the founding
    own: int | None  # validator index at the founding; None: the state joined later, or will
    witness: WitnessKeys | None = None  # None: no other people's logs are cosigned


def main(argv: Sequence[str] | None, build_engine: "BuildEngine") -> int:
    """Run a node around this engine; returns the exit status drawn above."""
    arguments = _arguments(argv)
    if not __debug__:
        print(
            "python -O removes the assertions that stop a node at its own faults: run it without -O",
            file=sys.stderr,
        )
        return EXIT_BAD_START
    try:
        prepared = prepare(arguments.home, arguments.passphrase_file)
    except BadStart as err:
        print(f"foedus node: {err}", file=sys.stderr)
        return EXIT_BAD_START
    start_logging(prepared.settings.log.format, prepared.settings.log.level)
    return asyncio.run(run(prepared, build_engine))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="foedus node run", description="Run one node until SIGTERM or SIGINT."
    )
    parser.add_argument(
        "--home",
        type=Path,
        required=True,
        help=f"folder with {FILE_NAME}, as `foedus init` makes it",
    )
    parser.add_argument(
        "--passphrase-file", type=Path, help="file with the passphrase of the node's key file"
    )
    return parser.parse_args(argv)


# --- before anything runs ------------------------------------------------------------------------


def prepare(home: Path, passphrase_file: Path | None) -> Prepared:
    """Read settings, keys and genesis, and check them against one another. Raises BadStart."""
    try:
        settings = load_settings(home / FILE_NAME, os.environ)
    except BadSettings as err:
        raise BadStart(str(err)) from err
    document = _genesis_bytes(settings.genesis_path)
    try:
        genesis = parse_genesis(document)
    except MalformedGenesis as err:
        raise BadStart(f"{settings.genesis_path}: {err}") from err
    own = _founding_index(genesis, settings.node.state)
    passphrase = _passphrase(passphrase_file or settings.passphrase_path)
    try:
        keys = read_node_keys(settings.keys_path, passphrase)
        later_keys = tuple(read_node_keys(path, passphrase) for path in settings.later_keys_paths)
    except (OSError, SigningError) as err:
        raise BadStart(f"key file: {err}") from err
    if own is not None and not later_keys:
        _check_keys(keys, genesis, own, settings.keys_path)
    try:
        witness = read_witness_keys(settings, keys, genesis.origin)
    except BadSettings as err:
        raise BadStart(str(err)) from err
    return Prepared(
        settings=settings,
        keys=keys,
        later_keys=later_keys,
        document=document,
        genesis=genesis,
        own=own,
        witness=witness,
    )


def _genesis_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(GENESIS_BYTES_MAX + 1)
    except OSError as err:
        why = f"{path}: {err.strerror}: put the genesis document that all members signed there"
        raise BadStart(why) from err


def _passphrase(path: Path | None) -> bytes:
    if path is None:
        if not sys.stdin.isatty():
            raise BadStart(
                "no passphrase: name a file by --passphrase-file or node.passphrase_file,"
                " or start from a terminal"
            )
        return getpass.getpass("Passphrase of the node's key file: ").encode()
    try:
        with path.open("rb") as file:
            data = file.read(PASSPHRASE_BYTES_MAX + 1)
    except OSError as err:
        raise BadStart(f"passphrase file {path}: {err.strerror}") from err
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase or len(data) > PASSPHRASE_BYTES_MAX:
        raise BadStart(
            f"passphrase file {path}: want one line of at most {PASSPHRASE_BYTES_MAX} bytes"
        )
    return passphrase


def _founding_index(genesis: Genesis, state: str) -> int | None:
    """The state's place among the founders; None: it may join, and its seat is in the ledger or will be. Raises BadStart."""
    try:
        return genesis.member_index(state)
    except KeyError:
        pass
    codes = ", ".join(member.state for member in genesis.members)
    if state not in genesis.states:
        raise BadStart(
            f"node.state = {state!r} is not a member: the genesis has {codes}, and does not list it among the states"
            " that may join"
        )
    if genesis.law_version < JOINING_SINCE_LAW:
        raise BadStart(
            f"node.state = {state!r} is not a member: the genesis has {codes}, and under law {genesis.law_version} the founders"
            " validate for ever"
        )
    return None


def _check_keys(keys: NodeKeys, genesis: Genesis, own: int, path: Path) -> None:
    """The node's keys must be those of the register: peers and readers accept no others."""
    member = genesis.members[own]
    for role, held, registered in (
        ("block", keys.block.public, member.block_key),
        ("log", keys.log.public, member.log_key),
        ("cosigner", keys.cosigner.public, member.cosigner_key),
        ("transport", keys.transport.certificate_pem, member.certificate_pem),
    ):
        if held != registered:
            raise BadStart(
                f"{path}: its {role} key is not the one that the genesis registers for {member.state}:"
                " use the key file whose declaration went into this genesis; after a change of keys name both files, the new one"
                " as node.later_keys"
            )
    second = b"" if keys.cosigner_pq is None else keys.cosigner_pq.public
    if member.cosigner_pq_key not in (b"", second):
        raise BadStart(
            f"{path}: it has not the ML-DSA cosigner key that the genesis registers for {member.state}: use the key file whose"
            " declaration went into this genesis"
        )


# --- running -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an engine is built from. It reads and proposes through these; the node closes them after it."""

    prepared: Prepared
    store: Store
    sign_state: SignState
    pool: VerifyPool
    ledger: Ledger
    mempool: Mempool
    finality: Finality
    metrics: Metrics

    def keys_now(self) -> NodeKeys:
        """Those of the seat in force; of a state that has none yet, or another's keys, the first key file's."""
        ring = Keyring(keys=(self.prepared.keys, *self.prepared.later_keys))
        seats = [member for member in self.ledger.epoch.members if member.state == ring.state]
        found = [keys for keys in map(ring.of, seats) if keys is not None]
        return found[0] if found else self.prepared.keys

    def log_keys(self) -> list[SigningKey]:
        """The seat's in force, then the others: what an older one signed is looked up for years."""
        held = (self.prepared.keys, *self.prepared.later_keys)
        return list(dict.fromkeys((self.keys_now().log, *(keys.log for keys in held))))


class Engine(Protocol):
    """What puts entries in order: batches go to `Ledger.apply`, cosignatures to and from `Finality` (DESIGN D2)."""

    async def start(self) -> None:
        """Listen to peers, as far as the engine has any. Raises OSError naming the address."""
        ...

    async def run(self) -> None:
        """Until cancelled. Raises what stops the node: StorageError, AssertionError."""
        ...

    async def stop(self) -> None:
        """Leave the peers; what was handed to the ledger is applied."""
        ...

    def send(self, line: Cosigned) -> None:
        """An own cosignature, to every peer."""
        ...

    def own_round(self) -> int: ...

    def peers(self) -> Sequence[PeerLink]: ...

    def alarms(self) -> Sequence[str]:
        """What an operator must look at, one sentence each."""
        ...

    def figures(self) -> EngineFigures: ...


BuildEngine = Callable[[Parts], Engine]


class Ending:
    """Why the node ends. The first fault counts."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._fault: BaseException | None = None

    def ask(self) -> None:
        """End in order."""
        self._asked.set()

    def fail(self, err: BaseException) -> None:
        """End because of a fault."""
        if self._fault is None:
            self._fault = err
        self._asked.set()

    async def wait(self) -> None:
        """Until somebody asked. Raises the fault, if one was the reason."""
        await self._asked.wait()
        if self._fault is not None:
            raise self._fault


async def run(prepared: Prepared, build_engine: BuildEngine) -> int:
    """From the first lock to the last flush. Returns the exit status."""
    ending = Ending()
    _on_signals(ending)
    status = EXIT_STOPPED
    try:
        await _serve(prepared, build_engine, ending)
    except* (StorageError, LedgerError, OSError, CouldNot) as group:
        # Each of these messages says what was seen and what to do about it.
        for err in _leaves(group):
            event(_log, "node cannot go on", level=logging.CRITICAL, why=str(err))
            if isinstance(err, StoreDamaged):
                _remember_damage(prepared, str(err))
        status = EXIT_FATAL
    except* AssertionError as group:
        why = "a fault of this program: keep this log and the home folder, report it, start again"
        _log.critical(why, exc_info=group)
        status = EXIT_FATAL
    if status == EXIT_STOPPED:
        event(_log, "stopped")
    return status


async def _serve(prepared: Prepared, build_engine: BuildEngine, ending: Ending) -> None:
    metrics = Metrics(prepared.settings.node.state)
    async with AsyncExitStack() as stack:
        sign_state = stack.enter_context(SignState(prepared.settings.data_path))
        await _mend_what_was_met(prepared, sign_state)
        try:
            parts, engine = await _begin(prepared, metrics, build_engine, sign_state, stack)
        except StoreDamaged as err:
            if not await _mend(prepared, sign_state, str(err)):
                raise
            # Its metrics have the names of the first attempt's: a registry of its own.
            metrics = Metrics(prepared.settings.node.state)
            parts, engine = await _begin(prepared, metrics, build_engine, sign_state, stack)
        admission = _admission(parts)
        node = _served(parts, admission, engine)
        _measure(parts, engine, metrics)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(parts.finality.run(), name="finality"),
                tasks.create_task(engine.run(), name="engine"),
            ]
            async with AsyncExitStack() as faces:
                started = _faces(node, parts, metrics, ending)
                _renew_certificates(parts, started)
                for face in started:
                    await face.start()
                    faces.push_async_callback(face.stop)
                _settle_collector()
                _say_ready(parts)
                try:
                    await ending.wait()
                finally:
                    admission.close()
            for task in running:
                task.cancel()


async def _begin(
    prepared: Prepared,
    metrics: Metrics,
    build_engine: BuildEngine,
    sign_state: SignState,
    stack: AsyncExitStack,
) -> tuple[Parts, Engine]:
    """Everything opened and compared, peers listened to. Raises StorageError, LedgerError, OSError: then nothing stays open."""
    async with AsyncExitStack() as attempt:
        parts = await _open(prepared, metrics, sign_state, attempt)
        engine = build_engine(parts)
        parts.finality.on_line(engine.send)
        attempt.push_async_callback(engine.stop)
        await engine.start()
        stack.push_async_callback(attempt.pop_all().aclose)
        return parts, engine


async def _mend_what_was_met(prepared: Prepared, sign_state: SignState) -> None:
    """A row that stopped this node when it ran last need not be one that is read at a start. Raises as `_mend`."""
    note = prepared.settings.data_path / DAMAGE_NOTE
    if note.is_file():
        await _mend(prepared, sign_state, note.read_text(encoding="utf-8", errors="replace"))
        note.unlink()


def _remember_damage(prepared: Prepared, why: str) -> None:
    """For the next start; if the disk refuses even that, the operator's log has it."""
    with contextlib.suppress(OSError):
        note = prepared.settings.data_path / DAMAGE_NOTE
        note.write_text(why[:DAMAGE_NOTE_CHARS_MAX], encoding="utf-8")


async def _mend(prepared: Prepared, sign_state: SignState, why: str) -> bool:
    """Put a whole store in the place of the damaged one; meanwhile readers are shown what it can still prove.

    False: nothing was wrong with it. Raises StorageError, OSError, CouldNot: then an operator must look.
    """
    event(_log, "store damaged", level=logging.ERROR, why=why)
    settings = prepared.settings
    async with AsyncExitStack() as shown:
        await _show_stale(prepared, why, shown)
        made = await asyncio.to_thread(
            mend_at_start,
            settings,
            prepared.genesis,
            prepared.document,
            prepared.keys.transport,
            sign_state,
        )
    for row in made.damage.rows:
        event(_log, "row damaged", level=logging.ERROR, row=str(row))
    event(
        _log,
        "store repaired" if made.replaced else "store found sound",
        level=logging.WARNING,
        size=made.size,
        commits=made.commits,
        cut=made.cut,
        set_aside=None if made.set_aside is None else str(made.set_aside),
        **made.damage.counts,
    )
    return made.replaced


async def _show_stale(prepared: Prepared, why: str, stack: AsyncExitStack) -> None:
    """As far as the damaged store can be read at all."""
    settings = prepared.settings
    try:
        store = stack.enter_context(Store.open(settings.store_path, read_only=True, salvage=True))
        stands = newest_proven(store, prepared.genesis, prepared.document)
    except StorageError as err:
        event(_log, "nothing can be shown meanwhile", level=logging.WARNING, why=str(err))
        return
    if stands is None:
        event(_log, "nothing can be shown meanwhile", level=logging.WARNING)
        return
    files = StaleFiles(store, stands, prepared.genesis, prepared.keys.log, why)
    face = HttpListener(
        files.app(),
        settings.listen.http,
        requests_max=settings.limits.http_connections,
        identity=prepared.keys.transport,
    )
    await face.start()
    stack.push_async_callback(face.stop)
    event(_log, "shown meanwhile, as it stood", size=stands.checkpoint.size)


async def _open(
    prepared: Prepared, metrics: Metrics, sign_state: SignState, stack: AsyncExitStack
) -> Parts:
    """Store, ledger and what waits in them. Raises StorageError, LedgerError."""
    settings, limits = prepared.settings, prepared.settings.limits
    store = stack.enter_context(Store.open(settings.store_path))
    pool = stack.enter_context(VerifyPool(threads=limits.verify_threads))
    ledger = await Ledger.open(store, prepared.document, pool, sign_state=sign_state)
    finality = Finality(
        store,
        sign_state,
        ledger.genesis,
        own=prepared.own,
        state=prepared.settings.node.state,
        epochs=lambda: ledger.epochs,
        later_keys=[key for keys in prepared.later_keys for key in (keys.cosigner, keys.log)],
        mldsa_keys=[
            keys.cosigner_pq
            for keys in (prepared.keys, *prepared.later_keys)
            if keys.cosigner_pq is not None
        ],
        time_ms=ledger.time_ms,
        cosigner_key=prepared.keys.cosigner,
        log_key=prepared.keys.log,
        log_size=ledger.size,
        root_at=ledger.root_at,
        clock_s=_clock_s,
    )
    mempool = Mempool(
        store,
        ledger.author_tip,
        limits=MempoolLimits(
            entries_max=limits.mempool_entries,
            bytes_max=limits.mempool_mib * MIB,
            per_author_max=limits.entries_per_author,
        ),
        state_of=ledger.state_of,
        states=lambda: len(ledger.epoch.members),
    )
    waiting = mempool.restore(chain_place)
    ledger.attach(finality=finality, mempool=mempool)
    event(
        _log,
        "ledger opened",
        chain_id=ledger.chain_id,
        size=ledger.size,
        final=finality.final_size,
        commit=ledger.last_commit,
        waiting=waiting,
    )
    return Parts(
        prepared=prepared,
        store=store,
        sign_state=sign_state,
        pool=pool,
        ledger=ledger,
        mempool=mempool,
        finality=finality,
        metrics=metrics,
    )


def _admission(parts: Parts) -> Admission:
    prepared = parts.prepared
    return Admission(
        parts.ledger,
        parts.mempool,
        parts.store,
        parts.pool,
        node=prepared.settings.node.state,
        log_key=lambda: parts.keys_now().log,
        clock_ms=_clock_ms,
    )


def _served(parts: Parts, admission: Admission, engine: Engine) -> ServedNode:
    began = time.monotonic()
    finality = parts.finality
    return ServedNode(
        state=parts.prepared.settings.node.state,
        version=_version(),
        ledger=parts.ledger,
        finality=finality,
        admission=admission,
        facts=StoreFacts(parts.store),
        pool=parts.pool,
        log_keys=parts.log_keys,
        clock_s=_clock_s,
        uptime_s=lambda: int(time.monotonic() - began),
        own_round=engine.own_round,
        peers=lambda: _standings(engine),
        alarms=lambda: _alarms(parts.ledger, finality, engine),
        figures=engine.figures,
    )


def _standings(engine: Engine) -> list[PeerStanding]:
    return [
        PeerStanding(
            state=link.state,
            endpoint=link.endpoint,
            connected_in=link.reads_us,
            connected_out=link.is_read,
            last_round=link.last_round,
            last_cosigned_size=link.last_cosigned_size,
        )
        for link in engine.peers()
    ]


def _alarms(ledger: Ledger, finality: Finality, engine: Engine) -> list[str]:
    own = finality.alarm
    return [*([] if own is None else [own]), *engine.alarms(), *ledger.damage]


def _faces(
    node: ServedNode, parts: Parts, metrics: Metrics, ending: Ending
) -> list[ClientServer | HttpListener]:
    """In the order in which they start; they stop in the opposite one. Raises OSError."""
    settings, witness = parts.prepared.settings, parts.prepared.witness
    keys = parts.keys_now()
    listen, limits = settings.listen, settings.limits
    faces: list[ClientServer | HttpListener] = []
    if listen.metrics:
        app = metrics_app(metrics)
        faces.append(HttpListener(app, listen.metrics, requests_max=METRICS_REQUESTS_MAX))
    book = None if witness is None else WitnessBook(witness, settings.witness_path)
    files = LogFiles(node, time.monotonic, on_fatal=ending.fail, book=book).app()
    faces.append(
        HttpListener(
            files, listen.http, requests_max=limits.http_connections, identity=keys.transport
        )
    )
    faces.append(
        ClientServer(node, listen.client, keys.transport, limits, metrics, on_fatal=ending.fail)
    )
    return faces


def _renew_certificates(parts: Parts, faces: Sequence[ClientServer | HttpListener]) -> None:
    """With each epoch, clients are shown the certificate of the seat that is in force then (RULINGS R44, R48)."""
    shown = [parts.ledger.epoch.number]

    def look(applied: Applied) -> None:
        del applied
        if parts.ledger.epoch.number != shown[0]:
            shown[0] = parts.ledger.epoch.number
            for face in faces:
                face.show(parts.keys_now().transport)

    parts.ledger.subscribe(look)


def _measure(parts: Parts, engine: Engine, metrics: Metrics) -> None:
    ledger, mempool, finality = parts.ledger, parts.mempool, parts.finality
    show = metrics.read_at_scrape
    show("foedus_round", "Round of the newest own block.", engine.own_round)
    show("foedus_commit_index", "Index of the last commit.", lambda: ledger.last_commit)
    show("foedus_log_size", "Entries in the log.", lambda: ledger.size)
    show("foedus_final_size", "Entries that are final.", lambda: finality.final_size)
    show("foedus_ledger_time_ms", "Ledger time.", lambda: ledger.time_ms)
    show("foedus_mempool_entries", "Entries waiting here.", lambda: len(mempool))
    show("foedus_mempool_bytes", "Bytes of them.", lambda: mempool.bytes_held)
    show(
        "foedus_alarm",
        "1 while an operator must look.",
        lambda: bool(_alarms(ledger, finality, engine)),
    )
    show("foedus_disk_flushes", "Shared flushes of the disk.", lambda: parts.store.flushes)
    show(
        "foedus_peers_connected",
        "Peers whose blocks are read.",
        lambda: sum(peer.is_read for peer in engine.peers()),
    )


def _settle_collector() -> None:
    """Python's cycle collector walks live objects again and again: what is here at the start stays, and it need not look.

    Its thresholds stay as they are. Measured: with higher ones the collector takes 0.2 s less of 5.5 s of processor time at full
    load, but connections that never finish TLS live in cycles, and a flood of them grew the node by 80 MiB.
    """
    gc.collect()
    gc.freeze()


def _say_ready(parts: Parts) -> None:
    settings = parts.prepared.settings
    listen = settings.listen
    event(
        _log,
        "ready",
        state=settings.node.state,
        origin=parts.ledger.genesis.origin,
        size=parts.ledger.size,
        peer=listen.peer,
        client=listen.client,
        http=listen.http,
        metrics=listen.metrics,
    )


def _on_signals(ending: Ending) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        event(_log, "stopping", signal=number.name)
        for other in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(other)  # the next one ends the process at once
        ending.ask()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


def _leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    """The errors in a tree of groups."""
    found: list[BaseException] = []
    for err in group.exceptions:
        found += _leaves(err) if isinstance(err, BaseExceptionGroup) else [err]
    return found


def _version() -> str:
    try:
        return metadata.version("foedus")
    except metadata.PackageNotFoundError:
        return "not installed"  # run from a checkout


def _clock_s() -> int:
    return int(time.time())


def _clock_ms() -> int:
    return int(time.time() * 1000)


def build_engine(parts: Parts) -> Engine:
    """The embedded engine: a DAG of blocks among the members (DESIGN D1)."""
    prepared = parts.prepared
    return Epochs(
        EngineParts(
            genesis=prepared.genesis,
            chain_id=parts.ledger.chain_id,
            keys=prepared.keys,
            later_keys=prepared.later_keys,
            listen_peer=prepared.settings.listen.peer,
            pace=partial(pace_of, prepared.settings.pace.profile),
            store=parts.store,
            sign_state=parts.sign_state,
            pool=parts.pool,
            ledger=parts.ledger,
            mempool=parts.mempool,
            finality=parts.finality,
            metrics=parts.metrics,
            decisions=prepared.settings.decisions_path,
        )
    )


if __name__ == "__main__":
    sys.exit(main(None, build_engine))

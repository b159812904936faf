"""The objects of a node, built and handed to one another: what an engine is built from, and what readers are shown of it."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import metadata
from typing import Final, Protocol

from node.api.http import LogFiles
from node.api.listener import HttpListener, metrics_app
from node.api.node import PeerStanding, ServedNode
from node.api.outside import OutsideWitnesses
from node.api.server import ClientServer
from node.api.witness import WitnessBook
from node.engine.figures import EngineFigures
from node.engine.parts import PeerLink
from node.engine.seating import Keyring
from node.ledger.admission import Admission, chain_place
from node.ledger.append import StoreFacts
from node.ledger.cosigned import Cosigned
from node.ledger.finality import Finality
from node.ledger.ledger import Applied, Ledger
from node.ledger.mempool import MIB, Mempool, MempoolLimits
from node.signing.keys import NodeKeys, SigningKey
from node.signing.verify import VerifyPool
from node.start.home import Prepared
from node.storage.sign_state import SignState
from node.storage.store import Store
from node.telemetry import Metrics, event

METRICS_REQUESTS_MAX: Final = 8
_log = logging.getLogger("foedus.node")


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


async def open_parts(
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


def admission_of(parts: Parts) -> Admission:
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


def outside_of(parts: Parts) -> OutsideWitnesses | None:
    """Who asks outside witnesses to cosign this ledger; None: none are named. Raises OSError."""
    prepared = parts.prepared
    if not prepared.asked:
        return None
    outside = OutsideWitnesses(
        parts.ledger,
        parts.finality,
        prepared.asked,
        prepared.settings.outside_path,
        every_s=prepared.settings.witness.ask_every_s,
    )
    parts.metrics.read_at_scrape(
        "foedus_witnessed_size",
        "Entries of the newest checkpoint that an outside witness cosigned.",
        lambda: outside.size,
    )
    return outside


def served_node(
    parts: Parts, admission: Admission, engine: Engine, outside: OutsideWitnesses | None = None
) -> ServedNode:
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
        alarms=lambda: [*_alarms(parts.ledger, finality, engine), *_outside_alarms(outside)],
        figures=engine.figures,
        outside=outside,
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


def _outside_alarms(outside: OutsideWitnesses | None) -> list[str]:
    return [] if outside is None else outside.alarms


def faces_of(
    node: ServedNode, parts: Parts, metrics: Metrics, on_fatal: Callable[[BaseException], None]
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
    files = LogFiles(node, time.monotonic, on_fatal=on_fatal, book=book).app()
    faces.append(
        HttpListener(
            files, listen.http, requests_max=limits.http_connections, identity=keys.transport
        )
    )
    faces.append(
        ClientServer(node, listen.client, keys.transport, limits, metrics, on_fatal=on_fatal)
    )
    return faces


def renew_certificates(parts: Parts, faces: Sequence[ClientServer | HttpListener]) -> None:
    """With each epoch, clients are shown the certificate of the seat that is in force then (RULINGS R44, R48)."""
    shown = [parts.ledger.epoch.number]

    def look(applied: Applied) -> None:
        del applied
        if parts.ledger.epoch.number != shown[0]:
            shown[0] = parts.ledger.epoch.number
            for face in faces:
                face.show(parts.keys_now().transport)

    parts.ledger.subscribe(look)


def measure(
    parts: Parts, engine: Engine, metrics: Metrics, outside: OutsideWitnesses | None = None
) -> None:
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
        lambda: bool(_alarms(ledger, finality, engine) or _outside_alarms(outside)),
    )
    show("foedus_disk_flushes", "Shared flushes of the disk.", lambda: parts.store.flushes)
    show(
        "foedus_peers_connected",
        "Peers whose blocks are read.",
        lambda: sum(peer.is_read for peer in engine.peers()),
    )


def _version() -> str:
    try:
        return metadata.version("foedus")
    except metadata.PackageNotFoundError:
        return "not installed"  # run from a checkout


def _clock_s() -> int:
    return int(time.time())


def _clock_ms() -> int:
    return int(time.time() * 1000)

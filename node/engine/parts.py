"""What an engine works with, and what it says of its peers."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from consensus.types import Parameters
from node.engine.clock import SlewedClock
from node.ledger.finality import Finality
from node.ledger.genesis import Genesis
from node.ledger.ledger import Ledger
from node.ledger.mempool import Mempool
from node.network.transport import GrpcTransport, Transport
from node.signing.keys import NodeKeys
from node.signing.verify import VerifyPool
from node.storage.sign_state import SignState
from node.storage.store import Store
from node.telemetry import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineParts:
    """What the engine works with; it opens and closes none of it."""

    genesis: Genesis
    chain_id: bytes
    keys: NodeKeys
    later_keys: tuple[NodeKeys, ...] = ()  # of seats that this state declared since (SPEC 14)
    listen_peer: str
    pace: Callable[[int], Parameters]  # by how many validators there are
    store: Store
    sign_state: SignState
    pool: VerifyPool
    ledger: Ledger
    mempool: Mempool
    finality: Finality
    metrics: Metrics
    decisions: Path | None = None  # file of the decision log; None: none is written
    clock: SlewedClock = field(default_factory=SlewedClock)
    transport: Transport = field(default_factory=GrpcTransport)
    monotonic: Callable[[], float] = time.monotonic  # seconds, of the network's pauses and budgets


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLink:
    """How one other member's node stands towards this one."""

    member: int
    state: str
    endpoint: str
    reads_us: bool
    is_read: bool
    last_round: int
    last_cosigned_size: int

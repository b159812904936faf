"""What the handlers call: the running node, as the faces see it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.api.outside import OutsideWitnesses
from node.engine.figures import EngineFigures
from node.ledger.admission import Admission
from node.ledger.append import StoreFacts
from node.ledger.finality import Finality
from node.ledger.ledger import Ledger
from node.signing.keys import SigningKey
from node.signing.verify import VerifyPool


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStanding:
    """How one other member's node stands towards this one."""

    state: str
    endpoint: str
    connected_in: bool  # it reads our blocks
    connected_out: bool  # we read its blocks
    last_round: int
    last_cosigned_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedNode:
    """The parts of a node that answer clients. Used from the node's event loop."""

    state: str
    version: str
    ledger: Ledger
    finality: Finality
    admission: Admission
    facts: StoreFacts
    pool: VerifyPool
    log_keys: Callable[
        [], Sequence[SigningKey]
    ]  # the seat's in force first, then those of its other seats
    clock_s: Callable[[], int]  # the node's own clock, unix seconds
    uptime_s: Callable[[], int]
    own_round: Callable[[], int]
    peers: Callable[[], Sequence[PeerStanding]]
    alarms: Callable[[], Sequence[str]]
    figures: Callable[[], EngineFigures]
    outside: OutsideWitnesses | None = None  # None: this node asks no outside witness

    @property
    def log_key(self) -> SigningKey:
        """What receipts are signed with now (RULINGS R44)."""
        return self.log_keys()[0]

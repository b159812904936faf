"""The seam between any engine and the ledger (DESIGN D2, RULINGS R22)."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Proof that a state's node signed two blocks for one round. Verified: whoever makes one has checked both signatures."""

    state: str
    epoch: int
    round: int
    proof: bytes  # the engine's canonical bytes, which somebody else can verify alone


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedBatch:
    """One commit's transactions in their final order. Same batches, same log bytes, whatever engine made them."""

    index: int  # engine's commit index, from 1, contiguous
    time_ms: int  # ledger time, never below the one before
    order_digest: bytes  # 32 bytes: commit digest, or the block hash under another engine
    entries: tuple[bytes, ...]  # raw transactions in commit order, nothing checked yet
    evidence: tuple[Evidence, ...] = ()  # what the commit's blocks carry: one for each accused
    ends_epoch: bool = (
        False  # the engine's last of its epoch: another committee follows (SPEC 14.2)
    )


class Judged(NamedTuple):
    """What a commit did with one transaction, whoever proposed it. A tuple, for there are thousands a second."""

    entry_hash: bytes
    author: str  # empty if the entry has no known author
    seq: int
    code: str  # reason code, empty if accepted
    leaf: int | None  # its index in the log, or None if it was not appended (R26)

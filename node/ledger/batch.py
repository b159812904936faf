"""The seam between any engine and the ledger (DESIGN D2, RULINGS R22)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedBatch:
    """One commit's transactions in their final order. Same batches, same log bytes, whatever engine made them."""

    index: int  # engine's commit index, from 1, contiguous
    time_ms: int  # ledger time, never below the one before
    order_digest: bytes  # 32 bytes: commit digest, or the block hash under another engine
    entries: tuple[bytes, ...]  # raw transactions in commit order, nothing checked yet

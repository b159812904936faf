"""Entries into own blocks, and back out of those that became void.

An own block that lies at or below the collection floor and was not committed never will be (SPEC 8): its entries go back to the
mempool and into a later block.
"""

from collections.abc import Iterable

from consensus.types import (
    PAYLOAD_BYTES_MAX,
    TRANSACTIONS_MAX,
    Block,
    CommitRecord,
    Ref,
    ValidatorIndex,
)
from node.ledger.mempool import Mempool
from node.signing.statements import entry_hash


class OwnPayload:
    """The own blocks that are neither committed nor void: at most one for each round above the collection floor."""

    def __init__(self, own: ValidatorIndex | None, mempool: Mempool) -> None:
        self._own = own
        self._mempool = mempool
        self._open: dict[Ref, tuple[bytes, ...]] = {}

    def take(self, *, is_busy: bool = False, due_by_ms: int = 0) -> tuple[bytes, ...]:
        """The entries of the next own block; see `Mempool.take`."""
        return self._mempool.take(
            PAYLOAD_BYTES_MAX, TRANSACTIONS_MAX, is_busy=is_busy, due_by_ms=due_by_ms
        )

    def made(self, block: Block) -> None:
        """An own block that is on its way."""
        if block.payload:
            self._open[block.ref] = block.payload

    def restored(self, blocks: Iterable[Block], records: Iterable[CommitRecord]) -> None:
        """After a restart: what uncommitted own blocks hold need not be proposed again."""
        committed = {ref for record in records for ref in record.commit.blocks}
        for block in blocks:
            if block.ref.author == self._own and block.ref not in committed:
                self.made(block)
                self._mempool.proposed(map(entry_hash, block.payload))

    def committed(self, record: CommitRecord) -> None:
        """One commit further: what it holds is on its way to the log."""
        for ref in record.commit.blocks:
            if ref.author == self._own:
                self._open.pop(ref, None)

    def void_all(self) -> None:
        """The epoch is over: no own block that is open will be committed any more."""
        for ref in list(self._open):
            self.void(ref)

    def void(self, ref: Ref) -> None:
        """The own block of this name will never be committed: its entries go into a later one."""
        payload = self._open.pop(ref, None)
        if payload is not None:
            self._mempool.release(map(entry_hash, payload))

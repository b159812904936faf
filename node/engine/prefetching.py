"""Signatures of entries, checked while their block waits to be committed: by then the verdicts are remembered.

Only a head start: what does not fit, or is committed before its turn comes, is left to the ledger, which checks it then.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from consensus.types import Block, Ref
from node.ledger.ledger import Ledger
from node.signing.verify import VerifyPool

BYTES_MAX: Final = 4 * 1024 * 1024
SLICE: Final = 64  # entries parsed before others get their turn


class Prefetcher:
    """One task of the node."""

    def __init__(self, ledger: Ledger, pool: VerifyPool) -> None:
        self._ledger = ledger
        self._pool = pool
        self._blocks: dict[Ref, Block] = {}  # in order of arrival
        self._bytes = 0
        self._some = asyncio.Event()

    def add(self, block: Block) -> None:
        size = block.header.payload_len
        if not size or self._bytes + size > BYTES_MAX or block.ref in self._blocks:
            return
        self._blocks[block.ref] = block
        self._bytes += size
        self._some.set()

    def committed(self, blocks: Iterable[Block]) -> None:
        """The ledger has these next: to parse them here as well would be work done twice."""
        for block in blocks:
            if self._blocks.pop(block.ref, None) is not None:
                self._bytes -= block.header.payload_len

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            while not self._blocks:
                self._some.clear()
                await self._some.wait()
            block = self._blocks[next(iter(self._blocks))]
            for start in range(0, len(block.payload), SLICE):
                checks = self._ledger.prefetch(block.payload[start : start + SLICE])
                if checks:
                    await self._pool.verify_many(checks)
                else:
                    await asyncio.sleep(0)
                if block.ref not in self._blocks:
                    break
            self.committed((block,))

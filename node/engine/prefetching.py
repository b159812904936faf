"""Signatures of entries, checked while their block waits to be committed: by then the verdicts are remembered.

Only a head start: what does not fit is left out, and the ledger checks it at the commit.
"""

import asyncio
from collections import deque
from typing import Final

from consensus.types import Block
from node.ledger.ledger import Ledger
from node.signing.verify import VerifyPool

BYTES_MAX: Final = 4 * 1024 * 1024
SLICE: Final = 64  # entries parsed before others get their turn


class Prefetcher:
    """One task of the node."""

    def __init__(self, ledger: Ledger, pool: VerifyPool) -> None:
        self._ledger = ledger
        self._pool = pool
        self._blocks: deque[Block] = deque()
        self._bytes = 0
        self._some = asyncio.Event()

    def add(self, block: Block) -> None:
        size = block.header.payload_len
        if not size or self._bytes + size > BYTES_MAX:
            return
        self._blocks.append(block)
        self._bytes += size
        self._some.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            while not self._blocks:
                self._some.clear()
                await self._some.wait()
            block = self._blocks.popleft()
            for start in range(0, len(block.payload), SLICE):
                checks = self._ledger.prefetch(block.payload[start : start + SLICE])
                if checks:
                    await self._pool.verify_many(checks)
                else:
                    await asyncio.sleep(0)
            self._bytes -= block.header.payload_len

"""The node of `node.main` around a FAKE engine, for tests of the process itself: start, signals, faults, exit statuses.

The fake orders by itself, every 20 ms, whatever its mempool holds. With a genesis of one member that is final at once; it says
nothing about consensus. `FOEDUS_TEST_FAULT` makes it break on purpose: `assert`, `write`.

    python -m tests.e2e.lone_node --home DIR
"""

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import Sequence

from node.engine.figures import EngineFigures
from node.engine.parts import PeerLink
from node.ledger.batch import CommittedBatch
from node.ledger.cosigned import Cosigned
from node.main import main
from node.start.wiring import Parts
from node.storage.errors import WriteFailed

TURN_S = 0.02


class FakeEngine:
    """One member orders its own mempool. Not consensus."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._fault = os.environ.get("FOEDUS_TEST_FAULT", "")

    async def start(self) -> None:
        pass

    async def run(self) -> None:
        ledger, mempool = self._parts.ledger, self._parts.mempool
        while True:
            await asyncio.sleep(TURN_S)
            assert self._fault != "assert", "broken on purpose"
            if self._fault == "write":
                raise WriteFailed("disk full: free some space, then start the node again")
            entries = mempool.take(1 << 20, 2048)
            if not entries:
                continue
            index = ledger.last_commit + 1
            await ledger.apply(
                CommittedBatch(
                    index=index,
                    time_ms=max(ledger.time_ms, int(time.time() * 1000)),
                    order_digest=hashlib.sha256(b"".join(entries)).digest(),
                    entries=entries,
                ),
                b"fake",
            )

    async def stop(self) -> None:
        pass

    def send(self, line: Cosigned) -> None:
        del line

    def own_round(self) -> int:
        return self._parts.ledger.last_commit

    def peers(self) -> Sequence[PeerLink]:
        return ()

    def alarms(self) -> Sequence[str]:
        return ()

    def figures(self) -> EngineFigures:
        return EngineFigures(signing="signing")


if __name__ == "__main__":
    sys.exit(main(None, FakeEngine))

"""What a node pays for admitting one entry: form, signature, mempool, disk, acknowledgement; without gRPC.

python -m bench.admission [--entries 8192] [--batch 128] [--profile]
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from bench.founded import AUTHORS, STATES, found
from bench.timing import measure
from node.ledger.admission import Acknowledged, Admission
from node.ledger.mempool import Mempool


async def main(entries: int, batch: int, *, profile: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="foedus-bench-") as folder:
        async with AsyncExitStack() as stack:
            founded = await found(Path(folder), entries, stack)
            mempool = Mempool(
                founded.store, founded.ledger.author_tip, state_of=founded.ledger.state_of
            )
            founded.ledger.attach(mempool=mempool)
            admission = Admission(
                founded.ledger,
                mempool,
                founded.store,
                founded.pool,
                node=STATES[0],
                log_key=lambda: founded.net.nodes[STATES[0]].home.node_keys.log,
                clock_ms=lambda: int(time.time() * 1000),
            )

            async def admit(part: list[bytes]) -> None:
                answers = await admission.submit_many(part)
                assert all(isinstance(answer, Acknowledged) for answer in answers), answers[0]

            turns = range(0, entries // AUTHORS, batch)
            batches = [
                lane.ready[turn : turn + batch]
                for turn, lane in itertools.product(turns, founded.lanes)
            ]
            await measure(batches, admit, profile=profile)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=8_192)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.entries, arguments.batch, profile=arguments.profile))

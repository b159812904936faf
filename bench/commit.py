"""What a node pays for one entry of a commit: form, signature, law, tree, state, indexes, disk.

python -m bench.commit [--entries 20480] [--batch 256] [--profile]
"""

import argparse
import asyncio
import itertools
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from bench.founded import AUTHORS, found
from bench.timing import measure

RUN = 16  # statements of one author in a row, as a node's block has them


async def main(entries: int, batch: int, *, profile: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="foedus-bench-") as folder:
        async with AsyncExitStack() as stack:
            founded = await found(Path(folder), entries, stack)
            turns = range(0, entries // AUTHORS, RUN)
            order = list(
                itertools.chain.from_iterable(
                    lane.ready[turn : turn + RUN] for turn in turns for lane in founded.lanes
                )
            )
            batches = [order[start : start + batch] for start in range(0, len(order), batch)]
            await measure(batches, founded.commit, profile=profile)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=20_480)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.entries, arguments.batch, profile=arguments.profile))

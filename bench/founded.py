"""A founded ledger and signed statements for the workloads of one process."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.cli.bench.workload import STATEMENT_BYTES, Lane
from node.cli.localnet import Localnet
from node.ledger.batch import CommittedBatch
from node.ledger.ledger import Ledger
from node.signing.keystore import KdfCost
from node.signing.verify import VerifyPool
from node.storage.store import Store

STATES: Final = ("US", "CN", "GB", "KE")
AUTHORS: Final = 64
CHEAP: Final = KdfCost(ops=1, memory_bytes=8 * 1024 * 1024)  # key files are not what is measured
COMMIT_MS: Final = 50


@dataclass(kw_only=True)
class Founded:
    """One node's ledger on a disk, its authors' facilities logged, and each author's statements signed."""

    net: Localnet
    lanes: list[Lane]
    store: Store
    pool: VerifyPool
    ledger: Ledger

    async def commit(self, entries: list[bytes]) -> None:
        index = self.ledger.last_commit + 1
        batch = CommittedBatch(
            index=index,
            time_ms=self.ledger.time_ms + COMMIT_MS,
            order_digest=index.to_bytes(32, "big"),
            entries=tuple(entries),
        )
        await self.ledger.apply(batch, b"engine record")


async def found(folder: Path, entries: int, stack: AsyncExitStack) -> Founded:
    """A ledger of four members in `folder`, and `entries` statements over all its authors."""
    net = Localnet.found(folder, states=STATES, operators=AUTHORS, cost=CHEAP)
    lanes, facilities = [], []
    for number, keys in enumerate(net.operators):
        state = net.state_of_operator(number)
        lane = Lane(
            author=keys.author_id, key=keys.author, node=state, chain_id=net.founded.chain_id
        )
        facilities.append(lane.declare(net.nodes[state].home.agency_keys))
        lane.sign_more(entries // AUTHORS, STATEMENT_BYTES)
        lanes.append(lane)
    store = stack.enter_context(Store.open(folder / "store"))
    pool = stack.enter_context(VerifyPool(threads=2))
    ledger = await Ledger.open(store, net.founded.document, pool)
    made = Founded(net=net, lanes=lanes, store=store, pool=pool, ledger=ledger)
    await made.commit(facilities)
    return made

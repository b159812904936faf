"""Order and law run again into an empty store: what a node would have written had it been there (RULINGS R31).

    made = Rebuilding(store, genesis, document, pool, progress)
    order = OrderReplay(source, made.epochs, ...)      the epochs grow as the law closes them
    made.run(order, last)                              one atomic write for each commit

No row is copied. Blocks are those that the order accepted, signed by their authors and decided by the commit rule; every other
row is what the law makes of them. Who calls compares the root that comes out with what a quorum cosigned.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

from consensus.codec import encode_block, encode_commit_record
from consensus.types import Block, CommitRecord
from node.audit.committing import Committing
from node.audit.copies import Progress
from node.audit.order import OrderReplay
from node.audit.ordered import batch_of
from node.ledger.append import StoreBuckets, StoreFacts, write_plan
from node.ledger.batch import CommittedBatch
from node.ledger.epochs import Epoch, founding_epoch, next_epoch
from node.ledger.genesis import Genesis
from node.ledger.plan import AppendPlan, CommitMachine
from node.ledger.seats import members_of
from node.log import merkle
from node.log.merkle import Tree
from node.signing.verify import VerifyPool
from node.storage import keys
from node.storage.store import Store


class Rebuilding:
    """See the module's text. `store` is empty, and nobody else's yet."""

    def __init__(
        self,
        store: Store,
        genesis: Genesis,
        document: bytes,
        pool: VerifyPool,
        progress: Progress,
        executor: Executor | None = None,
    ) -> None:
        """`executor`: processes that read the entries of commits ahead and check their signatures."""
        self._store = store
        self._genesis = genesis
        self._progress = progress
        self.epochs: list[Epoch] = [founding_epoch(genesis, document)]
        self.commits = 0
        self.blocks = 0
        store.put_meta(keys.META_GENESIS, document)
        self._machine, plan = CommitMachine.found(
            genesis, document, facts=StoreFacts(store), buckets=StoreBuckets(store)
        )
        self._committing = Committing(self._machine, pool, executor)
        write_plan(store, plan, b"")

    @property
    def tree(self) -> Tree:
        """Of what is written so far."""
        return self._machine.standing.tree

    def root_at(self, size: int) -> bytes:
        """At a size within it."""
        return merkle.load(size, self._store.hash).root()

    def run(self, order: OrderReplay, last: int) -> None:
        """Commits 1 to `last`, as far as `order` can be followed."""
        order.on_blocks = self._put_blocks
        tick = self._progress.start("order and law", last)
        records: deque[CommitRecord] = deque()  # of the batches that were taken ahead

        def batches() -> Iterator[CommittedBatch]:
            for ordered in order.commits(last):
                records.append(ordered.record)
                yield batch_of(ordered)

        for batch in self._committing.ahead(batches()):
            plan = self._committing.commit(batch)
            write_plan(self._store, plan, encode_commit_record(records.popleft()))
            self._begin_epoch(plan)
            self.commits += 1
            tick(1)

    def _begin_epoch(self, plan: AppendPlan) -> None:
        if not plan.ends_epoch:
            return
        law = self._machine.law
        self.epochs[-1:] = next_epoch(
            self.epochs[-1],
            members_of(law, self._genesis, law.committee()),
            last_commit=plan.index,
            last_digest=plan.order_digest,
            last_time_ms=plan.time_ms,
            last_size=plan.tree.size,
            record_leaf=plan.tree.size - 2,
        )

    def _put_blocks(self, blocks: Sequence[Block]) -> None:
        if blocks:  # all of one epoch: a commit's history ends where its epoch began
            rows = [(block.ref, encode_block(block)) for block in blocks]
            self._store.put_blocks(rows, blocks[0].header.epoch)
            self.blocks += len(blocks)

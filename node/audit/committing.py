"""Batches given to the law's machine, each with its entries read and its signatures checked: by other processes, or here.

committing = Committing(machine, pool, executor)
for batch in committing.ahead(batches):     what follows is looked at meanwhile, if there is an executor (`ahead`)
    plan = committing.commit(batch)
"""

from collections.abc import Iterator
from concurrent.futures import Executor

from node.audit.ahead import Looked, ReadAhead
from node.ledger.batch import CommittedBatch
from node.ledger.plan import AppendPlan, CommitMachine
from node.ledger.reader import EntryReader, Known, checks_of
from node.signing.verify import VerifyPool


class Committing:
    """See the module's text. `executor`: processes of the caller's; None: threads of `pool`, batch by batch."""

    def __init__(
        self, machine: CommitMachine, pool: VerifyPool, executor: Executor | None = None
    ) -> None:
        self._machine = machine
        self._pool = pool
        self._executor = executor
        self._reader = EntryReader()
        self._looked: Looked | None = None  # at the batch that `ahead` gave last
        self.signatures = 0  # that the law has asked for, each verified

    def ahead(self, batches: Iterator[CommittedBatch]) -> Iterator[CommittedBatch]:
        """The same batches. Each is committed before the next is asked for."""
        if self._executor is None:
            yield from batches
            return
        read_ahead = ReadAhead(self._executor, self._machine.law.resolve_key)
        for batch, self._looked in read_ahead.over(batches):
            yield batch

    def commit(self, batch: CommittedBatch) -> AppendPlan:
        """The next batch; of those that `ahead` gave, the one that it gave last."""
        looked, self._looked = self._looked, None
        if looked is not None:
            return self._machine.commit(batch, looked.read, self._counted(looked.known))
        resolve_key = self._machine.law.resolve_key
        self._pool.verify_now(checks_of(batch.entries, self._reader, resolve_key, self._pool.known))
        plan = self._machine.commit(batch, self._reader.read, self._counted(self._pool.known))
        for raw in batch.entries:
            self._reader.forget(raw)
        return plan

    def _counted(self, known: Known) -> Known:
        """The law asks once for each signature that it needs."""

        def asked(name: bytes, public_key: bytes) -> bool | None:
            self.signatures += 1
            return known(name, public_key)

        return asked

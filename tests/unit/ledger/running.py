"""A ledger on a disk for tests, driven by hand: batches in, leaves out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.ledger import records
from node.ledger.admission import Admission, chain_place
from node.ledger.batch import CommittedBatch, Evidence
from node.ledger.finality import Finality
from node.ledger.ledger import Applied, Ledger
from node.ledger.mempool import Mempool, MempoolLimits
from node.signing.keys import NodeKeys
from node.signing.verify import VerifyPool
from node.storage.sign_state import SignState
from node.storage.store import Store
from tests.unit.ledger.founding import GENESIS_MS, Founding


@dataclass
class Running:
    """One node's ledger with everything attached; `close` it."""

    founding: Founding
    store: Store
    pool: VerifyPool
    sign_state: SignState
    ledger: Ledger
    mempool: Mempool
    finality: Finality
    admission: Admission
    now_ms: int = GENESIS_MS
    applied: list[Applied] = field(default_factory=list)

    async def commit(
        self,
        *entries: bytes,
        after_ms: int = 100,
        evidence: tuple[Evidence, ...] = (),
        ends_epoch: bool = False,
    ) -> Applied:
        """One batch of these transactions, `after_ms` later."""
        self.now_ms += after_ms
        index = self.ledger.last_commit + 1
        batch = CommittedBatch(
            index=index,
            time_ms=self.now_ms,
            order_digest=index.to_bytes(32, "big"),
            entries=entries,
            evidence=evidence,
            ends_epoch=ends_epoch,
        )
        self.applied.append(await self.ledger.apply(batch, b"engine %d" % index))
        return self.applied[-1]

    def records(self, first: int = 0) -> list[dict[str, Any]]:
        """All records from a leaf on; entries are left out."""
        leaves = self.ledger.entries(first, self.ledger.size)
        return [records.decode_record(leaf) for leaf in leaves if records.is_record(leaf)]

    def close(self) -> None:
        self.pool.close()
        self.store.close()
        self.sign_state.close()


async def start(
    founding: Founding,
    folder: Path,
    *,
    own: int | None = 0,
    limits: MempoolLimits | None = None,
    later_keys: tuple[NodeKeys, ...] = (),
) -> Running:
    """Open or reopen the home folder of member number `own`; None: of a state that joins by `later_keys`."""
    store = Store.open(folder / "rocksdb")
    sign_state = SignState(folder)
    pool = VerifyPool(threads=2)
    ledger = await Ledger.open(store, founding.document, pool, sign_state=sign_state)
    keys = later_keys[0] if own is None else founding.nodes[own]
    finality = Finality(
        store,
        sign_state,
        ledger.genesis,
        own=own,
        state=keys.state,
        epochs=lambda: ledger.epochs,
        later_keys=[key for later in later_keys for key in (later.cosigner, later.log)],
        cosigner_key=keys.cosigner,
        log_key=keys.log,
        log_size=ledger.size,
        root_at=ledger.root_at,
        clock_s=lambda: running.now_ms // 1000,
    )
    mempool = Mempool(
        store,
        ledger.author_tip,
        limits=limits,
        state_of=ledger.state_of,
        states=lambda: len(ledger.epoch.members),
    )
    mempool.restore(chain_place)
    ledger.attach(finality=finality, mempool=mempool)
    admission = Admission(
        ledger,
        mempool,
        store,
        pool,
        node=keys.state,
        log_key=lambda: keys.log,
        clock_ms=lambda: running.now_ms,
    )
    running = Running(
        founding=founding,
        store=store,
        pool=pool,
        sign_state=sign_state,
        ledger=ledger,
        mempool=mempool,
        finality=finality,
        admission=admission,
    )
    running.now_ms = ledger.time_ms
    return running

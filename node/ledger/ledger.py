"""The ledger of one node: batches in, a durable log out, and the views that the faces read.

    ledger = await Ledger.open(store, document, pool)      founds the log, or takes up where it stopped
    applied = await ledger.apply(batch, engine_record)     one at a time, in order; durable on return
    ledger.entry(7), ledger.inclusion_proof(7, size), ledger.find(entry_hash), ...

What a reader sees is durable: `size` and `root` move only after the flush. Before a restarted node signs anything, `open` has
compared the store with itself: state digest, tree and counts (RULINGS R53, R54).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Self

from node.ledger.append import StoreBuckets, StoreFacts, facet_value, standing_of, write_plan
from node.ledger.batch import CommittedBatch
from node.ledger.epochs import Epoch, epochs_of, next_epoch
from node.ledger.errors import MalformedRecord, NotYet, ReplayDiverged
from node.ledger.finality import FinalCheckpoint, Finality
from node.ledger.genesis import Genesis, GenesisMember, chain_id, parse_genesis
from node.ledger.mempool import Mempool, Place
from node.ledger.plan import AppendPlan, CommitMachine
from node.ledger.reader import EntryReader, checks_of
from node.ledger.records import EPOCH_TYPE
from node.ledger.seats import members_of
from node.ledger.sound import SoundLog
from node.ledger.state_digest import DamagedState
from node.log.merkle import Tree
from node.signing.verify import SignatureCheck, VerifyPool
from node.storage import keys
from node.storage.errors import StoreDamaged
from node.storage.keys import Facet
from node.storage.sign_state import SignState
from node.storage.store import Store
from node.treaty.codec import DamagedRow
from node.treaty.law import Law

LIST_LIMIT_MAX: Final = 1000
ROOTS_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a commit came to. `size` and `root` are the log's after it."""

    index: int
    appended: bool
    first: int  # index of the first leaf appended
    size: int
    root: bytes
    plan: AppendPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEntry:
    """One leaf and where it stands."""

    index: int
    leaf: bytes  # signed statement (first byte 0xd2) or record


class Status(Enum):
    """How far an entry has come (DESIGN 3.7)."""

    UNKNOWN = "unknown"  # not here: neither logged nor in this node's mempool
    HELD = "held"  # here, waiting for its predecessor; nothing promised
    ACKNOWLEDGED = "acknowledged"  # durable in this node's mempool
    SEQUENCED = "sequenced"  # in a block of this node
    INTEGRATED = "integrated"  # in the log, covered by a root
    FINAL = "final"  # covered by a quorum of cosignatures
    DROPPED = "dropped"  # a commit left it out (RULINGS R26): `code` says why


_PLACES: Final[Mapping[Place, Status]] = {
    Place.READY: Status.ACKNOWLEDGED,
    Place.HELD: Status.HELD,
    Place.PROPOSED: Status.SEQUENCED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryStatus:
    status: Status
    index: int | None = None  # its leaf, from INTEGRATED on
    code: str = (
        ""  # rejected: the law's reason code, logged all the same; DROPPED: why it is not logged
    )


class Ledger:
    """See the module's text. Used from one event loop."""

    def __init__(
        self,
        store: Store,
        genesis: Genesis,
        document: bytes,
        machine: CommitMachine,
        pool: VerifyPool,
    ) -> None:
        """For `open`."""
        self.genesis = genesis
        self.document = document
        self.chain_id = chain_id(document)
        self.reader = EntryReader()
        self._store = store
        self._machine = machine
        self._pool = pool
        self._tree = machine.standing.tree  # what readers see: durable
        self._commit = machine.standing.index
        self._time_ms = machine.standing.time_ms
        self._epochs = self._read_epochs()
        self._sound = SoundLog(store, lambda: self._tree)
        self._roots: dict[int, bytes] = {}
        self._applying = False
        self._finality: Finality | None = None
        self._mempool: Mempool | None = None
        self._listeners: list[Callable[[Applied], None]] = []
        self._grown = asyncio.Event()

    @classmethod
    async def open(
        cls,
        store: Store,
        document: bytes,
        pool: VerifyPool,
        *,
        sign_state: SignState | None = None,
    ) -> Self:
        """Found the log in an empty store, or check and continue a filled one.

        An empty store beside a `cosign` file is a rebuild from peers (R31): it is marked, so that the node may stand below
        what it has cosigned until it has caught up.

        Raises:
            MalformedGenesis: the document is not a genesis that all its members signed.
            StoreDamaged: the store is of another ledger, or contradicts itself.
        """
        genesis = parse_genesis(document)
        held = store.meta(keys.META_GENESIS)
        if held is not None and held != document:
            raise StoreDamaged(
                f"{store.path}: belongs to ledger {chain_id(held).hex()}, not to {chain_id(document).hex()}:"
                " point data at another folder, or start with the genesis it was founded by"
            )
        tip = store.tip()
        facts, buckets = StoreFacts(store), StoreBuckets(store)
        if tip is None:
            machine, plan = CommitMachine.found(genesis, document, facts=facts, buckets=buckets)
            store.put_meta(keys.META_GENESIS, document)
            cosigned = None if sign_state is None else sign_state.cosign()
            if cosigned is not None:
                store.put_meta(keys.META_REBUILD, keys.u64(cosigned.size))
            write_plan(store, plan, b"")
            await store.durable()
        else:
            machine = _restored(store, genesis, document, facts, buckets)
        return cls(store, genesis, document, machine, pool)

    def attach(self, *, finality: Finality | None = None, mempool: Mempool | None = None) -> None:
        """Who is told of each commit, after it is durable: once, at start."""
        if mempool is not None:
            self._mempool = mempool
        if finality is not None:
            self._finality = finality
            finality.subscribe(self._made_final)
        if self._mempool is not None and self._finality is not None:
            self._mempool.final(self._finality.final_size)  # what became final before a restart

    def _made_final(self, final: FinalCheckpoint) -> None:
        if self._mempool is not None:
            self._mempool.final(final.checkpoint.size)

    def subscribe(self, listener: Callable[[Applied], None]) -> None:
        """`listener` is called on the event loop after each durable commit, empty ones included; it must not block."""
        self._listeners.append(listener)

    # Writing

    def prefetch(self, entries: tuple[bytes, ...] | list[bytes]) -> list[SignatureCheck]:
        """The signature checks of these transactions under the keys in force now, for `VerifyPool.verify_many`.

        For when a block arrives: by the time it is committed the verdicts are remembered. Malformed ones have none.
        """
        return checks_of(entries, self.reader, self._machine.law.resolve_key, self._pool.known)

    async def apply(self, batch: CommittedBatch, engine_record: bytes) -> Applied:
        """Append one commit. On return it is durable, readers see it, and finality and mempool know.

        Batches come one at a time, in order, without gap (`last_commit` + 1). `engine_record` is kept beside the commit in the
        same atomic write, for the engine's own restart.

        Raises:
            WriteFailed: the disk refused; the process must stop.
            StoreDamaged: the law needed something that cannot be read; the process must stop.
        """
        (applied,) = await self.apply_all(((batch, engine_record),))
        return applied

    async def apply_all(self, work: Sequence[tuple[CommittedBatch, bytes]]) -> list[Applied]:
        """As `apply` for each in turn, but one flush makes all of them durable, and readers see none of them before.

        For a node that is behind: a flush for each commit is what it would wait for most.
        """
        assert not self._applying, "batches are applied one at a time"
        self._applying = True
        plans = [await self._write(batch, engine_record) for batch, engine_record in work]
        if any(plan.leaves for plan in plans):
            await self._store.durable()
        self._applying = False
        for batch, _ in work:
            for raw in batch.entries:
                self.reader.forget(raw)
        return [self._show(plan) for plan in plans]

    async def _write(self, batch: CommittedBatch, engine_record: bytes) -> AppendPlan:
        """What the law makes of it, in the store and not yet durable."""
        checks = self.prefetch(batch.entries)
        if checks:
            await self._pool.verify_many(checks)
        try:
            plan = self._machine.commit(batch, self.reader.read, self._pool.known)
        except DamagedState as err:
            raise StoreDamaged(f"{self._store.path}: {err}") from err
        write_plan(self._store, plan, engine_record)
        return plan

    def _read_epochs(self) -> list[Epoch]:
        leaves: list[int] = []
        while len(leaves) < self._machine.law.epoch:
            first = leaves[-1] + 1 if leaves else 0
            page = self._store.indexes_by_facet(
                Facet.KIND,
                EPOCH_TYPE.encode(),
                first=first,
                end=self._tree.size,
                limit=LIST_LIMIT_MAX,
            )
            if not page:
                raise StoreDamaged(
                    f"{self._store.path}: the record of epoch {len(leaves) + 1} is not indexed"
                )
            leaves += page
        try:
            return epochs_of(self.genesis, self.document, leaves, self._store.entry)
        except (MalformedRecord, KeyError) as err:
            raise StoreDamaged(f"{self._store.path}: epochs: {err}") from err

    def _begin_epoch(self, plan: AppendPlan) -> None:
        """The commit of this plan was the last of its epoch."""
        law = self._machine.law
        self._epochs[-1:] = next_epoch(
            self._epochs[-1],
            members_of(law, self.genesis, law.committee()),
            last_commit=plan.index,
            last_digest=plan.order_digest,
            last_time_ms=plan.time_ms,
            last_size=plan.tree.size,
            record_leaf=plan.tree.size - 2,
        )

    def _show(self, plan: AppendPlan) -> Applied:
        if plan.ends_epoch:
            self._begin_epoch(plan)
        self._tree, self._commit, self._time_ms = plan.tree, plan.index, plan.time_ms
        root = self.root
        if plan.leaves:
            self._remember_root(plan.tree.size, root)
        applied = Applied(
            index=plan.index,
            appended=bool(plan.leaves),
            first=plan.first,
            size=plan.tree.size,
            root=root,
            plan=plan,
        )
        if self._mempool is not None:
            self._mempool.judged(plan.judged)
        if plan.leaves and self._finality is not None:
            self._finality.appended(plan.tree.size, self.time_ms)
        for listener in self._listeners:
            listener(applied)
        if plan.leaves:
            self._grown.set()
            self._grown = asyncio.Event()
        return applied

    # Where we stand

    @property
    def size(self) -> int:
        """Entries in the log, all durable."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        return self._tree.root()

    @property
    def tree(self) -> Tree:
        return self._tree

    @property
    def last_commit(self) -> int:
        """Index of the last commit applied; the next batch has the one after it."""
        return self._commit

    @property
    def time_ms(self) -> int:
        """Ledger time of the last commit."""
        return self._time_ms

    @property
    def law(self) -> Law:
        """The law after the last commit: read views only."""
        return self._machine.law

    @property
    def epochs(self) -> Sequence[Epoch]:
        """All epochs so far, by number; the last one goes on."""
        return self._epochs

    @property
    def epoch(self) -> Epoch:
        """The epoch of the next commit."""
        return self._epochs[-1]

    @property
    def is_closing(self) -> bool:
        """Whether the law has fixed another committee: the engine is to end this epoch."""
        return self._machine.law.is_closing

    def declared_members(self) -> tuple[GenesisMember, ...]:
        """Bound states with their newest seats, whether they validate yet or not: whom a node must let in as a peer."""
        law = self._machine.law
        return members_of(law, self.genesis, law.declared_seats())

    @property
    def next_due_ms(self) -> int | None:
        """Ledger time at which the law's next clock effect is due: the engine must not idle past it (R32)."""
        due_s = self._machine.law.next_due_s
        return None if due_s is None else due_s * 1000

    @property
    def state_digest(self) -> bytes:
        return self._machine.state_digest

    @property
    def inclusion_s(self) -> int:
        """Seconds within which an acknowledged entry is in the log (R58)."""
        return self.genesis.inclusion_s

    def author_tip(self, author: str) -> tuple[int, bytes]:
        """(seq, prev) that the author's next logged entry must have. `Admission.author_tip` also counts what waits."""
        return self._machine.law.author_tip(author)

    def state_of(self, author: str) -> str:
        """The state that an author belongs to; of nobody known, its own name."""
        party = self._machine.law.book.state.parties.get(author)
        return author if party is None else party.state

    async def wait_past(self, size: int) -> int:
        """The log's size, once it is more than `size`."""
        while self.size <= size:
            await self._grown.wait()
        return self.size

    # Reading

    def entry(self, index: int) -> LoggedEntry:
        """Raises NotYet beyond the end, StoreDamaged if it cannot be read."""
        if not 0 <= index < self.size:
            raise NotYet(f"entry {index}: the log has {self.size}")
        return LoggedEntry(index=index, leaf=self._sound.entry(index))

    def entries(self, first: int, count: int) -> list[bytes]:
        """Leaf bytes of at most `count` entries from `first`; fewer only at the end of the log. Raises StoreDamaged."""
        return self._sound.entries(first, max(0, min(count, self.size - first)))

    def find(self, entry_hash: bytes) -> int | None:
        """Leaf index of the signed entry with this SHA-256, if it is in the log."""
        facts = StoreFacts(self._store).get(entry_hash)
        return None if facts is None or facts.leaf >= self.size else facts.leaf

    def status_of(self, entry_hash: bytes) -> EntryStatus:
        """How far this entry has come, as this node knows."""
        pending = None if self._mempool is None else self._mempool.find(entry_hash)
        if pending is not None and pending.place is not Place.INTEGRATED:
            return EntryStatus(status=_PLACES[pending.place])
        facts = StoreFacts(self._store).get(entry_hash)
        if facts is not None and facts.leaf < self.size:
            final = self._finality is not None and facts.leaf < self._finality.final_size
            status = Status.FINAL if final else Status.INTEGRATED
            return EntryStatus(status=status, index=facts.leaf, code=facts.code)
        code = None if self._mempool is None else self._mempool.dropped_code(entry_hash)
        return EntryStatus(
            status=Status.UNKNOWN if code is None else Status.DROPPED, code=code or ""
        )

    def list_indexes(
        self,
        *,
        author: str | None = None,
        kind: str | None = None,
        subject: str | None = None,
        case: str | None = None,
        first: int = 0,
        end: int | None = None,
        limit: int = 100,
    ) -> list[int]:
        """Ascending leaf indexes in [first, end) that match every filter given; at most `limit` (1,000).

        `kind` is a statement's kind ("usage"), a motion's ("TRAIN"), "vote", or a record's type ("decision"). For the next
        page ask again from the last index + 1.
        """
        limit = min(limit, LIST_LIMIT_MAX)
        stop = self.size if end is None else min(end, self.size)
        wanted = {Facet.CASE: case, Facet.SUBJECT: subject, Facet.AUTHOR: author, Facet.KIND: kind}
        filters = [(facet, facet_value(text)) for facet, text in wanted.items() if text is not None]
        if not filters:
            return list(range(first, min(stop, first + limit)))
        return self._intersect(filters, first, stop, limit)

    def _intersect(
        self, filters: list[tuple[Facet, bytes]], first: int, stop: int, limit: int
    ) -> list[int]:
        """Page through the narrowest filter and look each index up in the others."""
        (facet, value), *others = filters
        found: list[int] = []
        while first < stop and len(found) < limit:
            page = self._store.indexes_by_facet(
                facet, value, first=first, end=stop, limit=LIST_LIMIT_MAX
            )
            found += [
                index
                for index in page
                if all(self._store.has_facet(other, text, index) for other, text in others)
            ]
            if len(page) < LIST_LIMIT_MAX:
                break
            first = page[-1] + 1
        return found[:limit]

    # Proofs

    def root_at(self, size: int) -> bytes:
        """Root over the first `size` entries. Raises NotYet, StoreDamaged."""
        self._check_size(size)
        root = self._roots.get(size)
        if root is None:
            root = self._sound.root_at(size)
            self._remember_root(size, root)
        return root

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """RFC 9162 2.1.3.1 (shape: one digest per level, leaf first). Raises NotYet, StoreDamaged."""
        self._check_size(size)
        if not 0 <= index < size:
            raise NotYet(f"entry {index}: not in a tree of {size}")
        return self._sound.inclusion_proof(index, size, self.root_at(size))

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """RFC 9162 2.1.4.1. Raises NotYet, StoreDamaged."""
        self._check_size(new_size)
        if not 0 <= old_size <= new_size:
            raise NotYet(f"consistency from {old_size} to {new_size}: want 0 <= old <= new")
        old, new = self.root_at(old_size), self.root_at(new_size)
        return self._sound.consistency_proof((old_size, old), (new_size, new))

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """Stored hashes of full subtrees of 2^level leaves, for tiles. Raises NotYet, StoreDamaged."""
        if first < 0 or count < 0 or (first + count) << level > self.size:
            raise NotYet(
                f"hashes {first} to {first + count} of level {level}: the log has {self.size}"
            )
        return self._sound.hashes(level, first, count)

    @property
    def damage(self) -> Sequence[str]:
        """What was found damaged in this store since the start, and is not handed out."""
        return self._sound.damage

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise NotYet(f"size {size}: the log has {self.size}")

    def _remember_root(self, size: int, root: bytes) -> None:
        if len(self._roots) >= ROOTS_REMEMBERED:
            del self._roots[next(iter(self._roots))]
        self._roots[size] = root

    def status(self) -> Mapping[str, Any]:
        """Figures for `foedus status` and metrics: integers and text only."""
        finality, mempool = self._finality, self._mempool
        return {
            "chain_id": self.chain_id.hex(),
            "origin": self.genesis.origin,
            "size": self.size,
            "root": self.root.hex(),
            "last_commit": self.last_commit,
            "time_ms": self.time_ms,
            "state_digest": self.state_digest.hex(),
            "final_size": 0 if finality is None else finality.final_size,
            "alarm": "" if finality is None else finality.alarm or "",
            "mempool_entries": 0 if mempool is None else len(mempool),
            "mempool_bytes": 0 if mempool is None else mempool.bytes_held,
        }


def _restored(
    store: Store, genesis: Genesis, document: bytes, facts: StoreFacts, buckets: StoreBuckets
) -> CommitMachine:
    tip = store.tip()
    assert tip is not None, "a store without a tip is founded, not restored"
    standing = standing_of(store, tip)
    try:
        machine = CommitMachine.restore(
            genesis,
            document,
            facts=facts,
            buckets=buckets,
            state=store.state_items(),
            standing=standing,
        )
    except (DamagedRow, ReplayDiverged) as err:
        raise StoreDamaged(f"{store.path}: state: {err}") from err
    if machine.state_keys != tip.state_keys or machine.state_digest != tip.state_digest:
        raise StoreDamaged(
            f"{store.path}: the state has {machine.state_keys} keys and digest {machine.state_digest.hex()}, the last"
            f" commit left {tip.state_keys} and {tip.state_digest.hex()}: `foedus repair` makes it whole"
        )
    return machine

"""What one commit appends and changes, computed without a database: so that a node and an offline auditor run the same code.

    machine, plan = CommitMachine.found(genesis, document, sources)     the founding commit, index 0
    plan = machine.commit(batch, reader.read, known)                    then one plan per batch, in order

Within a commit (RULINGS R24): what the clock made due, each dated at its own second; then what the law makes of evidence that
the commit's blocks carry; then the entries in order, each followed by what the law derives from it; then the commit record, its
last leaf. Nothing appended and nothing derived:
no leaf at all (R23); what was dropped is counted in the next commit record (R22, R26).

A plan is also an order: the machine has already moved on when it returns one. Whoever cannot write a plan must stop.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from consensus.committee import committee_hash
from node.ledger import records
from node.ledger.batch import CommittedBatch, Judged
from node.ledger.errors import EpochForced, MalformedGenesis, MalformedRecord, ReplayDiverged
from node.ledger.genesis import Genesis, chain_id
from node.ledger.reader import (
    SCHEMA_CODE,
    SIGNATURE_CODE,
    UNKNOWN_AUTHOR_CODE,
    Known,
    Malformed,
    ReadEntry,
    resolve,
    verified_endorsers,
)
from node.ledger.seats import members_of
from node.ledger.state_digest import Buckets, Row, StateDigest
from node.ledger.trust import policy_of
from node.log import merkle
from node.log.merkle import EMPTY_TREE, HashRun, Tree, leaf_hashes
from node.treaty.codes import Code
from node.treaty.derived import Derived
from node.treaty.entries import Entry, EntryFacts
from node.treaty.genesis import FoundingMember, FoundingParty, GenesisFacts
from node.treaty.law import Law

MS_PER_S: Final = 1000
_NUMBERS: Final = struct.Struct(">QQQ")  # leaf, seq, second
_FACTS_NUMBERS_END: Final = 32 + 3 * 8

Read = Callable[[bytes], ReadEntry | Malformed]
"""Raw transaction -> its parsed form: `EntryReader.read`, or `read_entry` without a memory."""


class FactsSource(Protocol):
    """The index over all entries appended before this commit."""

    def get(self, entry_hash: bytes) -> EntryFacts | None: ...
    def at_seq(self, author: str, seq: int) -> EntryFacts | None: ...
    def by_content(self, content_hash: bytes) -> EntryFacts | None: ...


class Appended(NamedTuple):
    """One leaf. `facts` and `read` are of entries, `derived` of the law's records, `epoch` of one; others have none of them."""

    leaf: bytes
    facts: EntryFacts | None = None
    read: ReadEntry | None = None
    derived: Derived | None = None
    epoch: records.EpochRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendPlan:
    """All that one commit does. `leaves` is empty if it appends nothing."""

    index: int
    time_ms: int
    leaves: tuple[Appended, ...]
    leaf_hashes: tuple[bytes, ...]
    hash_runs: tuple[HashRun, ...]
    tree: Tree  # afterwards
    state_rows: Mapping[Row, bytes | None]  # changed state pairs, None deletes
    state_keys: int  # pairs in the state map afterwards
    state_digest: bytes  # afterwards
    dropped: Mapping[str, int]  # counts still to be told by the next commit record
    judged: tuple[Judged, ...]  # one per transaction of the batch, in order
    order_digest: bytes = b""
    ends_epoch: bool = False

    @property
    def first(self) -> int:
        """Index of the first leaf."""
        return self.tree.size - len(self.leaves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a machine stands between commits, as a store keeps it."""

    index: int  # last commit
    time_ms: int
    tree: Tree
    dropped: Mapping[str, int]


class MemoryFacts:
    """The index in dicts, for offline replay and tests.

    It is written for every entry and asked for few (`node.audit.facts`): what was added is put in order when somebody asks.
    """

    def __init__(self) -> None:
        self._by_hash: dict[bytes, EntryFacts] = {}
        self._by_seq: dict[tuple[str, int], EntryFacts] = {}
        self._by_content: dict[bytes, EntryFacts] = {}
        self._new: list[EntryFacts] = []  # added since somebody asked

    def add(self, facts: EntryFacts) -> None:
        self._new.append(facts)

    def add_all(self, facts: Iterable[EntryFacts]) -> None:
        self._new.extend(facts)

    def get(self, entry_hash: bytes) -> EntryFacts | None:
        self._take_in()
        return self._by_hash.get(entry_hash)

    def at_seq(self, author: str, seq: int) -> EntryFacts | None:
        self._take_in()
        return self._by_seq.get((author, seq))

    def by_content(self, content_hash: bytes) -> EntryFacts | None:
        self._take_in()
        return self._by_content.get(content_hash)

    def _take_in(self) -> None:
        for facts in self._new:
            self._by_hash[facts.entry_hash] = facts
            self._by_seq.setdefault((facts.author, facts.seq), facts)
            if not facts.code:
                self._by_content[facts.content_hash] = facts
        self._new.clear()

    def clear(self) -> None:
        self._new.clear()
        self._by_hash.clear()
        self._by_seq.clear()
        self._by_content.clear()

    def write(self, plan: AppendPlan) -> None:
        """Take over what a plan appends."""
        for appended in plan.leaves:
            if appended.facts is not None:
                self.add(appended.facts)


class OpenIndex:
    """The law's view of the index: what earlier commits appended, and before it the open one's entries."""

    def __init__(self, source: FactsSource) -> None:
        self._source = source
        self.open = MemoryFacts()

    def get(self, entry_hash: bytes) -> EntryFacts | None:
        return self.open.get(entry_hash) or self._source.get(entry_hash)

    def at_seq(self, author: str, seq: int) -> EntryFacts | None:
        # The first entry with a seq is the one that counts, so earlier commits speak first.
        return self._source.at_seq(author, seq) or self.open.at_seq(author, seq)

    def by_content(self, content_hash: bytes) -> EntryFacts | None:
        return self.open.by_content(content_hash) or self._source.by_content(content_hash)


def facts_of(genesis: Genesis, document: bytes) -> GenesisFacts:
    """What the law reads of a genesis document."""
    return GenesisFacts(
        chain_id=chain_id(document),
        time_s=genesis.time_ms // MS_PER_S,
        drill=genesis.drill,
        law_version=genesis.law_version,
        states=genesis.states,
        members=tuple(
            FoundingMember(
                state=member.state,
                author_key=member.author_key,
                vote_key=member.vote_key,
                node_keys=(member.block_key, member.log_key, member.cosigner_key),
                second_key=member.cosigner_pq_key,
            )
            for member in genesis.members
        ),
        parties=tuple(
            FoundingParty(
                party=party.id,
                role=party.role,
                state=party.state,
                owners=party.owners,
                author_key=party.author_key,
            )
            for party in genesis.parties
        ),
        policy=genesis.policy,
        origin=genesis.origin,
        world_capacity_mh=genesis.world.get("capacity_mh", {}),
        world_fab=genesis.world.get("fab", {}),
    )


class CommitMachine:
    """The law, the tree and the state digest, moved by one batch at a time. Equal batches give equal plans."""

    def __init__(
        self,
        law: Law,
        index: OpenIndex,
        digest: StateDigest,
        buckets: Buckets,
        standing: Standing,
        genesis: Genesis,
    ) -> None:
        """For `found` and `restore`."""
        self.law = law
        self._genesis = genesis
        self._index = index
        self._digest = digest
        self._buckets = buckets
        self.standing = standing

    @classmethod
    def found(
        cls, genesis: Genesis, document: bytes, *, facts: FactsSource, buckets: Buckets
    ) -> "tuple[CommitMachine, AppendPlan]":
        """The founding commit: genesis record, what the law derives at once (veto check), commit record.

        Raises MalformedGenesis.
        """
        index = OpenIndex(facts)
        try:
            law = Law.at_genesis(facts_of(genesis, document), index)
        except ValueError as err:  # InvalidPolicy among them; each names its field
            raise MalformedGenesis(str(err)) from err
        standing = Standing(index=0, time_ms=genesis.time_ms, tree=EMPTY_TREE, dropped={})
        machine = cls(law, index, StateDigest(), buckets, standing, genesis)
        ledger_id = chain_id(document)
        first = Appended(leaf=records.encode_genesis_record(ledger_id, genesis.origin))
        commit = _OpenCommit(machine._digest.root, 0)
        commit.leaves.append(first)
        commit.derive(law.advance(genesis.time_ms // MS_PER_S))
        return machine, machine._close(commit, 0, genesis.time_ms, ledger_id)

    @classmethod
    def restore(
        cls,
        genesis: Genesis,
        document: bytes,
        *,
        facts: FactsSource,
        buckets: Buckets,
        state: Iterable[tuple[int, bytes, bytes]],
        standing: Standing,
    ) -> "CommitMachine":
        """Where a store stopped; `state` is the whole map as (bucket, key, value), ascending.

        Raises DamagedRow, ReplayDiverged.
        """
        rows = list(state)
        digest = StateDigest()
        digest.load(rows)
        index = OpenIndex(facts)
        items = ((key, value) for _, key, value in rows)
        law = Law.restore(facts_of(genesis, document), index, items)
        # The law takes up its clock; what was due by then was derived before the store was left (R23).
        late = law.resume(standing.time_ms // MS_PER_S)
        if late or law.drain_changes():
            raise ReplayDiverged(
                f"after restart the law derives {len(late)} records for second {standing.time_ms // MS_PER_S} that the log"
                " does not hold: the store was written under another version of the law, or is damaged"
            )
        return cls(law, index, digest, buckets, standing, genesis)

    def state_path(self, bucket: int) -> list[bytes]:
        """The proof of a bucket of the state map under `state_digest`."""
        return self._digest.path(bucket)

    @property
    def state_digest(self) -> bytes:
        return self._digest.root

    @property
    def state_keys(self) -> int:
        return self._digest.keys

    def commit(self, batch: CommittedBatch, read: Read, known: Known) -> AppendPlan:
        """What this batch appends. Batches come in order, without a gap: anything else is the engine's mistake."""
        before = self.standing
        assert batch.index == before.index + 1, f"batch {batch.index} after {before.index}"
        assert batch.time_ms >= before.time_ms, f"ledger time {before.time_ms} -> {batch.time_ms}"
        commit = _OpenCommit(self._digest.root, before.tree.size, dict(before.dropped))
        if before.index:  # before the first commit nothing was open
            commit.derive(
                self.law.stood_still(before.time_ms // MS_PER_S, batch.time_ms // MS_PER_S)
            )
        commit.derive(self.law.advance(batch.time_ms // MS_PER_S))
        for found in batch.evidence:
            commit.derive(
                self.law.accuse(
                    found.state, epoch=found.epoch, round_=found.round, proof=found.proof
                )
            )
        for raw in batch.entries:
            self._apply(commit, raw, read, known)
        if batch.ends_epoch:
            self._end_epoch(commit)
        return self._close(commit, batch.index, batch.time_ms, batch.order_digest)

    def _end_epoch(self, commit: "_OpenCommit") -> None:
        """The next committee is in force after this commit. Raises EpochForced."""
        law = self.law
        if not law.is_closing:
            raise EpochForced(
                f"epoch {law.epoch} was ended by a quorum of closing blocks, and the law has not closed it:"
                f" more than f of {len(law.committee())} members signed against it"
            )
        law.end_epoch()
        members = members_of(law, self._genesis, law.committee())
        record = records.EpochRecord(
            epoch=law.epoch,
            members=tuple(
                (state, law.seat_leaf(state, seat)) for state, seat in law.committee().items()
            ),
            committee_hash=committee_hash(law.epoch, [member.block_key for member in members]),
            trust_policy=sha256(policy_of(self._genesis.origin, members)).digest(),
        )
        commit.leaves.append(Appended(leaf=records.encode_epoch_record(record), epoch=record))

    def _apply(self, commit: "_OpenCommit", raw: bytes, read: Read, known: Known) -> None:
        entry = read(raw)
        if isinstance(entry, Malformed):
            commit.drop(entry.entry_hash, "", 0, SCHEMA_CODE)
            return
        entry_hash, parsed = entry.entry_hash, entry.parsed
        resolved = resolve(entry, self.law.resolve_key)
        if resolved is None:
            commit.drop(entry_hash, parsed.author, parsed.seq, UNKNOWN_AUTHOR_CODE)
            return
        endorsers = verified_endorsers(resolved, known)
        if endorsers is None:
            commit.drop(entry_hash, parsed.author, parsed.seq, SIGNATURE_CODE)
            return
        leaf = commit.size
        outcome = self.law.apply(
            Entry(  # in the order of its fields: names cost a third of it
                entry_hash,
                entry_hash.hex(),
                leaf,
                entry.statement.header.kid,
                parsed,
                endorsers,
            )
        )
        facts = outcome.facts
        code = "" if outcome.code is None else outcome.code.value
        if facts is None:
            assert outcome.code is not None, "the law appends what it accepts"
            commit.drop(entry_hash, parsed.author, parsed.seq, code)
            return
        self._index.open.add(facts)
        commit.leaves.append(Appended(raw, facts, entry))
        commit.judge(entry_hash, parsed.author, parsed.seq, code, leaf)
        if outcome.derived:
            commit.derive(outcome.derived)

    def _close(
        self, commit: "_OpenCommit", index: int, time_ms: int, order_digest: bytes
    ) -> AppendPlan:
        changes = self.law.drain_changes()
        rows = self._digest.change(changes, self._buckets) if changes else {}
        self._index.open.clear()
        tree = self.standing.tree
        hashes: tuple[bytes, ...] = ()
        runs: tuple[HashRun, ...] = ()
        dropped: Mapping[str, int] = commit.dropped
        # A change of state without a record would be the law's mistake; a commit record ties it to the log all the same.
        if commit.leaves or rows:
            record = records.encode_commit_record(
                index=index,
                time_ms=time_ms,
                order_digest=order_digest,
                dropped=commit.dropped,
                state_digest=self._digest.root,
            )
            commit.leaves.append(Appended(leaf=record))
            dropped = {}
            hashes = tuple(leaf_hashes(appended.leaf for appended in commit.leaves))
            grown = merkle.append(tree, hashes)
            tree, runs = grown.tree, grown.runs
        self.standing = Standing(index=index, time_ms=time_ms, tree=tree, dropped=dropped)
        return AppendPlan(
            index=index,
            time_ms=time_ms,
            leaves=tuple(commit.leaves),
            leaf_hashes=hashes,
            hash_runs=runs,
            tree=tree,
            state_rows=rows,
            state_keys=self._digest.keys,
            state_digest=self._digest.root,
            dropped=dropped,
            judged=tuple(commit.judged),
            order_digest=order_digest,
            ends_epoch=any(appended.epoch is not None for appended in commit.leaves),
        )


class _OpenCommit:
    """What a commit has gathered so far."""

    def __init__(
        self, digest_before: bytes, first: int, dropped: dict[str, int] | None = None
    ) -> None:
        self._digest_before = digest_before
        self._first = first
        self._ordinal = 0
        self.leaves: list[Appended] = []
        self.judged: list[Judged] = []
        self.dropped: dict[str, int] = dropped or {}

    @property
    def size(self) -> int:
        """Leaves of the log so far: the index of the next one."""
        return self._first + len(self.leaves)

    def derive(self, derived: Iterable[Derived]) -> None:
        for value in derived:
            nonce = records.nonce(self._digest_before, self._ordinal)
            self._ordinal += 1
            leaf = records.encode_derived(value, nonce)
            self.leaves.append(Appended(leaf=leaf, derived=value))

    def drop(self, entry_hash: bytes, author: str, seq: int, code: str) -> None:
        self.dropped[code] = self.dropped.get(code, 0) + 1
        self.judge(entry_hash, author, seq, code, None)

    def judge(self, entry_hash: bytes, author: str, seq: int, code: str, leaf: int | None) -> None:
        self.judged.append(Judged(entry_hash, author, seq, code, leaf))


def facts_row(facts: EntryFacts) -> bytes:
    """How the index keeps facts under the entry's hash.

    content hash 32 | u64 leaf | u64 seq | u64 second | author, kind, topic, code: each u16 length and UTF-8
    """
    return b"".join(
        (
            facts.content_hash,
            _NUMBERS.pack(facts.leaf, facts.seq, facts.time_s),
            _text_field(facts.author),
            _text_field(facts.kind),
            _text_field(facts.topic),
            _text_field(facts.code),
        )
    )


@lru_cache(maxsize=4096)
def _text_field(text: str) -> bytes:
    """u16 length and UTF-8. Remembered: one author's entries are about the same few things."""
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def facts_from_row(entry_hash: bytes, row: bytes) -> EntryFacts:
    """Raises MalformedRecord."""
    texts = []
    at = _FACTS_NUMBERS_END
    for _ in range(4):
        start = at + 2
        at = start + int.from_bytes(row[at:start], "big")
        texts.append(row[start:at])
    if at != len(row) or len(entry_hash) != merkle.HASH_BYTES:
        raise MalformedRecord(f"facts of entry {entry_hash.hex()}: {len(row)} bytes, ends at {at}")
    try:
        author, kind, topic, code = (text.decode() for text in texts)
    except UnicodeDecodeError as err:
        raise MalformedRecord(f"facts of entry {entry_hash.hex()}: {err}") from err
    return EntryFacts(
        entry_hash=entry_hash,
        leaf=int.from_bytes(row[32:40], "big"),
        author=author,
        seq=int.from_bytes(row[40:48], "big"),
        kind=kind,
        topic=topic,
        code=code,
        content_hash=row[:32],
        time_s=int.from_bytes(row[48:_FACTS_NUMBERS_END], "big"),
    )


def is_first_at_seq(facts: EntryFacts) -> bool:
    """Does this entry hold its author's seq? An equivocation came second (LAW K16)."""
    return facts.code != Code.EQUIVOCATION

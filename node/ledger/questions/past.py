"""The law after a past commit, by running it over the log's own commits again.

A `Past` goes forward only, a commit at a time, so that whoever drives it can stop after each (a node lends it little time).
It holds one law, its rows and the tree of the digest: what a node holds for the present. Entries are read where they lie and not
kept; the index over them is that of the store, cut off at the commit reached.

After each commit the state digest must be the one that the log's commit record says, else `CannotReplay`: an answer about the
past is right or there is none. A node, whose own log it is, does not check signatures again; who reads another's copy has each
checked (`known`), keeps an index of his own (`on_plan`), and holds `root` against what members cosigned.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from node.ledger.batch import CommittedBatch, Evidence
from node.ledger.errors import LedgerError, MalformedRecord
from node.ledger.evidence import evidence_recorded
from node.ledger.genesis import Genesis
from node.ledger.plan import MS_PER_S, AppendPlan, CommitMachine, FactsSource
from node.ledger.questions.moment import Moment
from node.ledger.questions.sight import Leaves, Sight
from node.ledger.reader import EntryReader, Known
from node.ledger.records import (
    EPOCH_TYPE,
    EQUIVOCATION_TYPE,
    OUTAGE_TYPE,
    decode_record,
    is_record,
)
from node.ledger.state_digest import MemoryBuckets, bucket_of
from node.treaty.book import Book
from node.treaty.entries import EntryFacts

LEAVES_STEP: Final = 256

ReadLeaves = Callable[[int, int], list[bytes]]
"""(first, count) -> leaves. Raises StoreDamaged."""

OnPlan = Callable[[AppendPlan], None]


class CannotReplay(LedgerError):
    """The log's commits do not give the state that its commit records say."""


class FactsUpTo:
    """The index over entries as it was when the log had `size` of them."""

    def __init__(self, source: FactsSource) -> None:
        self._source = source
        self.size = 0

    def get(self, entry_hash: bytes) -> EntryFacts | None:
        return self._seen(self._source.get(entry_hash))

    def at_seq(self, author: str, seq: int) -> EntryFacts | None:
        return self._seen(self._source.at_seq(author, seq))

    def by_content(self, content_hash: bytes) -> EntryFacts | None:
        return self._seen(self._source.by_content(content_hash))

    def _seen(self, facts: EntryFacts | None) -> EntryFacts | None:
        return None if facts is None or facts.leaf >= self.size else facts


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCommit:
    """One commit as the log tells it."""

    batch: CommittedBatch
    dropped: dict[str, int]
    stood_since: int | None  # the ledger stood still since that second, if it did
    state_digest: bytes
    leaves: tuple[bytes, ...]  # all that it appended, the commit record last
    size: int  # entries of the log after it


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProof:
    """The whole bucket of a key of the state map and its path to the state digest (`state_digest.verify_bucket`)."""

    pairs: tuple[tuple[bytes, bytes], ...]  # (key, value), ascending
    path: tuple[bytes, ...]


class Past:
    """See the module's text. `size` and `sight` are of the commit reached; at first the founding one."""

    def __init__(
        self,
        genesis: Genesis,
        document: bytes,
        facts: FactsSource,
        read: ReadLeaves,
        size: int,
        *,
        known: Known = lambda _entry_hash, _public_key: True,
        on_plan: OnPlan = lambda _plan: None,
    ) -> None:
        """Over the first `size` leaves that `read` gives. Raises MalformedGenesis, CannotReplay.

        `known`: the verdict on an entry's signature where there is one; what is in an own log was verified before it came there.
        `on_plan` is told what each commit does, the founding one first.
        """
        self._facts = FactsUpTo(facts)
        self._known = known
        self._on_plan = on_plan
        self._read = read
        self._end = size
        self._reader = EntryReader(bytes_max=1)  # entries are read once
        self._buckets = MemoryBuckets()
        self._machine, founding = CommitMachine.found(
            genesis, document, facts=self._facts, buckets=self._buckets
        )
        self._take_over(founding)
        _compare(founding, tuple(read(0, founding.tree.size)))
        self.commits = 0  # applied, the founding one not counted
        self._ahead = self._commits(founding.tree.size)
        self._next: LoggedCommit | None = None

    @property
    def size(self) -> int:
        """Entries of the log after the commit reached."""
        return self._facts.size

    @property
    def index(self) -> int:
        """The commit reached."""
        return self._machine.standing.index

    @property
    def time_ms(self) -> int:
        """Ledger time of the commit reached."""
        return self._machine.standing.time_ms

    @property
    def book(self) -> Book:
        """The law's, after it."""
        return self._machine.law.book

    @property
    def root(self) -> bytes:
        """Of the log's first `size` entries, by the leaves that the law makes and those it was given."""
        return self._machine.standing.tree.root()

    def _take_over(self, plan: AppendPlan) -> None:
        self._buckets.write(plan.state_rows)
        self._facts.size = plan.tree.size
        self._on_plan(plan)

    def prove(self, key: bytes) -> "RowProof":
        """What shows the row of this key, or that there is none, under the state digest of the commit reached."""
        number = bucket_of(key)
        return RowProof(
            pairs=tuple(self._buckets.bucket(number)),
            path=tuple(self._machine.state_path(number)),
        )

    def grow(self, size: int) -> None:
        """The log has grown: more may be read."""
        self._end = max(self._end, size)
        if self._next is None:
            self._ahead = self._commits(self.size)

    def step(self, moment: Moment) -> bool:
        """Apply the next commit, if it is up to `moment`; False if none is. Raises CannotReplay."""
        if self._next is None:
            self._next = next(self._ahead, None)
        commit = self._next
        if commit is None or not moment.holds(commit.size, commit.batch.time_ms):
            return False
        self._next = None
        self._apply(commit)
        return True

    def sight(self, leaves: Leaves) -> Sight:
        return Sight(
            law=self._machine.law,
            size=self.size,
            state_digest=self._machine.state_digest,
            leaves=leaves,
        )

    def _apply(self, commit: LoggedCommit) -> None:
        machine, batch = self._machine, commit.batch
        standing = machine.standing
        if batch.index <= standing.index or batch.time_ms < standing.time_ms:
            raise CannotReplay(f"commit record {batch.index} follows that of {standing.index}")
        if batch.index - 1 > standing.index:  # commits that appended nothing left no trace
            before_ms = batch.time_ms
            if commit.stood_since is not None:
                before_ms = commit.stood_since * MS_PER_S
            before_ms = min(max(before_ms, standing.time_ms), batch.time_ms)
            standing = replace(standing, index=batch.index - 1, time_ms=before_ms)
        machine.standing = replace(standing, dropped=commit.dropped)
        plan = machine.commit(batch, self._reader.read, self._known)
        self._take_over(plan)
        self.commits += 1
        if (plan.state_digest, plan.tree.size) != (commit.state_digest, commit.size):
            raise CannotReplay(
                f"commit {batch.index}: the log says state {commit.state_digest.hex()} after {commit.size} entries, replay gives"
                f" {plan.state_digest.hex()} after {plan.tree.size}"
            )
        _compare(plan, commit.leaves)

    def _commits(self, first: int) -> Iterator[LoggedCommit]:
        gathered = _Gathered()
        at = first
        while at < self._end:
            for leaf in self._read(at, min(LEAVES_STEP, self._end - at)):
                at += 1
                closing = gathered.take(leaf)
                if closing is not None:
                    yield _logged(closing, gathered, at)
                    gathered = _Gathered()


def _compare(plan: AppendPlan, leaves: tuple[bytes, ...]) -> None:
    """What questions read of the log is what the law makes. Raises CannotReplay."""
    made = tuple(appended.leaf for appended in plan.leaves)
    if made == leaves:
        return
    at = next(
        (n for n, pair in enumerate(zip(made, leaves, strict=False)) if pair[0] != pair[1]), 0
    )
    raise CannotReplay(f"entry {plan.first + at}: the law makes other bytes than the log has")


class _Gathered:
    """The leaves of a commit so far."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []
        self.entries: list[bytes] = []
        self.evidence: list[Evidence] = []
        self.stood_since: int | None = None
        self.ends_epoch = False

    def take(self, leaf: bytes) -> Mapping[str, Any] | None:
        """The commit record, if this leaf is one."""
        self.leaves.append(leaf)
        if not is_record(leaf):
            self.entries.append(leaf)
            return None
        record = decode_record(leaf)
        match record["type"]:
            case "commit":
                return record
            case kind if kind == EQUIVOCATION_TYPE:
                self.evidence.append(evidence_recorded(record))
            case kind if kind == OUTAGE_TYPE:
                self.stood_since = record["since"]
            case kind if kind == EPOCH_TYPE:
                self.ends_epoch = True
        return None


def _logged(record: Mapping[str, Any], gathered: _Gathered, size: int) -> LoggedCommit:
    try:
        return LoggedCommit(
            batch=CommittedBatch(
                index=record["index"],
                time_ms=record["time_ms"],
                order_digest=record["order_digest"],
                entries=tuple(gathered.entries),
                evidence=tuple(gathered.evidence),
                ends_epoch=gathered.ends_epoch,
            ),
            dropped=dict(record["dropped"]),
            stood_since=gathered.stood_since,
            state_digest=record["state_digest"],
            leaves=tuple(gathered.leaves),
            size=size,
        )
    except KeyError as err:
        raise MalformedRecord(f"commit record without {err}") from err

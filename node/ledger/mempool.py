"""Entries that this node has taken and that are not final yet (RULINGS R27, R58, R59).

    admitted ──► READY ──take──► PROPOSED ──commit──► INTEGRATED ──final──► gone
        │          ▲                │
        │ gap      └── void block, or dropped as SEQ_GAP
        └──► HELD ─┘ when the author's chain reaches it

An entry stays until a final checkpoint covers it, and is proposed again when the block that held it became void: so an author
needs one honest node only. HELD entries have a gap before them in their author's chain: nothing is promised for them.

Bounds: entries and bytes in all, entries per author, and how far ahead of its chain an author may write. So
memory is at most `bytes_max` of entries and about 400 bytes of bookkeeping for each of `entries_max`.

Used from one event loop. Rows are written through `Store` without waiting; admission waits for the shared flush.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

from node.ledger.append import StoreFacts
from node.ledger.batch import Judged
from node.ledger.errors import Overloaded, Refused
from node.ledger.shares import BLOCKS_WAITING_MAX, EVEN_SHARES, Shares, units_of
from node.ledger.turns import Turns
from node.storage.rows import PendingRow
from node.storage.store import Store

MIB: Final = 1024 * 1024
GAP_MAX: Final = 64  # R27: how far beyond its chain's end an author's entry may lie
HEAVY_RETRY_MS: Final = (
    2_000  # by then there is room for many, and asking in vain costs both sides time
)
DROPPED_REMEMBERED: Final = (
    4096  # verdicts on entries that will never be logged, for status answers
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MempoolLimits:
    entries_max: int = 65_536
    bytes_max: int = 64 * MIB
    per_author_max: int = 16_384  # entries of one author: no author fills the pool alone
    retry_after_ms: int = 500

    # Of the whole, what one author and all authors of one state may fill: one flood leaves others half of it (D11).

    @property
    def per_author_bytes_max(self) -> int:
        return self.bytes_max // 4

    @property
    def per_state_max(self) -> int:
        return max(self.entries_max // 2, self.per_author_max)

    @property
    def per_state_bytes_max(self) -> int:
        return self.bytes_max // 2


class Place(Enum):
    READY = "ready"
    PROPOSED = "proposed"
    HELD = "held"
    INTEGRATED = "integrated"


@dataclass(slots=True, kw_only=True)
class Pending:
    """One entry here. `place` moves as drawn above; nothing else changes but `index` once it is logged."""

    entry_hash: bytes
    entry: bytes
    author: str
    seq: int
    prev: bytes
    arrival: int
    inclusion_by_ms: int  # 0: nothing promised yet
    place: Place
    index: int = -1
    state: str = ""  # whose quota and turns it has: as when it came, whatever is registered later


AuthorTip = Callable[[str], tuple[int, bytes]]
"""author -> (seq, prev) that the author's next logged entry must have: `Law.author_tip`."""


@dataclass(slots=True)
class _Share:
    """What somebody has here, wherever it stands."""

    entries: int = 0
    size: int = 0


class Mempool:
    """See the module's drawing."""

    def __init__(
        self,
        store: Store,
        author_tip: AuthorTip,
        *,
        limits: MempoolLimits | None = None,
        on_change: Callable[[], None] | None = None,
        state_of: Callable[[str], str] = str,
        states: Callable[[], int] = lambda: 1,
    ) -> None:
        """`state_of` gives the state whose quota and whose turns an author shares; by default each author has its own.

        `states`: how many share the ledger now; of one, no share is too large.
        """
        self.limits = limits or MempoolLimits()
        self.shares = Shares(states)
        self._store = store
        self._facts = StoreFacts(store)
        self._author_tip = author_tip
        self._on_change = on_change
        self._entries: dict[bytes, Pending] = {}
        self._state_of = state_of
        self._ready = Turns()
        self._authors: dict[str, _Share] = {}
        self._states: dict[str, _Share] = {}
        self._proposed: Counter[str] = Counter()  # by state: in own blocks that are not ordered yet
        self._chains: dict[
            str, dict[int, bytes]
        ] = {}  # author -> seq -> hash, all places but INTEGRATED
        self._ends: dict[str, int] = {}  # author with a chain -> its end as last walked
        self._integrated: OrderedDict[bytes, None] = OrderedDict()  # by log index
        self._dropped: OrderedDict[bytes, str] = OrderedDict()
        self._bytes = 0
        self._arrivals = 0
        self._unwritten: dict[bytes, PendingRow] | None = (
            None  # within `adding`: rows to write at its end
        )
        self._is_changed = False  # within `adding`: whether anything became ready

    # What others ask

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes_held(self) -> int:
        return self._bytes

    def pending(self) -> int:
        """Entries that wait to be proposed: payload for the pacemaker."""
        return len(self._ready)

    def pending_of(self, author: str) -> int:
        """Entries of this author here, wherever they stand."""
        share = self._authors.get(author)
        return 0 if share is None else share.entries

    def find(self, entry_hash: bytes) -> Pending | None:
        return self._entries.get(entry_hash)

    def dropped_code(self, entry_hash: bytes) -> str | None:
        """Why an entry that was here will not be logged, if that happened lately."""
        return self._dropped.get(entry_hash)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Who is told when entries become ready (the engine: it then makes a block)."""
        self._on_change = callback

    # The way in

    def chain_end(self, author: str) -> int:
        """The author's last seq such that it and all before are logged or here without a gap."""
        chain = self._chains.get(author)
        if chain is None:
            return self._logged_seq(author)
        end = max(self._logged_seq(author), self._ends.get(author, 0))
        while end + 1 in chain:
            end += 1
        self._ends[author] = end
        return end

    def chain_tip(self, author: str) -> tuple[int, bytes] | None:
        """(seq, entry hash) of the last entry here that continues the author's chain; None if the log has the tip."""
        end = self.chain_end(author)
        digest = self._chains.get(author, {}).get(end)
        return None if digest is None else (end, digest)

    def check_room(self, author: str, size: int) -> None:
        """Raises Overloaded if an entry of `size` bytes by this author has no place now."""
        limits = self.limits
        if len(self._entries) >= limits.entries_max:
            raise Overloaded(f"{limits.entries_max} entries are waiting", limits.retry_after_ms)
        if self._bytes + size > limits.bytes_max:
            raise Overloaded(f"{limits.bytes_max} bytes are waiting", limits.retry_after_ms)
        state = self._state_of(author)
        for whose, share, entries_max, bytes_max in (
            (author, self._authors.get(author), limits.per_author_max, limits.per_author_bytes_max),
            (
                f"authors of {state}",
                self._states.get(state),
                limits.per_state_max,
                limits.per_state_bytes_max,
            ),
        ):
            if share is None:
                continue
            if share.entries >= entries_max:
                raise Overloaded(
                    f"{entries_max} entries of {whose} are waiting", limits.retry_after_ms
                )
            if share.size + size > bytes_max:
                raise Overloaded(f"{bytes_max} bytes of {whose} are waiting", limits.retry_after_ms)
        self._check_share(state)

    def _check_share(self, state: str) -> None:
        """Raises Overloaded if this state brings most, and has more waiting than it has turns for in good time."""
        share = self._states.get(state)
        most = BLOCKS_WAITING_MAX * self.shares.allowance
        if share is None or units_of(share.entries, share.size) < most:
            return
        if self.shares.is_heavy(state, share.entries, len(self._entries)):
            why = (
                f"{share.entries} entries of authors of {state} are waiting, who brought more than {EVEN_SHARES} even shares of"
                f" what was ordered lately: at most {most}, each half KiB counted, while others bring theirs"
            )
            raise Overloaded(why, HEAVY_RETRY_MS)

    def add(
        self,
        entry_hash: bytes,
        entry: bytes,
        author: str,
        seq: int,
        prev: bytes,
        inclusion_by_ms: int,
    ) -> Pending:
        """Take an entry that passed admission; written, not yet durable. READY or HELD.

        Raises:
            Overloaded: no room.
            Refused: SEQ_GAP, more than 64 beyond the author's chain, or `prev` is not the hash of the entry before.
        """
        assert entry_hash not in self._entries, "callers look for known entries first"
        self.check_room(author, len(entry))
        end = self.chain_end(author)
        if seq > end + GAP_MAX:
            why = f"{seq}: the chain of {author} ends at {end}, at most {end + GAP_MAX} is held"
            raise Refused("SEQ_GAP", "envelope.seq", why)
        held = seq > end + 1
        if not held:
            self._check_prev(author, seq, prev)
        self._arrivals += 1
        pending = Pending(
            entry_hash=entry_hash,
            entry=entry,
            author=author,
            seq=seq,
            prev=prev,
            arrival=self._arrivals,
            inclusion_by_ms=0 if held else inclusion_by_ms,
            place=Place.HELD if held else Place.READY,
        )
        self._place(pending)
        self._write([pending])
        if not held:
            self._ready_successors(author, seq)
            self._changed()
        return pending

    @contextmanager
    def adding(self) -> Iterator[None]:
        """Around several `add`s with no await between them: their rows are one write, and `on_change` is told once."""
        assert self._unwritten is None, "adding within adding"
        self._unwritten, self._is_changed = {}, False
        try:
            yield
        finally:
            unwritten, self._unwritten = self._unwritten, None
            if unwritten:
                self._store.put_pending(list(unwritten.values()))
            if self._is_changed:
                self._changed()

    def promise(self, pending: Pending, inclusion_by_ms: int) -> None:
        """An entry once held is acknowledged now; its deadline is kept, so that asking again gives the same one."""
        pending.inclusion_by_ms = inclusion_by_ms
        self._store.put_pending([_row(pending)])

    def restore(self, parse: Callable[[bytes], tuple[str, int, bytes] | None]) -> int:
        """Take back what the store holds, once at start. Returns how many entries are here.

        `parse` gives (author, seq, prev) of an entry, or None for what this version of the program cannot read.
        """
        gone: list[bytes] = []
        for row in self._store.all_pending():
            known = parse(row.entry)
            if known is None:
                gone.append(row.entry_hash)
                continue
            self._arrivals = max(self._arrivals, row.arrival)
            author, seq, prev = known
            facts = self._facts.get(row.entry_hash)
            pending = Pending(
                entry_hash=row.entry_hash,
                entry=row.entry,
                author=author,
                seq=seq,
                prev=prev,
                arrival=row.arrival,
                inclusion_by_ms=row.inclusion_by_ms,
                place=Place.HELD,
                index=-1 if facts is None else facts.leaf,
            )
            if facts is not None:
                self._move(pending, Place.INTEGRATED)
            elif seq <= self._logged_seq(author):
                pending.place = Place.READY  # an equivocation: it is logged as one
            self._place(pending)
        for author in list(self._chains):
            self._wake_chain(author)
        self._integrated = OrderedDict(
            (digest, None)
            for digest in sorted(self._integrated, key=lambda d: self._entries[d].index)
        )
        self._store.delete_pending(gone)
        return len(self._entries)

    # The way into blocks

    def take(
        self, max_bytes: int, max_count: int, *, is_busy: bool = False, due_by_ms: int = 0
    ) -> tuple[bytes, ...]:
        """The next entries to propose, by turns of states and authors, each author's in chain order; they become PROPOSED.

        Of a state that brings most a node that `is_busy` proposes less (`shares`), but for what was promised until `due_by_ms`
        of ledger time.
        """
        allowance = self.shares.next_block(is_busy=is_busy)
        passed: set[str] = set()
        used: Counter[str] = Counter()  # units of each state, its next entry included
        taken: list[bytes] = []
        size = 0
        while (digest := self._ready.next(passed)) is not None and len(taken) < max_count:
            pending = self._entries[digest]
            if size + len(pending.entry) > max_bytes:
                break
            state = pending.state
            units = units_of(1, len(pending.entry))
            used[state] += units
            is_first = used[state] == units
            is_due = 0 < pending.inclusion_by_ms <= due_by_ms
            if (
                used[state] > allowance
                and not is_first
                and not is_due
                and self.shares.is_heavy(state, self._proposed[state], self._proposed.total())
            ):
                passed.add(state)
                self.shares.used_up()
                continue
            self._ready.take(digest)
            self._move(pending, Place.PROPOSED)
            taken.append(pending.entry)
            size += len(pending.entry)
        return tuple(taken)

    def proposed(self, entry_hashes: Iterable[bytes]) -> None:
        """After a restart: own blocks not yet committed hold these, so they need not be proposed again."""
        for digest in entry_hashes:
            pending = self._entries.get(digest)
            if pending is not None and pending.place is Place.READY:
                self._ready.discard(digest)
                self._move(pending, Place.PROPOSED)

    def release(self, entry_hashes: Iterable[bytes]) -> None:
        """The block that held these is void: propose them again, before anything that came later."""
        back = [
            pending
            for digest in entry_hashes
            if (pending := self._entries.get(digest)) is not None
            and pending.place is Place.PROPOSED
        ]
        self._back_to_ready(back)

    # What commits and checkpoints do

    def judged(self, results: Sequence[Judged]) -> None:
        """Follow one commit: every transaction in it, also those of other nodes."""
        again: list[Pending] = []
        authors: dict[str, None] = {}
        self._count(results)
        for result in results:
            if result.leaf is not None and result.author in self._chains:
                authors[result.author] = None
            pending = self._entries.get(result.entry_hash)
            if pending is None or pending.place is Place.INTEGRATED:
                continue
            if result.leaf is not None:
                self._integrate(pending, result.leaf)
            elif result.code == "SEQ_GAP":
                again.append(pending)
            elif (facts := self._facts.get(result.entry_hash)) is not None:
                self._integrate(pending, facts.leaf)  # a duplicate of what the log holds
            else:
                self._drop(pending, result.code)
        self._regap(again)
        for author in authors:
            self._wake_chain(author)

    def final(self, size: int) -> None:
        """A final checkpoint covers the first `size` entries: nobody needs these from us any more."""
        gone: list[bytes] = []
        while self._integrated:
            digest = next(iter(self._integrated))
            pending = self._entries[digest]
            if pending.index >= size:
                break
            del self._integrated[digest]
            self._forget(pending)
            gone.append(digest)
        if gone:
            self._store.delete_pending(gone)

    # Inside

    def _count(self, results: Sequence[Judged]) -> None:
        by_author = Counter(result.author for result in results if result.author)
        by_state: Counter[str] = Counter()
        for author, count in by_author.items():
            by_state[self._state_of(author)] += count
        self.shares.ordered(by_state)

    def _move(self, pending: Pending, place: Place) -> None:
        """From one place to another; an entry that leaves the mempool moves out of PROPOSED first."""
        self._proposed[pending.state] += (place is Place.PROPOSED) - (
            pending.place is Place.PROPOSED
        )
        pending.place = place

    def _place(self, pending: Pending) -> None:
        digest = pending.entry_hash
        self._entries[digest] = pending
        self._bytes += len(pending.entry)
        pending.state = self._state_of(pending.author)
        for shares, name in ((self._authors, pending.author), (self._states, pending.state)):
            share = shares.setdefault(name, _Share())
            share.entries += 1
            share.size += len(pending.entry)
        if pending.place is Place.INTEGRATED:
            self._integrated[digest] = None
            return
        # An equivocation shares its seq with another entry; the first one here holds the place in the chain.
        self._chains.setdefault(pending.author, {}).setdefault(pending.seq, digest)
        if pending.place is Place.READY:
            self._ready.add(digest, pending.state, pending.author)

    def _forget(self, pending: Pending) -> None:
        del self._entries[pending.entry_hash]
        self._bytes -= len(pending.entry)
        for shares, name in ((self._authors, pending.author), (self._states, pending.state)):
            share = shares[name]
            share.entries -= 1
            share.size -= len(pending.entry)
            if not share.entries:
                del shares[name]

    def _logged_seq(self, author: str) -> int:
        return self._author_tip(author)[0] - 1

    def _check_prev(self, author: str, seq: int, prev: bytes) -> None:
        """A wrong `prev` is SEQ_GAP for ever (R13), so it is not taken. What repeats a logged seq is the law's to judge."""
        next_seq, want = self._author_tip(author)
        if seq < next_seq:
            return
        if seq > next_seq:
            before = self._chains.get(author, {}).get(seq - 1)
            assert before is not None, f"seq {seq} continues a chain that is not here"
            want = before
        if prev != want:
            why = f"{prev.hex()}: entry {seq - 1} of {author} has SHA-256 {want.hex()}"
            raise Refused("SEQ_GAP", "envelope.prev", why)

    def _leave_chain(self, pending: Pending) -> None:
        chain = self._chains.get(pending.author)
        if chain is not None and chain.get(pending.seq) == pending.entry_hash:
            del chain[pending.seq]
            if not chain:
                del self._chains[pending.author]
                self._ends.pop(pending.author, None)

    def _integrate(self, pending: Pending, index: int) -> None:
        self._ready.discard(pending.entry_hash)
        self._leave_chain(pending)
        self._move(pending, Place.INTEGRATED)
        pending.index = index
        self._integrated[pending.entry_hash] = None

    def _drop(self, pending: Pending, code: str) -> None:
        self._ready.discard(pending.entry_hash)
        self._leave_chain(pending)
        self._move(pending, Place.HELD)
        self._ends.pop(
            pending.author, None
        )  # the chain may now end before this entry: walk it anew
        self._forget(pending)
        self._dropped[pending.entry_hash] = code
        while len(self._dropped) > DROPPED_REMEMBERED:
            self._dropped.popitem(last=False)
        self._store.delete_pending([pending.entry_hash])

    def _regap(self, again: Sequence[Pending]) -> None:
        """Entries that a commit met before their predecessor: propose again if it is logged or on its way, else hold."""
        ready = []
        for pending in again:
            # The same commit may hold it again, where its predecessor has come, or once more too early.
            if pending.place is Place.INTEGRATED or pending.entry_hash not in self._entries:
                continue
            next_seq, prev = self._author_tip(pending.author)
            if pending.seq < next_seq or (pending.seq == next_seq and pending.prev != prev):
                self._drop(
                    pending, "SEQ_GAP"
                )  # its place in the chain is taken: no commit will ever take it
            elif pending.seq <= self.chain_end(pending.author):
                ready.append(pending)
            else:
                self._ready.discard(pending.entry_hash)
                self._move(pending, Place.HELD)
        self._back_to_ready(ready)

    def _wake_chain(self, author: str) -> None:
        """The author's logged chain grew: what continues it becomes ready, in order."""
        self._ready_successors(author, self._logged_seq(author))

    def _ready_successors(self, author: str, seq: int) -> None:
        chain = self._chains.get(author)
        if chain is None:
            return
        woken = []
        following = seq + 1
        while (digest := chain.get(following)) is not None:
            pending = self._entries[digest]
            if pending.place is Place.HELD:
                self._move(pending, Place.READY)
                self._ready.add(digest, pending.state, author)
                woken.append(pending)
            following += 1
        if woken:
            self._write(woken)
            self._changed()

    def _back_to_ready(self, back: list[Pending]) -> None:
        if not back:
            return
        back.sort(key=lambda pending: pending.arrival, reverse=True)
        for pending in back:
            self._move(pending, Place.READY)
            self._ready.add(pending.entry_hash, pending.state, pending.author, first=True)
        self._changed()

    def _write(self, pendings: Iterable[Pending]) -> None:
        rows = {pending.entry_hash: _row(pending) for pending in pendings}
        if self._unwritten is None:
            self._store.put_pending(list(rows.values()))
        else:
            self._unwritten.update(rows)  # of two rows of one entry the later counts

    def _changed(self) -> None:
        if self._unwritten is not None:
            self._is_changed = True
        elif self._on_change is not None:
            self._on_change()


def _row(pending: Pending) -> PendingRow:
    return PendingRow(
        entry_hash=pending.entry_hash,
        arrival=pending.arrival,
        inclusion_by_ms=pending.inclusion_by_ms,
        held=pending.place is Place.HELD,
        entry=pending.entry,
    )

"""The mempool against a plain model: any order of submissions, blocks, void blocks, commits and restarts.

Whatever happens, an author's entries are proposed in chain order, nothing admitted is forgotten before it is final, and
the books balance.
"""

import tempfile
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node.ledger.batch import Judged
from node.ledger.errors import Refused
from node.ledger.mempool import Mempool, Place
from node.ledger.plan import facts_row
from node.storage.rows import CommitWrite, IndexRow, Tip
from node.storage.store import Store
from node.treaty.entries import EntryFacts

AUTHORS = ("A", "B")
START = bytes(32)


def raw_of(author: str, seq: int) -> bytes:
    return f"{author}/{seq}".encode()


def digest_of(author: str, seq: int) -> bytes:
    return START if seq == 0 else sha256(raw_of(author, seq)).digest()


def parse(raw: bytes) -> tuple[str, int, bytes]:
    author, _, seq = raw.decode().partition("/")
    return author, int(seq), digest_of(author, int(seq) - 1)


class MempoolMachine(RuleBasedStateMachine):
    """Own blocks are lists of taken entries; the model's log is the last seq of each author."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store.open(Path(self.folder.name) / "db")
        self.logged = dict.fromkeys(AUTHORS, 0)
        self.admitted: set[tuple[str, int]] = set()
        self.blocks: list[list[tuple[str, int]]] = []
        self.size = 0
        self.leaf_of: dict[tuple[str, int], int] = {}
        self.pool = self.open_pool()

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def open_pool(self) -> Mempool:
        return Mempool(self.store, self.tip)

    def tip(self, author: str) -> tuple[int, bytes]:
        seq = self.logged[author]
        return seq + 1, digest_of(author, seq)

    @rule(author=st.sampled_from(AUTHORS), ahead=st.integers(1, 6))
    def submit(self, author: str, ahead: int) -> None:
        seq = self.logged[author] + ahead
        if self.pool.find(digest_of(author, seq)) is not None:
            return
        self.pool.add(
            digest_of(author, seq), raw_of(author, seq), author, seq, digest_of(author, seq - 1), 9
        )
        self.admitted.add((author, seq))

    @rule(author=st.sampled_from(AUTHORS))
    def submit_far_ahead(self, author: str) -> None:
        seq = self.pool.chain_end(author) + 65
        with pytest.raises(Refused, match="SEQ_GAP"):
            self.pool.add(digest_of(author, seq), raw_of(author, seq), author, seq, START, 9)

    @rule(count=st.integers(1, 4))
    def propose(self, count: int) -> None:
        block = [parse(raw)[:2] for raw in self.pool.take(10**6, count)]
        if block:
            self.blocks.append(block)

    @precondition(lambda self: self.blocks)
    @rule(which=st.integers(0, 100))
    def block_is_void(self, which: int) -> None:
        block = self.blocks.pop(which % len(self.blocks))
        self.pool.release([digest_of(*entry) for entry in block])

    @precondition(lambda self: self.blocks)
    @rule(which=st.integers(0, 100))
    def block_is_committed(self, which: int) -> None:
        self.commit(self.blocks.pop(which % len(self.blocks)))

    @rule(author=st.sampled_from(AUTHORS))
    def another_node_logs_the_next(self, author: str) -> None:
        self.commit([(author, self.logged[author] + 1)])

    @rule()
    def everything_logged_is_final(self) -> None:
        self.pool.final(self.size)
        self.admitted -= set(self.leaf_of)

    @rule()
    def restart(self) -> None:
        self.blocks.clear()
        self.pool = self.open_pool()
        self.pool.restore(parse)

    def commit(self, entries: list[tuple[str, int]]) -> None:
        """The law's chain rule, and the store's rows."""
        judged: list[Judged] = []
        for author, seq in entries:
            digest = digest_of(author, seq)
            index = None
            if seq > self.logged[author] + 1:
                code = "SEQ_GAP"
            elif seq <= self.logged[author]:
                code = "DUPLICATE"
            else:
                code = ""
                index = self.size
                self.size += 1
                self.logged[author] = seq
                self.leaf_of[author, seq] = index
                facts = EntryFacts(digest, index, author, seq, "energy", "", "", digest, 1)
                row = IndexRow(index=index, entry_hash=digest, facts=facts_row(facts))
                tip = Tip(commit=1, log_size=self.size, time_ms=1, state_keys=0, state_digest=START)
                self.store.write_commit(
                    CommitWrite(
                        tip=tip, engine_record=b"", index_rows=[row], entries=[raw_of(author, seq)]
                    )
                )
            judged.append(Judged(entry_hash=digest, author=author, seq=seq, code=code, leaf=index))
        self.pool.judged(judged)

    @invariant()
    def nothing_admitted_is_forgotten(self) -> None:
        for author, seq in self.admitted:
            pending = self.pool.find(digest_of(author, seq))
            assert pending is not None, (
                f"{author}/{seq} was admitted and is gone before it is final"
            )
            assert (pending.place is Place.INTEGRATED) == ((author, seq) in self.leaf_of)

    @invariant()
    def the_books_balance(self) -> None:
        held = [self.pool.find(row.entry_hash) for row in self.store.all_pending()]
        assert len(held) == len(self.pool)
        assert all(held)
        assert self.pool.bytes_held == sum(len(pending.entry) for pending in held if pending)
        assert sum(map(self.pool.pending_of, AUTHORS)) == len(self.pool)
        ready = [pending for pending in held if pending and pending.place is Place.READY]
        assert self.pool.pending() == len(ready)

    @invariant()
    def what_is_ready_continues_a_chain(self) -> None:
        """A READY entry's predecessor is logged, or waits here before it, or is in an own block."""
        for row in self.store.all_pending():
            pending = self.pool.find(row.entry_hash)
            assert pending is not None
            if pending.place is Place.READY and pending.seq > self.logged[pending.author] + 1:
                before = self.pool.find(digest_of(pending.author, pending.seq - 1))
                assert before is not None
                assert before.place is not Place.HELD
            if pending.place is Place.HELD:
                assert pending.seq > self.logged[pending.author] + 1


TestMempool = MempoolMachine.TestCase
TestMempool.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)

"""The mempool's drawing, arrow by arrow, and its bounds."""

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from node.ledger.batch import Judged
from node.ledger.errors import Overloaded, Refused
from node.ledger.mempool import GAP_MAX, Mempool, MempoolLimits, Pending, Place
from node.ledger.plan import facts_row
from node.storage.rows import CommitWrite, IndexRow, Tip
from node.storage.store import Store
from node.treaty.entries import EntryFacts

START = bytes(32)


class Tips:
    """A stand-in for the law's author chains: (next seq, prev) per author."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[int, bytes]] = {}

    def __call__(self, author: str) -> tuple[int, bytes]:
        return self.known.get(author, (1, START))


class Pool:
    """A mempool, its tips, and entries made on demand: author/seq/variant is the entry's text."""

    def __init__(self, store: Store, limits: MempoolLimits | None = None) -> None:
        self.store = store
        self.tips = Tips()
        self.woken = 0
        self.pool = Mempool(store, self.tips, limits=limits, on_change=self._count)
        self.leaf = store.log_size()

    def _count(self) -> None:
        self.woken += 1

    def add(self, author: str, seq: int, variant: str = "") -> Pending:
        raw = entry(author, seq, variant)
        return self.pool.add(digest(raw), raw, author, seq, prev_of(author, seq), 5_000)

    def take(self, count: int = 100) -> list[str]:
        return [raw.decode() for raw in self.pool.take(10**9, count)]

    def include(self, author: str, seq: int, variant: str = "") -> None:
        """A commit that logs this entry, whoever proposed it."""
        raw = entry(author, seq, variant)
        self.leaf += 1
        facts = EntryFacts(
            digest(raw), self.leaf - 1, author, seq, "energy", "", "", digest(raw + b"c"), 1
        )
        row = IndexRow(index=facts.leaf, entry_hash=facts.entry_hash, facts=facts_row(facts))
        tip = Tip(commit=1, log_size=self.leaf, time_ms=1, state_keys=0, state_digest=bytes(32))
        self.store.write_commit(
            CommitWrite(tip=tip, engine_record=b"", entries=[raw], index_rows=[row])
        )
        self.tips.known[author] = (seq + 1, digest(raw))
        self.judge(author, seq, "", facts.leaf, variant)

    def judge(self, author: str, seq: int, code: str, index: int | None, variant: str = "") -> None:
        raw = entry(author, seq, variant)
        self.pool.judged(
            [Judged(entry_hash=digest(raw), author=author, seq=seq, code=code, leaf=index)]
        )

    def place(self, author: str, seq: int, variant: str = "") -> Place | None:
        pending = self.pool.find(digest(entry(author, seq, variant)))
        return None if pending is None else pending.place


def entry(author: str, seq: int, variant: str = "") -> bytes:
    return f"{author}/{seq}/{variant}".encode()


def digest(raw: bytes) -> bytes:
    return sha256(raw).digest()


def prev_of(author: str, seq: int) -> bytes:
    return START if seq == 1 else digest(entry(author, seq - 1))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "db") as opened:
        yield opened


@pytest.fixture
def pool(store: Store) -> Pool:
    return Pool(store)


def test_an_entry_waits_until_it_is_final(pool: Pool) -> None:
    pool.add("US", 1)
    assert (pool.place("US", 1), pool.pool.pending(), pool.woken) == (Place.READY, 1, 1)
    assert pool.take() == ["US/1/"]
    assert pool.place("US", 1) is Place.PROPOSED
    assert pool.take() == []
    pool.include("US", 1)
    assert pool.place("US", 1) is Place.INTEGRATED
    pool.pool.final(0)
    assert len(pool.pool) == 1
    pool.pool.final(1)
    assert len(pool.pool) == 0
    assert pool.pool.bytes_held == 0
    assert pool.pool.pending_of("US") == 0
    assert pool.store.all_pending() == []


def test_a_void_block_puts_its_entries_back_in_front(pool: Pool) -> None:
    for seq in (1, 2, 3):
        pool.add("US", seq)
    assert pool.take(2) == ["US/1/", "US/2/"]
    pool.pool.release([digest(entry("US", 2)), digest(entry("US", 1)), bytes(32)])
    assert pool.take() == ["US/1/", "US/2/", "US/3/"]


def test_a_gap_holds_an_entry_until_it_closes_here(pool: Pool) -> None:
    pool.add("US", 3)
    pool.add("US", 2)
    assert pool.place("US", 3) is Place.HELD
    assert pool.take() == []
    pool.add("US", 1)
    assert pool.take() == ["US/1/", "US/2/", "US/3/"]
    assert pool.pool.chain_tip("US") == (3, digest(entry("US", 3)))


def test_a_gap_closed_by_another_node_wakes_the_entry(pool: Pool) -> None:
    pool.add("US", 2)
    assert pool.place("US", 2) is Place.HELD
    before = pool.woken
    pool.include("US", 1)
    assert pool.place("US", 2) is Place.READY
    assert pool.woken == before + 1


def test_an_entry_too_far_ahead_is_refused(pool: Pool) -> None:
    pool.add("US", GAP_MAX)
    with pytest.raises(Refused, match=r"SEQ_GAP: envelope\.seq"):
        pool.add("US", GAP_MAX + 1)
    pool.add("US", 1)
    pool.add("US", GAP_MAX + 1)


def test_a_chain_may_be_longer_than_the_gap_limit(pool: Pool) -> None:
    for seq in range(1, 3 * GAP_MAX):
        assert pool.add("US", seq).place is Place.READY


def test_a_wrong_prev_is_refused_for_it_would_never_be_logged(pool: Pool) -> None:
    pool.add("US", 1)
    raw = entry("US", 2)
    with pytest.raises(Refused, match=r"envelope.prev: 0000.* has SHA-256") as caught:
        pool.pool.add(digest(raw), raw, "US", 2, START, 1)
    assert digest(entry("US", 1)).hex() in str(caught.value)


def test_an_entry_ordered_before_its_predecessor_is_proposed_again(pool: Pool) -> None:
    pool.add("US", 1)
    pool.add("US", 2)
    pool.take()
    pool.judge("US", 2, "SEQ_GAP", None)
    assert pool.place("US", 2) is Place.READY
    pool.include("US", 1)
    assert pool.take() == ["US/2/"]


def test_an_entry_whose_place_was_taken_is_dropped_and_not_proposed_for_ever(pool: Pool) -> None:
    pool.add("US", 1)
    pool.add("US", 2)
    pool.take()
    pool.include("US", 1, "other")  # an equivocation reached the log first
    pool.judge("US", 2, "SEQ_GAP", None)  # its prev is not the logged entry
    assert pool.place("US", 2) is None
    assert pool.pool.dropped_code(digest(entry("US", 2))) == "SEQ_GAP"
    assert pool.take() == []


def test_one_commit_may_hold_an_entry_too_early_and_again_in_its_place(pool: Pool) -> None:
    """Its author handed the chain to two nodes, and both proposed it (driver seed 0x1b9: every node that held it stopped)."""
    for seq in (1, 2, 3):
        pool.add("US", seq)
    pool.take()

    def judged(seq: int, code: str, index: int | None) -> Judged:
        raw = entry("US", seq)
        return Judged(entry_hash=digest(raw), author="US", seq=seq, code=code, leaf=index)

    pool.tips.known["US"] = (3, digest(entry("US", 2)))
    early = [judged(2, "SEQ_GAP", None), judged(3, "SEQ_GAP", None), judged(3, "SEQ_GAP", None)]
    pool.pool.judged([*early, judged(1, "", 0), judged(2, "", 1)])
    assert pool.place("US", 2) is Place.INTEGRATED
    assert pool.place("US", 3) is Place.READY, "to be proposed again, once"
    assert pool.take() == ["US/3/"]
    pool.pool.final(2)
    assert pool.place("US", 1) is pool.place("US", 2) is None
    assert not list(pool.store.all_pending())[1:], "only the third waits on the disk"


def test_an_entry_whose_predecessor_was_dropped_is_held_until_it_comes_again(pool: Pool) -> None:
    pool.add("US", 1)
    pool.add("US", 2)
    pool.take()
    pool.judge("US", 1, "COUNTERSIGN", None)
    pool.judge("US", 2, "SEQ_GAP", None)
    assert pool.place("US", 2) is Place.HELD
    assert pool.take() == []
    pool.add("US", 1)
    assert pool.take() == ["US/1/", "US/2/"]


def test_a_dropped_entry_is_gone_with_its_reason(pool: Pool) -> None:
    pool.add("US", 1)
    pool.take()
    pool.judge("US", 1, "COUNTERSIGN", None)
    assert pool.place("US", 1) is None
    assert pool.pool.dropped_code(digest(entry("US", 1))) == "COUNTERSIGN"
    assert pool.store.all_pending() == []
    assert pool.pool.chain_end("US") == 0
    pool.add("US", 1)  # the author may bring it again


def test_a_duplicate_of_what_is_logged_counts_as_logged(pool: Pool) -> None:
    pool.include("US", 1)
    raw = entry("US", 1)
    pool.tips.known.clear()
    pool.pool.add(digest(raw), raw, "US", 1, START, 1)
    pool.judge("US", 1, "DUPLICATE", None)
    assert pool.place("US", 1) is Place.INTEGRATED


def test_restart_takes_up_every_place(store: Store) -> None:
    before = Pool(store)
    for seq in (1, 2, 3, 5):
        before.add("US", seq)
    before.add("CN", 1)
    before.take(2)
    before.include("US", 1)
    after = Pool(store)
    after.tips = before.tips
    after.pool = Mempool(store, after.tips)

    def parse(raw: bytes) -> tuple[str, int, bytes]:
        author, seq, _ = raw.decode().split("/")
        return author, int(seq), prev_of(author, int(seq))

    assert after.pool.restore(parse) == 5
    assert after.place("US", 1) is Place.INTEGRATED
    assert after.place("US", 5) is Place.HELD
    after.pool.proposed([digest(entry("US", 2))])
    assert after.take() == ["US/3/", "CN/1/"]
    assert after.add("US", 4).place is Place.READY
    assert after.take() == ["US/4/", "US/5/"]
    after.pool.final(1)
    assert after.place("US", 1) is None
    assert Mempool(store, after.tips).restore(lambda raw: None) == 0
    assert store.all_pending() == []


def test_bounds_answer_with_a_retry_time(store: Store) -> None:
    pool = Pool(
        store, MempoolLimits(entries_max=4, bytes_max=100, per_author_max=2, retry_after_ms=7)
    )
    pool.add("US", 1)
    pool.add("US", 2)
    with pytest.raises(Overloaded, match="2 entries of US") as caught:
        pool.add("US", 3)
    assert caught.value.retry_after_ms == 7
    pool.add("CN", 1)
    pool.add("CN", 2)
    with pytest.raises(Overloaded, match="4 entries are waiting"):
        pool.add("GB", 1)
    small = Pool(store, MempoolLimits(bytes_max=9))
    small.add("US", 1)
    with pytest.raises(Overloaded, match="9 bytes"):
        small.add("CN", 1)


def test_equivocations_count_against_the_author(store: Store) -> None:
    """One seq signed many ways must not slip past the quota."""
    pool = Pool(store, MempoolLimits(per_author_max=3))
    for variant in "abc":
        pool.add("US", 1, variant)
    with pytest.raises(Overloaded):
        pool.add("US", 1, "d")


def test_take_respects_bytes_and_count(pool: Pool) -> None:
    for seq in range(1, 6):
        pool.add("US", seq)
    assert len(pool.pool.take(11, 10)) == 2  # 5 bytes each
    assert len(pool.pool.take(100, 1)) == 1
    assert pool.pool.take(4, 10) == ()


# --- one flood, and the others -------------------------------------------------------------------


def state_of(author: str) -> str:
    return author.partition("-")[0]


def test_a_flood_waits_behind_itself_and_no_author_or_state_fills_the_pool(store: Store) -> None:
    """D11: KE has many authors and many entries; US's one entry is in the next block, and has room."""
    one = len(entry("KE-10", 1))
    limits = MempoolLimits(entries_max=40, bytes_max=one * 64, per_author_max=12)
    tips = Tips()
    pool = Mempool(store, tips, limits=limits, state_of=state_of)

    def add(author: str, seq: int) -> None:
        raw = entry(author, seq)
        pool.add(digest(raw), raw, author, seq, prev_of(author, seq), 5_000)

    for seq in range(1, 13):
        add("KE-10", seq)
    with pytest.raises(Overloaded, match="12 entries of KE-10 are waiting"):
        add("KE-10", 13)
    for seq in range(1, 9):
        add("KE-11", seq)
    with pytest.raises(Overloaded, match="20 entries of authors of KE are waiting"):
        add("KE-12", 1)
    add("US-10", 1)
    assert entry("US-10", 1) in pool.take(10**9, 2)
    pool.judged(
        [
            Judged(
                entry_hash=digest(entry("KE-10", 1)),
                author="KE-10",
                seq=1,
                code="SCHEMA",
                leaf=None,
            )
        ]
    )
    add("KE-12", 1)  # one of KE's is gone: there is room again


def test_few_large_entries_do_not_fill_the_pool_either(store: Store) -> None:
    size = len(entry("KE-10", 1))
    pool = Mempool(
        store,
        Tips(),
        limits=MempoolLimits(entries_max=1_000, bytes_max=size * 16, per_author_max=900),
        state_of=state_of,
    )

    def add(author: str, seq: int) -> None:
        raw = entry(author, seq)
        pool.add(digest(raw), raw, author, seq, prev_of(author, seq), 5_000)

    for seq in range(1, 5):
        add("KE-10", seq)
    with pytest.raises(Overloaded, match=f"{size * 4} bytes of KE-10 are waiting"):
        add("KE-10", 5)
    for seq in range(1, 5):
        add("KE-11", seq)
    with pytest.raises(Overloaded, match=f"{size * 8} bytes of authors of KE are waiting"):
        add("KE-12", 1)
    add("US-10", 1)


class Flooded:
    """A pool of a ledger of four states: KE brought most lately, US something. KE-10 has `waiting` entries here."""

    def __init__(self, store: Store, waiting: int) -> None:
        self.tips = Tips()
        self.pool = Mempool(store, self.tips, state_of=state_of, states=lambda: 4)
        self.seqs = {"KE-10": 0, "US-10": 0}
        self.ordered("KE-1", 300)
        self.ordered("US-1", 20)
        for _ in range(waiting):
            self.add("KE-10")

    def ordered(self, author: str, count: int) -> None:
        """A commit of other nodes' entries."""
        self.pool.judged(
            [
                Judged(entry_hash=bytes(32), author=author, seq=1, code="SCHEMA", leaf=None)
                for _ in range(count)
            ]
        )

    def add(self, author: str, inclusion_by_ms: int = 5_000) -> None:
        self.seqs[author] += 1
        seq = self.seqs[author]
        raw = entry(author, seq)
        self.pool.add(digest(raw), raw, author, seq, prev_of(author, seq), inclusion_by_ms)

    def take(self, *, is_busy: bool, due_by_ms: int = 0) -> tuple[int, int]:
        """Entries of KE and of US in the next block."""
        taken = self.pool.take(10**9, 2_048, is_busy=is_busy, due_by_ms=due_by_ms)
        of = [state_of(raw.decode()) for raw in taken]
        return of.count("KE"), of.count("US")


def test_a_busy_node_proposes_less_of_the_state_that_brings_most_and_all_of_the_others(
    store: Store,
) -> None:
    """SPEC 13, decision 0180: US has 40 entries here and is in the next block with all of them."""
    flooded = Flooded(store, waiting=400)
    for _ in range(40):
        flooded.add("US-10")
    of_ke, of_us = flooded.take(is_busy=True)
    assert (of_ke, of_us) == (48, 40)  # three quarters of the first allowance
    assert flooded.take(is_busy=True) == (36, 0)
    after = [flooded.take(is_busy=True)[0] for _ in range(8)]
    assert after[-1] == 8  # never less
    assert flooded.take(is_busy=False)[0] > 8


def test_a_state_that_brings_no_more_than_others_is_held_back_by_nothing(store: Store) -> None:
    flooded = Flooded(store, waiting=400)
    for state in ("US-1", "CN-1", "GB-1"):
        flooded.ordered(state, 900)
    assert flooded.take(is_busy=True) == (400, 0)


def test_what_was_promised_until_soon_goes_whatever_its_state_brought(store: Store) -> None:
    flooded = Flooded(store, waiting=100)
    assert flooded.take(is_busy=True, due_by_ms=5_000) == (100, 0)


def test_a_state_that_brings_most_may_have_waiting_what_it_has_turns_for(store: Store) -> None:
    flooded = Flooded(store, waiting=0)
    for _ in range(20):
        flooded.take(is_busy=True)
    for _ in range(500):
        flooded.add("KE-10")
    for _ in range(12):  # each counts for one, and 512 bytes of them for one more
        with suppress(Overloaded):
            flooded.add("KE-10")
    assert 500 <= len(flooded.pool) < 512
    with pytest.raises(Overloaded, match=r"authors of KE are waiting, .*: at most 512") as caught:
        flooded.add("KE-10")
    assert caught.value.retry_after_ms == 2_000
    flooded.add("US-10")
    for state in ("US-1", "CN-1", "GB-1"):
        flooded.ordered(state, 3_000)
    flooded.seqs["KE-10"] = len(flooded.pool) - 1
    flooded.add("KE-10")  # others bring as much: nobody is refused for his share

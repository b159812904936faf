"""The simulator's own parts: a disk that forgot nothing, or a cut that let through, would hide mistakes of the core."""

from collections.abc import Callable
from functools import partial
from random import Random

from consensus.simulate.clock import VirtualClock
from consensus.simulate.network import Network, Weather
from consensus.simulate.store import SimulatedStore
from consensus.types import Digest, Ref, Round, ValidatorIndex


def ref(round_: int, author: int) -> Ref:
    return Ref(Round(round_), ValidatorIndex(author), Digest(bytes([round_, author]) * 16))


def test_a_crash_forgets_a_suffix_of_what_was_not_synced() -> None:
    lost_counts = set()
    for seed in range(40):
        store = SimulatedStore()
        store.put_block(ref(1, 0), b"durable")
        store.put_record(1, b"record 1")
        store.sync()
        for round_ in range(2, 8):
            store.put_block(ref(round_, 0), b"lazy")
        store.put_record(2, b"record 2")
        lost = store.crash(Random(seed))
        lost_counts.add(lost)
        assert store.block(ref(1, 0)) == b"durable"
        assert store.commit_record(1) == b"record 1"
        assert store.last_commit_index() == (2 if lost == 0 else 1)
        kept = [round_ for round_ in range(2, 8) if store.has(ref(round_, 0))]
        assert kept == list(range(2, 2 + min(6, 7 - lost)))
        newest = store.newest_block_of(0)
        assert newest is not None
        assert newest[0].round == max([1, *kept])
        assert len(store.blocks_in_rounds(0, 99, 1 << 20)) == 1 + len(kept)
    assert lost_counts == set(range(8))


def test_ranges_ascend_and_stop_at_the_limit() -> None:
    store = SimulatedStore()
    for round_, author in [(3, 1), (2, 0), (3, 0), (5, 2)]:
        store.put_block(ref(round_, author), b"x" * 10)
    found = [name for name, _ in store.blocks_in_rounds(2, 4, 1000)]
    assert found == [ref(2, 0), ref(3, 0), ref(3, 1)]
    assert len(store.blocks_in_rounds(2, 5, 20)) == 2
    assert len(store.blocks_in_rounds(2, 5, 1)) == 1


def network(weather: Weather) -> tuple[VirtualClock, Network, Callable[[int, int], list[int]]]:
    clock = VirtualClock()
    links = Network(clock, Random(1), weather)

    def arrivals(source: int, target: int) -> list[int]:
        found: list[int] = []
        for turn in range(1000):
            links.send(source, target, partial(found.append, turn))
        clock.run(clock.now_ms + 10_000)
        return found

    return clock, links, arrivals


def test_a_cut_goes_one_way_until_it_is_mended() -> None:
    _, links, arrivals = network(Weather(delay_min_ms=1, delay_max_ms=1))
    first, second = links.cut([(0, 1)]), links.cut([(0, 1), (2, 1)])
    assert arrivals(0, 1) == []
    assert arrivals(1, 0) == list(range(1000))
    first()
    assert arrivals(0, 1) == []
    second()
    assert arrivals(0, 1) == arrivals(2, 1) == list(range(1000))


def test_links_lose_double_and_reorder() -> None:
    _, _, arrivals = network(Weather(delay_min_ms=0, delay_max_ms=50, loss=200, duplication=100))
    found = arrivals(0, 1)
    assert found != sorted(found)
    assert 700 < len(set(found)) < 900
    assert 30 < len(found) - len(set(found)) < 130


def test_ordered_links_keep_the_order() -> None:
    _, _, arrivals = network(Weather(delay_min_ms=0, delay_max_ms=50, ordered=True))
    assert arrivals(0, 1) == list(range(1000))


def test_equal_times_happen_as_asked() -> None:
    clock = VirtualClock()
    done: list[int] = []
    for turn in range(20):
        clock.call_at(5, partial(done.append, turn))
    clock.call_at(1, lambda: clock.call_in(4, lambda: done.append(99)))
    assert not clock.run(4, lambda: bool(done))
    assert done == []
    assert clock.run(5, lambda: len(done) == 21)
    assert done == [*range(20), 99]

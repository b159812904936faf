"""Buckets and scores: what is spent comes back with time, and who spends it all is left alone."""

import pytest

from node.network.budget import PENALTY_FIRST_S, PENALTY_MAX_S, SCORE_MAX, Bucket, Score
from node.network.outbox import Outbox, share_of


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    bucket = Bucket(rate=10, burst=20, now=0)
    assert [bucket.take(1, 0) for _ in range(21)] == [True] * 20 + [False]
    assert bucket.take(1, 0.1)
    assert not bucket.take(1, 0.1)
    assert [bucket.take(1, 100) for _ in range(21)] == [True] * 20 + [
        False
    ]  # never above the burst


def test_a_charge_may_overdraw_and_the_debt_is_waited_for() -> None:
    bucket = Bucket(rate=10, burst=20, now=0)
    assert bucket.wait_s(15, 0) == 0
    assert bucket.wait_s(25, 0) == 2.0
    assert not bucket.take(1, 1.9)
    assert bucket.take(1, 2.2)


def test_penalties_double_up_to_a_bound_and_are_forgotten() -> None:
    score, now, seen = Score(0), 0.0, []
    for _ in range(10):
        penalty = None
        while penalty is None:
            penalty = score.charge(SCORE_MAX / 4, now)
        seen.append(penalty.seconds)
        assert score.penalty_s(now) == penalty.seconds
        assert score.charge(SCORE_MAX, now) is None  # it is left alone already
        now = penalty.until
        assert score.penalty_s(now) == 0
    assert seen[:4] == [PENALTY_FIRST_S * factor for factor in (1, 2, 4, 8)]
    assert seen[-1] == PENALTY_MAX_S
    now += PENALTY_MAX_S + 1
    penalty = score.charge(2 * SCORE_MAX, now)
    assert penalty is not None
    assert penalty.seconds == PENALTY_FIRST_S


def test_a_fault_now_and_then_is_forgiven() -> None:
    score = Score(0)
    assert all(score.charge(20, 30.0 * number) is None for number in range(100))


async def test_an_outbox_keeps_order_and_drops_to_the_newest_own_block() -> None:
    box = Outbox(lambda: b"newest", frames_max=3)
    assert [box.push(frame) for frame in (b"1", b"2", b"3")] == [True] * 3
    assert await box.next() == b"1"
    assert box.push(b"4")
    assert not box.push(b"5")
    assert box.bytes_held == len(b"newest")
    assert box.push(b"6")
    assert [await box.next(), await box.next()] == [b"newest", b"6"]
    box.close()
    assert await box.next() is None


async def test_an_outbox_is_bounded_by_bytes_even_before_the_first_own_block() -> None:
    box = Outbox(lambda: None, bytes_max=100)
    assert box.push(
        bytes(101)
    )  # one frame always fits: larger ones than the share could never be sent else
    assert not box.push(b"x")
    assert box.bytes_held == 0


@pytest.mark.parametrize(("readers", "mib"), [(1, 8), (4, 8), (20, 3.2), (200, 1)])
def test_readers_share_one_bound(readers: int, mib: float) -> None:
    assert share_of(readers) == int(mib * 1024 * 1024)

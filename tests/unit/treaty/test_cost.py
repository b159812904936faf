"""Prices and what they buy: the treaty's golden numbers; draws by weight; thresholds that move by themselves."""

from collections import Counter

import pytest

from foedus.v1 import content_pb2 as pb
from node.treaty import beacon
from node.treaty.checks import cost
from node.treaty.policy import moves_next, parse_policy
from tests.unit.treaty.court import Court


def court_with_prices(*prices: tuple[str, int, int]) -> Court:
    court = Court()
    for source, state in (("carrier", "US"), ("carrier-cn", "CN")):
        identity = pb.Identity(
            party=source, role=pb.PARTY_ROLE_SOURCE, state=state, trades=[pb.TRADE_TYPE_PRICE]
        )
        court.must(state, identity)
    for source, usd, hours in prices:
        court.must(source, pb.Trade(type=pb.TRADE_TYPE_PRICE, item="H100", count=hours, usd=usd))
    return court


@pytest.mark.measure("M46", "X08")
def test_two_dollars_an_hour() -> None:
    """M46: 10^25 FLOP for some 14 million, GPT-3 for some 440,000 dollars at 2 dollars an H100-hour and 40 %."""
    court = court_with_prices(("carrier", 2, 1), ("carrier-cn", 4, 2))
    book = court.law.book
    assert cost.pflop_per_hour(book, "H100") == 1_424
    assert cost.cost_usd(book, "H100", 10**10) == 14_044_943
    assert cost.cost_usd(book, "H100", 314_000_000) == 441_011


def test_one_states_price_rings_no_bell() -> None:
    court = court_with_prices(("carrier", 0, 1))
    assert cost.cost_usd(court.law.book, "H100", 10**10) is None
    court.must("carrier-cn", pb.Trade(type=pb.TRADE_TYPE_PRICE, item="H100", count=1, usd=9))
    assert cost.cost_usd(court.law.book, "H100", 1_424) == 9  # the lowest alone is nobody's proof


@pytest.mark.measure("M48")
def test_cost_is_monotone_in_the_price() -> None:
    seen = []
    for usd in (1, 2, 3, 10):
        court = court_with_prices(("carrier", usd, 1), ("carrier-cn", usd, 1))
        value = cost.cost_usd(court.law.book, "H100", 10**9)
        assert value is not None
        seen.append(value)
    assert seen == sorted(seen)
    assert len(set(seen)) == 4


def test_a_draw_by_weight_follows_the_weights() -> None:
    weights = {"a": 1, "b": 3, "c": 6}
    first = Counter(
        beacon.draw_weighted(number.to_bytes(32, "big"), "x", weights, 1)[0]
        for number in range(2_000)
    )
    assert abs(first["a"] - 200) < 60
    assert abs(first["b"] - 600) < 90
    whole = beacon.draw_weighted(bytes(32), "x", weights, 9)
    assert sorted(whole) == ["a", "b", "c"]
    assert whole == beacon.draw_weighted(bytes(32), "x", dict(reversed(weights.items())), 9)
    assert beacon.draw_weighted(bytes(32), "x", {"only": 1}, 1) == ("only",)
    assert beacon.draw_weighted(bytes(32), "x", {}, 1) == ()


@pytest.mark.parametrize(
    "form",
    [
        5,
        [[0, 9], [100, 5], [250, 7]],
        {"t0": 50, "v0": 100, "step": -40, "mul_ppm": 1_000_000, "every_s": 86_400, "clamp": [10, 200]},
        {"t0": 0, "v0": 100, "step": 0, "mul_ppm": 1_000_000, "every_s": 86_400, "clamp": [10, 200]},
    ],
)  # fmt: skip
def test_when_a_schedule_moves_next(form: object) -> None:
    """From one announced second to the next the value never changes; and it is found, not stepped over."""
    policy = parse_policy({"ccc_mh": form}, drill=False)
    at, end = 0, 5 * 86_400
    grid = range(50, end, 50)  # every change of these schedules lies on it
    changes = {t for t in grid if policy.value("ccc_mh", t) != policy.value("ccc_mh", t - 50)}
    announced = set()
    while (following := moves_next(policy, "ccc_mh", at)) is not None and following < end:
        assert following > at
        announced.add(following)
        at = following
    assert changes <= announced
    assert len(announced) <= len(changes) + 1

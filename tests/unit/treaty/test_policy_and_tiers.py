"""Policy objects and the tier function, also over the public table of models."""

import csv
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from node.treaty.policy import PARAMS, Generator, InvalidPolicy, parse_policy, safer
from node.treaty.tiers import Tier, gates_at, safer_gates, tier_of_model, tier_of_run
from tests.shared import shared_path

DEFAULT = parse_policy({}, drill=False)


@pytest.mark.measure("M18", "M19", "M20")
def test_the_treatys_numbers_are_the_defaults() -> None:
    wanted = {
        "t1_params": 10**9,
        "t1_flop": 10**7,
        "frontier_flop": 10**9,
        "posttrain_flop": 10**8,
        "horizon_flop": 10**10,
        "param_cap": 10**12,
        "bench_cap": 8_600,
        "horizon_open": 0,
        "lineage_window": 548 * 86_400,
    }
    assert {name: DEFAULT.value(name, 0) for name in wanted} == wanted
    assert all(param.hard_min <= param.default <= param.hard_max for param in PARAMS.values())


@pytest.mark.parametrize(
    "overrides",
    [
        {"frontier": 1},
        {"frontier_flop": -1},
        {"frontier_flop": 1 << 53},
        {"frontier_flop": 1.5},
        {"frontier_flop": True},
        {"frontier_flop": "1"},
        {"frontier_flop": []},
        {"frontier_flop": [[5, 1], [5, 2]]},
        {"frontier_flop": [[1]]},
        {"horizon_open": 2},
        {"bench_cap": 10_001},
        {"reply": 10},  # too short outside a drill
        {"notice": 91 * 86_400},
        {"t1_flop": {"t0": 0, "v0": 1}},
        {"t1_flop": {"t0": 0, "v0": 1, "step": 0, "mul_ppm": 1, "every_s": 86_399, "clamp": [0, 1]}},
        {"t1_flop": {"t0": 0, "v0": 1, "step": 0, "mul_ppm": 1, "every_s": 86_400, "clamp": [2, 1]}},
        {"t1_flop": {"t0": 0, "v0": 1, "step": 0, "mul_ppm": 1, "every_s": 86_400, "clamp": 5}},
        {"t1_flop": {"t0": 0, "v0": 1, "step": "x", "mul_ppm": 1, "every_s": 86_400, "clamp": [0, 1]}},
        {"reply": {"t0": 0, "v0": 9, "step": 0, "mul_ppm": 1, "every_s": 86_400, "clamp": [9, 9]}},
    ],
)  # fmt: skip
def test_a_policy_out_of_bounds_is_refused_by_name(overrides: dict[str, Any]) -> None:
    with pytest.raises(InvalidPolicy, match=next(iter(overrides))):
        parse_policy(overrides, drill=False)


def test_a_drill_may_count_in_seconds() -> None:
    assert parse_policy({"reply": 10}, drill=True).value("reply", 0) == 10
    with pytest.raises(InvalidPolicy):
        parse_policy({"reply": 0}, drill=True)


def test_a_schedule_speaks_from_its_first_second() -> None:
    policy = parse_policy({"frontier_flop": [[100, 7], [200, 5]]}, drill=False)
    assert [policy.value("frontier_flop", at) for at in (99, 100, 199, 200)] == [10**9, 7, 7, 5]


def test_a_generator_stops_at_its_clamp_and_costs_no_time_far_out() -> None:
    falling = Generator(t0=0, v0=100, step=0, mul_ppm=900_000, every_s=86_400, clamp=(50, 100))
    assert [falling.value(day * 86_400) for day in (0, 1, 2, 50)] == [100, 90, 81, 50]
    rising = Generator(t0=0, v0=0, step=1, mul_ppm=1_000_000, every_s=86_400, clamp=(0, 1 << 52))
    assert rising.value((1 << 53) - 1) == 36_525


def test_the_safer_value() -> None:
    assert safer("frontier_flop", 5, 7) == 5
    assert safer("oversight_bp", 5, 7) == 7
    now = gates_at(DEFAULT, 0)
    assert safer_gates(now, now._replace(param_cap=1, t1_flop=10**8)) == now._replace(param_cap=1)


@pytest.mark.parametrize(
    ("known", "tier", "gates"),
    [
        ((999_999_999, None, None), 0, ()),
        ((10**9, None, None), 1, ("params",)),
        ((10**12, None, None), 1, ("params",)),
        ((10**12 + 1, None, None), 3, ("params",)),
        ((None, 10**22 - 1, None), 0, ()),
        ((None, 10**22, None), 1, ("flop",)),
        ((10**9, 10**22, None), 1, ("params", "flop")),
        ((None, 10**24, None), 2, ("flop",)),
        ((None, 10**25, None), 2, ("flop",)),
        ((None, 10**25 + 1, None), 3, ("flop",)),
        ((1, None, 8_600), 0, ()),
        ((1, None, 8_601), 3, ("bench",)),
    ],
)
@pytest.mark.measure("M18", "M19", "M20")
def test_gates_of_models(
    known: tuple[int | None, int | None, int | None], tier: int, gates: tuple[str, ...]
) -> None:
    assert tier_of_model(*known, DEFAULT) == Tier(tier=tier, gates=gates)


def test_a_model_of_which_neither_figure_is_known_is_not_judged() -> None:
    assert tier_of_model(None, None, None, DEFAULT) is None
    assert tier_of_model(None, None, 8_600, DEFAULT) is None
    assert tier_of_model(None, None, 8_601, DEFAULT) == Tier(tier=3, gates=("bench",))


@pytest.mark.measure("M15", "M18", "M19", "X15")
def test_tiers_of_runs() -> None:
    def tier(**changes: Any) -> Tier:
        run: dict[str, Any] = {
            "params_total": 1,
            "own_pflop": 1,
            "lineage_pflop": 1,
            "has_parents": False,
            "forecast_bp": 0,
        }
        return tier_of_run(gates_at(DEFAULT, 0), **run | changes)

    assert tier() == Tier(tier=0, gates=())
    assert tier(lineage_pflop=10**9) == Tier(tier=2, gates=("flop",))
    assert tier(own_pflop=10**8, has_parents=True) == Tier(tier=2, gates=("posttrain",))
    assert tier(own_pflop=10**8) == Tier(tier=1, gates=("flop",))
    assert tier(lineage_pflop=10**10 + 1, forecast_bp=8_601).gates == ("flop", "bench")


def test_the_public_table_of_models() -> None:
    """Epoch AI's table (estimates): counts per tier as the treaty's pages give them."""
    path = shared_path("data/epoch_models/models.csv")
    totals: Counter[int | None] = Counter()
    with path.open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            parameters, flop = (
                int(Decimal(row[column])) if row[column] else None
                for column in ("Parameters", "Training compute (FLOP)")
            )
            tier = tier_of_model(parameters, flop, None, DEFAULT)
            totals[tier.tier if tier else None] += 1
    assert totals == {0: 417, 1: 321, 2: 46, 3: 16, None: 229}


@pytest.mark.parametrize("mul_ppm", [999_999, 997_157, 1_000_001])
def test_a_generator_is_exact_at_the_largest_numbers(mul_ppm: int) -> None:
    """I13: by division with remainder in parts of six digits; a product of 73 bits is no float's."""
    most = (1 << 53) - 1
    form = Generator(t0=0, v0=most - 7, step=0, mul_ppm=mul_ppm, every_s=86_400, clamp=(0, most))
    value = most - 7
    for day in range(1, 40):
        whole, rest = divmod(value, 1_000_000)
        value = min(whole * mul_ppm + rest * mul_ppm // 1_000_000, most)
        assert form.value(day * 86_400) == value

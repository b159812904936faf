"""States at their capitals: the links against measured pings, the schedule against cores, one core against its committee."""

import csv
from pathlib import Path
from statistics import median, quantiles

import pytest

from consensus.pace import PUSH_PACE
from consensus.simulate import fed, wan, wan_report
from consensus.simulate.capitals import (
    capitals,
    distance_km,
    four_hops_ms,
    matrix_of,
    one_way_ms,
    some,
)
from consensus.types import Parameters

PINGS = (
    Path(__file__).resolve().parents[3] / "shared" / "data" / "latency_wondernetwork_2018"
)  # measured data beside the checkout; they are not the project's to publish


def test_there_are_195_states_and_some_are_where_they_are() -> None:
    places = {each.state: (each.latitude, each.longitude) for each in capitals()}
    assert len(places) == 195
    assert all(-90 <= lat <= 90 and -180 <= lon <= 180 for lat, lon in places.values())
    assert len(set(places.values())) == 195
    assert distance_km(places["FR"], places["GB"]) == pytest.approx(344, abs=10)
    assert distance_km(places["US"], places["CN"]) == pytest.approx(11_150, abs=100)
    assert distance_km(places["NZ"], places["ES"]) == pytest.approx(19_850, abs=150)


def test_the_fewer_are_among_the_more() -> None:
    assert set(some(20)) < set(some(50)) < set(some(195))


def test_links_are_like_measured_pings() -> None:
    if not PINGS.exists():
        pytest.skip(f"{PINGS}: not here")
    with (PINGS / "cities.csv").open(encoding="utf-8", newline="") as file:
        cities = {
            row["city"]: (float(row["latitude"]), float(row["longitude"]))
            for row in csv.DictReader(file)
        }
    ratios: list[float] = []
    with (PINGS / "pings.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            a, b = cities[row["src_city"]], cities[row["dst_city"]]
            if distance_km(a, b) > 2_000:
                ratios.append(float(row["rtt_avg_ms"]) / (2 * one_way_ms(a, b)))
    assert len(ratios) > 10_000
    assert median(ratios) == pytest.approx(1.0, abs=0.06)
    tenths = quantiles(ratios, n=10)
    assert tenths[0] > 0.7
    assert tenths[8] < 2.1


@pytest.mark.parametrize("settled", [False, True], ids=["just crashed", "known silent"])
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("pace", [PUSH_PACE, Parameters()], ids=["prompt", "250 ms"])
def test_the_schedule_is_that_of_cores(pace: Parameters, count: int, settled: bool) -> None:
    matrix = matrix_of(some(7))
    crashed = wan.crashed_of(7, count)
    committee = wan.WanCluster(matrix, crashed, pace, rounds=1).committee
    schedule = wan.scheduled(matrix, crashed, pace, committee, rounds=8)
    scheduled = schedule.measure(settled=settled and count > 0)
    real = wan.WanCluster(matrix, crashed, pace, rounds=8, first=schedule.first).measure()
    assert len(scheduled) == (7 - count) * 8
    # Cores take whole milliseconds a hop. And rounds that wait for each other settle into a beat, long and short in turn,
    # which depends on the first one: equal in the mean, not in what is slowest.
    for percent, apart in ((50, 0.03), (90, 0.1)):
        at = percent * len(real) // 100
        assert scheduled[percent * len(scheduled) // 100] == pytest.approx(real[at], rel=apart)


def test_no_order_is_faster_than_four_hops() -> None:
    matrix = matrix_of(some(10))
    parameters = PUSH_PACE
    committee = wan.WanCluster(matrix, (), parameters, 1).committee
    latencies = wan.scheduled(matrix, (), parameters, committee, 6).measure()
    assert median(latencies) > four_hops_ms(matrix, range(10), 7) * 0.9
    # A leader's own block takes three.
    assert min(latencies) > four_hops_ms(matrix, range(10), 7) * 0.6


def test_the_fed_core_commits_and_pays_for_each_member() -> None:
    small = fed.cost_of(7, range(7), PUSH_PACE, rounds=4)
    large = fed.cost_of(28, range(28), PUSH_PACE, rounds=4)
    assert small.commits >= 4
    assert large.commits >= 4
    assert large.bytes_per_round > 4 * small.bytes_per_round > 0
    assert large.cpu_ms_per_round > small.cpu_ms_per_round > 0


def test_the_fed_core_keeps_up_where_leaders_are_crashed() -> None:
    crashed = wan.crashed_of(10, 3)
    alive = [index for index in range(10) if index not in crashed]
    found = fed.cost_of(10, alive, PUSH_PACE, rounds=20)
    assert found.commits >= 5
    assert found.decide_slot_ms > 0


def test_the_document_has_its_keys() -> None:
    found = wan_report.examine([7], rounds=4, cores_up_to=0)
    rows = found["sizes"]["7"]
    assert [row["crashed"] for row in rows.values()] == [0, 1, 2]
    for row in rows.values():
        assert row.keys() >= {
            *("p50_ms", "p99_ms", "p50_over_floor", "decide_slot_ms", "bytes_per_round"),
            *("cpu_ms_per_round", "memory_mib"),
        }
    assert "States at their capitals" in wan_report.as_text(found)

"""Who is heavy, and what a busy node allows it in a block (decision 0180)."""

from itertools import pairwise

import pytest

from node.ledger.shares import (
    ALLOWANCE_FIRST,
    ALLOWANCE_MAX,
    ALLOWANCE_MIN,
    CALM_BLOCKS,
    WINDOW_COMMITS,
    WINDOW_ENTRIES_MIN,
    Shares,
    units_of,
)


def shares(states: int = 4, *commits: dict[str, int]) -> Shares:
    made = Shares(lambda: states)
    for entries in commits:
        made.ordered(entries)
    return made


@pytest.mark.parametrize(
    ("states", "brought", "heavy"),
    [
        (4, {"KE": 300, "US": 10}, "KE"),
        (4, {"KE": 100, "US": 100, "CN": 100, "GB": 100}, ""),  # full load, evenly
        (4, {"KE": 200, "US": 200}, ""),  # half each is twice an even share, not more
        (20, {"KE": 200, "US": 200, "CN": 9}, "KE US"),
        (4, {"KE": 5_000}, ""),  # nobody else is there
        (4, {"KE": WINDOW_ENTRIES_MIN - 2, "US": 1}, ""),  # next to nothing
        (2, {"KE": 5_000, "US": 1}, ""),
        (1, {"KE": 5_000, "op": 1}, ""),
    ],
)
def test_heavy_is_more_than_two_even_shares_while_others_bring_something(
    states: int, brought: dict[str, int], heavy: str
) -> None:
    found = shares(states, brought)
    assert [state for state in brought if found.is_heavy(state)] == heavy.split()


def test_what_is_about_to_be_proposed_counts_and_old_commits_do_not() -> None:
    found = shares(4, {"US": 100})
    assert not found.is_heavy("KE", 99, 99)
    assert found.is_heavy("KE", 101, 101)
    found.ordered({"KE": 500})
    assert found.is_heavy("KE")
    busy = shares(4, {"US": 300, "CN": 300, "GB": 300, "KE": 300})
    assert not busy.is_heavy(
        "KE", 5_000, 5_000
    )  # of many, each node sees its own before the others'
    for _ in range(WINDOW_COMMITS):
        found.ordered({"US": 3, "CN": 3, "GB": 3, "BR": 3})
    assert not found.is_heavy("KE")
    assert not found.is_heavy("US")
    assert sum(found._lately.values()) == found._total == 12 * WINDOW_COMMITS
    assert "KE" not in found._lately  # nobody is remembered for ever


def test_the_allowance_falls_while_busy_to_a_floor_and_comes_back_slowly_near_where_it_was() -> (
    None
):
    found = shares()
    assert found.next_block(is_busy=False) == ALLOWANCE_FIRST  # not used up: no reason to grow
    found.used_up()
    assert found.next_block(is_busy=False) == ALLOWANCE_FIRST * 9 // 8
    busy_at = found.allowance
    assert found.next_block(is_busy=True) == busy_at * 3 // 4
    for _ in range(50):
        found.next_block(is_busy=True)
    assert found.allowance == ALLOWANCE_MIN
    grown = []
    for _ in range(60):
        found.used_up()
        grown.append(found.next_block(is_busy=False))
    steps = [after - before for before, after in pairwise(grown)]
    near = [step for step, before in zip(steps, grown, strict=False) if before >= busy_at * 3 // 4]
    assert near
    assert set(near) == {1}
    assert max(steps) > 1  # far below it goes faster
    for _ in range(CALM_BLOCKS + 150):
        found.used_up()
        found.next_block(is_busy=False)
    assert found.allowance == ALLOWANCE_MAX  # what was long ago binds nobody


def test_an_entry_costs_by_itself_and_by_its_half_kibs() -> None:
    assert [units_of(1, size) for size in (0, 300, 512, 65_535)] == [1, 1, 2, 128]
    assert units_of(10, 3_000) == 15

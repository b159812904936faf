"""How many chips to look at: the published tables, and the naive formula."""

from fractions import Fraction
from math import comb, exp, log

import pytest

from node.treaty.sampling import EXACT_ITEMS_MAX, sample_size, segments, yearly_samples

SIGNIFICANT = 10**9  # PFLOP


def naive(items: int, defects: int, miss: Fraction) -> int:
    """By definition: the first n whose chance to see no defect is small enough."""
    n = 0
    while Fraction(comb(items - defects, n), comb(items, n)) > miss:
        n += 1
    return n


@pytest.mark.parametrize(
    ("items", "defects", "wanted"),
    [(100, 1, 90), (100, 5, 37), (100, 10, 20), (1_000, 10, 205), (1_000, 50, 44), (10_000, 100, 227)],
)  # fmt: skip
@pytest.mark.measure("M24")
def test_the_published_plans(items: int, defects: int, wanted: int) -> None:
    assert sample_size(items, defects) == wanted


def test_plans_are_those_of_the_definition() -> None:
    for items in (1, 2, 3, 10, 57, 120):
        for defects in range(1, items + 1, 1 + items // 9):
            for miss in (Fraction(1, 10), Fraction(1, 100), Fraction(2, 3)):
                plan = sample_size(items, defects, miss.numerator, miss.denominator)
                assert plan == naive(items, defects, miss), (items, defects, miss)


def test_above_the_exact_range_plans_are_never_smaller_than_with_replacement() -> None:
    """(1 - d/N)^n <= 1/10 needs n = ln(1/10) / ln(1 - d/N); rounding up may add one."""
    for items in (EXACT_ITEMS_MAX + 1, 10**6, 10**7, 10**9):
        plan = sample_size(items, 80)
        needed = log(0.1) / log(1 - 80 / items)
        assert needed <= plan <= needed + 2, items


@pytest.mark.measure("M24")
@pytest.mark.parametrize(
    ("pflop", "published"),
    [
        (314_000_000, (242, 2_433, 24_336, 243_371, None)),
        (SIGNIFICANT, (75, 763, 7_641, 76_418, 764_189)),
        (2_560_000_000, (29, 297, 2_984, 29_850, 298_511)),
        (10 * SIGNIFICANT, (6, 75, 763, 7_641, 76_418)),
    ],
)
def test_yearly_samples_reproduce_the_table(pflop: int, published: tuple[int | None, ...]) -> None:
    """The table cuts off what this plan rounds up."""
    for exponent, wanted in enumerate(published, start=3):
        seen = yearly_samples(run_pflop=pflop, chips=10**exponent, pflop_per_chip_day=86_400)
        assert wanted is None or wanted <= seen <= wanted + 1


def test_yearly_samples_agree_with_floats() -> None:
    for chips in (10**3, 10**5, 10**7):
        for pflop in (10**8, 10**9, 10**10):
            share = pflop / (86_400 * 365 * chips) * (1 - exp(-3))
            wanted = log(0.1) / log(1 - share)
            seen = yearly_samples(run_pflop=pflop, chips=chips, pflop_per_chip_day=86_400)
            assert wanted <= seen < wanted + 1.001
    assert yearly_samples(run_pflop=10**15, chips=10, pflop_per_chip_day=86_400) == 1


def test_segments_of_a_run() -> None:
    assert (
        segments(1_000, 50) == 44
    )  # a run in a thousand parts, one in twenty falsified: 45 give 0.90

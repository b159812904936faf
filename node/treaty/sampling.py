"""How many to look at: sampling plans in integers, the same on every node (CHECKS 5).

    sample_size     chips at a site: the fewest that miss `defects` dummies with no more than the allowed chance
    yearly_samples  chips of the world in a year that catch one training of a given size (Shavit 2023, equation 1)
    segments        parts of a run to compute again: the same arithmetic as of chips

No float: binomials exactly, up to 10^5 items; above, sampling with replacement, which never asks for fewer; logarithms as
integers in units of 2^-80, good to far more than the 2^-40 that CHECKS 5 asks for.
"""

from typing import Final

EXACT_ITEMS_MAX: Final = 100_000
_BITS: Final = 80
_ONE: Final = 1 << _BITS


def sample_size(items: int, defects: int, miss_num: int = 1, miss_den: int = 10) -> int:
    """The smallest n that finds at least one of `defects` among `items`, but for a chance of miss_num / miss_den.

    1 <= defects <= items, 0 < miss_num < miss_den. Cost: some 20 products of at most a thousand factors.
    """
    assert 1 <= defects <= items, f"{defects} defects among {items} items"
    assert 0 < miss_num < miss_den, f"a chance of {miss_num}/{miss_den}"
    misses = _misses_exactly if items <= EXACT_ITEMS_MAX else _misses_with_replacement
    low, high = 0, items - defects + 1  # so many always find one
    while low < high:
        middle = (low + high) // 2
        if misses(items, defects, middle, miss_num, miss_den):
            high = middle
        else:
            low = middle + 1
    return low


def _misses_exactly(items: int, defects: int, n: int, miss_num: int, miss_den: int) -> bool:
    """C(N-d, n) / C(N, n) <= miss, by the shorter of its two products: over n, or over d with n and d exchanged."""
    one, other = sorted((defects, n))
    above = below = 1
    for step in range(one):
        above *= items - other - step
        below *= items - step
        if above * miss_den <= below * miss_num:
            return True  # each further factor is at most 1
    return above * miss_den <= below * miss_num


def _misses_with_replacement(
    items: int, defects: int, n: int, miss_num: int, miss_den: int
) -> bool:
    """(1 - d/N)^n <= miss, the power rounded up at each squaring: n is never too small."""
    base, power = -(-(items - defects) * _ONE // items), _ONE
    while n:
        if n & 1:
            power = (power * base + _ONE - 1) >> _BITS
        base = (base * base + _ONE - 1) >> _BITS
        n >>= 1
    return power * miss_den <= miss_num * _ONE


def segments(total: int, falsified: int, miss_num: int = 1, miss_den: int = 10) -> int:
    """Parts of a run to compute again, so that `falsified` of `total` are found."""
    return sample_size(total, falsified, miss_num, miss_den)


def yearly_samples(
    *,
    run_pflop: int,
    chips: int,
    pflop_per_chip_day: int,
    snapshots_per_day_milli: int = 100,
    monitoring_days: int = 30,
    detect_bp: int = 9_000,
) -> int:
    """Chips to inspect in a year of 365 days so that a training of `run_pflop` done in it is found, rounded up.

    s = ln(1 - p) / ln(1 - H / (a T C) * (1 - e^(-f Tm))): H work, a work of a chip in a day, T 365 days, C chips, f snapshots
    of a chip a day, Tm days between collections, p the wanted chance. A run larger than all chips can do in a year needs one.
    """
    kept = _ONE - _exp_negative(snapshots_per_day_milli * monitoring_days, 1_000)
    share = run_pflop * kept // (pflop_per_chip_day * 365 * chips)
    if share >= _ONE:
        return 1
    wanted = _minus_ln((10_000 - detect_bp) * _ONE // 10_000)
    each = _minus_ln(_ONE - share)
    return -(-wanted // max(each, 1))


def _exp_negative(num: int, den: int) -> int:
    """e^(-num/den) in units of 2^-80, by halving the argument below 1 and squaring the result again."""
    halvings = 0
    while num >= den << halvings:
        halvings += 1
    x = (num * _ONE // den) >> halvings
    term, total, n = _ONE, _ONE, 0
    while term:
        n += 1
        term = term * x // (n * _ONE)
        total += -term if n & 1 else term
    for _ in range(halvings):
        total = total * total >> _BITS
    return total


def _minus_ln(x: int) -> int:
    """-ln(x / 2^80) for 0 < x <= 2^80, in units of 2^-80: ln m = 2 artanh((m - 1) / (m + 1)) after x = m 2^-e."""
    exponent = 0
    while x < _ONE >> 1:
        x <<= 1
        exponent += 1
    return 2 * _artanh(_ONE - x, _ONE + x) + exponent * 2 * _artanh(1, 3)  # ln 2 = 2 artanh(1/3)


def _artanh(num: int, den: int) -> int:
    z = num * _ONE // den
    square = z * z >> _BITS
    term, total, n = z, z, 1
    while term:
        term = term * square >> _BITS
        n += 2
        total += term // n
    return total

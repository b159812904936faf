"""Limits on chips (M54 to M56): off by default, in force while `hardware_module` is on.

A type may not be approved above the caps on rate, memory, link, or rate per watt; an unstated figure counts as above a cap
that somebody set. No more than `production_cap` mH are made in a year of 365 days since genesis. Whatever the module: a
paradigm other than digital is approved only once a factor of its own was adopted, as an APPOINT of the standard
`equivalence-<paradigm>`; else nobody could say how many H100 such a chip is.
"""

from typing import Final

from node.treaty.book import Book, Refused
from node.treaty.chips import DIGITAL
from node.treaty.codes import Code
from node.treaty.policy import DAY, PARAMS
from node.treaty.rows.clock import Counter
from node.treaty.rows.sites import Spec

YEAR_S: Final = 365 * DAY


def require_approvable(book: Book, chip_type: str) -> None:
    """Refuses CRITERIA: no factor for its paradigm; HARD_LIMIT: above a cap."""
    spec = book.state.specs[chip_type]
    factor = f"standard/equivalence-{spec.paradigm}"
    if spec.paradigm != DIGITAL and factor not in book.state.appointments:
        raise Refused(Code.CRITERIA, f"{chip_type} is {spec.paradigm}, and no {factor} is adopted")
    if not book.value("hardware_module"):
        return
    for cap, figure in _figures(spec):
        limit = book.value(cap)
        is_set = limit != PARAMS[cap].default
        if is_set and not 0 < figure <= limit:
            raise Refused(Code.HARD_LIMIT, f"{chip_type}: {figure or 'unstated'}, {cap} is {limit}")


def _figures(spec: Spec) -> tuple[tuple[str, int], ...]:
    per_watt = -(-spec.peak_any // spec.tdp_w) if spec.tdp_w else 0
    return (
        ("chip_peak_cap", max(spec.peak_any, spec.peak_bf16)),
        ("chip_mem_cap", spec.mem_gb),
        ("chip_link_cap", spec.link_gbps),
        ("chip_per_w_cap", per_watt),
    )


def require_within_production(book: Book, mh: int) -> None:
    """Refuses QUOTA: so much would be made in this year that the cap is passed. Else it counts."""
    year = f"made:{(book.now - book.genesis.time_s) // YEAR_S}"
    row = book.state.counters.get(year)
    made = (row.value if row is not None else 0) + mh
    if book.value("hardware_module") and made > book.value("production_cap"):
        raise Refused(
            Code.QUOTA, f"{made} mH in this year, {book.value('production_cap')} are allowed"
        )
    book.state.counters.put(year, Counter(made))

"""C25: what a run was said to become able to do, against what evaluators measure (M30; record 0244; law 3).

    measured - forecast > forecast_tol + 3 sigma     too good: hidden work, or an algorithm that nobody told of
    forecast - measured > forecast_tol + 3 sigma     too bad: it may hide what it can do

On the version of the benchmark that the plan names (the treaty's own, if it names none), after the run's end; sigma is the
standard error of the score, so sigma^2 = score * (10000 - score) / items in bp^2. Severity 2. Scenarios have it only where their
policy names `forecast_tol`.
"""

from node.treaty.benchmarks import SINCE_LAW, TREATYS_OWN
from node.treaty.bodies import BASIS_POINTS
from node.treaty.book import Book
from node.treaty.cases import raise_finding
from node.treaty.rows import NEVER


def evaluated(
    book: Book, run: str, entry_hash: bytes, bench_ver: int, items: int, score_bp: int
) -> None:
    """An evaluator measured the run's model."""
    if book.law < SINCE_LAW or not book.draws_for("forecast_tol"):
        return
    row, plan = book.state.benchmarks.get(run), book.state.plans[run]
    if row is None or not row.has_forecast or book.state.lives[run].ended_at == NEVER:
        return
    if bench_ver != (row.forecast or TREATYS_OWN):
        return
    apart = abs(score_bp - plan.forecast_bp) - book.value("forecast_tol")
    if apart <= 0 or apart**2 * items <= 9 * score_bp * (BASIS_POINTS - score_bp):
        return
    raise_finding(
        book,
        "C25",
        plan.state,
        run,
        severity=2,
        size=apart,
        numbers=(("forecast_bp", plan.forecast_bp), ("items", items), ("measured_bp", score_bp)),
        inputs=(plan.entry, entry_hash),
    )

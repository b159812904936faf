"""Evaluations as rows: who said what of a model last, and whether that is above the cap (LAW K17, K40, K47)."""

from typing import NamedTuple

from node.treaty.book import Book
from node.treaty.codec import Value
from node.treaty.rows.runs import Evaluations


class Evaluation(NamedTuple):
    """One evaluator's last word on a model."""

    evaluator: str
    state: str  # the evaluator's
    entry: bytes
    bench_ver: int
    items: int
    score_bp: int
    capabilities: tuple[tuple[str, str], ...]  # sorted (name, present | absent | unknown)
    at: int


def evaluations_of(book: Book, model: str) -> list[Evaluation]:
    """Of each evaluator the last, by evaluator. Those before the run's `end` are among them (see `at`)."""
    row = book.state.evaluations.get(model)
    return [Evaluation(*one) for one in row.rows] if row is not None else []  # type: ignore[arg-type]


def keep(book: Book, model: str, new: Evaluation) -> None:
    """Replace what this evaluator said before."""
    others = [one for one in evaluations_of(book, model) if one.evaluator != new.evaluator]
    rows: tuple[tuple[Value, ...], ...] = tuple(sorted([*others, new]))
    book.state.evaluations.put(model, Evaluations(rows))


def is_over_cap(score_bp: int, items: int, cap_bp: int) -> bool:
    """Above the cap, or so near below it that three standard errors of the score reach it."""
    margin = (cap_bp - score_bp) ** 2 * items
    return score_bp > cap_bp or 9 * score_bp * (10_000 - score_bp) > margin

"""Whom a run learns from beside its parents: models whose output it is trained on (M19, M20; record 0242; law 3).

A teacher's lineage counts in the pupil's by the share `teacher_bp` of the second at which it became known; along a way of
several steps the least share counts, over several ways the greatest. A teacher is known by the plan, or by a later report of the
developer, by a site that reports work of a model for a run, or by inspectors of two states: the plan need not name it.
"""

from typing import Final, NamedTuple

from node.treaty.book import Book
from node.treaty.codec import Value
from node.treaty.rows.runs import Teachers

BP: Final = 10_000
TEACHERS_MAX: Final = 64  # of one run


class Teacher(NamedTuple):
    """One way from which a run learns."""

    run: str  # that trained the teacher
    share_bp: int
    entry: bytes  # the first that says so


def teachers_of(book: Book, run: str) -> list[Teacher]:
    """The teachers known of a run, by run."""
    row = book.state.teachers.get(run)
    return [Teacher(*one) for one in row.rows] if row is not None else []  # type: ignore[arg-type] # a row holds plain tuples


def add(book: Book, run: str, new: list[Teacher]) -> None:
    """These teachers became known."""
    rows: tuple[tuple[Value, ...], ...] = tuple(sorted([*teachers_of(book, run), *new]))
    book.state.teachers.put(run, Teachers(rows))
    for teacher in new:
        book.children.setdefault(teacher.run, []).append(run)


def reindex(book: Book) -> None:
    """After a restart: pupils are descendants."""
    for run in book.state.teachers:
        for teacher in teachers_of(book, run):
            book.children.setdefault(teacher.run, []).append(run)


def shares(book: Book, run: str) -> dict[str, int]:
    """All runs that this one descends or learns from, with the share of each one's work in bp."""
    best = {run: BP}
    ahead = [run]
    while ahead:
        name = ahead.pop()
        steps = [(parent, best[name]) for parent in book.state.plans[name].parents]
        steps += [(one.run, min(best[name], one.share_bp)) for one in teachers_of(book, name)]
        for other, share in steps:
            if share > best.get(other, 0):
                best[other] = share
                ahead.append(other)
    del best[run]
    return best


def lineage_of(book: Book, run: str) -> int:
    """PFLOP: the run's own work and its share of everybody's that it descends or learns from."""
    lives = book.state.lives
    learnt = sum(lives[other].own * share // BP for other, share in shares(book, run).items())
    return lives[run].own + learnt

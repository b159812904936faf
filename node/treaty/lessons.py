"""A run is found to learn from a model: its lineage grows, and what its plan left out is a finding (C14; record 0242)."""

from collections.abc import Iterable

from node.treaty import runs, teachers
from node.treaty.book import Book, Refused
from node.treaty.checks.budget import over_budget
from node.treaty.codes import Code
from node.treaty.lives import TIER_WITH_OVERSIGHT
from node.treaty.rows import NEVER
from node.treaty.teachers import Teacher


def known_teachers(book: Book, author: str, models: Iterable[str]) -> list[str]:
    """The runs that trained these models, sorted. Refuses UNKNOWN_REF."""
    found = set()
    for name in models:
        model = book.qualified(author, name)
        row = book.state.models.get(model)
        if row is None:
            raise Refused(Code.UNKNOWN_REF, f"no model {model}")
        found.add(row.run)
    return sorted(found)


def require_room(book: Book, run: str, taught_by: list[str]) -> None:
    """Refuses HARD_LIMIT: nobody makes a run's lineage endless."""
    known = {one.run for one in teachers.teachers_of(book, run)}
    if len(known | set(taught_by)) > teachers.TEACHERS_MAX:
        raise Refused(Code.HARD_LIMIT, f"{run} has {teachers.TEACHERS_MAX} teachers already")


def learn(book: Book, run: str, taught_by: list[str], entry_hash: bytes) -> None:
    """It became known after the plan that `run` learns from the models of these runs.

    The work of a teacher that was not approved with the plan makes the plan another one: severity 3 (CHECKS 4, C14), from Tier 1
    on, and 4 where the tier rises above the approved one.
    """
    share_bp = book.value("teacher_bp")
    before = teachers.shares(book, run)
    known = {one.run for one in teachers.teachers_of(book, run)}
    new = [
        Teacher(one, share_bp, entry_hash)
        for one in taught_by
        if one != run and one not in known and before.get(one, 0) < share_bp
    ]
    if not new:
        return
    teachers.add(book, run, new)
    runs.weigh_lineages(book, run)
    plan, life = book.state.plans[run], book.state.lives[run]
    if life.started_at != NEVER and (life.approved or life.tier >= TIER_WITH_OVERSIGHT):
        numbers = (("teachers", len(known) + len(new)), ("teachers_unplanned", len(new)))
        over_budget(book, run, plan, life, 3, numbers, (entry_hash,))

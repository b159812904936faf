"""C14: a run does more than its plan allows, works while it is halted, or owes reports of its progress (LAW K24, K38, K39)."""

from typing import Final

from node.treaty.book import Book
from node.treaty.cases import raise_finding
from node.treaty.lives import (
    HALT_SEVERITY,
    TIER_WITH_OVERSIGHT,
    done_of,
    halt,
    progress_deadline,
    watch_progress,
)
from node.treaty.rows.runs import Life, Plan

BUDGET_TOLERANCE_BP: Final = 200  # 2 % above the plan


def exceeds(plan: Plan, done: int) -> bool:
    """Whether so many PFLOP are more than the plan allows."""
    return done * 10_000 > plan.pflop_plan * (10_000 + BUDGET_TOLERANCE_BP)


def beyond_leave(book: Book, run: str, plan: Plan, before: int, entry_hash: bytes) -> None:
    """More than the plan, or work of a halted run; `before` is what it had done before this entry."""
    life = book.state.lives[run]
    done = done_of(life)
    numbers = (("done_pflop", done), ("plan_pflop", plan.pflop_plan))
    if exceeds(plan, done):
        over_budget(book, run, plan, life, 3, numbers, (entry_hash,))
    if life.status == "HALTED":
        if life.halted_done < 0:  # K39: the first report after a halt may still bring its past
            book.state.lives.put(run, life._replace(halted_done=done))
        elif done > before:
            over_budget(book, run, plan, life, 4, numbers, (entry_hash,))


def over_budget(
    book: Book,
    run: str,
    plan: Plan,
    life: Life,
    severity: int,
    numbers: tuple[tuple[str, int], ...],
    inputs: tuple[bytes, ...],
) -> None:
    """C14: one finding per run, whose severity may rise (LAW K24)."""
    finding = raise_finding(
        book,
        "C14",
        plan.state,
        run,
        severity=severity,
        size=done_of(life),
        numbers=numbers,
        inputs=(plan.entry, *inputs),
        event=book.law > 2 and severity == HALT_SEVERITY,  # work or a tier rose (record 0232)
    )
    if finding and book.state.cases[finding].severity == HALT_SEVERITY == severity:
        halt(book, finding, [run], one_run=True)


def progress_due(book: Book, run: str) -> None:
    """The clock looks at a run that owes progress reports (C14)."""
    life = book.state.lives[run]
    if life.status != "RUNNING" or life.tier < TIER_WITH_OVERSIGHT:
        return
    if book.now <= progress_deadline(book, life):
        watch_progress(book, run, life)
        return
    numbers = (("last_report_at", life.last_at), ("progress_s", book.value("progress")))
    over_budget(book, run, book.state.plans[run], life, 3, numbers, ())

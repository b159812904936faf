"""The status of a run: entering one, the watch over its progress, and halts (MODEL 9, LAW K8, K16, K18).

A Finding of severity 4 that names started runs halts each of them at once, by a motion of its own that opens by itself.
Nobody has to act for it: it stays unless two thirds of the other states lift it, or set its Finding aside. A run that is let
go runs on only if its approval still holds.
"""

from collections.abc import Iterable
from typing import Any, Final

from node.treaty import benchmarks, outage
from node.treaty.ballots import open_motion
from node.treaty.book import RANK_DUTY, Book
from node.treaty.derived import RunStep
from node.treaty.rows import NEVER
from node.treaty.rows.runs import Life, Named, Plan
from node.treaty.tiers import Gates, gates_at, safer_gates

TIER_WITH_OVERSIGHT: Final = 2  # progress reports and oversight compute are duties from here on
HALT_SEVERITY: Final = 4


def done_of(life: Life) -> int:
    """PFLOP done so far: what the operator said or what its sites reported, whichever is more."""
    reported, used = life.reported, life.used
    return max(reported, used)  # a call of max takes longer than the rest


def enter(book: Book, run: str, life: Life) -> None:
    """A run enters a status: kept and recorded."""
    book.state.lives.put(run, life)
    emit_step(book, run, life)


def emit_step(book: Book, run: str, life: Life) -> None:
    book.emit(
        RunStep(
            run=run,
            status=life.status,
            tier=life.tier,
            lineage_pflop=life.lineage,
            gates=life.gates,
            at=book.now,
            **_ground_of(book, run, life),
        )
    )


def _ground_of(book: Book, run: str, life: Life) -> dict[str, Any]:
    """What a step of a run says of itself, from law 2 on."""
    if book.is_first_law:
        return {}
    plan = book.state.plans[run]
    gates = gates_for(book, plan, life)
    return {
        "plan": plan.entry,
        "own_pflop": life.own,
        "limits": (*zip(Gates._fields, gates, strict=True), *benchmarks.own_limits(book, run)),
        "motion": life.motion,
    }


def gates_for(book: Book, plan: Plan, life: Life) -> Gates:
    """The thresholds that bind a run: frozen at its start, before it the safer of the plan's and the present ones (LAW K36)."""
    if life.limits:
        return Gates._make(life.limits)
    return safer_gates(Gates._make(plan.gates), gates_at(book.policy, book.now))


def watch_progress(book: Book, run: str, life: Life) -> None:
    """Have the clock look when the next report is due (C14)."""
    if life.tier >= TIER_WITH_OVERSIGHT:
        book.schedule(progress_deadline(book, life) + 1, RANK_DUTY, "progress", run)


def progress_deadline(book: Book, life: Life) -> int:
    """The last second at which the next report of a running run is in time."""
    return outage.later(book, life.last_at, life.last_at + book.value("progress"))


def halt(book: Book, finding: str, runs: Iterable[str], *, one_run: bool) -> None:
    """Halt the runs that a Finding of severity 4 names, as far as they are started and not ended.

    `one_run`: the Finding is about a single run, and the motion's id needs no run behind it.
    """
    subject = book.state.cases[finding].subject
    for run in sorted(runs):
        _name(book, finding, run)
        life = book.state.lives[run]
        motion = f"HALT:{finding}" if one_run else f"HALT:{finding}:{run}"
        known = motion in book.state.motions or motion in book.state.closed
        if known or life.started_at == NEVER or life.ended_at != NEVER:
            continue
        open_motion(
            book,
            motion,
            "HALT",
            about=run,
            subjects=(subject,),
            rule="SUP",
            default="stays",
            closes_after_s=book.value("halt_close"),
        )
        life = life._replace(halts=tuple(sorted((*life.halts, motion))))
        if life.status == "RUNNING":
            enter(book, run, life._replace(status="HALTED", halted_done=-1))
        else:
            book.state.lives.put(run, life)


def hold(book: Book, run: str, motion: str) -> None:
    """A filed HALT in effect holds this run, whatever its status: one not yet started may not start."""
    life = book.state.lives[run]
    life = life._replace(halts=tuple(sorted((*life.halts, motion))))
    if life.status == "RUNNING":
        enter(book, run, life._replace(status="HALTED", halted_done=-1))
    elif life.status == "DEPLOYED" and book.state.halts[motion].run == run:
        enter(book, run, life._replace(status="WITHDRAWN"))  # a halt of its site ends no deployment
    else:
        book.state.lives.put(run, life)


def halts_at(book: Book, sites: Iterable[str]) -> tuple[str, ...]:
    """The filed HALTs in effect on these facilities, sorted: they hold a run planned there as well."""
    return tuple(
        sorted(motion for motion, row in book.state.halts.items() if row.facility in set(sites))
    )


def _name(book: Book, finding: str, run: str) -> None:
    """Remember that a case of severity 4 names a run: it bars deployment and loosening (LAW K39, K50)."""
    row = book.state.named.get(run)
    if not book.is_first_law and (row is None or finding not in row.cases):
        cases = tuple(sorted((*(row.cases if row else ()), finding)))
        book.state.named.put(run, Named(cases))


def lift(book: Book, run: str, motion: str) -> None:
    """One halt ends; without another the run goes on, if its approval holds (LAW K18)."""
    life = book.state.lives[run]
    if motion not in life.halts:
        return
    life = life._replace(halts=tuple(other for other in life.halts if other != motion))
    if life.status == "HALTED" and not life.halts and life.approved >= life.tier:
        life = life._replace(status="RUNNING", last_at=book.now)  # no report was owed meanwhile
        enter(book, run, life)
        watch_progress(book, run, life)
    elif life.status == "WITHDRAWN" and not life.halts and _is_released(book, run):
        enter(book, run, life._replace(status="DEPLOYED"))
    else:
        book.state.lives.put(run, life)


def _is_released(book: Book, run: str) -> bool:
    """Whether its approval to be deployed still stands: one withdrawn for what it can do has lost it."""
    return book.state.plans[run].model in book.state.releases


def end_halts_of(book: Book, finding: str) -> None:
    """The Finding was set aside: what it halted is let go."""
    of_one, of_many = f"HALT:{finding}", f"HALT:{finding}:"
    for run, life in sorted(book.state.lives.items()):
        for motion in life.halts:
            if motion == of_one or motion.startswith(of_many):
                lift(book, run, motion)

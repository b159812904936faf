"""Training runs as their reports and approvals leave them (MODEL 9): PLANNED -> SUBMITTED -> REFUSED or APPROVED -> RUNNING ...

Here stands the tier, which is judged at every report (LAW K17, K36), and what a decision makes of a run. The budget and the sum
over runs that belong together are `checks.budget` and `checks.splitting`; the statement itself is in `statements.run`.
"""

from typing import Final

from node.treaty import benchmarks, teachers
from node.treaty.book import RANK_LAPSE, Book
from node.treaty.cases import is_accused
from node.treaty.checks.budget import beyond_leave, exceeds, over_budget
from node.treaty.checks.splitting import look_for_splitting
from node.treaty.lives import done_of, emit_step, enter, gates_for
from node.treaty.rows import NEVER
from node.treaty.rows.runs import Licence, Life, Plan
from node.treaty.tables import changer
from node.treaty.tiers import Gates, Tier, tier_of_run

LICENSED_TIER: Final = 1  # Tier 0 needs no licence, Tier 2 and 3 get none
_with_used: Final = changer(Life, "used")


def add_usage(book: Book, run: str, pflop: int, starts_at: int, entry_hash: bytes) -> None:
    """A facility reported work for this run; `starts_at` is the start of the reported period."""
    plan, life = book.state.plans[run], book.state.lives[run]
    before = done_of(life)
    life = _with_used(life, life.used + pflop)
    book.state.lives.put(run, life)
    if life.ended_at != NEVER and starts_at > life.ended_at:  # K39
        numbers = (("period_start", starts_at), ("ended_at", life.ended_at))
        over_budget(book, run, plan, life, 4, numbers, (entry_hash,))
    done_changed(book, run, plan, before, entry_hash)


def done_changed(book: Book, run: str, plan: Plan, before: int, entry_hash: bytes) -> None:
    """A report said what a run has done: its budget, its tier, and the sum over runs that belong together."""
    life = book.state.lives[run]
    done = done_of(life)
    if done != before:
        book.add_done(run, done - before)
    if exceeds(plan, done) or life.status == "HALTED":
        beyond_leave(book, run, plan, before, entry_hash)
        life = book.state.lives[run]
    # From its start on a run's thresholds are frozen, and until its work outgrows the plan it weighs what it weighed
    # (what evaluations say is weighed when they come): so it is with nearly every report.
    if not life.limits or _own(plan, life) != life.own:
        weigh(book, run)
    look_for_splitting(book, run)


def _own(plan: Plan, life: Life) -> int:
    done = done_of(life)
    return done if life.ended_at != NEVER else max(plan.pflop_plan, done)


def gates_of(book: Book, run: str) -> Gates:
    """The thresholds that bind this run now."""
    return gates_for(book, book.state.plans[run], book.state.lives[run])


def weigh(book: Book, run: str) -> None:
    """Recompute the tier of a run and, if its own work changed, of its descendants (LAW K17).

    Each distinct ancestor counts once in a lineage, so what a run's own work gains is what every
    descendant's lineage gains: no lineage is summed anew.
    """
    plan, life = book.state.plans[run], book.state.lives[run]
    own = _own(plan, life)
    gained = own - life.own
    if gained:
        life = life._replace(own=own)
        book.state.lives.put(run, life)
    _weigh_one(book, run, life.lineage + gained)
    if gained:
        for descendant in _descendants(book, run):
            lineage = book.state.lives[descendant].lineage + gained
            if book.state.teachers:  # then shares count, and a sum cannot simply grow
                lineage = teachers.lineage_of(book, descendant)
            _weigh_one(book, descendant, lineage)


def weigh_lineages(book: Book, run: str) -> None:
    """What this run learns from changed: its lineage and its descendants' are summed anew."""
    weigh(book, run)
    for name in (run, *_descendants(book, run)):
        _weigh_one(book, name, teachers.lineage_of(book, name))


def _weigh_one(book: Book, run: str, lineage: int) -> None:
    plan, life = book.state.plans[run], book.state.lives[run]
    gates = gates_for(book, plan, life)
    tier = tier_of_run(
        gates._replace(bench_cap=benchmarks.forecast_cap(book, run, gates)),
        params_total=plan.params_total,
        own_pflop=life.own,
        lineage_pflop=lineage,
        has_parents=bool(plan.parents),
        forecast_bp=plan.forecast_bp,
        measured_over_cap=len(benchmarks.over_cap_states(book, run, gates)) >= 2,
    )
    if (tier.tier, tier.gates, lineage) != (life.tier, life.gates, life.lineage):
        _enter_tier(book, run, plan, life, tier, lineage)


def _descendants(book: Book, run: str) -> list[str]:
    """All of them, each once."""
    found = {run: None}
    ahead = [run]
    while ahead:
        for child in book.children.get(ahead.pop(), ()):
            if child not in found:
                found[child] = None
                ahead.append(child)
    return sorted(name for name in found if name != run)


def _enter_tier(book: Book, run: str, plan: Plan, life: Life, tier: Tier, lineage: int) -> None:
    risen = tier.tier > life.tier
    moved = tier.tier != life.tier
    life = life._replace(tier=tier.tier, gates=tier.gates, lineage=lineage)
    above_approval = risen and tier.tier > life.approved
    if above_approval and life.started_at != NEVER:
        life = life._replace(approved=0)
    elif above_approval and life.status == "APPROVED":
        life = life._replace(status="PLANNED", approved=0)
    book.state.lives.put(run, life)
    if moved:
        emit_step(book, run, life)
    if above_approval and life.started_at != NEVER:  # unapproved from this entry on (MODEL 8)
        numbers = (("tier", tier.tier), ("lineage_pflop", lineage))
        over_budget(book, run, plan, life, 4, numbers, ())
        life = book.state.lives[run]
        if book.law > 2 and life.status == "RUNNING":  # the halt of this case was lifted before
            enter(book, run, life._replace(status="HALTED", halted_done=-1))


def submitted(book: Book, run: str, motion: str) -> None:
    """A TRAIN motion was filed for this run."""
    enter(book, run, book.state.lives[run]._replace(status="SUBMITTED", motion=motion))


def barrier_to_approval(book: Book, run: str, tier: int) -> str:
    """What stands against an approval at the close (LAW K41): empty, RUN_STATE, HORIZON or CASES."""
    weigh(book, run)
    life = book.state.lives[run]
    if life.status != "SUBMITTED":
        return "RUN_STATE"
    if max(tier, life.tier) == 3 and not book.value("horizon_open"):
        return "HORIZON"
    # Approvals at a site are frozen while a grave case about it is open (CHECKS 6); scenarios ask for that with `remedy`.
    sites = book.state.plans[run].sites
    if book.draws_for("remedy") and any(is_accused(book, site) for site in sites):
        return "CASES"
    return ""


def decided(
    book: Book, run: str, *, approved_tier: int, until: int, inspectors: tuple[str, ...]
) -> None:
    """The TRAIN motion closed; `approved_tier` 0 = refused."""
    life = book.state.lives[run]
    if life.status != "SUBMITTED":
        return  # the motion met a barrier, and the run's state is another matter
    if not approved_tier:
        enter(book, run, life._replace(status="REFUSED", refused_at=book.now))
        return
    if life.tier > approved_tier:  # it rose while states voted: this approval is not for it (K18)
        enter(book, run, life._replace(status="PLANNED", approved=0))
        return
    enter(
        book,
        run,
        life._replace(
            status="APPROVED", approved=approved_tier, until=until, inspectors=inspectors
        ),
    )
    book.schedule(until, RANK_LAPSE, "until", run)


def licensed(book: Book, run: str, motion: str, licence: Licence) -> None:
    """A plan of Tier 1 under a class licence is approved as long as that lasts (M21); a higher tier is not (K18)."""
    life = book.state.lives[run]
    if life.tier != LICENSED_TIER:
        return
    enter(
        book,
        run,
        life._replace(status="APPROVED", approved=1, until=licence.until, motion=motion),
    )
    book.schedule(licence.until, RANK_LAPSE, "until", run)


def approval_ends(book: Book, run: str) -> None:
    """At `until` a RUNNING run is HALTED, one not yet started falls back to PLANNED (LAW K18)."""
    life = book.state.lives[run]
    if life.until == NEVER or book.now < life.until:
        if life.until != NEVER:
            book.schedule(life.until, RANK_LAPSE, "until", run)
        return
    if life.status == "RUNNING":
        enter(book, run, life._replace(status="HALTED", approved=0, until=NEVER, halted_done=-1))
    elif life.status == "APPROVED":
        enter(book, run, life._replace(status="PLANNED", approved=0, until=NEVER))
    elif life.status == "HALTED":  # let go, it will not run on
        book.state.lives.put(run, life._replace(approved=0, until=NEVER))

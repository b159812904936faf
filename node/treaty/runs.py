"""Training runs: PLANNED -> SUBMITTED -> REFUSED or APPROVED -> RUNNING <-> HALTED -> ENDED (MODEL 9).

With them what is judged at every report: the tier (LAW K17, K36), the budget (C14) and the sum over
runs that belong together (C15). No path leads to RUNNING but Tier 0 or a valid approval.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.book import RANK_LAPSE, Accepted, Book, Group, Refused
from node.treaty.cases import raise_finding
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import countersigned, operator_of, require_past
from node.treaty.lives import (
    HALT_SEVERITY,
    TIER_WITH_OVERSIGHT,
    emit_step,
    enter,
    halt,
    halts_at,
    watch_progress,
)
from node.treaty.scores import over_cap_states
from node.treaty.state import NEVER, Life, Model, Plan
from node.treaty.tiers import Gates, Tier, gates_at, safer_gates, tier_of_run

BUDGET_TOLERANCE_BP: Final = 200  # C14: 2 % above the plan
# A plan reads all its ancestors once. Real lineages have a handful; without a limit one operator could
# make every node walk as many rows as it has ever planned runs, again and again.
ANCESTORS_MAX: Final = 1_024
_UNTIL_APPROVED: Final = frozenset({"PLANNED", "SUBMITTED", "REFUSED", "APPROVED"})


def take_run(book: Book, entry: Entry, body: pb.Run) -> Accepted:
    """Judge a run statement of any phase."""
    run = book.qualified(entry.parsed.author, body.run)
    if body.phase == pb.RUN_PHASE_PLAN:
        return _plan(book, entry, body, run)
    plan = book.state.plans.get(run)
    if plan is None:
        raise Refused(Code.UNKNOWN_REF, f"no run {run}")
    uncountersigned = countersigned(book, entry, operator_of(book, entry))
    if plan.operator != entry.parsed.author:
        raise Refused(Code.STANDING, f"{run} is {plan.operator}'s")
    if body.phase == pb.RUN_PHASE_START:
        _start(book, entry, run, plan)
    else:
        _report(book, entry, body, run, plan)
    return Accepted(f"run:{run}", uncountersigned)


def _plan(book: Book, entry: Entry, body: pb.Run, run: str) -> Accepted:
    state = book.state
    author = entry.parsed.author
    parents = tuple(sorted({book.qualified(author, parent) for parent in body.parents}))
    for parent in parents:
        if parent not in state.plans:
            raise Refused(Code.UNKNOWN_REF, f"no run {parent}")
    sites = tuple(sorted({book.qualified(author, site) for site in body.sites}))
    for site in sites:
        if site not in state.facilities:
            raise Refused(Code.UNKNOWN_REF, f"no facility {site}")
    operator_state = operator_of(book, entry)
    uncountersigned = countersigned(book, entry, operator_state)
    if not run.startswith(f"{author}/") and book.genesis.qualified_ids:
        raise Refused(Code.STANDING, f"{run} is not under {author}'s own name")
    ancestors = _ancestors(book, parents)
    if len(ancestors) > ANCESTORS_MAX:
        raise Refused(Code.HARD_LIMIT, f"more than {ANCESTORS_MAX} ancestors")
    if run in state.plans:
        raise Refused(Code.RUN_STATE, f"{run} is already planned")
    model = book.qualified(author, body.model)
    if model in state.models:
        raise Refused(Code.REPEATED, f"model {model} is already declared")
    require_past(book, entry)
    own_owners = book.owner_closure(author)
    joined = tuple(
        parent
        for parent in parents
        if own_owners & book.owner_closure(state.plans[parent].operator)
        or state.plans[parent].operator in entry.endorsers
    )
    plan = Plan(
        entry=entry.entry_hash,
        operator=author,
        state=operator_state,
        model=model,
        params_total=body.params_total,
        pflop_plan=body.pflop_plan,
        parents=parents,
        joined=joined,
        forecast_bp=body.forecast_bp,
        code_hash=body.code_hash,
        doc_root=body.doc_root,
        sites=sites,
        gates=tuple(gates_at(book.policy, book.now)),
    )
    state.plans.put(run, plan)
    book.index_plan(run, plan, done=0)
    state.models.put(model, Model(run))
    life = Life(
        status="PLANNED",
        tier=-1,  # not weighed yet
        gates=(),
        own=body.pflop_plan,
        lineage=body.pflop_plan + sum(state.lives[one].own for one in ancestors),
        approved=0,
        until=NEVER,
        motion="",
        inspectors=(),
        limits=(),
        reported=0,
        used=0,
        started_at=NEVER,
        last_at=book.now,
        ended_at=NEVER,
        refused_at=NEVER,
        halted_done=-1,
        halts=halts_at(book, sites),
    )
    state.lives.put(run, life)
    weigh(book, run)
    return Accepted(f"run:{run}", uncountersigned)


def _start(book: Book, entry: Entry, run: str, plan: Plan) -> None:
    weigh(book, run)  # schedules of the policy may have moved a gate since the plan
    life = book.state.lives[run]
    if life.status not in _UNTIL_APPROVED or life.halts:
        raise Refused(Code.RUN_STATE, f"{run} is {life.status}, halted by {len(life.halts)}")
    if life.tier > 0 and (life.status != "APPROVED" or life.approved < life.tier):
        raise Refused(Code.NOT_APPROVED, f"{run} is tier {life.tier} and {life.status}")
    require_past(book, entry)
    life = life._replace(
        status="RUNNING",
        limits=tuple(_gates(book, plan, life)),
        started_at=book.now,
        last_at=book.now,
    )
    book.state.lives.put(run, life)
    emit_step(book, run, life)
    watch_progress(book, run, life)
    look_for_splitting(book, run)


def _report(book: Book, entry: Entry, body: pb.Run, run: str, plan: Plan) -> None:
    """`progress` or `end`."""
    life = book.state.lives[run]
    if life.status not in {"RUNNING", "HALTED"}:
        raise Refused(Code.RUN_STATE, f"{run} is {life.status}")
    require_past(book, entry)
    before = done_of(life)
    life = life._replace(reported=body.pflop_done, last_at=book.now)
    if body.phase == pb.RUN_PHASE_END:
        life = life._replace(status="ENDED", ended_at=book.now)
    book.state.lives.put(run, life)
    if body.phase == pb.RUN_PHASE_END:
        emit_step(book, run, life)
    elif life.status == "RUNNING":
        watch_progress(book, run, life)
    if body.code_hash and plan.code_hash and body.code_hash != plan.code_hash:
        _over_budget(book, run, plan, life, 3, (), (entry.entry_hash,))
    if body.phase == pb.RUN_PHASE_END and life.tier >= TIER_WITH_OVERSIGHT:
        share = book.value("oversight_bp")
        if body.oversight_pflop * 10_000 < plan.pflop_plan * share:
            numbers = (("oversight_pflop", body.oversight_pflop), ("oversight_bp", share))
            _over_budget(book, run, plan, life, 3, numbers, (entry.entry_hash,))
    _done_changed(book, run, plan, before, entry.entry_hash)


def add_usage(book: Book, run: str, pflop: int, starts_at: int, entry_hash: bytes) -> None:
    """A facility reported work for this run; `starts_at` is the start of the reported period."""
    plan, life = book.state.plans[run], book.state.lives[run]
    before = done_of(life)
    life = life._replace(used=life.used + pflop)
    book.state.lives.put(run, life)
    if life.ended_at != NEVER and starts_at > life.ended_at:  # K39
        numbers = (("period_start", starts_at), ("ended_at", life.ended_at))
        _over_budget(book, run, plan, life, 4, numbers, (entry_hash,))
    _done_changed(book, run, plan, before, entry_hash)


def _done_changed(book: Book, run: str, plan: Plan, before: int, entry_hash: bytes) -> None:
    life = book.state.lives[run]
    done = done_of(life)
    if done != before:
        book.add_done(run, done - before)
    numbers = (("done_pflop", done), ("plan_pflop", plan.pflop_plan))
    if done * 10_000 > plan.pflop_plan * (10_000 + BUDGET_TOLERANCE_BP):
        _over_budget(book, run, plan, life, 3, numbers, (entry_hash,))
    if life.status == "HALTED":
        if life.halted_done < 0:  # K39: the first report after a halt may still bring its past
            book.state.lives.put(run, life._replace(halted_done=done))
        elif done > before:
            _over_budget(book, run, plan, life, 4, numbers, (entry_hash,))
    weigh(book, run)
    look_for_splitting(book, run)


def _over_budget(
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
    )
    if finding and severity == HALT_SEVERITY:
        halt(book, finding, [run], one_run=True)


def progress_due(book: Book, run: str) -> None:
    """The clock looks at a run that owes progress reports (C14)."""
    life = book.state.lives[run]
    if life.status != "RUNNING" or life.tier < TIER_WITH_OVERSIGHT:
        return
    if book.now <= life.last_at + book.value("progress"):
        watch_progress(book, run, life)
        return
    numbers = (("last_report_at", life.last_at), ("progress_s", book.value("progress")))
    _over_budget(book, run, book.state.plans[run], life, 3, numbers, ())


def done_of(life: Life) -> int:
    """PFLOP done so far: what the operator said or what its sites reported, whichever is more."""
    return max(life.reported, life.used)


def _own(plan: Plan, life: Life) -> int:
    done = done_of(life)
    return done if life.ended_at != NEVER else max(plan.pflop_plan, done)


def _gates(book: Book, plan: Plan, life: Life) -> Gates:
    if life.limits:
        return Gates._make(life.limits)
    return safer_gates(Gates._make(plan.gates), gates_at(book.policy, book.now))


def gates_of(book: Book, run: str) -> Gates:
    """The thresholds that bind this run now."""
    return _gates(book, book.state.plans[run], book.state.lives[run])


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
            _weigh_one(book, descendant, book.state.lives[descendant].lineage + gained)


def _weigh_one(book: Book, run: str, lineage: int) -> None:
    plan, life = book.state.plans[run], book.state.lives[run]
    gates = _gates(book, plan, life)
    tier = tier_of_run(
        gates,
        params_total=plan.params_total,
        own_pflop=life.own,
        lineage_pflop=lineage,
        has_parents=bool(plan.parents),
        forecast_bp=plan.forecast_bp,
        measured_over_cap=len(over_cap_states(book, plan.model, gates.bench_cap)) >= 2,
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
        _over_budget(book, run, plan, life, 4, numbers, ())


def _ancestors(book: Book, parents: tuple[str, ...]) -> set[str]:
    """The parents and all their ancestors; stops once there are too many."""
    seen = set(parents)
    ahead = list(seen)
    while ahead and len(seen) <= ANCESTORS_MAX:
        for parent in book.state.plans[ahead.pop()].parents:
            if parent not in seen:
                seen.add(parent)
                ahead.append(parent)
    return seen


def submitted(book: Book, run: str, motion: str) -> None:
    """A TRAIN motion was filed for this run."""
    enter(book, run, book.state.lives[run]._replace(status="SUBMITTED", motion=motion))


def barrier_to_approval(book: Book, run: str, tier: int) -> str:
    """What stands against an approval at the close (LAW K41): empty, HORIZON or RUN_STATE."""
    weigh(book, run)
    life = book.state.lives[run]
    if life.status != "SUBMITTED":
        return "RUN_STATE"
    if max(tier, life.tier) == 3 and not book.value("horizon_open"):
        return "HORIZON"
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


# --- C15: one training cut into parts -------------------------------------------------------------


def look_for_splitting(book: Book, run: str) -> None:
    """C15 over every group this run belongs to: lineage, ultimate owners, code, data (LAW K25).

    A group counts its started runs whose last entry lies within `lineage_window` and whose own
    lineage stays below the frontier (what is above it had to be approved as such). Two or more that
    together reach the frontier are a finding against each state with such a run.
    """
    frontier = book.value("frontier_flop")
    lineage = book.component[run]
    counted = _counted(book, lineage, frontier)
    if _reach(book, counted, frontier):
        _splitting(book, f"lineage:{min(lineage.runs)}", 4, counted, frontier)
    for group in book.groups_of[run]:
        counted = _counted(book, book.groups[group], frontier)
        if not _reach(book, counted, frontier):
            continue
        if group.startswith("owner:"):
            severity = 3 if _second_key_reaches(book, counted, frontier) else 2
            _splitting(book, group, severity, counted, frontier)
        elif not _one_owner(book, counted):  # else the owner's own group says it
            _splitting(book, group, 2, counted, frontier)


def _counted(book: Book, group: Group, frontier: int) -> list[str]:
    if len(group.runs) < 2 or group.done < frontier:
        return []  # not even with the runs that do not count: nearly always
    since = book.now - book.value("lineage_window")
    lives = book.state.lives
    return sorted(
        run
        for run in group.runs
        if lives[run].started_at != NEVER
        and lives[run].last_at >= since
        and lives[run].lineage < frontier
    )


def _reach(book: Book, runs: list[str], frontier: int) -> bool:
    return len(runs) >= 2 and sum(done_of(book.state.lives[run]) for run in runs) >= frontier


def _second_key_reaches(book: Book, runs: list[str], frontier: int) -> bool:
    keyed: dict[bytes, list[str]] = {}
    for run in runs:
        plan = book.state.plans[run]
        for key in {plan.code_hash, plan.doc_root} - {b""}:
            keyed.setdefault(key, []).append(run)
    return any(_reach(book, sharing, frontier) for sharing in keyed.values())


def _one_owner(book: Book, runs: list[str]) -> bool:
    owners = [set(book.ultimate_owners(book.state.plans[run].operator)) for run in runs]
    return bool(set.intersection(*owners))


def _splitting(book: Book, about: str, severity: int, runs: list[str], frontier: int) -> None:
    plans = [book.state.plans[run] for run in runs]
    total = sum(done_of(book.state.lives[run]) for run in runs)
    for state in sorted({plan.state for plan in plans}):
        finding = raise_finding(
            book,
            "C15",
            state,
            about,
            severity=severity,
            size=total,
            numbers=(("done_pflop", total), ("frontier_flop", frontier), ("runs", len(runs))),
            inputs=tuple(plan.entry for plan in plans),
        )
        if finding and severity == HALT_SEVERITY:
            own = [run for run in runs if book.state.plans[run].state == state]
            halt(book, finding, own, one_run=False)

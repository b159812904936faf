"""`run`: a training is planned, started, reported on, ended (MODEL 3, kind 13; MODEL 9; LAW K17, K18, K33).

No path leads to RUNNING but Tier 0 or a valid approval.
"""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty import benchmarks, lessons, teachers
from node.treaty.bodies import Form, is_name
from node.treaty.book import Accepted, Book, Refused
from node.treaty.checks import data
from node.treaty.checks.budget import over_budget
from node.treaty.checks.splitting import look_for_splitting
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.filing import countersigned, operator_of, require_past
from node.treaty.kinds import Kind
from node.treaty.lives import (
    TIER_WITH_OVERSIGHT,
    done_of,
    emit_step,
    gates_for,
    halts_at,
    watch_progress,
)
from node.treaty.rows import NEVER
from node.treaty.rows.runs import Licence, Life, Model, Plan, Purpose
from node.treaty.runs import (
    done_changed,
    licensed,
    weigh,
)
from node.treaty.teachers import BP, Teacher
from node.treaty.tiers import gates_at

# A plan reads all its ancestors once. Real lineages have a handful; without a limit one operator could
# make every node walk as many rows as it has ever planned runs, again and again.
ANCESTORS_MAX: Final = 1_024


PURPOSES: Final = {pb.RUN_PURPOSE_SAFETY: "safety"}
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
    sources = sorted({*parents, *lessons.known_teachers(book, author, body.teachers)})
    sealed = [source for source in sources if source in state.sealed]
    sites = tuple(sorted({book.qualified(author, site) for site in body.sites}))
    for site in sites:
        if site not in state.facilities:
            raise Refused(Code.UNKNOWN_REF, f"no facility {site}")
    operator_state = operator_of(book, entry)
    uncountersigned = countersigned(book, entry, operator_state)
    if not run.startswith(f"{author}/") and book.genesis.qualified_ids:
        raise Refused(Code.STANDING, f"{run} is not under {author}'s own name")
    taught_by = lessons.known_teachers(book, author, body.teachers)
    ancestors = _ancestors(book, (*parents, *taught_by))
    if len(ancestors) > ANCESTORS_MAX:
        raise Refused(Code.HARD_LIMIT, f"more than {ANCESTORS_MAX} ancestors")
    if sealed:
        raise Refused(Code.RUN_STATE, f"{', '.join(sealed)} is SEALED: nothing is trained from it")
    if run in state.plans:
        raise Refused(Code.RUN_STATE, f"{run} is already planned")
    model = book.qualified(author, body.model)
    if model in state.models:
        raise Refused(Code.REPEATED, f"model {model} is already declared")
    licence = _licence(book, body, author)
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
    if taught_by:
        share_bp = book.value("teacher_bp")
        new = [Teacher(one, share_bp, entry.entry_hash) for one in taught_by]
        teachers.add(book, run, new)
    inherited = sum(
        state.lives[one].own * share // BP for one, share in teachers.shares(book, run).items()
    )
    life = Life(
        status="PLANNED",
        tier=-1,  # not weighed yet
        gates=(),
        own=body.pflop_plan,
        lineage=body.pflop_plan + inherited,
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
    benchmarks.planned(book, run, body)
    if body.purpose:
        state.purposes.put(run, Purpose(PURPOSES[body.purpose]))
    weigh(book, run)
    _note_work(book, run, body)
    if licence is not None:
        licensed(book, run, body.licence, licence)
    return Accepted(f"run:{run}", uncountersigned)


def _licence(book: Book, body: pb.Run, author: str) -> Licence | None:
    """The class licence that the plan claims. Refuses NOT_APPROVED: none such, not the author's, or expired."""
    if not body.licence:
        return None
    licence = book.state.licences.get(body.licence)
    if licence is None or licence.operator not in {"", author} or book.now >= licence.until:
        raise Refused(Code.NOT_APPROVED, f"{body.licence} is no licence of {author} in force")
    return licence


def _note_work(book: Book, run: str, body: pb.Run) -> None:
    """For C26: what is said of tokens, and of parameters at work."""
    said = body.tokens if body.HasField("tokens") else data.UNSAID
    active = body.params_active if body.HasField("params_active") else data.UNSAID
    data.note_work(book, run, params_active=active, tokens=said)


def _start(book: Book, entry: Entry, run: str, plan: Plan) -> None:
    weigh(book, run)  # schedules of the policy may have moved a gate since the plan
    life = book.state.lives[run]
    if life.status not in _UNTIL_APPROVED or life.halts:
        raise Refused(Code.RUN_STATE, f"{run} is {life.status}, halted by {len(life.halts)}")
    if life.tier > 0 and (life.status != "APPROVED" or life.approved < life.tier):
        raise Refused(Code.NOT_APPROVED, f"{run} is tier {life.tier} and {life.status}")
    require_past(book, entry)
    benchmarks.started(book, run, plan)
    life = life._replace(
        status="RUNNING",
        limits=tuple(gates_for(book, plan, life)),
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
    taught_by = lessons.known_teachers(book, entry.parsed.author, body.teachers)
    lessons.require_room(book, run, taught_by)
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
        over_budget(book, run, plan, life, 3, (), (entry.entry_hash,))
    if body.phase == pb.RUN_PHASE_END and life.tier >= TIER_WITH_OVERSIGHT:
        share = book.value("oversight_bp")
        if body.oversight_pflop * 10_000 < plan.pflop_plan * share:
            numbers = (("oversight_pflop", body.oversight_pflop), ("oversight_bp", share))
            over_budget(book, run, plan, life, 3, numbers, (entry.entry_hash,))
    done_changed(book, run, plan, before, entry.entry_hash)
    if taught_by:
        lessons.learn(book, run, taught_by, entry.entry_hash)
    _note_work(book, run, body)
    if body.phase == pb.RUN_PHASE_END:
        data.run_ended(book, run, entry.entry_hash)


def _ancestors(book: Book, parents: tuple[str, ...]) -> set[str]:
    """The parents and all their ancestors; stops once there are too many."""
    seen = set(parents)
    ahead = list(seen)
    while ahead and len(seen) <= ANCESTORS_MAX:
        run = ahead.pop()
        learnt_from = [one.run for one in teachers.teachers_of(book, run)]
        for parent in (*book.state.plans[run].parents, *learnt_from):
            if parent not in seen:
                seen.add(parent)
                ahead.append(parent)
    return seen


_PHASE_FIELDS: Final = {
    1: ("model", "params_total", "pflop_plan"),  # plan
    2: (),  # start
    3: ("pflop_done",),  # progress
    4: ("pflop_done",),  # end
}


_REPORTED: Final = frozenset(
    [
        *("run", "phase", "pflop_done", "oversight_pflop", "code_hash", "tokens"),
        *("transcript_root", "teachers"),
    ]
)
_PHASE_ALLOWED: Final = {
    1: frozenset(
        [
            "run",
            "phase",
            "model",
            "params_total",
            "pflop_plan",
            "parents",
            "forecast_bp",
            "code_hash",
            "doc_root",
            "techniques",
            "sites",
            "tokens",
            "params_active",
            "bench_ver",
            "data_manifest",
            "licence",
            "purpose",
            "teachers",
        ]
    ),
    2: frozenset({"run", "phase"}),
    3: _REPORTED,
    4: _REPORTED | {"weight_hash"},
}


def _run_phase(body: Any) -> None:
    for name in _PHASE_FIELDS[body.phase]:
        if not body.HasField(name):
            raise MalformedContent(f"run.{name}", "missing in this phase")
    for descriptor, _ in body.ListFields():
        if descriptor.name not in _PHASE_ALLOWED[body.phase]:
            raise MalformedContent(f"run.{descriptor.name}", "not allowed in this phase")
    if body.phase == 1 and not is_name(body.model):
        raise MalformedContent("run.model", f"{body.model[:80]!r} is no name")
    if body.HasField("params_active") and body.params_active > body.params_total:
        raise MalformedContent("run.params_active", "more than params_total")


KIND: Final[Kind] = Kind(
    form=Form(
        required=("run",),
        enums=("phase",),
        integers=(
            *("params_total", "pflop_plan", "pflop_done", "oversight_pflop", "tokens"),
            *("params_active", "bench_ver"),
        ),
        basis_points=("forecast_bp",),
        references=("run",),
        texts=("licence",),
        hashes=("code_hash", "doc_root", "data_manifest", "weight_hash", "transcript_root"),
        lists=("parents", "techniques", "sites", "teachers"),
        extra=(_run_phase,),
    ),
    take=take_run,
    speaks_of="run",
)

"""DEPLOY: release a trained model (MODEL 4; M14, M36, M38; LAW K12, K31, K39 to K41, K47).

Filed by its developer with its state, after the run's end. All evaluations since the end are shown, from
evaluators of two states at least, and each listed capability is absent by two; five states are stewards.
Two thirds, by mandates; three quarters in Tier 3, and only while the horizon is open. Nobody acts: not approved.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import benchmarks, consent, evaluators, lives, releases, runs
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.capabilities import capabilities, listed_version
from node.treaty.cases import UNDECIDED
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import is_filing_state, require_past
from node.treaty.motions.kind import (
    MotionKind,
    acts_if,
    always,
    countersigned_operator,
    own_run,
    subject_states,
)
from node.treaty.policy import DAY
from node.treaty.rows.motions import Motion
from node.treaty.rows.runs import Deployment, Life
from node.treaty.scores import Evaluation, evaluations_of

EVALUATOR_STATES_MIN: Final = 2
STEWARDS_MIN: Final = 5
OVER_CAP_BAR_S: Final = 30 * DAY  # a lone score above the cap bars deployment so long (LAW K47)
_ENDED: Final = frozenset({"ENDED", "EVALUATED", "DEPLOY_REFUSED", "WITHDRAWN"})


def _file(book: Book, entry: Entry, body: pb.Deploy) -> Accepted:
    subjects = subject_states(book, entry)
    sites = tuple(sorted({book.qualified(entry.parsed.author, site) for site in body.sites}))
    for site in sites:
        if site not in book.state.facilities:
            raise Refused(Code.UNKNOWN_REF, f"no facility {site}")
    operator_state = countersigned_operator(book, entry)
    run = own_run(book, entry, operator_state, subjects)
    runs.weigh(book, run)
    life = book.state.lives[run]
    barrier = _gate(book, run, life, _ENDED)
    if barrier is not None:
        raise barrier
    shown = set(entry.parsed.refs)
    barrier = _assessed(book, run, life, shown, body.cap_ver)
    if barrier is not None:
        raise barrier
    stewards = {state for state in body.stewards if is_filing_state(book, state)}
    if len(stewards) < STEWARDS_MIN:
        raise Refused(Code.STEWARDS, f"{len(stewards)} member states are stewards, not five")
    require_past(book, entry)
    row = Deployment(
        shown=tuple(sorted(shown)),
        cap_ver=body.cap_ver,
        stewards=tuple(sorted(stewards)),
        mode=body.mode,
        sites=sites,
    )
    book.state.deployments.put(entry.name, row)
    lives.enter(book, run, life._replace(status="DEPLOY_SUBMITTED"))
    open_motion(
        book,
        entry.name,
        "DEPLOY",
        about=run,
        subjects=subjects,
        rule="HIGH" if life.tier == 3 else "SUP",
        default="not_approved",
        closes_after_s=book.value("deploy_close"),
        tier=life.tier,
        mandate=True,
    )
    return Accepted(f"DEPLOY:{entry.name}")


def _gate(book: Book, run: str, life: Life, statuses: frozenset[str]) -> Refused | None:
    """HORIZON or RUN_STATE, or None (LAW K12, K39, K41, K47)."""
    if life.tier == 3 and not book.value("horizon_open"):
        return Refused(Code.HORIZON, "no Tier 3 model is deployed while the horizon is shut")
    if life.status not in statuses or life.approved < life.tier:
        return Refused(
            Code.RUN_STATE,
            f"{run} is {life.status} in tier {life.tier}, approved for tier {life.approved}",
        )
    if life.halts:
        return Refused(Code.RUN_STATE, f"{run} is halted by {', '.join(life.halts)}")
    named = book.state.named.get(run)
    for name in named.cases if named else ():
        case = book.state.cases[name]
        if case.status in UNDECIDED or case.status == "APPEALED" or case.result == "UPHELD":
            return Refused(Code.RUN_STATE, f"{name} is {case.status} and names {run}")
    return _over_cap(book, run, life)


def _over_cap(book: Book, run: str, life: Life) -> Refused | None:
    """A lone evaluator's score above the cap; two states' put the run into Tier 3 instead."""
    model = book.state.plans[run].model
    gates = runs.gates_of(book, run)
    states = benchmarks.over_cap_states(book, run, gates)
    if len(states) != 1 or life.tier == 3:
        return None
    said = [one for one in evaluations_of(book, model) if one.state in states]
    latest = max(said, key=lambda one: one.at)
    if book.now >= latest.at + OVER_CAP_BAR_S:
        return None
    cap = benchmarks.cap_of(book, run, gates, latest.bench_ver)
    return Refused(Code.RUN_STATE, f"an evaluation above {cap} bp at {latest.at} bars {model}")


def _assessed(book: Book, run: str, life: Life, shown: set[bytes], cap_ver: int) -> Refused | None:
    """EVALS or CAPABILITY, or None (LAW K12, K40)."""
    model = book.state.plans[run].model
    counting = [one for one in evaluations_of(book, model) if one.at >= life.ended_at]
    states = {one.state for one in counting}
    hidden = [one.evaluator for one in counting if one.entry not in shown]
    if len(states) < EVALUATOR_STATES_MIN or hidden:
        return Refused(
            Code.EVALS,
            f"evaluations of {model} by evaluators of {len(states)} states; refs leave out {hidden}",
        )
    awaited = evaluators.awaited(book, run, {one.evaluator for one in counting})
    if awaited:
        return Refused(Code.EVALS, f"{awaited} is to evaluate {model} by lot, and has not spoken")
    listed = capabilities(book)
    if cap_ver != listed_version(book):
        return Refused(Code.CAPABILITY, f"cap_ver {cap_ver}, and {listed_version(book)} is current")
    for capability in sorted(listed):
        present = _states_saying(counting, capability, "present")
        absent = _states_saying(counting, capability, "absent")
        if len(present) >= EVALUATOR_STATES_MIN or len(absent) < EVALUATOR_STATES_MIN:
            return Refused(
                Code.CAPABILITY,
                f"{capability}: {len(absent)} states absent, {len(present)} present",
            )
    return None


def _states_saying(evaluations: list[Evaluation], capability: str, presence: str) -> set[str]:
    return {one.state for one in evaluations if (capability, presence) in one.capabilities}


def _barrier(book: Book, motion_id: str, motion: Motion) -> str:
    """What is judged again at the close: K39, HORIZON, RUN_STATE, EVALS, CAPABILITY (LAW K41)."""
    run = motion.about
    runs.weigh(book, run)
    life = book.state.lives[run]
    row = book.state.deployments[motion_id]
    against = _gate(book, run, life, frozenset({"DEPLOY_SUBMITTED"})) or _assessed(
        book, run, life, set(row.shown), row.cap_ver
    )
    if against is not None:
        return against.code.value
    return "RUN_STATE" if life.tier > motion.tier else ""


def _effect(book: Book, motion_id: str, motion: Motion, outcome: str) -> None:
    life = book.state.lives[motion.about]
    approved = outcome == "approved"
    if approved:
        row = book.state.deployments[motion_id]
        model = book.state.plans[motion.about].model
        against = frozenset(state for state, choice in motion.votes if choice == "no")
        declined = against if book.law >= consent.SINCE_LAW else frozenset[str]()
        releases.approve(book, model, motion.about, motion_id, row, declined)
    else:
        book.state.deployments.drop(motion_id)
    status = "DEPLOYED" if approved else "DEPLOY_REFUSED"
    lives.enter(book, motion.about, life._replace(status=status))


KIND: Final[MotionKind] = MotionKind(
    form=Form(
        required=("cap_ver", "mode"),
        integers=("cap_ver",),
        texts=("mode",),
        lists=("sites",),
        counted=("stewards",),
    ),
    file=_file,
    outcomes=always("not_approved", "approved"),
    barrier=_barrier,
    force=acts_if("approved"),
    effect=_effect,
)

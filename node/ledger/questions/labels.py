"""Which kinds of undeclared training a state's reports would show: the labels A to D, and the checks behind them that are live.

    A  declared runs do what was declared      C  undeclared use at known sites
    B  declared use is of the class declared   D  hidden sites and swarms

A check is live for a state while the data that it reads arrive on time: what its operators, devices, probes, evaluators and
inspectors have said, by the law's own rows. A label counts as covered if two live checks of two groups of sources carry it, so
that no one source can hide by itself. Checks whose data leave no row (energy, traffic, trade) are not counted.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from node.ledger.questions.sight import Sight
from node.ledger.questions.state_views import Rows
from node.treaty.rows.sites import Facility
from node.treaty.scores import evaluations_of

LABELS: Final = "ABCD"


class State(NamedTuple):
    """One state's covered sites and its runs."""

    name: str
    sites: dict[str, Facility]
    runs: list[str]


class Check(NamedTuple):
    """A check, what it tells apart, whose word it rests on, and whether that arrives."""

    name: str
    labels: str
    group: str
    live: Callable[[Sight, State], bool]


def _reported(_sight: Sight, state: State) -> bool:
    return bool(state.sites) and all(
        site.due_slot and not site.missed for site in state.sites.values()
    )


def _counted(sight: Sight, state: State) -> bool:
    rows = sight.book.state
    counted = {key.partition(":")[0] for key in rows.stocks}
    owed = (rows.duties.get(f"count:{name}") for name in state.sites)
    late = any(duty is not None and duty.due < sight.now for duty in owed)
    return bool(state.sites) and set(state.sites) <= counted and not late


def _metered(sight: Sight, state: State) -> bool:
    metered = {str(row[0]) for one in sight.book.state.meters.values() for row in one.groups}
    return bool(state.sites) and set(state.sites) <= metered


def _snapshotted(sight: Sight, state: State) -> bool:
    seen = {str(row[0]) for one in sight.book.state.snapshots.values() for row in one.groups}
    return bool(state.sites) and set(state.sites) <= seen


def _located(sight: Sight, state: State) -> bool:
    rows = sight.book.state
    return any(
        len(set(one.probes) - {state.name}) > 0 and len(one.probes) > 1
        for device, one in rows.located.items()
        if rows.parties[device].state == state.name
    )


def _progressing(sight: Sight, state: State) -> bool:
    lives = [sight.book.state.lives[run] for run in state.runs]
    watched = [life for life in lives if life.status == "RUNNING" and life.tier >= 2]
    wait = sight.book.value("progress")
    return bool(watched) and all(sight.now <= life.last_at + wait for life in watched)


def _visited(sight: Sight, state: State) -> bool:
    routines = sight.book.state.routines
    visits = [routines.get(name) for name in state.sites]
    return bool(visits) and all(visit is not None and visit.visited for visit in visits)


def _evaluated(sight: Sight, state: State) -> bool:
    plans = sight.book.state.plans
    return any(evaluations_of(sight.book, plans[run].model) for run in state.runs)


CHECKS: Final = (
    Check("C03", "C", "operator", _counted),
    Check("C07", "AC", "operator", _reported),
    Check("C10", "C", "device", _metered),
    Check("C12", "CD", "probe", _located),
    Check("C14", "A", "operator", _progressing),
    Check("C15", "ACD", "operator", _reported),
    Check("C18", "A", "device", _snapshotted),
    Check("C19", "AC", "inspector", _visited),
    Check("C25", "BD", "evaluator", _evaluated),
    Check("C27", "BC", "operator", _reported),
)


def labels(sight: Sight, about: str) -> Rows:
    """For each member the labels A to D of verification: covered or not, and by which live checks. `about`: a state."""
    rows = sight.book.state
    for name in rows.members:
        if about and name != about:
            continue
        sites = {
            site: row for site, row in rows.facilities.items() if row.slot and row.state == name
        }
        state = State(name, sites, [run for run, plan in rows.plans.items() if plan.state == name])
        live = [check for check in CHECKS if check.live(sight, state)]
        yield name, {"sites": len(sites), **{label: _label(label, live) for label in LABELS}}


def _label(label: str, live: list[Check]) -> dict[str, Any]:
    carried = [check for check in live if label in check.labels]
    groups = {check.group for check in carried}
    return {
        "covered": len(carried) >= 2 and len(groups) >= 2,
        "checks": [check.name for check in carried],
        "groups": sorted(groups),
    }

"""On what a finding stands: the check's formula and its version, the policy it read, the level it protects, what clears it.

From law 2 on every Finding carries its row, so that its one record and one proof are enough for whoever is accused or must
judge (CHECKS 6). A changed formula has a new version here, and needs a new law.
"""

from typing import Final, NamedTuple

# The levels of protection (M41): no level's approval stands in for another's.
USE: Final = 1
DEPLOYMENT: Final = 2
TRAINING: Final = 3
HARDWARE: Final = 4
LEVELS: Final = {
    USE: "use",
    DEPLOYMENT: "deployment",
    TRAINING: "training",
    HARDWARE: "hardware and algorithms",
}


class Ground(NamedTuple):
    """One check's."""

    formula: str  # id/version
    asks: str  # what must hold, in the names of the finding's `numbers`
    params: tuple[str, ...]  # policy parameters that it reads
    level: int
    clears: str


GROUNDS: Final[dict[str, Ground]] = {
    "C02": Ground(
        "C02/1",
        "each slot of a covered site is reported within one slot after its end",
        ("slot_l", "slot_m", "slot_s"),
        TRAINING,
        "a usage report for the missing slots, and the reply",
    ),
    "C03": Ground(
        "C03/1",
        "begin + in - out - destroyed + found - lost - end = 0",
        (),
        HARDWARE,
        "custody entries or a recount that explain the balance",
    ),
    "C04": Ground(
        "C04/1",
        "each out is matched by an in of equal count and root within transit",
        ("transit", "transit_missing"),
        HARDWARE,
        "the missing in, or a certificate of destruction",
    ),
    "C04w": Ground("C04w/1", "an emergency out is on its way", (), HARDWARE, "its in"),
    "C05": Ground(
        "C05/1",
        "good <= registered; stacks <= stacks_used; stacks_used <= stacks: each within the tolerance, a quarter later",
        ("fab_tol",),
        HARDWARE,
        "batches that name the maker, or a correction by whoever reported too much",
    ),
    "C06": Ground(
        "C06/1",
        "imported <= arrived within the tolerance, a quarter later",
        ("customs_tol",),
        HARDWARE,
        "the missing arrivals, or a correction by the customs",
    ),
    "C07": Ground(
        "C07/1",
        "pflop_total <= pflop_possible, chip_seconds <= chips * seconds, by_class_pflop = pflop_total",
        (),
        TRAINING,
        "a correction, or a count that shows more chips",
    ),
    "C10": Ground(
        "C10/1",
        "|counters_pflop - operator_pflop| * 10000 <= tolerance_bp * counters_pflop",
        (),
        TRAINING,
        "a correction by the operator, or inspectors who find the counters wrong",
    ),
    "C14": Ground(
        "C14/1",
        "work within plan + 2 %, in the approved tier, with reports, oversight and code as planned",
        ("oversight_bp", "progress"),
        TRAINING,
        "evidence of the work really done, before two thirds set the finding aside",
    ),
    "C15": Ground(
        "C15/1",
        "runs of one lineage, owner, code or data below the frontier stay below it together",
        ("frontier_flop", "lineage_window"),
        TRAINING,
        "evidence that the runs are not one training",
    ),
    "C19": Ground(
        "C19/1",
        "checked >= plan by due, mismatches = 0, inspectors let in",
        ("routine", "routine_due"),
        TRAINING,
        "a further inspection by lot",
    ),
    "C23": Ground(
        "C23/1",
        "least_kw * 1000 <= max_w and the tolerance",
        ("thermal_tol",),
        TRAINING,
        "an inspection, or a declaration of what draws the power",
    ),
    "C24": Ground(
        "C24/1",
        "cost_usd >= floor_usd; top_bp >= floor_bp",
        ("cost_floor", "readiness_floor", "choke_floor"),
        HARDWARE,
        "nothing: it calls for a review",
    ),
    "C25": Ground(
        "C25/1",
        "|measured_bp - forecast_bp| <= tolerance + 3 * sqrt(measured_bp * (10000 - measured_bp) / items)",
        ("forecast_tol",),
        TRAINING,
        "an explanation of the difference, or evaluations on held-out items",
    ),
    "C26": Ground(
        "C26/1",
        "0.5 <= 6 * active parameters * tokens / work <= 3; token sums, roots, licences and rights as said",
        ("danger_cap", "unlicensed_bp", "rights"),
        TRAINING,
        "a corrected manifest, a licence, or a proof of absence",
    ),
    "C27": Ground(
        "C27/1",
        "every model that serves is DEPLOYED, in its mode, at its sites",
        (),
        DEPLOYMENT,
        "evidence that another model served",
    ),
    "C28": Ground(
        "C28/1",
        "each duty is done by its due second",
        ("access", "census", "inventory", "meeting", "reeval", "steward_share", "tip_response"),
        TRAINING,
        "doing it, and the reply",
    ),
    "C29": Ground(
        "C29/1",
        "no author says two things under one number, corrects what a finding rests on, or counts another's chips",
        (),
        HARDWARE,
        "evidence that the key was not the author's",
    ),
}
# Checks whose formula a later law changed: (check, first law) -> its row from then on.
_SINCE: Final[dict[tuple[str, int], Ground]] = {
    ("C14", 3): GROUNDS["C14"]._replace(
        formula="C14/2",
        asks="work within plan + 2 %, in the approved tier, with reports, oversight, code and teachers as planned",
    ),
}


def ground_of(check: str, law: int) -> Ground:
    """A check's row as that law reads it."""
    later = [ground for (name, since), ground in _SINCE.items() if name == check and since <= law]
    return later[-1] if later else GROUNDS[check]

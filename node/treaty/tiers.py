"""Which tier a training run or a model falls into (MODEL 8, LAW K17).

Tier 3 needs an open horizon, Tier 2 a plenary, Tier 1 a panel, Tier 0 nothing. The upper gates are
"more than", the lower ones "from": exactly 10^12 parameters is not yet Tier 3, exactly 10^9 is
already Tier 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from node.treaty.policy import Policy, safer

FLOP_PER_PFLOP: Final = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A tier and the gates that decided it: those of that tier alone, in fixed order."""

    tier: int
    gates: tuple[str, ...]


class Gates(NamedTuple):
    """The thresholds that apply to one run. PFLOP, parameters and basis points."""

    t1_params: int
    t1_flop: int
    frontier_flop: int
    posttrain_flop: int
    horizon_flop: int
    param_cap: int
    bench_cap: int


def gates_at(policy: Policy, at_s: int) -> Gates:
    """The thresholds in force at a ledger second."""
    return Gates._make(policy.value(name, at_s) for name in Gates._fields)


def safer_gates(one: Gates, other: Gates) -> Gates:
    """Of each threshold the safer (LAW K36: what binds a run between its plan and its start)."""
    return Gates._make(map(safer, Gates._fields, one, other))


def tier_of_run(
    gates: Gates,
    *,
    params_total: int,
    own_pflop: int,
    lineage_pflop: int,
    has_parents: bool,
    forecast_bp: int,
    measured_over_cap: bool = False,
) -> Tier:
    """The tier of a declared run. `measured_over_cap`: evaluators of two states found its model over the cap (K47).

    `lineage_pflop` holds the run's own work and that of all distinct ancestors. It decides the gates of
    Tier 2 and 3; that of Tier 1 reads the run's own work, as MODEL 8 words it.
    """
    return (
        _passed(
            3,
            {
                "params": params_total > gates.param_cap,
                "flop": lineage_pflop > gates.horizon_flop,
                "bench": measured_over_cap or forecast_bp > gates.bench_cap,
            },
        )
        or _passed(
            2,
            {
                "flop": lineage_pflop >= gates.frontier_flop,
                "posttrain": has_parents and own_pflop >= gates.posttrain_flop,
            },
        )
        or _passed(
            1,
            {
                "params": params_total >= gates.t1_params,
                "flop": own_pflop >= gates.t1_flop,
            },
        )
        or Tier(tier=0, gates=())
    )


def tier_of_model(
    parameters: int | None,
    flop: int | None,
    mmlu_bp: int | None,
    policy: Policy,
    at_s: int = 0,
) -> Tier | None:
    """The tier of a published model from whatever is known of it; None if it cannot be judged.

    `parameters` is a count, `flop` training work in FLOP (not PFLOP), `mmlu_bp` the benchmark score
    in 1/10000. Without parameters and work there is no judgement, unless the score alone is above its
    cap: no other figure could lower that. Gates: "params", "flop", "bench".
    """
    gates = gates_at(policy, at_s)
    if parameters is None and flop is None and (mmlu_bp or 0) <= gates.bench_cap:
        return None
    params, work = parameters or 0, flop or 0
    return (
        _passed(
            3,
            {
                "params": params > gates.param_cap,
                "flop": work > gates.horizon_flop * FLOP_PER_PFLOP,
                "bench": (mmlu_bp or 0) > gates.bench_cap,
            },
        )
        or _passed(2, {"flop": work >= gates.frontier_flop * FLOP_PER_PFLOP})
        or _passed(
            1,
            {"params": params >= gates.t1_params, "flop": work >= gates.t1_flop * FLOP_PER_PFLOP},
        )
        or Tier(tier=0, gates=())
    )


def _passed(tier: int, conditions: Mapping[str, bool]) -> Tier | None:
    gates = tuple(name for name, holds in conditions.items() if holds)
    return Tier(tier=tier, gates=gates) if gates else None

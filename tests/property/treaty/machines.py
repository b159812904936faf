"""State machines over random histories: one a family of rules, all watched for every invariant (MODEL 12).

Members 4 to 40, hostile ones up to k. Each machine mixes what its family may say, sensible often enough to get far, with what all
share: votes of single states and of all honest ones, contradictions, restarts, stillstands, and time.

    python -m tests.property.treaty.machines --budget 600 [--seed 1] [--family Governance]

hunts that many seconds with fresh seeds, and prints a history that breaks an invariant, shrunk.
"""

import argparse
import random
import sys
import time
from typing import Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as with_seed
from hypothesis.stateful import run_state_machine_as_test

from tests.property.treaty.aftermath_at_work import Aftermath
from tests.property.treaty.family import Family
from tests.property.treaty.operators_at_work import Sites, Trainings
from tests.property.treaty.states_at_work import Governance, Membership

FAMILIES: Final[dict[str, type[Family]]] = {
    one.__name__: one for one in (Governance, Trainings, Sites, Membership, Aftermath)
}


def run(
    family: type[Family], *, examples: int, steps: int, seed: int | None, shrink: bool = False
) -> None:
    """Raises Broken, or whatever else a history brought about. Without a seed always the same histories."""
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, database=None, phases=phases,
        derandomize=seed is None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
        print_blob=False,
    )  # fmt: skip
    # A class of its own for each run: the decorator marks it.
    machine = type(family.__name__, (family,), {})
    if seed is not None:
        machine = with_seed(seed)(machine)
    run_state_machine_as_test(machine, settings=chosen)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--budget", type=int, required=True, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--family", choices=sorted(FAMILIES), default=None)
    given = parser.parse_args(arguments)
    ends = time.monotonic() + given.budget
    seeds = random.Random(given.seed)
    chosen = [FAMILIES[given.family]] if given.family else list(FAMILIES.values())
    histories = 0
    while time.monotonic() < ends:
        for family in chosen:
            seed = seeds.randrange(1 << 32)
            print(f"{family.__name__} seed {seed}: {histories} histories so far", file=sys.stderr)
            run(family, examples=20, steps=60, seed=seed, shrink=True)
            histories += 20
    print(f"{histories} histories, no invariant broken")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

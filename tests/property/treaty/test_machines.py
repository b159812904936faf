"""The state machines in their short form, and a mutant of the law for each invariant (MODEL 12).

The long form: `python -m tests.property.treaty.machines --budget 600`; all mutants: `python -m tests.property.treaty.mutants`.
"""

from collections import Counter
from unittest.mock import patch

import pytest

from node.treaty.derived import CaseStep, Decision, Drawn, Outage, RunStep
from tests.compiled import plain_law_only
from tests.property.treaty.family import Family
from tests.property.treaty.machines import FAMILIES, run
from tests.property.treaty.mutants import MUTANTS, hunt
from tests.property.treaty.operators_at_work import Trainings

HISTORIES = 12
STEPS = 50
REACHED: Counter[tuple[str, ...]] = Counter()


@pytest.fixture(scope="module")
def watched() -> Counter[tuple[str, ...]]:
    """All families once; what their histories came to."""
    finish = Family.teardown

    def teardown(self: Family) -> None:
        if self.world is not None:
            for one in self.world.record:
                match one:
                    case Decision():
                        REACHED[one.kind, one.outcome] += 1
                    case RunStep():
                        REACHED["run", one.status] += 1
                    case Drawn():
                        REACHED["drawn", one.what, "by lot" if one.drawn else "nobody"] += 1
                    case CaseStep():
                        REACHED["case", one.status] += 1
                    case Outage():
                        REACHED["outage",] += 1
                    case _:
                        pass
            REACHED["restarts",] += self.world.restarts
        finish(self)

    with patch.object(Family, "teardown", teardown):
        for family in FAMILIES.values():
            run(family, examples=HISTORIES, steps=STEPS, seed=None)
    return REACHED


@pytest.mark.measure("M10", "X17")
def test_no_history_breaks_an_invariant(watched: Counter[tuple[str, ...]]) -> None:
    """And they get far enough to mean something."""
    wanted = {
        *(("AMEND", "adopted"), ("AMEND", "unchanged"), ("TIGHTEN_NOW", "lapsed")),
        *(("HALT", "lapsed"), ("INSPECT", "goes_ahead"), ("BREACH", "upheld")),
        *(("BREACH", "set_aside"), ("SUSPEND", "suspended"), ("TRAIN", "approved")),
        *(("CLASS", "granted"), ("run", "RUNNING"), ("run", "SEALED"), ("case", "EXPLAINED")),
        *(("drawn", "panel", "by lot"), ("drawn", "panel", "nobody"), ("outage",), ("restarts",)),
    }
    assert wanted <= set(watched), wanted - set(watched)


def test_the_best_way_of_a_run_ends_in_its_deployment() -> None:
    """So that what the invariants ask of a deployment is asked of one."""
    machine = Trainings()
    machine.found(members=9, hostile=1, turn=0)
    assert machine.world is not None
    for _ in range(3):
        for pick in range(3):
            machine.see_through(pick, 9)
    statuses = {life.status for life in machine.world.law.book.state.lives.values()}
    assert "DEPLOYED" in statuses, statuses
    machine.teardown()


@plain_law_only
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_of_the_law_breaks_its_invariant(name: str) -> None:
    broke, _ = hunt(name, histories=120)
    assert broke in MUTANTS[name].caught_by.split(" or ")

"""PACEMAKER P1: what a peer that is stuck gets for each commit is enough to decide it as well.

A member whose floor rose can no longer serve what lies below it. It answers with each commit's *deciders* instead; from them and
their history alone the other must come to the same commits. Else one member of four can stop all others for ever.
"""

from random import Random

from hypothesis import HealthCheck, given, settings

from consensus.commit_rule import Status, decide, deciders
from consensus.dag import Dag
from consensus.types import Block, Ref, Round
from tests.property.consensus import dags

SEEDS = 500


def check_view(history: dags.Dag, blocks: list[Block]) -> int:
    """Returns how many commits were rebuilt from their deciders, each from those of the commits up to it alone."""
    dag = Dag(history.committee)
    for made in blocks:
        dag.accept(made)
    decisions = decide(dag, Round(1))
    by_ref = {made.ref: made for made in blocks}
    named: set[Ref] = set()
    expected: list[Ref] = []
    for position, decision in enumerate(decisions):
        if decision.status is Status.UNDECIDED:
            break
        named.update(deciders(dag, decisions, position))
        if decision.leader is not None:
            expected.append(decision.leader)
            assert rebuilt(history, by_ref, named)[: len(expected)] == expected, decision
    return len(expected)


def rebuilt(history: dags.Dag, by_ref: dict[Ref, Block], named: set[Ref]) -> list[Ref]:
    """The sequence of one who knows these blocks and what lies below them."""
    dag = Dag(history.committee)
    for ref in sorted(dags.closure(by_ref, named)):
        dag.accept(by_ref[ref])
    leaders = []
    for decision in decide(dag, Round(1)):
        if decision.status is Status.UNDECIDED:
            break
        if decision.leader is not None:
            leaders.append(decision.leader)
    return leaders


def test_deciders_are_enough_in_seeded_histories() -> None:
    commits = 0
    for seed in range(SEEDS):
        chance = dags.Seeded(Random(seed))
        history = dags.random_dag(chance, sizes=(4, 10), rounds=(5, 14))
        try:
            commits += check_view(history, dags.random_view(chance, history))
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
    print(f"{SEEDS} histories, {commits} commits rebuilt from their deciders")
    assert commits >= 3 * SEEDS


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(dags.small_dags())
def test_deciders_are_enough_in_drawn_histories(drawn: tuple[dags.Dag, list[list[Block]]]) -> None:
    history, views = drawn
    check_view(history, views[0])

"""The shipping commit rule against the naive twin, on histories that nobody chose.

Each view of each history is fed to a `Dag` block by block. Whenever a round has grown, and at the end, `decide` must say of
every slot what the twin says of the same blocks; what was decided must never change as blocks arrive; and two views of one
history must never disagree on a slot that both decide. Then the committed sequence goes through both linearizers.

The seeded run prints its numbers (`pytest -rP`): with the seeds below, 800 histories of 4 to 10 members, 2,400 views.
"""

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings

from consensus.commit_rule import Decision, Status, decide
from consensus.dag import Dag
from consensus.linearizer import Linearizer
from consensus.types import Block, Ref, Round
from consensus.validity import check_block
from tests.property.consensus import dags, naive
from tests.property.consensus.naive import Name, Verdict
from tests.unit.consensus.blocks import GENESIS_MS, History, committee_of

SEEDS = 800
BATCHES = 4  # so that a failure names a small range, and no test runs long
VIEWS = 3
ROUNDS = (5, 14)
SIZES = (4, 10)


@dataclass(slots=True)
class Tally:
    """What ran."""

    histories: int = 0
    equivocating: int = 0  # histories with an equivocator
    blocks: int = 0  # accepted, over all views
    slots: int = 0  # decisions compared with the twin's
    kinds: Counter[str] = field(default_factory=Counter)  # final ones, by status and way
    split: int = 0  # final decisions on a slot with two proposals or more
    unlinked: int = 0  # final decisions: skipped by an anchor although a certificate is known outside its history
    commits: int = 0  # linearized

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        return (
            f"{self.histories} histories ({self.equivocating} with an equivocator), {self.blocks} blocks accepted, "
            f"{self.slots} slot decisions compared; at the end {kinds}; {self.split} on slots with several proposals, "
            f"{self.unlinked} skips beside a certificate that the anchor does not know; "
            f"{self.commits} commits linearized"
        )


def verdict(decision: Decision) -> Verdict:
    """The shipping decision in the twin's words."""
    return Verdict(
        status=decision.status.value,
        direct=decision.how is not None and decision.how.value == "direct",
        leader=None if decision.leader is None else Name(*decision.leader),
    )


def compare(dag: Dag, blocks: Sequence[Block], tally: Tally) -> dict[int, Verdict]:
    """Every slot, from round 1 and from every later round on: a caller goes on after the last slot it has finished."""
    size = dag.committee.size
    expected = naive.decide(dags.naive_view(blocks), size)
    for first in (1, dag.highest_round // 2):
        shipped = decide(dag, Round(max(first, 1)))
        assert [d.author for d in shipped] == [d.round % size for d in shipped]
        assert {d.round: verdict(d) for d in shipped} == {
            round_: said for round_, said in expected.items() if round_ >= first
        }
    tally.slots += len(expected)
    return expected


def check_view(history: dags.Dag, blocks: Sequence[Block], tally: Tally) -> dict[int, Verdict]:
    """Feed one view; compare whenever a new round was opened, five blocks later, and at the end."""
    dag = Dag(history.committee)
    known: dict[int, Verdict] = {}
    since_new_round = 0
    for count, made in enumerate(blocks, start=1):
        since_new_round = 0 if made.ref.round > dag.highest_round else since_new_round + 1
        dag.accept(made)
        if since_new_round in (0, 5) or count == len(blocks):
            now = compare(dag, blocks[:count], tally)
            must_agree(known, now, "what was decided changed")
            assert known.keys() <= now.keys()
            known = now
    tally.blocks += len(blocks)
    view = dags.naive_view(blocks)
    for round_, said in known.items():
        way = "" if said.status == "undecided" else "direct " if said.direct else "indirect "
        tally.kinds[way + said.status] += 1
        proposals = dag.slot(Round(round_), history.committee.leader(Round(round_)))
        tally.split += len(proposals) > 1 and said.status != "undecided"
        tally.unlinked += said.status == "skip" and any(
            naive.certifies(view, node, Name(*proposal), history.committee.size)
            for proposal in proposals
            for node in naive.in_round(view, round_ + 2)
        )
    check_sequence(dag, blocks, tally)
    return known


def must_agree(one: Mapping[int, Verdict], other: Mapping[int, Verdict], what: str) -> None:
    """No slot is decided in two ways. Directly or not may differ: a slot may be seen to be decided by either road."""
    for round_ in one.keys() & other.keys():
        ours, theirs = one[round_], other[round_]
        if "undecided" not in (ours.status, theirs.status):
            assert (ours.status, ours.leader) == (theirs.status, theirs.leader), (what, round_)
        if what == "what was decided changed":
            assert theirs.status != "undecided" or ours.status == "undecided", (what, round_)


def check_sequence(dag: Dag, blocks: Sequence[Block], tally: Tally) -> None:
    """The committed prefix through both linearizers, with floors that bite and without."""
    leaders: list[Ref] = []
    for decision in decide(dag, Round(1)):
        if decision.status is Status.UNDECIDED:
            break
        if decision.leader is not None:
            leaders.append(decision.leader)
    view = dags.naive_view(blocks)
    assert [Name(*leader) for leader in leaders] == naive.sequence(view, dag.committee.size)
    for gc_depth in (3, 5, 128):
        linearizer = Linearizer(dag.committee, gc_depth=gc_depth)
        expected = naive.linearize(
            view, [Name(*leader) for leader in leaders], gc_depth=gc_depth, genesis_ms=GENESIS_MS
        )
        for leader, ordered in zip(leaders, expected, strict=True):
            commit = linearizer.order(dag, leader)
            assert [Name(*ref) for ref in commit.blocks] == list(ordered.blocks)
            assert commit.time_ms == ordered.time_ms
        last = leaders[-1].round if leaders else 0
        assert linearizer.floor == max(0, last - gc_depth)
        assert len({ref for done in expected for ref in done.blocks}) == sum(
            len(done.blocks) for done in expected
        ), "a block was ordered twice"
    tally.commits += 3 * len(leaders)


def check_history(chance: dags.Chance, tally: Tally) -> None:
    history = dags.random_dag(chance, sizes=SIZES, rounds=ROUNDS)
    tally.histories += 1
    tally.equivocating += any(len(variants) > 1 for variants in history.variants.values())
    said = [check_view(history, dags.random_view(chance, history), tally) for _ in range(VIEWS)]
    for position, one in enumerate(said):
        for other in said[position + 1 :]:
            must_agree(one, other, "two views disagree")


@pytest.mark.parametrize("batch", range(BATCHES))
def test_twin_and_rule_agree_on_seeded_histories(batch: int) -> None:
    tally = Tally()
    for seed in range(batch, SEEDS, BATCHES):
        try:
            check_history(dags.Seeded(Random(seed)), tally)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
    print(tally)
    # The histories are worth comparing on: every road is taken often, and equivocators are in the way.
    for kind in ("direct commit", "direct skip", "indirect commit", "indirect skip", "undecided"):
        assert tally.kinds[kind] >= 30, (kind, tally)
    assert tally.split >= 50, tally
    assert tally.unlinked >= 2, tally  # rare: the case has a unit test of its own
    assert tally.equivocating >= 50, tally


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(dags.small_dags())
def test_twin_and_rule_agree_on_drawn_histories(drawn: tuple[dags.Dag, list[list[Block]]]) -> None:
    history, views = drawn
    tally = Tally()
    said = [check_view(history, view, tally) for view in views]
    must_agree(said[0], said[1], "two views disagree")


def test_generated_blocks_are_valid() -> None:
    """Else the comparison would be about histories that cannot be."""
    for seed in range(0, SEEDS, 20):
        history = dags.random_dag(dags.Seeded(Random(seed)), sizes=SIZES, rounds=ROUNDS)
        assert len(history.equivocators) <= history.committee.faults
        for made in history.blocks:
            check_block(made, history.committee)
        for (_, author), variants in history.variants.items():
            assert len(variants) == 1 or author in history.equivocators
        names = [made.ref for made in history.blocks]
        assert len(names) == len(set(names))


def test_the_twin_uses_nothing_of_the_order() -> None:
    """It would find nothing if it were the same code."""
    tree = ast.parse(Path(naive.__file__).read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported == {"collections.abc", "dataclasses", "typing"}


def test_the_twin_knows_the_plain_cases() -> None:
    """The twin against answers worked out by hand, so that both may not be wrong in one way."""
    committee = committee_of(4)
    assert naive.quorum(committee.size) == 3
    drawn = History(committee=committee)
    drawn.round(1)
    leader = Name(*drawn.blocks[1].ref)
    drawn.rounds(2, 3)
    assert naive.decide(dags.naive_view(drawn.blocks), 4) == {
        1: Verdict("commit", direct=True, leader=leader)
    }
    silent = History(committee=committee)
    silent.rounds(1, 3, authors=(0, 2, 3))
    assert naive.decide(dags.naive_view(silent.blocks), 4) == {1: Verdict("skip", direct=True)}

"""The no-veto gate holds for what ships, and fails for cores that need somebody."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from consensus.committee import Committee
from consensus.core import Core
from consensus.dag import Dag
from consensus.pacemaker import Pacemaker, Rule
from consensus.parents import choose_parents
from consensus.simulate import censorship, gate, veto
from consensus.simulate.adversaries import Puppet
from consensus.simulate.censorship import Plot, Way
from consensus.simulate.cluster import MakeCore
from consensus.simulate.node import Machine
from consensus.simulate.regime import Regime
from consensus.simulate.veto import Behaviour, Trial
from consensus.types import Millis, Recovered, Ref, Round, ValidatorIndex, VerifiedBlock

ROOT = Path(__file__).resolve().parent.parent.parent


class NeedsItsLeader(Pacemaker):
    """Without C2: no timeout, so whoever leads and is silent stops everybody."""

    def rule(self, dag: Dag, now: Millis, *, may_idle: bool) -> Rule | None:
        found = super().rule(dag, now, may_idle=may_idle)
        return None if found is Rule.C2 else found


class NeedsAll(Dag):
    """A quorum of all: what a treaty with a veto for everybody would be."""

    def has_quorum(self, round_: Round) -> bool:
        return self.authors(round_).bit_count() == self.committee.size


def core(committee: Committee, regime: Regime, own: ValidatorIndex, recovered: Recovered) -> Core:
    return Core(
        committee=committee,
        own=own,
        parameters=regime.parameters,
        recovered=recovered,
        gc_depth=regime.gc_depth,
    )


def needs_its_leader(
    committee: Committee, regime: Regime, own: ValidatorIndex, recovered: Recovered
) -> Machine:
    made = core(committee, regime, own, recovered)
    made.pacemaker.__class__ = NeedsItsLeader
    return made


def needs_all(
    committee: Committee, regime: Regime, own: ValidatorIndex, recovered: Recovered
) -> Machine:
    made = core(committee, regime, own, recovered)
    made.dag.__class__ = NeedsAll
    return made


@pytest.mark.measure("M10", "X04")
def test_no_member_has_a_veto() -> None:
    found = gate.examine([4, 5], quick=True)
    assert found["findings"] == []
    rows = found["no_veto"]
    assert {row["behaviour"] for row in rows} == {each.value for each in Behaviour}
    assert all(row["entries_ordered"] == row["entries_given"] > 0 for row in rows)
    assert all(0 < row["worst_rounds"] <= veto.ROUNDS_MAX for row in rows)
    for row in found["censorship"]:
        assert row["entries_ordered"] == row["entries_given"] > 0
        assert row["rounds_p50"] <= row["rounds_p99"] <= row["rounds_max"] <= row["rounds_argued"]


def test_one_more_than_tolerated_stops_the_log_and_does_not_split_it() -> None:
    """They are needed: else this gate would tolerate anything. Cut off, they come back and nothing was lost."""
    for behaviour in (Behaviour.SILENT, Behaviour.CUT_OFF):
        found = veto.run(Trial(size=4, members=(1, 3), behaviour=behaviour), seed=3)
        assert (found.ordered, found.forked, found.vetoed) == (0, "", "")
        assert found.given == 2 * veto.ENTRIES


@pytest.mark.parametrize(
    ("make", "behaviour"),
    [
        (needs_its_leader, Behaviour.SILENT),
        (needs_its_leader, Behaviour.CUT_OFF),
        (needs_all, Behaviour.SILENT),
    ],
)
def test_the_gate_finds_a_veto(make: MakeCore, behaviour: Behaviour) -> None:
    found = veto.run(Trial(size=4, members=(2,), behaviour=behaviour), seed=1, make=make)
    assert found.is_finding
    assert "not ordered" in found.vetoed


def test_the_gate_finds_a_fork() -> None:
    """Two of four who sign two chains split the log: the history checker of the gate is awake."""
    verdicts = [
        veto.run(
            Trial(size=4, members=(1, 2), behaviour=Behaviour.LYING, lie="two-chains"), seed=seed
        )
        for seed in range(40)
    ]
    forks = [verdict for verdict in verdicts if verdict.forked]
    assert forks
    assert all("elsewhere" in verdict.forked for verdict in forks)
    assert not any(verdict.is_finding for verdict in forks)  # n = 3f + 1: beyond the promise


def test_a_fork_counts_wherever_two_quorums_share_an_honest_member() -> None:
    def excluded(size: int, count: int) -> bool:
        members = tuple(range(count))
        lying = Trial(size=size, members=members, behaviour=Behaviour.LYING, lie="mix")
        return lying.fork_is_excluded

    assert [excluded(size, 2) for size in (4, 5, 6, 7)] == [False, True, True, True]
    assert not excluded(7, 3)
    assert Trial(size=4, members=(0, 1), behaviour=Behaviour.SILENT).fork_is_excluded


def test_colluders_never_refer_to_their_victim(monkeypatch: pytest.MonkeyPatch) -> None:
    """And do make blocks: a colluder that is silent would censor nobody."""
    seen: list[tuple[Ref, ...]] = []
    make = Puppet.make

    def watched(self: Puppet, round_: int, parents: tuple[Ref, ...]) -> VerifiedBlock:
        seen.append(parents)
        return make(self, round_, parents)

    monkeypatch.setattr(Puppet, "make", watched)
    plot = Plot(size=4, colluders=(0,), victim=2, way=Way.SHUN, victim_is_slow=True)
    rounds = censorship.measure(plot, seed=5)
    assert None not in rounds
    assert len(seen) > 10
    assert not any(parent.author == 2 for parents in seen for parent in parents)


def test_censorship_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Honest members that shun as well: what the rule of parents forbids."""

    def shunning(dag: Dag, own_last: Ref, *rest: Any, **named: Any) -> tuple[Ref, ...]:
        parents = choose_parents(dag, own_last, *rest, **named)
        return tuple(ref for ref in parents if ref.author != 2 or own_last.author == 2)

    monkeypatch.setattr("consensus.core.choose_parents", shunning)
    plot = Plot(size=7, colluders=(0, 1), victim=2, way=Way.SHUN_AND_BALK, victim_is_slow=False)
    rounds = censorship.measure(plot, seed=5)
    bound = censorship.argued_bound(7)
    assert any(each is None or each > bound for each in rounds), rounds


def test_as_a_process(tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "node.cli.main", "simulate", "veto", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    held = call("--members", "4", "--quick", "--json")
    assert held.returncode == 0, held.stderr
    assert json.loads(held.stdout)["findings"] == []
    table = call("--members", "4", "--quick", "--jobs", "2")
    assert table.returncode == 0
    assert table.stdout.startswith("No veto found: in 9 trials")
    wrong = call("--members", "3", "--json")
    assert wrong.returncode == 2
    assert "from 4 to 10" in json.loads(wrong.stdout)["error"]

"""Whole nodes in virtual time: what they promise holds over drawn faults, and the simulation itself is repeatable and not blind.

The long search is `python -m tests.simulation --seconds N`; here are a few seeds, some fixed, some new at every call.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.simulate.regime import fresh
from tests.simulation.driver.cluster import Cluster
from tests.simulation.driver.disk import Point
from tests.simulation.driver.loop import US
from tests.simulation.driver.regime import LATER_STRATEGIES, STRATEGIES, Crash, What, bears, draw
from tests.simulation.driver.scripted import calm
from tests.simulation.hunt import main
from tests.simulation.kept import kept

ROOT = Path(__file__).resolve().parent.parent.parent
FIXED = 2
FRESH = 1
LARGEST = 5  # in the suite; the search goes to 25, and knows no other limit either
ENTRIES_MAX = 400  # of all clients while it storms: kept seeds with more have a test of their own (`test_members`)


def small(seed: int) -> bool:
    regime = draw(seed)
    entries = sum(regime.storm_ms // client.every_ms for client in regime.clients)
    return regime.size <= LARGEST and entries <= ENTRIES_MAX


def test_without_faults_four_nodes_make_a_hundred_entries_final() -> None:
    outcome = Cluster(calm()).run()
    assert outcome.entries >= 100
    assert outcome.acknowledged == outcome.entries
    assert outcome.recovery_s < 2


@pytest.mark.parametrize(
    "seed",
    [*filter(small, [*kept("driver"), *range(FIXED)]), *filter(small, fresh(FRESH))],
    ids=hex,
)
def test_whole_nodes_share_one_history(seed: int) -> None:
    outcome = Cluster(draw(seed)).run()
    assert outcome.commits > 0
    assert outcome.entries > 0


SCRIPTED = {
    # Its clients have acknowledgements for entries that no block holds yet.
    "home loses power": replace(
        calm(), crashes=(Crash(at_ms=1_030, seat=0, how="power", down_ms=300),)
    ),
    "forged lines": replace(calm(100), liars=((2, "forger"),)),
    "garbled blocks": replace(calm(100), liars=((2, "garbler"),)),
    "connections end": replace(calm(100), resets=tuple((at, 0, 1) for at in (500, 900, 1_300))),
}


@pytest.mark.parametrize("name", SCRIPTED)
def test_scripted_faults(name: str) -> None:
    outcome = Cluster(SCRIPTED[name]).run()
    assert outcome.acknowledged == outcome.entries > 10


def test_crafted_blocks_are_taken_for_what_they_are() -> None:
    """Far rounds, parents that do not exist, second blocks of a slot, stuffed votes: well signed, and of no use."""
    cluster = Cluster(replace(calm(100), liars=((2, "crafter"),)))
    outcome = cluster.run()
    assert outcome.acknowledged == outcome.entries > 10
    # Votes for commits that never were are seen by whoever has the commit; none of the rest got anywhere.
    engines = [machine.life.engine for machine in cluster.honest if machine.life is not None]
    assert any(engine is not None and engine.alarms() for engine in engines)


def test_the_seeds_meet_what_they_are_meant_to_meet() -> None:
    """Regimes that never crash, cut or lie would let everything pass."""
    regimes = [draw(seed) for seed in range(400)]
    assert {regime.size for regime in regimes} == {4, 5, 7, 10, 13, 25}
    assert {name for regime in regimes for _, name in regime.liars} == {
        *STRATEGIES,
        *LATER_STRATEGIES,
    }
    crashes = [crash for regime in regimes for crash in regime.crashes]
    assert {crash.how for crash in crashes} == {"power", "kill", "stop", *Point}
    assert any(regime.fills for regime in regimes)
    assert any(regime.jumps for regime in regimes)
    assert any(regime.slow for regime in regimes)
    assert any(len(regime.changes) > 1 for regime in regimes)
    for what in What:
        assert any(regime.of(what) for regime in regimes)
    assert any(len(regime.of(What.JOINS)) > 1 for regime in regimes)
    assert any(regime.of(What.JOINS) and regime.of(What.LEAVES) for regime in regimes)
    assert any(seat >= regime.size for regime in regimes for seat in regime.byzantine)
    assert any(regime.byzantine & regime.leaving for regime in regimes)
    assert all(bears(each.size, each.liars, each.of(What.LEAVES)) for each in regimes)
    assert any(not regime.weather.ordered and regime.weather.loss >= 300 for regime in regimes)
    assert any(
        not any((b, a) in cut.links for a, b in cut.links)
        for regime in regimes
        for cut in regime.cuts
    )


def test_a_failing_seed_is_kept_and_shown_with_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept_file = tmp_path / "kept.txt"
    kept_file.write_text("# none yet\n", encoding="utf-8")
    monkeypatch.setattr("tests.simulation.kept.FILE", kept_file)
    monkeypatch.setattr("tests.simulation.driver.cluster.HEAL_S", -1)  # nobody can be so quick
    arguments = ["--driver", "--seeds", "1", "--largest", "5", "--keep"]
    assert main(arguments) == 1
    assert kept("driver") == [0]
    assert main(arguments) == 1
    assert kept("driver") == [0]
    assert "python -m tests.simulation --driver --seed 0x0 --trace" in capsys.readouterr().err


def trace_of(seed: int, hash_seed: str) -> bytes:
    """Everything that happens in a run in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT}:{ROOT}/proto"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--driver", "--seed", str(seed), "--trace"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


def test_two_hash_seeds_give_one_trace() -> None:
    """Of a run with crashes, liars and loss; and another seed gives another trace, else this would compare nothing."""
    one, other = trace_of(9, "1"), trace_of(9, "4242")
    assert one.count(b"\n") > 1_000
    assert one == other
    assert one != trace_of(27, "1")


def test_ten_idle_minutes_take_seconds() -> None:
    cluster = Cluster(replace(calm(), clients=()))
    cluster.storm()
    cluster.world.run(600 * US)
    assert all(machine.life is not None and machine.life.ready for machine in cluster.honest)
    cluster.close()

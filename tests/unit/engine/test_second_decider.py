"""The decision log is checkable by a second implementation (decision 0181): one that shares no code with the first.

Logs are the driver's own, of an observer's core that is fed random histories: silent members, lost links, equivocators.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consensus.codec import encode_block
from consensus.core import Core
from consensus.events import BlocksReceived, CommitDecided
from consensus.types import Millis, Parameters, Recovered, ValidatorIndex, VerifiedBlock
from node.engine.outcomes import DecisionLog, Outcomes
from node.telemetry import Metrics
from tests.property.consensus.dags import Dag, Seeded, random_dag
from tests.unit.consensus.blocks import GENESIS_MS
from tests.unit.engine.second_decider import Checker, WrongLine

SEEDS = range(24)
SENDER = ValidatorIndex(0)
Lines = list[dict[str, Any]]


def log_of(dag: Dag, path: Path) -> Lines:
    """What the driver writes while an observer is given these blocks, a few at a time."""
    held = {made.ref: made for made in dag.blocks}
    states = [f"S{member}" for member in range(dag.committee.size)]
    log = DecisionLog(path, states)
    outcomes = Outcomes(
        committee=dag.committee, states=states, metrics=Metrics("S0"), block_of=held.get, log=log
    )
    core = Core(committee=dag.committee, own=None, parameters=Parameters(), recovered=Recovered())
    core.start(Millis(GENESIS_MS))
    for first in range(0, len(dag.blocks), 3):
        given = tuple(map(VerifiedBlock, dag.blocks[first : first + 3]))
        for effect in core.step(Millis(GENESIS_MS + first), BlocksReceived(SENDER, given)):
            if isinstance(effect, CommitDecided):
                outcomes.committed(effect)
    outcomes.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


def drawn(seed: int, path: Path) -> tuple[Lines, Checker]:
    dag = random_dag(Seeded(Random(seed)), sizes=(4, 7), rounds=(20, 40))
    return log_of(dag, path), Checker(map(encode_block, dag.blocks), dag.committee.leaders)


def test_every_line_of_every_kind_holds(tmp_path: Path) -> None:
    done: Counter[str] = Counter()
    for seed in SEEDS:
        lines, checker = drawn(seed, tmp_path / f"{seed}.jsonl")
        done += checker.check(lines)
    kinds = ("commit direct", "skip direct", "commit indirect", "skip indirect")
    assert min(done[kind] for kind in kinds) >= 10, done
    assert sum(done[f"{decision} open"] for decision in ("commit", "skip")) < done.total() // 10


def _other_leader(line: dict[str, Any]) -> None:
    line["member"] += 1


def _one_decider_less(line: dict[str, Any]) -> None:
    quorum_round = min(round_ for round_, _, _ in line["deciders"])
    authors = sorted({a for r, a, _ in line["deciders"] if r == quorum_round})
    line["deciders"] = [one for one in line["deciders"] if one[1] != authors[0]]
    line["deciders"] = line["deciders"][:2]


def _skipped(line: dict[str, Any]) -> None:
    line.update(decision="skip", block=None)


def _another_block(line: dict[str, Any]) -> None:
    line["block"] = "00" * 32


@pytest.mark.parametrize(
    ("change", "decision", "how"),
    [
        (_other_leader, "commit", "direct"),
        (_one_decider_less, "commit", "direct"),
        (_one_decider_less, "skip", "direct"),
        (_skipped, "commit", "direct"),
        (_skipped, "commit", "indirect"),
        (_another_block, "commit", "direct"),
        (_another_block, "commit", "indirect"),
    ],
)
def test_a_line_that_lies_is_found(
    change: Callable[[dict[str, Any]], None], decision: str, how: str, tmp_path: Path
) -> None:
    for seed in SEEDS:
        lines, checker = drawn(seed, tmp_path / f"{seed}.jsonl")
        sought = [one for one in lines[:-12] if (one["decision"], one["how"]) == (decision, how)]
        if sought:
            change(sought[0])
            with pytest.raises(WrongLine, match=f"slot {sought[0]['slot']}"):
                checker.check(lines)
            return
    pytest.fail(f"no history with a {how} {decision}")


def test_a_slot_left_out_is_found(tmp_path: Path) -> None:
    lines, checker = drawn(0, tmp_path / "log.jsonl")
    del lines[3]
    with pytest.raises(WrongLine, match="slot 5 after 3"):
        checker.check(lines)

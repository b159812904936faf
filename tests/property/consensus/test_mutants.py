"""Hand-made mistakes in the order, each of which the naive twin must find (SPEC 18: mutants of the rule must fail).

A mutant is a copy of `consensus/` with one piece of text replaced; in a process of its own it is held against the twin, on seeded
histories, until they differ. The unchanged copy must pass the same, or a broken runner would "find" everything. Who rewrites a
line that a mutant changes rewrites the mutant: its text must occur exactly once.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent.parent
HUNT = """
import sys
from pathlib import Path
from random import Random
import consensus
from consensus.commit_rule import Forked
from tests.property.consensus import dags, test_commit_rule as check
assert Path(consensus.__file__).is_relative_to(sys.argv[1]), consensus.__file__
for seed in range(int(sys.argv[2])):
    try:
        check.check_history(dags.Seeded(Random(seed)), check.Tally())
    except (AssertionError, Forked) as error:  # a mutant that is no program is not found
        print("found by seed", seed, type(error).__name__)
        sys.exit(7)
"""
FOUND = 7
SEEDS = 400  # until found; most are by the tenth
SEEDS_UNCHANGED = 40

# name, file, text, what stands in its place
MUTANTS = (
    ("a quorum of one less", "committee.py", "2 * size // 3 + 1", "2 * size // 3"),
    ("a quorum of 2f+1", "committee.py", "2 * size // 3 + 1", "2 * ((size - 1) // 3) + 1"),
    (
        "certificates counted by block, not by author",
        "commit_rule.py",
        "if dag.certifiers(leader).bit_count() >= quorum\n",
        "if sum(dag.node(r).certifies == leader for r in dag.refs(Round(round_ + 2))) >= quorum\n",
    ),
    (
        "blame counted by block, not by author",
        "commit_rule.py",
        "return all(dag.blamers(leader).bit_count() >= quorum for",
        "return all(sum(dag.node(r).vote != leader for r in dag.refs(Round(round_ + 1))) >= quorum for",
    ),
    ("the anchor at r+2", "commit_rule.py", "decision.round >= round_ + 3", "decision.round >= round_ + 2"),
    ("the anchor at r+4", "commit_rule.py", "decision.round >= round_ + 3", "decision.round >= round_ + 4"),
    ("a skip when one proposal is blamed", "commit_rule.py", "return all(dag.blamers", "return any(dag.blamers"),
    (
        "blame by slot, not by proposal",
        "dag.py",
        "            if vote != leader:\n                found |= mask",
        "            if vote is None:\n                found |= mask",
    ),
    (
        "certificates outside the anchor's history",
        "commit_rule.py",
        "for node in dag.history(anchor.leader, Round(slot.round + 2))\n",
        "for node in map(dag.node, dag.refs(Round(slot.round + 2)))\n",
    ),
    (
        "an undecided anchor passed over",
        "commit_rule.py",
        "and decision.status is not Status.SKIP",
        "and decision.status is Status.COMMIT",
    ),
    (
        "an indirect commit without a certificate",
        "commit_rule.py",
        "for leader in dag.slot(slot.round, slot.author) if leader in certified]",
        "for leader in dag.slot(slot.round, slot.author)][:1]",
    ),
    ("decided a round too soon", "commit_rule.py", "dag.highest_round - 2", "dag.highest_round - 1"),
    (
        "the floor from the present commit",
        "linearizer.py",
        "        blocks = self._not_yet_committed(dag, leader)\n",
        (
            "        self.floor = Round(max(self.floor, leader.round - self._gc_depth))\n"
            "        blocks = self._not_yet_committed(dag, leader)\n"
        ),
    ),
    ("equivocations in any order", "linearizer.py", "sorted(found)", "sorted(found, key=lambda ref: ref[:2])"),
    ("the lower median", "linearizer.py", "times[len(times) // 2]", "times[(len(times) - 1) // 2]"),
    (
        "a time that runs backwards",
        "linearizer.py",
        "max(self.time_ms, self._median_time(dag, leader))",
        "self._median_time(dag, leader)",
    ),
)  # fmt: skip


def hunt(folder: Path, seeds: int) -> subprocess.CompletedProcess[str]:
    """The twin against the `consensus` in `folder`."""
    return subprocess.run(
        [sys.executable, "-c", HUNT, str(folder), str(seeds)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def copied(folder: Path) -> Path:
    shutil.copytree(
        ROOT / "consensus", folder / "consensus", ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder


@pytest.mark.slow
def test_the_unchanged_copy_is_not_found(tmp_path: Path) -> None:
    done = hunt(copied(tmp_path), SEEDS_UNCHANGED)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "old", "new"), MUTANTS, ids=[mutant[0] for mutant in MUTANTS]
)
def test_a_mutant_is_found(tmp_path: Path, name: str, file: str, old: str, new: str) -> None:
    path = copied(tmp_path) / "consensus" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{name}: {file} no longer has this text once; rewrite the mutant"
    path.write_text(text.replace(old, new), encoding="utf-8")
    done = hunt(tmp_path, SEEDS)
    assert done.returncode == FOUND, f"{name}: {done.stdout}{done.stderr}"
    print(name, "-", done.stdout.strip())

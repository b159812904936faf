"""Hand-made mistakes in `consensus/` and in the driver, and who catches each: `python -m tests.simulation.mutants`.

A mutant is a copy of the project's consensus and its tests with one piece of text replaced. The hunters go after it in turn,
cheapest first, each in a process of its own, until one fails:

    part    the tests of the module that was changed, unit and property
    unit    all of tests/unit/consensus
    breaks  the hand-written schedules of tests/simulation
    twin    the naive reference of the commit rule, on seeded histories
    epochs  the same while members join and leave
    seeds   whole networks with liars and faults
    faults  regimes that give crashes, two chains and stragglers a chance
    script  whole nodes and one fault each, for mistakes of the driver (`driver_mutants`)
    nodes   whole nodes in virtual time, as seeds draw them, for these alone

The mutants of the rule itself are those of tests/property/consensus/test_mutants.py. What nobody catches ends the script with 1:
then a promise is not tested. Who rewrites a line that a mutant changes rewrites the mutant: its text must occur exactly once.

    --jobs N        so many at a time
    --only TEXT     those with this in their name
    --room NAME     those in consensus, or in node (the driver)
    --list          names only
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.property.consensus.test_mutants import HUNT, MUTANTS
from tests.simulation.driver_mutants import DRIVER
from tests.simulation.mutant import Mutant

ROOT: Final = Path(__file__).resolve().parent.parent.parent
COPIED: Final = (
    "consensus",
    "node",
    "tests/unit/consensus",
    "tests/unit/ledger",
    "tests/property/consensus",
    "tests/simulation",
)
SINGLE: Final = (
    "pyproject.toml",
    "tests/__init__.py",
    "tests/shared.py",
    "tests/property/__init__.py",
)
PYTEST: Final = (
    *(sys.executable, "-m", "pytest", "-x", "-q", "--no-header"),
    "-n0",  # workers would each draw fresh seeds of their own: what makes them agree is not copied
)
TIMEOUT_S: Final = 600
PART: Final = "part"  # see `parts_of`


@dataclass(frozen=True, slots=True)
class Hunter:
    name: str
    command: tuple[str, ...]
    files: tuple[str, ...] = ()  # looks at no other mutants; empty: at all of its room
    room: str = "consensus"


HUNTERS: Final = (
    Hunter(
        "twin",
        (sys.executable, "-c", HUNT, "{folder}", "60"),
        ("committee.py", "commit_rule.py", "linearizer.py", "dag.py"),
    ),
    Hunter(PART, PYTEST),
    Hunter("unit", (*PYTEST, "tests/unit/consensus")),
    Hunter(
        "breaks",
        (*PYTEST, "tests/simulation/test_breaks.py", "tests/simulation/test_breaks_more.py"),
    ),
    Hunter(
        "epochs",
        (*PYTEST, "tests/simulation/test_succession.py", "-k", "joins or pushed or history"),
        ("epoch.py", "validity.py", "core.py"),
    ),
    Hunter("seeds", (sys.executable, "-m", "tests.simulation", "--seeds", "24")),
    Hunter("faults", (*PYTEST, "tests/simulation/test_mutants.py", "-k", "ships")),
    Hunter(
        "script",
        (
            *PYTEST,
            "tests/simulation/test_driver.py",
            "tests/simulation/test_members.py",
            "-k",
            "scripted or stays or knocked or took",
        ),
        room="node",
    ),
    Hunter(
        "nodes",
        (
            sys.executable,
            "-m",
            "tests.simulation",
            "--driver",
            "--seeds",
            "48",
            "--largest",
            "5",
            "--stop",
        ),
        room="node",
    ),
)

RULE: Final = tuple(Mutant(*each) for each in MUTANTS)
CORE: Final = (
    # pacemaker
    Mutant(
        "a clock that jumps on one block",
        "pacemaker.py",
        "if here >= self._committee.quorum:",
        "if here >= 1:",
    ),
    Mutant(
        "a round entered without an own block in the last (A2)",
        "pacemaker.py",
        "elif self.has_made_block and dag.has_quorum(self.round):",
        "elif dag.has_quorum(self.round):",
    ),
    Mutant(
        "no waiting for the leader (L1)",
        "pacemaker.py",
        "settled and led and has_votes",
        "settled and has_votes",
    ),
    Mutant(
        "no waiting for votes (L2)",
        "pacemaker.py",
        "if settled and led and has_votes(dag, round_):",
        "if settled and led:",
    ),
    Mutant("no leader timeout (C2)", "pacemaker.py", "if now >= self._timeout_at:", "if now < 0:"),
    Mutant(
        "a leader timeout that never grows", "pacemaker.py", "base << min(doublings, 16)", "base"
    ),
    Mutant(
        "no Wake is heeded",
        "pacemaker.py",
        "            or self.round in self._wakes.values()\n",
        "",
    ),
    Mutant(
        "a round skipped to is below one signed",
        "pacemaker.py",
        "Round(max(self.last_signed, committed_leader_round) + 1)",
        "Round(committed_leader_round + 1)",
    ),
    # what waits
    Mutant(
        "any number of waiting blocks of one author",
        "waiting.py",
        "while self._of_author[ref.author] > GC_DEPTH:",
        "while self._of_author[ref.author] > 100 * GC_DEPTH:",
    ),
    Mutant(
        "over a bound the lowest goes",
        "waiting.py",
        "self._drop(max(self._held))",
        "self._drop(min(self._held))",
    ),
    Mutant(
        "needs end at blocks of the same author",
        "waiting.py",
        "pending.append(waiting)",
        "continue",
    ),
    Mutant(
        "void blocks wait on at the floor",
        "waiting.py",
        "if held.round <= floor]:",
        "if held.round < floor]:",
    ),
    Mutant(
        "a block one parent short goes in",
        "waiting.py",
        "                if not suspended.lacks:",
        "                if len(suspended.lacks) <= 1:",
    ),
    # admission
    Mutant(
        "pushed blocks of any round",
        "admission.py",
        "if not asked_for and ref.round > self._dag.highest_round + 2 * self._gc_depth:",
        "if ref.round < 0:",
    ),
    Mutant(
        "the highest round signed noted only if let in",
        "admission.py",
        "            self.shown[ref.author] = max(self.shown[ref.author], ref.round)\n            if not self.is_new(ref):\n",
        "            if not self.is_new(ref):\n",
    ),
    Mutant(
        "an author pushes all its variants",
        "admission.py",
        "return sender != ref.author and variants < self._dag.committee.size",
        "return True",
    ),
    Mutant(
        "a cap of variants for the needed too (P2)",
        "admission.py",
        "if self._room.needed_by_another(ref):",
        "if variants == 0 and self._room.needed_by_another(ref):",
    ),
    # parents
    Mutant(
        "parents named again and again",
        "parents.py",
        "if below > included.get(",
        "if below >= included.get(",
    ),
    Mutant(
        "parents older than blocks are kept (P8)",
        "parents.py",
        "max(round_ - gc_depth, dag.floor",
        "max(dag.floor",
    ),
    Mutant(
        "any variant as parent (P7)",
        "parents.py",
        "if certified is not None and len(variants) > 1:",
        "if certified is not None and len(variants) > 99:",
    ),
    # own blocks
    Mutant(
        "signs before peers said what they hold of ours",
        "own_slot.py",
        "        return min(committee.validity, committee.size - 1)",
        "        return 0",
    ),
    Mutant(
        "signs though in doubt",
        "own_slot.py",
        "if self.observing or self._own >= self._dag.committee.size or not self.is_ready:",
        "if self._own >= self._dag.committee.size or not self.is_ready:",
    ),
    Mutant(
        "signs while it catches up (P3)",
        "core.py",
        " and not self._asking.is_behind",
        "",
    ),
    # votes
    Mutant("a commit certified by a quorum less one", "votes.py", "[quorum - 1]", "[quorum - 2]"),
    Mutant(
        "the oldest commits voted for first",
        "votes.py",
        "fresh[:COMMIT_VOTES_MAX]",
        "fresh[-COMMIT_VOTES_MAX:]",
    ),
    Mutant(
        "a contradicting vote passed over",
        "votes.py",
        "            self.contradicting |= 1 << author\n        return contradiction",
        "            pass\n        return contradiction",
    ),
    # validity
    Mutant(
        "a block on f+1 parents",
        "validity.py",
        "if before < committee.quorum:",
        "if before < committee.validity:",
    ),
    Mutant(
        "a parent one round too old",
        "validity.py",
        "if parent_round < oldest:",
        "if parent_round < oldest - 1:",
    ),
    Mutant(
        "an author's two parents",
        "validity.py",
        "if seen & bit:",
        "if position == 1 and seen & bit:",
    ),
    Mutant(
        "votes in any order",
        "validity.py",
        "if any(later <= earlier for",
        "if any(later < earlier for",
    ),
    Mutant(
        "blocks of another epoch",
        "validity.py",
        "if header.chain_id != committee.chain_id or header.epoch != committee.epoch:",
        "if header.chain_id != committee.chain_id:",
    ),
    # the end of an epoch
    Mutant(
        "an epoch ended by f+1 authors",
        "epoch.py",
        "return self._closed_by.bit_count() >= self._committee.quorum",
        "return self._closed_by.bit_count() >= self._committee.validity",
    ),
    Mutant(
        "closing blocks of one commit alone",
        "epoch.py",
        '        assert not self.reached, "a commit after the end of its epoch"\n',
        "        self._closed_by = 0\n",
    ),
    Mutant(
        "a restart that forgets who has closed",
        "epoch.py",
        "                self._closed_by |= 1 << author\n",
        "                pass\n",
    ),
    Mutant(
        "no blocks after the end",
        "epoch.py",
        "round_ <= self._end_round + AFTERMATH_ROUNDS",
        "round_ <= self._end_round",
    ),
    Mutant(
        "a closing that no block says",
        "core.py",
        "flags=FLAG_EPOCH_CLOSE if self._end.asked or self._end.reached else 0,",
        "flags=0,",
    ),
    # fetching
    Mutant(
        "one peer asked for ever",
        "fetching.py",
        "if want.attempts == 0 and want.holder in peers:",
        "if want.holder in peers:",
    ),
    Mutant(
        "what comes unasked goes in",
        "asking.py",
        "[block for block in answer.blocks if block.block.ref in wanted]",
        "list(answer.blocks)",
    ),
    Mutant(
        "nobody asks what lies below a floor (P1)",
        "fetching.py",
        "self._below.setdefault(answer.peer, last_commit)",
        "pass",
    ),
    Mutant(
        "no Wake of a round not entered yet",
        "core.py",
        "self.pacemaker.woken(event.peer, event.round)",
        "event.round > self.pacemaker.round or self.pacemaker.woken(event.peer, event.round)",
    ),
    # sending
    Mutant(
        "own blocks only are pushed",
        "dissemination.py",
        "            if ref == with_block:",
        "            if ref.author != self._own or ref == with_block:",
    ),
    Mutant(
        "a bundle of any size",
        "dissemination.py",
        "if room < 0 or len(chosen) >= self._parameters.bundle_blocks_max:",
        "if room < 0:",
    ),
    # order of effects, and the disk
    Mutant(
        "blocks stored after what needs them",
        "effects.py",
        "        return taken\n",
        "        return sorted(taken, key=lambda each: isinstance(each, StoreBlocks))\n",
    ),
    Mutant(
        "a time before the last block's",
        "core.py",
        "time_ms=max(self._now, before)",
        "time_ms=self._now",
    ),
    Mutant(
        "idle whatever waits to be ordered",
        "core.py",
        "self._payload_pending or self._ordering.unordered or due",
        "self._payload_pending or due",
    ),
    Mutant(
        "a floor a whole depth too high",
        "serving.py",
        "record.commit.leader.round - gc_depth",
        "record.commit.leader.round",
    ),
    Mutant(
        "no sync of what an own block refers to",
        "simulate/node.py",
        "return self.store.sync, sign_and_put",
        "return (lambda: None), sign_and_put",
    ),
    Mutant(
        "no sync of the sign state",
        "simulate/node.py",
        "            self.sign_state = self._mint.data[block.ref]\n",
        "            self.sign_state = self.sign_state or self._mint.data[block.ref]\n",
    ),
)


def copied(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    for each in COPIED:
        shutil.copytree(ROOT / each, folder / each, ignore=ignored)
    for each in SINGLE:
        if (ROOT / each).exists():
            shutil.copy(ROOT / each, folder / each)
    init = folder / "tests/unit/__init__.py"
    init.touch()
    return folder


def mutate(folder: Path, mutant: Mutant) -> None:
    """Raises ValueError if the text is not there exactly once."""
    path = folder / mutant.room / mutant.file
    text = path.read_text(encoding="utf-8")
    if (found := text.count(mutant.old)) != 1:
        raise ValueError(
            f"{mutant.name}: {mutant.file} has its text {found} times; rewrite the mutant"
        )
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def parts_of(folder: Path, stem: str) -> list[str]:
    """The tests named after a module."""
    named = [f"tests/{kind}/consensus/test_{stem}.py" for kind in ("unit", "property")]
    return [each for each in named if (folder / each).exists()]


def catches(hunter: Hunter, folder: Path, stem: str) -> bool:
    """Whether this hunter fails in the folder. `stem`: of the mutated module."""
    command = hunter.command
    if hunter.name == PART:
        parts = parts_of(folder, stem)
        if not parts:
            return False
        command = (*command, *parts)
    try:
        done = subprocess.run(
            [part.replace("{folder}", str(folder)).replace("{stem}", stem) for part in command],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT / "proto"))),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        # A core that runs for ever is caught; whole nodes may only be slow.
        return hunter.room == "consensus"
    return done.returncode != 0


def caught_by(mutant: Mutant | None, room: str | None = None) -> str | None:
    """The first hunter that catches it; of None, the unchanged copy, nobody must (of those who hunt in `room`)."""
    with tempfile.TemporaryDirectory() as name:
        folder = copied(Path(name))
        if mutant is not None:
            mutate(folder, mutant)
        for hunter in HUNTERS:
            if mutant is None:
                relevant = room in (None, hunter.room)
            else:
                relevant = hunter.room == mutant.room and (
                    not hunter.files or mutant.file in hunter.files
                )
            stem = "core" if mutant is None else Path(mutant.file).stem
            if relevant and catches(hunter, folder, stem):
                return hunter.name
    return None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants")
    parser.add_argument("--only", default="", metavar="TEXT")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    parser.add_argument("--room", choices=("consensus", "node"))
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args(arguments)
    chosen = [
        each
        for each in (*RULE, *CORE, *DRIVER)
        if args.only in each.name and args.room in (None, each.room)
    ]
    if args.list:
        print("\n".join(each.name for each in chosen))
        return 0
    if (false := caught_by(None, args.room)) is not None:
        print(f"{false} catches the unchanged copy: nothing it says of a mutant means anything")
        return 1
    began = time.monotonic()
    escaped = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for mutant, who in zip(chosen, pool.map(caught_by, chosen), strict=True):
            escaped += who is None
            passed = time.monotonic() - began
            print(
                f"{mutant.file:22} {mutant.name:54} {who or 'ESCAPED':8} {passed:5.0f} s",
                flush=True,
            )
    print(f"{len(chosen)} mutants, {escaped} escaped")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())

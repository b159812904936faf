"""Search for broken promises within a budget: the core's simulator and the driver's in turn, each half of the time.

    python -m tests.simulation --seconds 600              both; fresh seeds, after those kept
    python -m tests.simulation --seconds 600 --driver     whole nodes only (--core: cores only)
    python -m tests.simulation --seeds 200 --driver       seeds 0, 1, 2 ... (--first S: from S on; --fresh: new ones)
    python -m tests.simulation --seconds 1800 --driver --smallest 13    large ones alone: minutes each
    python -m tests.simulation --seed 0x2a --driver --trace

A failing seed prints the command that replays it; --keep also writes it to kept_seeds.txt.
Exit status 0: all held; 1: a promise broke, or memory grew beyond its bound.
"""

import argparse
import itertools
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from consensus.simulate import regime as core_regime
from consensus.simulate import seeds as core_seeds
from consensus.simulate.run import simulate as simulate_core
from node.telemetry import ROOT_LOGGER, resident_bytes
from tests.simulation.driver import cluster as driver_cluster
from tests.simulation.driver import regime as driver_regime
from tests.simulation.kept import KINDS, keep, kept

MIB: Final = 1024 * 1024
MEMORY_MAX: Final = 1024 * MIB  # seeds leave nothing behind: more is a leak, and a failure
MS_PER_HOUR: Final = 3_600_000
SHOW_EVERY_S: Final = 10.0  # where nobody looks on
BATCH: Final = 64


@dataclass(slots=True)
class Tally:
    """One simulator's seeds so far."""

    kind: str
    seeds: Iterator[int]
    held: int = 0
    failed: list[int] = field(default_factory=list)
    seconds: float = 0.0
    virtual_ms: float = 0.0
    commits: int = 0
    lives: int = 0  # processes that came up: of crashes, the core's simulator counts crashes
    worst: tuple[float, int] = (0.0, -1)  # longest recovery, and its seed
    unit: str = ""

    @property
    def ran(self) -> int:
        return self.held + len(self.failed)

    def sentence(self) -> str:
        rate = self.ran / self.seconds if self.seconds else 0.0
        return (
            f"{self.kind}: {self.held} seeds held, {len(self.failed)} failed in {self.seconds:.0f} s ({rate:.2f} seeds/s),"
            f" {self.virtual_ms / MS_PER_HOUR:.2f} virtual hours, {self.commits} commits, {self.lives} crashes and restarts"
            f"{self._slowest()}"
        )

    def _slowest(self) -> str:
        seconds, seed = self.worst
        return f", longest recovery {seconds:.1f} {self.unit} (seed {seed:#x})" if seed >= 0 else ""


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    with _quiet():
        return _begin(args)


@contextmanager
def _quiet() -> Iterator[None]:
    """What a node logs about liars would hide what is found here; whoever called this in its own process gets its logs back."""
    logger = logging.getLogger(ROOT_LOGGER)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _begin(args: argparse.Namespace) -> int:
    if args.seed is not None:
        return _one(args.seed, trace=args.trace) if args.driver else core_seeds.main(_core(args))
    if args.seconds is None and not args.driver:
        return core_seeds.main(_core(args))
    return _search(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--driver", action="store_true", help="whole nodes")
    which.add_argument("--core", action="store_true", help="cores alone")
    parser.add_argument("--seconds", type=float, metavar="S")
    parser.add_argument("--seeds", type=int, default=200, metavar="N")
    parser.add_argument("--first", type=lambda text: int(text, 0), default=0, metavar="S")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--largest", type=int, default=25, metavar="N", help="no more nodes")
    parser.add_argument(
        "--smallest",
        type=int,
        default=4,
        metavar="N",
        help="whole nodes: no fewer, which take minutes above 10",
    )
    parser.add_argument("--seed", type=lambda text: int(text, 0), metavar="S")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--stop", action="store_true", help="end at the first that fails")
    return parser


def _core(args: argparse.Namespace) -> list[str]:
    """The same options for the core's own command."""
    if args.seed is not None:
        return ["--seed", str(args.seed), *(["--trace"] if args.trace else [])]
    fresh = ["--fresh"] if args.fresh else []
    return ["--seeds", str(args.seeds), "--first", str(args.first), *fresh]


def _one(seed: int, *, trace: bool) -> int:
    regime = driver_regime.draw(seed)
    print(f"seed {seed:#x}: {regime.describe()}", file=sys.stderr)
    try:
        outcome = driver_cluster.Cluster(regime, trace=print if trace else None).run()
    except Exception as error:  # noqa: BLE001 # whatever it is, it is what was looked for
        _report("driver", seed, error)
        return 1
    print(outcome, file=sys.stderr)
    return 0


def _search(args: argparse.Namespace) -> int:
    kinds = ["driver"] if args.driver else ["core"] if args.core else list(KINDS)
    print(f"{core_regime.BASE_SEED_VARIABLE}={core_regime.base_seed()}", file=sys.stderr)
    if args.seconds is not None:
        tallies = [Tally(kind, itertools.chain(kept(kind), _fresh())) for kind in kinds]
        end = time.monotonic() + args.seconds
    else:
        seeds = (
            core_regime.fresh(args.seeds)
            if args.fresh
            else range(args.first, args.first + args.seeds)
        )
        tallies = [Tally(kind, iter(seeds)) for kind in kinds]
        end = float("inf")
    shown = time.monotonic()
    while time.monotonic() < end and resident_bytes() < MEMORY_MAX:
        if args.stop and any(each.failed for each in tallies):
            break
        tally = min(tallies, key=lambda each: each.seconds)
        seed = next(tally.seeds, None)
        if seed is None:
            break
        if (
            tally.kind == "driver"
            and not args.smallest <= driver_regime.draw(seed).size <= args.largest
        ):
            continue
        began = time.monotonic()
        _run(tally, seed, end, keeping=args.keep)
        tally.seconds += time.monotonic() - began
        if sys.stderr.isatty() or time.monotonic() - shown > SHOW_EVERY_S:
            shown = time.monotonic()
            _show(tallies)
    print(file=sys.stderr)
    for tally in tallies:
        print(tally.sentence())
    print(f"resident memory at the end: {resident_bytes() // MIB} MiB")
    leaked = resident_bytes() >= MEMORY_MAX
    if leaked:
        print(f"more than {MEMORY_MAX // MIB} MiB are held: seeds leave something behind")
    return 1 if leaked or any(tally.failed for tally in tallies) else 0


def _run(tally: Tally, seed: int, end: float, *, keeping: bool) -> None:
    simulate = _core_seed if tally.kind == "core" else _driver_seed
    try:
        simulate(tally, seed, end)
    except driver_cluster.OutOfTime:
        return
    except Exception as error:  # noqa: BLE001 # as above
        tally.failed.append(seed)
        _report(tally.kind, seed, error)
        if keeping:
            keep(tally.kind, seed, f"{type(error).__name__}: {error}")
    else:
        tally.held += 1


def _core_seed(tally: Tally, seed: int, end: float) -> None:
    del end  # such a run takes seconds
    outcome = simulate_core(core_regime.draw(seed))
    tally.virtual_ms += outcome.virtual_ms
    tally.commits += outcome.commits
    tally.lives += outcome.crashes
    tally.unit = "deltas"
    tally.worst = max(tally.worst, (outcome.recovery_ms / outcome.delta_ms, seed))


def _driver_seed(tally: Tally, seed: int, end: float) -> None:
    regime = driver_regime.draw(seed)
    outcome = driver_cluster.Cluster(regime, give_up=lambda: time.monotonic() > end).run()
    tally.virtual_ms += 1_000 * outcome.virtual_s
    tally.commits += outcome.commits
    tally.lives += outcome.restarts
    tally.unit = "s"
    tally.worst = max(tally.worst, (outcome.recovery_s, seed))


def _fresh() -> Iterator[int]:
    for batch in itertools.count(1):
        # fresh(n) lists the same seeds whatever n is, so each batch goes on where the last ended.
        yield from core_regime.fresh(BATCH * batch)[BATCH * (batch - 1) :]


def _show(tallies: list[Tally]) -> None:
    parts = [
        f"{tally.kind} {tally.ran} seeds ({tally.ran / max(tally.seconds, 0.001):.2f}/s), {len(tally.failed)} failed"
        for tally in tallies
    ]
    end, begin = ("", "\r") if sys.stderr.isatty() else ("\n", "")
    print(
        f"{begin}{'; '.join(parts)}; {resident_bytes() // MIB} MiB",
        end=end,
        file=sys.stderr,
        flush=True,
    )


def _report(kind: str, seed: int, error: BaseException) -> None:
    notes = "\n".join(getattr(error, "__notes__", ()))
    print(f"\n{kind} seed {seed:#x} FAILED: {_said(error)}\n{notes}", file=sys.stderr)


def _said(error: BaseException) -> str:
    """An error's own words; of a group, those of its members."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_said(each) for each in error.exceptions)
    return f"{type(error).__name__}: {error}"

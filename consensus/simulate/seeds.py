"""Run seeds, show progress, and say how to see a failure again.

`python -m tests.simulation`, or `python -m consensus.simulate` where the tests are not installed.

    --seeds N      N seeds upward from --first (0); or N fresh ones with --fresh
    --seed S       one seed; with --trace every event and effect goes to standard output
    --seconds S    fresh seeds for so long

Exit status 0: all held; 1: a promise broke.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterable, Iterator

from consensus.simulate.cluster import Outcome
from consensus.simulate.regime import BASE_SEED_VARIABLE, base_seed, draw, fresh
from consensus.simulate.run import simulate
from consensus.simulate.trace import Trace


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    if args.seed is not None:
        return _one(args.seed, trace=args.trace)
    seeds: Iterable[int]
    if args.seconds is not None:
        print(f"{BASE_SEED_VARIABLE}={base_seed()}", file=sys.stderr)
        seeds = _for_seconds(args.seconds)
    elif args.fresh:
        print(f"{BASE_SEED_VARIABLE}={base_seed()}", file=sys.stderr)
        seeds = fresh(args.seeds)
    else:
        seeds = range(args.first, args.first + args.seeds)
    return _many(seeds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, metavar="N")
    parser.add_argument("--first", type=lambda text: int(text, 0), default=0, metavar="S")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--seed", type=lambda text: int(text, 0), metavar="S")
    parser.add_argument("--seconds", type=float, metavar="S")
    parser.add_argument("--trace", action="store_true")
    return parser


def _one(seed: int, *, trace: bool) -> int:
    regime = draw(seed)
    print(f"seed {seed:#x}: {regime.describe()}", file=sys.stderr)
    try:
        outcome = simulate(regime, trace=Trace(print) if trace else None)
    except AssertionError as error:
        _report(seed, error)
        return 1
    print(outcome, file=sys.stderr)
    return 0


def _many(seeds: Iterable[int]) -> int:
    started = time.monotonic()
    totals: list[Outcome] = []
    failed = 0
    for seed in seeds:
        try:
            totals.append(simulate(draw(seed)))
        except AssertionError as error:
            failed += 1
            _report(seed, error)
        ran = len(totals) + failed
        print(f"\r{ran} seeds, {failed} failed", end="", file=sys.stderr, flush=True)
    seconds = time.monotonic() - started
    print(file=sys.stderr)
    steps = sum(each.steps for each in totals)
    virtual_ms = sum(each.virtual_ms for each in totals)
    worst = max(totals, key=lambda each: each.recovery_ms / each.delta_ms, default=None)
    print(
        f"{len(totals)} seeds held, {failed} failed, in {seconds:.1f} s: "
        f"{(len(totals) + failed) / seconds:.2f} seeds/s, {steps / seconds:,.0f} events/s, "
        f"{virtual_ms / 3_600_000:.2f} virtual hours, {sum(each.commits for each in totals)} commits, "
        f"{sum(each.crashes for each in totals)} crashes, largest table {max((each.tables_max for each in totals), default=0)}"
    )
    if worst is not None:
        deltas = worst.recovery_ms / worst.delta_ms
        print(
            f"longest from healing until all had committed again: {deltas:.1f} deltas, seed {worst.seed:#x}"
        )
        driest = max(totals, key=lambda each: each.drought)
        print(
            f"most blocks a node signed within the delay bound without a commit: {driest.drought}, "
            f"seed {driest.seed:#x}"
        )
    return 1 if failed else 0


def _report(seed: int, error: AssertionError) -> None:
    notes = "\n".join(getattr(error, "__notes__", ()))
    print(f"\nseed {seed:#x} FAILED: {type(error).__name__}: {error}\n{notes}", file=sys.stderr)


def _for_seconds(seconds: float) -> Iterator[int]:
    end = time.monotonic() + seconds
    for batch in itertools.count(1):
        # fresh(n) lists the same seeds whatever n is, so each batch goes on where the last ended.
        for seed in fresh(64 * batch)[64 * (batch - 1) :]:
            if time.monotonic() >= end:
                return
            yield seed

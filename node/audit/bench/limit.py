"""The signature limit: how many Ed25519 signatures PyNaCl checks a second, on one core and on all of them at once.

Cores x the rate of one core is the bar that a full replay is held to. What the machine really gives is the rate of as many
processes as it has cores, all at work: virtual cores may share one physical core, and then the bar is above what anybody reaches.
"""

import sys
import time
from collections.abc import Sequence
from multiprocessing import get_context
from threading import BrokenBarrierError
from typing import TYPE_CHECKING, Final

from node.audit.source import CannotAudit
from node.signing.verify import verify_ed25519

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier

Check = tuple[bytes, bytes, bytes]
"""(public key, message, signature), a good one."""

TURNS: Final = 3  # the fastest counts, for whoever else uses the machine only slows it
TURN_S: Final = 1.0  # of all cores
STEP: Final = 128  # checks between two looks at the clock
START_S_MAX: Final = 60.0  # until each process of a turn is there


def of_one_core(checks: Sequence[Check], turns: int = TURNS) -> float:
    """Verifications a second. Raises CannotAudit if a signature is bad."""
    best = 0.0
    for _ in range(turns):
        started = time.perf_counter()
        good = sum(verify_ed25519(*check) for check in checks)
        best = max(best, len(checks) / (time.perf_counter() - started))
        if good < len(checks):
            raise CannotAudit(f"{len(checks) - good} of {len(checks)} signatures are bad")
    return best


def of_all_cores(
    checks: Sequence[Check], cores: int, turns: int = TURNS, seconds: float = TURN_S
) -> float:
    """Verifications a second of so many processes together. Raises CannotAudit if one cannot work, or finds a bad signature."""
    return max(_turn(checks, cores, seconds) for _ in range(turns))


def _turn(checks: Sequence[Check], cores: int, seconds: float) -> float:
    context = get_context("spawn")
    told: SimpleQueue[float] = context.SimpleQueue()
    barrier = context.Barrier(cores)
    workers = [
        context.Process(target=_work, args=(list(checks), seconds, barrier, told), daemon=True)
        for _ in range(cores)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(START_S_MAX + 2 * seconds)
    ended = [worker.exitcode for worker in workers]
    if any(code != 0 for code in ended):
        raise CannotAudit(
            f"{cores} processes were to check good signatures: they ended with {ended}"
        )
    return sum(told.get() for _ in workers)


def _work(
    checks: list[Check], seconds: float, barrier: "Barrier", told: "SimpleQueue[float]"
) -> None:
    """One process's rate, while the others work as well. Exit status 1: one of them never came, or a signature is bad."""
    try:
        barrier.wait(START_S_MAX)
    except BrokenBarrierError:
        sys.exit(1)
    done = good = 0
    started = time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        some = checks[:STEP]
        good += sum(verify_ed25519(*check) for check in some)
        done += len(some)
    if good < done:
        sys.exit(1)
    told.put(done / spent)

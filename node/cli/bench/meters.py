"""What is read from the machine: processor time, memory, loopback bytes, and how fast it checks signatures.

Linux only: the figures are the kernel's own, from /proc. What each counts is said where it is read, and in the report.
"""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import node.treaty.law
from node.cli.errors import CouldNot
from node.log.cose import parse_entry
from node.signing.verify import verify_ed25519

_PROC: Final = Path("/proc")
_RATE_BATCH: Final = 200  # checks between looks at the clock


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReading:
    """One process at one moment."""

    cpu_s: float  # user and system, all threads
    rss_peak_bytes: int  # the highest resident size since it started (VmHWM)


def require_proc() -> None:
    """Raises CouldNot where the kernel does not tell."""
    if not (_PROC / "self" / "status").exists():
        raise CouldNot("this machine has no /proc: the bench reads processor time and memory there")


def read_process(pid: int) -> ProcessReading:
    """Raises OSError if the process has gone."""
    stat = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    ticks = int(fields[11]) + int(fields[12])
    status = (_PROC / str(pid) / "status").read_text(encoding="ascii", errors="replace")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return ProcessReading(
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"), rss_peak_bytes=int(peak.split()[1]) * 1024
    )


def resident_bytes(*, peak: bool = False) -> int:
    """Resident size of this process, now or at its highest since it started. Raises CouldNot where the kernel does not tell."""
    require_proc()
    status = (_PROC / "self" / "status").read_text(encoding="ascii", errors="replace")
    name = "VmHWM:" if peak else "VmRSS:"
    return (
        int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) * 1024
    )


def loopback_bytes() -> int:
    """Bytes that this machine's loopback interface has carried since boot: every process's, packet headers included."""
    for line in (_PROC / "net" / "dev").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == "lo":
            return int(rest.split()[0])
    raise CouldNot("/proc/net/dev names no interface lo")


def cores() -> int:
    """Processors that this process may use; its children have the same ones."""
    return len(os.sched_getaffinity(0))


def machine() -> str:
    """What results are to be named by."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in (_PROC / "cpuinfo").read_text(errors="replace").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{cores()} x {model}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def is_compiled() -> bool:
    """Whether the law runs compiled (`make compiled`) and not as it is written."""
    return Path(node.treaty.law.__file__).suffix != ".py"


def verifications_per_second(entries: Sequence[tuple[bytes, bytes]], seconds: float = 1.0) -> float:
    """How many of these (public key, entry) one thread checks a second through PyNaCl, as the node does."""
    checks = []
    for public_key, entry in entries:
        statement = parse_entry(entry)
        checks.append((public_key, statement.to_be_signed(), statement.signature))
    done = 0
    began = time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        for number in range(_RATE_BATCH):
            good = verify_ed25519(*checks[number % len(checks)])
            assert good, "a statement of the bench does not verify"
        done += _RATE_BATCH
    return done / elapsed

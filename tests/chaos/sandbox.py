"""The process tree that a run lives in: its own network, mounts and process numbers (namespaces of Linux).

Interfaces, named network namespaces, mounts and processes are made inside and are gone with the tree, also when it is killed:
the kernel removes them with their last user. Only the run's folder of files is left.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("unshare", "nsenter", "ip", "mount", "umount", "mkfs.ext4", "e2fsck")
PACKAGES = "iproute2 util-linux mount e2fsprogs"
TUN = Path("/dev/net/tun")
NAMESPACES = Path("/run/netns")
_UNSHARE = (
    "unshare",
    *("--net", "--mount", "--propagation", "private"),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)


def missing() -> str:
    """Why no run is possible here and what to do about it; empty if one is."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking:
        return f"no {', '.join(lacking)} here: apt-get install {PACKAGES}"
    if not TUN.exists():
        return f"no {TUN} here: modprobe tun, or start the container with --device {TUN}"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        return f"no namespaces for us ({tried.stderr.strip()}): run as root: sudo make chaos"
    return ""


def command(arguments: list[str]) -> list[str]:
    """`python -m tests.chaos.run` with these arguments, in a sandbox."""
    return [*_UNSHARE, sys.executable, "-m", "tests.chaos.run", *arguments]


def enter() -> None:
    """First thing inside: a /run of our own, so that names of namespaces are seen by nobody else."""
    assert os.getpid() < 10, f"pid {os.getpid()}: not in a sandbox; use python -m tests.chaos"
    sh("mount", "-t", "tmpfs", "-o", "size=16m", "foedus-chaos", "/run")
    NAMESPACES.mkdir()
    sh("ip", "link", "set", "lo", "up")


def sh(*words: str) -> None:
    """One command of the system; raises RuntimeError with what it said."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")

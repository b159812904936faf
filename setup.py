"""The compiled build: FOEDUS_COMPILED=1 makes a wheel whose pure rooms are compiled by mypyc (node decision 0260).

Without the variable this file adds nothing to pyproject.toml. The sources are the same; a node may run either build.
"""

import os
from pathlib import Path

from setuptools import setup

# Rooms without I/O, clock and randomness, where a node or an auditor spends time in Python itself.
ROOMS = ("node/treaty", "node/ledger/state_digest.py")
# What is run as a program stays as it is.
PROGRAMS = {"node/treaty/scenario.py"}


def sources() -> list[str]:
    """The modules to compile, in a fixed order."""
    found: set[str] = set()
    for room in ROOMS:
        path = Path(room)
        found |= {str(each) for each in (path.rglob("*.py") if path.is_dir() else (path,))}
    return sorted(found - PROGRAMS)


if os.environ.get("FOEDUS_COMPILED") == "1":
    from mypyc.build import mypycify

    os.environ["MYPYPATH"] = "proto"
    os.environ["MYPY_CACHE_DIR"] = "build/mypy"  # mypy itself may be at work beside this
    setup(ext_modules=mypycify(sources(), opt_level="2", debug_level="0"))
else:
    setup()

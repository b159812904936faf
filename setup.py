"""The compiled build: FOEDUS_COMPILED=1 makes a wheel some of whose modules are compiled by mypyc (node decision 0260).

Without the variable this file adds nothing to pyproject.toml. The sources are the same; a node may run either build.
"""

import os
from pathlib import Path

from setuptools import setup

# Where a node or an auditor spends time in Python itself: the law, and what reads entries for it (decisions 0260, 0225).
ROOMS = (
    "node/treaty",
    "node/log/cose.py",
    "node/log/merkle.py",
    "node/log/tiles.py",
    "node/ledger/batch.py",
    "node/ledger/handover.py",
    "node/ledger/plan.py",
    "node/ledger/reader.py",
    "node/ledger/state_digest.py",
    "node/audit/ahead.py",
    "node/audit/committing.py",
    "consensus/codec.py",
)
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

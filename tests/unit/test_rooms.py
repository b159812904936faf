"""The house has the rooms and arrows that the design draws, and the pure rooms see no world.

Every import of `consensus/` and `node/` is read with `ast`, wherever in a file it stands: nothing is
executed, so an import inside a function or below TYPE_CHECKING counts as well. `broken_rules` takes
the root of a tree, so that the tests below can show it trees that are wrong on purpose.

    faces                 cli  api  intake  audit  query     none imports another
    middle                ledger  engine  network
    edge of the machine   storage  signing
    pure                  treaty  log  consensus             none imports another
    ground                foedus.v1, standard library
"""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent.parent

FACES: Final = ("node.cli", "node.api", "node.intake", "node.audit", "node.query")
MIDDLE: Final = ("node.ledger", "node.engine", "node.network")
EDGE: Final = ("node.storage", "node.signing")
PURE: Final = ("node.treaty", "node.log", "consensus")
ROOT_MODULE: Final = "node.main"  # builds the objects and hands them over; nothing imports it
START: Final = (
    "node.start"  # its parts: a room that it and programs like it import, and nobody else
)
SETTINGS: Final = "node.settings"
TELEMETRY: Final = "node.telemetry"
REPORTING: Final = "node.reporting"  # how commands end, whichever face owns them
# A program of its own that builds the node in another way, and so stands where node.main stands (decision 0090).
OTHER_ROOTS: Final = ("node.cli.demo.censoring_node",)
ALONE: Final = (
    ROOT_MODULE,
    SETTINGS,
    TELEMETRY,
    REPORTING,
)  # modules of `node` that stand in no room
STUBS: Final = "foedus"
OURS: Final = ("consensus", "node", STUBS)
NOT_SHIPPED: Final = ("tests", "bench", "deploy")

# Which rooms a room may import beside itself. Rooms of one level below the faces may use each other;
# that no two do so mutually is the circle rule's business.
MAY_IMPORT: Final[Mapping[str, tuple[str, ...]]] = {
    "consensus": (),
    "node.treaty": (STUBS,),
    "node.log": (STUBS,),
    **dict.fromkeys(EDGE, (*EDGE, *PURE, STUBS, TELEMETRY)),
    **dict.fromkeys(MIDDLE, (*MIDDLE, *EDGE, *PURE, STUBS, TELEMETRY)),
    **dict.fromkeys(FACES, (*MIDDLE, *EDGE, *PURE, STUBS, SETTINGS, TELEMETRY, REPORTING)),
    REPORTING: (*MIDDLE, *EDGE, *PURE, SETTINGS),
    SETTINGS: (*PURE, TELEMETRY),
    TELEMETRY: (),
    START: (*FACES, *MIDDLE, *EDGE, *PURE, STUBS, SETTINGS, TELEMETRY, REPORTING),
    ROOT_MODULE: (START, *FACES, *MIDDLE, *EDGE, *PURE, STUBS, SETTINGS, TELEMETRY, REPORTING),
    "node": (),
}

# (module, room): why this module may import that room although its own room may not.
EXCEPTIONS: Final[Mapping[tuple[str, str], str]] = {
    (
        "node.cli.main",
        "node.audit",
    ): "the command's root registers `foedus audit`, which audit owns",
    **dict.fromkeys(
        (
            ("node.cli.intake_command", "node.intake"),
            ("node.cli.intake_run", "node.intake"),
            ("node.cli.intake_ledger", "node.intake"),
            ("node.cli.demo.metering", "node.intake"),
        ),
        "a gateway is put together from its room and the commands' outboxes and client (decision 0050)",
    ),
}

# Libraries that one room (or one module) fences: DESIGN D5 and D9, RULINGS R47, R64, R70, R71.
FENCED: Final[Mapping[str, str]] = {
    "rocksdict": "node.storage",
    "nacl": "node.signing",
    "cryptography": "node.signing",
    "cbor2": "node.log.cbor",
    "aiomqtt": "node.intake",
    "paho": "node.intake",
}
# And what of these, or of anything else outside the standard library, a pure room may use.
PURE_LIBRARIES: Final[Mapping[str, tuple[str, ...]]] = {
    "consensus": (),
    "node.treaty": ("google",),  # google.protobuf, the run-time part of foedus.v1
    "node.log": ("google", "cbor2"),
}

# The allowed part of the standard library: values and algorithms, nothing that sees the world.
PURE_STDLIB: Final = frozenset(
    {
        *(
            "__future__",
            "abc",
            "base64",
            "binascii",
            "bisect",
            "collections",
            "dataclasses",
            "enum",
        ),
        *("functools", "graphlib", "hashlib", "heapq", "itertools", "json", "operator", "re"),
        *("string", "struct", "types", "typing"),
    }
)
# `open` is the disk, `print` a log; `hash` and `id` change from one process to the next.
IMPURE_CALLS: Final = frozenset(
    {"__import__", "breakpoint", "eval", "exec", "float", "hash", "id", "input", "open", "print"}
)
# Entry scripts of the pure rooms read files, print, and bring the signing that their room may not
# know; nobody imports them (RULINGS R70). One may be a package, whose modules import one another.
ENTRY_SCRIPTS: Final = ("conformance", "scenario", "simulate")
ENTRY_MAY_IMPORT: Final = (*EDGE, *PURE, STUBS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One name that one module imports. `target` is a module of ours or a foreign dotted name."""

    module: str
    target: str
    line: int
    in_function: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One parsed file."""

    module: str
    is_package: bool
    tree: ast.Module


def broken_rules(root: Path) -> list[str]:
    """One sentence for each import or expression that breaks the design, in order of modules."""
    sources = list(_sources(root))
    modules = {source.module for source in sources}
    imports = [found for source in sources for found in _imports(source, modules)]
    broken = [why for found in imports for why in _arrow(found)]
    broken += [why for source in sources for why in _impure(source)]
    broken += _circle(
        "modules", [(found.module, found.target) for found in imports if found.target in modules]
    )
    broken += _circle(
        "rooms",
        [
            (room_of(found.module), room_of(found.target))
            for found in imports
            if _ours(found.target) and not is_entry_script(found.module)
        ],
    )
    return broken


def room_of(module: str) -> str:
    """`node.ledger` of `node.ledger.append`; a module of `node` that has no room is its own."""
    head, *rest = module.split(".")
    return f"{head}.{rest[0]}" if head == "node" and rest else head


def entry_script_of(module: str) -> str | None:
    """`consensus.simulate` of itself and of `consensus.simulate.clock`; None of a module of no entry script."""
    room = room_of(module)
    name = module.removeprefix(room).lstrip(".").partition(".")[0]
    return f"{room}.{name}" if room in PURE and name in ENTRY_SCRIPTS else None


def is_entry_script(module: str) -> bool:
    return entry_script_of(module) is not None


def _sources(root: Path) -> Iterator[Source]:
    for top in ("consensus", "node"):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            tree = ast.parse(path.read_bytes(), filename=str(path))
            yield Source(module=name, is_package=is_package, tree=tree)


def _imports(source: Source, modules: set[str]) -> Iterator[Import]:
    for node, in_function in _with_depth(source.tree, in_function=False):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, source)
            # `from package import name`: the name may be a module of its own
            targets = [
                dotted if (dotted := f"{base}.{alias.name}") in modules else base
                for alias in node.names
            ]
        for target in dict.fromkeys(targets):
            yield Import(
                module=source.module,
                target=target,
                line=getattr(node, "lineno", 0),
                in_function=in_function,
            )


def _with_depth(node: ast.AST, *, in_function: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, in_function
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _with_depth(child, in_function=in_function or is_function)


def _absolute(node: ast.ImportFrom, source: Source) -> str:
    if node.level == 0:
        return node.module or ""
    parts = source.module.split(".")
    kept = len(parts) - node.level + (1 if source.is_package else 0)
    return ".".join([*parts[:kept], *([node.module] if node.module else [])])


def _ours(target: str) -> bool:
    return target.split(".")[0] in OURS


def _arrow(found: Import) -> Iterator[str]:
    where = f"{found.module}:{found.line} imports {found.target}"
    room, target_room = room_of(found.module), room_of(found.target)
    library = found.target.split(".")[0]
    script = entry_script_of(found.target)
    if script is not None and script != entry_script_of(found.module):
        yield f"{where}: an entry script, imported by nobody"
    if found.target in OTHER_ROOTS:
        yield f"{where}: a program of its own, imported by nobody"
    if found.module in OTHER_ROOTS and target_room in (ROOT_MODULE, START):
        return
    if _within(found.target, ROOT_MODULE):
        yield f"{where}: it builds the node, and nothing imports it"
    if library in NOT_SHIPPED:
        yield f"{where}: {library}/ is not part of what is installed"
    allowed = ENTRY_MAY_IMPORT if is_entry_script(found.module) else MAY_IMPORT.get(room)
    if allowed is None:
        yield f"{found.module}: no such room in the design"
    elif (
        _ours(found.target)
        and target_room not in (room, *allowed)
        and (found.module, target_room) not in EXCEPTIONS
    ):
        yield f"{where}: no arrow from {room} to {target_room}"
    fence = FENCED.get(library)
    if fence is not None and not _within(found.module, fence):
        yield f"{where}: only {fence} may"
    if room in PURE and not is_entry_script(found.module):
        yield from _pure_import(found, where, room, library)


def _within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def _pure_import(found: Import, where: str, room: str, library: str) -> Iterator[str]:
    if found.in_function:
        yield f"{where}: inside a function; {room} is pure, move the shared type down"
    if library in sys.stdlib_module_names:
        if library not in PURE_STDLIB:
            yield f"{where}: not among what {room}, a pure room, may use of the standard library"
    elif not _ours(found.target) and library not in PURE_LIBRARIES[room]:
        yield f"{where}: {room} is pure and may not use {library}"


def _impure(source: Source) -> Iterator[str]:
    pure = room_of(source.module) in PURE and not is_entry_script(source.module)
    for node in ast.walk(source.tree):
        where = f"{source.module}:{getattr(node, 'lineno', 0)}"
        match node:
            case ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"):
                yield f"{where}: an import that no reader and no test can follow"
            case _ if not pure:
                pass
            case ast.Constant(value=float() | complex()):
                yield f"{where}: the float {node.value!r} in a pure room"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield f"{where}: true division in a pure room makes a float; use // and say how it rounds"
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                yield f"{where}: {name}() in a pure room"
            case _:
                pass


def _circle(what: str, edges: Sequence[tuple[str, str]]) -> list[str]:
    graph: dict[str, set[str]] = {}
    for source, target in edges:
        if source != target:
            graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        return [f"{what} import in a circle: {' <- '.join(circle.args[1])}"]
    return []


def plant(root: Path, files: Mapping[str, str]) -> Path:
    """Write `files`, path -> source, below `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_this_house_keeps_the_arrows() -> None:
    broken = broken_rules(ROOT)
    assert not broken, f"{len(broken)} broken:\n" + "\n".join(broken)


def test_every_room_is_read() -> None:
    """A checker that finds no files would pass everything."""
    rooms = {room_of(source.module) for source in _sources(ROOT)}
    assert {"node.treaty", "node.log", "node.storage", "node.signing", "node.ledger"} <= rooms
    assert rooms <= MAY_IMPORT.keys()


def test_a_right_tree_is_accepted(tmp_path: Path) -> None:
    """What the design allows, so that the refusals below are not those of a checker that refuses all."""
    plant(
        tmp_path,
        {
            "consensus/core.py": "import hashlib\nfrom consensus.types import Round\n",
            "consensus/types.py": "from dataclasses import dataclass\nHALF = 7 // 2\n",
            "consensus/conformance.py": "import json, sys\nfrom pathlib import Path\nprint(1 / 2)\n",
            "consensus/simulate/__init__.py": "",
            "consensus/simulate/clock.py": "import random, os\nprint(1 / 2)\n",
            "consensus/simulate/veto.py": "from consensus.simulate import clock\nfrom .clock import x\n",
            "node/log/conformance.py": "import sys\nfrom node.signing.verify import x\n",
            "node/signing/verify.py": "import nacl\nfrom node.log import cbor\n",
            "node/treaty/law.py": "from foedus.v1 import content_pb2\nfrom . import codes\n",
            "node/treaty/codes.py": "from enum import Enum\n",
            "node/log/cbor.py": "import cbor2\n",
            "node/storage/store.py": "import rocksdict, os\nfrom consensus.types import Round\n",
            "node/ledger/ledger.py": "from node.storage import store\nfrom node.treaty import law\n",
            "node/engine/dag.py": "from node.ledger.ledger import x\nimport asyncio\n",
            "node/api/service.py": "from node.ledger import ledger\nfrom node.settings import Settings\n",
            "node/cli/main.py": "def run():\n    from node.audit.command import audit\n",
            "node/audit/command.py": "from node.log import cbor\nfrom node.reporting import reporting\n",
            "node/reporting.py": "from node.ledger import ledger\nfrom node.settings import Settings\n",
            "node/settings.py": "import tomllib\n",
            "node/start/wiring.py": "from node.api import service\nfrom node.audit import command\n",
            "node/main.py": "from node.start import wiring\nfrom node.engine import dag\n",
            "node/cli/demo/censoring_node.py": "from node.main import main\nfrom node.start import wiring\n",
        },
    )
    assert broken_rules(tmp_path) == []


WRONG_ARROWS = [
    (
        "node/treaty/law.py",
        "from node.ledger import append",
        "no arrow from node.treaty to node.ledger",
    ),
    ("node/treaty/law.py", "import node.log.merkle", "no arrow from node.treaty to node.log"),
    (
        "node/log/note.py",
        "from node.signing.verify import x",
        "no arrow from node.log to node.signing",
    ),
    ("node/log/note.py", "from ..signing import verify", "no arrow from node.log to node.signing"),
    ("consensus/core.py", "from foedus.v1 import block_pb2", "no arrow from consensus to foedus"),
    ("node/storage/a.py", "from node.ledger import x", "no arrow from node.storage to node.ledger"),
    ("node/ledger/a.py", "from node.api import x", "no arrow from node.ledger to node.api"),
    ("node/api/a.py", "from node.cli import x", "no arrow from node.api to node.cli"),
    ("node/cli/demo.py", "from node.audit import x", "no arrow from node.cli to node.audit"),
    ("node/cli/main.py", "from node.intake import x", "no arrow from node.cli to node.intake"),
    ("node/cli/main.py", "import node.main", "nothing imports it"),
    ("node/cli/main.py", "from node.start import x", "no arrow from node.cli to node.start"),
    ("node/ledger/a.py", "from node.start import x", "no arrow from node.ledger to node.start"),
    ("node/start/a.py", "import node.main", "nothing imports it"),
    (
        "node/cli/demo/run.py",
        "from node.cli.demo.censoring_node import build",
        "a program of its own",
    ),
    ("node/cli/main.py", "def f():\n    from node import main", "no arrow from node.cli to node"),
    (
        "node/ledger/a.py",
        "from node.settings import x",
        "no arrow from node.ledger to node.settings",
    ),
    (
        "node/ledger/a.py",
        "from node.reporting import x",
        "no arrow from node.ledger to node.reporting",
    ),
    ("node/reporting.py", "from node.cli import x", "no arrow from node.reporting to node.cli"),
    ("node/ledger/a.py", "if TYPE_CHECKING:\n    import rocksdict", "only node.storage may"),
    ("node/api/a.py", "import nacl.bindings", "only node.signing may"),
    ("node/network/a.py", "from cryptography import x509", "only node.signing may"),
    ("node/log/cose.py", "import cbor2", "only node.log.cbor may"),
    ("node/api/a.py", "import aiomqtt", "only node.intake may"),
    ("node/ledger/a.py", "from consensus.conformance import x", "imported by nobody"),
    ("node/cli/a.py", "from consensus.simulate.veto import x", "imported by nobody"),
    ("consensus/core.py", "import consensus.simulate", "imported by nobody"),
    ("consensus/simulate/a.py", "from consensus.conformance import x", "imported by nobody"),
    ("consensus/simulate/a.py", "from node.ledger import x", "no arrow from consensus"),
    ("node/log/conformance.py", "from node.api import x", "no arrow from node.log to node.api"),
    ("node/cli/a.py", "from bench import localnet", "not part of what is installed"),
    ("node/helpers/a.py", "import os", "no such room"),
]


@pytest.mark.parametrize(("path", "text", "why"), WRONG_ARROWS)
def test_a_wrong_arrow_is_caught(tmp_path: Path, path: str, text: str, why: str) -> None:
    broken = broken_rules(plant(tmp_path, {path: text + "\n"}))
    assert any(why in sentence for sentence in broken), broken


IMPURITIES = [
    "import time",
    "import random",
    "import os",
    "import socket",
    "import asyncio",
    "import logging",
    "import datetime",
    "import sys",
    "import math",
    "from secrets import token_bytes",
    "from os import path",
    "import numpy",
    "def f():\n    import hashlib",
    "class A:\n    async def f(self):\n        from enum import Enum",
    "HALF = 0.5",
    "HALF = 1e3",
    "HALF = 1j",
    "def f(a, b):\n    return a / b",
    "def f(a):\n    a /= 2",
    "def f(a):\n    return float(a)",
    "def f(a):\n    return open(a)",
    "def f(a):\n    print(a)",
    "def f(a):\n    return hash(a)",
    "x = __import__('time')",
]


@pytest.mark.parametrize("room", ["consensus", "node/treaty", "node/log"])
@pytest.mark.parametrize("text", IMPURITIES)
def test_an_impurity_is_caught(tmp_path: Path, room: str, text: str) -> None:
    assert broken_rules(plant(tmp_path, {f"{room}/core.py": text + "\n"})) != []


def test_the_same_is_allowed_where_the_world_is(tmp_path: Path) -> None:
    text = "import time, os, logging\ndef f(a):\n    return a / 0.5\n"
    assert broken_rules(plant(tmp_path, {"node/network/a.py": text})) == []


def test_circles_are_caught(tmp_path: Path) -> None:
    modules = {
        "node/log/a.py": "from node.log import b\n",
        "node/log/b.py": "from .c import x\n",
        "node/log/c.py": "import node.log.a\n",
    }
    assert any("modules import" in why for why in broken_rules(plant(tmp_path / "1", modules)))
    rooms = {
        "node/engine/a.py": "from node.network import b\n",
        "node/network/b.py": "import os\n",
        "node/network/c.py": "from node.engine import d\n",
        "node/engine/d.py": "import os\n",
    }
    assert any("rooms import" in why for why in broken_rules(plant(tmp_path / "2", rooms)))

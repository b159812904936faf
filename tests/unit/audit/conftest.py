"""One history, lived through by two nodes and exported by both: made once, copied where it is tampered with."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.audit.export import Exported, export_home
from tests.tamper.world import World as EpochWorld
from tests.tamper.world import make_world, with_others
from tests.unit.audit.history import Weave, live, weave


@dataclass(frozen=True)
class World:
    """Never written to by a test: `clone` first."""

    weave: Weave
    homes: dict[str, Path]
    exports: dict[str, Path]
    exported: dict[str, Exported]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("audit")
    made = weave()
    homes = {state: asyncio.run(live(made, folder / state, state)) for state in ("CN", "US")}
    exports = {state: folder / f"export-{state}" for state in homes}
    exported = {state: export_home(homes[state], exports[state]) for state in homes}
    return World(made, homes, exports, exported)


@pytest.fixture(scope="session")
def epochs(tmp_path_factory: pytest.TempPathFactory) -> EpochWorld:
    """Homes and archives of a history across three ends of epochs. Never written to by a test: `clone` first."""
    folder = tmp_path_factory.mktemp("epochs")
    return with_others(make_world(folder / "one"), folder / "other")

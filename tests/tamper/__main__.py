"""`python -m tests.tamper`: the campaign with a budget. Exit status 0 if every tamper was found and nobody honest was blamed."""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from node.audit.export import export_home
from node.storage.store import Store
from tests.tamper.campaign import Campaign, Outcome
from tests.unit.audit.conftest import World
from tests.unit.audit.history import database, live, weave


def world_in(folder: Path) -> World:
    """Two nodes' homes and archives, and an older archive of one."""
    made = weave()
    homes = {state: asyncio.run(live(made, folder / state, state)) for state in ("CN", "US")}
    exports = {state: folder / f"export-{state}" for state in homes}
    exported = {state: export_home(homes[state], exports[state]) for state in homes}
    homes["early"] = asyncio.run(live(made, folder / "early", "CN", commits=8))
    return with_older(World(made, homes, exports, exported), folder / "export-early")


def with_older(world: World, folder: Path) -> World:
    with Store.open(database(world.homes["CN"]), read_only=True) as store:
        first = store.cosigned_sizes(0, 1 << 40, 1)[0]
    export_home(world.homes["CN"], folder, size=first)
    exports = {**world.exports, "early": folder}
    return World(world.weave, world.homes, exports, world.exported)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tamper", description=__doc__)
    parser.add_argument("--tampers", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="foedus-tamper-") as scratch:
        folder = Path(scratch)
        world = world_in(folder / "world")
        campaign = Campaign(world, folder / "played", given.seed)
        outcome = campaign.run(given.tampers, started + given.seconds)
    show(outcome, given.seed, time.monotonic() - started, as_json=given.json)
    return 0 if outcome.good else 1


def show(outcome: Outcome, seed: int, seconds: float, *, as_json: bool) -> None:
    document = {
        "seed": seed,
        "seconds": round(seconds, 1),
        "tampers": outcome.tampers,
        "void": outcome.void,
        "found_at": dict(outcome.found_at),
        "kinds": dict(outcome.kinds),
        "liars_named": outcome.liars_named,
        "missed": outcome.missed,
        "honest_blamed": outcome.blamed,
        "placeless": outcome.placeless,
    }
    if as_json:
        print(json.dumps(document))
        return
    for name, value in document.items():
        print(f"{name:14} {value}")


if __name__ == "__main__":
    sys.exit(main())

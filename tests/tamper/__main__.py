"""`python -m tests.tamper`: the campaign with a budget. Exit status 0 if every tamper was found and nobody honest was blamed."""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.tamper.campaign import Campaign, Outcome
from tests.tamper.world import make_world, with_others

MEMORY = Path("/dev/shm")  # a folder that no disk is waited for, where there is one


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tamper", description=__doc__)
    parser.add_argument("--tampers", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(
        prefix="foedus-tamper-", dir=MEMORY if MEMORY.is_dir() else None
    ) as scratch:
        folder = Path(scratch)
        short = with_others(make_world(folder / "world"), folder / "others")
        long = make_world(folder / "long", long=True)
        long = replace(long, others=short.others, strange=short.strange, namesakes=short.namesakes)
        campaign = Campaign([short, long], folder / "played", given.seed)
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
        "expected_at": dict(outcome.expected_at),
        "kinds": dict(outcome.kinds),
        "milliseconds_each": {
            kind: round(1000 * outcome.seconds[kind] / many) for kind, many in outcome.kinds.items()
        },
        "provable": outcome.provable,
        "liars_named": outcome.liars_named,
        "unnamed": outcome.unnamed,
        "evidence_confirmed": outcome.evidence,
        "unconfirmed": outcome.unconfirmed,
        "looked_at_by_foedus_verify": outcome.outsider,
        "looked_at_beside_an_honest_copy": outcome.beside,
        "missed": outcome.missed,
        "late": outcome.late,
        "alarms": outcome.alarms,
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

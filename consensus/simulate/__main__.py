"""`python -m consensus.simulate`: `veto` (module `gate`), `wan` (module `wan_report`), or options of `consensus.simulate.seeds`.

Exit status: 0 what was looked for was not found; 1 a promise broke; 2 could not be run.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Final

from consensus.simulate import gate, seeds, wan_report
from consensus.simulate.console import BadArguments

COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "veto": gate.main,
    "wan": wan_report.main,
}


def main(arguments: Sequence[str]) -> int:
    command = COMMANDS.get(arguments[0]) if arguments else None
    if command is None:
        return seeds.main(list(arguments))
    try:
        return command(arguments[1:])
    except BadArguments as err:
        print(f"error: {err}", file=sys.stderr)
        if "--json" in arguments:
            print(json.dumps({"error": str(err)}))
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

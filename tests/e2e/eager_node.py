"""The node of `node.main`, which takes over certified commits after a short absence already: no test can wait for a hundred.

python -m tests.e2e.eager_node --home DIR
"""

import sys
from dataclasses import replace
from unittest import mock

from consensus.pace import LOCAL_PACE
from node.main import build_engine, main

BEHIND = 15  # commits, instead of 100
# Rounds are not fetched in ranges: of so short a history they would bring all before the others' votes are in.
EAGER = replace(LOCAL_PACE, sync_commits_behind=BEHIND, sync_rounds_behind=1_000)

if __name__ == "__main__":
    with mock.patch("node.main.pace_of", return_value=EAGER):
        sys.exit(main(None, build_engine))

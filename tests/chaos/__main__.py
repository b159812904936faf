"""python -m tests.chaos [--minutes M] [--nodes 5|7] [--seed N] [--pace wan|drill]: a run in a sandbox of its own."""

import os
import sys

from tests.chaos.sandbox import command, missing

if __name__ == "__main__":
    why = missing()
    if why:
        print(f"chaos: {why}", file=sys.stderr)
        sys.exit(2)
    words = command(sys.argv[1:])
    sys.stdout.flush()
    os.execvp(words[0], words)

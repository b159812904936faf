"""`python -m tests.simulation`: see `hunt`."""

import sys

from tests.simulation.hunt import main

if __name__ == "__main__":
    sys.exit(main())

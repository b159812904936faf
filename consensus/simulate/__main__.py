"""`python -m consensus.simulate`: run seeds, as `consensus.simulate.seeds` describes."""

import sys

from consensus.simulate.seeds import main

if __name__ == "__main__":
    sys.exit(main())

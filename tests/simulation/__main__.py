"""`python -m tests.simulation`: the seeds of `consensus.simulate.seeds`, under the name that failures print."""

import sys

from consensus.simulate.seeds import main

if __name__ == "__main__":
    sys.exit(main())

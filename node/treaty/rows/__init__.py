"""One row type for each table of the law's state, by subject; `node/treaty/state.py` holds the tables."""

from typing import Final

NEVER: Final = -1  # in a row's field of a second: it has not happened

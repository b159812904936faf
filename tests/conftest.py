"""How the suite is spread over two workers: see decision 0172."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from consensus.simulate.regime import base_seed

PROCESSES = ("tests/e2e/", "tests/chaos/")


class ByFile(LoadScopeScheduling):  # type: ignore[misc] # the package ships no types
    """A file is one piece of work, for its fixtures are made once; all that starts real processes is one too.

    Several of those at once would wait for one another's deadlines.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "processes" if path.startswith(PROCESSES) else path


def pytest_configure(config: pytest.Config) -> None:
    """Before workers start: they inherit the base seed, and so collect the same tests."""
    del config
    base_seed()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)

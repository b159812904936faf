"""How the suite is spread over two workers: see decision 0172."""

import pytest

from consensus.simulate.regime import base_seed

PROCESSES = ("tests/e2e/", "tests/chaos/")


def pytest_configure(config: pytest.Config) -> None:
    """Before workers start: they inherit the base seed, and so collect the same tests."""
    del config
    base_seed()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts real processes stays together: several such tests at once would wait for one another's deadlines.

    All others stay with their file, whose fixtures are made once.
    """
    for item in items:
        path = item.nodeid.partition("::")[0]
        name = "processes" if path.startswith(PROCESSES) else path
        item.add_marker(pytest.mark.xdist_group(name))

"""Says at the end from which base seed the fresh seeds were drawn."""

import pytest

from consensus.simulate.regime import BASE_SEED_VARIABLE, base_seed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"fresh seeds: {BASE_SEED_VARIABLE}={base_seed()}")

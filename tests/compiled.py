"""A mark for tests that alter the law's code while it runs, which the compiled build does not let them (record 0260)."""

import pytest

import node.treaty.law

plain_law_only = pytest.mark.skipif(
    not node.treaty.law.__file__.endswith(".py"),
    reason="alters or reads the law's source: a compiled law has none (make test runs it)",
)

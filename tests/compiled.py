"""A mark for tests that alter code while it runs, which the compiled build does not let them (records 0260, 0225)."""

import pytest

import node.treaty.law

plain_law_only = pytest.mark.skipif(
    not node.treaty.law.__file__.endswith(".py"),
    reason="alters or reads source that is compiled here (make test runs it)",
)

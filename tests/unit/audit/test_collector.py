import gc

import pytest

from node.audit.collector import YOUNG_MAX, collected_seldom


def test_the_collector_is_as_it_was_after_a_replay_however_that_ends() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with collected_seldom():
        assert gc.get_threshold()[0] == YOUNG_MAX
        assert gc.get_freeze_count() > frozen
        assert gc.isenabled()
    with pytest.raises(ValueError, match="broken"), collected_seldom():
        raise ValueError("broken")
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() <= frozen

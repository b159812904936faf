"""Which pace a profile means, by the size of the committee."""

import pytest

from consensus.pace import LOCAL_PACE, PUSH_VALIDATORS_MAX, pace_of


def test_a_drill_has_the_local_pace_at_any_size() -> None:
    assert pace_of("drill", 4) == pace_of("drill", 195) == LOCAL_PACE


def test_between_states_history_goes_with_each_block_up_to_thirty_and_later_above() -> None:
    push, lazy = pace_of("wan", PUSH_VALIDATORS_MAX), pace_of("wan", PUSH_VALIDATORS_MAX + 1)
    assert (push.history_delay_ms, push.timeout_deltas) == (0, 2)
    assert (lazy.history_delay_ms, lazy.timeout_deltas) == (3 * lazy.delta_ms, 8)
    assert lazy.delta_ms == push.delta_ms


def test_between_states_no_round_waits_for_the_clock() -> None:
    """Decision 0165: messages alone make a round long. A drill shares a machine and waits."""
    assert pace_of("wan", 4).min_round_delay_ms == pace_of("wan", 195).min_round_delay_ms == 1
    assert pace_of("drill", 4).min_round_delay_ms == 50


def test_another_profile_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="lunar"):
        pace_of("lunar", 4)

"""How fast validators go, by what lies between them (SPEC 5 and 19; RULINGS R33, decisions 0004 and 0165).

Only liveness depends on it, so validators may differ.
"""

from dataclasses import replace
from typing import Final

from consensus.types import Parameters

PUSH_VALIDATORS_MAX: Final = 30  # Push costs n times the traffic (SPEC 5)

PUSH_PACE: Final = Parameters(
    # Between states a round takes what its messages take, a tenth of a second. Waiting longer adds to each of the four to six
    # rounds that an entry takes to be ordered, and while there is nothing to order no round is made at all: decision 0165.
    min_round_delay_ms=1,
)

LAZY_PUSH_PACE: Final = replace(
    PUSH_PACE, timeout_deltas=8, history_delay_ms=3 * PUSH_PACE.delta_ms
)

LOCAL_PACE: Final = Parameters(
    # One machine or one city: R33's 50 ms, and a delta that still covers an fsync and a busy core. Processes that share cores
    # feel every block sent twice, so history comes later: decision 0004.
    delta_ms=100,
    timeout_deltas=8,
    history_delay_ms=1_000,
    min_round_delay_ms=50,
    idle_delay_ms=5_000,
)


def pace_of(profile: str, validators: int) -> Parameters:
    """The pace of a node's setting `pace.profile`: `wan`, between states, or `drill`, one machine or city."""
    if profile == "drill":
        return LOCAL_PACE
    assert profile == "wan", f"pace.profile={profile!r}: settings know wan and drill"
    return between_states(validators)


def between_states(validators: int) -> Parameters:
    """Push, and above PUSH_VALIDATORS_MAX Lazy-Push (history after 3 delta, leader timeout 8 delta)."""
    return PUSH_PACE if validators <= PUSH_VALIDATORS_MAX else LAZY_PUSH_PACE

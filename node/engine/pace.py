"""How fast a node of a profile goes, by how many validate (SPEC 5 and 19; RULINGS R33)."""

from dataclasses import replace
from typing import Final

from consensus.types import LOCAL_PACE, Parameters

PUSH_VALIDATORS_MAX: Final = 30  # Push costs n times the traffic (SPEC 5)


def pace_of(profile: str, validators: int) -> Parameters:
    """The pace of `pace.profile`: between states Push, above PUSH_VALIDATORS_MAX Lazy-Push (3 and 8 delta, SPEC 5)."""
    if profile == "drill":
        return LOCAL_PACE
    assert profile == "wan", f"pace.profile={profile!r}: settings know wan and drill"
    push = Parameters()
    if validators <= PUSH_VALIDATORS_MAX:
        return push
    return replace(push, timeout_deltas=8, history_delay_ms=3 * push.delta_ms)

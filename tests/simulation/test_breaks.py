"""Breaks 1 and 3 of PACEMAKER.md: schedules that stop the unrepaired protocol for ever, and do not stop this one.

A repair is taken out here, in the test, by a driver that lets through what the unrepaired rules would have let through.
"""

from dataclasses import replace
from typing import Final

import pytest

from consensus.events import (
    BelowAnswered,
    BlocksReceived,
    Event,
    FetchAnswered,
    RangeAnswered,
    RequestFailed,
)
from consensus.simulate.script import HONEST, LIAR, Passes, ScriptedNode, Stage
from consensus.types import Digest, Parameters, Ref, Round, ValidatorIndex, VerifiedBlock

GC_DEPTH: Final = 8
DELTA_MS: Final = 100
PACE: Final = Parameters(
    delta_ms=DELTA_MS, min_round_delay_ms=20, idle_delay_ms=2_000, request_timeout_ms=500
)
FOR_EVER_MS: Final = 300 * DELTA_MS
H1, H2, A = HONEST
CERTIFIED: Final = 12  # the round that the liar leads


# --- Break 1: the floor split -------------------------------------------------------------------------------------------


def own_blocks_only(node: ScriptedNode, event: Event) -> Event | None:
    """Push as SPEC 5 could be read: no history that nobody's block names."""
    if isinstance(event, BlocksReceived) and event.sender != LIAR:
        blocks = tuple(b for b in event.blocks if b.block.ref.author == event.sender)
        return BlocksReceived(event.sender, blocks) if blocks else None
    return event


def nothing_below(node: ScriptedNode, event: Event) -> Event | None:
    """A peer's garbage-collected block is simply not there."""
    match event:
        case FetchAnswered():
            return replace(event, below=())
        case BelowAnswered():
            return RequestFailed(peer=event.peer, request=event.request)
        case _:
            return event


def neither(node: ScriptedNode, event: Event) -> Event | None:
    seen = own_blocks_only(node, event)
    return None if seen is None else nothing_below(node, seen)


def hide_a_certificate(
    passes: Passes | None, *, loaded: bool, pace: Parameters = PACE
) -> tuple[Stage, VerifiedBlock]:
    """h1 and h2 commit the liar's round 12 by a certificate that A never sees: returns it, shown.

    All is loaded for ever, or only h1, once, with what that commit orders.

    The liar leads round 12 = r, and keeps to the rules before it. Its block of r reaches h1 and h2 after A has timed out; the
    same with its vote at r+1: so h1, h2 and the liar certify at r+2, A does not, and holds another block of the liar's there.
    """
    hasty = replace(pace, timeout_deltas=1)  # its leader timeout is over before the others'
    stage = Stage(gc_depth=GC_DEPTH, parameters={H1: pace, H2: pace, A: hasty}, passes=passes)
    r = CERTIFIED
    stage.liar_until = r - 1
    stage.liar_loads = loaded
    for node in stage.nodes.values():
        node.submit_every(20)
    stage.begin()
    if not loaded:
        stage.until(lambda: stage.made(H1, r - 3))
        for node in stage.nodes.values():
            node.submitting = False
        stage.until(lambda: stage.made(H1, r - 2))
        stage.nodes[H1].submit()
    stage.until(lambda: stage.made(H1, r) and stage.made(H2, r) and stage.made(A, r))
    everybody = [stage.block(index, r - 1) for index in (LIAR, *HONEST)]
    leader = stage.lie(r, everybody)

    stage.until(lambda: stage.made(A, r + 1))
    assert not stage.made(H1, r + 1)
    assert not stage.made(H2, r + 1)
    stage.show((H1, H2), leader)
    stage.until(lambda: stage.made(H1, r + 1) and stage.made(H2, r + 1))
    others = [stage.block(index, r) for index in HONEST]
    vote = stage.lie(r + 1, [leader.block.ref, *others])

    stage.until(lambda: stage.made(A, r + 2))
    assert not stage.made(H1, r + 2)
    assert not stage.made(H2, r + 2)
    stage.show((H1, H2), vote)
    stage.until(lambda: stage.made(H1, r + 2) and stage.made(H2, r + 2))
    voters = [stage.block(index, r + 1) for index in HONEST]
    certificate = stage.lie(r + 2, [vote.block.ref, *voters])
    variant = stage.lie(r + 2, [leader.block.ref, *voters], salt=1)
    # Their next blocks are made without any of the liar's; A's is held back, so that they wait for a third.
    for peer in (H1, H2):
        stage.nodes[A].hold(peer)
    stage.show((A,), variant)
    stage.until(lambda: stage.made(H1, r + 3) and stage.made(H2, r + 3) and stage.made(A, r + 3))
    heights = {index: stage.height(index) for index in HONEST}

    stage.show((H1, H2), certificate)
    stage.until(lambda: all(stage.height(each) > heights[each] for each in (H1, H2)))
    assert stage.history.commits[stage.height(H1) - 1].leader == leader.block.ref
    assert stage.height(A) == heights[A]
    return stage, certificate


def split_the_floor(passes: Passes | None) -> Stage:
    """And then they name a block that hangs on nothing, at the floor that A does not have."""
    stage, certificate = hide_a_certificate(passes, loaded=True)
    r = CERTIFIED
    floor = r - GC_DEPTH
    invented = Ref(Round(floor), ValidatorIndex(LIAR), Digest(b"\xee" * 32))
    poison = stage.lie(r + 3, [invented, *(stage.block(index, r + 2) for index in HONEST)])
    stage.show((H1, H2), poison)
    stage.until(lambda: stage.made(H1, r + 4) and stage.made(H2, r + 4))
    for index in (H1, H2):
        header = next(
            b.header for b in stage.mint.rounds[r + 4] if b.ref == stage.block(index, r + 4)
        )
        assert poison.block.ref in header.parents, "the schedule missed: nobody took the poison"
        assert certificate.block.ref not in header.parents
    for peer in (H1, H2):
        stage.nodes[A].release(peer)
    return stage


def test_a_floor_split_stops_everybody_without_the_repairs() -> None:
    stage = split_the_floor(neither)
    stage.wait(20 * DELTA_MS)
    stuck = {index: stage.height(index) for index in HONEST}
    stage.wait(FOR_EVER_MS)
    assert {index: stage.height(index) for index in HONEST} == stuck
    assert stuck[A] < stuck[H1]


@pytest.mark.parametrize("passes", [None, own_blocks_only, nothing_below])
def test_a_floor_split_stops_nobody_with_either_repair(passes: Passes | None) -> None:
    """P1 twice: a certificate that A may lack is pushed to it; and what decided a commit can be asked for."""
    stage = split_the_floor(passes)
    target = stage.height(H1) + 5
    stage.until(
        lambda: all(stage.height(index) >= target for index in HONEST),
        within_ms=40 * DELTA_MS,
    )


# --- Break 3: absent for longer than garbage collection waits -----------------------------------------------------------


def without_range_sync(node: ScriptedNode, event: Event) -> Event | None:
    """SPEC 13 alone: drop what is more than 2 G rounds ahead, its votes unread; and no ranges (RULINGS R31)."""
    match event:
        case BlocksReceived():
            far = node.highest_stored() + 2 * GC_DEPTH
            blocks = tuple(b for b in event.blocks if b.block.ref.round <= far)
            return BlocksReceived(event.sender, blocks) if blocks else None
        case RangeAnswered():
            return RequestFailed(peer=event.peer, request=event.request)
        case _:
            return event


def come_back_late(passes: Passes | None) -> Stage:
    """A stops, the three others go on for far more than 2 G rounds, A starts again with what its disk has."""
    stage = Stage(gc_depth=GC_DEPTH, parameters=dict.fromkeys(HONEST, PACE), passes=passes)
    stage.liar_until = 1_000_000
    for node in stage.nodes.values():
        node.submit_every(20)
    stage.begin()
    stage.until(lambda: all(stage.height(index) >= 5 for index in HONEST))
    stage.nodes[A].crash()
    stage.lacking = A
    left = stage.clock.now_ms
    stage.until(lambda: stage.made(H1, 12 * GC_DEPTH) and stage.made(H2, 12 * GC_DEPTH))
    assert stage.clock.now_ms > left
    stage.start(A)
    return stage


def test_a_member_absent_for_long_never_returns_without_the_repair() -> None:
    stage = come_back_late(without_range_sync)
    stage.wait(20 * DELTA_MS)
    height = stage.height(A)
    before = stage.height(H1)
    stage.wait(FOR_EVER_MS)
    assert stage.height(A) == height
    assert stage.height(H1) > before + 100, "the others go on: A is not what holds them"


def test_a_member_absent_for_long_returns() -> None:
    """P3, and it signs nothing before it has caught up: blocks of long gone rounds would be void."""
    stage = come_back_late(None)
    signed_before = max(r for r in stage.mint.rounds if stage.made(A, r))
    head = max(stage.mint.rounds)
    stage.until(
        lambda: (
            stage.height(A) >= stage.height(H1) - 2
            and any(stage.made(A, r) for r in range(head, max(stage.mint.rounds) + 1))
        ),
        within_ms=40 * DELTA_MS,
    )
    between = [r for r in range(signed_before + 1, head - 1) if stage.made(A, r)]
    assert between == []
    own = next(r for r in range(head, max(stage.mint.rounds) + 1) if stage.made(A, r))
    stage.until(lambda: stage.history.included.get(A, 0) >= own, within_ms=20 * DELTA_MS)

"""Breaks 2, 4, 5 and 6 of PACEMAKER.md: a halt, two waits of an idle delay, and droughts that pushed history ends.

As in `test_breaks`, a repair is taken out here, by a driver that changes what arrives or by a core that overrules one rule.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import pytest

from consensus.core import Core
from consensus.events import (
    BelowAnswered,
    BlocksReceived,
    Event,
    FetchAnswered,
    RangeAnswered,
    WakeReceived,
)
from consensus.evidence import Evidence
from consensus.simulate.script import HONEST, LIAR, MakeCore, Passes, ScriptedNode, Stage
from consensus.types import Block, Ref, Round, VerifiedBlock
from tests.simulation.test_breaks import (
    DELTA_MS,
    FOR_EVER_MS,
    GC_DEPTH,
    H1,
    H2,
    PACE,
    A,
    hide_a_certificate,
    own_blocks_only,
)

IDLE_DELTAS: Final = 60
SLEEPY: Final = replace(PACE, idle_delay_ms=IDLE_DELTAS * DELTA_MS)
SEVEN: Final = 7
EQUIVOCATOR, HELPER = 0, 1
FIVE: Final = (2, 3, 4, 5, 6)


def all_reach(stage: Stage, height: int, *, within_deltas: int) -> None:
    stage.until(
        lambda: all(stage.height(each) >= height for each in stage.honest),
        within_ms=within_deltas * DELTA_MS,
    )


def longest_gap(stage: Stage, for_ms: int) -> float:
    """In deltas: the longest time, from now on, that some honest member is without a commit."""
    end = stage.clock.now_ms + for_ms
    seen = {each: (stage.height(each), stage.clock.now_ms) for each in stage.honest}
    longest = 0
    while stage.clock.now_ms < end:
        stage.wait(DELTA_MS // 10)
        for each, (height, since) in seen.items():
            longest = max(longest, stage.clock.now_ms - since)
            if stage.height(each) > height:
                seen[each] = (stage.height(each), stage.clock.now_ms)
    return longest / DELTA_MS


# --- Break 2: at most n variants of a slot ------------------------------------------------------------------------------


def capped() -> Passes:
    """SPEC 13 by the letter: never more than n blocks of one slot, whoever needs another."""
    let_in: dict[tuple[int, int, int], dict[Ref, None]] = {}  # by node, round, author

    def under_the_cap(index: int, blocks: Iterable[VerifiedBlock]) -> tuple[VerifiedBlock, ...]:
        kept = []
        for each in blocks:
            ref = each.block.ref
            slot = let_in.setdefault((index, ref.round, ref.author), {})
            if ref in slot or len(slot) < SEVEN:
                slot[ref] = None
                kept.append(each)
        return tuple(kept)

    def passes(node: ScriptedNode, event: Event) -> Event | None:
        match event:
            case BlocksReceived():
                blocks = under_the_cap(node.index, event.blocks)
                return BlocksReceived(event.sender, blocks) if blocks else None
            case FetchAnswered() | RangeAnswered() | BelowAnswered():
                return replace(event, blocks=under_the_cap(node.index, event.blocks))
            case _:
                return event

    return passes


def ten_variants(passes: Passes | None) -> Stage:
    """The equivocator's slot of round r has ten blocks: five that an honest member each votes for, five that the helper's do.

    The helper shows each member another block of r+1, which needs another of the ten; then both are silent.
    """
    stage, r, others = two_liars(passes)
    for salt, each in enumerate(FIVE):
        stage.show((each,), stage.lie(r, others, salt=salt), by=EQUIVOCATOR)
    stage.until(lambda: all(stage.made(each, r + 1) for each in FIVE))
    for salt, each in enumerate(FIVE, 5):
        hidden = stage.lie(r, others, salt=salt)
        named = [stage.block(HELPER, r), hidden.block.ref, *(stage.block(at, r) for at in FIVE)]
        helped = stage.lie(r + 1, named, salt=salt, author=HELPER)
        stage.show((each,), hidden, helped, by=HELPER)
    stage.until(lambda: all(stage.made(each, r + 2) for each in FIVE))
    for each in FIVE:
        assert any(ref.author == HELPER for ref in parents_of(stage, each, r + 2)), "not named"
    return stage


def variants_of_one_chain(passes: Passes | None) -> Stage:
    """The same, but the second five are needed by the equivocator's own blocks of r+1, which honest members vote for."""
    stage, r, others = two_liars(passes)
    for salt, each in enumerate(FIVE):
        stage.show((each,), stage.lie(r, others, salt=salt), by=EQUIVOCATOR)
    stage.until(lambda: all(stage.made(each, r + 1) for each in FIVE))
    for salt, each in enumerate(FIVE, 5):
        hidden = stage.lie(r, others, salt=salt)
        stage.show((each,), hidden, by=HELPER)
        upon = [hidden.block.ref, stage.block(HELPER, r), *(stage.block(at, r) for at in FIVE)]
        stage.show((each,), stage.lie(r + 1, upon, salt=salt), by=EQUIVOCATOR)
    stage.until(lambda: all(stage.made(each, r + 2) for each in FIVE))
    for each in FIVE:
        assert any(ref.author == EQUIVOCATOR for ref in parents_of(stage, each, r + 2)), "not named"
    return stage


def two_liars(passes: Passes | None) -> tuple[Stage, int, list[Ref]]:
    """Seven members, two liars who behave up to round r - 1: r, and the parents of the equivocator's blocks of r.

    But the helper, who leads round r - 2, shows that block too late for votes. So no block of round r certifies anything, and
    none is let in for that (P1).
    """
    r = 10
    stage = Stage(
        gc_depth=GC_DEPTH,
        parameters=dict.fromkeys(FIVE, PACE),
        passes=passes,
        size=SEVEN,
        liars=(EQUIVOCATOR, HELPER),
    )
    assert stage.committee.leader(Round(r - 2)) == HELPER
    stage.audience = lambda liar, round_: () if (liar, round_) == (HELPER, r - 2) else FIVE
    stage.liar_until = r - 1
    for node in stage.nodes.values():
        node.submit_every(20)
    stage.begin()
    stage.until(lambda: all(stage.made(each, r - 1) for each in FIVE))
    stage.show(FIVE, stage.mint.verified[stage.block(HELPER, r - 2)], by=HELPER)
    stage.until(lambda: all(stage.made(each, r) for each in FIVE))
    everybody = [stage.block(each, r - 1) for each in range(SEVEN)]
    helper = [everybody[HELPER], *(ref for ref in everybody if ref.author != HELPER)]
    stage.show(FIVE, stage.lie(r, helper, author=HELPER), by=HELPER)
    return stage, r, everybody


def parents_of(stage: Stage, author: int, round_: int) -> tuple[Ref, ...]:
    name = stage.block(author, round_)
    return next(each.header.parents for each in stage.mint.rounds[round_] if each.ref == name)


@pytest.fixture
def no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody learns from proofs (SPEC 12): they would end these schedules before they bite, but only if they come in time."""
    monkeypatch.setattr(Evidence, "take", lambda self, proof: False)


@pytest.mark.usefixtures("no_evidence")
def test_a_cap_of_n_variants_stops_everybody_without_the_repair() -> None:
    stage = ten_variants(capped())
    stage.wait(20 * DELTA_MS)
    stuck = {each: stage.height(each) for each in FIVE}
    stage.wait(FOR_EVER_MS)
    assert {each: stage.height(each) for each in FIVE} == stuck


@pytest.mark.usefixtures("no_evidence")
@pytest.mark.parametrize("schedule", [ten_variants, variants_of_one_chain])
def test_any_number_of_variants_stops_nobody(schedule: Callable[[Passes | None], Stage]) -> None:
    """P2: what a block of another author needs is let in, however many there are."""
    stage = schedule(None)
    all_reach(stage, stage.height(FIVE[0]) + 5, within_deltas=40)


# --- Break 4: idle while a peer is not done -----------------------------------------------------------------------------


def wakes_for_own_payload_only(node: ScriptedNode, event: Event) -> Event | None:
    """RULINGS R32 alone: nobody wakes others but for transactions of its own clients."""
    if isinstance(event, WakeReceived) and not node.sees(event.peer).has_payload:
        return None
    return own_blocks_only(node, event)


def one_is_not_done(passes: Passes) -> tuple[Stage, int]:
    """h1 and h2 committed all there is to order, A lacks what decided it: the stage, and the commit that A lacks."""
    stage, _ = hide_a_certificate(passes, loaded=False, pace=SLEEPY)
    for peer in (H1, H2):
        stage.nodes[A].release(peer)
    assert not any(node.has_payload for node in stage.nodes.values())
    assert stage.height(A) < stage.height(H1) == stage.height(H2)
    return stage, stage.height(H1)


def test_a_member_that_is_not_done_waits_an_idle_delay_without_the_repair() -> None:
    stage, height = one_is_not_done(wakes_for_own_payload_only)
    stage.wait((IDLE_DELTAS - 10) * DELTA_MS)
    assert stage.height(A) < height
    all_reach(stage, height, within_deltas=6 * IDLE_DELTAS)


def test_a_member_that_is_not_done_wakes_the_others() -> None:
    """P4."""
    stage, height = one_is_not_done(own_blocks_only)
    all_reach(stage, height, within_deltas=5)


# --- Break 5: payload of lower rounds -----------------------------------------------------------------------------------


class ByRound(Core):
    """Quiescent when no block above the last commit's leader carries payload, committed or not."""

    @property
    def _may_idle(self) -> bool:
        above = any(
            ref.round > self.linearizer.last_leader_round for ref in self._ordering.unordered
        )
        return not (self._payload_pending or above)


def late_payload(core: MakeCore) -> tuple[Stage, Ref]:
    """A's one block with payload reaches the others when they have committed a later round and all are idle."""
    stage = Stage(gc_depth=128, parameters=dict.fromkeys(HONEST, SLEEPY), liars=(LIAR,), core=core)
    stage.liar_until = 1_000_000
    stage.liar_loads = False
    stage.nodes[H1].submit_every(20)
    stage.begin()
    stage.until(lambda: stage.height(A) >= 3)
    stage.lacking = A
    for peer in (H1, H2):
        stage.nodes[A].hold(peer)
    stage.nodes[A].submit()
    stage.until(lambda: any(block.ref.author == A and block.payload for block in made(stage)))
    late = next(block.ref for block in made(stage) if block.ref.author == A and block.payload)
    stage.until(lambda: all(stage.leader_round(each) > late.round + 2 for each in HONEST))
    stage.nodes[H1].submitting = False
    stage.wait(10 * DELTA_MS)
    return stage, late


def made(stage: Stage) -> list[Block]:
    return [block for blocks in stage.mint.rounds.values() for block in blocks]


def deltas_until_ordered(stage: Stage, late: Ref) -> float:
    began = stage.clock.now_ms
    for peer in (H1, H2):
        stage.nodes[A].release(peer)
    stage.until(
        lambda: any(late in commit.blocks for commit in stage.history.commits),
        within_ms=3 * IDLE_DELTAS * DELTA_MS,
    )
    return (stage.clock.now_ms - began) / DELTA_MS


def test_late_payload_waits_an_idle_delay_without_the_repair() -> None:
    assert deltas_until_ordered(*late_payload(ByRound)) > IDLE_DELTAS / 2


def test_late_payload_is_ordered_at_once() -> None:
    """P5: what counts is whether a block is committed, not how high its round is."""
    assert deltas_until_ordered(*late_payload(Core)) < 5


# --- Break 6: own block and fetching only -------------------------------------------------------------------------------


def one_block_only(node: ScriptedNode, event: Event) -> Event | None:
    """No history in a push, and an answer that holds what was asked for and its parents, two levels."""
    if not isinstance(event, FetchAnswered):
        return own_blocks_only(node, event)
    parents = {parent for each in event.blocks for parent in each.block.header.parents}
    asked = [each for each in event.blocks if each.block.ref not in parents]
    near = {parent for each in asked for parent in each.block.header.parents}
    near.update(each.block.ref for each in asked)
    return replace(event, blocks=tuple(each for each in event.blocks if each.block.ref in near))


def next_leader_only(passes: Passes | None) -> Stage:
    """Seven members, and two liars: one shows its blocks to the leader of the next round alone, the other behaves.

    What that leader sends and is sent takes a whole delta, the rest a little less: all within the bound.
    """
    stage = Stage(
        gc_depth=128,
        parameters=dict.fromkeys(FIVE, PACE),
        passes=passes,
        size=SEVEN,
        liars=(EQUIVOCATOR, HELPER),
    )

    def audience(liar: int, round_: int) -> list[int]:
        return [each for each in FIVE if liar == HELPER or each == (round_ + 1) % SEVEN]

    def delay_of(source: int, target: int) -> int:
        highest = max(stage.mint.rounds, default=0)
        leaders = {round_ % SEVEN for round_ in range(highest - 1, highest + 2)}
        return DELTA_MS if leaders & {source, target} else DELTA_MS * 7 // 10

    stage.audience = audience
    stage.wires.delay_of = delay_of
    stage.liar_until = 1_000_000
    for node in stage.nodes.values():
        node.submit_every(20)
    stage.begin()
    return stage


def test_a_block_for_the_next_leader_alone_keeps_leaders_out_without_the_repairs() -> None:
    assert longest_gap(next_leader_only(own_blocks_only), 100 * DELTA_MS) > 15


def test_a_block_for_the_next_leader_alone_costs_little() -> None:
    """P6: history goes with the block."""
    assert longest_gap(next_leader_only(None), 100 * DELTA_MS) < 12


CHAIN_BLOCKS: Final = 60


def withheld_chain(passes: Passes | None) -> Stage:
    """The liar built a chain in secret and shows it to A alone, which names it; from then on it is silent."""
    stage = Stage(gc_depth=128, parameters=dict.fromkeys(HONEST, PACE), passes=passes)
    for node in stage.nodes.values():
        node.submit_every(20)
    stage.begin()
    stage.until(lambda: all(stage.made(each, CHAIN_BLOCKS) for each in HONEST), within_ms=60_000)
    stage.wires.delay_of = lambda source, target: DELTA_MS - 10
    own = stage.committee.genesis[LIAR]
    chain: list[VerifiedBlock] = []
    for round_ in range(1, CHAIN_BLOCKS + 1):
        before = (
            [stage.block(each, round_ - 1) for each in HONEST]
            if round_ > 1
            else [stage.committee.genesis[each] for each in HONEST]
        )
        chain.append(stage.lie(round_, [own, *before]))
        own = chain[-1].block.ref
    stage.show((A,), *chain)
    return stage


def test_a_withheld_chain_stops_all_for_as_long_as_it_is_deep_without_the_repairs() -> None:
    assert longest_gap(withheld_chain(one_block_only), 150 * DELTA_MS) > CHAIN_BLOCKS / 2


def test_a_withheld_chain_stops_nobody() -> None:
    """P6: pushed history holds it, and an answer goes 64 levels down."""
    assert longest_gap(withheld_chain(None), 150 * DELTA_MS) < 12


def test_a_withheld_chain_can_be_asked_for_at_once() -> None:
    """Without pushes of history: 64 levels an answer."""
    assert longest_gap(withheld_chain(own_blocks_only), 150 * DELTA_MS) < 20

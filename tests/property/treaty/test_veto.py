"""No veto, by brute force: closed forms against every coalition and every way it may vote."""

from functools import lru_cache
from itertools import combinations, combinations_with_replacement

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.treaty.rules import SHARES, k_of, share_of, threshold_of, yes_wins
from node.treaty.veto import (
    first_weakness,
    passes_against,
    smallest_block,
    strength,
    veto_check,
    withstands,
)

RULES = ("MAJ", "SUP", "HIGH", "STOP")
MEMBERS_MAX = 12
ANSWERS = ("yes", "no", "abstain", "silent")


def can_block(rule: str, threshold: int, states: range, coalition: tuple[int, ...]) -> bool:
    """Whether these very states, voting in any way, stop what all others want."""
    others = [state for state in states if state not in coalition]
    against = "no" if rule == "STOP" else "yes"
    for answers in combinations_with_replacement(ANSWERS, len(coalition)):
        held = [*answers, *(against for _ in others)]
        won = yes_wins(rule, threshold, held.count("yes"), held.count("no"))
        if won == (rule == "STOP"):
            return True
    return False


@lru_cache(maxsize=256)
def blocking_sizes(rule: str, eligible: int, threshold: int) -> set[int]:
    """Sizes of all coalitions that can block; each coalition is tried by itself."""
    states = range(eligible)
    return {
        size
        for size in range(eligible + 1)
        for coalition in combinations(states, size)
        if can_block(rule, threshold, states, coalition)
    }


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("members", range(2, MEMBERS_MAX + 1))
@pytest.mark.measure("M10")
def test_the_veto_table_is_what_coalitions_can_do(members: int, rule: str) -> None:
    """With all eligible and with one recused: the table's number is one below the smallest block."""
    row = veto_check(members, 0)
    place = RULES.index(rule)
    for eligible, said in ((members, strength(members)), (members - 1, strength(members - 1))):
        threshold = threshold_of(rule, eligible, k_of(members))
        if threshold != max(1, share_of(rule, eligible)):
            continue  # LAW K31 lifts it above the rule's own share: then the default always stands
        sizes = blocking_sizes(rule, eligible, threshold)
        assert min(sizes, default=eligible + 1) == said[place] + 1, (eligible, threshold)
        assert sizes == set(range(min(sizes), eligible + 1)), "who blocks with few blocks with more"
    assert row.veto_possible == (members < 5)


@pytest.mark.parametrize("rule", RULES)
def test_to_195_the_closed_forms_are_what_every_vote_count_says(rule: str) -> None:
    """A sweep over how many block and how they vote: k-veto-free up to the table's number, and not beyond."""
    for eligible in range(2, 196):
        threshold = max(1, share_of(rule, eligible))  # the rule itself; K31's floor is shown below
        withstood = -1
        for blockers in range(eligible + 1):
            if blocks(rule, eligible, threshold, blockers):
                break
            withstood = blockers
        assert withstood == strength(eligible)[RULES.index(rule)], eligible
        assert smallest_block(rule, eligible, threshold) == withstood + 1


def blocks(rule: str, eligible: int, threshold: int, blockers: int) -> bool:
    """Whether so many, by any number of yes, no and other answers among them, stop what all others want."""
    others = eligible - blockers
    for against in range(blockers + 1):
        for in_favour in {0, (blockers - against) // 2, blockers - against}:
            if rule == "STOP":
                won = yes_wins(rule, threshold, against, others + in_favour)
                if won:
                    return True
            elif not yes_wins(rule, threshold, others + in_favour, against):
                return True
    return False


@pytest.mark.parametrize("members", range(5, 196))
def test_the_treatys_own_rules_withstand_k_for_safe_outcomes_at_every_size(members: int) -> None:
    """With one member recused, and floors of k+1 (LAW K31): N < 5 is the only size with a veto."""
    k, eligible = k_of(members), members - 1
    assert first_weakness(eligible, k, {}) is None
    for rule in RULES:
        threshold = threshold_of(rule, eligible, k)
        assert not blocks(rule, eligible, threshold, withstands(rule, k)), rule
    assert veto_check(members, 0).veto_possible == 0


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(RULES), st.integers(1, 8), st.integers(1, 9))
def test_the_smallest_block_of_any_threshold(rule: str, eligible: int, threshold: int) -> None:
    """What a refusal names: amendments make other thresholds than the table's."""
    sizes = blocking_sizes(rule, eligible, threshold)
    named = smallest_block(rule, eligible, threshold)
    assert min(sizes, default=eligible + 1) == min(named, eligible + 1)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(RULES), st.integers(5, 60), st.integers(1, 40), st.integers(1, 40))
@pytest.mark.measure("M10")
def test_a_share_that_passes_the_check_gives_nobody_a_block(
    rule: str, members: int, num: int, den: int
) -> None:
    """And one that does not is named with a coalition that can indeed block, or it would be no refusal."""
    eligible, k = members - 1, k_of(members)
    weak = first_weakness(eligible, k, {rule: (num, den)})
    if weak is None:
        threshold = max(1, k + 1, share_of(rule, eligible, (num, den)))
        blockers = withstands(rule, k)
        others = eligible - blockers
        if rule == "STOP":
            assert not yes_wins(rule, threshold, blockers, 0)
        else:
            assert yes_wins(rule, threshold, others, blockers)
        return
    assert weak.rule == rule, "the treaty's own shares give nobody a block from five members on"
    states = range(eligible)
    coalition = tuple(states[: weak.blockers])
    assert weak.blockers <= withstands(rule, k)
    assert can_block(rule, weak.threshold, states, coalition)
    assert weak.told([f"S{state}" for state in states]).startswith(rule)


@settings(max_examples=500)
@given(st.sampled_from(sorted(SHARES)), st.integers(0, 200), st.integers(1, 50), st.integers(1, 50))
def test_an_amended_share_never_blocks_after_states_have_left(
    rule: str, voters: int, num: int, den: int
) -> None:
    """Nobody can refuse a departure, so a share that would then give a block gives way to the treaty's own."""
    own = threshold_of(rule, voters, 0)
    threshold = threshold_of(rule, voters, 0, (num, den))
    assert threshold == own or threshold < voters
    if rule != "STOP" and voters >= 5:
        assert threshold < voters
        assert rule == "PANEL" or passes_against(rule, voters, 1, k_of(voters))

"""Voting arithmetic against brute force: every vote split, every way to change it."""

import itertools

import pytest

from node.treaty.beacon import draw
from node.treaty.rules import (
    DEFAULT,
    Counts,
    f_of,
    is_settled,
    k_of,
    one_state_could_change,
    quorum_of,
    result,
    threshold_of,
    trigger_of,
    yes_wins,
)
from node.treaty.veto import passes_against, strength, veto_check, veto_possible

RULES = ("MAJ", "SUP", "HIGH", "STOP")


def outcomes_reachable(rule: str, threshold: int, votes: tuple[str, ...], k: int) -> set[bool]:
    """All outcomes when `silent` votes in any way and up to k voters change in any way."""
    silent = [place for place, vote in enumerate(votes) if vote == "silent"]
    voted = [place for place, vote in enumerate(votes) if vote in {"yes", "no", "abstain"}]
    reached = set()
    for changers in itertools.combinations(voted, min(k, len(voted))):
        free = [*silent, *changers]
        for choices in itertools.product(("yes", "no", "abstain", "silent"), repeat=len(free)):
            ballot = list(votes)
            for place, choice in zip(free, choices, strict=True):
                ballot[place] = choice
            reached.add(yes_wins(rule, threshold, ballot.count("yes"), ballot.count("no")))
    return reached


def splits(voters: int) -> list[tuple[str, ...]]:
    answers = ("yes", "no", "abstain", "silent", "barred")
    return list(itertools.combinations_with_replacement(answers, voters))


def counts(votes: tuple[str, ...]) -> Counts:
    return Counts(*(votes.count(name) for name in ("yes", "no", "abstain", "silent", "barred")))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("k", [0, 1, 2])
def test_early_close_is_exactly_when_no_change_matters(rule: str, k: int) -> None:
    for voters in range(6):
        threshold = threshold_of(rule, voters, k)
        for votes in splits(voters):
            settled = is_settled(rule, threshold, counts(votes), k)
            reached = outcomes_reachable(rule, threshold, votes, k)
            assert settled == (len(reached) == 1), (rule, voters, k, votes)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_a_halt_closes_early_only_as_kept_or_lifted(k: int) -> None:
    """LAW K5, K8: the same brute force with three outcomes; as lapsed never before its time."""
    for voters in range(1, 6):
        threshold, lift = threshold_of("MAJ", voters, k), threshold_of("SUP", voters, k)
        for votes in splits(voters):
            reached = halts_reachable(threshold, lift, votes, k)
            settled = is_settled("MAJ", threshold, counts(votes), k, lift)
            assert settled == (len(reached) == 1 and reached != {DEFAULT}), (voters, k, votes)


def halts_reachable(threshold: int, lift: int, votes: tuple[str, ...], k: int) -> set[int]:
    silent = [place for place, vote in enumerate(votes) if vote == "silent"]
    voted = [place for place, vote in enumerate(votes) if vote in {"yes", "no", "abstain"}]
    reached = set()
    for changers in itertools.combinations(voted, min(k, len(voted))):
        free = [*silent, *changers]
        for choices in itertools.product(("yes", "no", "abstain", "silent"), repeat=len(free)):
            ballot = list(votes)
            for place, choice in zip(free, choices, strict=True):
                ballot[place] = choice
            reached.add(result("MAJ", threshold, ballot.count("yes"), ballot.count("no"), lift))
    return reached


@pytest.mark.parametrize("rule", RULES)
def test_counterfactual_is_every_single_replacement(rule: str) -> None:
    for voters in range(7):
        threshold = threshold_of(rule, voters, 1)
        for votes in splits(voters):
            outcome = yes_wins(rule, threshold, votes.count("yes"), votes.count("no"))
            changed = False
            for place, choice in itertools.product(range(voters), ("yes", "no", "abstain")):
                other = (*votes[:place], choice, *votes[place + 1 :])
                won = yes_wins(rule, threshold, other.count("yes"), other.count("no"))
                changed = changed or won != outcome
            assert one_state_could_change(rule, threshold, counts(votes)) == changed, votes


def worst_blockers(rule: str, eligible: int, k: int) -> int:
    """The largest number of blockers that cannot stop the others, over every way they may vote."""
    best = 0
    for blockers in range(1, eligible + 1):
        threshold = threshold_of(rule, eligible, k)
        others = eligible - blockers
        stopped = False
        for no in range(blockers + 1):
            if rule == "STOP":  # the others let the safe act go ahead; blockers vote yes = stop
                stopped = stopped or yes_wins(rule, threshold, blockers, others)
            else:
                stopped = stopped or not yes_wins(rule, threshold, others, no)
        if stopped:
            return best
        best = blockers
    return best


@pytest.mark.parametrize("eligible", range(2, 60))
def test_closed_forms_of_veto_freedom_are_exact(eligible: int) -> None:
    # K31 lets no threshold lie below k+1; with the law's own k that never binds here.
    k = k_of(eligible)
    forms = strength(eligible)
    exact = [worst_blockers(rule, eligible, k) for rule in RULES]
    assert list(forms) == exact
    for rule, most in zip(RULES, forms, strict=True):
        assert all(passes_against(rule, eligible, b, k) for b in range(most + 1))
        assert not passes_against(rule, eligible, most + 1, k)


@pytest.mark.measure("M10")
def test_five_members_are_the_least_without_a_veto() -> None:
    assert [members for members in range(1, 196) if veto_possible(members)] == [1, 2, 3, 4]
    assert veto_check(4, 0).veto_possible == 1
    assert veto_check(5, 0).veto_possible == 0


def test_numbers_of_the_membership() -> None:
    assert [k_of(n) for n in (0, 1, 3, 4, 5, 9, 195)] == [0, 0, 0, 1, 1, 2, 48]
    assert [f_of(n) for n in (0, 1, 4, 7, 195)] == [0, 0, 1, 2, 64]
    assert [trigger_of(n) for n in (5, 40, 41, 195)] == [2, 2, 3, 10]
    assert [quorum_of(n) for n in (1, 4, 5, 6, 7)] == [1, 3, 4, 5, 5]


def test_threshold_never_below_k_plus_one() -> None:
    assert threshold_of("SUP", 1, 1) == 2  # more than there are: the default stands (K31)
    assert threshold_of("MAJ", 8, 2) == 3
    assert threshold_of("PANEL", 15, 4) == 10
    assert threshold_of("PANEL", 0, 4) == 1


def test_panel_draw_has_no_repeats_and_depends_on_the_beacon() -> None:
    states = tuple(f"S{number:03}" for number in range(300))  # two bytes a draw
    one, other = draw(bytes(32), "m1", states, 15), draw(b"\1" * 32, "m1", states, 15)
    assert len(one) == len(set(one)) == 15
    assert one != other
    assert draw(bytes(32), "m1", ("A",), 15) == ("A",)

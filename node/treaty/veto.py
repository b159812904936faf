"""Veto-freedom (MODEL 7): how many states each rule withstands, for any size of membership.

A rule is k-veto-free for an outcome if no k eligible states can stop it when all others want it. The
two closed forms below are checked against every vote split in the tests.
"""

from typing import NamedTuple

from node.treaty.derived import VetoCheck
from node.treaty.rules import f_of, k_of, quorum_of, threshold_of, trigger_of, yes_wins


class RuleStrength(NamedTuple):
    """For each rule the largest k for which it is k-veto-free."""

    maj: int
    sup: int
    high: int
    stop: int


def strength(eligible: int) -> RuleStrength:
    """MODEL 7's closed forms: E >= 2k+1, E >= 3k, E >= 4k; a stop needs more than k."""
    return RuleStrength(
        maj=max(eligible - 1, 0) // 2,
        sup=eligible // 3,
        high=eligible // 4,
        stop=max(-(-3 * eligible // 4) - 1, 0),
    )


def passes_against(rule: str, eligible: int, blockers: int, k: int) -> bool:
    """Whether `eligible - blockers` states carry their will against the blockers' worst vote.

    For STOP the will of the others is that the safe act goes ahead: the blockers alone, all voting
    to stop, must fall short.
    """
    others = eligible - blockers
    threshold = threshold_of(rule, eligible, k)
    if rule == "STOP":
        return not yes_wins(rule, threshold, blockers, 0)
    return yes_wins(rule, threshold, others, blockers)


def veto_possible(members: int) -> bool:
    """Whether some rule, with one member recused, gives a single state a veto (members < 5: yes)."""
    return members < 5 or min(strength(members - 1)) < 1


def veto_check(members: int, at_s: int) -> VetoCheck:
    """The whole table row for a membership."""
    everyone, recused = strength(members), strength(max(members - 1, 0))
    return VetoCheck(
        members=members,
        k=k_of(members),
        f=f_of(members),
        trigger=trigger_of(members),
        quorum=quorum_of(members),
        veto_possible=int(veto_possible(members)),
        all_maj=everyone.maj,
        all_sup=everyone.sup,
        all_high=everyone.high,
        all_stop=everyone.stop,
        one_recused_maj=recused.maj,
        one_recused_sup=recused.sup,
        one_recused_high=recused.high,
        one_recused_stop=recused.stop,
        at=at_s,
    )

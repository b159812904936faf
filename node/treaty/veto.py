"""Veto-freedom (MODEL 7): how many states each rule withstands, for any size of membership.

A rule is k-veto-free for an outcome if no k eligible states can stop it when all others want it. The
two closed forms below are checked against every vote split in the tests.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from node.treaty.derived import VetoCheck
from node.treaty.rules import f_of, k_of, quorum_of, share_of, threshold_of, trigger_of, yes_wins


class RuleStrength(NamedTuple):
    """For each rule the largest k for which it is k-veto-free."""

    maj: int
    sup: int
    high: int
    stop: int


def strength(eligible: int, shares: Mapping[str, tuple[int, int]] | None = None) -> RuleStrength:
    """MODEL 7's closed forms: E >= 2k+1, E >= 3k, E >= 4k; a stop needs more than k.

    Written with the shares, of which amendments may have raised some: others carry their will against
    b blockers if E - b is at least the share of E (and, where votes are weighed, more than b).
    """
    if shares is None:
        shares = {}
    most = max(eligible - 1, 0) // 2
    return RuleStrength(
        maj=min(most, eligible - share_of("MAJ", eligible, shares.get("MAJ"))),
        sup=eligible - share_of("SUP", eligible, shares.get("SUP")),
        high=eligible - share_of("HIGH", eligible, shares.get("HIGH")),
        stop=max(share_of("STOP", eligible, shares.get("STOP")) - 1, 0),
    )


class Weakness(NamedTuple):
    """A rule that some coalition can block, and the smallest such coalition's size."""

    rule: str
    eligible: int
    threshold: int
    blockers: int

    def told(self, states: Sequence[str]) -> str:
        """For the refusal: the rule, and a smallest coalition by name. `states` are in good standing."""
        asks = f"{self.rule} would ask {self.threshold} of {self.eligible} eligible states"
        if not self.blockers:
            return f"{asks}: all together fall short"
        return f"{asks}: {self.blockers} could block it, for example {', '.join(states[: self.blockers])}"


def smallest_block(rule: str, eligible: int, threshold: int) -> int:
    """The size of the smallest coalition that can stop what all others want, in closed form.

    By not voting yes it takes more than E - threshold states; where votes are weighed half of E does
    too. For STOP, where the others want the safe act to go ahead, it takes `threshold` stops.
    """
    if rule == "STOP":
        return threshold
    by_absence = max(eligible - threshold + 1, 0)
    return min(by_absence, -(-eligible // 2)) if rule == "MAJ" else by_absence


def withstands(rule: str, k: int) -> int:
    """How many blockers a rule must withstand.

    MAJ and STOP lead to safe outcomes (a tightening, an emergency kept, an inspection not stopped): any k states (MODEL 7).
    SUP and HIGH lead to unsafe ones, over which a minority may have a veto, but no single state (LAW K10).
    """
    return max(1, k) if rule in {"MAJ", "STOP"} else 1


def first_weakness(eligible: int, k: int, shares: Mapping[str, tuple[int, int]]) -> Weakness | None:
    """The rule with this E that fewest can block of those that must withstand as many, or None (LAW K10: VETO).

    Panels are not among them: they are veto-free by the right to call them up (MODEL 4).
    """
    found = []
    for rule in ("MAJ", "SUP", "HIGH", "STOP"):
        threshold = max(1, k + 1, share_of(rule, eligible, shares.get(rule)))
        blockers = smallest_block(rule, eligible, threshold)
        if blockers <= withstands(rule, k):
            found.append(Weakness(rule, eligible, threshold, blockers))
    return min(found, key=lambda weakness: weakness.blockers, default=None)


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


def veto_possible(members: int, shares: Mapping[str, tuple[int, int]] | None = None) -> bool:
    """Whether some rule, with one member recused, gives a single state a veto (members < 5: yes)."""
    return members < 5 or min(strength(members - 1, shares)) < 1


def veto_check(
    members: int, at_s: int, shares: Mapping[str, tuple[int, int]] | None = None
) -> VetoCheck:
    """The whole table row for a membership."""
    everyone, recused = strength(members, shares), strength(max(members - 1, 0), shares)
    return VetoCheck(
        members=members,
        k=k_of(members),
        f=f_of(members),
        trigger=trigger_of(members),
        quorum=quorum_of(members),
        veto_possible=int(veto_possible(members, shares)),
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

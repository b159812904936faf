"""Voting rules as arithmetic: thresholds, outcomes, early close, and what one vote could change.

Everything here is a pure function of counts. "Yes" is always the answer that leads away from the
default (MODEL 4), so an outcome is one bit: did yes win?

    MAJ    2 yes > yes + no, and yes >= F = max(k+1, ceil(E/3))
    SUP    yes >= ceil(2E/3)
    HIGH   yes >= ceil(3E/4)
    STOP   yes (= stop) >= ceil(3E/4)
    PANEL  yes >= ceil(2p/3) of p = min(15, E) seats

No threshold lies below max(1, k+1), panels apart (LAW K31); a threshold above E leaves the default.
"""

from typing import Final, NamedTuple

PANEL_SEATS_MAX: Final = 15
CHOICES: Final = ("yes", "no", "abstain")
# The treaty's own shares (MODEL 4): num / den of the voters must say yes.
SHARES: Final = {"MAJ": (1, 3), "SUP": (2, 3), "HIGH": (3, 4), "STOP": (3, 4), "PANEL": (2, 3)}
DEFAULT, WON, LIFTED = 0, 1, 2  # how a tally ends; LIFTED only where `lift` is given


class Counts(NamedTuple):
    """A tally. `silent` may still vote, `barred` cannot (equivocators): both count as absent."""

    yes: int
    no: int
    abstain: int
    silent: int
    barred: int = 0


def k_of(members: int) -> int:
    """How many states the rules withstand (LAW K3): min(max(1, floor((N-1)/4)), f)."""
    return min(max(1, (members - 1) // 4), f_of(members)) if members else 0


def f_of(members: int) -> int:
    """How many faulty validators the ledger withstands: floor((N-1)/3)."""
    return max(members - 1, 0) // 3


def trigger_of(members: int) -> int:
    """How many states may start an emergency (MODEL's q): max(2, ceil(N/20))."""
    return max(2, -(-members // 20))


def quorum_of(validators: int) -> int:
    """Votes and cosignatures that decide in the ledger itself: floor(2n/3) + 1 (RULINGS R1)."""
    return 2 * validators // 3 + 1


def share_of(rule: str, voters: int, share: tuple[int, int] | None = None) -> int:
    """The rule's share of `voters`, rounded up; `share` stands in the place of the treaty's own."""
    num, den = share or SHARES[rule]
    return -(-num * voters // den)


def threshold_of(rule: str, voters: int, k: int, share: tuple[int, int] | None = None) -> int:
    """The yes-votes a rule asks of `voters` eligible states (a panel: of its seats).

    `share` is what an amendment set for this rule. Where it would let a single voter block, which it
    did not when it was adopted (LAW K10) but may after states have left, the treaty's own holds.
    """
    floor = 1 if rule == "PANEL" else max(1, k + 1)  # LAW K31
    return max(floor, share_of(rule, voters, effective_share(rule, voters, share)))


def effective_share(rule: str, voters: int, share: tuple[int, int] | None) -> tuple[int, int]:
    """The share that holds for so many voters: the amended one, or the treaty's own (`threshold_of`)."""
    return share if share and share_of(rule, voters, share) < voters else SHARES[rule]


def yes_wins(rule: str, threshold: int, yes: int, no: int) -> bool:
    """Whether a tally reaches the outcome away from the default."""
    return yes >= threshold and (rule != "MAJ" or yes > no)


def result(rule: str, threshold: int, yes: int, no: int, lift: int = 0) -> int:
    """DEFAULT, WON or LIFTED. `lift`: as many no-votes end a halt at once (LAW K8); 0 = none do."""
    if lift and no >= lift:
        return LIFTED
    return WON if yes_wins(rule, threshold, yes, no) else DEFAULT


def is_settled(rule: str, threshold: int, counts: Counts, k: int, lift: int = 0) -> bool:
    """Whether the outcome is the same however the silent vote and up to k voters change (LAW K5).

    Only the two extremes need a look, since both conditions of every rule are monotone: all silent
    states and the k most useful changers for yes, or all against it. What may be lifted never ends
    early by default: silence lets it stand to its last second.
    """
    yes, no, abstain, silent, _ = counts
    turned = min(k, yes)  # first yes -> no, which moves both counts, then abstain -> no
    worst = yes_wins(rule, threshold, yes - turned, no + silent + turned + min(k - turned, abstain))
    if worst:
        return True
    gained = min(k, no)
    if lift:
        return no - gained >= lift
    best = yes_wins(rule, threshold, yes + silent + gained + min(k - gained, abstain), no - gained)
    return not best


def one_state_could_change(rule: str, threshold: int, counts: Counts, lift: int = 0) -> bool:
    """Whether replacing one eligible state's vote, or absence, gives another outcome (LAW section 3)."""
    tally = {"yes": counts.yes, "no": counts.no, "abstain": counts.abstain}
    tally["absent"] = counts.silent + counts.barred
    outcome = result(rule, threshold, counts.yes, counts.no, lift)
    for held, number in tally.items():
        if not number:
            continue
        for other in CHOICES:
            changed = dict(tally)
            changed[held] -= 1
            changed[other] += 1
            if result(rule, threshold, changed["yes"], changed["no"], lift) != outcome:
                return True
    return False

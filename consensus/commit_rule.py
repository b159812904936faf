"""The Mysticeti-C commit rule: one leader a round, pipelined, wave of three (SPEC 6).

    round r     the leader's block L, or several if it equivocates, or none
    round r+1   votes: blocks that have L among their parents, and blocks that do not
    round r+2   certificates: blocks of which a quorum of parents vote for L

A slot is decided *directly* by a quorum of certificates (commit) or of blocks of the next round without L (skip). What stays
undecided is decided *indirectly* by its anchor, the first slot three or more rounds on that is not skipped: committed if a
certificate for it lies in the anchor's history, else skipped. Everybody who decides a slot decides it alike (SPEC 6.5), and
what is decided stays decided as blocks come in.

`decide` is pure: the same DAG gives the same answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from functools import partial

from consensus.dag import Dag, Node
from consensus.types import Ref, Round, ValidatorIndex


@unique
class Status(Enum):
    COMMIT = "commit"
    SKIP = "skip"
    UNDECIDED = "undecided"


@unique
class How(Enum):
    DIRECT = "direct"
    INDIRECT = "indirect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the rule says of one leader slot."""

    round: Round
    author: ValidatorIndex  # the slot's leader
    status: Status
    how: How | None = None  # None while undecided
    leader: Ref | None = None  # the block committed


class Forked(Exception):
    """One slot has two outcomes: more than f validators are Byzantine, and no answer would be right."""


def decide(dag: Dag, first_round: Round) -> list[Decision]:
    """Every slot from `first_round` (>= 1) to two below the highest accepted round, ascending by round.

    The sequence to commit is the prefix before the first undecided slot; those behind it are shown as far as they are known.
    Raises Forked.
    """
    last = dag.highest_round - 2
    later: list[Decision] = []  # descending by round, while it grows
    for number in range(last, first_round - 1, -1):
        round_ = Round(number)
        decision = _decide_directly(dag, round_)
        if decision.status is Status.UNDECIDED:
            decision = _decide_by_anchor(dag, decision, later)
        later.append(decision)
    later.reverse()
    return later


def is_skipped(dag: Dag, round_: Round) -> bool:
    """The skip pattern: for each known block of the leader's slot, a quorum of authors did not vote for it (SPEC 6.3.1)."""
    quorum = dag.committee.quorum
    proposals = dag.slot(round_, dag.committee.leader(round_))
    if not proposals:
        return dag.has_quorum(Round(round_ + 1))
    return all(dag.blamers(leader).bit_count() >= quorum for leader in proposals)


def supported(dag: Dag, round_: Round) -> Ref | None:
    """The block of the leader's slot for which a quorum of authors vote, if there is one.

    Two can have a quorum of voters only if more than f equivocate; then it is the one accepted first.
    """
    quorum = dag.committee.quorum
    for leader in dag.slot(round_, dag.committee.leader(round_)):
        if dag.voters(leader).bit_count() >= quorum:
            return leader
    return None


def _decide_directly(dag: Dag, round_: Round) -> Decision:
    author = dag.committee.leader(round_)
    quorum = dag.committee.quorum
    certified = [
        leader
        for leader in dag.slot(round_, author)
        if dag.certifiers(leader).bit_count() >= quorum
    ]
    skipped = is_skipped(dag, round_)
    if len(certified) + skipped > 1:
        raise Forked(
            f"leader slot {round_}/{author}: {len(certified)} blocks committed, skip pattern {skipped}"
        )
    if certified:
        return Decision(
            round=round_,
            author=author,
            status=Status.COMMIT,
            how=How.DIRECT,
            leader=certified[0],
        )
    status = Status.SKIP if skipped else Status.UNDECIDED
    return Decision(round=round_, author=author, status=status, how=How.DIRECT if skipped else None)


def _decide_by_anchor(dag: Dag, slot: Decision, later: Sequence[Decision]) -> Decision:
    """`later`: the decisions of all later slots, descending by round."""
    anchor = _anchor(slot.round, list(reversed(later)))
    if anchor is None or anchor.leader is None:
        return slot
    # Only what the anchor's history holds may count: it is the same for everybody (SPEC 6.4).
    certified = {
        node.certifies
        for node in dag.history(anchor.leader, Round(slot.round + 2))
        if node.ref.round == slot.round + 2 and node.certifies is not None
    }
    mine = [leader for leader in dag.slot(slot.round, slot.author) if leader in certified]
    if len(mine) > 1:
        raise Forked(f"leader slot {slot.round}/{slot.author}: two blocks are certified")
    return Decision(
        round=slot.round,
        author=slot.author,
        status=Status.COMMIT if mine else Status.SKIP,
        how=How.INDIRECT,
        leader=mine[0] if mine else None,
    )


def _anchor(round_: Round, ascending: Sequence[Decision]) -> Decision | None:
    """The first slot from `round_` + 3 on that is not skipped."""
    return next(
        (
            decision
            for decision in ascending
            if decision.round >= round_ + 3 and decision.status is not Status.SKIP
        ),
        None,
    )


# --- why, for a peer that is stuck ---------------------------------------------------------------


def deciders(dag: Dag, decisions: Sequence[Decision], position: int) -> list[Ref]:
    """Blocks, ascending, that with their history bring another validator to `decisions[position]`, a decided one (P1).

    For a direct commit they are a quorum of its certificates, for a direct skip a quorum of blocks that blame it. An indirect
    decision hangs on its anchor and on every slot skipped before the anchor was found, so on the deciders of those: skips may
    be blamed by blocks that are in nobody's history.
    """
    assert decisions[position].status is not Status.UNDECIDED, f"{decisions[position]}"
    first = decisions[0].round
    found: set[Ref] = set()
    seen = {position}
    pending = [position]
    while pending:
        decision = decisions[pending.pop()]
        if decision.how is How.DIRECT:
            found.update(_direct_deciders(dag, decision))
            continue
        anchor = _anchor(decision.round, decisions)
        assert anchor is not None, f"slot {decision.round}: decided by an anchor that is not there"
        assert anchor.status is Status.COMMIT, f"anchor {anchor.round} is {anchor.status}"
        for later in range(decision.round + 3 - first, anchor.round + 1 - first):
            if later not in seen:
                seen.add(later)
                pending.append(later)
    return sorted(found)


def _direct_deciders(dag: Dag, decision: Decision) -> set[Ref]:
    leader = decision.leader
    if leader is not None:
        return _quorum_of(dag, Round(decision.round + 2), lambda node: node.certifies == leader)
    above = Round(decision.round + 1)
    found: set[Ref] = set()
    for proposal in dag.slot(decision.round, decision.author):
        found.update(_quorum_of(dag, above, partial(_does_not_vote_for, proposal)))
    return found or _quorum_of(dag, above, lambda _: True)


def _does_not_vote_for(leader: Ref, node: Node) -> bool:
    return node.vote != leader


def _quorum_of(dag: Dag, round_: Round, counts: Callable[[Node], bool]) -> set[Ref]:
    """The first block of each author in `round_` that counts, until they are a quorum."""
    found: dict[ValidatorIndex, Ref] = {}
    for ref in dag.refs(round_):
        node = dag.node(ref)
        assert node is not None, f"listed but not held: {ref}"
        if ref.author not in found and counts(node):
            found[ref.author] = ref
            if len(found) == dag.committee.quorum:
                break
    return set(found.values())

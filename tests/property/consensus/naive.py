"""The order once more, as slowly and plainly as SPEC 6 and 8 say it.

A second reading of the specification, to hold against the first: sets of authors and searches, no masks, no tables, nothing
remembered between questions, and not a line of `consensus/`. Where the two differ one of them has misread the page.

A *view* is what one member knows: a map from the name of a block to the block, with every parent either in the map or in
round 0. Names are (round, author, digest), and sort so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Name(NamedTuple):
    round: int
    author: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Node:
    name: Name
    parents: tuple[Name, ...]
    time_ms: int


View = Mapping[Name, Node]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one slot. `leader` is there if and only if `status` is "commit"."""

    status: str  # "commit" | "skip" | "undecided"
    direct: bool
    leader: Name | None = None


UNDECIDED = Verdict("undecided", direct=False)


class MoreThanFaultsAllow(AssertionError):
    """Two certified blocks in one slot (SPEC 6.3): more than f equivocators, so no answer is right."""


def quorum(n: int) -> int:
    faults = (n - 1) // 3
    return n - faults


def leader_of(round_: int, n: int) -> int:
    """The identity order, as in the vectors."""
    return round_ % n


def in_round(view: View, round_: int) -> list[Node]:
    return [node for name, node in view.items() if name.round == round_]


def proposals(view: View, round_: int, n: int) -> list[Node]:
    """The accepted blocks of the leader's slot; several if it equivocates."""
    return [node for node in in_round(view, round_) if node.name.author == leader_of(round_, n)]


def votes_for(voter: Node, leader: Name) -> bool:
    return voter.name.round == leader.round + 1 and leader in voter.parents


def certifies(view: View, certificate: Node, leader: Name, n: int) -> bool:
    """SPEC 6.2: a block two rounds up whose parents by a quorum of authors vote for `leader`."""
    if certificate.name.round != leader.round + 2:
        return False
    voters = {
        parent.author
        for parent in certificate.parents
        if parent in view and votes_for(view[parent], leader)
    }
    return len(voters) >= quorum(n)


def is_skipped_directly(view: View, round_: int, n: int) -> bool:
    """SPEC 6.3.1: every proposal is blamed by a quorum; with none, a quorum has gone on without one."""
    candidates = proposals(view, round_, n)
    next_round = in_round(view, round_ + 1)
    if not candidates:
        return len({node.name.author for node in next_round}) >= quorum(n)
    return all(
        len({node.name.author for node in next_round if candidate.name not in node.parents})
        >= quorum(n)
        for candidate in candidates
    )


def directly_committed(view: View, round_: int, n: int) -> Name | None:
    """SPEC 6.3.2: the proposal that a quorum of authors certify."""
    winners = [
        candidate.name
        for candidate in proposals(view, round_, n)
        if len(
            {
                node.name.author
                for node in in_round(view, round_ + 2)
                if certifies(view, node, candidate.name, n)
            }
        )
        >= quorum(n)
    ]
    if len(winners) > 1:
        raise MoreThanFaultsAllow(f"slot of round {round_}: {winners}")
    return winners[0] if winners else None


def history(view: View, tip: Name) -> set[Name]:
    """`tip` and everything it reaches; round 0 has no blocks of its own."""
    reached: set[Name] = set()
    waiting = [tip]
    while waiting:
        name = waiting.pop()
        if name not in reached and name in view:
            reached.add(name)
            waiting.extend(view[name].parents)
    return reached


def decide_slot(view: View, round_: int, n: int, above: Mapping[int, Verdict]) -> Verdict:
    """SPEC 6.3 and 6.4 for the slot of `round_`; `above` holds the verdicts of all later slots that can have one."""
    winner = directly_committed(view, round_, n)
    if is_skipped_directly(view, round_, n):
        if winner is not None:
            raise MoreThanFaultsAllow(f"slot of round {round_}: skipped and committed")
        return Verdict("skip", direct=True)
    if winner is not None:
        return Verdict("commit", direct=True, leader=winner)
    later = [above[later] for later in sorted(above) if later >= round_ + 3]
    anchor = next((verdict for verdict in later if verdict.status != "skip"), UNDECIDED)
    if anchor.leader is None:
        return UNDECIDED
    seen = history(view, anchor.leader)
    certified = [
        candidate.name
        for candidate in proposals(view, round_, n)
        if any(certifies(view, view[name], candidate.name, n) for name in seen)
    ]
    if len(certified) > 1:
        raise MoreThanFaultsAllow(f"slot of round {round_}: {certified}")
    if certified:
        return Verdict("commit", direct=False, leader=certified[0])
    return Verdict("skip", direct=False)


def decide(view: View, n: int, first_round: int = 1) -> dict[int, Verdict]:
    """Every slot from `first_round` to the highest round but two: a later one cannot be certified yet. From high to low."""
    highest = max((name.round for name in view), default=0)
    verdicts: dict[int, Verdict] = {}
    for round_ in range(highest - 2, first_round - 1, -1):
        verdicts[round_] = decide_slot(view, round_, n, verdicts)
    return {round_: verdicts[round_] for round_ in sorted(verdicts)}


def sequence(view: View, n: int) -> list[Name]:
    """SPEC 6.5: the committed leaders before the first undecided slot."""
    leaders = []
    for verdict in decide(view, n).values():
        if verdict.status == "undecided":
            break
        if verdict.leader is not None:
            leaders.append(verdict.leader)
    return leaders


@dataclass(frozen=True, slots=True)
class Ordered:
    """One commit: what it brings, in order, and its time."""

    leader: Name
    blocks: tuple[Name, ...]
    time_ms: int


def linearize(
    view: View, leaders: Sequence[Name], *, gc_depth: int, genesis_ms: int
) -> list[Ordered]:
    """SPEC 8 for `leaders` in turn. The floor under commit k is the leader's round of commit k-1 less `gc_depth`."""
    committed: set[Name] = set()
    out: list[Ordered] = []
    for leader in leaders:
        floor = max(0, out[-1].leader.round - gc_depth) if out else 0
        brought = sorted(reach_above(view, leader, floor, committed))
        committed.update(brought)
        time_ms = median_time(view, leader, genesis_ms)
        if out:
            time_ms = max(time_ms, out[-1].time_ms)
        out.append(Ordered(leader, tuple(brought), time_ms))
    return out


def reach_above(view: View, name: Name, floor: int, committed: set[Name]) -> set[Name]:
    """What is new below `name`: a block that is committed, or too low, also ends the walk."""
    new: set[Name] = set()
    waiting = [name]
    while waiting:
        at = waiting.pop()
        if at in new or at in committed or at.round <= floor:
            continue
        new.add(at)
        waiting.extend(view[at].parents)
    return new


def median_time(view: View, leader: Name, genesis_ms: int) -> int:
    """SPEC 8: of the leader's parents of the round before, the first whose running count exceeds half."""
    times = sorted(
        genesis_ms if parent.round == 0 else view[parent].time_ms
        for parent in view[leader].parents
        if parent.round == leader.round - 1
    )
    for count, time_ms in enumerate(times, start=1):
        if 2 * count > len(times):
            return time_ms
    raise AssertionError(f"{leader} has no parent of the round before")

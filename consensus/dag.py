"""The blocks that this validator accepted, with the votes among them (SPEC 4 and 6.2).

A block is accepted once all its parents are, so the DAG is closed: from any block, everything above the floor can be
reached. What the commit rule counts is counted here, once, as blocks come in:

    vote         a block of round r+1 votes for the leader's block of round r that is among its parents
    certificate  a block of round r+2 certifies that block if a quorum of its parents vote for it

Both are masks of *authors*, so that one who signs two blocks counts once on each side. A committed block keeps its place and its
parents but not its payload: the floor is GC_DEPTH rounds back, and payloads are what takes room.
"""

import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from consensus.committee import Committee
from consensus.types import GENESIS_ROUND, Block, Millis, Ref, Round, ValidatorIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An accepted block without its payload."""

    ref: Ref
    parents: tuple[Ref, ...]
    before: int  # mask of authors of the parents one round below
    older: tuple[Ref, ...]  # the parents further down
    time_ms: Millis
    signature: bytes = field(repr=False)  # one half of a proof, should its author sign another
    vote: Ref | None  # the leader's block of the round before, if it is a parent
    certifies: (
        Ref | None
    )  # the leader's block of two rounds before, if a quorum of parents vote for it


@dataclass(slots=True)
class _RoundIndex:
    """What stands in one round."""

    authors: int = 0  # mask
    twice: bool = False  # somebody has two blocks here: a mask of authors does not name blocks
    doubled: bool = False  # a block here, no valid one, has two parents of one author a round below
    slots: dict[ValidatorIndex, tuple[Ref, ...]] = field(default_factory=dict)
    votes: dict[Ref | None, int] = field(default_factory=dict)  # vote -> mask of who cast it
    certificates: dict[Ref, int] = field(default_factory=dict)  # leader -> mask of who certifies it


_EMPTY = _RoundIndex()


class Dag:
    """Accepted blocks above the floor. Grows by `accept`, shrinks by `raise_floor`."""

    def __init__(self, committee: Committee) -> None:
        self.committee = committee
        self.floor = GENESIS_ROUND  # blocks at or below it count as present and are not kept
        self.highest_round = GENESIS_ROUND  # of any accepted block, ever
        self._nodes: dict[Ref, Node] = {}
        self._blocks: dict[Ref, Block] = {}  # those whose payload is still to be ordered
        self._rounds: dict[Round, _RoundIndex] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    # Reading

    def has(self, ref: Ref) -> bool:
        """Accepted, or at or below the floor (genesis is always)."""
        return ref in self._nodes or ref.round <= self.floor

    def lacking(self, refs: Sequence[Ref]) -> list[Ref]:
        """Those of `refs` that are not here: neither accepted nor at or below the floor."""
        if all(map(self._nodes.get, refs)):
            return []
        return [ref for ref in refs if not self.has(ref)]

    def node(self, ref: Ref) -> Node | None:
        """None for what is unknown, and for everything at or below the floor."""
        return self._nodes.get(ref)

    def block(self, ref: Ref) -> Block | None:
        """With its payload; None once `release`d."""
        return self._blocks.get(ref)

    def authors(self, round_: Round) -> int:
        """Mask of those with an accepted block of this round; V(round) is its population count (SPEC 5)."""
        if round_ == GENESIS_ROUND:
            return (1 << self.committee.size) - 1
        return self._rounds.get(round_, _EMPTY).authors

    def has_quorum(self, round_: Round) -> bool:
        """V(round) >= quorum."""
        return self.authors(round_).bit_count() >= self.committee.quorum

    def slot(self, round_: Round, author: ValidatorIndex) -> tuple[Ref, ...]:
        """Accepted blocks of one author and round, in order of acceptance; two or more are an equivocation."""
        return self._rounds.get(round_, _EMPTY).slots.get(author, ())

    def has_variants(self, round_: Round) -> bool:
        """Whether an author has two accepted blocks of this round. If not, a mask of authors names blocks."""
        return self._rounds.get(round_, _EMPTY).twice

    def refs(self, round_: Round) -> list[Ref]:
        """Of one round, by author, variants in order of acceptance."""
        slots = self._rounds.get(round_, _EMPTY).slots
        return [ref for author in sorted(slots) for ref in slots[author]]

    def votes(self, round_: Round) -> Mapping[Ref | None, int]:
        """How the blocks of this round voted on the leader of the one before: vote (None: for none) -> mask of authors."""
        return self._rounds.get(round_, _EMPTY).votes

    def voters(self, leader: Ref) -> int:
        """Mask of authors with a block that votes for `leader`, a block of its round's leader slot."""
        return self.votes(Round(leader.round + 1)).get(leader, 0)

    def blamers(self, leader: Ref) -> int:
        """Mask of authors with a block of the next round that has not `leader` among its parents (SPEC 6.3).

        That is a block that votes for another or none. Only of one that names two variants, which no validator accepts,
        the vote does not tell: it is for the first, and the second is a parent too.
        """
        above = Round(leader.round + 1)
        found = 0
        if self._rounds.get(above, _EMPTY).doubled:
            for ref in self.refs(above):
                if leader not in self._nodes[ref].parents:
                    found |= 1 << ref.author
            return found
        for vote, mask in self.votes(above).items():
            if vote != leader:
                found |= mask
        return found

    def certifiers(self, leader: Ref) -> int:
        """Mask of authors with a block two rounds on that certifies `leader`."""
        return self._rounds.get(Round(leader.round + 2), _EMPTY).certificates.get(leader, 0)

    def history(self, start: Ref, lowest: Round) -> Iterator[Node]:
        """`start` and its ancestors of rounds >= `lowest`, each once, in no promised order."""
        seen = {start}
        pending = [start]
        while pending:
            node = self._nodes.get(pending.pop())
            if node is None:
                continue
            yield node
            for parent in node.parents:
                if parent.round >= lowest and parent not in seen:
                    seen.add(parent)
                    pending.append(parent)

    # Changing

    def accept(self, block: Block) -> Node:
        """Add a valid block whose parents are all present."""
        ref = block.ref
        assert ref not in self._nodes, f"accepted twice: {ref}"
        assert ref.round > self.floor, f"accepted below the floor {self.floor}: {ref}"
        below = Round(ref.round - 1)
        parents = self._interned(block)
        # No loop of more than one subject: n blocks a round name n parents each, and comprehensions are what is quick.
        nearest = [parent for parent in parents if parent[0] == below]
        before = functools.reduce(operator.or_, [1 << parent[1] for parent in nearest], 0)
        leader = self.committee.leader(below)
        # The first, should an invalid block name two (SPEC 6.2's general form): never a vote for both.
        vote = next(iter([parent for parent in nearest if parent[1] == leader]), None)
        node = Node(
            ref=ref,
            parents=parents,
            before=before,
            older=()
            if len(nearest) == len(parents)
            else tuple([parent for parent in parents if parent[0] != below]),
            time_ms=block.header.time_ms,
            signature=block.signature,
            vote=vote,
            certifies=self._certified_by(below, parents, before),
        )
        self._nodes[ref] = node
        self._blocks[ref] = block
        self._count(node)
        return node

    def _interned(self, block: Block) -> tuple[Ref, ...]:
        """Its parents as the keys of our table instead of equal tuples: each is named by up to n blocks."""
        named = block.header.parents
        found = list(map(self._nodes.get, named))
        if all(found):
            return tuple([node.ref for node in found if node is not None])
        parents: list[Ref] = []
        for parent, node in zip(named, found, strict=True):
            assert node is not None or parent.round <= self.floor, (
                f"{block.ref}: {parent} is missing"
            )
            parents.append(parent if node is None else node.ref)
        return tuple(parents)

    def _certified_by(self, below: Round, parents: Sequence[Ref], before: int) -> Ref | None:
        """The leader's block for which a quorum of the parents' authors vote: never a count of blocks (SPEC 1)."""
        index = self._rounds.get(below, _EMPTY)
        support: dict[Ref, int] = {}
        if not index.twice:
            support = {
                vote: mask & before for vote, mask in index.votes.items() if vote is not None
            }
        else:
            for parent in parents:
                node = self._nodes.get(parent)
                if parent.round == below and node is not None and node.vote is not None:
                    support[node.vote] = support.get(node.vote, 0) | 1 << parent.author
        quorum = self.committee.quorum
        return next((vote for vote, mask in support.items() if mask.bit_count() >= quorum), None)

    def _count(self, node: Node) -> None:
        ref = node.ref
        index = self._rounds.setdefault(ref.round, _RoundIndex())
        bit = 1 << ref.author
        index.twice |= bool(index.authors & bit)
        index.doubled |= len(node.parents) - len(node.older) != node.before.bit_count()
        index.authors |= bit
        index.slots[ref.author] = (*index.slots.get(ref.author, ()), ref)
        index.votes[node.vote] = index.votes.get(node.vote, 0) | bit
        if node.certifies is not None:
            mask = index.certificates.get(node.certifies, 0)
            index.certificates[node.certifies] = mask | bit
        self.highest_round = max(self.highest_round, ref.round)

    def release(self, ref: Ref) -> None:
        """Forget the payload of a block that is committed."""
        self._blocks.pop(ref, None)

    def raise_floor(self, floor: Round) -> None:
        """Forget all blocks at or below `floor`. It moves with commits alone (SPEC 8)."""
        assert floor >= self.floor, f"floor ran backwards: {self.floor} -> {floor}"
        if floor - self.floor > len(self._rounds):
            gone = sorted(round_ for round_ in self._rounds if round_ <= floor)
        else:
            gone = [Round(round_) for round_ in range(self.floor + 1, floor + 1)]
        for round_ in gone:
            index = self._rounds.pop(round_, None)
            for refs in index.slots.values() if index else ():
                for ref in refs:
                    del self._nodes[ref]
                    self._blocks.pop(ref, None)
        self.floor = floor

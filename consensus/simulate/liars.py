"""More liars, each a strategy of one puppet (`adversaries`): those of PACEMAKER.md and those that attack a bound.

    late-leader     shows its blocks as a leader when the others' patience is about to end
    leader-to-few   shows its blocks as a leader to f+1 only
    n-chains        one chain for each honest member
    chain-bomb      builds a chain in secret and shows it at once, to one or to a quorum
    twin-bomb       two secret chains, shown at once to two halves
    random-drop     each block to a random subset
    ramp-up         to fewer and fewer, then to all again
    far-future      blocks of rounds nobody is near, on parents that do not exist
    dangling        blocks with one parent that does not exist, at the floor or above it
    vote-stuffing   votes for as many invented commits as a block may hold
    evidence-stuffing  two blocks a round, and in each the most proofs of such pairs that it may hold, always others
    censor          a colluding group that never refers to one victim

Where a block is not valid in an honest member's eyes it never reaches a core, so all of these are (SPEC 3).
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final

from consensus.simulate.adversaries import Puppet
from consensus.types import (
    COMMIT_VOTES_MAX,
    EVIDENCE_MAX,
    CommitIndex,
    CommitVote,
    Digest,
    EquivocationProof,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)

ROUND_MAX: Final = 0xFFFF_FFFF  # what a header can hold


@dataclass
class Chain:
    """One chain of a puppet's, with a block in every round in which it can make one."""

    salt: int = 0
    head: Ref | None = None

    def extend(
        self,
        puppet: Puppet,
        round_: int,
        *,
        without: tuple[int, ...] = (),
        votes: tuple[CommitVote, ...] = (),
    ) -> VerifiedBlock | None:
        """The chain's block of this round; None if there is no quorum of parents without these authors."""
        head = self.head or puppet.genesis()
        parents = puppet.parents(round_, head, puppet.rng, without)
        if parents is None:
            return None
        block = puppet.make(round_, parents, salt=self.salt, votes=votes)
        self.head = block.block.ref
        return block


def halves_of(puppet: Puppet) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The honest members in two random parts, the first the larger."""
    shuffled = list(puppet.targets)
    puppet.rng.shuffle(shuffled)
    middle = (len(shuffled) + 1) // 2
    return tuple(sorted(shuffled[:middle])), tuple(sorted(shuffled[middle:]))


def some_of(puppet: Puppet, count: int) -> list[int]:
    return sorted(puppet.rng.sample(puppet.targets, min(count, len(puppet.targets))))


@dataclass
class LateLeader:
    late_ms: int  # just below the leader timeout
    chain: Chain = field(default_factory=Chain)

    def act(self, puppet: Puppet, round_: int) -> None:
        block = self.chain.extend(puppet, round_)
        if block is not None:
            puppet.show((block,), puppet.targets, self.late_ms if puppet.leads(round_) else 0)


@dataclass
class LeaderToFew:
    chain: Chain = field(default_factory=Chain)

    def act(self, puppet: Puppet, round_: int) -> None:
        block = self.chain.extend(puppet, round_)
        if block is not None:
            few = puppet.mind.mint.committee.validity
            to = some_of(puppet, few) if puppet.leads(round_) else puppet.targets
            puppet.show((block,), to)


@dataclass
class TurnsOnly:
    """Silent but for its turns to lead, which it shows late and to some: waited for by those, and by nobody else."""

    late_ms: int
    chain: Chain = field(default_factory=Chain)

    def act(self, puppet: Puppet, round_: int) -> None:
        block = self.chain.extend(puppet, round_)
        if block is not None and puppet.leads(round_):
            count = puppet.rng.randint(1, len(puppet.targets))
            puppet.show((block,), some_of(puppet, count), puppet.rng.choice((0, self.late_ms)))


@dataclass
class NChains:
    chains: dict[int, Chain] = field(default_factory=dict)  # by who is shown it

    def act(self, puppet: Puppet, round_: int) -> None:
        for target in puppet.targets:
            chain = self.chains.setdefault(target, Chain(salt=target))
            block = chain.extend(puppet, round_)
            if block is not None:
                puppet.show((block,), [target])


@dataclass
class ChainBomb:
    """`count` secret chains of `length` blocks; then each is shown to its part of the members, whole or its tip only."""

    length: int
    count: int  # 1, or 2 for an equivocating bomb
    to_one: bool
    chains: list[Chain] = field(default_factory=list)
    secret: list[list[VerifiedBlock]] = field(default_factory=list)

    def act(self, puppet: Puppet, round_: int) -> None:
        if not self.chains:
            self.chains = [Chain(salt=each) for each in range(self.count)]
            self.secret = [[] for _ in self.chains]
        for chain, hidden in zip(self.chains, self.secret, strict=True):
            block = chain.extend(puppet, round_)
            if block is not None:
                hidden.append(block)
        if max(map(len, self.secret)) >= self.length:
            self._throw(puppet)

    def _throw(self, puppet: Puppet) -> None:
        tips = puppet.rng.random() < 0.3  # the rest must be asked for
        for hidden, part in zip(self.secret, self._parts(puppet), strict=False):
            if hidden:
                puppet.show(tuple(hidden[-1:] if tips else hidden), part)
        self.secret = [[] for _ in self.chains]

    def _parts(self, puppet: Puppet) -> list[list[int]]:
        if self.count > 1:
            return [list(part) for part in halves_of(puppet)]
        quorum = puppet.mind.mint.committee.quorum
        return [some_of(puppet, 1 if self.to_one else quorum)]


@dataclass
class RandomDrop:
    chain: Chain = field(default_factory=Chain)

    def act(self, puppet: Puppet, round_: int) -> None:
        block = self.chain.extend(puppet, round_)
        if block is not None:
            puppet.show((block,), some_of(puppet, puppet.rng.randint(0, len(puppet.targets))))


@dataclass
class RampUp:
    """Withholds from one more member every few rounds, until nobody is shown anything; then begins again."""

    every: int = 3
    chain: Chain = field(default_factory=Chain)

    def act(self, puppet: Puppet, round_: int) -> None:
        block = self.chain.extend(puppet, round_)
        if block is not None:
            withheld = round_ // self.every % (len(puppet.targets) + 1)
            puppet.show((block,), puppet.targets[withheld:])


@dataclass
class FarFuture:
    """Behaves, and besides pushes blocks of rounds far ahead."""

    gc_depth: int
    chain: Chain = field(default_factory=Chain)

    def act(self, puppet: Puppet, round_: int) -> None:
        block = self.chain.extend(puppet, round_)
        if block is None:
            return
        puppet.show((block,), puppet.targets)
        far = puppet.rng.choice((8, 12, 2 * self.gc_depth, 3 * self.gc_depth, 100_000, ROUND_MAX))
        ahead = min(round_ + far, ROUND_MAX)
        invented = [
            invented_ref(puppet.rng, ahead - 1, author)
            for author in range(puppet.mind.mint.committee.size)
            if author != puppet.index
        ]
        lie = puppet.make(ahead, (block.block.ref, *invented))
        puppet.show((lie,), some_of(puppet, puppet.rng.randint(1, len(puppet.targets))))


@dataclass
class Dangling:
    """One more parent than a quorum, and it does not exist: at the floor it may count as present here and as missing there."""

    gc_depth: int
    chain: Chain = field(default_factory=Chain)

    def act(self, puppet: Puppet, round_: int) -> None:
        rng = puppet.rng
        head = self.chain.head or puppet.genesis()
        if rng.random() < 0.5:
            block = self.chain.extend(puppet, round_)
            if block is not None:
                puppet.show((block,), puppet.targets)
            return
        depth = rng.choice((1, 2, self.gc_depth - 1, self.gc_depth, self.gc_depth + 1))
        low = max(1, round_ - depth)
        if rng.random() < 0.5:
            head = invented_ref(rng, low, puppet.index)
        parents = puppet.parents(round_, head, rng)
        if parents is None:
            return
        before = sum(parent.round == round_ - 1 for parent in parents)
        if head.round < round_ - 1 and before > puppet.quorum and rng.random() < 0.5:
            victim = rng.randrange(1, len(parents))  # its block is left out, another invented
            hidden = invented_ref(rng, low, parents[victim].author)
            parents = (*parents[:victim], hidden, *parents[victim + 1 :])
        lie = puppet.make(round_, parents, salt=1)
        puppet.show((lie,), some_of(puppet, rng.randint(1, len(puppet.targets))))


@dataclass
class VoteStuffing:
    chain: Chain = field(default_factory=Chain)

    def act(self, puppet: Puppet, round_: int) -> None:
        rng = puppet.rng
        first = rng.choice((1, max(1, round_ - 10), rng.randrange(1, 1 << 40)))
        votes = tuple(
            CommitVote(index=CommitIndex(first + each), digest=Digest(rng.randbytes(32)))
            for each in range(COMMIT_VOTES_MAX)
        )
        block = self.chain.extend(puppet, round_, votes=votes)
        if block is not None:
            puppet.show((block,), puppet.targets)


@dataclass
class EvidenceStuffing:
    """True evidence, against itself and its like, ever anew: what is known must cost nobody anything twice (SPEC 12)."""

    chain: Chain = field(default_factory=Chain)

    def act(self, puppet: Puppet, round_: int) -> None:
        head = self.chain.head or puppet.genesis()
        parents = puppet.parents(round_, head, puppet.rng)
        if parents is None:
            return
        evidence = self._proofs(puppet, round_)
        blocks = [puppet.make(round_, parents, salt=salt, evidence=evidence) for salt in (0, 1)]
        self.chain.head = blocks[0].block.ref
        puppet.show((blocks[0],), puppet.targets)
        puppet.show((blocks[1],), some_of(puppet, puppet.rng.choice((0, 1, len(puppet.targets)))))

    def _proofs(self, puppet: Puppet, round_: int) -> tuple[EquivocationProof, ...]:
        """One for each of some liars, ascending, each of a round drawn anew."""
        found: dict[int, EquivocationProof] = {}
        for _ in range(4):
            liar = puppet.rng.choice(puppet.mind.puppets).index
            at = puppet.rng.randrange(max(1, round_ - 50), round_ + 1)
            made = puppet.mind.rounds.get(at, {}).get(liar, [])
            if len(made) > 1 and (liar in found or len(found) < EVIDENCE_MAX):
                found[liar] = self._proof(puppet, made[0], made[1])
        return tuple(found[liar] for liar in sorted(found))

    def _proof(self, puppet: Puppet, one: Ref, other: Ref) -> EquivocationProof:
        mint = puppet.mind.mint
        low, high = sorted((one, other))
        return EquivocationProof(
            epoch=mint.committee.epoch,
            round=low.round,
            author=low.author,
            digest1=low.digest,
            signature1=mint.verified[low].block.signature,
            digest2=high.digest,
            signature2=mint.verified[high].block.signature,
        )


@dataclass
class Censor:
    """All of the group pass over the same honest member: neither vote for it nor show it anything."""

    chain: Chain = field(default_factory=Chain)

    def act(self, puppet: Puppet, round_: int) -> None:
        chain_id = puppet.mind.mint.committee.chain_id
        victim = puppet.targets[chain_id[0] % len(puppet.targets)]
        block = self.chain.extend(puppet, round_, without=(victim,))
        if block is not None:
            puppet.show((block,), [each for each in puppet.targets if each != victim])


def invented_ref(rng: Random, round_: int, author: int) -> Ref:
    """A block that nobody made. Rounds start at 1."""
    return Ref(Round(max(1, round_)), ValidatorIndex(author), Digest(rng.randbytes(32)))

"""Byzantine members: puppets of one mind that sees every honest block the moment it leaves its maker.

A puppet has no core. As soon as a quorum of round r-1 exists anywhere, its strategy may make blocks of round r, any number
of them, and show each to whom it likes, when it likes. It cannot forge: what it makes is signed by its own seat, and valid,
because invalid blocks never reach a core (node/signing drops them). It answers fetches, or does not.

A new adversary is one more class with `act`; draw it in `regime.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from consensus.events import BlocksReceived, Propose
from consensus.simulate.clock import VirtualClock
from consensus.simulate.mint import Mint
from consensus.simulate.network import Carrier
from consensus.simulate.store import SimulatedStore
from consensus.types import (
    Block,
    CommitIndex,
    CommitVote,
    Digest,
    EquivocationProof,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)

Variants = dict[int, list[Ref]]  # author -> its blocks of one round, in order of appearance


class Reader(Protocol):
    def receive(self, event: BlocksReceived) -> None: ...


class Strategy(Protocol):
    """What one puppet does in a round it may make a block of. Called once for each round, ascending."""

    def act(self, puppet: "Puppet", round_: int) -> None: ...


class Mind:
    """What all puppets of a cluster know, and the store they answer from."""

    def __init__(
        self,
        *,
        mint: Mint,
        clock: VirtualClock,
        network: Carrier,
        honest: dict[int, Reader],
        start_ms: int,
    ) -> None:
        self.mint = mint
        self.clock = clock
        self.network = network
        self.honest = honest
        self.start_ms = start_ms  # Unix time of virtual time 0
        self.store = SimulatedStore()
        self.rounds: dict[int, Variants] = {
            0: {ref.author: [ref] for ref in mint.committee.genesis}
        }
        self.puppets: list[Puppet] = []
        self._acted = 0  # rounds up to here the puppets have had their chance to act in

    def saw(self, block: Block) -> None:
        """An honest block left its maker, or a puppet made one."""
        self.store.put_block(block.ref, self.mint.data[block.ref])
        self.rounds.setdefault(block.ref.round, {}).setdefault(block.ref.author, []).append(
            block.ref
        )

    def act(self) -> None:
        """Let every puppet act in each round that became possible."""
        while len(self.rounds.get(self._acted, ())) >= self.mint.committee.quorum:
            self._acted += 1
            for puppet in self.puppets:
                puppet.strategy.act(puppet, self._acted)


class Puppet:
    """One Byzantine seat."""

    def __init__(self, index: int, strategy: Strategy, mind: Mind, rng: Random) -> None:
        self.index = index
        self.strategy = strategy
        self.mind = mind
        self.rng = rng
        self.quorum = mind.mint.committee.quorum
        self.targets: tuple[int, ...] = tuple(mind.honest)
        self.flags = 0  # of every block it makes

    def leads(self, round_: int) -> bool:
        return self.mind.mint.committee.leader(Round(round_)) == self.index

    def parents(
        self, round_: int, own: Ref, rng: Random, without: Sequence[int] = ()
    ) -> tuple[Ref, ...] | None:
        """Own parent and one variant each of round-1, or None if they are no quorum without these authors."""
        before = self.mind.rounds[round_ - 1]
        others = tuple(
            rng.choice(before[author])
            for author in sorted(before)
            if author != self.index and author not in without
        )
        count = len(others) + (1 if own.round == round_ - 1 else 0)
        return (own, *others) if count >= self.quorum else None

    def make(
        self,
        round_: int,
        parents: tuple[Ref, ...],
        *,
        salt: int = 0,
        time_ms: int | None = None,
        votes: tuple[CommitVote, ...] = (),
        evidence: tuple[EquivocationProof, ...] = (),
    ) -> VerifiedBlock:
        now = self.mind.start_ms + self.mind.clock.now_ms
        wanted = Propose(
            round=Round(round_),
            parents=parents,
            time_ms=Millis(now if time_ms is None else time_ms),
            flags=self.flags,
            commit_votes=votes,
            evidence=evidence,
        )
        payload = (f"liar {self.index} {round_} {salt}".encode(),)
        block = self.mind.mint.make(self.index, wanted, payload)
        if not self.mind.store.has(block.block.ref):
            self.mind.saw(block.block)
        return block

    def show(self, blocks: tuple[VerifiedBlock, ...], to: Sequence[int], after_ms: int = 0) -> None:
        def push() -> None:
            for target in to:
                event = BlocksReceived(ValidatorIndex(self.index), blocks)
                reader = self.mind.honest[target]
                self.mind.network.send(self.index, target, partial(reader.receive, event))

        if after_ms:
            self.mind.clock.call_in(after_ms, push)
        else:
            push()

    def genesis(self) -> Ref:
        return self.mind.mint.committee.genesis[self.index]


# --- strategies ---------------------------------------------------------------------------------------------------------


class Silent:
    """Never says anything."""

    def act(self, puppet: Puppet, round_: int) -> None:
        return


@dataclass
class TwoChains:
    """Two blocks a round, each on its own chain, each shown to one half."""

    heads: list[Ref] = field(default_factory=list)
    halves: tuple[tuple[int, ...], ...] = ()

    def act(self, puppet: Puppet, round_: int) -> None:
        if not self.heads:
            shuffled = list(puppet.targets)
            puppet.rng.shuffle(shuffled)
            middle = (len(shuffled) + 1) // 2
            self.halves = (tuple(sorted(shuffled[:middle])), tuple(sorted(shuffled[middle:])))
            self.heads = [puppet.genesis(), puppet.genesis()]
        for side in (0, 1):
            parents = puppet.parents(round_, self.heads[side], puppet.rng)
            if parents is None:
                continue
            block = puppet.make(round_, parents, salt=side)
            self.heads[side] = block.block.ref
            puppet.show((block,), self.halves[side])


@dataclass
class Mix:
    """Each round something else: one to three variants, each to a random subset, at once or late; sometimes nothing.

    It leaves the leader out of its parents, dates blocks wrongly, and votes for commits that never were.
    """

    late_ms: int  # about a leader timeout
    lies: bool  # votes for invented commits
    heads: list[Ref] = field(default_factory=list)

    def act(self, puppet: Puppet, round_: int) -> None:
        rng = puppet.rng
        if not self.heads:
            self.heads = [puppet.genesis()]
        before = puppet.mind.mint.committee.leader(Round(max(round_ - 1, 0)))
        made: list[Ref] = []
        for variant in range(rng.choice((0, 1, 1, 2, 2, 3))):
            without = (before,) if rng.random() < 0.3 else ()
            head = rng.choice(self.heads)
            parents = puppet.parents(round_, head, rng, without) or puppet.parents(
                round_, head, rng
            )
            if parents is None:
                continue
            wrong = rng.choice((0, 0, 0, -3_600_000, 3_600_000))
            block = puppet.make(
                round_,
                parents,
                salt=variant,
                time_ms=puppet.mind.start_ms + puppet.mind.clock.now_ms + wrong,
                votes=self._votes(rng),
            )
            made.append(block.block.ref)
            to = rng.sample(puppet.targets, rng.randint(0, len(puppet.targets)))
            puppet.show((block,), sorted(to), rng.choice((0, 0, self.late_ms, 2 * self.late_ms)))
        if made:
            self.heads = made

    def _votes(self, rng: Random) -> tuple[CommitVote, ...]:
        if not self.lies or rng.random() < 0.5:
            return ()
        index = CommitIndex(rng.randint(1, 40))
        return (CommitVote(index=index, digest=Digest(rng.randbytes(32))),)


@dataclass
class Withhold:
    """Honest in form, and shows each block to few: its turns as a leader to f+1 and late, others to the next leader."""

    late_ms: int
    head: Ref | None = None

    def act(self, puppet: Puppet, round_: int) -> None:
        parents = puppet.parents(round_, self.head or puppet.genesis(), puppet.rng)
        if parents is None:
            return
        block = puppet.make(round_, parents)
        self.head = block.block.ref
        committee = puppet.mind.mint.committee
        if puppet.leads(round_):
            few = sorted(puppet.rng.sample(puppet.targets, committee.validity))
            puppet.show((block,), few, self.late_ms)
        else:
            following = committee.leader(Round(round_ + 1))
            puppet.show((block,), [following] if following in puppet.targets else [])

"""What is pushed to whom, against sets of names (SPEC 5 B1 and B2): masks must tell the same as a walk over all history."""

from dataclasses import dataclass, field
from random import Random

import pytest

from consensus.dag import Dag
from consensus.dissemination import Dissemination
from consensus.simulate.regime import fresh
from consensus.types import Block, Millis, Parameters, Ref, Round, ValidatorIndex
from tests.property.consensus.dags import Seeded, random_dag

OWN = ValidatorIndex(0)
FIXED_SEEDS = range(40)
BUNDLE_BLOCKS = 7


@dataclass
class Naive:
    """For each connected peer the time at which each block that it may lack falls due."""

    dag: Dag
    delay_ms: int
    known: list[Ref] = field(default_factory=list)
    owed: dict[int, dict[Ref, int]] = field(default_factory=dict)

    def accepted(self, block: Block, sender: int | None, now: int) -> None:
        self.known.append(block.ref)
        for owed in self.owed.values():
            owed[block.ref] = now + (0 if block.ref.author == OWN else self.delay_ms)
        for peer in {block.ref.author, sender} - {None, OWN}:
            assert peer is not None
            self.shown(peer, block.ref)

    def shown(self, peer: int, ref: Ref) -> None:
        pending = [ref]
        while pending:
            if self.owed.get(peer, {}).pop(name := pending.pop(), None) is not None:
                node = self.dag.node(name)
                pending += node.parents if node is not None else ()

    def connect(self, peer: int, now: int) -> None:
        self.owed[peer] = dict.fromkeys(self.known, now)
        for ref in sorted(self.known):
            if ref.author == peer:
                self.shown(peer, ref)

    def bundle(self, peer: int, now: int, with_block: Ref | None) -> tuple[Ref, ...]:
        owed = self.owed.get(peer, {})
        chosen = [ref for ref in [with_block] if ref in self.known and ref is not None]
        for ref in sorted(name for name, at in owed.items() if at <= now and name != with_block):
            if len(chosen) < BUNDLE_BLOCKS:
                chosen.append(ref)
        for ref in chosen:
            owed.pop(ref, None)
        return tuple(sorted(chosen))

    def due(self) -> list[int]:
        return [at for owed in self.owed.values() for at in owed.values()]

    def raise_floor(self, floor: int) -> None:
        self.known = [ref for ref in self.known if ref.round > floor]
        for owed in self.owed.values():
            for ref in [name for name in owed if name.round <= floor]:
                del owed[ref]


class Pair:
    """Both told the same; after each word, what the two would do is compared."""

    def __init__(self, seed: int, delay_ms: int) -> None:
        self.rng = Random(seed)
        history = random_dag(Seeded(self.rng), sizes=(4, 10), rounds=(4, 14))
        self.blocks = history.blocks
        self.peers = range(1, history.committee.size)
        self.dag = Dag(history.committee)
        self.parameters = Parameters(
            timeout_deltas=8, history_delay_ms=delay_ms, bundle_blocks_max=BUNDLE_BLOCKS
        )
        self.real = Dissemination(self.dag, OWN, self.parameters)
        self.naive = Naive(self.dag, delay_ms)
        self.now = Millis(1_000)
        self.sent = 0

    def run(self) -> None:
        for block in self.blocks:
            if block.ref.round > self.dag.floor:
                self.accept(block)
            for _ in range(self.rng.randint(0, 3)):
                self.something()
        for peer in self.peers:
            self.push(peer, None)

    def accept(self, block: Block) -> None:
        self.dag.accept(block)
        givers = (None, block.ref.author, ValidatorIndex(self.rng.choice(self.peers)))
        sender = self.rng.choice(givers)
        self.real.accepted(block, sender, self.now)
        self.naive.accepted(block, sender, self.now)
        self.compare()

    def something(self) -> None:
        self.now = Millis(self.now + self.rng.choice((0, 1, 30, 200)))
        peer = ValidatorIndex(self.rng.choice(self.peers))
        match self.rng.randint(0, 9):
            case 0:
                self.real.connect(peer, self.now)
                self.naive.connect(peer, self.now)
            case 1:
                if self.rng.random() < 0.3:
                    self.real.disconnect(peer)
                    self.naive.owed.pop(peer, None)
            case 2 if self.naive.known:
                ref = self.rng.choice(self.naive.known)
                self.real.shown(peer, ref)
                self.naive.shown(peer, ref)
            case 3 if self.rng.random() < 0.2:
                self.raise_floor(Round(max(self.dag.floor, self.dag.highest_round - 5)))
            case _:
                self.push(peer, self.rng.choice((None, *self.naive.known[-3:])))
        self.compare()

    def push(self, peer: int, with_block: Ref | None) -> None:
        index = ValidatorIndex(peer)
        bundle = self.real.bundle(index, self.now, with_block=with_block)
        assert bundle == self.naive.bundle(peer, self.now, with_block)
        self.sent += len(bundle)

    def raise_floor(self, floor: Round) -> None:
        self.dag.raise_floor(floor)
        self.real.raise_floor(floor)
        self.naive.raise_floor(floor)

    def compare(self) -> None:
        due, told = self.naive.due(), self.real.next_due()
        assert self.real.peers == tuple(sorted(self.naive.owed))
        if due:
            assert told is not None, "owed, and never sent"
            assert told <= max(self.now, min(due)), "sent too late"
        if due and min(due) <= self.now:
            assert told is not None
            assert told <= self.now


@pytest.mark.parametrize("delay_ms", [0, 150])
@pytest.mark.parametrize("seed", [*FIXED_SEEDS, *fresh(10)], ids=hex)
def test_masks_tell_what_sets_of_names_tell(seed: int, delay_ms: int) -> None:
    pair = Pair(seed, delay_ms)
    pair.run()
    assert pair.sent, "nothing was ever sent: the seed shows nothing"


def test_nothing_falls_due_once_everybody_has_all() -> None:
    """Else each block of the others would wake us once more for nothing."""
    pair = Pair(3, 150)
    for peer in pair.peers:
        pair.real.connect(ValidatorIndex(peer), pair.now)
    for block in pair.blocks:
        pair.dag.accept(block)
        pair.real.accepted(block, None, pair.now)
        for peer in pair.peers:
            pair.real.shown(ValidatorIndex(peer), block.ref)
    pair.now = Millis(pair.now + 150)
    assert all(
        not [
            ref
            for ref in pair.real.bundle(ValidatorIndex(peer), pair.now, with_block=None)
            if ref.author != OWN
        ]
        for peer in pair.peers
    )
    assert pair.real.next_due() is None

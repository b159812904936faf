"""The censorship bound: an entry handed to one honest node is ordered within k rounds, whoever leads and whatever f colluders do.

The argument (SPEC 15), with d = delta / least time of a round, rounded up: how many rounds the others may make while a message is
on its way. A quorum has blocks of round r-1 at time t; within delta the victim has them and makes its block of r, within 2 delta
every honest member has that, and by then is in round r+2d at most. So it refers to it from its block of r+2d+1 at the latest.
A leader's block refers to a quorum of the round before, f+1 honest ones among them: from round r+2d+2 on every leader's block has
it in its history, the colluders' own included. f leaders in a row may be colluders and stay uncommitted or undecided. The next is
committed; certificates show it two rounds on; an undecided slot before it is settled by an anchor three rounds after it at
the latest; and the last node may be a round further when it sees that:

    k = (2d + 2) + f + 2 + 3 + 1 = f + 2d + 8

Measured: from the round of the block that carried the entry to the round in which the last honest node was when it ordered it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, unique
from functools import partial
from itertools import combinations
from random import Random
from typing import Final

from consensus.simulate.adversaries import Puppet
from consensus.simulate.cluster import MakeCore, shipping_core
from consensus.simulate.entries import EntryCluster
from consensus.simulate.network import Weather
from consensus.simulate.veto import (
    DELTA_MS,
    PACE,
    WAIT_DELTAS,
    Behaviour,
    Trial,
    faults_of,
    regime_of,
)
from consensus.types import Ref

ENTRIES: Final = 8  # handed to the victim, and to each of the others, who are not measured
EVERY_MS: Final = 5 * DELTA_MS // 2
RETRY_MS: Final = DELTA_MS // 10
TRIES: Final = 20  # for two deltas: then the others have gone on
SETS_MAX: Final = (
    12  # of colluders with a victim, for each n and way; drawn by seed where there are more
)
FAST: Final = Weather(delay_min_ms=1, delay_max_ms=DELTA_MS // 5)


@unique
class Way(Enum):
    SHUN = "never refer to the victim"
    SHUN_AND_BALK = "never refer to the victim, and give up their turns to lead"
    SHUN_AND_SPLIT = "never refer to the victim, and show their blocks of turns to lead to f+1 only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Who censors whom, and how."""

    size: int
    colluders: tuple[int, ...]
    victim: int
    way: Way
    victim_is_slow: bool  # all its messages, both ways, take delta; the others' a fifth of it


@dataclass
class Shun:
    """Keeps to the protocol in time, but for this: no block of its refers to the victim's."""

    victim: int
    way: Way
    head: Ref | None = None

    def act(self, puppet: Puppet, round_: int) -> None:
        self._try(puppet, round_, TRIES)

    def _try(self, puppet: Puppet, round_: int, left: int) -> None:
        """As soon as there is a quorum of the round before without the victim, as for a while there may not be."""
        own = self.head or puppet.genesis()
        if own.round >= round_:
            return
        parents = puppet.parents(round_, own, puppet.rng, without=(self.victim,))
        if parents is None:
            if left:
                again = partial(self._try, puppet, round_, left - 1)
                puppet.mind.clock.call_in(RETRY_MS, again)
            return
        to = list(puppet.targets)
        if puppet.leads(round_):
            if self.way is Way.SHUN_AND_BALK:
                return
            if self.way is Way.SHUN_AND_SPLIT:
                few = puppet.mind.mint.committee.validity
                to = sorted(puppet.rng.sample(to, min(few, len(to))))
        block = puppet.make(round_, parents)
        self.head = block.block.ref
        puppet.show((block,), to)


def argued_bound(size: int) -> int:
    """k, in rounds: see the module's text."""
    rounds_within_delta = -(-PACE.delta_ms // PACE.min_round_delay_ms)
    return faults_of(size) + 2 * rounds_within_delta + 8


def plots(sizes: Iterable[int], *, quick: bool) -> Iterator[Plot]:
    """For each n and way some sets of f colluders, each with a victim; slow and not."""
    for size in sizes:
        pairs = [
            (colluders, victim)
            for colluders in combinations(range(size), faults_of(size))
            for victim in range(size)
            if victim not in colluders
        ]
        most = 2 if quick else SETS_MAX
        for way in Way:
            for slow in (False, True):
                rng = Random(f"{size} {way.name} {slow}")
                for colluders, victim in sorted(rng.sample(pairs, min(most, len(pairs)))):
                    yield Plot(
                        size=size,
                        colluders=colluders,
                        victim=victim,
                        way=way,
                        victim_is_slow=slow,
                    )


def measure(plot: Plot, seed: int, make: MakeCore = shipping_core) -> list[int | None]:
    """Rounds of each of the victim's entries; None for one never ordered."""
    trial = Trial(size=plot.size, members=plot.colluders, behaviour=Behaviour.LYING, lie="withhold")
    cluster = EntryCluster(
        regime_of(trial, seed, weather=FAST if plot.victim_is_slow else None),
        entries=ENTRIES,
        every_ms=EVERY_MS,
        make=make,
    )
    for puppet in cluster.mind.puppets:
        puppet.strategy = Shun(victim=plot.victim, way=plot.way)
    if plot.victim_is_slow:
        ways = [(plot.victim, other) for other in range(plot.size) if other != plot.victim]
        extra = DELTA_MS - FAST.delay_max_ms
        cluster.network.slow([*ways, *[(b, a) for a, b in ways]], extra)
    last = cluster.give()
    cluster.storm()
    cluster.wait(last + WAIT_DELTAS * DELTA_MS, trial.others)
    mine = [entry for entry in cluster.entries.values() if entry.node == plot.victim]
    assert len(mine) == ENTRIES, f"the victim was handed {len(mine)} entries"
    everywhere = set(trial.others)
    return [
        entry.rounds(trial.others) if everywhere <= entry.ordered.keys() else None for entry in mine
    ]

"""The no-veto gate: whether one member, or any f of n, can stop the others, and whether f+1 of them split the log.

A trial takes a set of members and one way to misbehave, runs the shipping core at every other member, and hands each of these
a few entries:

    silent     they never say a word
    lying      they sign several blocks a round, show each to some, date them wrongly, vote for invented commits, withhold
    cut off    they are honest, and no message passes between them and the others; later it does again

Up to f members: every entry must be ordered at every other member within the bound. f+1 members: the logs of the others must
stay one log; whether it grew is told. A trial in which either fails is a finding, with the call that shows it again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, unique
from itertools import combinations
from typing import Final

from consensus.committee import quorum_of
from consensus.simulate.checkers import Violation
from consensus.simulate.cluster import MakeCore, shipping_core
from consensus.simulate.entries import EntryCluster
from consensus.simulate.network import Weather
from consensus.simulate.node import Machinery
from consensus.simulate.regime import Cut, Regime
from consensus.types import GC_DEPTH, Parameters

DELTA_MS: Final = 100
PACE: Final = Parameters(
    delta_ms=DELTA_MS,
    min_round_delay_ms=DELTA_MS // 2,
    request_timeout_ms=4 * DELTA_MS,
    idle_delay_ms=60 * DELTA_MS,
)
LINKS: Final = Weather(delay_min_ms=1, delay_max_ms=DELTA_MS)
ENTRIES: Final = 3  # handed to each of the others
EVERY_MS: Final = 3 * DELTA_MS
ROUNDS_MAX: Final = 20  # from the block that carries an entry to its order: more counts as a veto
WAIT_DELTAS: Final = 100  # after the last entry; past it an entry counts as never ordered
STALLED_DELTAS: Final = 40  # how long f+1 are watched for a fork
ALL_SETS_UP_TO: Final = 7  # members: above, single members, and of the larger sets some
SOME_SETS: Final = 8  # spread evenly over all sets of one size
SIZES: Final = tuple(range(4, 11))


def faults_of(size: int) -> int:
    """f: as many members may do anything at all."""
    return size - quorum_of(size)


@unique
class Behaviour(Enum):
    SILENT = "silent"
    LYING = "lying"
    CUT_OFF = "cut off"


LIES: Final = ("two-chains", "lying-mix", "withhold")  # names of `regime.strategy_of`


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    size: int
    members: tuple[int, ...]  # who misbehaves
    behaviour: Behaviour
    lie: str = ""  # which, if they lie

    @property
    def others(self) -> tuple[int, ...]:
        return tuple(index for index in range(self.size) if index not in self.members)

    @property
    def is_tolerated(self) -> bool:
        """No more than f."""
        return len(self.members) <= faults_of(self.size)

    @property
    def fork_is_excluded(self) -> bool:
        """Whether two quorums share an honest member, which is what keeps the log one.

        Two quorums share at least 2q - n members. The silent and the cut off sign nothing twice, so they count as honest here.
        """
        shared = 2 * quorum_of(self.size) - self.size
        return self.behaviour is not Behaviour.LYING or len(self.members) < shared

    def describe(self) -> str:
        what = f"lying ({self.lie})" if self.lie else self.behaviour.value
        return f"n={self.size}: members {', '.join(map(str, self.members))} {what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one trial showed."""

    trial: Trial
    given: int  # entries to the others
    ordered: int  # of these, at all of the others
    rounds_worst: int  # of those ordered
    deltas_worst: int  # from handing over to order at the last of the others, rounded up
    forked: str = ""  # how; empty: one log
    noticed: int = 0  # nodes that noticed more than f liars and stopped
    returned: bool = True  # after links were whole again, everything was ordered everywhere

    @property
    def vetoed(self) -> str:
        """Why this trial shows a veto; empty if it does not."""
        trial = self.trial
        if not trial.is_tolerated:
            return "" if self.returned else "does not go on although all links are whole again"
        if self.ordered < self.given:
            return f"{self.given - self.ordered} of {self.given} entries not ordered {WAIT_DELTAS} deltas later"
        if self.rounds_worst > ROUNDS_MAX:
            return f"an entry took {self.rounds_worst} rounds, more than {ROUNDS_MAX}"
        return "" if self.returned else "those cut off do not come back"

    @property
    def is_finding(self) -> bool:
        """A veto; or a fork where the protocol excludes it."""
        return bool(self.vetoed) or (bool(self.forked) and self.trial.fork_is_excluded)


def trials(sizes: Iterable[int], *, quick: bool) -> Iterator[Trial]:
    """Every member alone; for n <= 7 every set of f and of f+1, above it some. Quick: three sets of each kind, one lie each."""
    for size in sizes:
        faults = faults_of(size)
        for count in dict.fromkeys((1, faults, faults + 1)):
            sets = list(combinations(range(size), count))
            if quick:
                sets = _spread(sets, 3)
            elif size > ALL_SETS_UP_TO and count > 1:
                sets = _spread(sets, SOME_SETS)
            for turn, members in enumerate(sets):
                yield Trial(size=size, members=members, behaviour=Behaviour.SILENT)
                for lie in (LIES[turn % len(LIES)],) if quick else LIES:
                    yield Trial(size=size, members=members, behaviour=Behaviour.LYING, lie=lie)
                yield Trial(size=size, members=members, behaviour=Behaviour.CUT_OFF)


def _spread(sets: list[tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
    """The first, the last, and those evenly between."""
    last = len(sets) - 1
    return list(dict.fromkeys(sets[turn * last // (count - 1)] for turn in range(count)))


def run(trial: Trial, seed: int, make: MakeCore = shipping_core) -> Verdict:
    """One trial. The same trial and seed give the same verdict."""
    cluster = EntryCluster(
        regime_of(trial, seed),
        entries=ENTRIES,
        every_ms=EVERY_MS,
        alarms_are_answers=not trial.is_tolerated,
        make=make,
    )
    last = cluster.give()
    others = trial.others
    forked = ""
    returned = True
    try:
        cluster.storm()
        cluster.wait(last + _patience(trial) * DELTA_MS, others)
        missing = len(cluster.unordered(others))
        if trial.behaviour is Behaviour.CUT_OFF:
            cluster.heal()
            everybody = range(trial.size)
            returned = cluster.wait(cluster.clock.now_ms + WAIT_DELTAS * DELTA_MS, everybody)
    except Violation as violation:
        forked = str(violation)
        missing = len(cluster.unordered(others))
    mine = [entry for entry in cluster.entries.values() if entry.node in others]
    assert forked or len(mine) == ENTRIES * len(others), f"{len(mine)} entries handed out"
    # What f+1 held up, and healing let go, measures nothing.
    done = [entry for entry in mine if trial.is_tolerated and set(others) <= entry.ordered.keys()]
    return Verdict(
        trial=trial,
        given=len(mine),
        ordered=len(mine) - missing,
        rounds_worst=max((entry.rounds(others) for entry in done), default=0),
        deltas_worst=max((-(-entry.waited_ms(others) // DELTA_MS) for entry in done), default=0),
        forked=forked,
        noticed=len(cluster.forks_noticed),
        returned=returned,
    )


def _patience(trial: Trial) -> int:
    """In deltas. Only with the links cut or the members silent is it known that f+1 stop everything."""
    return WAIT_DELTAS if trial.is_tolerated else STALLED_DELTAS


def regime_of(trial: Trial, seed: int, weather: Weather | None = None) -> Regime:
    lying = trial.behaviour is not Behaviour.CUT_OFF
    honest = trial.others if lying else tuple(range(trial.size))
    between = tuple((a, b) for a in trial.members for b in trial.others)
    cut = Cut(
        start_ms=0,
        end_ms=1 << 40,  # healing ends it
        links=tuple(sorted([*between, *[(b, a) for a, b in between]])),
        noticed=seed % 2 == 0,
    )
    return Regime(
        seed=seed,
        size=trial.size,
        byzantine=trial.members if lying else (),
        strategies=(trial.lie or "silent",) * len(trial.members) if lying else (),
        liars_answer=bool(trial.lie),
        parameters=PACE,
        gc_depth=GC_DEPTH,
        machinery=(Machinery(request_timeout_ms=PACE.request_timeout_ms),) * trial.size,
        weather=weather or LINKS,
        healed=LINKS,
        storm_ms=DELTA_MS,
        cuts=() if lying else (cut,),
        crashes=(),
        submitters=(),
        submit_every_ms=EVERY_MS,
        healed_submitters=honest[:1],
    )

"""One seed draws everything about a run: sizes, liars, links, cuts, crashes, machines, load. Nothing is left to the hour."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from consensus.simulate.adversaries import Mix, Silent, Strategy, TwoChains, Withhold
from consensus.simulate.liars import (
    Censor,
    ChainBomb,
    Dangling,
    EvidenceStuffing,
    FarFuture,
    LateLeader,
    LeaderToFew,
    NChains,
    RampUp,
    RandomDrop,
    TurnsOnly,
    VoteStuffing,
)
from consensus.simulate.network import Weather
from consensus.simulate.node import CrashPoint, Machinery
from consensus.simulate.schedules import SCHEDULES
from consensus.types import GC_DEPTH, Parameters

BASE_SEED_VARIABLE: Final = "FOEDUS_SIMULATION_BASE_SEED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Directed links that carry nothing for a while, or carry slowly."""

    start_ms: int
    end_ms: int
    links: tuple[tuple[int, int], ...]
    noticed: bool  # the sender is told that the peer reads no more, and when it does again
    extra_ms: int = 0  # above 0: all arrives, so much later, and nobody is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """One honest node's process dies: at this time, or when it next comes to this point after it."""

    node: int
    at_ms: int
    down_ms: int
    point: CrashPoint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A member joins or leaves: an epoch ends for it (SPEC 14). Seats from `size` on are of those who join."""

    at_ms: int  # handed to somebody as an entry
    seat: int
    joins: bool

    @property
    def entry(self) -> bytes:
        return b"%s %d" % (b"joins" if self.joins else b"leaves", self.seat)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    seed: int
    size: int
    byzantine: tuple[int, ...]
    strategies: tuple[str, ...]  # one per Byzantine seat
    liars_answer: bool  # puppets answer fetches
    parameters: Parameters
    gc_depth: int
    machinery: tuple[Machinery, ...]  # by seat
    weather: Weather
    healed: Weather
    storm_ms: int
    cuts: tuple[Cut, ...]
    crashes: tuple[Crash, ...]
    submitters: tuple[int, ...]  # who has entries to order while it storms
    submit_every_ms: int
    healed_submitters: tuple[
        int, ...
    ]  # who else has, afterwards: at least one, or there is nothing to commit
    schedule: str | None = None  # of delays within the bound: see `schedules`
    steady_rounds: int = 0  # after all committed again it goes on for so long
    changes: tuple[Change, ...] = ()
    law_lag_ms: int = 0  # at most so long after a commit was decided its law has executed it

    @property
    def honest(self) -> tuple[int, ...]:
        """By seat, those included who join."""
        return tuple(seat for seat in range(self.seats) if seat not in self.byzantine)

    @property
    def seats(self) -> int:
        return self.size + sum(change.joins for change in self.changes)

    @property
    def leaving(self) -> frozenset[int]:
        return frozenset(change.seat for change in self.changes if not change.joins)

    @property
    def staying(self) -> tuple[int, ...]:
        """The honest who have a seat in the end."""
        return tuple(seat for seat in self.honest if seat not in self.leaving)

    @property
    def healed_submit_ms(self) -> int:
        """How often each submits after healing: every fourth round; where rounds wait for no clock, no faster than is ordered."""
        parameters = self.parameters
        return max(4 * parameters.min_round_delay_ms, 2 * parameters.delta_ms // 5)

    def describe(self) -> str:
        liars = ", ".join(
            f"{seat} {name}" for seat, name in zip(self.byzantine, self.strategies, strict=True)
        )
        return (
            f"n={self.size}, liars [{liars}], delta {self.parameters.delta_ms} ms, "
            f"G={self.gc_depth}, delays {self.weather.delay_min_ms}..{self.weather.delay_max_ms} ms, "
            f"loss {self.weather.loss}/1000, {len(self.cuts)} cuts, {len(self.crashes)} crashes, "
            f"storm {self.storm_ms} ms, schedule {self.schedule}, {self.steady_rounds} rounds after"
            f"{self._changes()}"
        )

    def _changes(self) -> str:
        words = [f"{each.entry.decode()} at {each.at_ms} ms" for each in self.changes]
        return f", changes [{', '.join(words)}], law {self.law_lag_ms} ms behind" if words else ""


# How many rounds a storm would last without faults. A round costs n**3 messages, as everybody pushes everything to everybody.
ROUNDS: Final = {4: (40, 160), 5: (15, 60), 7: (8, 30), 10: (3, 8), 13: (2, 4), 25: (1, 2)}
# And how many it goes on after all have committed again.
STEADY_ROUNDS: Final = {4: (6, 30), 5: (5, 20), 7: (3, 10), 10: (1, 4), 13: (1, 2), 25: (1, 1)}
SIZES: Final = (4,) * 10 + (5,) * 4 + (7,) * 5 + (10,)


def _round_ms(parameters: Parameters, weather: Weather) -> int:
    """About how long a round takes when nothing is lost."""
    return max(parameters.min_round_delay_ms, weather.delay_max_ms) + weather.delay_min_ms + 5


def strategy_of(name: str, parameters: Parameters, gc_depth: int, rng: Random) -> Strategy:
    """A fresh mind for one seat. Raises ValueError."""
    make = _strategies(parameters, gc_depth, rng).get(name)
    if make is None:
        raise ValueError(f"strategy={name!r}: not one of {', '.join(STRATEGIES)}")
    return make()


def _strategies(
    parameters: Parameters, gc_depth: int, rng: Random
) -> dict[str, Callable[[], Strategy]]:
    late_ms = parameters.delta_ms * parameters.timeout_deltas
    return {
        "silent": Silent,
        "two-chains": TwoChains,
        "mix": lambda: Mix(late_ms=late_ms, lies=False),
        "lying-mix": lambda: Mix(late_ms=late_ms, lies=True),
        "withhold": lambda: Withhold(late_ms=late_ms - 1),
        "late-leader": lambda: LateLeader(late_ms - rng.choice((1, late_ms // 4))),
        "leader-to-few": LeaderToFew,
        "n-chains": NChains,
        "chain-bomb": lambda: ChainBomb(
            rng.choice((5, 20, 60)), count=1, to_one=rng.random() < 0.5
        ),
        "twin-bomb": lambda: ChainBomb(rng.choice((5, 20)), count=2, to_one=False),
        "random-drop": RandomDrop,
        "ramp-up": RampUp,
        "far-future": lambda: FarFuture(gc_depth),
        "dangling": lambda: Dangling(gc_depth),
        "vote-stuffing": VoteStuffing,
        "censor": Censor,
        "evidence-stuffing": EvidenceStuffing,
        "turns-only": lambda: TurnsOnly(late_ms - 1),
    }


STRATEGIES: Final = tuple(_strategies(Parameters(), GC_DEPTH, Random(0)))
LATER: Final = (
    0x1000  # seeds below are drawn as before these came, so that those kept mean what they meant
)
DRAGGING: Final = 0x510E  # a source of chance of its own
LATER_STRATEGIES: Final = ("evidence-stuffing", "turns-only")
LATER_SIZES: Final = (13, 25)
CHANGING: Final = 0xE90C
CHANGING_CHANCE: Final = 0.25
CHANGING_SIZES: Final = (4, 5, 7)
MEMBERS_MIN: Final = 3  # below that a committee of drills is all there could be


def draw(seed: int) -> Regime:
    """Members that come and go are drawn last, from a source of their own: seeds kept before mean what they meant."""
    regime, changing = _unchanging(seed), Random(seed ^ CHANGING)
    if seed < LATER or regime.size not in CHANGING_SIZES or changing.random() >= CHANGING_CHANCE:
        return regime
    return change_members(regime, changing)


def change_members(regime: Regime, rng: Random) -> Regime:
    """One or two join, at most two leave; no committee on the way has more liars than it bears, whatever comes first.

    A liar may be among those who join, and among those who leave.
    """
    size, storm_ms = regime.size, regime.storm_ms
    byzantine, strategies = regime.byzantine, regime.strategies
    joining = [
        Change(at_ms=rng.randrange(storm_ms), seat=size + number, joins=True)
        for number in range(rng.randint(0, 2))
    ]
    leaving = [
        Change(at_ms=rng.randrange(storm_ms), seat=seat, joins=False)
        for seat in rng.sample(range(size), rng.choice((0, 1, 1, 2)))
    ]
    if not byzantine and joining and rng.random() < 0.5:
        byzantine, strategies = (joining[-1].seat,), _company(rng, 1)
    while leaving and not _bears(size, byzantine, leaving):
        leaving.pop()
    if not joining and not leaving:
        joining = [Change(at_ms=rng.randrange(storm_ms), seat=size, joins=True)]
    return replace(
        regime,
        byzantine=byzantine,
        strategies=strategies,
        machinery=regime.machinery + tuple(_machinery(rng, regime.parameters) for _ in joining),
        changes=tuple(sorted((*joining, *leaving), key=lambda change: change.at_ms)),
        law_lag_ms=rng.choice((0, regime.parameters.delta_ms, 10 * regime.parameters.delta_ms)),
        submitters=tuple(each for each in regime.submitters if each not in byzantine),
        schedule=None,
    )


def _bears(size: int, byzantine: tuple[int, ...], leaving: list[Change]) -> bool:
    """Whether also the smallest committee has no more than f liars: all honest who leave are gone, of the liars none."""
    least = size - sum(change.seat not in byzantine for change in leaving)
    return least >= MEMBERS_MIN and len(byzantine) <= (least - 1) // 3


def _unchanging(seed: int) -> Regime:
    rng = Random(seed)
    size = rng.choice(SIZES)
    later = Random(seed ^ 0x1A7E)
    if seed >= LATER and later.random() < 0.015:
        size = later.choice(LATER_SIZES)
    faults = (size - 1) // 3
    byzantine = tuple(sorted(rng.sample(range(size), rng.choice((0, faults, faults, faults)))))
    strategies = _company(rng, len(byzantine))
    if seed >= LATER and later.random() < 0.1:
        strategies = tuple(later.choice(LATER_STRATEGIES) for _ in byzantine)
    parameters = _parameters(rng)
    beat_ms = parameters.min_round_delay_ms
    if prompt := seed >= LATER and Random(seed ^ 0xFA57).random() < 0.2:
        parameters = replace(parameters, min_round_delay_ms=1)  # decision 0165
    weather = _weather(rng, parameters)
    if prompt:  # messages make the rounds: what is submitted faster only waits
        beat_ms = _round_ms(parameters, weather)
    storm_ms = _round_ms(parameters, weather) * rng.randint(*ROUNDS[size])
    if (
        calm := rng.random() < 0.2
    ):  # within the bound from the start: what a liar and a schedule can do alone
        storm_ms = parameters.delta_ms
        weather = replace(weather, loss=0, straggler=0, delay_min_ms=0, delay_max_ms=5)
    honest = [index for index in range(size) if index not in byzantine]
    return Regime(
        seed=seed,
        size=size,
        byzantine=byzantine,
        strategies=strategies,
        liars_answer=rng.random() < 0.5,
        parameters=parameters,
        gc_depth=rng.choice((8, 12, 24, GC_DEPTH)),
        machinery=tuple(_machinery(rng, parameters) for _ in range(size)),
        weather=weather,
        healed=Weather(
            delay_min_ms=0,
            delay_max_ms=5
            if calm
            else rng.choice((5, parameters.delta_ms // 5, parameters.delta_ms)),
        ),
        storm_ms=storm_ms,
        cuts=() if calm else _dragged(seed, _cuts(rng, size, storm_ms), parameters.delta_ms),
        crashes=() if calm else _crashes(rng, honest, storm_ms),
        submitters=tuple(sorted(rng.sample(honest, rng.choice((0, 1, len(honest)))))),
        submit_every_ms=beat_ms * rng.choice((1, 5, 40)),
        healed_submitters=tuple(sorted(rng.sample(honest, rng.choice((1, len(honest)))))),
        schedule=rng.choice((None, rng.choice(SCHEDULES))),
        steady_rounds=rng.randint(*STEADY_ROUNDS[size]) * (4 if calm else 1),
    )


def _company(rng: Random, count: int) -> tuple[str, ...]:
    """What the liars do: each its own, or all the same, as a group that colludes."""
    known = [name for name in STRATEGIES if name not in LATER_STRATEGIES]
    drawn = tuple(rng.choice(known) for _ in range(count))
    return drawn[:1] * count if rng.random() < 0.4 else drawn


def _parameters(rng: Random) -> Parameters:
    delta = rng.choice((100, 250, 500))
    lazy = rng.random() < 0.25  # Lazy-Push: history of others later, and a longer leader timeout
    return Parameters(
        delta_ms=delta,
        timeout_deltas=8 if lazy else 2,
        history_delay_ms=3 * delta if lazy else 0,
        min_round_delay_ms=rng.choice((delta // 10, delta // 2)),
        request_timeout_ms=delta * rng.choice((2, 8)),
        idle_delay_ms=delta * rng.choice((4, 20)),
        bundle_blocks_max=rng.choice((8, 128)),
        fetch_backoff_cap_ms=rng.choice((1_000, 5_000)),
    )


def _machinery(rng: Random, parameters: Parameters) -> Machinery:
    return Machinery(
        skew_ms=rng.choice((0, 0, rng.randint(-2_000, 2_000))),
        sync_ms=rng.choice((0, 0, 4, 40)),
        sign_ms=rng.choice((0, 1, 5)),
        request_timeout_ms=parameters.delta_ms * rng.choice((2, 8)),
        silent_failures=rng.choice((0, 0, 200)),
    )


def _weather(rng: Random, parameters: Parameters) -> Weather:
    delta = parameters.delta_ms
    least, most = rng.choice(((0, 2), (1, delta // 5), (0, delta), (delta // 10, 3 * delta)))
    return Weather(
        delay_min_ms=least,
        delay_max_ms=most,
        loss=rng.choice((0, 0, 20, 100, 300)),
        duplication=rng.choice((0, 0, 100)),
        straggler=rng.choice((0, 0, 30)),
        straggler_ms=delta * rng.choice((2, 10)),
        ordered=rng.random() < 0.3,
    )


def _dragged(seed: int, cuts: tuple[Cut, ...], delta_ms: int) -> tuple[Cut, ...]:
    """Of some seeds each part of the network hears the others late instead of never."""
    rng = Random(seed ^ DRAGGING)
    if seed < LATER or rng.random() >= 0.25:
        return cuts
    return tuple(replace(cut, extra_ms=delta_ms * rng.choice((2, 6, 20))) for cut in cuts)


def _cuts(rng: Random, size: int, storm_ms: int) -> tuple[Cut, ...]:
    cuts: list[Cut] = []
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        seats = list(range(size))
        rng.shuffle(seats)
        split = rng.randint(1, size - 1)
        one, other = seats[:split], seats[split:]
        links = [(a, b) for a in one for b in other]
        if rng.random() < 0.6:  # else it goes one way only
            links += [(b, a) for a, b in links]
        start = rng.randrange(storm_ms)
        end = min(storm_ms, start + rng.randint(1, storm_ms))
        cuts.append(
            Cut(
                start_ms=start,
                end_ms=end,
                links=tuple(sorted(links)),
                noticed=rng.random() < 0.5,
            )
        )
    return tuple(cuts)


def _crashes(rng: Random, honest: list[int], storm_ms: int) -> tuple[Crash, ...]:
    crashes: list[Crash] = []
    count = rng.choice((0, 0, 1, 2, 4, 8))
    together = rng.random() < 0.2  # all of them at one moment
    moment = rng.randrange(storm_ms)
    for turn in range(count):
        at = moment if together else rng.randrange(storm_ms)
        node = honest[turn % len(honest)] if together else rng.choice(honest)
        down = rng.choice((0, rng.randint(0, storm_ms // 10), rng.randint(0, storm_ms // 3)))
        point = None if together else rng.choice((None, *CrashPoint))
        crashes.append(Crash(node=node, at_ms=at, down_ms=down, point=point))
    return tuple(crashes)


# --- which seeds --------------------------------------------------------------------------------------------------------

# Seeds that once found a mistake. No seed is ever taken out.
REGRESSIONS: Final[tuple[int, ...]] = ()


def fixed(count: int) -> list[int]:
    """The regressions, then 0, 1, 2 and so on, `count` in all."""
    return list(dict.fromkeys([*REGRESSIONS, *range(count)]))[: max(count, len(REGRESSIONS))]


def base_seed() -> int:
    """Of this call of the tests: from the environment, so that parallel workers agree and a run can be repeated, or new."""
    given = os.environ.get(BASE_SEED_VARIABLE)
    if given is None:
        given = str(int.from_bytes(os.urandom(4), "big"))
        os.environ[BASE_SEED_VARIABLE] = given
    return int(given)


def fresh(count: int) -> list[int]:
    """`count` seeds of 48 bits drawn from the base seed; above all fixed ones."""
    rng = Random(base_seed())
    return [(1 << 47) + rng.getrandbits(47) for _ in range(count)]

"""One seed draws everything about a run of whole nodes: sizes, liars, links, cuts, crashes, disks, clocks, clients."""

from dataclasses import dataclass, replace
from enum import Enum
from random import Random
from typing import Final

from consensus.simulate.regime import DRAGGING, LATER
from consensus.types import Parameters
from tests.simulation.driver.disk import Point
from tests.simulation.driver.wires import Link, Weather

# What a liar's seat does: see `liars`, and `cluster` for those that are a matter of disks and processes.
STRATEGIES: Final = (
    "silent",
    "twins",
    "amnesiac",
    "rollback",
    "garbler",
    "replayer",
    "withholder",
    "forger",
    "two-roots",
    "line-flood",
)
SIZES: Final = (4,) * 32 + (5,) * 10 + (7,) * 10 + (10,) * 3 + (13, 25)
LATER_STRATEGIES: Final = (
    "crafter",
)  # drawn apart, so that seeds kept before mean what they meant
CRAFTING: Final = 0xC4AF7
CRAFTING_CHANCE: Final = 0.2
COMING_AND_GOING: Final = 0xACCEDE
COMING_AND_GOING_CHANCE: Final = 0.4
STATES_MAX: Final = 25  # that the tests' genesis lists: when all found the ledger, nobody can join
JOINING_SIZES: Final = (4, 5, 7)  # where two states may come and one go in a storm of some seconds
# Virtual seconds that a storm lasts; messages of a round grow with the square of the size.
STORM_S: Final = {4: (5, 40), 5: (5, 30), 7: (5, 15), 10: (4, 8), 13: (2, 4), 25: (1, 2)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    start_ms: int
    end_ms: int
    links: tuple[Link, ...]
    noticed: bool
    extra_ms: int = 0  # above 0: all arrives, so much later


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """`how`: power (what was not synced may be lost), kill, stop (in order), or the point at which the power goes."""

    at_ms: int
    seat: int
    how: str | Point
    down_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """The disk is full from then on, and the node that stops for it comes back when there is room."""

    start_ms: int
    end_ms: int
    seat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """Somebody sets the machine's wall clock."""

    at_ms: int
    seat: int
    by_ms: int


class What(Enum):
    """How a state changes who validates (SPEC 14)."""

    KEYS = "declares other keys for its node"
    JOINS = "is registered, accedes, and declares a seat"
    LEAVES = "withdraws"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A state's doing for which an epoch ends. Seats from `size` on belong to states that join."""

    at_ms: int
    seat: int
    what: What = What.KEYS
    boots_ms: int = 0  # of one that joins: when its node runs for the first time
    seat_first: bool = False  # of one that joins: it declares its seat before it accedes


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One author, who hands its entries to `home` first."""

    author: int  # operator number
    home: int
    every_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    seed: int
    size: int
    liars: tuple[tuple[int, str], ...]  # seat, strategy
    pace: Parameters
    weather: Weather
    healed: Weather
    storm_ms: int
    cuts: tuple[Cut, ...]
    resets: tuple[tuple[int, int, int], ...]  # at_ms, and two seats
    crashes: tuple[Crash, ...]
    fills: tuple[Fill, ...]
    drifts_ppm: tuple[int, ...]  # by seat
    skews_ms: tuple[int, ...]
    jumps: tuple[Jump, ...]
    slow: tuple[tuple[int, int], ...]  # seat, extra ms of all it sends
    clients: tuple[Client, ...]
    changes: tuple[Change, ...] = ()

    def of(self, what: What) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.what is what)

    @property
    def seats(self) -> int:
        """Founders, and behind them who joins."""
        return self.size + len(self.of(What.JOINS))

    @property
    def byzantine(self) -> frozenset[int]:
        return frozenset(seat for seat, _ in self.liars)

    @property
    def honest(self) -> tuple[int, ...]:
        return tuple(seat for seat in range(self.seats) if seat not in self.byzantine)

    @property
    def leaving(self) -> frozenset[int]:
        return frozenset(change.seat for change in self.of(What.LEAVES))

    @property
    def staying(self) -> tuple[int, ...]:
        """The honest who validate at the end: they must have everything, and nobody else is waited for."""
        return tuple(seat for seat in self.honest if seat not in self.leaving)

    def describe(self) -> str:
        liars = ", ".join(f"{seat} {name}" for seat, name in self.liars)
        weather = self.weather
        return (
            f"n={self.size}, liars [{liars}], delta {self.pace.delta_ms} ms, "
            f"round {self.pace.min_round_delay_ms} ms, delays {weather.delay_min_ms}..{weather.delay_max_ms} ms, "
            f"loss {weather.loss}/1000, {len(self.cuts)} cuts, {len(self.crashes)} crashes, "
            f"{len(self.fills)} full disks, {len(self.jumps)} clock jumps, changes [{self._changes()}], storm {self.storm_ms} ms"
        )

    def _changes(self) -> str:
        return ", ".join(
            f"{each.seat} {each.what.name.lower()} at {each.at_ms}" for each in self.changes
        )


def draw(seed: int) -> Regime:
    """Who joins and leaves is drawn last, from a source of its own: seeds kept before mean what they meant."""
    regime, later = _dragged(_founders(seed)), Random(seed ^ COMING_AND_GOING)
    crafting = Random(seed ^ CRAFTING)
    if regime.liars and crafting.random() < CRAFTING_CHANCE:
        drawn = tuple((seat, crafting.choice(LATER_STRATEGIES)) for seat, _ in regime.liars)
        regime = replace(regime, liars=drawn)
    return _come_and_go(regime, later) if later.random() < COMING_AND_GOING_CHANCE else regime


def _founders(seed: int) -> Regime:
    """Members change at most their keys."""
    rng = Random(seed ^ 0xD21BE2)
    size = rng.choice(SIZES)
    faults = (size - 1) // 3
    liars = _liars(rng, size, rng.choice((0, faults, faults)))
    honest = [seat for seat in range(size) if seat not in dict(liars)]
    pace = _pace(rng)
    storm_ms = 1_000 * rng.randint(*STORM_S[size])
    calm = rng.random() < 0.15
    return Regime(
        seed=seed,
        size=size,
        liars=liars,
        pace=pace,
        weather=Weather(delay_min_ms=1, delay_max_ms=pace.delta_ms // 2)
        if calm
        else _weather(rng, pace.delta_ms),
        healed=Weather(
            delay_min_ms=1, delay_max_ms=rng.choice((5, pace.delta_ms // 4, pace.delta_ms // 2))
        ),
        storm_ms=storm_ms,
        cuts=() if calm else _cuts(rng, size, storm_ms),
        resets=() if calm else _resets(rng, size, storm_ms),
        crashes=() if calm else _crashes(rng, honest, storm_ms),
        fills=() if calm else _fills(rng, honest, storm_ms),
        drifts_ppm=tuple(rng.choice((0, 0, 100, -100, 2_000, -2_000)) for _ in range(size)),
        skews_ms=tuple(rng.choice((0, 0, 0, 500, -500, 30_000)) for _ in range(size)),
        jumps=tuple(
            Jump(
                at_ms=rng.randrange(storm_ms),
                seat=rng.randrange(size),
                by_ms=rng.choice((-600_000, -1_000, 1_000, 600_000)),
            )
            for _ in range(rng.choice((0, 0, 1, 3)))
        ),
        slow=()
        if calm
        else tuple(
            (seat, pace.delta_ms * rng.choice((1, 4)))
            for seat in rng.sample(range(size), rng.choice((0, 0, 1)))
        ),
        clients=tuple(
            Client(
                author=author,
                home=rng.choice(honest),
                every_ms=rng.choice((50, 300, 1_500)),
            )
            for author in range(rng.choice((1, 2, 2)))
        ),
        changes=_changes(rng, honest, storm_ms),
    )


def _liars(rng: Random, size: int, count: int) -> tuple[tuple[int, str], ...]:
    """Each its own strategy, or all the same."""
    seats = sorted(rng.sample(range(size), count))
    names = [rng.choice(STRATEGIES) for _ in seats]
    if rng.random() < 0.4:
        names = names[:1] * count
    return tuple(zip(seats, names, strict=True))


def _pace(rng: Random) -> Parameters:
    delta = rng.choice((100, 250, 500))
    lazy = rng.random() < 0.25
    return Parameters(
        delta_ms=delta,
        timeout_deltas=8 if lazy else 2,
        history_delay_ms=3 * delta if lazy else 0,
        min_round_delay_ms=rng.choice((delta // 2, delta)),
        idle_delay_ms=delta * rng.choice((4, 40)),
        request_timeout_ms=delta * rng.choice((4, 8)),
    )


def _weather(rng: Random, delta: int) -> Weather:
    lossy = rng.random() < 0.5
    return Weather(
        delay_min_ms=1,
        delay_max_ms=rng.choice((delta // 4, delta, 3 * delta)),
        loss=rng.choice((5, 50, 300)) if lossy else 0,
        duplication=rng.choice((0, 50)),
        straggler=rng.choice((0, 20)),
        straggler_ms=10 * delta,
        ordered=rng.random() < 0.5,
    )


def _dragged(regime: Regime) -> Regime:
    """Of some seeds each part of the network hears the others late instead of never."""
    rng = Random(regime.seed ^ DRAGGING)
    if regime.seed < LATER or rng.random() >= 0.25:
        return regime
    extra_ms = regime.pace.delta_ms * rng.choice((2, 6, 20))
    return replace(regime, cuts=tuple(replace(cut, extra_ms=extra_ms) for cut in regime.cuts))


def _cuts(rng: Random, size: int, storm_ms: int) -> tuple[Cut, ...]:
    cuts: list[Cut] = []
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        seats = list(range(size))
        rng.shuffle(seats)
        split = rng.randint(1, size - 1)
        links = [(a, b) for a in seats[:split] for b in seats[split:]]
        if rng.random() < 0.6:  # else it goes one way only
            links += [(b, a) for a, b in links]
        start = rng.randrange(storm_ms)
        cuts.append(
            Cut(
                start_ms=start,
                end_ms=min(storm_ms, start + rng.randint(1, storm_ms)),
                links=tuple(sorted(links)),
                noticed=rng.random() < 0.5,
            )
        )
    return tuple(cuts)


def _resets(rng: Random, size: int, storm_ms: int) -> tuple[tuple[int, int, int], ...]:
    resets: list[tuple[int, int, int]] = []
    for _ in range(rng.choice((0, 0, 2, 10))):
        one, other = rng.sample(range(size), 2)
        resets.append((rng.randrange(storm_ms), one, other))
    return tuple(resets)


def _crashes(rng: Random, honest: list[int], storm_ms: int) -> tuple[Crash, ...]:
    together = rng.random() < 0.2  # a power cut for all of them
    count = rng.choice((0, 1, 2, 4, 8))
    moment = rng.randrange(storm_ms)
    kinds: list[str | Point] = ["power", "kill", "stop", *Point, *Point]
    return tuple(
        Crash(
            at_ms=moment if together else rng.randrange(storm_ms),
            seat=honest[turn % len(honest)] if together else rng.choice(honest),
            how="power" if together else rng.choice(kinds),
            down_ms=rng.choice((0, 200, rng.randint(0, storm_ms // 3))),
        )
        for turn in range(len(honest) if together else count)
    )


def _changes(rng: Random, honest: list[int], storm_ms: int) -> tuple[Change, ...]:
    """Of honest members: a liar's seat keeps its keys."""
    seats = rng.sample(honest, rng.choice((0, 0, 1, 2)))
    return tuple(Change(at_ms=rng.randrange(storm_ms), seat=seat) for seat in seats)


def _fills(rng: Random, honest: list[int], storm_ms: int) -> tuple[Fill, ...]:
    fills: list[Fill] = []
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        start = rng.randrange(storm_ms)
        fills.append(
            Fill(
                start_ms=start,
                end_ms=start + rng.randint(1, max(2, storm_ms // 4)),
                seat=rng.choice(honest),
            )
        )
    return tuple(fills)


# --- who comes and goes ---------------------------------------------------------------------------


def _come_and_go(regime: Regime, rng: Random) -> Regime:
    """States join and leave, as far as no committee on the way has more liars than it bears (`bears`)."""
    size, storm_ms = regime.size, regime.storm_ms
    settled = {change.seat for change in regime.changes}
    most = min(2, STATES_MAX - size) if size in JOINING_SIZES else 0
    joins = tuple(
        _joins(rng, size + number, storm_ms)
        for number in range(rng.randint(0, most) if most else 0)
    )
    candidates = [seat for seat in range(size) if seat not in settled]
    leaves = tuple(
        Change(at_ms=rng.randrange(storm_ms), seat=seat, what=What.LEAVES)
        for seat in rng.sample(candidates, min(len(candidates), rng.choice((0, 1, 1, 2))))
    )
    liars = regime.liars
    if joins and rng.random() < 0.3:  # a state that joins to do harm, or never starts its node
        liars += ((rng.choice(joins).seat, rng.choice(STRATEGIES)),)
    while not bears(size, liars, leaves):
        if leaves:
            leaves = leaves[:-1]
        else:
            liars = regime.liars  # nobody leaves, and founders' liars were few enough
    if not joins and not leaves:
        return regime
    seats = size + len(joins)
    return replace(
        regime,
        liars=liars,
        changes=(*regime.changes, *joins, *leaves),
        drifts_ppm=regime.drifts_ppm + tuple(rng.choice((0, 100, -2_000)) for _ in joins),
        skews_ms=regime.skews_ms + tuple(rng.choice((0, 0, 500, 30_000)) for _ in joins),
        cuts=regime.cuts + (_cuts(rng, seats, storm_ms) if regime.cuts else ()),
        crashes=regime.crashes + _absences(rng, regime, joins, leaves),
    )


def _joins(rng: Random, seat: int, storm_ms: int) -> Change:
    return Change(
        at_ms=rng.randrange(storm_ms),
        seat=seat,
        what=What.JOINS,
        boots_ms=rng.randrange(storm_ms),
        seat_first=rng.random() < 0.5,
    )


def bears(size: int, liars: tuple[tuple[int, str], ...], leaves: tuple[Change, ...]) -> bool:
    """Whether every committee on the way has at most f liars, in whatever order the changes take effect.

    The smallest has lost all honest who leave and none of the liars who do. Who joins as a liar makes it one larger.
    """
    byzantine = {seat for seat, _ in liars}
    joined = sum(seat >= size for seat in byzantine)
    gone = sum(change.seat not in byzantine for change in leaves)
    least = size - gone
    # Before such a liar has joined it counts neither among the members nor among the liars.
    return least >= 3 and all(
        len(byzantine) - joined + extra <= (least + extra - 1) // 3 for extra in (0, joined)
    )


def _absences(
    rng: Random, regime: Regime, joins: tuple[Change, ...], leaves: tuple[Change, ...]
) -> tuple[Crash, ...]:
    """Crashes of those who come and go, and one member that is away for most of the storm: through two epochs, if they come."""
    if not regime.crashes:
        return ()
    byzantine, storm_ms = regime.byzantine, regime.storm_ms
    kinds: list[str | Point] = ["power", "kill", "stop", *Point]
    concerned = [each.seat for each in (*joins, *leaves) if each.seat not in byzantine]
    crashes = [
        Crash(
            at_ms=rng.randrange(storm_ms),
            seat=rng.choice(concerned),
            how=rng.choice(kinds),
            down_ms=rng.choice((0, 200, rng.randint(0, storm_ms // 3))),
        )
        for _ in range(rng.choice((0, 1, 3)) if concerned else 0)
    ]
    if not byzantine and rng.random() < 0.5:
        away = rng.randrange(regime.size)
        crashes.append(Crash(at_ms=1_000, seat=away, how="power", down_ms=storm_ms))
    return tuple(crashes)

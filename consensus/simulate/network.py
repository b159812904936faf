"""Links between nodes: each message is lost, doubled, delayed, overtaken, or cut off, as a seed draws it.

Links are directed, so a cut may go one way only. A message met by a cut at sending is lost. After `heal` nothing is lost
any more and delays keep to the healed bound: what partial synchrony calls the time after GST.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from consensus.simulate.clock import Action, VirtualClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How links behave. Chances are per message, in thousandths."""

    delay_min_ms: int
    delay_max_ms: int
    loss: int = 0
    duplication: int = 0
    straggler: int = 0  # chance of `straggler_ms` instead
    straggler_ms: int = 0
    ordered: bool = False  # a later message never overtakes an earlier one of its link

    def __post_init__(self) -> None:
        if not 0 <= self.delay_min_ms <= self.delay_max_ms:
            raise ValueError(f"delays {self.delay_min_ms}..{self.delay_max_ms} ms: must ascend")


class Carrier(Protocol):
    """What a node needs of the network. Scripted schedules bring their own."""

    def send(self, source: int, target: int, arrive: Action) -> None: ...


class Network:
    def __init__(self, clock: VirtualClock, rng: Random, weather: Weather) -> None:
        self._clock = clock
        self._rng = rng
        self._weather = weather
        self._cut: dict[tuple[int, int], int] = {}  # cuts may overlap: counted
        self._slow: dict[tuple[int, int], int] = {}  # link -> extra delay
        self._latest: dict[tuple[int, int], int] = {}
        self.schedule: Callable[[int, int], int] | None = None  # extra delay of a link now
        self.sent = 0
        self.lost = 0

    def send(self, source: int, target: int, arrive: Action) -> None:
        self.sent += 1
        weather, draw = self._weather, self._rng.randrange
        link = (source, target)
        if link in self._cut or (weather.loss and draw(1000) < weather.loss):
            self.lost += 1
            return
        copies = 2 if weather.duplication and draw(1000) < weather.duplication else 1
        for _ in range(copies):
            delay = draw(weather.delay_min_ms, weather.delay_max_ms + 1)
            if weather.straggler and draw(1000) < weather.straggler:
                delay = weather.straggler_ms
            if self.schedule is not None:
                delay += self.schedule(source, target)
            at = self._clock.now_ms + delay + self._slow.get(link, 0)
            if weather.ordered:
                at = max(at, self._latest.get(link, 0))
                self._latest[link] = at
            self._clock.call_at(at, arrive)

    def is_cut(self, source: int, target: int) -> bool:
        return (source, target) in self._cut

    def cut(self, links: Iterable[tuple[int, int]]) -> Callable[[], None]:
        """Cut these links until the returned function is called."""
        kept = tuple(links)
        for link in kept:
            self._cut[link] = self._cut.get(link, 0) + 1

        def mend() -> None:
            for link in kept:
                count = self._cut.get(link, 0) - 1
                if count > 0:
                    self._cut[link] = count
                else:
                    self._cut.pop(link, None)

        return mend

    def slow(self, links: Iterable[tuple[int, int]], extra_ms: int) -> None:
        for link in links:
            self._slow[link] = extra_ms

    def drag(self, links: Iterable[tuple[int, int]], extra_ms: int) -> Callable[[], None]:
        """Make these links slower until the returned function is called, or all is healed; may overlap."""
        kept = tuple(links)
        for link in kept:
            self._slow[link] = self._slow.get(link, 0) + extra_ms

        def mend() -> None:
            for link in kept:
                self._slow[link] = max(0, self._slow.get(link, 0) - extra_ms)

        return mend

    def heal(self, weather: Weather) -> None:
        """From now on no cut, no slow link, and this weather; a schedule goes on."""
        self._weather = weather
        self._cut.clear()
        self._slow.clear()
        self._latest.clear()

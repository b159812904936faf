"""What every run in virtual time goes through: a storm, healing, recovery; and links that carry nothing, or carry late."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from consensus.simulate.clock import VirtualClock
from consensus.simulate.network import Network
from consensus.simulate.regime import Cut, Regime

Result = TypeVar("Result")
Link = tuple[int, int]  # source, target


class Story(ABC, Generic[Result]):
    """One run of a regime. Whoever inherits sets what stands here before `run`."""

    regime: Regime
    clock: VirtualClock
    network: Network
    steps: int  # events that cores took
    _storming: bool

    def run(self) -> Result:
        """Raises Violation, or the core's own AssertionError, with a note on how to see it again."""
        try:
            self.storm()
            self.heal()
            return self.recover()
        except AssertionError as error:
            error.add_note(self.replay_hint())
            raise

    def replay_hint(self) -> str:
        return (
            f"at {self.clock.now_ms} ms, step {self.steps}; {self.regime.describe()}\n"
            f"replay: python -m tests.simulation --seed {self.regime.seed:#x} --trace"
        )

    @abstractmethod
    def storm(self) -> None: ...

    @abstractmethod
    def heal(self) -> None: ...

    @abstractmethod
    def recover(self) -> Result: ...

    @abstractmethod
    def part(self, links: Sequence[Link]) -> None:
        """The senders are told that nobody reads them over these links any more."""

    @abstractmethod
    def rejoin(self, links: Sequence[Link]) -> None:
        """They are told that somebody does again."""

    def cut(self, cut: Cut) -> None:
        if not self._storming:
            return
        if cut.extra_ms:
            self.clock.call_at(cut.end_ms, self.network.drag(cut.links, cut.extra_ms))
            return
        mend = self.network.cut(cut.links)
        if cut.noticed:
            self.part(cut.links)

        def end() -> None:
            if self._storming:
                mend()
                self.rejoin(cut.links)

        self.clock.call_at(cut.end_ms, end)

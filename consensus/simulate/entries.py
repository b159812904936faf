"""A cluster whose honest nodes are handed entries, each watched until it is ordered at every honest node.

    cluster = EntryCluster(regime, entries=3, every_ms=300)
    cluster.give(); cluster.storm(); cluster.wait(deadline_ms)

An entry's way is measured in rounds: from the round of the block that carries it to the round in which the last honest node was
when it ordered it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from consensus.events import Accuse, Alarm, CommitDecided, Reject, Trouble
from consensus.simulate.cluster import Cluster, MakeCore, shipping_core
from consensus.simulate.regime import Regime
from consensus.types import Block

FIRST_DELTAS: Final = 4  # a few rounds of running in come first


@dataclass(slots=True)
class Entry:
    """One entry handed to one honest node."""

    node: int
    given_ms: int
    carried: int = 0  # round of the block that carried it into the log; 0: not there yet
    ordered: dict[int, tuple[int, int]] = field(
        default_factory=dict
    )  # node -> (the round it was in, virtual ms) when it ordered it

    def rounds(self, nodes: Iterable[int]) -> int:
        """From the block that carried it to the order at the last of these nodes."""
        return max(self.ordered[node][0] for node in nodes) - self.carried

    def waited_ms(self, nodes: Iterable[int]) -> int:
        """From handing over to the order at the last of these nodes."""
        return max(self.ordered[node][1] for node in nodes) - self.given_ms


class EntryCluster(Cluster):
    """Every honest node is handed `entries` entries, `every_ms` apart, the nodes one after the other."""

    def __init__(
        self,
        regime: Regime,
        *,
        entries: int,
        every_ms: int,
        givers: Iterable[int] | None = None,
        alarms_are_answers: bool = False,
        make: MakeCore = shipping_core,
    ) -> None:
        super().__init__(regime, make=make)
        self.entries: dict[bytes, Entry] = {}
        self.forks_noticed: dict[int, str] = {}  # node -> why it stopped
        self._number = entries
        self._every_ms = every_ms
        self._givers = tuple(regime.honest if givers is None else givers)
        self._alarms_are_answers = alarms_are_answers
        self._news = False  # something was ordered
        self._round_of: dict[int, int] = {}  # node -> its newest own block's round

    def give(self) -> int:
        """Lay out all entries in time; when the last is given."""
        first = FIRST_DELTAS * self.regime.parameters.delta_ms
        last = first
        for turn in range(self._number):
            for place, index in enumerate(self._givers):
                at = first + turn * self._every_ms + place * self._every_ms // len(self._givers)
                self.clock.call_at(at, partial(self._hand_over, index, turn + 1))
                last = max(last, at)
        return last

    def _hand_over(self, index: int, number: int) -> None:
        # Noted first: a node may propose at once.
        self.entries[f"{index}/{number}".encode()] = Entry(index, self.clock.now_ms)
        self.nodes[index].submit()

    def wait(self, deadline_ms: int, nodes: Iterable[int]) -> bool:
        """Whether, by `deadline_ms`, every entry given to one of `nodes` is ordered at all of `nodes`."""
        among = frozenset(nodes)

        def done() -> bool:
            if not self._news:
                return False  # looked at after every event, and nothing was ordered since
            self._news = False
            expected = self._number * len(self._givers)
            return len(self.entries) == expected and not self.unordered(among)

        self._news = True
        return self.clock.run(deadline_ms, done)

    def unordered(self, nodes: Iterable[int]) -> list[Entry]:
        """Entries given to one of `nodes` that at least one of them has not ordered."""
        among = frozenset(nodes)
        return [
            entry
            for entry in self.entries.values()
            if entry.node in among and not among <= entry.ordered.keys()
        ]

    # What the nodes report (`node.Watch`)

    def persisted(self, node: int, block: Block) -> None:
        self._round_of[node] = block.ref.round
        super().persisted(node, block)

    def decided(self, node: int, effect: CommitDecided) -> None:
        super().decided(node, effect)
        self._news = True
        leader = effect.record.commit.leader
        for block in effect.blocks:
            for payload in block.payload:
                entry = self.entries.get(payload)
                if entry is None or node in entry.ordered:
                    continue
                entry.carried = block.ref.round
                here = max(self._round_of.get(node, 0), leader.round)
                entry.ordered[node] = (here, self.clock.now_ms)

    def said(self, node: int, effect: Reject | Accuse | Alarm) -> None:
        """Where more than f lie, a node that notices it and stops does what it should."""
        if self._alarms_are_answers and isinstance(effect, Alarm):
            if effect.trouble is Trouble.FORK:
                self.forks_noticed[node] = effect.detail
            return
        super().said(node, effect)

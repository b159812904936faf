"""Who has which of our accepted blocks, and what to push to whom (SPEC 5 B1 and B2, PACEMAKER P1 and P6).

Every accepted block that a peer may lack is pushed, referenced or not. What a peer has: its own blocks with their whole
history, what it sent, and what we sent. An own block goes out at once; blocks of others after `history_delay_ms` (0: at once,
the Push variant), by when most peers have shown that they have them. A peer that is not connected is owed nothing: on
connecting it is owed what it has not shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from consensus.dag import Dag
from consensus.types import (
    HEADER_BYTES_FIXED,
    Block,
    Millis,
    Parameters,
    Ref,
    Round,
    ValidatorIndex,
)


@dataclass(slots=True)
class _Owed:
    """What one connected peer may lack, each with the time at which it is due.

    `history` stands in order of falling due: time does not run backwards, and the delay is one for all. So what is due first is
    found without looking at the rest, of which there is much in a large committee.
    """

    own: dict[Ref, Millis] = field(default_factory=dict)  # due when accepted
    history: dict[Ref, Millis] = field(default_factory=dict)
    rounds: dict[Round, int] = field(default_factory=dict)  # how many stand in each round

    def add(self, ref: Ref, at: Millis, *, is_own: bool) -> None:
        (self.own if is_own else self.history)[ref] = at
        self.rounds[ref.round] = self.rounds.get(ref.round, 0) + 1

    def discard(self, ref: Ref) -> bool:
        """Whether it was there."""
        if self.history.pop(ref, None) is None and self.own.pop(ref, None) is None:
            return False
        left = self.rounds[ref.round] - 1
        if left:
            self.rounds[ref.round] = left
        else:
            del self.rounds[ref.round]
        return True

    def has_below(self, round_: Round) -> bool:
        return any(each < round_ for each in self.rounds)

    def next_due(self) -> Millis | None:
        first = [next(iter(waiting.values())) for waiting in (self.own, self.history) if waiting]
        return min(first, default=None)

    def due(self, now: Millis) -> list[Ref]:
        """Ascending by ref."""
        found = list(_first_due(self.own, now))
        found += _first_due(self.history, now)
        return sorted(found)


def _first_due(waiting: dict[Ref, Millis], now: Millis) -> Iterator[Ref]:
    """The first of a table in order of falling due, up to the first that is not due yet."""
    for ref, at in waiting.items():
        if at > now:
            return
        yield ref


class Dissemination:
    """The size of each block of the DAG; for each connected peer the blocks that it may lack. What it is not owed, it has."""

    def __init__(self, dag: Dag, own: ValidatorIndex, parameters: Parameters) -> None:
        self._dag = dag
        self._own = own
        self._parameters = parameters
        self._sizes: dict[Round, dict[Ref, int]] = {}  # bytes, about
        self._owed: dict[ValidatorIndex, _Owed] = {}
        self._next_due: Millis | None = None
        self._is_stale = (
            False  # `_next_due` is to be found anew: looked at twice an event, over all peers
        )

    @property
    def peers(self) -> list[ValidatorIndex]:
        """Those connected, ascending."""
        return sorted(self._owed)

    def accepted(self, block: Block, sender: ValidatorIndex | None, now: Millis) -> None:
        """A block came into the DAG; `sender` gave it to us, if anybody did."""
        ref = block.ref
        size = block.header.payload_len + HEADER_BYTES_FIXED // 8 + 40 * len(block.header.parents)
        self._sizes.setdefault(ref.round, {})[ref] = size
        self._is_stale = True
        is_own = ref.author == self._own
        at = now if is_own else Millis(now + self._parameters.history_delay_ms)
        for owed in self._owed.values():
            owed.add(ref, at, is_own=is_own)
        for peer in {ref.author: None, sender: None}:
            if peer is not None and peer != self._own:
                self.shown(peer, ref)

    def shown(self, peer: ValidatorIndex, ref: Ref) -> None:
        """The peer has this accepted block, hence its history."""
        owed = self._owed.get(peer)
        if owed is None:
            return  # not connected: what it has is asked anew when it is
        self._is_stale = True
        pending = [ref]
        while pending:
            name = pending.pop()
            if not owed.discard(name) or not owed.has_below(name.round):
                continue  # known, hence its history; or there is nothing left that its history could settle
            node = self._dag.node(name)
            if node is not None:
                pending.extend(node.parents)

    def connect(self, peer: ValidatorIndex, now: Millis) -> None:
        """Nothing sent before is sure to have arrived: owed is all that the peer's own blocks do not imply."""
        self._is_stale = True
        owed = self._owed[peer] = _Owed()
        listed = sorted(ref for refs in self._sizes.values() for ref in refs)
        for ref in listed:
            owed.add(ref, now, is_own=ref.author == self._own)
        for ref in listed:
            if ref.author == peer:
                self.shown(peer, ref)

    def disconnect(self, peer: ValidatorIndex) -> None:
        self._is_stale = True
        self._owed.pop(peer, None)

    def bundle(
        self, peer: ValidatorIndex, now: Millis, *, with_block: Ref | None
    ) -> tuple[Ref, ...]:
        """What to push to the peer now, ascending; it counts as known to it from here on.

        `with_block`, our newest, is sent again even if the peer is thought to have it. Empty if there is nothing to send.
        A peer that lacks more than a bundle holds gets the lowest of it, which it can accept, and `with_block`, by which it sees
        how far behind it is and asks for ranges.
        """
        owed = self._owed.get(peer) or _Owed()
        chosen: list[Ref] = []
        room = self._parameters.bundle_bytes_max
        if with_block is not None and (size := self._size(with_block)) is not None:
            room -= size
            chosen.append(with_block)
        for ref in owed.due(now):
            if ref == with_block:
                continue
            room -= self._sizes[ref.round][ref]
            if room < 0 or len(chosen) >= self._parameters.bundle_blocks_max:
                break
            chosen.append(ref)
        self._is_stale = True
        for ref in chosen:
            owed.discard(ref)
        return tuple(sorted(chosen))

    def _size(self, ref: Ref) -> int | None:
        return self._sizes.get(ref.round, {}).get(ref)

    def next_due(self) -> Millis | None:
        """When something owed falls due next."""
        if self._is_stale:
            times = [owed.next_due() for owed in self._owed.values()]
            self._next_due = min((at for at in times if at is not None), default=None)
            self._is_stale = False
        return self._next_due

    def raise_floor(self, floor: Round) -> None:
        """Void or committed long ago: whoever lacks these asks for them."""
        self._is_stale = True
        for round_ in [round_ for round_ in self._sizes if round_ <= floor]:
            for ref in self._sizes.pop(round_):
                for owed in self._owed.values():
                    if round_ in owed.rounds:
                        owed.discard(ref)

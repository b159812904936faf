"""Who has which of our accepted blocks, and what to push to whom (SPEC 5 B1 and B2, PACEMAKER P1 and P6).

Every accepted block that a peer may lack is pushed, referenced or not. What a peer has: its own blocks with their whole
history, what it sent, and what we sent. An own block goes out at once; blocks of others after `history_delay_ms` (0: at once,
the Push variant), by when most peers have shown that they have them. A peer that is not connected is owed nothing: on
connecting it is owed what it has not shown.
"""

from dataclasses import dataclass

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
class _Spread:
    known: int  # mask of those who have the block, as far as we know
    size: int  # bytes, about


class Dissemination:
    """One entry for each block of the DAG; for each connected peer those it may lack, oldest first."""

    def __init__(self, dag: Dag, own: ValidatorIndex, parameters: Parameters) -> None:
        self._dag = dag
        self._own = own
        self._parameters = parameters
        self._spread: dict[Ref, _Spread] = {}
        self._owed: dict[ValidatorIndex, dict[Ref, Millis]] = {}  # peer -> block -> when to push it

    @property
    def peers(self) -> list[ValidatorIndex]:
        """Those connected, ascending."""
        return sorted(self._owed)

    def accepted(self, block: Block, sender: ValidatorIndex | None, now: Millis) -> None:
        """A block came into the DAG; `sender` gave it to us, if anybody did."""
        ref = block.ref
        size = block.header.payload_len + HEADER_BYTES_FIXED // 8 + 40 * len(block.header.parents)
        self._spread[ref] = _Spread(known=1 << self._own, size=size)
        delay = 0 if ref.author == self._own else self._parameters.history_delay_ms
        for owed in self._owed.values():
            owed[ref] = Millis(now + delay)
        for peer in {ref.author: None, sender: None}:
            if peer is not None and peer != self._own:
                self.shown(peer, ref)

    def shown(self, peer: ValidatorIndex, ref: Ref) -> None:
        """The peer has this accepted block, hence its history."""
        bit = 1 << peer
        owed = self._owed.get(peer, {})
        pending = [ref]
        while pending:
            name = pending.pop()
            spread = self._spread.get(name)
            if spread is None or spread.known & bit:
                continue
            spread.known |= bit
            owed.pop(name, None)
            node = self._dag.node(name)
            if node is not None:
                pending.extend(node.parents)

    def connect(self, peer: ValidatorIndex, now: Millis) -> None:
        """Nothing sent before is sure to have arrived: owed is all that the peer's own blocks do not imply."""
        bit = 1 << peer
        mine: list[Ref] = []
        for ref, spread in self._spread.items():
            spread.known &= ~bit
            if ref.author == peer:
                mine.append(ref)
        self._owed[peer] = dict.fromkeys(sorted(self._spread), now)
        for ref in mine:
            self.shown(peer, ref)

    def disconnect(self, peer: ValidatorIndex) -> None:
        self._owed.pop(peer, None)

    def bundle(
        self, peer: ValidatorIndex, now: Millis, *, with_block: Ref | None
    ) -> tuple[Ref, ...]:
        """What to push to the peer now, ascending; it counts as known to it from here on.

        `with_block`, our newest, is sent again even if the peer is thought to have it. Empty if there is nothing to send.
        A peer that lacks more than a bundle holds gets the lowest of it, which it can accept, and `with_block`, by which it sees
        how far behind it is and asks for ranges.
        """
        owed = self._owed.get(peer, {})
        due = sorted(ref for ref, at in owed.items() if at <= now and ref != with_block)
        chosen: list[Ref] = []
        room = self._parameters.bundle_bytes_max
        if with_block is not None and (spread := self._spread.get(with_block)) is not None:
            room -= spread.size
            chosen.append(with_block)
        for ref in due:
            room -= self._spread[ref].size
            if room < 0 or len(chosen) >= self._parameters.bundle_blocks_max:
                break
            chosen.append(ref)
        bit = 1 << peer
        for ref in chosen:
            self._spread[ref].known |= bit
            owed.pop(ref, None)
        return tuple(sorted(chosen))

    def next_due(self) -> Millis | None:
        """When something owed falls due next."""
        return min((min(owed.values()) for owed in self._owed.values() if owed), default=None)

    def raise_floor(self, floor: Round) -> None:
        """Void or committed long ago: whoever lacks these asks for them."""
        gone = [ref for ref in self._spread if ref.round <= floor]
        for ref in gone:
            del self._spread[ref]
            for owed in self._owed.values():
                owed.pop(ref, None)

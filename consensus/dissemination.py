"""Who has which of our accepted blocks, and what to push to whom (SPEC 5 B1 and B2, PACEMAKER P1 and P6).

Every accepted block that a peer may lack is pushed, referenced or not. What a peer has: its own blocks with their whole
history, what it sent, and what we sent. An own block goes out at once; blocks of others after `history_delay_ms` (0: at once,
the Push variant), by when most peers have shown that they have them. A peer that is not connected is owed nothing: on
connecting it is owed what it has not shown.

In a committee of n, n blocks a round each tell about n others, and n peers may lack each of them. So a round's blocks are bits,
and what is done for each of n^2 pairs is one operation on masks of n bits (decision 0164 has the figures).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from consensus.dag import Dag, Node
from consensus.types import (
    GENESIS_ROUND,
    HEADER_BYTES_FIXED,
    Block,
    Millis,
    Parameters,
    Ref,
    Round,
    ValidatorIndex,
)

OVERDUE: Final = Millis(0)


@dataclass(slots=True)
class _RoundTable:
    """The accepted blocks of one round, each a bit: 1 << author for an author's first, higher ones for its further variants."""

    bits: dict[Ref, int] = field(default_factory=dict)
    refs: dict[int, Ref] = field(default_factory=dict)  # bit -> block
    sizes: dict[Ref, int] = field(default_factory=dict)  # bytes, about
    all: int = 0  # mask of the blocks that are here
    due: int = 0  # mask of those that whoever lacks them is to be sent

    def add(self, ref: Ref, size: int, members: int) -> int:
        """Returns the block's bit."""
        bit = 1 << ref.author
        if self.all & bit:
            bit = 1 << members + len(self.bits)
        self.bits[ref] = bit
        self.refs[bit] = ref
        self.sizes[ref] = size
        self.all |= bit
        return bit

    def named(self, mask: int) -> Iterator[Ref]:
        while mask:
            bit = mask & -mask
            yield self.refs[bit]
            mask ^= bit


@dataclass(slots=True)
class _Peer:
    """What one connected peer has, as far as it showed or we sent it: masks of the rounds' tables."""

    has: dict[Round, int] = field(default_factory=dict)
    eager: dict[Round, int] = field(default_factory=dict)  # due when it connected, whatever is else
    low: Round = GENESIS_ROUND  # it has every block of the rounds below


class Dissemination:
    """For each connected peer the blocks that it may lack. What it is not owed, it has."""

    def __init__(self, dag: Dag, own: ValidatorIndex, parameters: Parameters) -> None:
        self._dag = dag
        self._own = own
        self._parameters = parameters
        self._rounds: dict[Round, _RoundTable] = {}
        self._top = GENESIS_ROUND  # the highest round with a table, ever
        self._peers: dict[ValidatorIndex, _Peer] = {}
        self._names: tuple[ValidatorIndex, ...] = ()
        # Others' blocks that are not due yet, in order of falling due: time does not run backwards, and the delay is one for all.
        self._coming: deque[tuple[Millis, Ref]] = deque()
        self._maybe_owed = False  # somebody may lack what is due
        self._low_at_most = GENESIS_ROUND  # no peer's `low` is above

    @property
    def peers(self) -> tuple[ValidatorIndex, ...]:
        """Those connected, ascending."""
        return self._names

    # --- what peers have -------------------------------------------------------------------------

    def accepted(self, block: Block, sender: ValidatorIndex | None, now: Millis) -> None:
        """A block came into the DAG; `sender` gave it to us, if anybody did."""
        ref = block.ref
        size = block.header.payload_len + HEADER_BYTES_FIXED // 8 + 40 * len(block.header.parents)
        table = self._rounds.setdefault(ref.round, _RoundTable())
        bit = table.add(ref, size, self._dag.committee.size)
        self._top = max(self._top, ref.round)
        if ref.round < self._low_at_most:
            for peer in self._peers.values():
                peer.low = min(peer.low, ref.round)
            self._low_at_most = ref.round
        delay = 0 if ref.author == self._own else self._parameters.history_delay_ms
        if delay:
            self._coming.append((Millis(now + delay), ref))
        else:
            table.due |= bit
            self._maybe_owed = True
        for name in {ref.author: None, sender: None}:
            if name is not None and name != self._own:
                self.shown(name, ref)

    def shown(self, peer: ValidatorIndex, ref: Ref) -> None:
        """The peer has this accepted block, hence its history."""
        known = self._peers.get(peer)
        if known is None:
            return  # not connected: what it has is asked anew when it is
        table = self._rounds.get(ref.round)
        bit = table.bits.get(ref, 0) if table is not None else 0
        gained = {ref.round: bit & ~known.has.get(ref.round, 0)}
        while gained:
            round_ = max(gained)
            mask = gained.pop(round_)
            if not mask:
                continue  # known, hence its history
            known.has[round_] = known.has.get(round_, 0) | mask
            if self._lowest(known) >= round_:
                continue  # there is nothing left that its history could settle
            for node in self._nodes(round_, mask):
                self._gain(known, node, gained)

    def _nodes(self, round_: Round, mask: int) -> Iterator[Node]:
        for ref in self._rounds[round_].named(mask):
            node = self._dag.node(ref)
            if node is not None:
                yield node

    def _gain(self, known: _Peer, node: Node, gained: dict[Round, int]) -> None:
        """Note which parents of a block that the peer has are new of it."""
        below = Round(node.ref.round - 1)
        table = self._rounds.get(below)
        parents = node.older
        if table is not None and not self._dag.has_variants(below):
            new = node.before & table.all & ~known.has.get(below, 0)
            if new:
                gained[below] = gained.get(below, 0) | new
        else:
            parents = node.parents  # a mask of authors does not name blocks there
        for parent in parents:
            older = self._rounds.get(parent.round)
            bit = older.bits.get(parent, 0) if older is not None else 0
            if bit & ~known.has.get(parent.round, 0):
                gained[parent.round] = gained.get(parent.round, 0) | bit

    def _lowest(self, known: _Peer) -> Round:
        """The lowest round of which the peer may lack a block; above all rounds if it lacks none."""
        low = known.low
        while low <= self._top:
            table = self._rounds.get(low)
            if table is not None and table.all & ~known.has.get(low, 0):
                break
            low = Round(low + 1)
        known.low = low
        self._low_at_most = max(self._low_at_most, low)
        return low

    def connect(self, peer: ValidatorIndex, now: Millis) -> None:  # noqa: ARG002 - what it lacks is due at once, whatever the time
        """Nothing sent before is sure to have arrived: owed is all that the peer's own blocks do not imply."""
        known = _Peer(low=min(self._rounds, default=self._top))
        known.eager = {round_: table.all for round_, table in self._rounds.items()}
        self._peers[peer] = known
        self._names = tuple(sorted(self._peers))
        self._maybe_owed = True
        for ref in sorted(
            ref for table in self._rounds.values() for ref in table.bits if ref.author == peer
        ):
            self.shown(peer, ref)

    def disconnect(self, peer: ValidatorIndex) -> None:
        self._peers.pop(peer, None)
        self._names = tuple(sorted(self._peers))

    # --- what to send ----------------------------------------------------------------------------

    def bundle(
        self, peer: ValidatorIndex, now: Millis, *, with_block: Ref | None
    ) -> tuple[Ref, ...]:
        """What to push to the peer now, ascending; it counts as known to it from here on.

        `with_block`, our newest, is sent again even if the peer is thought to have it. Empty if there is nothing to send.
        A peer that lacks more than a bundle holds gets the lowest of it, which it can accept, and `with_block`, by which it sees
        how far behind it is and asks for ranges.
        """
        self._ripen(now)
        known = self._peers.get(peer) or _Peer(low=Round(self._top + 1))
        chosen: list[Ref] = []
        room = self._parameters.bundle_bytes_max
        if with_block is not None and (size := self._size(with_block)) is not None:
            room -= size
            chosen.append(with_block)
        for ref in self._owed(known):
            if ref == with_block:
                continue
            room -= self._rounds[ref.round].sizes[ref]
            if room < 0 or len(chosen) >= self._parameters.bundle_blocks_max:
                break
            chosen.append(ref)
        for ref in chosen:
            bit = self._rounds[ref.round].bits[ref]
            known.has[ref.round] = known.has.get(ref.round, 0) | bit
        return tuple(sorted(chosen))

    def _size(self, ref: Ref) -> int | None:
        table = self._rounds.get(ref.round)
        return table.sizes.get(ref) if table is not None else None

    def _owed(self, known: _Peer) -> Iterator[Ref]:
        """What the peer may lack and is due, ascending."""
        for round_ in range(self._lowest(known), self._top + 1):
            table = self._rounds.get(Round(round_))
            if table is not None and (mask := self._owed_of(known, Round(round_), table)):
                yield from sorted(table.named(mask))

    def _owed_of(self, known: _Peer, round_: Round, table: _RoundTable) -> int:
        due = table.due | known.eager.get(round_, 0)
        return due & ~known.has.get(round_, 0)

    def _ripen(self, now: Millis) -> None:
        """What fell due is due; and of what comes next, what everybody has needs no look when its time is there."""
        coming = self._coming
        if not coming or coming[0][0] > now:
            return
        while coming and coming[0][0] <= now:
            _, ref = coming.popleft()
            table = self._rounds.get(ref.round)
            if table is not None:
                table.due |= table.bits[ref]
        self._maybe_owed = True
        round_, shared = GENESIS_ROUND, 0
        while coming:
            ref = coming[0][1]
            table = self._rounds.get(ref.round)
            if table is not None:  # else void by now
                if ref.round != round_:
                    round_, shared = ref.round, self._everybody_has(ref.round)
                if not table.bits[ref] & shared:
                    return
            coming.popleft()

    def _everybody_has(self, round_: Round) -> int:
        """Mask of the blocks of a round that no connected peer lacks."""
        shared = self._rounds[round_].all
        for known in self._peers.values():
            shared &= known.has.get(round_, 0)
        return shared

    def next_due(self) -> Millis | None:
        """When something falls due next that a peer may lack; OVERDUE while somebody is owed something already.

        It may be too early, never too late: whether anybody lacks the first of what comes is seen when its time is there.
        """
        if self._maybe_owed:
            if any(self._is_owed(known) for known in self._peers.values()):
                return OVERDUE
            self._maybe_owed = False
        return self._coming[0][0] if self._coming and self._peers else None

    def _is_owed(self, known: _Peer) -> bool:
        return next(self._owed(known), None) is not None

    def raise_floor(self, floor: Round) -> None:
        """Void or committed long ago: whoever lacks these asks for them."""
        for round_ in [round_ for round_ in self._rounds if round_ <= floor]:
            del self._rounds[round_]
            for known in self._peers.values():
                known.has.pop(round_, None)
                known.eager.pop(round_, None)
        for known in self._peers.values():
            known.low = max(known.low, Round(floor + 1))
        self._low_at_most = max(self._low_at_most, Round(floor + 1))

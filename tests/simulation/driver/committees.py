"""Who validates in which epoch, read off the logs of honest nodes (SPEC 14, RULINGS R44, decisions 0130 and 0133).

Nothing here calls the code under test: an epoch record is CBOR by `proto/foedus/v1/records.cddl`, and of the entries it names it
is enough which of a state's keys they hold. A seat of the simulation is a state for its whole life; what stands in blocks and
cosignatures is an index, and belongs to one epoch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cbor2

from consensus.simulate.checkers import Violation

EPOCH_RECORD: Final = b"\x64type\x65epoch"  # "type": "epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Committee:
    """One epoch's validators, by index."""

    number: int
    after_size: int  # entries of the log before it: its members cosign larger sizes
    seats: tuple[int, ...]
    block_keys: tuple[bytes, ...]

    @property
    def faults(self) -> int:
        return (len(self.seats) - 1) // 3

    @property
    def quorum(self) -> int:
        return 2 * len(self.seats) // 3 + 1

    def index_of(self, seat: int) -> int | None:
        return self.seats.index(seat) if seat in self.seats else None


class Committees:
    """All epochs so far, the same for every honest node."""

    def __init__(
        self, states: Sequence[str], keys: Sequence[tuple[bytes, ...]], founders: int
    ) -> None:
        """By seat: its state, and the block keys that it may declare, the founding one first."""
        self._states = list(states)
        self._keys = keys
        founding = Committee(
            number=0,
            after_size=0,
            seats=tuple(range(founders)),
            block_keys=tuple(own[0] for own in keys[:founders]),
        )
        self.all = [founding]

    @property
    def newest(self) -> Committee:
        return self.all[-1]

    def of_epoch(self, number: int) -> Committee:
        if number >= len(self.all):
            raise Violation(f"epoch {number}: no honest log has a record that begins it")
        return self.all[number]

    def of_size(self, size: int) -> Committee:
        """Whose members cosign a log of this size."""
        return next(
            each for each in reversed(self.all) if size > each.after_size or not each.number
        )

    def leaf(self, node: int, at: int, leaf: bytes, read: Callable[[int], bytes]) -> None:
        """An honest log takes this entry; `read` gives those before it."""
        if EPOCH_RECORD not in leaf:
            return
        record = cbor2.loads(leaf)
        if not isinstance(record, dict) or record.get("type") != "epoch":
            return
        found = self._committee(record["epoch"], record["members"], at, read)
        if found.number < len(self.all):
            if found != self.all[found.number]:
                raise Violation(f"node {node}: epoch {found.number} has {found.seats} after {at}")
            return
        if found.number != len(self.all):
            raise Violation(f"node {node}: epoch {found.number} after {len(self.all) - 1}")
        self._follows(found)
        self.all.append(found)

    def _committee(
        self, number: int, members: list[list[object]], at: int, read: Callable[[int], bytes]
    ) -> Committee:
        seats, keys = [], []
        for state, place in members:
            seat = self._states.index(str(state))
            assert isinstance(place, int)
            declared = self._keys[seat][:1] if not place else self._keys[seat]
            seats.append(seat)
            keys += [key for key in declared if not place or key in read(place)]
        if len(keys) != len(seats):
            raise Violation(f"epoch {number}: {len(keys)} keys of {len(seats)} members")
        return Committee(
            number=number,
            after_size=at + 2,  # the record, and the commit record right behind it
            seats=tuple(seats),
            block_keys=tuple(keys),
        )

    def _follows(self, following: Committee) -> None:
        """In order of states, each once, and so few new seats that the others are a quorum."""
        states = [self._states[seat] for seat in following.seats]
        if states != sorted(set(states)):
            raise Violation(f"epoch {following.number}: validators {states}, not in order")
        held = dict(zip(self.newest.seats, self.newest.block_keys, strict=True))
        fresh = sum(
            held.get(seat) != key
            for seat, key in zip(following.seats, following.block_keys, strict=True)
        )
        if fresh > max(1, following.faults):
            raise Violation(
                f"epoch {following.number}: {fresh} seats are new, f {following.faults}"
            )

"""Blocks that cannot be accepted yet because a parent is missing, and the names of what is missing (SPEC 4 and 13).

Bounds, since everything here comes from peers: at most GC_DEPTH blocks of one author, SUSPENDED_PER_MEMBER * n in all,
`payload_bytes_max` bytes of payload, MISSING_MAX names. Over a bound the block of the highest round goes: it can be fetched again
when its parents are here, and the lower ones are what acceptance waits for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from consensus.dag import Dag
from consensus.types import GC_DEPTH, Ref, Round, ValidatorIndex, VerifiedBlock

SUSPENDED_PER_MEMBER: Final = 64
MISSING_MAX: Final = 8_192


@dataclass(slots=True)
class _Suspended:
    block: VerifiedBlock
    holder: ValidatorIndex  # who gave it to us, and so should have its parents
    lacks: set[
        Ref
    ]  # parents neither accepted nor at or below the floor; only its size and members are asked


class WaitingRoom:
    """Suspended blocks by ref, and by what each waits for."""

    def __init__(self, dag: Dag, *, payload_bytes_max: int) -> None:
        self._dag = dag
        self._payload_bytes_max = payload_bytes_max
        self._payload_bytes = 0
        self._held: dict[Ref, _Suspended] = {}
        self._waiting_for: dict[Ref, dict[Ref, None]] = {}  # missing -> those that wait for it
        self._of_author: dict[ValidatorIndex, int] = {}  # how many are held
        self._variants: dict[tuple[Round, ValidatorIndex], int] = {}  # held, by slot
        self._suspended_max = SUSPENDED_PER_MEMBER * dag.committee.size

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._held

    @property
    def missing(self) -> Iterator[Ref]:
        """What nobody gave us yet, in the order in which it came to be missed."""
        return (ref for ref in self._waiting_for if ref not in self._held)

    def is_missing(self, ref: Ref) -> bool:
        """True of a parent of a suspended block that is itself neither accepted nor held."""
        return ref in self._waiting_for and ref not in self._held

    def giver(self, ref: Ref) -> ValidatorIndex:
        """Who gave us the first block that waits for this missing one, and so should have it."""
        return self._held[next(iter(self._waiting_for[ref]))].holder

    def needed_by_another(self, ref: Ref) -> bool:
        """True if a suspended block of another author needs it: names it, or a suspended block of its author that needs it.

        PACEMAKER P2 speaks of the first alone. But who votes for an equivocator's block needs the chain below it as well, and a
        variant refused there would halt everybody just so.
        """
        pending = [ref]
        while pending:  # upward in rounds, each block of one author hangs on one parent of its own: it ends, without repeats
            for waiting in self._waiting_for.get(pending.pop(), ()):
                if waiting.author != ref.author:
                    return True
                pending.append(waiting)
        return False

    def variants(self, round_: Round, author: ValidatorIndex) -> int:
        """Blocks of this slot that are held."""
        return self._variants.get((round_, author), 0)

    def hold(self, block: VerifiedBlock, holder: ValidatorIndex) -> None:
        """Keep a block some of whose parents are missing. It may be dropped at once, or drop another: see the bounds."""
        ref = block.block.ref
        assert ref not in self._held, f"suspended twice: {ref}"
        lacks = {parent for parent in block.block.header.parents if not self._dag.has(parent)}
        assert lacks, f"{ref} lacks nothing"
        self._held[ref] = _Suspended(block, holder, lacks)
        for parent in block.block.header.parents:
            if parent in lacks:
                self._waiting_for.setdefault(parent, {})[ref] = None
        self._count(ref, block, 1)
        while self._of_author[ref.author] > GC_DEPTH:
            self._drop(max(held for held in self._held if held.author == ref.author))
            if ref not in self._held:
                return
        while (
            len(self._held) > self._suspended_max
            or self._payload_bytes > self._payload_bytes_max
            or len(self._waiting_for) > MISSING_MAX
        ):
            self._drop(max(self._held))

    def accepted(self, ref: Ref) -> list[tuple[VerifiedBlock, ValidatorIndex]]:
        """`ref` is in the DAG now. Takes out those that lack nothing any more: ascending, each with who gave it."""
        return self._arrived([ref])

    def floor_raised(self) -> list[tuple[VerifiedBlock, ValidatorIndex]]:
        """The DAG's floor rose: blocks at or below it are void, parents there count as present. As `accepted`."""
        floor = self._dag.floor
        for ref in [held for held in self._held if held.round <= floor]:
            self._drop(ref)
        return self._arrived([ref for ref in self._waiting_for if ref.round <= floor])

    def _arrived(self, refs: list[Ref]) -> list[tuple[VerifiedBlock, ValidatorIndex]]:
        complete: list[tuple[VerifiedBlock, ValidatorIndex]] = []
        for ref in refs:
            for waiting in self._waiting_for.pop(ref, ()):
                suspended = self._held[waiting]
                suspended.lacks.discard(ref)
                if not suspended.lacks:
                    del self._held[waiting]
                    self._count(waiting, suspended.block, -1)
                    complete.append((suspended.block, suspended.holder))
        return sorted(complete, key=lambda pair: pair[0].block.ref)

    def _drop(self, ref: Ref) -> None:
        suspended = self._held.pop(ref)
        for parent in suspended.lacks:
            waiting = self._waiting_for[parent]
            del waiting[ref]
            if not waiting:
                del self._waiting_for[parent]
        self._count(ref, suspended.block, -1)

    def _count(self, ref: Ref, block: VerifiedBlock, by: int) -> None:
        self._payload_bytes += by * block.block.header.payload_len
        _add(self._of_author, ref.author, by)
        _add(self._variants, (ref.round, ref.author), by)


_Key = TypeVar("_Key")


def _add(counts: dict[_Key, int], key: _Key, by: int) -> None:
    count = counts.get(key, 0) + by
    if count:
        counts[key] = count
    else:
        counts.pop(key, None)

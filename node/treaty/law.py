"""The law as a state machine: entries and time in, decisions, findings and case steps out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from node.treaty.codes import Code
from node.treaty.derived import Derived, VetoCheck
from node.treaty.entries import Entry, EntryFacts, EntryIndex
from node.treaty.genesis import GenesisFacts


class RegisteredKey(NamedTuple):
    """A key in force now."""

    public_key: bytes  # Ed25519, 32 bytes
    purpose: str  # "author" or "vote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one entry.

    Append the entry exactly if `facts` is given; then append `derived` after it, in order (a
    rejected entry's first is its Rejected). Without facts the code is one of `codes.DROPPED`.
    """

    code: Code | None  # None: accepted
    why: str  # for a person; empty if accepted
    facts: EntryFacts | None  # the row the ledger keeps for it
    derived: tuple[Derived, ...]
    uncountersigned: bool = False


class Law:
    """Equal genesis and equal calls give equal outcomes, records and state."""

    @classmethod
    def at_genesis(cls, genesis: GenesisFacts, index: EntryIndex) -> "Law":
        """The law before its first commit. Its first `advance` yields the VetoCheck. Raises InvalidPolicy."""
        raise NotImplementedError

    @classmethod
    def restore(
        cls, genesis: GenesisFacts, index: EntryIndex, items: Iterable[tuple[bytes, bytes]]
    ) -> "Law":
        """The law whose drained changes add up to `items`, in any order. Raises DamagedRow."""
        raise NotImplementedError

    def advance(self, time_s: int) -> tuple[Derived, ...]:
        """All clock effects due up to `time_s`, each dated at its due second (RULINGS R24)."""
        raise NotImplementedError

    def apply(self, entry: Entry) -> Outcome:
        """Judge one entry at the second of the last `advance`, and early closes after it (LAW K5)."""
        raise NotImplementedError

    @property
    def next_due_s(self) -> int | None:
        """The second of the next clock effect, or None."""
        raise NotImplementedError

    def drain_changes(self) -> dict[bytes, bytes | None]:
        """State rows that changed since the last call: key -> value, None = gone (RULINGS R20)."""
        raise NotImplementedError

    def resolve_key(self, author: str, kid: bytes) -> RegisteredKey | None:
        """The key in force now with this id (RULINGS R71), or None (code UNKNOWN_AUTHOR)."""
        raise NotImplementedError

    def author_tip(self, author: str) -> tuple[int, bytes]:
        """(next seq, prev) for the author's next entry."""
        raise NotImplementedError

    def veto_check(self) -> VetoCheck:
        """MODEL 7 for the present membership."""
        raise NotImplementedError

    def policy_value(self, param: str, at_s: int) -> int:
        """The value of a parameter at a ledger second. Raises KeyError."""
        raise NotImplementedError

    def members(self) -> Mapping[str, str]:
        """State -> MEMBER, WITHDRAWING or SUSPENDED, in ascending order."""
        raise NotImplementedError

"""What a question sees: the law after some commit, and the records derived up to it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from node.ledger.records import decode_record, is_record
from node.treaty.book import Book
from node.treaty.law import Law

PAGE: Final = 1_000


class Leaves(Protocol):
    """The log, by index and by kind: a ledger, or a store by itself."""

    def list_indexes(
        self, *, kind: str | None = None, first: int = 0, end: int | None = None, limit: int = 100
    ) -> list[int]:
        """Ascending leaf indexes of this kind in [first, end)."""

    def entries(self, first: int, count: int) -> list[bytes]:
        """Leaf bytes. Raises StoreDamaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """The records as of one commit: `size` entries, of which no later one is looked at."""

    law: Law
    size: int
    state_digest: bytes
    leaves: Leaves

    @property
    def book(self) -> Book:
        return self.law.book

    @property
    def now(self) -> int:
        """Ledger second of that commit."""
        return self.law.book.now

    def records(self, kind: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """(leaf index, fields) of every derived record of this type, oldest first."""
        first = 0
        while first < self.size:
            page = self.leaves.list_indexes(kind=kind, first=first, end=self.size, limit=PAGE)
            for index in page:
                (leaf,) = self.leaves.entries(index, 1)
                if is_record(leaf):  # "run" names statements too
                    yield index, decode_record(leaf)
            if len(page) < PAGE:
                return
            first = page[-1] + 1

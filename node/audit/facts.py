"""The index of a long replay on the disk, so that memory does not grow with history.

The law asks it rarely: for an entry that came twice, for a reference, for content that was endorsed (LAW 3). So what every entry
costs is a write, and what is asked is read back.

    with SpilledFacts() as facts:
        Replay(genesis, document, pool, facts=facts)
"""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from node.ledger.append import StoreFacts, facts_rows
from node.ledger.plan import AppendPlan, MemoryFacts
from node.storage.store import Store
from node.treaty.entries import EntryFacts

MEMORY_MAX: Final = 50_000  # entries kept in memory before any goes to the disk; about 1 KB each


class SpilledFacts:
    """In memory up to MEMORY_MAX entries, then in a scratch store that ends with this object."""

    def __init__(self, memory_max: int = MEMORY_MAX) -> None:
        self._memory_max = memory_max
        self._memory = MemoryFacts()
        self._held: list[EntryFacts] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._store: Store | None = None
        self._disk: StoreFacts | None = None

    def get(self, entry_hash: bytes) -> EntryFacts | None:
        found = self._memory.get(entry_hash)
        return self._disk.get(entry_hash) if found is None and self._disk else found

    def at_seq(self, author: str, seq: int) -> EntryFacts | None:
        # The first entry with a seq counts: what is on the disk came earlier.
        found = self._disk.at_seq(author, seq) if self._disk else None
        return self._memory.at_seq(author, seq) if found is None else found

    def by_content(self, content_hash: bytes) -> EntryFacts | None:
        found = self._memory.by_content(content_hash)
        return self._disk.by_content(content_hash) if found is None and self._disk else found

    def write(self, plan: AppendPlan) -> None:
        """Take over what a plan appends. Raises WriteFailed, OSError if there is no room for it."""
        for appended in plan.leaves:
            if appended.facts is not None:
                self.add(appended.facts)

    def add(self, facts: EntryFacts) -> None:
        """One entry. Raises as `write`."""
        self._memory.add(facts)
        self._held.append(facts)
        if len(self._held) > self._memory_max:
            self._spill()

    def _spill(self) -> None:
        if self._store is None:
            self._folder = tempfile.TemporaryDirectory(prefix="foedus-audit-")
            self._store = Store.open(Path(self._folder.name) / "facts")
            self._disk = StoreFacts(self._store)
        self._store.put_index(facts_rows(self._held))
        self._memory.clear()
        self._held = []

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

"""The index of a long replay on the disk, so that memory does not grow with history.

The law asks it rarely: for an entry that came twice, for a reference, for content that was endorsed (LAW 3). So what every entry
costs is a line in a journal; only when somebody asks for what is no longer in memory does the journal become an index, as far as
it has not yet (decision 0220).

    with SpilledFacts() as facts:
        Replay(genesis, document, pool, facts=facts)
"""

import marshal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from node.ledger.append import StoreFacts, facts_rows
from node.ledger.plan import AppendPlan, MemoryFacts
from node.storage.store import Store
from node.treaty.entries import EntryFacts

MEMORY_MAX: Final = 16_384  # entries kept in memory before any goes to the disk; about 1 KB each

Earlier = Callable[[], Iterator[Sequence[EntryFacts]]]
"""What was appended before, some thousands at a time, in order."""


class SpilledFacts:
    """In memory up to MEMORY_MAX entries, then in scratch files that end with this object."""

    def __init__(self, memory_max: int = MEMORY_MAX, *, earlier: Earlier | None = None) -> None:
        """`earlier`: what was appended before the first entry that is added here, read when somebody first asks."""
        self._memory_max = memory_max
        self._earlier = earlier
        self._memory = MemoryFacts()
        self._held: list[EntryFacts] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._journal: BinaryIO | None = None
        self._parts: list[tuple[int, int]] = []  # (offset, bytes) of what is not in the index yet
        self._store: Store | None = None
        self._disk: StoreFacts | None = None

    def get(self, entry_hash: bytes) -> EntryFacts | None:
        found = self._memory.get(entry_hash)
        disk = self._indexed() if found is None else None
        return disk.get(entry_hash) if disk is not None else found

    def at_seq(self, author: str, seq: int) -> EntryFacts | None:
        # The first entry with a seq counts: what is on the disk came earlier.
        disk = self._indexed()
        found = disk.at_seq(author, seq) if disk is not None else None
        return self._memory.at_seq(author, seq) if found is None else found

    def by_content(self, content_hash: bytes) -> EntryFacts | None:
        found = self._memory.by_content(content_hash)
        disk = self._indexed() if found is None else None
        return disk.by_content(content_hash) if disk is not None else found

    def write(self, plan: AppendPlan) -> None:
        """Take over what a plan appends. Raises OSError if there is no room for it."""
        self._take([one.facts for one in plan.leaves if one.facts is not None])

    def add(self, facts: EntryFacts) -> None:
        """One entry. Raises as `write`."""
        self._take((facts,))

    def _take(self, many: Sequence[EntryFacts]) -> None:
        self._held += many
        self._memory.add_all(many)
        if len(self._held) > self._memory_max:
            self._spill()

    def _spill(self) -> None:
        _, journal = self._scratch()
        # Plain tuples, for this process alone: of all spellings the one that costs least.
        data = marshal.dumps([tuple(facts) for facts in self._held])
        self._parts.append((journal.seek(0, 2), len(data)))
        journal.write(data)
        self._memory.clear()
        self._held = []

    def _indexed(self) -> StoreFacts | None:
        """All that was spilled, to be asked; None if nothing was. Raises WriteFailed, OSError, and what `earlier` raises."""
        if not self._parts and self._earlier is None:
            return self._disk
        folder, journal = self._scratch()
        if self._store is None:
            self._store = Store.open(folder / "facts")
            self._disk = StoreFacts(self._store)
        if self._earlier is not None:
            for many in self._earlier():
                self._store.put_index(facts_rows(many))
            self._earlier = None
        for offset, length in self._parts:
            journal.seek(offset)
            part = marshal.loads(journal.read(length))  # noqa: S302 - written above, by this process
            self._store.put_index(facts_rows(EntryFacts(*facts) for facts in part))
        self._parts = []
        journal.truncate(0)
        return self._disk

    def _scratch(self) -> tuple[Path, BinaryIO]:
        """The folder and the journal in it, made when something first goes to the disk."""
        if self._folder is None or self._journal is None:
            self._folder = tempfile.TemporaryDirectory(prefix="foedus-audit-")
            self._journal = (Path(self._folder.name) / "journal").open("w+b")
        return Path(self._folder.name), self._journal

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None
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

"""An EntryIndex in memory, for scenarios and tests; a node's index is in its store."""

from node.treaty.entries import EntryFacts


class MemoryIndex:
    """What the ledger keeps of appended entries, in dicts."""

    def __init__(self) -> None:
        self._by_hash: dict[bytes, EntryFacts] = {}
        self._by_seq: dict[tuple[str, int], EntryFacts] = {}
        self._by_content: dict[bytes, EntryFacts] = {}

    def add(self, facts: EntryFacts) -> None:
        """Keep a row; of two entries with one seq the first stays the one found by it."""
        self._by_hash[facts.entry_hash] = facts
        self._by_seq.setdefault((facts.author, facts.seq), facts)
        if not facts.code:
            self._by_content[facts.content_hash] = facts

    def get(self, entry_hash: bytes) -> EntryFacts | None:
        return self._by_hash.get(entry_hash)

    def at_seq(self, author: str, seq: int) -> EntryFacts | None:
        return self._by_seq.get((author, seq))

    def by_content(self, content_hash: bytes) -> EntryFacts | None:
        return self._by_content.get(content_hash)

"""A disk in memory that forgets, at a crash, what was not synced.

Like RocksDB's log, it forgets a suffix: of the writes since the last sync some first ones may have survived, in order. The
sign state is a file of its own: replaced whole or not at all (temporary file, fsync, rename, fsync of the folder).
"""

from random import Random

from consensus.types import Ref, ValidatorIndex

Write = Ref | int  # a block's name, or the index of a commit record


class SimulatedStore:
    """Blocks and commit records of one node, with the reading methods of `node.storage.Store`."""

    def __init__(self, after_commit: int = 0) -> None:
        """Of one epoch: `after_commit` is the last commit of the one before."""
        self._after = after_commit
        self._blocks: dict[Ref, bytes] = {}
        self._rounds: dict[int, dict[Ref, None]] = {}
        self._newest: dict[int, list[Ref]] = {}  # per author, in order of writing
        self._records: list[bytes] = []
        self._unsynced: list[Write] = []

    # Writing

    def put_block(self, ref: Ref, data: bytes) -> None:
        if ref in self._blocks:
            return
        self._blocks[ref] = data
        self._rounds.setdefault(ref.round, {})[ref] = None
        self._newest.setdefault(ref.author, []).append(ref)
        self._unsynced.append(ref)

    def put_record(self, index: int, record: bytes) -> None:
        before = self.last_commit_index()
        assert index == before + 1, f"commit {index} after {before}"
        self._records.append(record)
        self._unsynced.append(index)

    def sync(self) -> None:
        self._unsynced.clear()

    def crash(self, rng: Random) -> int:
        """Forget a random suffix of the unsynced writes; how many."""
        survived = rng.randint(0, len(self._unsynced))
        lost = self._unsynced[survived:]
        for write in reversed(lost):
            if isinstance(write, Ref):
                del self._blocks[write]
                del self._rounds[write.round][write]
                self._newest[write.author].remove(write)
            else:
                self._records.pop()
        self._unsynced.clear()
        return len(lost)

    # Reading: `consensus.serving.BlockReader`

    def has(self, ref: Ref) -> bool:
        return ref in self._blocks

    def block(self, ref: Ref) -> bytes | None:
        return self._blocks.get(ref)

    def blocks_in_rounds(self, first: int, last: int, limit_bytes: int) -> list[tuple[Ref, bytes]]:
        found: list[tuple[Ref, bytes]] = []
        size = 0
        for round_ in range(first, min(last, self.highest_round()) + 1):
            for ref in sorted(self._rounds.get(round_, ())):
                data = self._blocks[ref]
                if found and size + len(data) > limit_bytes:
                    return found
                found.append((ref, data))
                size += len(data)
        return found

    def highest_round(self) -> int:
        return max((round_ for round_, refs in self._rounds.items() if refs), default=0)

    def newest_block_of(self, author: int) -> tuple[Ref, bytes] | None:
        held = self._newest.get(ValidatorIndex(author))
        if not held:
            return None
        ref = max(held)
        return ref, self._blocks[ref]

    def commit_record(self, index: int) -> bytes | None:
        at = index - self._after - 1
        return self._records[at] if 0 <= at < len(self._records) else None

    def last_commit_index(self) -> int:
        return self._after + len(self._records)

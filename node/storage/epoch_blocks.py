"""The blocks and commits of one epoch: what a store shows of it, to peers and to the core (SPEC 14.4 and 14.5).

Rounds begin anew with each epoch, commit indexes go on. So whoever reads by round must say of which epoch; who reads by commit
index sees none outside of it. A `consensus.serving.BlockReader`.
"""

from collections.abc import Sequence

from consensus.types import Ref
from node.storage.store import Store


class EpochBlocks:
    """See the module's text. `last_commit` None: the epoch goes on."""

    def __init__(
        self, store: Store, epoch: int = 0, *, after_commit: int = 0, last_commit: int | None = None
    ) -> None:
        """`after_commit` is the last commit of the epoch before."""
        self._store = store
        self._epoch = epoch
        self._after_commit = after_commit
        self._last_commit = last_commit

    def put_blocks(self, blocks: Sequence[tuple[Ref, bytes]]) -> None:
        self._store.put_blocks(blocks, self._epoch)

    def block(self, ref: Ref, /) -> bytes | None:
        return self._store.block(ref, self._epoch)

    def blocks_in_rounds(
        self, first: int, last: int, limit_bytes: int, /
    ) -> list[tuple[Ref, bytes]]:
        return self._store.blocks_in_rounds(first, last, limit_bytes, self._epoch)

    def newest_block_of(self, author: int, /) -> tuple[Ref, bytes] | None:
        return self._store.newest_block_of(author, self._epoch)

    def commit_record(self, index: int, /) -> bytes | None:
        """None outside of this epoch."""
        if not self._after_commit < index <= self.last_commit_index():
            return None
        return self._store.commit_record(index)

    def last_commit_index(self) -> int:
        """The last of the epoch before, before the first of this one."""
        newest = self._store.last_commit_index()
        return newest if self._last_commit is None else min(newest, self._last_commit)

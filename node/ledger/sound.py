"""Reads of the log that are proven before they leave: what a disk altered is refused, and named, and nothing else is.

The tree's peaks are in memory, put there by the node's own appends or compared at the start with what a quorum cosigned. Every
entry and hash that is read is folded with its stored neighbours up to a peak (`merkle.leads_to`). Where that fails each hash on
the way is looked for from the peak downwards, as stored or made again from what lies below it: so a damaged hash hides nothing
where the entries are there. What was found is kept for `foedus status`, a sentence for each place.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from node.log import merkle
from node.log.merkle import Tree
from node.storage.errors import StoreDamaged
from node.storage.store import Store

DAMAGE_MAX: Final = 64  # sentences kept; a folder of zeros has no end of them
MADE_AGAIN_LEVEL_MAX: Final = (
    12  # a hash over up to 4,096 leaves is made again from all of them: some milliseconds
)
PROVEN_MAX: Final = 8_192  # hashes proven on the way, kept: full subtrees never change
REPAIR: Final = "stop this node and run `foedus repair`; until then other nodes have it"


class SoundLog:
    """One store's log. `tree`: of the log as it stands, from memory."""

    def __init__(self, store: Store, tree: Callable[[], Tree]) -> None:
        self._store = store
        self._tree = tree
        self._damage: dict[str, None] = {}
        self._proven: dict[tuple[int, int], bytes] = {}

    @property
    def damage(self) -> Sequence[str]:
        """Places that were found damaged since the start, in order."""
        return tuple(self._damage)

    def entry(self, index: int) -> bytes:
        """Raises StoreDamaged."""
        return self.entries(index, 1)[0]

    def entries(self, first: int, count: int) -> list[bytes]:
        """Leaf bytes within the log. Raises StoreDamaged naming the first that is lost or altered."""
        with self._noted():
            found = self._store.entries(first, count) if count else []
            leaves = merkle.leaf_hashes(found)
            if not self._leads(0, first, leaves):
                for index, leaf in enumerate(leaves, start=first):
                    if leaf != self._hash(0, index):
                        raise self._damaged(f"entry {index} was altered")
            return found

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """Of full subtrees within the log, as stored or made again. Raises StoreDamaged."""
        try:
            found = self._store.hashes([(level, first + offset) for offset in range(count)])
            if self._leads(level, first, found):
                return found
        except StoreDamaged:
            pass
        with self._noted():
            return [self._hash(level, first + offset) for offset in range(count)]

    def root_at(self, size: int) -> bytes:
        """Raises StoreDamaged."""
        with self._noted():
            return merkle.load(size, self._peak).root()

    def inclusion_proof(self, index: int, size: int, root: bytes) -> list[bytes]:
        """One that leads to this root, the log's at `size`. Raises StoreDamaged."""
        with self._noted():
            try:
                leaf = self._store.hash(0, index)
                proof = merkle.inclusion_proof(index, size, self._store.hash)
                if merkle.verify_inclusion(leaf, index, size, proof, root):
                    return proof
            except StoreDamaged:
                pass
            return merkle.inclusion_proof(index, size, self._hash)

    def consistency_proof(self, old: tuple[int, bytes], new: tuple[int, bytes]) -> list[bytes]:
        """Between two (size, root) of this log. Raises StoreDamaged."""
        with self._noted():
            try:
                proof = merkle.consistency_proof(old[0], new[0], self._store.hash)
                if merkle.verify_consistency(old[0], new[0], old[1], new[1], proof):
                    return proof
            except StoreDamaged:
                pass
            return merkle.consistency_proof(old[0], new[0], self._hash)

    def _leads(self, level: int, first: int, hashes: Sequence[bytes]) -> bool:
        try:
            return merkle.leads_to(self._tree(), level, first, hashes, self._store.hash)
        except StoreDamaged:  # a stored neighbour is lost
            return False

    def _peak(self, level: int, index: int) -> bytes:
        """One hash, by the shorter way where nothing is damaged."""
        try:
            found = self._store.hash(level, index)
        except StoreDamaged:
            return self._hash(level, index)
        return found if self._leads(level, index, [found]) else self._hash(level, index)

    # Downwards from a peak

    def _hash(self, level: int, index: int) -> bytes:
        """The right hash of a full subtree within the log. Raises StoreDamaged if it is neither stored nor can be made again."""
        tree = self._tree()
        known = dict(zip(merkle.peak_positions(tree.size), tree.peaks, strict=True))
        way: list[tuple[int, int]] = []  # to the next one that is known
        while (found := known.get((level, index)) or self._proven.get((level, index))) is None:
            way.append((level, index))
            level, index = level + 1, index >> 1
        for level, index in reversed(way):
            pair = self._pair(level, index & ~1, found)
            if len(self._proven) >= PROVEN_MAX:
                self._proven.clear()
            self._proven[level, index & ~1], self._proven[level, index | 1] = pair
            found = pair[index & 1]
        return found

    def _pair(self, level: int, left: int, parent: bytes) -> tuple[bytes, bytes]:
        """Two neighbours under a hash that is known to be right."""
        rights = list(self._guesses(level, left + 1))
        for position, one in enumerate(self._guesses(level, left)):
            for other_position, other in enumerate(rights):
                if merkle.node_hash(one, other) == parent:
                    for index, wrong in ((left, position), (left + 1, other_position)):
                        if wrong:
                            self._note(f"tree hash of level {level}, index {index} was altered")
                    return one, other
        raise self._damaged(
            f"tree hashes of level {level}, index {left} and {left + 1}: what is stored does not lead to the root of this log"
        )

    def _guesses(self, level: int, index: int) -> Iterator[bytes]:
        """As stored; from the two below; from all leaves."""
        for guess in (self._store.hash, self._from_two, self._from_leaves):
            try:
                found = guess(level, index)
            except StoreDamaged:
                found = b""  # its place counts: what is stored stays the first guess
            yield found

    def _from_two(self, level: int, index: int) -> bytes:
        if level == 0:
            return merkle.leaf_hash(self._store.entry(index))
        below = self._store.hashes([(level - 1, 2 * index), (level - 1, 2 * index + 1)])
        return merkle.node_hash(*below)

    def _from_leaves(self, level: int, index: int) -> bytes:
        if level > MADE_AGAIN_LEVEL_MAX:
            raise StoreDamaged("too many leaves")
        leaves = merkle.leaf_hashes(self._store.entries(index << level, 1 << level))
        return merkle.append(merkle.EMPTY_TREE, leaves).tree.peaks[0]

    def _damaged(self, what: str) -> StoreDamaged:
        return StoreDamaged(f"{self._store.path}: {what}: {REPAIR}")

    def _note(self, what: str) -> None:
        if len(self._damage) < DAMAGE_MAX:
            self._damage[f"{self._store.path}: {what}: {REPAIR}"] = None

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except StoreDamaged as err:
            if len(self._damage) < DAMAGE_MAX:
                self._damage[str(err)] = None
            raise

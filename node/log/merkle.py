r"""The tree of the log: RFC 6962 section 2.1 = RFC 9162 section 2.1, SHA-256.

    leaf  SHA-256(0x00 || entry)      node  SHA-256(0x01 || left || right)      empty tree  SHA-256("")

A tree of n > 1 leaves splits at k, the largest power of two below n: no padding, no doubled node. So every *full*
subtree, 2^level leaves from index * 2^level on, is hashed once and never changes; these hashes are what is stored, under
(level, index). The tree itself is its size and its *peaks*, the roots of the full subtrees that make it up, largest
first, one for each bit set in the size. With size 5 = 4 + 1:

         (2,0)                 Tree(size=5, peaks=((2,0), (0,4)))
        /     \                root = node((2,0), (0,4))
     (1,0)   (1,1)             append of one leaf: merge while the trailing bits of the size are 1
     /   \   /   \
    0     1 2     3   (0,4)    proof for leaf 2 of 5: (0,3), (1,0), (0,4)

An inclusion proof does not bind the size: leaf 2 has one path shape in trees of 5 to 8 leaves. Only a signed size counts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from node.log.errors import MalformedProof

HASH_BYTES = 32
SIZE_MAX = 2**63 - 1  # sizes are signed 64-bit in many tools, and nobody will append more
EMPTY_ROOT = sha256(b"").digest()

ReadHash = Callable[[int, int], bytes]
"""(level, index) -> the stored root of the full subtree over leaves [index << level, (index + 1) << level)."""


def leaf_hash(entry: bytes) -> bytes:
    """RFC 9162, section 2.1.1."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 9162, section 2.1.1."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class HashRun:
    """Neighbouring new hashes of one level: `hashes[i]` is stored under (level, first + i)."""

    level: int
    first: int
    hashes: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A tree as far as growing it needs: its size and peaks (shape: one digest per set bit of size, highest first)."""

    size: int
    peaks: tuple[bytes, ...]

    def root(self) -> bytes:
        """RFC 9162, section 2.1.1: the peaks folded from the smallest to the largest."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


EMPTY_TREE = Tree(size=0, peaks=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """What appending did: the new tree, and every hash to store, level by level, leaves first."""

    tree: Tree
    runs: tuple[HashRun, ...]


def append(tree: Tree, leaves: Sequence[bytes]) -> Grown:
    """The tree with these leaf hashes behind its own. Nothing is read: the peaks are all it takes.

    Works level by level, so that a batch costs one hash per new node and no other work per leaf.
    """
    size = tree.size + len(leaves)
    assert size <= SIZE_MAX, f"tree of {size} leaves"
    waiting = list(tree.peaks)  # the last is the smallest
    fresh: list[bytes] = list(leaves)
    runs: list[HashRun] = []
    peaks: list[bytes] = []  # smallest first
    level = 0
    while fresh or waiting:
        old_count = tree.size >> level
        if fresh:
            runs.append(HashRun(level=level, first=old_count, hashes=tuple(fresh)))
        row = fresh
        if old_count & 1:  # a peak of this level waits for its right neighbour
            row = [waiting.pop(), *fresh]
        if len(row) & 1:
            peaks.append(row[-1])
        pairs = iter(row)
        fresh = [
            sha256(b"\x01" + left + right).digest()
            for left, right in zip(pairs, pairs, strict=False)  # an odd last one stays a peak
        ]
        level += 1
    return Grown(tree=Tree(size=size, peaks=tuple(reversed(peaks))), runs=tuple(runs))


def peak_positions(size: int) -> list[tuple[int, int]]:
    """(level, index) of the peaks of a tree of `size` leaves, largest first."""
    positions = []
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            positions.append((level, (size >> level) - 1))
    return positions


def load(size: int, read_hash: ReadHash) -> Tree:
    """The tree of the first `size` leaves, from stored hashes."""
    return Tree(
        size=size, peaks=tuple(read_hash(level, index) for level, index in peak_positions(size))
    )


def leads_to(
    tree: Tree, level: int, first: int, hashes: Sequence[bytes], read_hash: ReadHash
) -> bool:
    """Whether these neighbouring full subtrees, from (level, first) on, fold with stored siblings to the tree's own peaks.

    What is read on the way is proven by it as well. Costs one read for each level at either end.
    """
    row = list(hashes)
    assert first >= 0, f"first={first}"
    assert (first + len(row)) << level <= tree.size, (
        f"{len(row)} nodes of level {level}: beyond {tree.size}"
    )
    peaks = dict(zip(peak_positions(tree.size), tree.peaks, strict=True))
    while row:
        peak = peaks.get((level, first + len(row) - 1))
        if peak is not None and row.pop() != peak:
            return False
        if not row:
            return True
        if first & 1:
            first -= 1
            row.insert(0, read_hash(level, first))
        if len(row) & 1:  # the last one is no peak, so it has a right sibling
            row.append(read_hash(level, first + len(row)))
        pairs = iter(row)
        row = [node_hash(left, right) for left, right in zip(pairs, pairs, strict=True)]
        first >>= 1
        level += 1
    return True


def root_of_leaf_hashes(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes (shape: in leaf order)."""
    return append(EMPTY_TREE, leaves).tree.root()


def root_of_entries(entries: Iterable[bytes]) -> bytes:
    return root_of_leaf_hashes(leaf_hashes(entries))


# --- proofs from stored hashes -----------------------------------------------------------------------------------


def range_root(first: int, end: int, read_hash: ReadHash) -> bytes:
    """Root of the subtree over leaves [first, end), where `first` is where RFC 9162 would split it off.

    Such a subtree starts at a multiple of a power of two that is not below its length, so its own peaks are full
    subtrees of the whole tree.
    """
    count = end - first
    assert count > 0, f"no leaves in [{first}, {end})"
    peaks = [read_hash(level, (first >> level) + index) for level, index in peak_positions(count)]
    return Tree(size=count, peaks=tuple(peaks)).root()


def inclusion_proof(index: int, size: int, read_hash: ReadHash) -> list[bytes]:
    """PATH(index, D[size]) of RFC 9162, section 2.1.3.1 (shape: one digest per level, leaf first).

    The caller holds the leaf: 0 <= index < size <= stored leaves.
    """
    assert 0 <= index < size, f"leaf {index} of {size}"
    proof: list[bytes] = []
    first, end = 0, size
    while end - first > 1:
        split = first + (1 << (end - first - 1).bit_length() - 1)
        if index < split:
            proof.append(range_root(split, end, read_hash))
            end = split
        else:
            proof.append(range_root(first, split, read_hash))
            first = split
    proof.reverse()
    return proof


def consistency_proof(old_size: int, new_size: int, read_hash: ReadHash) -> list[bytes]:
    """PROOF(old_size, D[new_size]) of RFC 9162, section 2.1.4.1. Empty for equal sizes and from size 0."""
    assert 0 <= old_size <= new_size, f"sizes {old_size} and {new_size}"
    if old_size in (0, new_size):
        return []
    proof: list[bytes] = []
    first, end = 0, new_size
    known = True  # the old root is a node on the way: the verifier has it
    while old_size != end:
        split = first + (1 << (end - first - 1).bit_length() - 1)
        if old_size <= split:
            proof.append(range_root(split, end, read_hash))
            end = split
        else:
            proof.append(range_root(first, split, read_hash))
            first = split
            known = False
    if not known:
        proof.append(range_root(first, end, read_hash))
    proof.reverse()
    return proof


# --- verification ------------------------------------------------------------------------------------------------


def fold_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that this proof leads to from this leaf hash, RFC 9162 section 2.1.3.2.

    Raises MalformedProof when the proof has no place in a tree of `size` leaves: whether the root is the right one
    is for the caller to compare.
    """
    if not 0 <= index < size:
        raise MalformedProof(f"index={index}: the tree has {size} leaves")
    _check_hashes(leaf, *proof)
    low, last = index, size - 1
    root = leaf
    for sibling in proof:
        if last == 0:
            raise MalformedProof(f"proof of {len(proof)} hashes: too long for {size} leaves")
        if low & 1 or low == last:
            root = node_hash(sibling, root)
            while low and not low & 1:
                low >>= 1
                last >>= 1
        else:
            root = node_hash(root, sibling)
        low >>= 1
        last >>= 1
    if last != 0:
        raise MalformedProof(f"proof of {len(proof)} hashes: too short for {size} leaves")
    return root


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """True if the leaf hash is number `index` under this root of `size` leaves."""
    try:
        return fold_inclusion(leaf, index, size, proof) == root
    except MalformedProof:
        return False


def fold_consistency(
    old_size: int, new_size: int, old_root: bytes, proof: Sequence[bytes]
) -> bytes:
    """The new root that this proof leads to from the old one, RFC 9162 section 2.1.4.2.

    Raises MalformedProof when the proof has no place between these sizes or does not lead to `old_root`. From size 0
    nothing can be folded: any tree extends the empty one.
    """
    if not 0 < old_size <= new_size:
        raise MalformedProof(f"old size {old_size}: nothing to fold up to {new_size} leaves")
    if old_size == new_size:
        if proof:
            raise MalformedProof(f"proof of {len(proof)} hashes between equal sizes {old_size}")
        return old_root
    _check_hashes(old_root, *proof)
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)  # the old tree is one full subtree: its root is where to start
    if not path:
        raise MalformedProof(f"empty proof between sizes {old_size} and {new_size}")
    low, last = old_size - 1, new_size - 1
    while low & 1:
        low >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise MalformedProof(f"proof of {len(proof)} hashes: too long for {new_size} leaves")
        if low & 1 or low == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while low and not low & 1:
                low >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        low >>= 1
        last >>= 1
    if last != 0:
        raise MalformedProof(f"proof of {len(proof)} hashes: too short for {new_size} leaves")
    if old != old_root:
        raise MalformedProof(f"proof leads to root {old.hex()} at {old_size}, not {old_root.hex()}")
    return new


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """True if the tree of `new_size` leaves extends the one of `old_size`.

    From size 0 the proof is empty and the old root must be the empty tree's, which many verifiers forget.
    """
    if old_size == 0:
        if new_size == 0:
            return not proof and old_root == new_root == EMPTY_ROOT
        return not proof and old_root == EMPTY_ROOT and len(new_root) == HASH_BYTES
    try:
        return fold_consistency(old_size, new_size, old_root, proof) == new_root
    except MalformedProof:
        return False


def _check_hashes(*hashes: bytes) -> None:
    for digest in hashes:
        if len(digest) != HASH_BYTES:
            raise MalformedProof(f"hash of {len(digest)} bytes: a hash has {HASH_BYTES}")


class MemoryHashes:
    """The stored hashes of a tree, in memory: for auditors and tests. Never shrinks; 64 B an entry and their overhead."""

    def __init__(self) -> None:
        self.tree = EMPTY_TREE
        self._levels: list[list[bytes]] = []

    def append(self, leaves: Sequence[bytes]) -> None:
        grown = append(self.tree, leaves)
        for run in grown.runs:
            if run.level == len(self._levels):
                self._levels.append([])
            assert run.first == len(self._levels[run.level]), f"gap at {run.level}/{run.first}"
            self._levels[run.level].extend(run.hashes)
        self.tree = grown.tree

    def read(self, level: int, index: int) -> bytes:
        """A `ReadHash`."""
        return self._levels[level][index]

    def root_at(self, size: int) -> bytes:
        """The root when the tree had `size` leaves."""
        return load(size, self.read).root()

"""The tree against a second implementation written from the RFC's recursive definitions, for all small trees."""

from hashlib import sha256

import pytest

from node.log import merkle
from node.log.errors import MalformedProof

SIZES = 130


def slow_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1, over leaf hashes, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + slow_root(leaves[:k]) + slow_root(leaves[k:])).digest()


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def slow_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*slow_path(m, leaves[:k]), slow_root(leaves[k:])]
    return [*slow_path(m - k, leaves[k:]), slow_root(leaves[:k])]


def slow_subproof(m: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [slow_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*slow_subproof(m, leaves[:k], whole=whole), slow_root(leaves[k:])]
    return [*slow_subproof(m - k, leaves[k:], whole=False), slow_root(leaves[:k])]


LEAVES = merkle.leaf_hashes(b"leaf %d" % index for index in range(SIZES))


@pytest.fixture(scope="module")
def stored() -> merkle.MemoryHashes:
    hashes = merkle.MemoryHashes()
    hashes.append(LEAVES)
    return hashes


def test_roots_of_all_small_trees(stored: merkle.MemoryHashes) -> None:
    tree = merkle.EMPTY_TREE
    for size in range(SIZES):
        root = slow_root(LEAVES[:size])
        assert tree.root() == root
        assert merkle.root_of_leaf_hashes(LEAVES[:size]) == root
        assert stored.root_at(size) == root
        assert merkle.load(size, stored.read) == tree
        tree = merkle.append(tree, LEAVES[size : size + 1]).tree


def test_batches_store_what_single_appends_store() -> None:
    """Any way to cut the leaves into batches stores the same hashes under the same places."""
    for step in (1, 2, 3, 7, 64, 129):
        hashes = merkle.MemoryHashes()
        for start in range(0, SIZES, step):
            hashes.append(LEAVES[start : start + step])
        assert hashes.tree == merkle.append(merkle.EMPTY_TREE, LEAVES).tree
        for level in range(8):
            for index in range(SIZES >> level):
                first = index << level
                assert hashes.read(level, index) == slow_root(LEAVES[first : first + (1 << level)])


def test_appending_nothing_changes_nothing() -> None:
    tree = merkle.append(merkle.EMPTY_TREE, LEAVES[:5]).tree
    grown = merkle.append(tree, [])
    assert grown.tree == tree
    assert grown.runs == ()


def test_every_inclusion_proof_of_every_small_tree(stored: merkle.MemoryHashes) -> None:
    for size in range(1, SIZES, 1):
        root = stored.root_at(size)
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, stored.read)
            assert merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
            if size <= 33:
                assert proof == slow_path(index, LEAVES[:size])
                assert (
                    not merkle.verify_inclusion(LEAVES[index - 1], index, size, proof, root)
                    or size == 1
                )
                assert not merkle.verify_inclusion(LEAVES[index], index, size, [*proof, root], root)
                if proof:
                    assert not merkle.verify_inclusion(LEAVES[index], index, size, proof[:-1], root)


def test_every_consistency_proof_of_every_small_tree(stored: merkle.MemoryHashes) -> None:
    roots = [stored.root_at(size) for size in range(SIZES)]
    for new in range(SIZES):
        for old in range(new + 1):
            proof = merkle.consistency_proof(old, new, stored.read)
            assert merkle.verify_consistency(old, new, roots[old], roots[new], proof), (old, new)
            if new <= 33:
                if old:
                    assert proof == slow_subproof(old, LEAVES[:new], whole=True)
                wrong = sha256(b"wrong").digest()
                assert not merkle.verify_consistency(old, new, wrong, roots[new], proof)
                assert not merkle.verify_consistency(
                    old, new, roots[old], roots[new], [*proof, wrong]
                )
                if old not in (0, new):
                    assert not merkle.verify_consistency(old, new, roots[old], wrong, proof)
                    assert not merkle.verify_consistency(
                        old, new, roots[old], roots[new], proof[1:]
                    )


def test_an_inclusion_proof_does_not_bind_the_size(stored: merkle.MemoryHashes) -> None:
    """The trap of FORMATS 2: only a signed size counts. If this ever fails, the trap is gone and its warnings can go."""
    proof = merkle.inclusion_proof(2, 5, stored.read)
    root = stored.root_at(5)
    assert all(merkle.verify_inclusion(LEAVES[2], 2, size, proof, root) for size in (5, 6, 7, 8))


@pytest.mark.parametrize(
    ("leaf", "index", "size", "proof"),
    [
        (LEAVES[0], 0, 0, []),
        (LEAVES[0], 1, 1, []),
        (LEAVES[0], -1, 1, []),
        (LEAVES[0][:31], 0, 1, []),
        (LEAVES[0], 0, 2, [b"short"]),
        (LEAVES[0], 0, 2**64, []),
    ],
)
def test_proofs_without_a_place_are_named(
    leaf: bytes, index: int, size: int, proof: list[bytes]
) -> None:
    with pytest.raises(MalformedProof):
        merkle.fold_inclusion(leaf, index, size, proof)


def test_nothing_is_consistent_with_a_made_up_empty_tree(stored: merkle.MemoryHashes) -> None:
    root = stored.root_at(3)
    assert merkle.verify_consistency(0, 3, merkle.EMPTY_ROOT, root, [])
    assert not merkle.verify_consistency(0, 3, root, root, [])
    assert not merkle.verify_consistency(0, 3, merkle.EMPTY_ROOT, root, [root])
    assert not merkle.verify_consistency(3, 2, root, stored.root_at(2), [])

"""Proofs over a run's documents: every tree up to forty leaves, and a naive root."""

import hashlib
from itertools import pairwise

from node.treaty.documents import Leaf, is_between, is_member, leaf_hash, node_hash


def root_of(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return node_hash(root_of(leaves[:left]), root_of(leaves[left:]))


def path_of(leaves: list[bytes], place: int) -> tuple[bytes, ...]:
    if len(leaves) == 1:
        return ()
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    if place < left:
        return (*path_of(leaves[:left], place), root_of(leaves[left:]))
    return (*path_of(leaves[left:], place - left), root_of(leaves[:left]))


def tree(size: int) -> list[bytes]:
    return sorted(hashlib.sha256(bytes([number])).digest() for number in range(size))


def leaf(leaves: list[bytes], place: int) -> Leaf:
    return Leaf(place, leaves[place], path_of(leaves, place))


def test_every_member_of_every_tree() -> None:
    for size in range(1, 41):
        leaves = tree(size)
        root = root_of(leaves)
        for place in range(size):
            good = leaf(leaves, place)
            assert is_member(root, size, good)
            assert not is_member(root, size, good._replace(document=bytes(32)))
            assert not is_member(root, size, good._replace(path=(*good.path, bytes(32))))
            assert not is_member(bytes(32), size, good)
            for other in range(size + 2):
                assert is_member(root, size, good._replace(place=other)) == (other == place)


def test_every_gap_of_every_tree() -> None:
    for size in range(1, 25):
        leaves = tree(size)
        root = root_of(leaves)
        for place, (one, other) in enumerate(pairwise(leaves)):
            middle = ((int.from_bytes(one, "big") + int.from_bytes(other, "big")) // 2).to_bytes(
                32, "big"
            )
            before, after = leaf(leaves, place), leaf(leaves, place + 1)
            assert is_between(root, size, middle, before, after)
            for present in leaves:  # nothing shows a document absent that is there
                assert not is_between(root, size, present, before, after)
            assert not is_between(root, size, middle, None, after)
            assert not is_between(root, size, middle, before, None)
            if place + 2 < size:
                assert not is_between(root, size, middle, before, leaf(leaves, place + 2))
        assert is_between(root, size, bytes(32), None, leaf(leaves, 0))
        assert is_between(root, size, b"\xff" * 32, leaf(leaves, size - 1), None)
        assert not is_between(root, size, bytes(32), None, None)


def test_an_empty_tree_holds_nothing() -> None:
    empty = hashlib.sha256(b"").digest()
    assert is_between(empty, 0, bytes(32), None, None)
    assert not is_between(bytes(32), 0, bytes(32), None, None)
    assert not is_between(empty, 0, bytes(32), Leaf(0, bytes(32), ()), None)

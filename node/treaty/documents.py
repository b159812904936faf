"""The tree of a run's documents: proofs that one is among them, or is not (M44).

Leaves are SHA-256 hashes of documents in ascending order; the tree is that of RFC 6962, section 2.1. Absence is shown by
two neighbours that embrace the document, or by the first or last leaf. Whether the tree is sorted nobody sees from the root.
"""

import hashlib
from typing import NamedTuple


class Leaf(NamedTuple):
    """A document in the tree, and the way from it to the root."""

    place: int  # from 0
    document: bytes
    path: tuple[bytes, ...]


def leaf_hash(document: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + document).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def is_member(root: bytes, size: int, leaf: Leaf) -> bool:
    """Whether the audit path leads from this leaf to this root (RFC 9162, section 2.1.3.2)."""
    if leaf.place >= size:
        return False
    fn, sn, seen = leaf.place, size - 1, leaf_hash(leaf.document)
    for sibling in leaf.path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            seen = node_hash(sibling, seen)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            seen = node_hash(seen, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and seen == root


def is_between(
    root: bytes, size: int, document: bytes, before: Leaf | None, after: Leaf | None
) -> bool:
    """Whether the document is shown to be absent from a sorted tree. A tree without leaves holds nothing."""
    if size == 0:
        return before is None and after is None and root == hashlib.sha256(b"").digest()
    for leaf in (before, after):
        if leaf is not None and not is_member(root, size, leaf):
            return False
    if before is None:
        return after is not None and after.place == 0 and document < after.document
    if before.document >= document:
        return False
    if after is None:
        return before.place == size - 1
    return after.place == before.place + 1 and document < after.document

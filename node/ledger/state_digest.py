"""The law's state as one hash, kept incrementally (RULINGS R20).

State is a map key -> value bytes. A key's bucket is the first two bytes of SHA-256(key), so there are 65,536. A
bucket's hash is the SHA-256 of its pairs in key order, each as (u32 length, key, u32 length, value); an empty bucket is
32 zero bytes. The state digest is the RFC 6962 root with the bucket hashes as entries: a full tree of 16 levels, held
here as one heap. Commit index and time are not in it, so it is equal after idle commits.

A commit touches some buckets. Each is read (from the database or from a dict, see `Buckets`), checked against the hash
that we hold, changed and hashed again; then only the paths above touched buckets are computed, level by level, shared
nodes once.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final, Protocol

BUCKETS: Final = 65_536
HASH_BYTES: Final = 32
EMPTY_BUCKET: Final = bytes(HASH_BYTES)

Row = tuple[int, bytes]
"""(bucket, key): where a value stands."""


class Buckets(Protocol):
    """Where the pairs of a bucket are read from."""

    def bucket(self, number: int) -> Sequence[tuple[bytes, bytes]]:
        """(key, value) pairs, ascending by key."""
        ...


class DamagedState(Exception):
    """A bucket's stored pairs do not give the hash that the last commit left."""


class MemoryBuckets:
    """The whole map in a dict, for offline replay and tests."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[bytes, bytes]] = {}

    def bucket(self, number: int) -> Sequence[tuple[bytes, bytes]]:
        return sorted(self._buckets.get(number, {}).items())

    def rows(self) -> dict[Row, bytes]:
        """Every pair."""
        return {
            (number, key): value
            for number, pairs in self._buckets.items()
            for key, value in pairs.items()
        }

    def write(self, rows: Mapping[Row, bytes | None]) -> None:
        for (number, key), value in rows.items():
            pairs = self._buckets.setdefault(number, {})
            if value is None:
                pairs.pop(key, None)
            else:
                pairs[key] = value


def bucket_of(key: bytes) -> int:
    return int.from_bytes(sha256(key).digest()[:2], "big")


def bucket_hash(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Hash of one bucket's (key, value) pairs, ascending by key; 32 zero bytes if there are none."""
    parts: list[bytes] = []
    for key, value in pairs:
        parts += (len(key).to_bytes(4, "big"), key, len(value).to_bytes(4, "big"), value)
    return sha256(b"".join(parts)).digest() if parts else EMPTY_BUCKET


class StateDigest:
    """The tree over all bucket hashes: 131,072 hashes of 32 bytes, one path of 16 of them per changed bucket.

    Hashes are values in a list, and equal ones of untouched parts are one value: some 10 MB when every bucket is filled.
    Slices of one byte array would take 4, and a quarter more time.
    """

    def __init__(self) -> None:
        """The digest of the empty map."""
        # A heap: node i has children 2i and 2i + 1, leaf of bucket b is BUCKETS + b, the root is node 1.
        self._nodes = [b""] * (2 * BUCKETS)
        node = sha256(b"\x00" + EMPTY_BUCKET).digest()
        first = BUCKETS
        while first:
            self._nodes[first : 2 * first] = [node] * first
            node = sha256(b"\x01" + node + node).digest()
            first //= 2
        self.keys = 0  # pairs in the map

    @property
    def root(self) -> bytes:
        return self._nodes[1]

    def load(self, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Take over a whole stored map: (bucket, key, value), ascending by bucket and key. For an empty digest only."""
        assert self.keys == 0, "load into an empty digest"
        hashes: dict[int, bytes] = {}
        pairs: list[tuple[bytes, bytes]] = []
        current = -1
        for number, key, value in rows:
            if number != current:
                if pairs:
                    hashes[current] = bucket_hash(pairs)
                current, pairs = number, []
            pairs.append((key, value))
            self.keys += 1
        if pairs:
            hashes[current] = bucket_hash(pairs)
        self._set(hashes)

    def change(
        self, changes: Mapping[bytes, bytes | None], buckets: Buckets
    ) -> dict[Row, bytes | None]:
        """Apply changed keys (None deletes) and give the rows to store. `buckets` still shows the state before.

        Raises DamagedState if a bucket read does not match its hash.
        """
        by_bucket: dict[int, dict[bytes, bytes | None]] = {}
        for key in sorted(changes):
            by_bucket.setdefault(bucket_of(key), {})[key] = changes[key]
        rows: dict[Row, bytes | None] = {}
        hashes: dict[int, bytes] = {}
        for number, changed in by_bucket.items():
            before = buckets.bucket(number)
            self._check(number, before)
            pairs = dict(before)
            for key, value in changed.items():
                rows[number, key] = value
                if value is None:
                    pairs.pop(key, None)
                else:
                    pairs[key] = value
            self.keys += len(pairs) - len(before)
            hashes[number] = bucket_hash(sorted(pairs.items()))
        self._set(hashes)
        return rows

    def _check(self, number: int, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        if sha256(b"\x00" + bucket_hash(pairs)).digest() != self._nodes[BUCKETS + number]:
            raise DamagedState(
                f"state bucket {number:#06x} does not have the hash that the last commit left"
            )

    def _set(self, hashes: Mapping[int, bytes]) -> None:
        nodes = self._nodes
        touched = set()
        for number, digest in hashes.items():
            nodes[BUCKETS + number] = sha256(b"\x00" + digest).digest()
            touched.add((BUCKETS + number) >> 1)
        while touched:  # one level, in any order: its nodes rest on the level below alone
            for node in touched:
                nodes[node] = sha256(b"\x01" + nodes[2 * node] + nodes[2 * node + 1]).digest()
            touched = {node >> 1 for node in touched if node > 1}

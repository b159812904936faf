"""The law's state as one hash, kept incrementally (RULINGS R20).

State is a map key -> value bytes. A key's bucket is the first two bytes of SHA-256(key), so there are 65,536. A
bucket's hash is the SHA-256 of its pairs in key order, each as (u32 length, key, u32 length, value); an empty bucket is
32 zero bytes. The state digest is the RFC 6962 root with the bucket hashes as entries: a full tree of 16 levels, held
here as one heap. Commit index and time are not in it, so it is equal after idle commits.

A commit touches some buckets. Each is read (from the database or from a dict, see `Buckets`), checked against the hash
that we hold if it comes from a disk, changed and hashed again; then only the paths above touched buckets are computed,
level by level, shared nodes once.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Final, Protocol

from node.log import merkle

BUCKETS: Final = 65_536
HASH_BYTES: Final = 32
EMPTY_BUCKET: Final = bytes(HASH_BYTES)
PLACES_MAX: Final = 32_768  # keys whose bucket is remembered, some megabytes: more than the rows that usual reports change
_u32: Final = Struct(">I").pack

Row = tuple[int, bytes]
"""(bucket, key): where a value stands."""


class Buckets(Protocol):
    """Where the pairs of a bucket are read from."""

    @property
    def is_memory(self) -> bool:
        """Whether nothing but this process can have changed them: a disk's are checked each time they are read."""
        ...

    def bucket(self, number: int) -> Sequence[tuple[bytes, bytes]]:
        """(key, value) pairs, ascending by key."""
        ...


class DamagedState(Exception):
    """A bucket's stored pairs do not give the hash that the last commit left."""


class MemoryBuckets:
    """The whole map in a dict, for offline replay and tests; `like_disk`: to be checked as if it had been read from one."""

    def __init__(self, *, like_disk: bool = False) -> None:
        self._is_memory = not like_disk
        self._buckets: dict[int, dict[bytes, bytes]] = {}

    @property
    def is_memory(self) -> bool:
        return self._is_memory

    def bucket(self, number: int) -> Sequence[tuple[bytes, bytes]]:
        pairs = self._buckets.get(number)
        if not pairs:
            return ()
        return sorted(pairs.items()) if len(pairs) > 1 else tuple(pairs.items())

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


@lru_cache(maxsize=PLACES_MAX)
def bucket_of(key: bytes) -> int:
    """Where a key stands. What a state says again and again changes the same rows, so places are remembered."""
    return int.from_bytes(sha256(key).digest()[:2], "big")


def bucket_hash(pairs: Collection[tuple[bytes, bytes]]) -> bytes:
    """Hash of one bucket's (key, value) pairs, ascending by key; 32 zero bytes if there are none."""
    if len(pairs) == 1:
        ((key, value),) = pairs
        return _hash_of_one(key, value)
    parts: list[bytes] = []
    for key, value in pairs:
        parts += (_u32(len(key)), key, _u32(len(value)), value)
    return sha256(b"".join(parts)).digest() if parts else EMPTY_BUCKET


def _hash_of_one(key: bytes, value: bytes) -> bytes:
    return sha256(b"".join((_u32(len(key)), key, _u32(len(value)), value))).digest()


def verify_bucket(
    key: bytes, pairs: Sequence[tuple[bytes, bytes]], path: Sequence[bytes], root: bytes
) -> bool:
    """Whether a state with this digest has exactly these (key, value) pairs in the key's bucket: else it has no such row."""
    keys = [each for each, _ in pairs]
    if sorted(set(keys)) != keys:
        return False
    leaf = merkle.leaf_hash(bucket_hash(pairs))
    return merkle.verify_inclusion(leaf, bucket_of(key), BUCKETS, path, root)


class StateDigest:
    """The tree over all bucket hashes: 131,072 hashes of 32 bytes, one path of 16 of them per changed bucket.

    Hashes are values in a list, and equal ones of untouched parts are one value: some 10 MB when every bucket is filled.
    Slices of one byte array would take 4, and a quarter more time. The bucket hashes themselves, 5 MB more, are what a
    bucket that is read again must have.
    """

    def __init__(self) -> None:
        """The digest of the empty map."""
        # A heap: node i has children 2i and 2i + 1, leaf of bucket b is BUCKETS + b, the root is node 1.
        self._nodes = [b""] * (2 * BUCKETS)
        self._hashes = [EMPTY_BUCKET] * BUCKETS
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

    def path(self, number: int) -> list[bytes]:
        """The inclusion proof of a bucket: `verify_bucket` checks it against the root."""
        node, found = BUCKETS + number, []
        while node > 1:
            found.append(self._nodes[node ^ 1])
            node >>= 1
        return found

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

        Raises DamagedState if a bucket read from a disk does not match its hash.
        """
        by_bucket: dict[int, list[bytes]] = {}
        for key in changes:
            number = bucket_of(key)
            keys = by_bucket.get(number)
            if keys is None:
                by_bucket[number] = [key]
            else:
                keys.append(key)
        rows: dict[Row, bytes | None] = {}
        hashes: dict[int, bytes] = {}
        is_checked = not buckets.is_memory
        for number, keys in by_bucket.items():
            before = buckets.bucket(number)
            if is_checked and bucket_hash(before) != self._hashes[number]:
                raise DamagedState(
                    f"state bucket {number:#06x} does not have the hash that the last commit left"
                )
            if len(keys) == len(before) == 1 and keys[0] == before[0][0]:
                key = keys[0]
                value = rows[number, key] = changes[key]
                if value is not None:  # the bucket's one row has changed: so it is most often
                    hashes[number] = _hash_of_one(key, value)
                    continue
            pairs = dict(before)
            for key in keys:
                value = rows[number, key] = changes[key]
                if value is None:
                    pairs.pop(key, None)
                else:
                    pairs[key] = value
            self.keys += len(pairs) - len(before)
            after = sorted(pairs.items()) if len(pairs) > 1 else pairs.items()
            hashes[number] = bucket_hash(after)
        self._set(hashes)
        return rows

    def _set(self, hashes: Mapping[int, bytes]) -> None:
        nodes = self._nodes
        for number, digest in hashes.items():
            self._hashes[number] = digest
            nodes[BUCKETS + number] = sha256(b"\x00" + digest).digest()
        touched = {BUCKETS + number >> 1 for number in hashes}
        while touched:  # one level, in any order: its nodes rest on the level below alone
            for node in touched:
                left = node << 1
                nodes[node] = sha256(b"\x01" + nodes[left] + nodes[left | 1]).digest()
            touched = {node >> 1 for node in touched}
            touched.discard(0)  # above the root

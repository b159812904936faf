"""The incremental digest against its definition, computed the slow way."""

import random
from hashlib import sha256

import pytest

from node.ledger.state_digest import (
    BUCKETS,
    DamagedState,
    MemoryBuckets,
    StateDigest,
    bucket_hash,
    bucket_of,
)
from node.log.merkle import root_of_entries


def by_definition(state: dict[bytes, bytes]) -> bytes:
    """R20 word for word: all buckets, all hashes."""
    buckets: list[list[tuple[bytes, bytes]]] = [[] for _ in range(BUCKETS)]
    for key in sorted(state):
        buckets[int.from_bytes(sha256(key).digest()[:2], "big")].append((key, state[key]))
    hashes = []
    for pairs in buckets:
        data = b"".join(
            len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value
            for key, value in pairs
        )
        hashes.append(sha256(data).digest() if pairs else bytes(32))
    return root_of_entries(hashes)


def test_the_digest_follows_its_definition_through_changes() -> None:
    draw = random.Random(20)
    digest, buckets = StateDigest(), MemoryBuckets()
    state: dict[bytes, bytes] = {}
    assert digest.root == by_definition({})
    keys = [b"key/%d" % number for number in range(400)]
    for _ in range(4):
        changes: dict[bytes, bytes | None] = {
            key: None if draw.random() < 0.3 else draw.randbytes(draw.randrange(0, 40))
            for key in draw.sample(keys, 150)
        }
        buckets.write(digest.change(changes, buckets))
        for key, value in changes.items():
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        assert digest.root == by_definition(state)
        assert digest.keys == len(state)


def test_loading_a_stored_map_gives_the_same_digest() -> None:
    digest, buckets = StateDigest(), MemoryBuckets()
    buckets.write(digest.change({b"%d" % number: b"v" for number in range(300)}, buckets))
    again = StateDigest()
    again.load(
        (number, key, value) for number in range(BUCKETS) for key, value in buckets.bucket(number)
    )
    assert (again.root, again.keys) == (digest.root, 300)


def test_order_of_changes_does_not_matter() -> None:
    changes = {b"a": b"1", b"b": b"2", b"c": b"3"}
    one, other = StateDigest(), StateDigest()
    one.change(changes, MemoryBuckets())
    other.change(dict(reversed(changes.items())), MemoryBuckets())
    assert one.root == other.root


def test_a_bucket_that_changed_behind_our_back_is_found() -> None:
    digest, buckets = StateDigest(), MemoryBuckets(like_disk=True)
    buckets.write(digest.change({b"a": b"1"}, buckets))
    buckets.write({(bucket_of(b"a"), b"a"): b"2"})
    with pytest.raises(DamagedState, match="bucket"):
        digest.change({b"a": b"3"}, buckets)


def test_key_and_value_do_not_run_into_each_other() -> None:
    assert bucket_hash([(b"ab", b"c")]) != bucket_hash([(b"a", b"bc")])
    assert bucket_hash([]) == bytes(32)

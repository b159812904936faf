"""Who is enough, and who leads (SPEC 1 and 6.1; RULINGS R1, R2, R9, R11)."""

import struct
from fractions import Fraction
from hashlib import sha256
from math import floor

import pytest

from consensus.committee import VALIDATORS_MAX, Committee, committee_hash, leader_order, quorum_of
from consensus.types import Digest, Millis, Round
from tests.unit.consensus.blocks import CHAIN, GENESIS_MS, MEMBERS, committee_of

KEYS = tuple(sha256(b"key %d" % i).digest() for i in range(7))


def test_the_quorum_of_every_size_a_genesis_may_list() -> None:
    for n in range(1, VALIDATORS_MAX + 1):
        committee = committee_of(n)
        f = (n - 1) // 3
        assert quorum_of(n) == floor(Fraction(2 * n, 3)) + 1
        assert committee.quorum == n - f == quorum_of(n)
        assert committee.faults == f
        assert committee.validity == f + 1
        # Why these numbers: two quorums share an honest author, and the honest alone are a quorum.
        assert 2 * committee.quorum - n >= f + 1
        assert n - f >= committee.quorum


@pytest.mark.parametrize(
    ("n", "quorum"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (8, 6), (200, 134)]
)
def test_quorums_known_by_heart(n: int, quorum: int) -> None:
    assert quorum_of(n) == quorum


@pytest.mark.parametrize("n", [5, 6, 8, 9, 200])
def test_a_quorum_is_more_than_2f_plus_1_where_n_is_not_3f_plus_1(n: int) -> None:
    """RULINGS R2: with 2f+1 two such sets of five validators would share no honest one."""
    assert quorum_of(n) > 2 * ((n - 1) // 3) + 1


def test_the_committee_hash_is_written_out() -> None:
    message = struct.pack(">IH", 3, 7) + b"".join(KEYS)
    assert committee_hash(3, KEYS) == sha256(b"\x0bcommittee/1" + message).digest()


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"block_keys\[1\]=31 bytes"):
        committee_hash(0, [KEYS[0], KEYS[1][:31]])


def test_genesis_blocks_are_written_out() -> None:
    committee = Committee.found(
        chain_id=CHAIN,
        block_keys=KEYS,
        genesis_time_ms=GENESIS_MS,
        epoch=2,
        previous_commit=MEMBERS,
    )
    for author, genesis in enumerate(committee.genesis):
        message = CHAIN + struct.pack(">IH", 2, author) + MEMBERS + committee_hash(2, KEYS)
        assert genesis == (0, author, sha256(b"\x09genesis/1" + message).digest())


def test_leaders_are_sorted_by_the_hash_of_seed_and_index() -> None:
    expected = sorted(
        range(7), key=lambda i: sha256(b"\x08leader/1" + CHAIN + struct.pack(">H", i)).digest()
    )
    assert list(leader_order(CHAIN, 7)) == expected
    assert expected != list(range(7))  # else the test would not tell the order from the identity


def test_the_first_epoch_draws_from_the_chain_and_later_ones_from_the_commit_before() -> None:
    first = Committee.found(chain_id=CHAIN, block_keys=KEYS, genesis_time_ms=GENESIS_MS)
    later = Committee.found(
        chain_id=CHAIN,
        block_keys=KEYS,
        genesis_time_ms=GENESIS_MS,
        epoch=1,
        previous_commit=MEMBERS,
    )
    assert first.leaders == leader_order(CHAIN, 7)
    assert later.leaders == leader_order(MEMBERS, 7)
    assert first.leaders != later.leaders


def test_leaders_take_turns() -> None:
    committee = Committee.found(chain_id=CHAIN, block_keys=KEYS, genesis_time_ms=GENESIS_MS)
    turns = [committee.leader(Round(r)) for r in range(14)]
    assert turns[:7] == turns[7:] == list(committee.leaders)
    assert set(turns) == set(range(7))


@pytest.mark.parametrize("size", [0, VALIDATORS_MAX + 1])
def test_a_committee_out_of_bounds_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} validators"):
        committee_of(size)


def test_chain_and_epoch_are_in_every_genesis_digest() -> None:
    """No block of one ledger or epoch can have the parents of another's (SPEC 2)."""

    def genesis(chain: Digest, epoch: int) -> set[bytes]:
        committee = Committee.found(
            chain_id=chain, block_keys=KEYS, genesis_time_ms=Millis(0), epoch=epoch
        )
        return {name.digest for name in committee.genesis}

    digests = [genesis(CHAIN, 0), genesis(CHAIN, 1), genesis(MEMBERS, 0)]
    assert len(set().union(*digests)) == 3 * 7

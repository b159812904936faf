"""The checker can fail: each thing that it looks for is shown to it once."""

from hashlib import sha256

import pytest

from node.log import merkle
from tests.chaos.checker import (
    Disk,
    Wrong,
    no_statement_twice,
    nothing_lost,
    one_block_each,
    prefix_roots,
    same_leaves,
)

LEAVES = [b"\xd2entry %d" % number for number in range(21)]


def disk(**changed: tuple[bytes, bytes]) -> Disk:
    blocks = {(1, 0): (b"a", b"x"), (1, 1): (b"b", b"y")}
    if changed:
        blocks[1, 1] = changed["block"]
    return Disk(leaves=LEAVES, blocks=blocks)


def test_roots_are_those_of_the_log() -> None:
    roots = prefix_roots(LEAVES)
    assert roots == [merkle.root_of_entries(LEAVES[:size]) for size in range(len(LEAVES) + 1)]


def test_other_bytes_and_shorter_logs() -> None:
    same_leaves("US", LEAVES, "CN", list(LEAVES))
    with pytest.raises(Wrong, match="leaf 3 differs"):
        same_leaves("US", LEAVES, "CN", [*LEAVES[:3], b"\xd2other", *LEAVES[4:]])
    with pytest.raises(Wrong, match="CN 20"):
        same_leaves("US", LEAVES, "CN", LEAVES[:-1])


def test_two_blocks_of_one_round() -> None:
    assert one_block_each({"US": disk(), "CN": disk()}) == 2
    with pytest.raises(Wrong, match="member 1 has two blocks of round 1"):
        one_block_each({"US": disk(), "CN": disk(block=(b"c", b"z"))})
    with pytest.raises(Wrong, match="member 1 has two blocks of round 1"):
        one_block_each({"US": disk(), "CN": disk(block=(b"b", b"other bytes"))})


def test_lost_and_twice() -> None:
    promised = {sha256(LEAVES[5]).digest(): "KE"}
    nothing_lost(LEAVES, promised)
    with pytest.raises(Wrong, match=r"1 acknowledged entries are in no log, promised by \['KE'\]"):
        nothing_lost(LEAVES[:5], promised)
    with pytest.raises(Wrong, match="a second time"):
        no_statement_twice([*LEAVES, LEAVES[2]])

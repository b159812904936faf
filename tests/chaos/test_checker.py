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
    one_outcome_each,
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


def line(**changed: object) -> dict[str, object]:
    decided: dict[str, object] = {
        "slot": 1,
        "leader": "US",
        "member": 0,
        "decision": "commit",
        "how": "direct",
        "block": "aa",
        "commit": 1,
        "deciders": [[3, member, "cc"] for member in range(3)],
    }
    return decided | changed


def test_decision_logs() -> None:
    blocks = {(1, 0, "aa"), (1, 0, "bb"), *((3, member, "cc") for member in range(4))}
    indirect = line(how="indirect", deciders=[])
    assert one_outcome_each({"US": [line(), line()], "CN": [indirect]}, blocks, quorum=3) == 1
    for wrong, why in (
        (line(block="bb"), "another"),
        (line(decision="skip", block=None), "another"),
        (line(deciders=[[3, 0, "cc"], [3, 0, "cc"], [3, 1, "cc"]]), "2 members of round 3"),
        (line(deciders=[[3, member, "dd"] for member in range(3)]), "no disk holds"),
    ):
        with pytest.raises(Wrong, match=why):
            one_outcome_each({"US": [line()], "CN": [wrong]}, blocks, quorum=3)
    with pytest.raises(Wrong, match="leave out a slot"):
        one_outcome_each(
            {"US": [line(slot=2, deciders=[], how="indirect", decision="skip")]}, blocks, quorum=3
        )

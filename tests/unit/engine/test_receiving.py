"""A peer's bytes: verified once, charged when bad, and never remembered as bad by name."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from consensus.types import Block, Ref, Round, ValidatorIndex
from node.engine.receiving import INVALID_POINTS, SIGNATURE_POINTS, Receiver
from node.engine.recent import RecentBlocks
from node.network.hosting import Rejected
from node.signing.blocks import BlockVerifier
from node.signing.verify import VerifyPool
from tests.unit.engine.nodes import block_of, committee, data_of, proof_against
from tests.unit.ledger.founding import Founding, found


@pytest.fixture
def founding() -> Founding:
    return found()


@pytest.fixture
def fresh() -> list[Block]:
    """Blocks that were seen for the first time."""
    return []


@pytest.fixture
def receiver(founding: Founding, fresh: list[Block]) -> Iterator[Receiver]:
    with VerifyPool(threads=1) as pool:
        keys = [member.block_key for member in founding.genesis.members]
        verifier = BlockVerifier(committee(founding), keys, pool)
        yield Receiver(verifier, RecentBlocks(), fresh.append)


async def test_good_blocks_come_out_verified_in_order(
    founding: Founding, receiver: Receiver, fresh: list[Block]
) -> None:
    blocks = [block_of(founding, author, payload=(b"entry",)) for author in (3, 1, 2)]
    found_ = await receiver.open([data_of(block) for block in blocks])
    assert list(found_) == blocks
    assert fresh == [block.block for block in blocks]


async def test_a_copy_is_the_same_block_and_nothing_is_done_again(
    founding: Founding, receiver: Receiver, fresh: list[Block]
) -> None:
    first, second = block_of(founding, 1), block_of(founding, 2)
    (known,) = await receiver.open([data_of(first)])
    again = await receiver.open([data_of(second), data_of(first)])
    assert again[1] is known
    assert fresh == [first.block, second.block]


def spoiled(founding: Founding, how: str) -> bytes:
    good = block_of(founding, 1)
    other = founding.nodes[2]
    genesis = committee(founding).genesis
    match how:
        case "bad signature":
            return data_of(replace(good.block, signature=bytes(64)))
        case "another member's signature":
            return data_of(block_of(founding, 1, key=other.block))
        case "a slot of another member":
            return data_of(block_of(founding, 1, named=2))
        case "no member":
            return data_of(block_of(founding, 1, named=4))
        case "another chain":
            return data_of(block_of(founding, 1, chain_id=b"\x01" * 32))
        case "too few parents":
            return data_of(block_of(founding, 1, parents=genesis[1:2]))
        case "parents of no quorum in a later round":
            own = Ref(Round(4), ValidatorIndex(1), genesis[1].digest)
            return data_of(block_of(founding, 1, round_=5, parents=(own,)))
        case "cut short":
            return data_of(good)[:-1]
        case "something after the end":
            return data_of(good) + b"\x00"
        case "another payload":
            data = data_of(block_of(founding, 1, payload=(b"entry",)))
            return data.replace(b"entry", b"ENTRY")
        case _:
            return b""


AUTHORS_FAULT = ("too few parents", "parents of no quorum in a later round")
WAYS = (
    "bad signature",
    "another member's signature",
    "a slot of another member",
    "no member",
    "another chain",
    *AUTHORS_FAULT,
    "cut short",
    "something after the end",
    "another payload",
    "nothing",
)


@pytest.mark.parametrize("how", WAYS)
async def test_what_is_no_valid_block_is_rejected_and_spoils_its_bundle(
    founding: Founding, receiver: Receiver, fresh: list[Block], how: str
) -> None:
    good = block_of(founding, 3)
    with pytest.raises(Rejected) as rejected:
        await receiver.open([data_of(good), spoiled(founding, how)])
    expected = INVALID_POINTS if how in AUTHORS_FAULT else SIGNATURE_POINTS
    assert rejected.value.points == expected
    assert not fresh
    # A good block that came in bad company, or under a name that was spoiled before, is as good as ever.
    assert await receiver.open([data_of(good)]) == (good,)
    same_name = block_of(founding, 1)
    assert await receiver.open([data_of(same_name)]) == (same_name,)


async def test_a_key_of_another_role_signs_no_block(founding: Founding, receiver: Receiver) -> None:
    node = founding.nodes[1]
    for key in (node.log, node.cosigner):
        disguised = replace(key, role=node.block.role)
        with pytest.raises(Rejected):
            await receiver.open([data_of(block_of(founding, 1, key=disguised))])


# --- evidence (SPEC 12) --------------------------------------------------------------------------


async def test_a_block_with_good_proofs_is_verified(founding: Founding, receiver: Receiver) -> None:
    good = block_of(
        founding, 2, evidence=(proof_against(founding, 1), proof_against(founding, 3, round_=9))
    )
    assert await receiver.open([data_of(good)]) == (good,)


@pytest.mark.parametrize(
    "half", ["signature1", "signature2", "digest2", "round", "author", "epoch"]
)
async def test_a_proof_that_proves_nothing_makes_its_block_the_authors_fault(
    founding: Founding, receiver: Receiver, half: str
) -> None:
    proof = proof_against(founding, 1)
    changed: dict[str, object] = {
        "signature1": proof.signature2,
        "signature2": bytes(64),
        "digest2": b"\xff" * 32,
        "round": 2,
        "author": 3,
        "epoch": 1,
    }
    forged = replace(proof, **{half: changed[half]})  # type: ignore[arg-type]
    good = block_of(founding, 3)
    bad = block_of(founding, 2, evidence=(forged,))
    with pytest.raises(Rejected) as rejected:
        await receiver.open([data_of(bad), data_of(good)])
    assert rejected.value.points == INVALID_POINTS
    assert await receiver.open([data_of(good)]) == (good,)


async def test_verdicts_stay_with_their_blocks_whatever_proofs_are_among_them(
    founding: Founding, receiver: Receiver
) -> None:
    """Signatures of several blocks and proofs are judged together; each verdict must find its block."""
    nobodys = replace(proof_against(founding, 1), author=ValidatorIndex(9))
    for bad_at in range(3):
        blocks = [
            block_of(founding, author, evidence=(proof_against(founding, 0),))
            for author in (1, 2, 3)
        ]
        assert await receiver.open([data_of(block) for block in blocks]) == tuple(blocks)
        blocks[bad_at] = block_of(founding, bad_at + 1, round_=2, evidence=(nobodys,))
        with pytest.raises(Rejected, match=f"2/{bad_at + 1}/") as rejected:
            await receiver.open([data_of(block) for block in blocks])
        assert rejected.value.points == INVALID_POINTS

"""Blocks that are their author's word: the one place that makes a `VerifiedBlock` of somebody's bytes.

    check = BlockVerifier(committee, block_keys, pool)
    for verdict in await check.verify(blocks): VerifiedBlock, or Refused with whose fault it is

The proofs of equivocation that a block carries are verified with it: whoever signs a block with a proof that proves nothing
has made an invalid block (SPEC 12).

A verdict on a block is never remembered by its digest: the digest does not cover the signature, so a relay could spoil a good
block for everybody by sending it first with a bad one (SPEC 3).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from consensus.codec import (
    assemble_block,
    block_signing_bytes,
    encode_header,
    header_digest,
    proof_signing_bytes,
)
from consensus.committee import Committee
from consensus.types import Block, EquivocationProof, Header, Ref, VerifiedBlock
from consensus.validity import InvalidBlock, check_block
from node.signing.keys import Role, SigningKey
from node.signing.verify import SignatureCheck, VerifyPool


@dataclass(frozen=True, slots=True)
class Refused:
    """A well-formed block that nobody may build on."""

    ref: Ref
    why: str
    by_author: bool  # the author signed it: its fault too, not the sender's alone


class BlockVerifier:
    """Judges blocks of one committee; `block_keys` are in validator order."""

    def __init__(self, committee: Committee, block_keys: Sequence[bytes], pool: VerifyPool) -> None:
        assert len(block_keys) == committee.size, f"{len(block_keys)} keys for {committee.size}"
        self._committee = committee
        self._block_keys = tuple(block_keys)
        self._pool = pool

    async def verify(self, blocks: Sequence[Block]) -> list[VerifiedBlock | Refused]:
        """One verdict per block, in order. Signatures are checked in the pool's threads."""
        verdicts: list[VerifiedBlock | Refused | None] = []
        checks: list[SignatureCheck] = []
        for block in blocks:
            refused = self._before_signature(block)
            verdicts.append(refused)
            if refused is None:
                checks += self._checks(block)
        results = iter(await self._pool.verify_many(checks))
        return [
            self._judged(block, results) if verdict is None else verdict
            for block, verdict in zip(blocks, verdicts, strict=True)
        ]

    def _before_signature(self, block: Block) -> Refused | None:
        """A block of no key, or of another ledger: nothing that its author signed for us."""
        header, committee = block.header, self._committee
        if header.author >= committee.size:
            why = f"author={header.author}: the committee has {committee.size}"
        elif header.chain_id != committee.chain_id or header.epoch != committee.epoch:
            why = f"chain_id={header.chain_id.hex()}, epoch={header.epoch}: of another ledger or epoch"
        else:
            return None
        return Refused(block.ref, why, by_author=False)

    def _checks(self, block: Block) -> list[SignatureCheck]:
        """The block's signature, then two for each proof that it carries against a member (`_judged` takes as many)."""
        header = block.header
        own = SignatureCheck(
            self._block_keys[header.author],
            block_signing_bytes(header.chain_id, header.epoch, block.ref),
            block.signature,
        )
        return [own, *[check for proof in self._open(header) for check in self._halves(proof)]]

    def _open(self, header: Header) -> list[EquivocationProof]:
        return [proof for proof in header.evidence if proof.author < self._committee.size]

    def _halves(self, proof: EquivocationProof) -> list[SignatureCheck]:
        key = self._block_keys[proof.author]
        first, second = proof_signing_bytes(self._committee.chain_id, proof)
        return [
            SignatureCheck(key, first, proof.signature1),
            SignatureCheck(key, second, proof.signature2),
        ]

    def _judged(self, block: Block, results: Iterator[bool]) -> VerifiedBlock | Refused:
        """Takes the block's verdicts from `results`, all of them, whatever the first says."""
        good = next(results)
        unproven = [
            proof for proof in self._open(block.header) if not (next(results) & next(results))
        ]
        if not good:
            return Refused(block.ref, "signature: not its author's", by_author=False)
        try:
            check_block(block, self._committee)
        except InvalidBlock as err:
            return Refused(block.ref, str(err), by_author=True)
        if unproven:
            proof = unproven[0]
            why = f"evidence against {proof.author} in round {proof.round}: not signed by it"
            return Refused(block.ref, why, by_author=True)
        return VerifiedBlock(block)


def sign_block(key: SigningKey, header: Header, payload: tuple[bytes, ...]) -> VerifiedBlock:
    """Our own block. The caller answers for signing each round once."""
    assert key.role is Role.BLOCK, f"a block signed by a {key.role} key"
    ref = Ref(header.round, header.author, header_digest(encode_header(header)))
    signature = key.sign(block_signing_bytes(header.chain_id, header.epoch, ref))
    block = assemble_block(header, payload, signature)
    assert block.ref == ref, "one header, two names"
    return VerifiedBlock(block)


def of_own_store(block: Block) -> VerifiedBlock:
    """A block read back from where only verified ones are written."""
    return VerifiedBlock(block)

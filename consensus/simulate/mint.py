"""Every block of one run, as a value and as bytes, each made once.

Signatures are fake: 64 bytes hashed from what they sign. The core never verifies one (node/signing does, before the core
sees a block), so real ones would cost 50 microseconds each and test nothing here. For the same reason nodes share one
decoded value per block instead of decoding it at every arrival.
"""

import hashlib

from consensus.codec import assemble_block, block_signing_bytes, encode_block, make_header
from consensus.committee import Committee
from consensus.events import Propose
from consensus.types import Block, Digest, Ref, ValidatorIndex, VerifiedBlock


class Mint:
    """Makes blocks and remembers them all: what nodes read back, and what the all-seeing checkers and liars look at."""

    def __init__(self, committee: Committee) -> None:
        self.committee = committee
        self.verified: dict[Ref, VerifiedBlock] = {}
        self.data: dict[Ref, bytes] = {}
        self.by_data: dict[bytes, VerifiedBlock] = {}
        self.rounds: dict[int, list[Block]] = {}  # in order of making
        # Commit digest -> the honest who decided it: what stands for cosigned checkpoints, which are made and checked elsewhere.
        self.cosigned: dict[Digest, set[int]] = {}

    def make(self, author: int, wanted: Propose, payload: tuple[bytes, ...]) -> VerifiedBlock:
        """The block that answers `wanted`. The same bytes twice give the same value."""
        committee = self.committee
        header = make_header(
            chain_id=committee.chain_id,
            epoch=committee.epoch,
            author=ValidatorIndex(author),
            wanted=wanted,
            payload=payload,
        )
        unsigned = assemble_block(header, payload, bytes(64))
        known = self.verified.get(unsigned.ref)
        if known is not None:
            return known
        signed = block_signing_bytes(committee.chain_id, committee.epoch, unsigned.ref)
        block = Block(
            header=header, payload=payload, signature=fake_signature(signed), ref=unsigned.ref
        )
        verified = VerifiedBlock(block)
        data = encode_block(block)
        self.verified[block.ref] = verified
        self.data[block.ref] = data
        self.by_data[data] = verified
        self.rounds.setdefault(block.ref.round, []).append(block)
        return verified


def fake_signature(message: bytes) -> bytes:
    return hashlib.sha512(b"not a signature" + message).digest()

"""Who validates in an epoch, how many are enough, and who leads a round (SPEC 1, 6.1; RULINGS R1, R2, R9, R11).

Sets of validators are bit masks: bit i is validator i. A threshold is a population count, so one author never counts twice
(SPEC 17.10). At n=200 that is four machine words, where a set would be two hundred hashes.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from consensus.codec import genesis_ref, labelled_hash
from consensus.types import (
    DIGEST_BYTES,
    ZERO_DIGEST,
    CommitIndex,
    Digest,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)

VALIDATORS_MAX: Final = 1024  # as many members as a genesis may list
NO_COMMIT: Final = CommitIndex(0)


def quorum_of(size: int) -> int:
    """floor(2n/3) + 1 = n - f. Never 2f+1: that is less unless n = 3f+1 (RULINGS R2)."""
    return 2 * size // 3 + 1


def committee_hash(epoch: int, block_keys: Sequence[bytes]) -> Digest:
    """H("committee/1", u32 epoch || u16 n || the validators' block keys in order, 32 bytes each)."""
    for index, key in enumerate(block_keys):
        if len(key) != DIGEST_BYTES:
            raise ValueError(f"block_keys[{index}]={len(key)} bytes: a public key has 32")
    return labelled_hash(
        "committee/1", struct.pack(">IH", epoch, len(block_keys)) + b"".join(block_keys)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Committee:
    """The validators of one epoch; fixed for its whole length. Build it by `found`."""

    chain_id: Digest
    epoch: int
    size: int  # n
    committee_hash: Digest
    genesis_time_ms: (
        Millis  # of the last commit of the epoch before; at first of the genesis document
    )
    previous_index: CommitIndex  # of that commit: index and log go on from it; 0 and zeros at first
    previous_commit: Digest
    leaders: tuple[ValidatorIndex, ...]  # leader of round r is leaders[r mod n]
    genesis: tuple[Ref, ...]  # round-0 blocks by author
    faults: int  # f: as many may be Byzantine
    quorum: int  # n - f
    validity: int  # f + 1: one of as many is honest

    @classmethod
    def found(
        cls,
        *,
        chain_id: Digest,
        block_keys: Sequence[bytes],
        genesis_time_ms: Millis,
        epoch: int = 0,
        previous_index: CommitIndex = NO_COMMIT,
        previous_commit: Digest = ZERO_DIGEST,
    ) -> Self:
        """The committee of `epoch`, validators in the order of `block_keys`.

        `previous_commit` is the digest of the last commit of the epoch before, and `previous_index` its index; zeros at first,
        when the leader order is drawn from the chain id instead (RULINGS R9, R11).
        """
        seed = chain_id if previous_commit == ZERO_DIGEST else previous_commit
        return cls.with_order(
            leaders=leader_order(seed, len(block_keys)),
            chain_id=chain_id,
            members=committee_hash(epoch, block_keys),
            genesis_time_ms=genesis_time_ms,
            epoch=epoch,
            previous_index=previous_index,
            previous_commit=previous_commit,
        )

    @classmethod
    def with_order(
        cls,
        *,
        leaders: tuple[ValidatorIndex, ...],
        chain_id: Digest,
        members: Digest,
        genesis_time_ms: Millis,
        epoch: int = 0,
        previous_index: CommitIndex = NO_COMMIT,
        previous_commit: Digest = ZERO_DIGEST,
    ) -> Self:
        """As `found`, with the leader order given: conformance cases use the identity."""
        size = len(leaders)
        if not 1 <= size <= VALIDATORS_MAX:
            raise ValueError(f"{size} validators: from 1 to {VALIDATORS_MAX}")
        quorum = quorum_of(size)
        return cls(
            chain_id=chain_id,
            epoch=epoch,
            size=size,
            committee_hash=members,
            genesis_time_ms=genesis_time_ms,
            previous_index=previous_index,
            previous_commit=previous_commit,
            leaders=leaders,
            genesis=tuple(
                genesis_ref(
                    chain_id=chain_id,
                    epoch=epoch,
                    author=ValidatorIndex(author),
                    previous_commit=previous_commit,
                    committee_hash=members,
                )
                for author in range(size)
            ),
            faults=size - quorum,
            quorum=quorum,
            validity=size - quorum + 1,
        )

    def leader(self, round_: Round) -> ValidatorIndex:
        return self.leaders[round_ % self.size]


def leader_order(seed: Digest, size: int) -> tuple[ValidatorIndex, ...]:
    """Validators sorted by H("leader/1", seed || u16 index): public, and nobody chooses it (RULINGS R11)."""
    return tuple(
        sorted(
            map(ValidatorIndex, range(size)),
            key=lambda index: labelled_hash("leader/1", seed + struct.pack(">H", index)),
        )
    )

"""Proofs of equivocation: out of a commit's blocks into its batch, and out of the log again for those who have no blocks.

Blocks of several validators may carry different proofs against one author. The first in the commit's order stands for all, so
everybody who has the commit has the same batch; the accused ascend by validator.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from consensus.codec import MalformedBlock, decode_proof, encode_proof, proof_signing_bytes
from consensus.committee import Committee
from consensus.types import EquivocationProof, Header
from node.ledger.batch import Evidence
from node.ledger.errors import MalformedRecord
from node.signing.verify import SignatureCheck


def evidence_of(headers: Iterable[Header], states: Sequence[str]) -> tuple[Evidence, ...]:
    """What the blocks of one commit prove, in its order; all of them valid. `states`: who the validators of its epoch are."""
    first: dict[int, EquivocationProof] = {}
    for header in headers:
        for proof in header.evidence:
            first.setdefault(proof.author, proof)
    return tuple(_evidence(first[author], states[author]) for author in sorted(first))


def _evidence(proof: EquivocationProof, state: str) -> Evidence:
    return Evidence(state=state, epoch=proof.epoch, round=proof.round, proof=encode_proof(proof))


def evidence_in(record: Mapping[str, Any], states: Sequence[str]) -> Evidence:
    """What an `equivocation` record claims; its signatures are not verified. Raises MalformedRecord.

    `states`: who the validators of its epoch are. Whether its other fields say the same as its proof shows when the law writes
    the record again.
    """
    proof = _proof_in(record)
    if proof.author >= len(states):
        raise MalformedRecord(
            f"equivocation: proof.author={proof.author}: there are {len(states)} validators"
        )
    return _evidence(proof, states[proof.author])


def evidence_recorded(record: Mapping[str, Any]) -> Evidence:
    """The same for whoever believes the log: whose proof it is, the record says itself. Raises MalformedRecord."""
    state = record.get("state")
    if not isinstance(state, str):
        raise MalformedRecord("an equivocation record lacks its state")
    return _evidence(_proof_in(record), state)


def _proof_in(record: Mapping[str, Any]) -> EquivocationProof:
    data = record.get("proof")
    if not isinstance(data, bytes):
        raise MalformedRecord("an equivocation record lacks its proof")
    try:
        return decode_proof(data)
    except MalformedBlock as err:
        raise MalformedRecord(f"equivocation: {err}") from err


def proof_checks(
    proof: bytes, committee: Committee, block_keys: Sequence[bytes]
) -> tuple[SignatureCheck, SignatureCheck]:
    """The two signatures that make a proof one; `block_keys` in validator order. Raises MalformedBlock for other bytes."""
    decoded = decode_proof(proof)
    key = block_keys[decoded.author] if decoded.author < len(block_keys) else b""
    first, second = proof_signing_bytes(committee.chain_id, decoded)
    return (
        SignatureCheck(key, first, decoded.signature1),
        SignatureCheck(key, second, decoded.signature2),
    )

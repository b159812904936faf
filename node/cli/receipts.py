"""What a receipt proves, offline: nobody is asked, nothing is believed but the trust policy.

    verdict = verify_receipt(receipt, policy)
    verdict.proven       the leaf is entry `index` of a log whose root a quorum of states cosigned

A receipt of ours is a c2sp.org/tlog-proof@v1 file whose `extra` carries the leaf: one file says what is proven and proves it.
`extra` itself is authenticated by nothing; that the leaf leads to the cosigned root is what authenticates it. A receipt without a
leaf, from another tool, needs it handed in.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from node.cli.errors import CouldNot
from node.ledger.errors import MalformedRecord
from node.ledger.policy_chain import Policies
from node.ledger.view import leaf_view
from node.log.errors import MalformedProof
from node.log.policy import Evaluation, TrustPolicy, evaluate
from node.log.proof import EXTRA_BYTES_MAX, ProofFile, parse_proof
from node.log.tiles import ENTRY_BYTES_MAX
from node.signing.verify import mldsa_check, verify_ed25519

RECEIPT_BYTES_MAX: Final = 2 * 1024 * 1024
assert ENTRY_BYTES_MAX <= EXTRA_BYTES_MAX, "a receipt carries any entry"


class UntrustedReceipt(CouldNot):
    """The checkpoint is not one that the trust policy believes: nothing can be proven against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A checked receipt. `why` says what was seen; not proven is not a proof of absence."""

    proven: bool
    why: str
    origin: str
    index: int
    size: int
    root: bytes
    witnesses: tuple[str, ...]  # states whose cosignatures are good
    leaf: bytes
    content: dict[str, Any] | None  # the leaf for people; None if it is no leaf of ours

    def as_json(self) -> dict[str, Any]:
        return {
            "proven": self.proven,
            "why": self.why,
            "origin": self.origin,
            "index": self.index,
            "size": self.size,
            "root": self.root.hex(),
            "cosigned_by": list(self.witnesses),
            "content": self.content,
        }


def receipt_file(proof: bytes, leaf: bytes) -> bytes:
    """The proof with its leaf inside. Raises MalformedProof and its kin."""
    return bytes(replace(parse_proof(proof), extra=leaf or None))


def verify_receipt(
    receipt: bytes, policy: TrustPolicy | Policies, leaf: bytes | None = None
) -> Verdict:
    """Judge a receipt; `leaf` stands over the one inside.

    Raises:
        MalformedInput: not a proof file.
        UntrustedReceipt: the policy does not believe its checkpoint: an unknown log, a bad line, no quorum.
        CouldNot: no leaf, neither inside nor handed in.
    """
    proof = parse_proof(receipt)
    claimed = proof.extra if leaf is None else leaf
    if not claimed:
        raise CouldNot("the receipt carries no entry: hand it in with --entry")
    trusted = policy.of_note(proof.note) if isinstance(policy, Policies) else policy
    judged = evaluate(trusted, proof.note, verify_ed25519, mldsa_check())
    if not judged.satisfied:
        raise UntrustedReceipt(f"the receipt's checkpoint is not to be trusted: {judged.why}")
    root = _root(proof, claimed)
    proven = root == judged.checkpoint.root
    if proven:
        why = f"entry {proof.index} of {judged.checkpoint.size}, cosigned by {', '.join(judged.witnesses)}"
    elif root is None:
        why = f"the proof has no place for entry {proof.index} in {judged.checkpoint.size} entries"
    else:
        why = (
            f"this proof leads from the entry at index {proof.index} to root {root.hex()},"
            f" but the checkpoint has {judged.checkpoint.root.hex()}"
        )
    return _verdict(proof, judged, claimed, proven=proven, why=why)


def _root(proof: ProofFile, leaf: bytes) -> bytes | None:
    try:
        return proof.root_of(leaf)
    except MalformedProof:
        return None


def _verdict(
    proof: ProofFile, judged: Evaluation, leaf: bytes, *, proven: bool, why: str
) -> Verdict:
    try:
        content = leaf_view(proof.index, leaf)
    except MalformedRecord:
        content = None
    return Verdict(
        proven=proven,
        why=why,
        origin=judged.checkpoint.origin,
        index=proof.index,
        size=judged.checkpoint.size,
        root=judged.checkpoint.root,
        witnesses=judged.witnesses,
        leaf=leaf,
        content=content,
    )

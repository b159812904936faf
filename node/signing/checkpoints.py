"""The lines of a checkpoint: what a node signs after a commit is durable, and how it judges its peers'.

A cosignature is a promise that no second root at that size will follow (FORMATS 1.3), so the caller writes (size, root) to the
`cosign` file first (RULINGS R52) and only then lets a line leave. These functions sign; they keep no state.
"""

from dataclasses import dataclass

from node.log.checkpoint import Checkpoint
from node.log.cosignature import Cosignature, cosigned_message, cosigned_subtree_message
from node.log.note import KeyType, SignatureLine, VerifierKey, signature_line, verifier_key
from node.signing.keys import MldsaKey, Role, SigningKey
from node.signing.verify import mldsa_check, verify_ed25519


def log_vkey(origin: str, public_key: bytes) -> VerifierKey:
    """A node's log key: its name is the origin, so that n nodes share one name and differ by key ID (FORMATS 1.2)."""
    return verifier_key(origin, KeyType.ED25519, public_key)


def cosigner_name(origin: str, state: str) -> str:
    """The name of a state's cosigner: one per ledger and state, as the trust policy needs (RULINGS R44)."""
    return f"{origin}/cosigner/{state}"


def cosigner_vkey(origin: str, state: str, public_key: bytes) -> VerifierKey:
    return verifier_key(cosigner_name(origin, state), KeyType.COSIGNATURE, public_key)


def mldsa_cosigner_vkey(origin: str, state: str, public_key: bytes) -> VerifierKey:
    return verifier_key(f"{cosigner_name(origin, state)}/pq", KeyType.MLDSA_COSIGNATURE, public_key)


def witness_vkey(origin: str, state: str, public_key: bytes) -> VerifierKey:
    """The witness of a state's node, named after the ledger `origin` that the node belongs to. It signs other origins alone."""
    return verifier_key(f"{origin}/witness/{state}", KeyType.COSIGNATURE, public_key)


def sign_witness_line(
    key: SigningKey, vkey: VerifierKey, checkpoint: Checkpoint, timestamp: int
) -> SignatureLine:
    """The line of a witness over another log's checkpoint: consistent with all that this witness saw of it before."""
    assert key.role is Role.WITNESS, f"witness line by a {key.role} key"
    signature = key.sign(cosigned_message(timestamp, checkpoint.text()))
    return cosignature_line(vkey, Cosignature(timestamp=timestamp, signature=signature))


def sign_log_line(key: SigningKey, checkpoint: Checkpoint) -> SignatureLine:
    """The Ed25519 line of this node's log key over the checkpoint text."""
    assert key.role is Role.LOG, f"log line by a {key.role} key"
    return signature_line(log_vkey(checkpoint.origin, key.public), key.sign(checkpoint.text()))


def sign_cosignature(key: SigningKey, checkpoint: Checkpoint, timestamp: int) -> Cosignature:
    """A state's cosignature; `timestamp` in seconds by its own clock, never below its last (RULINGS R6)."""
    assert key.role is Role.COSIGNER, f"cosignature by a {key.role} key"
    message = cosigned_message(timestamp, checkpoint.text())
    return Cosignature(timestamp=timestamp, signature=key.sign(message))


def sign_mldsa_cosignature(
    key: MldsaKey, state: str, checkpoint: Checkpoint, timestamp: int
) -> Cosignature:
    """The second, ML-DSA-44 cosignature of a state."""
    vkey = mldsa_cosigner_vkey(checkpoint.origin, state, key.public)
    message = cosigned_subtree_message(timestamp, vkey.name, checkpoint)
    return Cosignature(timestamp=timestamp, signature=key.sign(message))


def cosignature_line(vkey: VerifierKey, cosignature: Cosignature) -> SignatureLine:
    return signature_line(vkey, bytes(cosignature))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCosignature:
    """A cosignature that is good under the registered cosigner key. Only `verify_cosignature` builds one."""

    state: str
    checkpoint: Checkpoint
    cosignature: Cosignature


def verify_cosignature(
    state: str, public_key: bytes, checkpoint: Checkpoint, cosignature: Cosignature
) -> VerifiedCosignature | None:
    """What a peer sent, if good under this state's registered cosigner key, else None."""
    message = cosigned_message(cosignature.timestamp, checkpoint.text())
    if not verify_ed25519(public_key, message, cosignature.signature):
        return None
    return VerifiedCosignature(state=state, checkpoint=checkpoint, cosignature=cosignature)


def verify_mldsa_cosignature(
    state: str, public_key: bytes, checkpoint: Checkpoint, cosignature: Cosignature
) -> bool | None:
    """Whether a state's second line is good under its ML-DSA key, of which it may have none (empty); None where this machine
    cannot tell.
    """
    if not public_key:
        return False
    check = mldsa_check()
    if check is None:
        return None
    vkey = mldsa_cosigner_vkey(checkpoint.origin, state, public_key)
    message = cosigned_subtree_message(cosignature.timestamp, vkey.name, checkpoint)
    return check(public_key, message, cosignature.signature)

"""A small world for the tests of this room: seven states of the vectors' kind, their keys, a log of a few entries.

Signatures are real (node/signing), so that a test can break one.
"""

from hashlib import sha256

from node.log import merkle
from node.log.checkpoint import Checkpoint
from node.log.note import Note, SignatureLine, VerifierKey
from node.log.policy import PolicyMember, policy_text
from node.signing import checkpoints
from node.signing.keys import Role, SigningKey

ORIGIN = "ledger.example/test"
STATES = ("AA", "BB", "CC", "DD", "EE", "FF", "GG")
QUORUM = 5
TIME = 1_790_000_000


def key(role: Role, label: str) -> SigningKey:
    return SigningKey.from_seed(role, sha256(f"test/{role}/{label}".encode()).digest())


LOG_KEYS = {state: key(Role.LOG, state) for state in STATES}
COSIGNERS = {state: key(Role.COSIGNER, state) for state in STATES}
LOG_VKEYS = {state: checkpoints.log_vkey(ORIGIN, LOG_KEYS[state].public) for state in STATES}
COSIGNER_VKEYS: dict[str, VerifierKey] = {
    state: checkpoints.cosigner_vkey(ORIGIN, state, COSIGNERS[state].public) for state in STATES
}
POLICY = policy_text(
    [
        PolicyMember(
            state=state,
            log_key=LOG_VKEYS[state],
            cosigner_key=COSIGNER_VKEYS[state],
            url=f"https://{state.lower()}.example",
        )
        for state in STATES
    ],
    QUORUM,
)


def tree(size: int, label: str = "entry") -> merkle.MemoryHashes:
    hashes = merkle.MemoryHashes()
    hashes.append(merkle.leaf_hashes(f"{label}-{index}".encode() for index in range(size)))
    return hashes


def checkpoint(size: int, label: str = "entry") -> Checkpoint:
    return Checkpoint(origin=ORIGIN, size=size, root=tree(size, label).tree.root())


def cosigner_line(state: str, of: Checkpoint, timestamp: int = TIME) -> SignatureLine:
    cosignature = checkpoints.sign_cosignature(COSIGNERS[state], of, timestamp)
    return checkpoints.cosignature_line(COSIGNER_VKEYS[state], cosignature)


def note(of: Checkpoint, states: tuple[str, ...] = (), log: str | None = "AA") -> bytes:
    lines = [] if log is None else [checkpoints.sign_log_line(LOG_KEYS[log], of)]
    lines += [cosigner_line(state, of, TIME + number) for number, state in enumerate(states)]
    return bytes(Note(text=of.text(), lines=tuple(lines)))

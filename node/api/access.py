"""Who reads what is restricted (RULINGS R61).

Public: checkpoints, hash tiles, proofs, and entries of class P. The rest goes to everybody if the genesis says `publication:
open`; else to members, the secretariat and the inspectors and evaluators of the genesis, who sign a `ReaderProof` with their
author key. A proof names the node it is for and when it expires, so that a node cannot use it at another. It comes in the
metadata of gRPC calls, and to entry bundles over HTTP in the header `foedus-reader`, base64 there.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError
from grpc import StatusCode

from consensus.codec import labelled_hash
from foedus.v1 import client_pb2 as pb
from node.api.node import ServedNode
from node.api.refusals import Unanswerable
from node.signing.keys import Role, SigningKey
from node.signing.verify import verify_ed25519

READER_KEY: Final = "foedus-reader-bin"
READER_HEADER: Final = "foedus-reader"
VALID_S_MAX: Final = 3600
PROOF_BYTES_MAX: Final = 1024
_READING_ROLES: Final = frozenset({"secretariat", "inspector", "evaluator"})
_OPEN: Final = "open"


def reader_message(chain_id: bytes, node: str, party: str, expires_s: int) -> bytes:
    """What a reader signs: 32 bytes, H("sign/reader/1", chain id || u64 expires_s || u8 length || node || party)."""
    name = node.encode()
    body = chain_id + expires_s.to_bytes(8, "big") + bytes((len(name),)) + name + party.encode()
    return labelled_hash("sign/reader/1", body)


def sign_reader_proof(
    key: SigningKey, *, party: str, chain_id: bytes, node: str, expires_s: int
) -> bytes:
    """The value of the metadata `foedus-reader-bin`."""
    assert key.role is Role.AUTHOR, f"reader's proof by a {key.role} key"
    return pb.ReaderProof(
        party=party,
        kid=key.kid,
        node=node,
        expires_s=expires_s,
        signature=key.sign(reader_message(chain_id, node, party, expires_s)),
    ).SerializeToString()


class Access:
    """Judges who asks. `is_open` ledgers let everybody read."""

    def __init__(self, node: ServedNode) -> None:
        self._node = node
        genesis = node.ledger.genesis
        self.is_open = genesis.publication == _OPEN
        self._readers = {party.id for party in genesis.parties if party.role in _READING_ROLES}

    def may_read(self, metadata: Sequence[tuple[str, str | bytes]]) -> bool:
        """True if restricted leaves may go to who sent this metadata. Raises Unanswerable for a proof that is no good."""
        if self.is_open:
            return True
        for key, value in metadata:
            if key == READER_KEY:
                self._check(value if isinstance(value, bytes) else value.encode())
                return True
        return False

    def may_read_bundles(self, header: str | None) -> bool:
        """The same for the HTTP header. Raises Unanswerable."""
        if self.is_open or header is None:
            return self.is_open
        try:
            proof = base64.b64decode(header, validate=True)
        except (binascii.Error, ValueError):
            raise _no_reader("proof", "not base64 of a ReaderProof") from None
        return self.may_read([(READER_KEY, proof)])

    def _check(self, data: bytes) -> None:
        proof = pb.ReaderProof()
        try:
            if len(data) > PROOF_BYTES_MAX:
                raise DecodeError
            proof.ParseFromString(data)
        except DecodeError:
            raise _no_reader("proof", "not a ReaderProof of at most 1,024 bytes") from None
        now, node = self._node.clock_s(), self._node
        if proof.node != node.state:
            raise _no_reader("node", f"the proof is for {proof.node!r}, this is {node.state!r}")
        if not now < proof.expires_s <= now + VALID_S_MAX:
            raise _no_reader(
                "expires_s",
                f"{proof.expires_s} is not within {VALID_S_MAX} s after this node's {now}",
            )
        law = node.ledger.law
        if proof.party not in law.members() and proof.party not in self._readers:
            raise _no_reader("party", f"{proof.party!r} is no reader of restricted entries")
        key = law.resolve_key(proof.party, proof.kid)
        message = reader_message(node.ledger.chain_id, proof.node, proof.party, proof.expires_s)
        if key is None or key.purpose != "author":
            raise _no_reader("kid", f"no author key of {proof.party!r} with this id is in force")
        if not verify_ed25519(key.public_key, message, proof.signature):
            raise _no_reader("signature", f"not by the author key of {proof.party!r}")


def _no_reader(field: str, why: str) -> Unanswerable:
    return Unanswerable(StatusCode.UNAUTHENTICATED, "READER", why, field=f"{READER_KEY}.{field}")

"""Receipts: the proof that one leaf is under a final checkpoint (FORMATS 8 and 9).

A tlog-proof carries the inclusion path and the checkpoint with this node's log line and enough cosignatures for the
trust policy. A COSE receipt is one log key's word on the root alone; for finality collect one from each of a quorum of nodes.
"""

from typing import Final

from grpc import StatusCode

from foedus.v1 import client_pb2 as pb
from node.api.node import ServedNode
from node.api.refusals import Unanswerable
from node.ledger.finality import LEAN_LINES_MAX
from node.log.checkpoint import parse_checkpoint
from node.log.cose import (
    ALG_ED25519,
    encode_inclusion_receipt,
    encode_receipt_header,
    sig_structure,
)
from node.log.note import Note
from node.log.proof import ProofFile

RETRY_MS: Final = 500


def receipt(
    node: ServedNode, index: int, *, cose: bool, alg: int = ALG_ED25519, outside: int = 0
) -> pb.GetReceiptResponse:
    """The proof for leaf `index`; `leaf` and `at` are left to the caller. `alg`: what a COSE receipt calls its algorithm.

    `outside`: under a checkpoint that so many outside witnesses cosigned. Raises Unanswerable if it is not final, or not
    witnessed.
    """
    note = _witnessed_note(node, outside) if outside else _final_note(node)
    checkpoint = None if note is None else parse_checkpoint(note.text)
    if note is None or checkpoint is None or index >= checkpoint.size:
        why = node.finality.alarm if node.finality.stopped else None
        so_far = 0 if checkpoint is None else checkpoint.size
        kind = "witnessed" if outside else "final"
        raise Unanswerable(
            StatusCode.FAILED_PRECONDITION,
            f"NOT_{kind.upper()}",
            why or f"entry {index} is not {kind} yet: {so_far} entries are",
            field="index",
            value=index,
            retry_after_ms=RETRY_MS,
        )
    size = checkpoint.size
    path = node.ledger.inclusion_proof(index, size)
    proof = ProofFile(index=index, hashes=tuple(path), note=bytes(note))
    answer = pb.GetReceiptResponse(index=index, size=size, tlog_proof=bytes(proof))
    if cose:
        issuer = node.ledger.genesis.origin
        protected = encode_receipt_header(node.log_key.kid, issuer, f"node/{node.state}", alg=alg)
        signature = node.log_key.sign(sig_structure(protected, checkpoint.root))
        answer.cose_receipts.append(
            encode_inclusion_receipt(protected, size, index, path, signature)
        )
    return answer


def _final_note(node: ServedNode) -> Note | None:
    """Readers may refuse a note of more than 100 lines (R42): own log line, then no more than are needed."""
    return node.finality.final_note(max(node.finality.quorum, LEAN_LINES_MAX))


def _witnessed_note(node: ServedNode, outside: int) -> Note | None:
    """Raises Unanswerable: no checkpoint here has so many outside lines, but another node's may."""
    note = None if node.outside is None else node.outside.note(outside)
    if note is None:
        raise Unanswerable(
            StatusCode.FAILED_PRECONDITION,
            "NOT_WITNESSED",
            f"this node has no checkpoint that {outside} outside witnesses cosigned: ask another",
            field="outside",
            value=outside,
        )
    return None if node.finality.stopped else note

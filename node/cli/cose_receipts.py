"""COSE receipts (RFC 9942) and transparent statements (RFC 9943), judged offline: which logs signed that an entry is in them.

    statement with receipts in its header (394)      or a receipt by itself, and the entry handed in
        each receipt -> root -> the log key of the policy that its kid names -> signature

One receipt is one node's word; a policy's quorum of its logs makes it final, as a quorum of cosignatures does in a .tlog-proof
(FORMATS 9). Size and index are claims: no signature covers them.
"""

from dataclasses import dataclass
from typing import Any, Final

from consensus.committee import quorum_of
from node.cli.errors import CouldNot
from node.ledger.errors import MalformedRecord
from node.ledger.policy_chain import Policies
from node.ledger.view import leaf_view
from node.log.cose import InclusionReceipt, parse_inclusion_receipt, parse_transparent
from node.log.errors import MalformedInput, MalformedProof, MalformedStatement
from node.log.note import VerifierKey
from node.log.policy import TrustPolicy
from node.signing.statements import entry_hash
from node.signing.verify import verify_ed25519

TAG: Final = 0xD2  # a COSE_Sign1 begins so; a tlog-proof begins with letters


@dataclass(frozen=True, slots=True, kw_only=True)
class CoseVerdict:
    """`logs`: whose receipts hold, as their keys are known; `bad`: why others do not."""

    logs: tuple[str, ...]
    of: int  # logs of the policy that knows most of them
    quorum: int
    bad: tuple[str, ...]
    index: int  # as the first receipt claims
    entry: bytes  # SHA-256
    content: dict[str, Any] | None

    @property
    def final(self) -> bool:
        return len(self.logs) >= self.quorum and not self.bad

    @property
    def why(self) -> str:
        signed = f"signed by {len(self.logs)} of {self.of} logs, {self.quorum} make it final"
        return "; ".join((signed, *self.bad))

    def as_json(self) -> dict[str, Any]:
        return {
            "proven": self.final,
            "why": self.why,
            "index": self.index,
            "entry": self.entry.hex(),
            "logs": list(self.logs),
            "quorum": self.quorum,
            "bad": list(self.bad),
            "content": self.content,
        }


def is_cose(data: bytes) -> bool:
    return data[:1] == bytes((TAG,))


def holds(receipt: bytes, entry: bytes, log_key: bytes) -> bool:
    """Whether this receipt is that log's word that the entry is in it. Whatever is malformed does not hold."""
    try:
        return parse_inclusion_receipt(receipt).holds(entry, log_key, verify_ed25519)
    except MalformedInput:
        return False


def verify_cose(data: bytes, entry: bytes | None, trust: TrustPolicy | Policies) -> CoseVerdict:
    """Judge a receipt, or a statement with receipts; `entry` stands over the one inside. Raises MalformedStatement, CouldNot."""
    inside, receipts = _parts(data)
    entry = inside if entry is None else entry
    if entry is None:
        raise CouldNot("the receipt carries no entry: hand it in with --entry")
    parsed = [parse_inclusion_receipt(receipt) for receipt in receipts]
    policies = [policy for _, policy in trust.held] if isinstance(trust, Policies) else [trust]
    judged = [_by_policy(policy, parsed, entry, parsed[0].index) for policy in policies]
    return max(judged, key=lambda verdict: (verdict.final, len(verdict.logs)))


def _parts(data: bytes) -> tuple[bytes | None, tuple[bytes, ...]]:
    try:
        return parse_transparent(data)
    except MalformedStatement:
        return None, (data,)


def _by_policy(
    policy: TrustPolicy, receipts: list[InclusionReceipt], entry: bytes, index: int
) -> CoseVerdict:
    signed: list[str] = []
    bad: list[str] = []
    for receipt in receipts:
        found, why = _signer(policy, receipt, entry)
        if found is None:
            bad.append(f"receipt with kid {receipt.kid.hex()}: {why}")
        elif str(found) not in signed:
            signed.append(str(found))
    try:
        content = leaf_view(index, entry)
    except MalformedRecord:
        content = None
    logs = len(policy.logs)
    return CoseVerdict(
        logs=tuple(signed),
        of=logs,
        quorum=quorum_of(logs),
        bad=tuple(bad),
        index=index,
        entry=entry_hash(entry),
        content=content,
    )


def _signer(
    policy: TrustPolicy, receipt: InclusionReceipt, entry: bytes
) -> tuple[VerifierKey | None, str]:
    try:
        for log in policy.logs:
            if receipt.holds(entry, log.key.public_key, verify_ed25519):
                return log.key, ""
    except MalformedProof as err:
        return None, str(err)
    return None, "no log of the policy signed this"

"""Evidence of two roots judged by this software, ML-DSA-44 lines among it: what `foedus-verify`, on PyNaCl alone, cannot check.

Nothing of a file is believed but what its ledger's founders and, link by link, their successors signed. A state is one party
under both of its cosigners: it contradicts itself by two lines of either kind, or by one of each. Once Ed25519 is doubted, who
reads the answer looks at `by_second_alone`: those whose two lines are both by ML-DSA-44, which no break of Ed25519 can forge.

No other kind of evidence can rest on such lines, for the ML-DSA-44 key is a second cosigner and nothing else (RULINGS R46): two
blocks are shown by a block key, a withheld entry by a log key, and the checkpoint beside that, like those of the links from epoch
to epoch, is final by its Ed25519 lines (R38), whatever second lines stand under it. `foedus-verify evidence` reads all of that.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from node.audit.blame import FORMAT
from node.audit.findings import TWO_ROOTS
from node.audit.source import CannotAudit
from node.ledger.errors import LedgerError
from node.ledger.genesis import chain_id, parse_genesis
from node.ledger.policy_chain import FORMAT as POLICIES_FORMAT
from node.ledger.policy_chain import Policies, follow, parse_links
from node.ledger.trust import trust_policy
from node.log.checkpoint import parse_checkpoint
from node.log.cosignature import Verify
from node.log.equivocation import Conflict, PrefixProof, find_conflict
from node.log.errors import MalformedInput
from node.log.note import parse_note
from node.log.policy import state_of_witness
from node.signing.verify import mldsa_check, verify_ed25519

EVIDENCE_BYTES_MAX: Final = 64 * 1024 * 1024
TEXTS: Final = (
    "genesis",
    "first",
    "second",
    "prefix_root",
)  # the last one and the lists may be left out
LISTS: Final = ("accused", "policies", "prefix_proof")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """Whom a file accuses, and of whom it shows it."""

    chain_id: str
    origin: str
    sizes: tuple[int, int]
    accused: tuple[str, ...]
    shown_of: tuple[str, ...]  # by lines of either kind
    by_ed25519_alone: tuple[str, ...]
    by_second_alone: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return set(self.accused) <= set(self.shown_of)


def confirm(data: bytes, pinned: bytes | None) -> Confirmed:
    """Judge one evidence file. `pinned`: the chain id, 32 bytes.

    Raises CannotAudit: not of its form, of another ledger or kind, or this machine has no ML-DSA-44.
    """
    check = mldsa_check()
    if check is None:
        raise CannotAudit(
            "this machine's cryptography library has no ML-DSA-44: want OpenSSL 3.5 or newer under it"
        )
    said = _parse(data)
    try:
        return _judge(said, pinned, check)
    except (LedgerError, MalformedInput, ValueError) as err:
        raise CannotAudit(f"evidence: {err!s:.300}") from err


def _parse(data: bytes) -> Mapping[str, Any]:
    """Raises CannotAudit."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise CannotAudit("evidence: a name stands twice in one object")
        return dict(pairs)

    if len(data) > EVIDENCE_BYTES_MAX:
        raise CannotAudit(f"evidence of {len(data)} bytes: at most {EVIDENCE_BYTES_MAX}")
    try:
        said = json.loads(data, object_pairs_hook=once)
    except (ValueError, RecursionError) as err:
        raise CannotAudit(f"evidence: not JSON: {err!s:.100}") from err
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise CannotAudit(f"evidence: want a JSON object of format {FORMAT}")
    if said.get("kind") != TWO_ROOTS:
        raise CannotAudit(
            f"evidence of kind {said.get('kind')!r:.40}: only {TWO_ROOTS} can rest on ML-DSA-44, by which states cosign and"
            " sign nothing else; `foedus-verify evidence` confirms the others"
        )
    said = {"prefix_root": "", "policies": [], "prefix_proof": [], **said}
    if not all(isinstance(said.get(name), str) for name in TEXTS):
        raise CannotAudit(f"evidence: {', '.join(TEXTS)}: want texts")
    if not all(isinstance(said.get(name), list) for name in LISTS):
        raise CannotAudit(f"evidence: {', '.join(LISTS)}: want lists")
    if not all(isinstance(text, str) for text in (*said["accused"], *said["prefix_proof"])):
        raise CannotAudit("evidence: accused, prefix_proof: want lists of texts")
    if not said["accused"]:
        raise CannotAudit("evidence: accuses nobody")
    return said


def _judge(said: Mapping[str, Any], pinned: bytes | None, check: Verify) -> Confirmed:
    """Raises CannotAudit, LedgerError, MalformedInput, ValueError."""
    document = base64.b64decode(said["genesis"], validate=True)
    if pinned not in (None, chain_id(document)):
        raise CannotAudit(f"evidence: of ledger {chain_id(document).hex()}, not of the one named")
    genesis = parse_genesis(document)
    chain = {"format": POLICIES_FORMAT, "links": said["policies"]}
    policies = follow(trust_policy(genesis), parse_links(json.dumps(chain).encode()))
    notes = (said["first"].encode(), said["second"].encode())
    prefix = None
    if said["prefix_root"]:
        proof = [bytes.fromhex(part) for part in said["prefix_proof"]]
        prefix = PrefixProof(root=bytes.fromhex(said["prefix_root"]), proof=proof)
    found = _conflict(policies, notes, prefix, check, state_of_witness)
    points = [parse_checkpoint(parse_note(note).text) for note in notes]
    if {point.origin for point in points} != {genesis.origin}:
        raise CannotAudit(f"evidence: want two checkpoints of {genesis.origin}")
    by_name = _conflict(policies, notes, prefix, check, str)
    same_kind = () if by_name is None else by_name.guilty
    return Confirmed(
        chain_id=chain_id(document).hex(),
        origin=genesis.origin,
        sizes=(points[0].size, points[1].size),
        accused=tuple(said["accused"]),
        shown_of=() if found is None else found.guilty,  # None: one log has both
        by_ed25519_alone=tuple(name for name in same_kind if state_of_witness(name) == name),
        by_second_alone=tuple(
            state_of_witness(name) for name in same_kind if state_of_witness(name) != name
        ),
    )


def _conflict(
    policies: Policies,
    notes: tuple[bytes, bytes],
    prefix: PrefixProof | None,
    check: Verify,
    whose: Any,
) -> Conflict | None:
    """Each note is judged by the policy of its own epoch."""
    return find_conflict(
        policies.of_note(notes[0]),
        *notes,
        verify_ed25519,
        verify_mldsa=check,
        prefix=prefix,
        second_policy=policies.of_note(notes[1]),
        whose=whose,
    )

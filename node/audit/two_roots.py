"""The evidence that states cosigned two checkpoints of which one log has at most one (`blame`, kind two-roots), from two notes.

With two sizes, `prefix_root` is the second log's root at the first size and `prefix_proof` the consistency proof from it: who
holds the larger log makes both. Nobody is accused who signed one of the two alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from node.audit.blame import evidence_document
from node.audit.findings import TWO_ROOTS
from node.audit.source import Lost, Source
from node.audit.structure import reader_of
from node.ledger.policy_chain import Link, Policies
from node.log.checkpoint import Checkpoint
from node.log.equivocation import PrefixProof, find_conflict
from node.log.merkle import consistency_proof, range_root, verify_consistency
from node.signing.verify import verify_ed25519


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoRoots:
    """Two checkpoints that are not of one log, and who signed both: empty if nobody did, then two liars are among many."""

    accused: tuple[str, ...]
    evidence: dict[str, Any]
    told: str = ""  # what an outside witness adds (`outside`)

    def __str__(self) -> str:
        told = f"{self.told}; " if self.told else ""
        if not self.accused and told:
            return f"{told}nobody is shown to have cosigned both logs"
        if not self.accused:
            return "two logs are signed by different states: nobody signed both, so who lies is not shown"
        return f"{told}two logs are signed by the same states: {', '.join(self.accused)}"


def prefix_of(source: Source, size: int, whole: Checkpoint) -> PrefixProof:
    """The root at `size` <= whole.size of the log that `source` holds, proven to be of `whole`'s.

    Raises Lost: its hashes do not lead to `whole`.
    """
    read_hash = reader_of(source)
    root = range_root(0, size, read_hash)
    proof = tuple(consistency_proof(size, whole.size, read_hash))
    if not verify_consistency(size, whole.size, root, whole.root, proof):
        raise Lost(
            f"{source.name}: its hash tiles do not lead to its own checkpoint of {whole.size}"
        )
    return PrefixProof(root=root, proof=proof)


def two_roots(
    policies: Policies,
    document: bytes,
    small: bytes,
    large: bytes,
    prefix: PrefixProof | None,
    links: Sequence[Link] = (),
) -> TwoRoots | None:
    """What two notes show, the smaller first; None if one log has both. `prefix`: of the larger at the size of the smaller.

    Each is judged by its own epoch's policy; `links` lead there, for whoever reads the evidence. Raises MalformedInput, as
    `find_conflict`.
    """
    conflict = find_conflict(
        policies.of_note(small),
        small,
        large,
        verify_ed25519,
        prefix=prefix,
        second_policy=policies.of_note(large),
    )
    if conflict is None:
        return None
    fields: dict[str, Any] = {
        "kind": TWO_ROOTS,
        "first": small.decode(),
        "second": large.decode(),
    }
    if prefix is not None and conflict.first.size != conflict.second.size:
        fields["prefix_root"] = prefix.root.hex()
        fields["prefix_proof"] = [each.hex() for each in prefix.proof]
    what = (
        f"two roots that no one log has, of sizes {conflict.first.size} and {conflict.second.size}"
    )
    return TwoRoots(
        accused=conflict.guilty,
        evidence=evidence_document(document, conflict.guilty, what, fields, links),
    )

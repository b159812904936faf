"""The evidence that states cosigned two checkpoints of which one log has at most one, as a file that `foedus-verify` confirms.

    {"format": "foedus/evidence/1", "kind": "two-roots", "genesis": base64, "accused": [states],
     "first": the smaller note, "second": the other, "prefix_root": hex, "prefix_proof": [hex]}

With two sizes, `prefix_root` is the second log's root at the first size and `prefix_proof` the consistency proof from it: who
holds the larger log makes both. Nobody is accused who signed one of the two alone.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from node.audit.source import Lost, Source
from node.log.checkpoint import Checkpoint
from node.log.equivocation import PrefixProof, find_conflict
from node.log.merkle import ReadHash, consistency_proof, node_hash, range_root, verify_consistency
from node.log.policy import TrustPolicy
from node.log.tiles import TILE_HEIGHT
from node.signing.verify import verify_ed25519

FORMAT: Final = "foedus/evidence/1"
KIND: Final = "two-roots"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoRoots:
    """Two checkpoints that are not of one log, and who signed both: empty if nobody did, then two liars are among many."""

    accused: tuple[str, ...]
    evidence: dict[str, Any]

    def __str__(self) -> str:
        if not self.accused:
            return "two logs are signed by different states: nobody signed both, so who lies is not shown"
        return f"two logs are signed by the same states: {', '.join(self.accused)}"


def read_hash_of(source: Source) -> ReadHash:
    """Hashes of any level, out of those that tiles hold. Raises Lost."""

    def read_hash(level: int, index: int) -> bytes:
        above = 0 if source.every_level else level % TILE_HEIGHT
        hashes = list(source.hashes(level - above, index << above, 1 << above))
        while len(hashes) > 1:
            hashes = [node_hash(*hashes[at : at + 2]) for at in range(0, len(hashes), 2)]
        return hashes[0]

    return read_hash


def prefix_of(source: Source, size: int, whole: Checkpoint) -> PrefixProof:
    """The root at `size` <= whole.size of the log that `source` holds, proven to be of `whole`'s.

    Raises Lost: its hashes do not lead to `whole`.
    """
    read_hash = read_hash_of(source)
    root = range_root(0, size, read_hash)
    proof = tuple(consistency_proof(size, whole.size, read_hash))
    if not verify_consistency(size, whole.size, root, whole.root, proof):
        raise Lost(
            f"{source.name}: its hash tiles do not lead to its own checkpoint of {whole.size}"
        )
    return PrefixProof(root=root, proof=proof)


def two_roots(
    policy: TrustPolicy,
    document: bytes,
    small: bytes,
    large: bytes,
    prefix: PrefixProof | None,
) -> TwoRoots | None:
    """What two notes show, the smaller first; None if one log has both. `prefix`: of the larger at the size of the smaller.

    Raises MalformedInput, as `find_conflict`.
    """
    conflict = find_conflict(policy, small, large, verify_ed25519, prefix=prefix)
    if conflict is None:
        return None
    evidence: dict[str, Any] = {
        "format": FORMAT,
        "kind": KIND,
        "genesis": base64.b64encode(document).decode(),
        "accused": list(conflict.guilty),
        "first": small.decode(),
        "second": large.decode(),
    }
    if prefix is not None and conflict.first.size != conflict.second.size:
        evidence["prefix_root"] = prefix.root.hex()
        evidence["prefix_proof"] = _hex(prefix.proof)
    return TwoRoots(accused=conflict.guilty, evidence=evidence)


def _hex(hashes: Sequence[bytes]) -> list[str]:
    return [each.hex() for each in hashes]

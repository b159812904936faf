"""Two certificates in, the guilty out.

A cosignature says "this is the one tree I have seen" (FORMATS 1.3). Whoever cosigned two checkpoints of one origin that
cannot both be prefixes of one log has lied, whatever the cause: conflicting quorums of n members share at least f+1.

    same size        two roots suffice
    sizes m < n      the larger tree's first m entries must have another root than the smaller certificate: shown by that
                     root and a consistency proof from it to the larger one, which whoever holds either tree can make
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.log.checkpoint import Checkpoint
from node.log.cosignature import Verify
from node.log.errors import MalformedProof
from node.log.merkle import verify_consistency
from node.log.policy import TrustPolicy, evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixProof:
    """`root` is that of the larger tree's first entries, as many as the smaller certificate has; `proof` shows it."""

    root: bytes
    proof: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two checkpoints that no honest log has both, and whose witnesses (in policy order) signed both."""

    first: Checkpoint
    second: Checkpoint
    guilty: tuple[str, ...]


def find_conflict(
    policy: TrustPolicy,
    first_note: bytes,
    second_note: bytes,
    verify: Verify,
    *,
    verify_mldsa: Verify | None = None,
    prefix: PrefixProof | None = None,
    second_policy: TrustPolicy | None = None,
    whose: Callable[[str], str] = str,
) -> Conflict | None:
    """The conflict between two checkpoint notes, or None where they do not contradict each other.

    `second_policy`: of the second one, where members or keys have changed between them; witnesses of one name are one.
    `whose`: the party of a witness' name; two witnesses of one party are one. With `verify_mldsa` lines of that kind count too.

    Notes need not be final: each cosigner's line is evidence by itself. Raises MalformedNote, MalformedCheckpoint, and
    MalformedProof if sizes differ and `prefix` is missing or does not verify.
    """
    a = evaluate(policy, first_note, verify, verify_mldsa)
    b = evaluate(second_policy or policy, second_note, verify, verify_mldsa)
    if a.checkpoint.origin != b.checkpoint.origin:
        return None
    small, large = sorted((a.checkpoint, b.checkpoint), key=lambda checkpoint: checkpoint.size)
    if small.size == large.size:
        other_root = large.root
    elif prefix is None:
        raise MalformedProof(f"sizes {small.size} and {large.size}: the larger's prefix is needed")
    elif not verify_consistency(small.size, large.size, prefix.root, large.root, prefix.proof):
        raise MalformedProof(
            f"prefix at {small.size} is not shown to be of the tree of {large.size}"
        )
    else:
        other_root = prefix.root
    if other_root == small.root:
        return None
    voices = [{whose(name) for name in (*e.witnesses, *e.beside)} for e in (a, b)]
    parties = dict.fromkeys(whose(witness.name) for witness in policy.witnesses)
    guilty = tuple(party for party in parties if party in voices[0] & voices[1])
    return Conflict(first=a.checkpoint, second=b.checkpoint, guilty=guilty)

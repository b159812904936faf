"""Proof that a quorum made one commit, in about 10 KB: final checkpoint, commit record, inclusion proof (RULINGS R45).

    lines        cosignatures of a quorum over (origin, size, root)            who says so
    proof        the commit record is leaf `leaf_index` of that tree           what they say it of
    leaf         its order digest is the commit's digest, which chains all     and so what order they mean
                 commits before it; its state digest, what the law made of it

Only commits that appended to the log have a record. The newest final checkpoint proves every one of them, so nothing is kept for
this. Both ways are here: `LogCertifier` finds and builds, `verify` takes a stranger's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from consensus.types import CommitIndex
from node.ledger.cosigned import Cosigned, encode_cosigned, parse_cosigned
from node.ledger.errors import MalformedRecord
from node.ledger.finality import FinalCheckpoint
from node.ledger.genesis import GenesisMember
from node.ledger.records import COMMIT_TYPE, decode_record
from node.log import merkle
from node.log.checkpoint import Checkpoint
from node.log.cosignature import Cosignature
from node.log.errors import MalformedProof
from node.signing.checkpoints import verify_cosignature
from node.storage.errors import StoreDamaged
from node.storage.keys import Facet
from node.storage.store import Store

DIGEST_BYTES: Final = 32


class BadCertificate(ValueError):
    """A peer's proof of a commit that is none: says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitCertificate:
    """As it travels: `lines` are `finality.encode_cosigned`."""

    leaf_index: int
    leaf: bytes
    proof: tuple[bytes, ...]
    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedRecord:
    """A commit record that a quorum stands behind."""

    index: int
    order_digest: bytes  # 32 bytes: the commit's digest
    leaf_index: int
    leaf: bytes
    checkpoint: Checkpoint
    lines: tuple[Cosigned, ...]  # ascending by member, all over `checkpoint`


class FinalSource(Protocol):
    """What of finality this needs."""

    @property
    def final(self) -> FinalCheckpoint | None: ...


class LogCertifier:
    """A `consensus.serving.Certifier` over this node's log. Lookups are binary searches by leaf index: about 20 reads."""

    def __init__(self, store: Store, finality: FinalSource) -> None:
        self._store = store
        self._finality = finality

    def last_certified(self, first: int, last: int) -> CommitIndex | None:
        """The highest commit in first..last whose record the final checkpoint covers."""
        found = self._record_after(last)
        low, high = 0, self._final_size() if found is None else found[0]
        before: tuple[int, int] | None = None
        while low < high:
            middle = (low + high) // 2
            record = self._record_at_or_after(middle, high)
            if record is None:
                high = middle
            else:
                before, low = record, record[0] + 1
        return CommitIndex(before[1]) if before is not None and before[1] >= first else None

    def next_certified(self, after: int) -> CommitIndex | None:
        """The lowest commit above `after` whose record the final checkpoint covers."""
        found = self._record_after(after)
        return None if found is None else CommitIndex(found[1])

    def certificate(self, index: int) -> CommitCertificate | None:
        """The proof of commit `index`; None if it has no record that is final. Raises StoreDamaged."""
        found, final = self._record_after(index - 1), self._finality.final
        if found is None or final is None or found[1] != index:
            return None
        leaf_index, size = found[0], final.checkpoint.size
        return CommitCertificate(
            leaf_index=leaf_index,
            leaf=self._store.entry(leaf_index),
            proof=tuple(merkle.inclusion_proof(leaf_index, size, self._store.hash)),
            lines=tuple([encode_cosigned(line) for line in final.lines]),
        )

    def _final_size(self) -> int:
        final = self._finality.final
        return 0 if final is None else final.checkpoint.size

    def _record_after(self, index: int) -> tuple[int, int] | None:
        """(leaf index, commit index) of the first final commit record above commit `index`."""
        low, high = 0, self._final_size()
        found: tuple[int, int] | None = None
        while low < high:
            middle = (low + high) // 2
            record = self._record_at_or_after(middle, high)
            if record is None:
                high = middle
            elif record[1] > index:
                found, high = record, middle
            else:
                low = record[0] + 1
        return found

    def _record_at_or_after(self, leaf_index: int, end: int) -> tuple[int, int] | None:
        """(leaf index, commit index) of the first commit record in [leaf_index, end)."""
        rows = self._store.indexes_by_facet(
            Facet.KIND, COMMIT_TYPE.encode(), first=leaf_index, end=end, limit=1
        )
        if not rows:
            return None
        try:
            return rows[0], _commit_record(self._store.entry(rows[0]))[0]
        except BadCertificate as err:
            raise StoreDamaged(
                f"{self._store.path}: entry {rows[0]}, indexed as a commit record: {err}"
            ) from err


def verify(
    certificate: CommitCertificate, *, origin: str, members: Sequence[GenesisMember]
) -> CertifiedRecord:
    """What a quorum of these members, the validators of the commit's epoch, stands behind. Raises BadCertificate."""
    lines = _lines(certificate.lines, len(members))
    size, root = lines[0].size, lines[0].root
    try:
        reached = merkle.fold_inclusion(
            merkle.leaf_hash(certificate.leaf), certificate.leaf_index, size, certificate.proof
        )
    except MalformedProof as err:
        raise BadCertificate(str(err)) from None
    if reached != root:
        raise BadCertificate(
            f"leaf {certificate.leaf_index} leads to root {reached.hex()}, cosigned is {root.hex()}"
        )
    index, order_digest = _commit_record(certificate.leaf)
    if index < 1:
        raise BadCertificate("leaf: of the genesis, which no order decided")
    checkpoint = Checkpoint(origin=origin, size=size, root=root)
    for line in lines:
        member = members[line.member]
        made = Cosignature(timestamp=line.timestamp, signature=line.signature)
        if verify_cosignature(member.state, member.cosigner_key, checkpoint, made) is None:
            raise BadCertificate(f"line of member {line.member}: not signed by {member.state}")
    return CertifiedRecord(
        index=index,
        order_digest=order_digest,
        leaf_index=certificate.leaf_index,
        leaf=certificate.leaf,
        checkpoint=checkpoint,
        lines=tuple(lines),
    )


def _lines(rows: Sequence[bytes], members: int) -> list[Cosigned]:
    """Lines of a quorum of distinct members over one size and root, ascending by member."""
    quorum = 2 * members // 3 + 1
    if not quorum <= len(rows) <= members:
        raise BadCertificate(f"{len(rows)} lines: want {quorum} to {members}")
    try:
        lines = [parse_cosigned(row) for row in rows]
    except MalformedRecord as err:
        raise BadCertificate(str(err)) from None
    who = [line.member for line in lines]
    if who != sorted(set(who)) or who[-1] >= members:
        raise BadCertificate(f"lines of members {who}: want each once, ascending, below {members}")
    if len({(line.size, line.root) for line in lines}) > 1:
        raise BadCertificate("lines over more than one size or root")
    return lines


def _commit_record(leaf: bytes) -> tuple[int, bytes]:
    """(commit index, order digest); the genesis is commit 0. Raises BadCertificate."""
    try:
        record = decode_record(leaf)
    except MalformedRecord as err:
        raise BadCertificate(f"leaf: {err}") from None
    index, digest = record.get("index"), record.get("order_digest")
    if record["type"] != COMMIT_TYPE or type(index) is not int or index < 0:
        raise BadCertificate(f"leaf: a {record['type']} record with index {index!r:.40}")
    if type(digest) is not bytes or len(digest) != DIGEST_BYTES:
        raise BadCertificate(f"leaf: order_digest {digest!r:.80}: want {DIGEST_BYTES} bytes")
    return index, digest

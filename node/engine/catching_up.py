"""Certified commits between peers and core (SPEC 11, RULINGS R45): certificates made, verified, and held against our own law.

serving    what `node.ledger.certificates` finds, with the commits that lead to it
reading    a peer's answer becomes commits and `Certified`, or is refused; its cosignatures also go to finality
comparing  a certified commit record says which leaf, and which state digest, the quorum's law came to. When our ledger has
           applied that commit, its own record must be the same bytes: else our law or our state is not the quorum's (R39)
"""

from typing import Final

from consensus import serving
from consensus.codec import MalformedBlock, decode_commit_record
from consensus.types import Certified, Commit, CommitIndex, Digest
from node.ledger.certificates import (
    BadCertificate,
    CertifiedRecord,
    CommitCertificate,
    LogCertifier,
    verify,
)
from node.ledger.epochs import Epoch
from node.ledger.finality import FinalCheckpoint, Finality
from node.ledger.plan import AppendPlan
from node.network import wire
from node.network.hosting import Rejected
from node.storage.epoch_blocks import EpochBlocks
from node.storage.store import Store

COMMITS_POINTS: Final = 20.0
CERTIFICATE_POINTS: Final = 40.0  # forged: no accident on the way
EXPECTED_MAX: Final = 64  # certified records that wait for our ledger; one comes with each answer


class CommitServer:
    """What peers are answered."""

    def __init__(self, blocks: EpochBlocks, store: Store, finality: Finality, epoch: Epoch) -> None:
        """Of one epoch: the commits that `blocks` shows, certified by its own members."""
        self._blocks = blocks
        self._certifier = LogCertifier(store, _OfEpoch(finality, epoch))

    def commits(self, first: int, last: int) -> wire.Commits:
        """Raises StoreDamaged."""
        found = serving.serve_commits(self._blocks, first, last, self._certifier)
        made = self._certifier.certificate(first + len(found) - 1) if found else None
        if made is None:
            return wire.Commits((), None)
        return wire.Commits(
            tuple(found),
            wire.Certificate(
                leaf_index=made.leaf_index, leaf=made.leaf, proof=made.proof, lines=made.lines
            ),
        )


class _OfEpoch:
    """The newest checkpoint that this epoch's members have made final; of one that is over, that of its last commit (R43)."""

    def __init__(self, finality: Finality, epoch: Epoch) -> None:
        self._finality = finality
        self._epoch = epoch

    @property
    def final(self) -> FinalCheckpoint | None:
        return self._finality.final_of(self._epoch.number)


class CommitReader:
    """What peers answer."""

    def __init__(self, epoch: Epoch, origin: str, finality: Finality) -> None:
        self._epoch = epoch
        self._origin = origin
        self._finality = finality
        self._expected: dict[int, CertifiedRecord] = {}  # by commit index, in order of arrival

    def read(self, answer: wire.Commits) -> tuple[tuple[Commit, ...], Certified | None]:
        """The commits, and what the certificate proves. Raises Rejected."""
        try:
            records = [decode_commit_record(data) for data in answer.commits]
        except MalformedBlock as err:
            raise Rejected(f"commits: {err}", COMMITS_POINTS) from None
        if any(record.deciders for record in records):
            raise Rejected("commits: with deciders, which no certificate covers", COMMITS_POINTS)
        if answer.certificate is None:
            return (), None
        found = self._verified(answer.certificate)
        certified = Certified(CommitIndex(found.index), Digest(found.order_digest))
        return tuple([record.commit for record in records]), certified

    def _verified(self, made: wire.Certificate) -> CertifiedRecord:
        certificate = CommitCertificate(
            leaf_index=made.leaf_index, leaf=made.leaf, proof=made.proof, lines=made.lines
        )
        try:
            found = verify(certificate, origin=self._origin, members=self._epoch.members)
        except BadCertificate as err:
            raise Rejected(f"certificate: {err}", CERTIFICATE_POINTS) from None
        self._expected[found.index] = found
        if len(self._expected) > EXPECTED_MAX:
            del self._expected[next(iter(self._expected))]
        for line in found.lines:
            self._finality.add(line, self._epoch.number)
        return found

    def contradiction(self, plan: AppendPlan) -> str | None:
        """What is wrong with the commit that was just applied, if a certified record says so."""
        expected = self._expected.pop(plan.index, None)
        if expected is None:
            return None
        place = plan.first + len(plan.leaves) - 1
        if plan.leaves and plan.leaves[-1].leaf == expected.leaf and place == expected.leaf_index:
            return None
        return (
            f"commit {plan.index}: a quorum certified its record as entry {expected.leaf_index}, ours ends at entry {place}"
            " and differs: our law or our state is not theirs. Run `foedus audit` on this home, then rebuild its store from peers"
        )

"""What following the order gives and takes, as values; `order` follows it."""

from dataclasses import dataclass
from typing import NamedTuple

from consensus.types import Commit, CommitIndex, CommitRecord, EquivocationProof, Ref
from node.ledger.batch import CommittedBatch, Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """One commit as the rule gives it, and the transactions it brings."""

    commit: Commit
    record: CommitRecord  # what a node keeps of it: with the deciders that led here
    entries: tuple[bytes, ...]
    evidence: tuple[Evidence, ...]  # what its blocks prove
    ends_epoch: bool


class Led(NamedTuple):
    """Where a commit begins: its leader, what decided it, and the record that said so, if there was one."""

    leader: Ref
    deciders: tuple[Ref, ...]
    record: CommitRecord | None


def batch_of(ordered: Ordered) -> CommittedBatch:
    """What the law is given of it."""
    commit = ordered.commit
    return CommittedBatch(
        index=commit.index,
        time_ms=commit.time_ms,
        order_digest=commit.digest,
        entries=ordered.entries,
        ends_epoch=ordered.ends_epoch,
        evidence=ordered.evidence,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStand:
    """Where the order stands after a commit, as far as the commit records up to it do not say."""

    index: CommitIndex
    accepted: tuple[
        Ref, ...
    ]  # blocks above the floor: by round and author, two of one author as they were accepted
    blocks: int  # verified so far
    misdeeds: tuple[EquivocationProof, ...]  # told so far


class BrokenOrder(Exception):
    """The order cannot be followed further; the finding is made already."""


class NotTakenUp(Exception):
    """What an earlier run kept does not fit what is here."""

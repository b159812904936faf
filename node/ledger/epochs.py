"""The epochs of a ledger: who validates in each, and where it begins and ends in order and log (SPEC 14; RULINGS R44).

All of it follows from the genesis and the log: the `epoch` record of an epoch's last commit, the commit record right after it,
and the entries that it names. So a store needs no table of its own for it, and an auditor finds the same.

    epoch 0   members of the genesis          commits 1 .. 70        sizes 1 .. 412      the genesis' trust policy
    epoch 1   as the record at leaf 410 says  commits 71 ..          sizes 413 ..        the policy hashed in that record

A checkpoint of up to `last_size` entries is judged by that epoch's members, a larger one by a later epoch's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from consensus.committee import VALIDATORS_MAX, Committee
from consensus.types import DIGEST_BYTES, CommitIndex, Digest, Millis
from node.ledger.errors import MalformedRecord
from node.ledger.genesis import Genesis, GenesisMember, chain_id
from node.ledger.records import EpochRecord, decode_record, parse_epoch_record
from node.ledger.seats import member_in
from node.ledger.trust import policy_of
from node.log.errors import MalformedPolicy

U64_MAX: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch. `last_commit` and `last_size` are None while it goes on."""

    number: int
    members: tuple[GenesisMember, ...]  # in validator order
    committee: Committee
    after_commit: int  # the last commit of the epoch before; 0 at first
    after_size: int  # entries of the log then
    last_commit: int | None = None
    last_size: int | None = None
    record_leaf: int | None = None  # of the record that began it; None for the founding epoch

    @property
    def is_over(self) -> bool:
        return self.last_commit is not None

    def index_of(self, state: str) -> int | None:
        """The validator index of a state; None: it has no seat in this epoch."""
        for index, member in enumerate(self.members):
            if member.state == state:
                return index
        return None

    def trust_policy(self, origin: str) -> bytes:
        """The tlog-policy text that its checkpoints satisfy."""
        return policy_of(origin, self.members)


def founding_epoch(genesis: Genesis, document: bytes) -> Epoch:
    return Epoch(
        number=0,
        members=genesis.members,
        committee=Committee.found(
            chain_id=Digest(chain_id(document)),
            block_keys=[member.block_key for member in genesis.members],
            genesis_time_ms=Millis(genesis.time_ms),
        ),
        after_commit=0,
        after_size=0,
    )


def next_epoch(
    before: Epoch,
    members: tuple[GenesisMember, ...],
    *,
    last_commit: int,
    last_digest: bytes,
    last_time_ms: int,
    last_size: int,
    record_leaf: int,
) -> tuple[Epoch, Epoch]:
    """(`before`, which is over; the one that follows it). `last_...` are of the commit that ended it."""
    committee = Committee.found(
        chain_id=before.committee.chain_id,
        block_keys=[member.block_key for member in members],
        genesis_time_ms=Millis(last_time_ms),
        epoch=before.number + 1,
        previous_index=CommitIndex(last_commit),
        previous_commit=Digest(last_digest),
    )
    return (
        replace(before, last_commit=last_commit, last_size=last_size),
        Epoch(
            number=before.number + 1,
            members=members,
            committee=committee,
            after_commit=last_commit,
            after_size=last_size,
            record_leaf=record_leaf,
        ),
    )


def epochs_of(
    genesis: Genesis, document: bytes, record_leaves: Sequence[int], leaf: Callable[[int], bytes]
) -> list[Epoch]:
    """All epochs so far, ascending. `record_leaves`: where the log has `epoch` records; `leaf` reads an entry.

    Nothing is asked of the law: each record names the entries that declared the seats, and what it hashes must be what these lead
    to. Whoever trusts the genesis and the checkpoints can follow. Raises MalformedRecord.
    """
    found = [founding_epoch(genesis, document)]
    for at in record_leaves:
        record = parse_epoch_record(leaf(at))
        index, time_ms, digest = _ending(leaf(at + 1), at + 1)
        states = [state for state, _ in record.members]
        if record.epoch != len(found) or not 0 < len(set(states)) == len(states) <= VALIDATORS_MAX:
            raise MalformedRecord(f"entry {at}: no end of epoch {len(found) - 1}")
        found[-1:] = next_epoch(
            found[-1],
            tuple([_seated(genesis, state, place, at, leaf) for state, place in record.members]),
            last_commit=index,
            last_digest=digest,
            last_time_ms=time_ms,
            last_size=at + 2,
            record_leaf=at,
        )
        _check_record(found[-1], record, genesis.origin)
    return found


def _ending(leaf: bytes, at: int) -> tuple[int, int, bytes]:
    """(index, time_ms, order digest) of the commit that ends an epoch, by its record. Raises MalformedRecord."""
    match decode_record(leaf):
        case {
            "type": "commit",
            "index": int(index),
            "time_ms": int(time_ms),
            "order_digest": bytes(digest),
        } if 0 < index <= U64_MAX and 0 <= time_ms <= U64_MAX and len(digest) == DIGEST_BYTES:
            return index, time_ms, digest
    raise MalformedRecord(f"entry {at}: no commit record with index, time_ms and order_digest")


def _seated(
    genesis: Genesis, state: str, place: int, before: int, leaf: Callable[[int], bytes]
) -> GenesisMember:
    if not place:
        founder = next((member for member in genesis.members if member.state == state), None)
        if founder is None:
            raise MalformedRecord(f"entry {before}: {state} has no seat in the genesis")
        return founder
    if place >= before:
        raise MalformedRecord(f"entry {before}: the seat of {state} is declared at {place}")
    return member_in(genesis, state, leaf(place), place)


def _check_record(epoch: Epoch, record: EpochRecord, origin: str) -> None:
    """Raises MalformedRecord unless the record hashes what this epoch's members lead to."""
    try:
        policy = epoch.trust_policy(origin)
    except MalformedPolicy as err:
        what = f"the members of epoch {epoch.number} give no trust policy: {err}"
        raise MalformedRecord(what) from err
    hashed = (epoch.committee.committee_hash, sha256(policy).digest())
    if hashed != (record.committee_hash, record.trust_policy):
        raise MalformedRecord(f"the record of epoch {epoch.number} hashes another committee")


def epoch_of_size(epochs: Sequence[Epoch], size: int) -> Epoch:
    """Whose members cosign a log of this size."""
    for epoch in reversed(epochs):
        if size > epoch.after_size:
            return epoch
    return epochs[0]

"""Whom an auditor believes at which size: he pins the genesis alone, and the log leads him on (FORMATS 1.7, RULINGS R44).

    genesis ──► members of epoch 0 ──► their checkpoint of the log up to its epoch record ──► members of epoch 1 ──► ...

An epoch record names the entries that declared its members' seats and hashes what they lead to, so a record, or a seat, that was
altered is found here; that the record is what the law makes of the register, the replay of the law shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from node.audit.findings import Depth, Findings
from node.audit.policies import EPOCHS_SINCE_LAW, members_of_policy
from node.audit.source import Lost, Source
from node.audit.web import WebSource
from node.ledger.epochs import Epoch, epoch_of_size, epochs_of, founding_epoch
from node.ledger.errors import MalformedRecord
from node.ledger.genesis import Genesis
from node.ledger.policy_chain import Policies

LEAVES_STEP: Final = 1024
# How the leaf of an epoch record begins, after the head of its map: deterministic CBOR puts the key "type" first.
RECORD_START: Final = b"dtypeeepoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The epochs that a copy's log shows, from the genesis on."""

    genesis: Genesis
    epochs: tuple[Epoch, ...]
    policies: Policies | None = (
        None  # of a node that shows no entries: then these say who is believed
    )

    @classmethod
    def founding(cls, genesis: Genesis, document: bytes) -> "Trust":
        """The founders, for ever."""
        return cls(genesis=genesis, epochs=(founding_epoch(genesis, document),))

    def at(self, size: int) -> Genesis:
        """The genesis as if those had founded the ledger who cosign a log of this size."""
        if self.policies is not None:
            members = members_of_policy(self.policies.at(size))
        else:
            members = epoch_of_size(self.epochs, size).members
        return replace(self.genesis, members=members)

    def handed_over(self, certified: set[int]) -> list[int]:
        """Sizes at which an epoch ended, of which these certified sizes have none: there the old members hand over to the new."""
        ends = [epoch.last_size for epoch in self.epochs if epoch.last_size is not None]
        return [size for size in ends if size not in certified]


def trust_of(source: Source, genesis: Genesis, document: bytes, findings: Findings) -> Trust:
    """Read the epoch records of a source. What is wrong with one is a finding; nobody is believed beyond it."""
    founding = Trust.founding(genesis, document)
    if isinstance(source, WebSource) and source.links and not source.shows_entries:
        return replace(founding, policies=source.policies)
    if genesis.law_version < EPOCHS_SINCE_LAW or not source.shows_entries:
        return founding
    leaves: list[int] = []
    try:
        for first in range(0, source.size, LEAVES_STEP):
            page = source.entries(first, min(LEAVES_STEP, source.size - first))
            leaves += [
                at for at, leaf in enumerate(page, start=first) if leaf[1:12] == RECORD_START
            ]
    except Lost:
        pass  # the structure says what is lost
    for known in range(len(leaves), -1, -1):
        try:
            epochs = epochs_of(genesis, document, leaves[:known], lambda at: _leaf(source, at))
        except (MalformedRecord, Lost) as err:
            findings.add(Depth.CERTIFICATES, f"who validates after epoch {known - 1}: {err}")
            continue
        return replace(founding, epochs=tuple(epochs))
    return founding


def _leaf(source: Source, at: int) -> bytes:
    """Raises Lost."""
    if at >= source.size:
        raise Lost(f"entry {at}: the copy has {source.size}")
    return source.entries(at, 1)[0]


def states_of(epochs: Sequence[Epoch]) -> list[str]:
    """All who validated in any of them, in the order in which they came."""
    return list(dict.fromkeys(member.state for epoch in epochs for member in epoch.members))

"""Derived leaves as bytes: the law's frozen values, the genesis record and the commit record (`records.cddl`).

Every node must make the same bytes by itself (RULINGS R17, R72), so they are deterministic CBOR with text keys, untagged:
their first byte is a map head, never 0xd2. What a stranger could guess carries a nonce (R62).
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from hashlib import sha256
from typing import Any, Final

from node.ledger.errors import MalformedRecord
from node.log import cbor
from node.log.errors import MalformedCbor
from node.log.merkle import root_of_entries
from node.treaty.derived import (
    Beacon,
    CaseStep,
    Decision,
    Derived,
    Drawn,
    EntryIntoForce,
    Equivocation,
    Finding,
    FindingEnded,
    MotionOpened,
    NamingStep,
    Outage,
    PolicyStep,
    Rejected,
    RoundOpened,
    RunStep,
    Uncountersigned,
    VetoCheck,
)

RECORD_BYTES_MAX: Final = 65_535  # as entries: a u16 length stands before each in a bundle
INPUTS_MAX: Final = 256  # R12
NONCE_BYTES: Final = 16
STATEMENT_FIRST_BYTE: Final = 0xD2

TYPE_OF: Final[dict[type[Any], str]] = {
    Rejected: "rejected",
    Uncountersigned: "uncountersigned",
    MotionOpened: "motion",
    Decision: "decision",
    Equivocation: "equivocation",
    Finding: "finding",
    FindingEnded: "finding_ended",
    CaseStep: "case",
    RunStep: "run",
    PolicyStep: "policy",
    VetoCheck: "veto_check",
    RoundOpened: "round",
    Beacon: "beacon",
    Drawn: "drawn",
    Outage: "outage",
    NamingStep: "naming",
    EntryIntoForce: "entry_into_force",
}
_FIELDS: Final = {kind: tuple(item.name for item in fields(kind)) for kind in TYPE_OF}
LATER_FIELDS: Final = {
    kind: tuple(item.name for item in fields(kind) if item.default is not MISSING)
    for kind in TYPE_OF
}
"""Of each type the fields that law 2 brought."""
GENESIS_TYPE: Final = "genesis"
COMMIT_TYPE: Final = "commit"
EQUIVOCATION_TYPE: Final = TYPE_OF[Equivocation]
OUTAGE_TYPE: Final = TYPE_OF[Outage]
EPOCH_TYPE: Final = "epoch"
TYPES: Final = frozenset({*TYPE_OF.values(), GENESIS_TYPE, COMMIT_TYPE, EPOCH_TYPE})


def is_record(leaf: bytes) -> bool:
    """True for a record, False for a signed statement: told apart by the first byte (FORMATS 3)."""
    return leaf[:1] != bytes((STATEMENT_FIRST_BYTE,))


def nonce(state_digest_before: bytes, ordinal: int) -> bytes:
    """R62; `ordinal` counts the commit's derived records from 0."""
    data = b"nonce/1" + state_digest_before + ordinal.to_bytes(4, "big")
    return sha256(data).digest()[:NONCE_BYTES]


def encode_derived(derived: Derived, record_nonce: bytes) -> bytes:
    """The leaf of one derived value."""
    value: dict[str, Any] = {"type": TYPE_OF[type(derived)], "nonce": record_nonce}
    for name in _FIELDS[type(derived)]:
        value[name] = getattr(derived, name)
    for name in LATER_FIELDS[type(derived)]:
        if value[name] is None:  # law 1 had no such field
            del value[name]
    if isinstance(derived, Finding) and len(derived.inputs) > INPUTS_MAX:
        del value["inputs"]
        value["inputs_count"] = len(derived.inputs)
        value["inputs_root"] = root_of_entries(sorted(derived.inputs))
    if isinstance(derived, Drawn) and len(derived.population) > INPUTS_MAX:
        del value["population"]
        value["population_count"] = len(derived.population)
        value["population_root"] = root_of_entries([name.encode() for name in derived.population])
    leaf = cbor.encode(value)
    assert len(leaf) <= RECORD_BYTES_MAX, f"{value['type']} record of {len(leaf)} bytes"
    return leaf


def encode_genesis_record(chain_id: bytes, origin: str) -> bytes:
    """Leaf 0."""
    return cbor.encode({"type": GENESIS_TYPE, "chain_id": chain_id, "origin": origin})


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """What the last commit of an epoch says of the next one (RULINGS R44)."""

    epoch: int  # the next one's number, from 1
    # In validator order: a state, and the entry that declared its seat; 0, the genesis' own leaf, where that one lists it
    members: tuple[tuple[str, int], ...]
    committee_hash: bytes  # over its number and their block keys, as its blocks and commits have it
    trust_policy: (
        bytes  # SHA-256 of the policy text that its checkpoints satisfy (`trust.policy_of`)
    )


def encode_epoch_record(record: EpochRecord) -> bytes:
    """The leaf before the commit record of an epoch's last commit. Nothing in it is secret: it has no nonce."""
    leaf = cbor.encode(
        {
            "type": EPOCH_TYPE,
            "epoch": record.epoch,
            "members": [list(member) for member in record.members],
            "committee_hash": record.committee_hash,
            "trust_policy": record.trust_policy,
        }
    )
    assert len(leaf) <= RECORD_BYTES_MAX, f"epoch record of {len(leaf)} bytes"
    return leaf


def parse_epoch_record(leaf: bytes) -> EpochRecord:
    """Raises MalformedRecord."""
    match decode_record(leaf):
        case {
            "type": "epoch",
            "epoch": int(epoch),
            "members": list(members),
            "committee_hash": bytes(committee_hash),
            "trust_policy": bytes(trust_policy),
        } if all(_is_seated(member) for member in members):
            record = EpochRecord(
                epoch=epoch,
                members=tuple((state, leaf) for state, leaf in members),
                committee_hash=committee_hash,
                trust_policy=trust_policy,
            )
            if encode_epoch_record(record) == leaf:
                return record
    raise MalformedRecord("no epoch record: wants epoch, members, committee_hash, trust_policy")


def _is_seated(member: object) -> bool:
    return (
        isinstance(member, list)
        and len(member) == 2
        and isinstance(member[0], str)
        and type(member[1]) is int
        and member[1] >= 0
    )


def encode_commit_record(
    *,
    index: int,
    time_ms: int,
    order_digest: bytes,
    dropped: Mapping[str, int],
    state_digest: bytes,
) -> bytes:
    """The last leaf of a commit (R22)."""
    return cbor.encode(
        {
            "type": COMMIT_TYPE,
            "index": index,
            "time_ms": time_ms,
            "order_digest": order_digest,
            "dropped": dict(dropped),
            "state_digest": state_digest,
        }
    )


def decode_record(leaf: bytes) -> dict[str, Any]:
    """A record's fields, `type` one of TYPES. Raises MalformedRecord; encoding the fields again gives the leaf."""
    try:
        value = cbor.decode_record(leaf)
    except MalformedCbor as err:
        raise MalformedRecord(str(err)) from err
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        raise MalformedRecord(f"record of type {kind!r:.40}: not in records.cddl")
    return value


def encode_dropped(dropped: Mapping[str, int]) -> bytes:
    """Counts carried from commits that appended nothing to the next commit record."""
    return cbor.encode(dict(dropped))


def decode_dropped(data: bytes) -> dict[str, int]:
    """Raises MalformedRecord."""
    try:
        value = cbor.decode_record(data)
    except MalformedCbor as err:
        raise MalformedRecord(str(err)) from err
    if not all(type(count) is int and count > 0 for count in value.values()):
        raise MalformedRecord("carried counts: want positive integers")
    return value

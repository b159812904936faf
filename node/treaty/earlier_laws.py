"""What the schema was when laws 1 and 2 were frozen (decision records 0120, 0187).

A later schema knows more kinds, fields and words. On a ledger of an earlier law they must stay what they were there, an
unknown field: SCHEMA, dropped. Otherwise a node with newer software would tell the history of that ledger differently.
"""

from functools import cache
from typing import Final

from google.protobuf.descriptor import Descriptor

from foedus.v1 import content_pb2 as pb
from node.treaty.entries import ParsedEntry

NEWEST: Final = 3  # nothing is unknown to it
# The highest field number of each kind's message under law 1; kinds that came later are missing.
_LAST_FIELD_LAW_1: Final = {
    "identity": 5,
    "instrument": 3,
    "facility": 5,
    "usage": 7,
    "energy": 7,
    "run": 13,
    "note": 4,
    "chip_type": 3,
    "chip_batch": 3,
    "custody": 8,
    "inventory": 4,
    "eval": 5,
    "inspection": 5,
    "TRAIN": 2,
    "BREACH": 0,
    "DEPLOY": 3,
    "EXEMPT": 2,
    "CLASS": 2,
    "HALT": 0,
    "INSPECT": 0,
    "AMEND": 9,
    "TIGHTEN_NOW": 2,
    "APPEAL": 0,
    "APPOINT": 2,
    "CHIPTYPE": 0,
    "CLASSIFY": 0,
    "SUSPEND": 0,
    "vote": 5,
}


# The same under law 2, of the kinds that have grown since.
_LAST_FIELD_LAW_2: Final = {"run": 21, "inspection": 10}


def was_unknown(parsed: ParsedEntry, law: int) -> str:
    """What of this entry the schema of that law did not have; empty: nothing."""
    unknown = _unknown_to_law_1(parsed) if law == 1 else _unknown_to_law_2(parsed)
    return unknown or _doubled(parsed)


# Lists whose rule counts distinct names; until law 3 one name twice in them was no form at all.
_COUNTED: Final = {"DEPLOY": "stewards", "TRAIN": "inspectors", "instrument": "attested_by"}


def _doubled(parsed: ParsedEntry) -> str:
    name = _COUNTED.get(parsed.kind)
    if name is None:
        return ""
    items = getattr(parsed.body, name)
    return f"{parsed.kind}.{name}: one item twice" if len(set(items)) != len(items) else ""


def _unknown_to_law_2(parsed: ParsedEntry) -> str:
    last = _LAST_FIELD_LAW_2.get(parsed.kind)
    if last is not None:
        for descriptor, _ in parsed.body.ListFields():
            if descriptor.number > last:
                return f"law 2 knows no field {parsed.kind}.{descriptor.name}"
    elif parsed.kind == "note" and parsed.body.type > pb.NOTE_TYPE_EXPLAINED:
        return "law 2 knows no such type of note"
    elif parsed.kind == "usage" and any(one.HasField("run") for one in parsed.body.served):
        return "law 2 knows no field usage.served.run"
    return ""


def _unknown_to_law_1(parsed: ParsedEntry) -> str:
    last = _LAST_FIELD_LAW_1.get(parsed.kind)
    if last is None:
        return f"law 1 knows no {parsed.kind}"
    # Most entries are of kinds whose message has not grown: to list what they set takes as long as their rule.
    if _has_grown(parsed.kind, parsed.body.DESCRIPTOR):
        for descriptor, _ in parsed.body.ListFields():
            if descriptor.number > last:
                return f"law 1 knows no field {parsed.kind}.{descriptor.name}"
    if parsed.kind == "identity" and parsed.body.role > pb.PARTY_ROLE_STATE:
        return "law 1 knows no such role"
    if parsed.kind == "APPOINT" and parsed.body.what > pb.APPOINTMENT_TYPE_CAPABILITY:
        return "law 1 knows no such appointment"
    if parsed.kind == "note" and parsed.body.type > pb.NOTE_TYPE_OFFER:
        return "law 1 knows no such type of note"
    if any("/" in name for name in _named_barely(parsed)):
        return "law 1 knows chip types and evaluated models by bare names"
    return ""


def _named_barely(parsed: ParsedEntry) -> tuple[str, ...]:
    """What had to be a bare name before a party could speak of another's chip type or model."""
    if parsed.kind == "eval":
        return (parsed.body.model,)
    return (parsed.body.chip_type,) if _names_a_chip_type(parsed.body.DESCRIPTOR) else ()


@cache
def _has_grown(kind: str, message: Descriptor) -> bool:
    """The message of this kind has fields that law 1 did not know."""
    return any(field.number > _LAST_FIELD_LAW_1[kind] for field in message.fields)


@cache
def _names_a_chip_type(message: Descriptor) -> bool:
    return "chip_type" in message.fields_by_name

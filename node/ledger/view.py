"""Leaves for people and for JSON: integers, text, lists and maps; bytes as lower-case hex. Nothing here is hashed.

    {"leaf": 7, "form": "entry", "hash": "..", "author": "US", "seq": 3, "kind": "usage", "body": {...}, ...}
    {"leaf": 8, "form": "record", "type": "decision", ...fields of records.cddl}

`leaf` is the place in the log; a record's own `index` names the entry it speaks of.
"""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from node.ledger.errors import MalformedRecord
from node.ledger.reader import Malformed, read_entry
from node.ledger.records import decode_record, is_record
from node.signing.statements import entry_hash

CLASS_LETTERS = {1: "P", 2: "R", 3: "S"}  # confidentiality classes of the treaty model, section 6


def leaf_view(index: int, leaf: bytes) -> dict[str, Any]:
    """One leaf as a JSON-able map. Raises MalformedRecord for bytes that are neither entry nor record."""
    if is_record(leaf):
        return {"leaf": index, "form": "record", **_plain_map(decode_record(leaf))}
    return {"leaf": index, "form": "entry", **entry_view(leaf)}


def entry_view(raw: bytes) -> dict[str, Any]:
    """A signed entry as a JSON-able map. Raises MalformedRecord if it is none."""
    entry = read_entry(raw, entry_hash(raw))
    if isinstance(entry, Malformed):
        raise MalformedRecord(f"entry: {entry.field}: {entry.why}")
    parsed = entry.parsed
    return {
        "hash": entry.entry_hash.hex(),
        "author": parsed.author,
        "kid": entry.statement.header.kid.hex(),
        "seq": parsed.seq,
        "prev": parsed.prev.hex(),
        "kind": parsed.kind,
        "subject": parsed.subject,
        "class": CLASS_LETTERS[parsed.confidentiality],
        "period": None if parsed.period is None else list(parsed.period),
        "refs": [ref.hex() for ref in parsed.refs],
        "endorsers": [endorsement.header.issuer for endorsement in entry.endorsements],
        "content_hash": parsed.content_hash.hex(),
        "body": message_view(parsed.body),
    }


def message_view(message: Message) -> dict[str, Any]:
    """A protobuf message's set fields by name: enums by name, bytes in hex, messages as maps."""
    return {field.name: _field_view(field, value) for field, value in message.ListFields()}


def _field_view(field: FieldDescriptor, value: Any) -> Any:
    if field.is_repeated:
        return [_value_view(field, item) for item in value]
    return _value_view(field, value)


def _value_view(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    if isinstance(value, Message):
        return message_view(value)
    return value.hex() if isinstance(value, bytes) else value


def _plain_map(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return _plain_map(value)
    return value

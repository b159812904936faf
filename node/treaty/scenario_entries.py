"""A step of a scenario as Content bytes (LAW section 2). Labels stand for hashes."""

import hashlib
from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty.parsing import KIND_NAMES

CHAIN_ID: Final = hashlib.sha256(b"scenario").digest()
_RENAMED: Final = {"from": "origin", "to": "destination"}
# A kind as the law and LAW section 2 write it -> the alternative of Content.body. Motions are in capitals.
_ALTERNATIVES: Final = {kind: alternative for alternative, kind in KIND_NAMES.items()}
# A field that no version of the schema has: how a field unknown to it looks in protobuf.
_UNKNOWN_FIELD: Final = b"\xf8\xff\x07\x01"


def label_hash(label: str) -> bytes:
    return hashlib.sha256(label.encode()).digest()


class Unwritable(Exception):
    """A step that protobuf cannot even express: wrong types. Its code is SCHEMA."""


def write_content(author: str, sort: str, payload: dict[str, Any]) -> bytes:
    """A step's `sort` ("statement", "motion" or "vote") as Content bytes. Raises Unwritable."""
    fields = dict(payload)
    refs = fields.pop("refs", [])
    if not isinstance(refs, list) or not all(isinstance(ref, str) for ref in refs):
        raise Unwritable(f"refs: {refs!r} is no list of labels")
    content = pb.Content(
        ver=1,
        ledger=CHAIN_ID,
        author=author,
        confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
        refs=[_ref(label) for label in refs],
    )
    if "period" in fields:
        _write_period(content.period, fields.pop("period"))
    kind = sort if sort == "vote" else fields.pop("kind", None)
    alternative = _alternative(sort, kind)
    if alternative is None:
        return content.SerializeToString() + _UNKNOWN_FIELD
    body = getattr(content, alternative)
    body.SetInParent()
    renamed = _RENAMED | ({"motion": "about"} if kind == "note" else {})
    if all(_write(body, renamed.get(name, name), value) for name, value in fields.items()):
        return content.SerializeToString()
    return content.SerializeToString() + _UNKNOWN_FIELD


def _alternative(sort: str, kind: object) -> str | None:
    """None for a word that no kind of this sort bears: a motion's word is none in a statement. Raises Unwritable."""
    if not isinstance(kind, str):
        raise Unwritable(f"kind: {kind!r} is no string")
    if kind.isupper() != (sort == "motion") or (kind == "vote") != (sort == "vote"):
        return None
    return _ALTERNATIVES.get(kind)


def _write_period(period: Any, value: object) -> None:
    match value:
        case [int(start), int(end)]:
            try:
                period.start, period.end = start, end
            except (TypeError, ValueError) as err:
                raise Unwritable(f"period: {err}") from None
        case _:
            raise Unwritable(f"period: {value!r} is not [start, end]")


def _ref(label: str) -> bytes:
    return label_hash(label)  # of a case its derived_ref, which is the same hash of its id


def _write(body: Any, name: str, value: Any) -> bool:
    """Set one field; False if the schema has no such field or enum value."""
    field = body.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        return False
    try:
        _require_shape(field, value)
        if field.enum_type is not None and not field.is_repeated:
            return _write_enum(body, name, field.enum_type, value)
        if isinstance(value, dict) and field.is_repeated:
            _write_pairs(getattr(body, name), field.message_type, value)
        elif isinstance(value, dict):
            return all(_write(getattr(body, name), *item) for item in _generator_items(value))
        elif isinstance(value, list) and field.message_type is not None:
            for item in value:
                row = getattr(body, name).add()
                pairs = item if isinstance(item, dict) else _point(item)
                if not all(_write(row, *pair) for pair in pairs.items()):
                    return False
        elif isinstance(value, list):
            is_bytes = field.type == field.TYPE_BYTES
            items = [_bytes(item) for item in value] if is_bytes else value
            if field.enum_type is not None:
                items = [_number(field.enum_type, item) for item in value]
            getattr(body, name).extend(items)
        elif field.type == field.TYPE_BYTES:
            setattr(body, name, _bytes(value))
        elif field.type == field.TYPE_BOOL:
            if value not in (0, 1):
                raise ValueError(f"{value!r} is neither 0 nor 1")
            setattr(body, name, bool(value))
        elif isinstance(value, bool):
            raise TypeError(f"{value!r} is no number")
        else:
            setattr(body, name, value)
    except (TypeError, ValueError) as err:
        raise Unwritable(f"{name}: {err}") from None
    return True


def _require_shape(field: Any, value: object) -> None:
    """A list for what is repeated, an object for what has fields. Raises TypeError."""
    if isinstance(value, dict):
        right = field.message_type is not None
    elif isinstance(value, list):
        right = field.is_repeated
    else:
        right = not field.is_repeated and field.message_type is None
    if not right:
        raise TypeError(f"{value!r} has not the shape of this field")


def _point(item: Any) -> dict[str, int]:
    """One step of a schedule, [t_from, value]. Raises ValueError."""
    t_from, value = item
    return {"t_from": t_from, "value": value}


def _bytes(value: object) -> bytes:
    """A label stands for its hash; "hex:..." for these very bytes. Raises TypeError, ValueError."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no label")
    return bytes.fromhex(value[4:]) if value.startswith("hex:") else label_hash(value)


def _write_enum(body: Any, name: str, enum: Any, value: object) -> bool:
    number = _number(enum, value)
    if number is None:
        return False
    setattr(body, name, number)
    return True


def _number(enum: Any, value: object) -> int | None:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no word")
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    member = enum.values_by_name.get(prefix + value.upper())
    return member.number if member is not None and value.islower() else None


def _write_pairs(rows: Any, message: Any, value: dict[str, Any]) -> None:
    key, amount = (field.name for field in message.fields[:2])
    for name, item in value.items():
        row = rows.add()
        setattr(row, key, name)
        if not _write(row, amount, item):
            raise Unwritable(f"{name}: {item}")


def _generator_items(value: dict[str, Any]) -> list[tuple[str, Any]]:
    items = [(name, item) for name, item in value.items() if name != "clamp"]
    if "clamp" not in value:
        return items
    return [*items, *zip(("clamp_lo", "clamp_hi"), value["clamp"], strict=True)]

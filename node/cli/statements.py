"""Drafts: a statement, motion or vote in plain values, and the content bytes that say the same.

    {"kind": "usage", "class": "R", "period": [1700000000, 1700003600], "refs": ["<hex>", ...],
     "body": {"facility": "dc1", "chip_type": "H100", "chips_on": 8, "chip_seconds": 28800, "pflop_total": 57,
              "by_class": {"pretrain": 57}}}

Fields are those of content.proto under their names there. Integers are JSON integers below 2^53; hashes are hex; enums are the
schema's words, long or short ("RUN_PHASE_PLAN", "plan"); lists of named amounts may be written as one object. What is
made is read back by the law's own parser, so what it would call SCHEMA is found before anything is signed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from foedus.v1 import content_pb2 as pb
from node.cli.errors import MalformedDraft
from node.log.errors import shown
from node.treaty.errors import MalformedContent
from node.treaty.parsing import CONTENT_VERSION, KIND_NAMES, parse_content

DRAFT_BYTES_MAX: Final = 1 << 20
INTEGER_MAX: Final = (1 << 53) - 1
CLASSES: Final = {
    "P": pb.CONFIDENTIALITY_PUBLIC,
    "R": pb.CONFIDENTIALITY_RESTRICTED,
    "S": pb.CONFIDENTIALITY_SECRET,
}
KINDS: Final = tuple(KIND_NAMES.values())
VOTE: Final = "vote"

_ALTERNATIVES: Final = {kind: alternative for alternative, kind in KIND_NAMES.items()}
_BY_FOLDED_KIND: Final = {kind.casefold(): kind for kind in KINDS}
_DRAFT_FIELDS: Final = ("kind", "class", "period", "refs", "body")
_INTEGERS: Final = (
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_SINT64,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is to be said, before ledger and author stand in it. `refs` are 32 bytes each."""

    kind: str  # one of KINDS
    body: Mapping[str, Any] = field(default_factory=dict)
    refs: tuple[bytes, ...] = ()
    period: tuple[int, int] | None = None  # unix seconds, start included, end not
    confidentiality: str = "R"  # P, R or S


def parse_draft(data: bytes) -> Draft:
    """The draft that this JSON spells. Raises MalformedDraft naming the field."""
    if len(data) > DRAFT_BYTES_MAX:
        raise MalformedDraft(f"draft of {len(data)} bytes: at most {DRAFT_BYTES_MAX}")
    try:
        document = json.loads(data, parse_float=_no_float, object_pairs_hook=_no_doubles)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as err:
        raise MalformedDraft(f"draft: not JSON: {err}") from None
    return draft_of(document)


def draft_of(document: object) -> Draft:
    """The draft that these plain values spell, whatever file they came from. Raises MalformedDraft naming the field."""
    if not isinstance(document, dict):
        raise MalformedDraft(f"draft {shown(document)}: want an object with kind and body")
    for name in document:
        if name not in _DRAFT_FIELDS:
            raise MalformedDraft(
                f"draft.{name}: no such field: there are {', '.join(_DRAFT_FIELDS)}"
            )
    if "kind" not in document:
        raise MalformedDraft(f"draft.kind is missing: want one of {', '.join(KINDS)}")
    return Draft(
        kind=kind_of(document["kind"]),
        body=_body(document.get("body", {})),
        refs=refs_of(document.get("refs", [])),
        period=period_of(document.get("period")),
        confidentiality=class_of(document.get("class", "R")),
    )


def kind_of(value: object) -> str:
    """The kind's own spelling; upper and lower case are one. Raises MalformedDraft."""
    kind = _BY_FOLDED_KIND.get(value.casefold()) if isinstance(value, str) else None
    if kind is None:
        raise MalformedDraft(f"draft.kind={shown(value)}: want one of {', '.join(KINDS)}")
    return kind


def class_of(value: object) -> str:
    if not isinstance(value, str) or value not in CLASSES:
        raise MalformedDraft(
            f"draft.class={shown(value)}: want P (public), R (restricted) or S (secret)"
        )
    return value


def refs_of(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list | tuple):
        raise MalformedDraft(f"draft.refs={shown(value)}: want a list of entry hashes in hex")
    return tuple(hash_of(item, f"draft.refs[{number}]") for number, item in enumerate(value))


def hash_of(value: object, path: str) -> bytes:
    """32 bytes from hex, or as they are. Raises MalformedDraft."""
    data = _from_hex(value) if isinstance(value, str) else value
    if not isinstance(data, bytes) or len(data) != 32:
        raise MalformedDraft(f"{path}={shown(value)}: want 64 hex digits")
    return data


def period_of(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    match value:
        case [int(start), int(end)] if 0 <= start < end <= INTEGER_MAX:
            return start, end
    raise MalformedDraft(f"draft.period={shown(value)}: want [start, end], unix seconds, rising")


def content_bytes(draft: Draft, *, ledger: bytes, author: str) -> bytes:
    """The content that says this on that ledger. Raises MalformedDraft naming the field."""
    content = pb.Content(
        ver=CONTENT_VERSION,
        ledger=ledger,
        author=author,
        refs=draft.refs,
        confidentiality=CLASSES[class_of(draft.confidentiality)],
    )
    if draft.period is not None:
        content.period.start, content.period.end = draft.period
    body: Message = getattr(content, _ALTERNATIVES[kind_of(draft.kind)])
    body.SetInParent()  # a body without fields is still a body
    _fill(body, draft.body, draft.kind)
    data = content.SerializeToString()
    try:
        parse_content(data)
    except MalformedContent as err:
        raise MalformedDraft(f"{err}; fields of {draft.kind}: {_field_names(body)}") from None
    return data


def _fill(message: Message, values: Mapping[str, Any], path: str) -> None:
    known: Mapping[str, Any] = message.DESCRIPTOR.fields_by_name
    for name, value in values.items():
        where = f"{path}.{name}"
        descriptor = known.get(name)
        if descriptor is None:
            raise MalformedDraft(f"{where}: no such field: there are {_field_names(message)}")
        if descriptor.is_repeated:
            _fill_list(message, descriptor, value, where)
        elif descriptor.message_type is not None:
            part: Message = getattr(message, name)
            part.SetInParent()
            _fill(part, _mapping(value, where), where)
        else:
            _set(message, descriptor, value, where)


def _fill_list(message: Message, descriptor: FieldDescriptor, value: Any, path: str) -> None:
    items = _items(descriptor, value, path)
    target = getattr(message, descriptor.name)
    for number, item in enumerate(items):
        where = f"{path}[{number}]"
        if descriptor.message_type is not None:
            _fill(target.add(), _mapping(item, where), where)
        else:
            target.append(_scalar(descriptor, item, where))


def _items(descriptor: FieldDescriptor, value: Any, path: str) -> Sequence[Any]:
    """A list as it is; an object stands for a list of named amounts."""
    if isinstance(value, Mapping) and descriptor.message_type is pb.NamedAmount.DESCRIPTOR:
        return [{"name": name, "amount": amount} for name, amount in value.items()]
    if isinstance(value, list | tuple):
        return value
    raise MalformedDraft(f"{path}={shown(value)}: want a list")


def _set(message: Message, descriptor: FieldDescriptor, value: Any, path: str) -> None:
    scalar = _scalar(descriptor, value, path)
    try:
        setattr(message, descriptor.name, scalar)
    except (TypeError, ValueError) as err:  # a 32-bit field, a lone surrogate
        raise MalformedDraft(f"{path}={shown(value)}: {err}") from None


def _scalar(descriptor: FieldDescriptor, value: Any, path: str) -> Any:
    if descriptor.enum_type is not None:
        return _enum(descriptor.enum_type, value, path)
    if descriptor.type in _INTEGERS:
        low = -INTEGER_MAX if descriptor.type == FieldDescriptor.TYPE_SINT64 else 0
        if type(value) is int and low <= value <= INTEGER_MAX:
            return value
        raise MalformedDraft(f"{path}={shown(value)}: want an integer from {low} to 2^53 - 1")
    if descriptor.type == FieldDescriptor.TYPE_BOOL:
        if isinstance(value, bool):
            return value
        raise MalformedDraft(f"{path}={shown(value)}: want true or false")
    if descriptor.type == FieldDescriptor.TYPE_BYTES:
        data = _from_hex(value) if isinstance(value, str) else value
        if isinstance(data, bytes):
            return data
        raise MalformedDraft(f"{path}={shown(value)}: want bytes in hex")
    if isinstance(value, str):
        return value
    raise MalformedDraft(f"{path}={shown(value)}: want a text")


def _enum(enum: EnumDescriptor, value: Any, path: str) -> int:
    """RUN_PHASE_PLAN, PLAN or plan. The prefix is what the names of all values share."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    words = {name.removeprefix(prefix): item.number for name, item in enum.values_by_name.items()}
    number = (
        words.get(value.upper().removeprefix(prefix), 0) if isinstance(value, str) else 0
    )  # 0, UNSPECIFIED, says nothing
    if number:
        return number
    choices = ", ".join(word.lower() for word, known in words.items() if known)
    raise MalformedDraft(f"{path}={shown(value)}: want one of {choices}")


def _field_names(message: Message) -> str:
    return ", ".join(item.name for item in message.DESCRIPTOR.fields) or "none"


def _body(value: object) -> Mapping[str, Any]:
    return _mapping(value, "draft.body")


def _mapping(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise MalformedDraft(f"{path}={shown(value)}: want an object of fields")
    return value


def _from_hex(text: str) -> bytes | None:
    """Strict: bytes.fromhex would also take spaces."""
    if len(text) % 2 or not all(digit in "0123456789abcdefABCDEF" for digit in text):
        return None
    return bytes.fromhex(text)


def _no_float(text: str) -> int:
    raise MalformedDraft(f"draft: {shown(text)}: the ledger has integers only")


def _no_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedDraft(f"draft: a field twice among {', '.join(name for name, _ in pairs)}")
    return found

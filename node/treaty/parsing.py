"""Entries: from payload bytes to the value the law judges. Protobuf bytes are looked at here and nowhere else in this room.

The way of one entry through `node/ledger`:

    shell    signing: the COSE_Sign1, its kid, iss and sub
    parsed   parse_entry(payload)                                          else SCHEMA
             iss == parsed.author and sub == parsed.subject                else SCHEMA
    key      law.resolve_key(parsed.author, kid)                           else UNKNOWN_AUTHOR
             the signature, and every endorsement over parsed.content_hash, verified by signing
    outcome  law.apply(Entry(...))
"""

import hashlib
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from foedus.v1 import content_pb2 as pb
from node.treaty import motions, statements
from node.treaty.bodies import HASH_BYTES, INTEGER_LIMIT, Form, check_form, is_name
from node.treaty.entries import ParsedEntry
from node.treaty.errors import MalformedContent

CONTENT_BYTES_MAX: Final = 16 * 1024  # RULINGS R12
REFS_MAX: Final = 64  # MODEL 2
ENDORSEMENTS_MAX: Final = 64  # more than k+1 at 195 members, the most that any rule asks for
CONTENT_VERSION: Final = 1


# The alternative of Content.body -> the kind's name in the law.
KIND_NAMES: Final = {
    alternative: {
        "class_motion": "CLASS",
        "chip_type_motion": "CHIPTYPE",
    }.get(alternative, alternative.upper() if 64 <= number < 128 else alternative)
    for alternative, number in (
        (item.name, item.number) for item in pb.Content.DESCRIPTOR.oneofs_by_name["body"].fields
    )
}
_CLASS_LETTERS: Final = {
    pb.CONFIDENTIALITY_PUBLIC: "P",
    pb.CONFIDENTIALITY_RESTRICTED: "R",
    pb.CONFIDENTIALITY_SECRET: "S",
}
_MOTION_CLASSES: Final = "RP"


class _Shape(NamedTuple):
    """What an entry of one kind must look like."""

    kind: str
    form: Form
    speaks_of: str
    needs_period: bool
    classes: str


def _shape_of(alternative: str) -> _Shape:
    name = KIND_NAMES[alternative]
    kind = statements.KINDS.get(name)
    if kind is None:
        return _Shape(
            kind=name,
            form=motions.KINDS[name].form,
            speaks_of="",
            needs_period=False,
            classes=_MOTION_CLASSES,
        )
    return _Shape(name, kind.form, kind.speaks_of, kind.needs_period, kind.classes)


_SHAPES: Final = {alternative: _shape_of(alternative) for alternative in KIND_NAMES}


def parse_entry(payload: bytes) -> ParsedEntry:
    """The signed payload (an Envelope) in, its value out. Raises MalformedContent (code SCHEMA)."""
    envelope = pb.Envelope()
    _parse_strictly(envelope, payload, "envelope")
    seq, prev, endorsements = envelope.seq, envelope.prev, envelope.endorsements
    if not 1 <= seq < INTEGER_LIMIT:
        raise MalformedContent("envelope.seq", f"{seq} is not from 1 to 2^53")
    if len(prev) != HASH_BYTES:
        raise MalformedContent("envelope.prev", f"{len(prev)} bytes, not {HASH_BYTES}")
    if len(endorsements) > ENDORSEMENTS_MAX:
        raise MalformedContent("envelope.endorsements", f"more than {ENDORSEMENTS_MAX}")
    content_bytes = envelope.content
    checked = _checked(content_bytes)
    content = checked.content
    return ParsedEntry(  # in the order of its fields: names cost a third of it
        seq,
        prev,
        tuple(endorsements) if endorsements else (),
        hashlib.sha256(content_bytes).digest(),
        content.ledger,
        checked.author,
        checked.shape.kind,
        checked.refs,
        checked.period,
        checked.confidentiality,
        checked.body,
        _subject(checked),
    )


def parse_content(content_bytes: bytes) -> pb.Content:
    """Content bytes in, checked message out; treat it as read only. Raises MalformedContent.

    For those who endorse a content or show one; an entry's goes the same way.
    """
    return _checked(content_bytes).content


class _Checked(NamedTuple):
    """A content whose form is right. Each field is read from its message once: that is what reading costs."""

    content: pb.Content
    shape: _Shape
    author: str
    refs: tuple[bytes, ...]
    period: tuple[int, int] | None
    confidentiality: int
    body: Any


def _checked(content_bytes: bytes) -> _Checked:
    """Raises MalformedContent."""
    if len(content_bytes) > CONTENT_BYTES_MAX:
        raise MalformedContent(
            "content", f"{len(content_bytes)} bytes, at most {CONTENT_BYTES_MAX}"
        )
    content = pb.Content()
    _parse_strictly(content, content_bytes, "content")
    if content.ver != CONTENT_VERSION:
        raise MalformedContent("content.ver", f"{content.ver}, not {CONTENT_VERSION}")
    if len(content.ledger) != HASH_BYTES:
        raise MalformedContent("content.ledger", f"{len(content.ledger)} bytes, not {HASH_BYTES}")
    author, confidentiality = content.author, content.confidentiality
    if not is_name(author):
        raise MalformedContent("content.author", f"{author[:80]!r} is no party id")
    if not confidentiality:
        raise MalformedContent("content.confidentiality", "missing or unspecified")
    refs = tuple(content.refs) if content.refs else ()
    if refs:
        if len(refs) > REFS_MAX:
            raise MalformedContent("content.refs", f"{len(refs)} refs, at most {REFS_MAX}")
        if any(len(ref) != HASH_BYTES for ref in refs) or len(set(refs)) != len(refs):
            raise MalformedContent("content.refs", f"not {HASH_BYTES} bytes each, or one twice")
    alternative = content.WhichOneof("body")
    if alternative is None:
        raise MalformedContent("content.body", "missing")
    shape = _SHAPES[alternative]
    period = _period(content, shape)
    letter = _CLASS_LETTERS[confidentiality]
    if letter not in shape.classes:
        # MODEL 6: secret data enter the ledger sealed or as a hash only, and no check may read them.
        raise MalformedContent("content.confidentiality", f"{letter} is not for {shape.kind}")
    body = getattr(content, alternative)
    check_form(shape.kind, shape.form, body)
    return _Checked(content, shape, author, refs, period, confidentiality, body)


def _period(content: pb.Content, shape: _Shape) -> tuple[int, int] | None:
    if content.HasField("period"):
        period = content.period
        start, end = period.start, period.end
        if not start < end < INTEGER_LIMIT:
            raise MalformedContent("content.period", f"[{start}, {end}) is empty or above 2^53")
        return start, end
    if shape.needs_period:
        raise MalformedContent("content.period", f"missing in {shape.kind}")
    return None


def header_subject(content_bytes: bytes) -> str:
    """What the COSE header's `sub` must say for this content. Raises MalformedContent."""
    return _subject(_checked(content_bytes))


def _subject(checked: _Checked) -> str:
    shape = checked.shape
    field = shape.speaks_of
    return f"{shape.kind}/{(getattr(checked.body, field) if field else '') or checked.author}"


def _parse_strictly(message: pb.Envelope | pb.Content, data: bytes, path: str) -> None:
    """Fill `message` from `data`; an unknown field or enum value at any depth raises.

    Unknown fields, those of closed enums included, show as a size that dropping them changes:
    both calls work on the whole tree in C, which a walk with UnknownFieldSet does not.
    """
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise MalformedContent(path, "not a protobuf message of this schema") from None
    size = message.ByteSize()
    message.DiscardUnknownFields()
    if message.ByteSize() != size:
        raise MalformedContent(path, "an unknown field or enum value")

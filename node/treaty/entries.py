"""Entries: from bytes to the value the law judges, and what the ledger keeps about each.

The way of one entry through `node/ledger`:

    shell    signing: the COSE_Sign1, its kid, iss and sub
    parsed   parse_entry(payload)                                          else SCHEMA
             iss == parsed.author and sub == parsed.subject                else SCHEMA
    key      law.resolve_key(parsed.author, kid)                           else UNKNOWN_AUTHOR
             the signature, and every endorsement over parsed.content_hash, verified by signing
    outcome  law.apply(Entry(...))

Protobuf bytes are looked at here and nowhere else in this room.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from google.protobuf.message import DecodeError

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import HASH_BYTES, INTEGER_LIMIT, check_form, is_name
from node.treaty.errors import MalformedContent

CONTENT_BYTES_MAX: Final = 16 * 1024  # RULINGS R12
REFS_MAX: Final = 64  # MODEL 2
ENDORSEMENTS_MAX: Final = 64  # more than k+1 at 195 members, the most that any rule asks for
CONTENT_VERSION: Final = 1
NO_PREVIOUS: Final = bytes(HASH_BYTES)  # `prev` of an author's first entry

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
# Which field of a body says what it speaks of; else its author (RULINGS R13).
_SUBJECT_FIELD: Final = {
    "facility": "facility",
    "usage": "facility",
    "energy": "facility",
    "inventory": "facility",
    "run": "run",
    "vote": "motion",
    "note": "about",
    "identity": "party",
}
# Kinds whose numbers mean nothing without the time they cover.
_PERIOD_NEEDED: Final = frozenset({"usage", "energy"})


class ParsedEntry(NamedTuple):
    """A well-formed payload; nobody has yet said who signed it. Shapes: hashes 32 bytes.

    A tuple, as other values of which there are thousands a second: a frozen dataclass takes 3.5 us more to make.
    """

    seq: int  # from 1
    prev: bytes
    endorsements: tuple[bytes, ...]  # detached COSE_Sign1 each
    content_hash: bytes  # SHA-256 of the content bytes: what endorsements sign
    ledger: bytes
    author: str
    kind: str  # "energy", "TRAIN", "vote", ...
    refs: tuple[bytes, ...]
    period: tuple[int, int] | None  # [start, end) unix seconds
    confidentiality: int  # pb.Confidentiality
    body: Any  # the pb message of this kind: read only, form checked
    subject: str  # what the COSE header's `sub` must be: kind/subject id


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry whose signatures hold: what `Law.apply` takes. Built by `node/ledger` alone."""

    entry_hash: bytes  # SHA-256 of the COSE_Sign1 bytes as received
    name: str  # entry_hash in hex: how derived ids speak of it
    index: int  # the leaf it gets if it is appended
    kid: bytes  # 8 bytes: the author's key that signed
    parsed: ParsedEntry
    endorsers: tuple[str, ...]  # parties whose endorsement was verified: sorted, distinct


class EntryFacts(NamedTuple):
    """What the law must know for ever about an appended entry (RULINGS R29).

    The ledger stores it in the entry's index row (`codec.encode` takes it, `EntryFacts(*decode(b))`
    gives it back) and finds it by hash, by (author, seq) and, if accepted, by content hash.
    """

    entry_hash: bytes
    leaf: int  # its index in the log
    author: str
    seq: int
    kind: str
    topic: str  # what a reference to it leads to, e.g. "run:acme/r1"; law's own words
    code: str  # "" if accepted, else why it was rejected
    content_hash: bytes
    time_s: int  # ledger second of its commit


class EntryIndex(Protocol):
    """The ledger's index over all appended entries, those of the open batch included."""

    def get(self, entry_hash: bytes) -> EntryFacts | None:
        """The entry with this hash."""

    def at_seq(self, author: str, seq: int) -> EntryFacts | None:
        """The entry that used this author's `seq` (of two, the first)."""

    def by_content(self, content_hash: bytes) -> EntryFacts | None:
        """The accepted entry with this content."""


def parse_entry(payload: bytes) -> ParsedEntry:
    """The signed payload (an Envelope) in, its value out. Raises MalformedContent (code SCHEMA)."""
    envelope = pb.Envelope()
    _parse_strictly(envelope, payload, "envelope")
    if not 1 <= envelope.seq < INTEGER_LIMIT:
        raise MalformedContent("envelope.seq", f"{envelope.seq} is not from 1 to 2^53")
    if len(envelope.prev) != HASH_BYTES:
        raise MalformedContent("envelope.prev", f"{len(envelope.prev)} bytes, not {HASH_BYTES}")
    if len(envelope.endorsements) > ENDORSEMENTS_MAX:
        raise MalformedContent("envelope.endorsements", f"more than {ENDORSEMENTS_MAX}")
    content_bytes = envelope.content
    content = parse_content(content_bytes)
    alternative = content.WhichOneof("body")
    assert alternative is not None, "parse_content let a content without a body through"
    kind = KIND_NAMES[alternative]
    body = getattr(content, alternative)
    period = content.period if content.HasField("period") else None
    return ParsedEntry(
        seq=envelope.seq,
        prev=envelope.prev,
        endorsements=tuple(envelope.endorsements),
        content_hash=hashlib.sha256(content_bytes).digest(),
        ledger=content.ledger,
        author=content.author,
        kind=kind,
        refs=tuple(content.refs),
        period=None if period is None else (period.start, period.end),
        confidentiality=content.confidentiality,
        body=body,
        subject=_subject(kind, body, content.author),
    )


def parse_content(content_bytes: bytes) -> pb.Content:
    """Content bytes in, checked message out; treat it as read only. Raises MalformedContent.

    For those who endorse a content or show one; `parse_entry` calls it on the way of an entry.
    """
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
    if not is_name(content.author):
        raise MalformedContent("content.author", f"{content.author[:80]!r} is no party id")
    if not content.confidentiality:
        raise MalformedContent("content.confidentiality", "missing or unspecified")
    refs = content.refs
    if refs:
        if len(refs) > REFS_MAX:
            raise MalformedContent("content.refs", f"{len(refs)} refs, at most {REFS_MAX}")
        if any(len(ref) != HASH_BYTES for ref in refs) or len(set(refs)) != len(refs):
            raise MalformedContent("content.refs", f"not {HASH_BYTES} bytes each, or one twice")
    alternative = content.WhichOneof("body")
    if alternative is None:
        raise MalformedContent("content.body", "missing")
    kind = KIND_NAMES[alternative]
    if content.HasField("period"):
        start, end = content.period.start, content.period.end
        if not start < end < INTEGER_LIMIT:
            raise MalformedContent("content.period", f"[{start}, {end}) is empty or above 2^53")
    elif kind in _PERIOD_NEEDED:
        raise MalformedContent("content.period", f"missing in {kind}")
    if content.confidentiality == pb.CONFIDENTIALITY_SECRET and kind != "note":
        # MODEL 6: secret data enter the ledger as a hash only, and no check may read them.
        raise MalformedContent("content.confidentiality", f"S is not for {kind}")
    check_form(kind, getattr(content, alternative))
    return content


def header_subject(content_bytes: bytes) -> str:
    """What the COSE header's `sub` must say for this content. Raises MalformedContent."""
    content = parse_content(content_bytes)
    alternative = content.WhichOneof("body")
    assert alternative is not None, "parse_content let a content without a body through"
    kind = KIND_NAMES[alternative]
    return _subject(kind, getattr(content, alternative), content.author)


def _subject(kind: str, body: Any, author: str) -> str:
    field = _SUBJECT_FIELD.get(kind)
    return f"{kind}/{(getattr(body, field) if field else '') or author}"


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

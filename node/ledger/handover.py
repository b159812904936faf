"""An entry that one process has read and another one judges: its parts as plain values, for `marshal` between our own processes.

    one process      packed(read_entry(raw, ...))   everything is checked there, strictly
    another          unpacked(raw, parts)           the same value again, without a second look at its form

Reading an entry costs three times what is left of it here: both protobuf messages looked through for what the schema does not
know, every field held against its bounds, two hashes. The raw bytes do not travel back: who asked has them.
"""

from typing import Any, Final

from google.protobuf.message_factory import GetMessageClass

from foedus.v1 import content_pb2 as pb
from node.ledger.reader import Malformed, ReadEntry
from node.log.cose import SIGNATURE_BYTES, Statement, parse_detached, parse_header
from node.treaty.entries import ParsedEntry
from node.treaty.parsing import KIND_NAMES

Parts = tuple[Any, ...]
"""Of an entry: see `packed`; of what is none: (entry hash, field, why)."""

_MALFORMED_PARTS: Final = 3
# The message that is the body of each kind.
_BODY: Final[dict[str, Any]] = {
    KIND_NAMES[field.name]: GetMessageClass(field.message_type)
    for field in pb.Content.DESCRIPTOR.oneofs_by_name["body"].fields
    if field.message_type is not None  # each of them is a message
}


def packed(entry: ReadEntry | Malformed) -> Parts:
    """What `unpacked` needs beside the raw bytes."""
    if isinstance(entry, Malformed):
        return entry.entry_hash, entry.field, entry.why
    statement, parsed = entry.statement, entry.parsed
    return (
        entry.entry_hash,
        statement.protected,
        len(statement.payload or b""),
        *parsed[:-2],
        parsed.body.SerializeToString(),
        parsed.subject,
    )


def unpacked(raw: bytes, parts: Parts) -> ReadEntry | Malformed:
    """What `packed` was given, for the same raw bytes. Raises nothing: `parts` are our own."""
    if len(parts) == _MALFORMED_PARTS:
        entry_hash, field, why = parts
        return Malformed(entry_hash=entry_hash, field=field, why=why)
    entry_hash, protected, payload_bytes, *front, body, subject = parts
    parsed = ParsedEntry._make((*front, _BODY[front[_KIND]].FromString(body), subject))
    signature_at = len(raw) - SIGNATURE_BYTES
    payload_end = signature_at - _SIGNATURE_HEAD_BYTES
    return ReadEntry(
        raw,
        entry_hash,
        Statement(
            parse_header(protected),
            protected,
            raw[payload_end - payload_bytes : payload_end],
            raw[signature_at:],
        ),
        parsed,
        tuple(map(parse_detached, parsed.endorsements)) if parsed.endorsements else (),
    )


_KIND: Final = ParsedEntry._fields.index("kind")
_SIGNATURE_HEAD_BYTES: Final = 2  # 58 40 before the signature
assert ParsedEntry._fields[-2:] == ("body", "subject"), "as `packed` takes them"

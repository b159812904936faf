r"""Signed notes and verifier keys: c2sp.org/signed-note v1.0.0.

    note = text "\n" 1*( U+2014 SP key name SP base64(key ID || signature) "\n" )
    vkey = key name "+" 8 hex digits of the key ID "+" base64(type || public key)

The text ends in a newline; the note is split at its *last* empty line. A line is *known* only if name and key ID
both match a key we hold: known and bad rejects the whole note, unknown is ignored whatever its length. A key counts
once however often it signed.

    note = parse_note(data)                              # form only
    good = open_note(note, keys, check)                  # who signed; BadSignature, NoKnownKey, AmbiguousKey
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256

from node.log.errors import (
    AmbiguousKey,
    BadSignature,
    MalformedKey,
    MalformedNote,
    MisspeltLine,
    NoKnownKey,
    shown,
)
from node.log.strict import base64_bytes, base64_text, has_spare_bits

NOTE_BYTES_MAX = 1_000_000  # what Go's reader takes; 195 members with three lines each need 700,000
SIGNATURE_LINES_MAX = 1_024  # certificates of this ledger: three lines for each of 195 members
PLAIN_LINES_MAX = (
    100  # what Go's reader takes: a note that other people's tools read on has no more
)
KEY_ID_BYTES = 4
MLDSA_NAME_BYTES_MAX = 255  # a u8 length stands before the name in ML-DSA cosignatures

_DASH = "\u2014 "
_PRIVATE_PREFIX = "PRIVATE+KEY+"
_SEED_BYTES = 32
# `+`, whatever `str.isspace` calls a space, control characters, and lone surrogates, which Python's text can hold and UTF-8 not.
_NOT_IN_NAME = re.compile(r"[+\s\x00-\x1f\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class KeyType(IntEnum):
    """The type byte of a verifier key: what is signed, and how."""

    ED25519 = 0x01  # Ed25519 over the text
    COSIGNATURE = 0x04  # Ed25519 over time and text
    MLDSA_COSIGNATURE = 0x06  # ML-DSA-44 over time, origin, size and root


PUBLIC_KEY_BYTES = {
    KeyType.ED25519: 32,
    KeyType.COSIGNATURE: 32,
    KeyType.MLDSA_COSIGNATURE: 1312,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A public key under the name that its notes carry. The key ID follows from the rest."""

    name: str
    key_type: KeyType
    public_key: bytes
    key_id: bytes

    def __hash__(self) -> int:
        """Of the key ID, which follows from all the rest: readers look keys up several times for each line of a note."""
        return int.from_bytes(self.key_id, "big")

    def __str__(self) -> str:
        """The vkey text."""
        return (
            f"{self.name}+{self.key_id.hex()}"
            f"+{base64_text(bytes([self.key_type]) + self.public_key)}"
        )


def key_id(name: str, key_type: int, public_key: bytes) -> bytes:
    """First 4 bytes of SHA-256(name || 0x0a || type || key). Two keys may share it: the name is part of the match."""
    return sha256(name.encode() + b"\n" + bytes([key_type]) + public_key).digest()[:KEY_ID_BYTES]


def verifier_key(name: str, key_type: KeyType, public_key: bytes) -> VerifierKey:
    """The key with its key ID. Raises MalformedKey for a bad name or a key of the wrong length."""
    if not is_key_name(name):
        raise MalformedKey(f"key name {shown(name)}: not empty, no space, no '+'")
    if key_type is KeyType.MLDSA_COSIGNATURE and len(name.encode()) > MLDSA_NAME_BYTES_MAX:
        raise MalformedKey(
            f"key name {shown(name)}: ML-DSA cosigners sign a name of at most 255 bytes"
        )
    if len(public_key) != PUBLIC_KEY_BYTES[key_type]:
        raise MalformedKey(
            f"public key of {len(public_key)} bytes: {key_type.name} has {PUBLIC_KEY_BYTES[key_type]}"
        )
    return VerifierKey(
        name=name,
        key_type=key_type,
        public_key=public_key,
        key_id=key_id(name, key_type, public_key),
    )


def parse_vkey(text: str) -> VerifierKey:
    """The key that a vkey spells; its key ID is recomputed and compared. Raises MalformedKey."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise MalformedKey(f"vkey {shown(text)}: want name+keyid+base64")
    name, stated_id, encoded = parts
    data = base64_bytes(encoded)
    if not data:
        raise MalformedKey(f"vkey {shown(text)}: key is not base64")
    try:
        key_type = KeyType(data[0])
    except ValueError:
        raise MalformedKey(
            f"vkey {shown(text)}: key type 0x{data[0]:02x} is not used here"
        ) from None
    key = verifier_key(name, key_type, data[1:])
    if key.key_id.hex() != stated_id:
        raise MalformedKey(f"vkey {shown(text)}: key ID is {key.key_id.hex()}")
    return key


def parse_private_key(text: str) -> tuple[str, bytes]:
    """Name and 32-byte Ed25519 seed of a note signer key as Go writes it. Raises MalformedKey, which shows no secret.

    Only tests and importers of other tools' keys need it; our own keys never leave their encrypted files.
    """
    parts = text.removeprefix(_PRIVATE_PREFIX).split("+", 2)
    data = base64_bytes(parts[2]) if text.startswith(_PRIVATE_PREFIX) and len(parts) == 3 else None
    if data is None or data[:1] != bytes([KeyType.ED25519]) or len(data) != 1 + _SEED_BYTES:
        raise MalformedKey("private key: want PRIVATE+KEY+name+keyid+base64 of an Ed25519 seed")
    return parts[0], data[1:]


def is_key_name(name: str) -> bool:
    """Whether a line or a vkey may carry it. The format sets no length: a stranger's long name is to be ignored, not refused."""
    return len(name) > 0 and _NOT_IN_NAME.search(name) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureLine:
    """One line of a note: well-formed, believed by nobody yet. `signature` is what follows the key ID."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        """The line with its newline."""
        return f"{_DASH}{self.name} {base64_text(self.key_id + self.signature)}\n"


def signature_line(key: VerifierKey, signature: bytes) -> SignatureLine:
    return SignatureLine(name=key.name, key_id=key.key_id, signature=signature)


def parse_signature_line(line: str) -> SignatureLine:
    """One line, without its newline. Raises MalformedNote (MisspeltLine if the base64 has spare bits set)."""
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not is_key_name(name):
        raise MalformedNote(f"signature line {shown(line)}: want U+2014, key name, base64")
    data = base64_bytes(encoded)
    if data is None:
        fault = MisspeltLine if has_spare_bits(encoded) else MalformedNote
        raise fault(f"signature line {shown(line)}: want base64, padded, spare bits zero")
    if len(data) <= KEY_ID_BYTES:
        raise MalformedNote(f"signature line {shown(line)}: want key ID and signature")
    return SignatureLine(name=name, key_id=data[:KEY_ID_BYTES], signature=data[KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A signed note: `text` with its last newline, and the lines in their order."""

    text: bytes
    lines: tuple[SignatureLine, ...]

    def __bytes__(self) -> bytes:
        return self.text + b"\n" + "".join(map(str, self.lines)).encode()


def parse_note(data: bytes, *, lines_max: int = SIGNATURE_LINES_MAX) -> Note:
    """The note that these bytes are. Raises MalformedNote; parsing and writing gives the same bytes."""
    text, lines = _split(data, lines_max)
    return Note(text=text, lines=tuple(map(parse_signature_line, lines)))


def parse_note_for_witness(data: bytes) -> Note:
    """The same, but a misspelt line is left out, as a line by nobody known would be. Raises MalformedNote.

    Other readers take such a line for a signature that fails, so a witness owes 403 for it and not 400. It serves the
    note to them again, with its own line, so it takes no more lines than they do.
    """
    text, lines = _split(data, PLAIN_LINES_MAX)
    parsed: list[SignatureLine] = []
    for line in lines:
        try:
            parsed.append(parse_signature_line(line))
        except MisspeltLine:
            continue
    return Note(text=text, lines=tuple(parsed))


def _split(data: bytes, lines_max: int) -> tuple[bytes, list[str]]:
    """The text with its last newline, and the signature lines without theirs."""
    if len(data) > NOTE_BYTES_MAX:
        raise MalformedNote(f"note of {len(data)} bytes: at most {NOTE_BYTES_MAX}")
    try:
        whole = data.decode()
    except UnicodeDecodeError as err:
        raise MalformedNote(f"note: byte {err.start} is not UTF-8") from None
    control = _CONTROL.search(whole)
    if control is not None:
        raise MalformedNote(f"note: control character {control[0]!r} at {control.start()}")
    end = whole.rfind("\n\n")  # the *last* empty line
    lines = whole[end + 2 :].split("\n")
    if end < 0 or lines.pop() != "" or not lines:
        raise MalformedNote("note: want text, an empty line, and signature lines ended by newlines")
    if len(lines) > lines_max:
        raise MalformedNote(f"note of {len(lines)} signature lines: at most {lines_max}")
    return whole[: end + 1].encode(), lines


CheckLine = Callable[[VerifierKey, bytes, bytes], bool | None]
"""(key, text of the note, signature bytes of the line) -> good, bad, or None: no means to check this type of key."""


def open_note(note: Note, keys: Sequence[VerifierKey], check: CheckLine) -> tuple[VerifierKey, ...]:
    """The known keys that signed, in the order of their first lines, each once.

    Raises BadSignature if a known key's line does not verify, AmbiguousKey if two known keys answer to one line,
    NoKnownKey if no line is known.
    """
    by_label: dict[tuple[str, bytes], list[VerifierKey]] = {}
    for key in keys:
        by_label.setdefault((key.name, key.key_id), []).append(key)
    signers: dict[VerifierKey, None] = {}
    for line in note.lines:
        known = by_label.get((line.name, line.key_id), [])
        if len(known) > 1:
            raise AmbiguousKey(f"{len(known)} known keys are {line.name}+{line.key_id.hex()}")
        for key in known:
            good = check(key, note.text, line.signature)
            if good is False:
                raise BadSignature(f"line of known key {line.name}+{line.key_id.hex()} is bad")
            if good:
                signers[key] = None
    if not signers:
        raise NoKnownKey(f"none of {len(note.lines)} lines is by one of {len(keys)} known keys")
    return tuple(signers)

"""The errors of this room: what a stranger's bytes can do wrong.

    MalformedInput(ValueError)          the bytes are no value of their format; names field and value
    ├── MalformedCbor                   not deterministic CBOR of the allowed types (R18)
    ├── MalformedStatement              not a COSE_Sign1 of the allowed shape (R13, R18), or not a receipt
    ├── MalformedEnvelope               not a DSSE envelope
    ├── MalformedNote                   not a signed note
    │   └── MisspeltLine                a signature line whose base64 has spare bits set: readable, two spellings
    ├── MalformedKey                    not a verifier key (vkey) or a key of the wrong kind
    ├── MalformedCheckpoint             not a checkpoint body
    ├── MalformedCosignature            not the signature bytes of a cosignature
    ├── MalformedPolicy                 not a trust policy file
    ├── MalformedProof                  not a proof file, or a proof of the wrong shape for its tree
    ├── MalformedTile                   not a tile path, a tile or an entry bundle
    └── MalformedRequest                not a body of add-checkpoint

    Untrusted(ValueError)               well-formed, but no ground to believe it
    ├── BadSignature                    a known key's signature does not verify
    ├── NoKnownKey                      no line by a known key
    └── AmbiguousKey                    two known keys share one name and key ID

Our own mistakes are assertions: no bytes from outside reach one.
"""


class MalformedInput(ValueError):
    """Bytes that are no value of the format they claim. The message names field and value."""


class MalformedCbor(MalformedInput):
    pass


class MalformedStatement(MalformedInput):
    pass


class MalformedEnvelope(MalformedInput):
    pass


class MalformedNote(MalformedInput):
    pass


class MisspeltLine(MalformedNote):
    pass


class MalformedKey(MalformedInput):
    pass


class MalformedCheckpoint(MalformedInput):
    pass


class MalformedCosignature(MalformedInput):
    pass


class MalformedPolicy(MalformedInput):
    pass


class MalformedProof(MalformedInput):
    pass


class MalformedTile(MalformedInput):
    pass


class MalformedRequest(MalformedInput):
    pass


class Untrusted(ValueError):
    """Well-formed, and yet no ground to believe it."""


class BadSignature(Untrusted):
    pass


class NoKnownKey(Untrusted):
    pass


class AmbiguousKey(Untrusted):
    pass


_SHOWN_CHARACTERS_MAX = 80


def shown(value: object) -> str:
    """The value as an error message shows it: escaped, and never longer than a line."""
    text = value.hex() if isinstance(value, bytes | bytearray | memoryview) else repr(value)
    if len(text) <= _SHOWN_CHARACTERS_MAX:
        return text
    return f"{text[:_SHOWN_CHARACTERS_MAX]}... ({len(text)} characters)"

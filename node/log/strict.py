"""Spellings that more than one format here shares, read so that each value has exactly one.

Python is lenient where it hurts: `int("1_0")`, `int(" 7 ")`, `int("٧")` are numbers, and base64 decodes two texts
to one value even with `validate=True` (the bits after the last byte are dropped). What is signed or hashed must have
one spelling, so each reader below accepts a text only if writing the value gives it back.
"""

import base64
import binascii
import re

_DECIMAL = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_DECIMAL_DIGITS_MAX = 20  # 2^64-1 has twenty
U64_MAX = 2**64 - 1


def decimal(text: str, maximum: int = U64_MAX) -> int | None:
    """The number that ASCII `text` spells without sign, leading zero or separator; None if it spells none."""
    if len(text) > _DECIMAL_DIGITS_MAX or _DECIMAL.fullmatch(text) is None:
        return None
    value = int(text)
    return value if value <= maximum else None


def base64_bytes(text: str) -> bytes | None:
    """The bytes that `text` spells in RFC 4648 section 4 base64, padded, spare bits zero; None if it spells none."""
    try:
        spelt = text.encode("ascii")
        data = binascii.a2b_base64(spelt, strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return data if binascii.b2a_base64(data, newline=False) == spelt else None


def has_spare_bits(text: str) -> bool:
    """True if `text` is base64 but for bits set after its last byte, which lenient readers drop."""
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return False
    return base64.b64encode(data).decode("ascii") != text


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

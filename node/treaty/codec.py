"""The one spelling of state rows: integers, bytes, text, None and tuples of these.

    None   00
    int    01 length(1) two's complement, big-endian, as short as possible
    bytes  02 length(4) bytes
    text   03 length(4) UTF-8
    tuple  04 count(4)  items

Equal values give equal bytes and the other way round; the state digest (RULINGS R20) is over them.
Written only by this node and read back from its own store, so a bad byte is our own bug or a
damaged disk: `decode` raises `DamagedRow`.
"""

from functools import lru_cache
from struct import Struct
from typing import Final, TypeAlias

Value: TypeAlias = "int | bytes | str | tuple[Value, ...] | None"

_NONE: Final = b"\x00"
_BYTES: Final = b"\x02"
_TUPLE: Final = b"\x04"
_EMPTY: Final = b"\x04\x00\x00\x00\x00"
_u32: Final = Struct(">I").pack
# Rows say the same thresholds, seconds and names again and again: that many spellings are remembered, some megabytes.
SPELLED_MAX: Final = 16_384


class DamagedRow(ValueError):
    """Stored bytes that `encode` cannot have written."""


def encode(value: Value) -> bytes:
    """The bytes of `value`."""
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def _write(value: Value, parts: list[bytes]) -> None:
    if isinstance(value, tuple):
        parts.append(_TUPLE + _u32(len(value)))
        for item in value:
            # Most items of a row are numbers, names and empty lists; one call less for each is a third of the cost of a report.
            kind = type(item)
            if kind is int:
                parts.append(_integer(item))
            elif kind is str:
                parts.append(_text(item))
            elif item == ():
                parts.append(_EMPTY)
            else:
                _write(item, parts)
    elif isinstance(value, int):
        parts.append(_integer(value))
    elif isinstance(value, str):
        parts.append(_text(value))
    elif isinstance(value, bytes):
        parts.append(_BYTES + _u32(len(value)) + value)
    else:
        parts.append(_NONE)


@lru_cache(maxsize=SPELLED_MAX)
def _integer(value: int) -> bytes:
    length = (value.bit_length() >> 3) + 1  # one spare bit for the sign
    return bytes((1, length)) + value.to_bytes(length, "big", signed=True)


@lru_cache(maxsize=SPELLED_MAX)
def _text(text: str) -> bytes:
    data = text.encode()
    return b"\x03" + len(data).to_bytes(4, "big") + data


def decode(data: bytes) -> Value:
    """The value that `encode` wrote as `data`. Raises DamagedRow."""
    try:
        value, end = _read(data, 0)
    except (IndexError, UnicodeDecodeError) as err:
        raise DamagedRow(f"row of {len(data)} bytes: {err}") from None
    if end != len(data) or encode(value) != data:
        raise DamagedRow(f"row of {len(data)} bytes is not in its one spelling")
    return value


def _read(data: bytes, at: int) -> tuple[Value, int]:
    tag = data[at]
    if tag == 0:
        return None, at + 1
    if tag == 1:
        end = at + 2 + data[at + 1]
        return int.from_bytes(_exactly(data, at + 2, end), "big", signed=True), end
    count = int.from_bytes(_exactly(data, at + 1, at + 5), "big")
    at += 5
    if tag == 2:
        return _exactly(data, at, at + count), at + count
    if tag == 3:
        return _exactly(data, at, at + count).decode(), at + count
    if tag != 4:
        raise DamagedRow(f"tag {tag} at byte {at - 5}")
    items = []
    for _ in range(count):
        item, at = _read(data, at)
        items.append(item)
    return tuple(items), at


def _exactly(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise DamagedRow(f"row ends at byte {len(data)}, wanted {end}")
    return data[start:end]

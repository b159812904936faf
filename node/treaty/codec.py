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

from typing import Final, TypeAlias

Value: TypeAlias = "int | bytes | str | tuple[Value, ...] | None"

_NONE: Final = b"\x00"


class DamagedRow(ValueError):
    """Stored bytes that `encode` cannot have written."""


def encode(value: Value) -> bytes:
    """The bytes of `value`."""
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def _write(value: Value, parts: list[bytes]) -> None:
    if isinstance(value, int):
        length = (value.bit_length() >> 3) + 1  # one spare bit for the sign
        parts.append(bytes((1, length)))
        parts.append(value.to_bytes(length, "big", signed=True))
    elif isinstance(value, str):
        text = value.encode()
        parts.append(b"\x03" + len(text).to_bytes(4, "big"))
        parts.append(text)
    elif isinstance(value, bytes):
        parts.append(b"\x02" + len(value).to_bytes(4, "big"))
        parts.append(value)
    elif value is None:
        parts.append(_NONE)
    else:
        parts.append(b"\x04" + len(value).to_bytes(4, "big"))
        for item in value:
            _write(item, parts)


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

"""Deterministic CBOR, RFC 8949 section 4.2.1: the only importer of cbor2.

Derived records are hashed by every node on its own, so a value has one encoding: shortest heads, definite lengths, map
keys in the bytewise order of their encodings. Values are int (64 bit either way), bytes, str, list, dict, bool and None;
no floats, no tags, no other simple values. Keys of one map are all integers or all text.

cbor2 is lenient (measured, 6.3.0): it accepts duplicate keys, longer heads, indefinite lengths, and runs tag decoders, and its
own canonical mode sorts keys length first, which is RFC 7049's order. So `decode` switches all of that off and then accepts
only what `encode` gives back, byte for byte.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import cbor2

from node.log.errors import MalformedCbor, shown

Value = (
    int
    | bytes
    | str
    | bool
    | None
    | Sequence["Value"]
    | Mapping[int, "Value"]
    | Mapping[str, "Value"]
)

DEPTH_MAX = 8
_INTEGER_MAX = 2**64 - 1
_INTEGER_MIN = -(2**64)


def encode(value: Value) -> bytes:
    """The one encoding of the value. Raises MalformedCbor if it holds what has none (a float, a third type of key)."""
    return cbor2.dumps(_ordered(value))


def decode(data: bytes, *, depth_max: int = DEPTH_MAX, any_order: bool = False) -> Any:
    """The value whose one encoding these bytes are. Raises MalformedCbor.

    `any_order` lets map keys stand in any order, for what other people's tools signed; all else is as strict.
    """
    try:
        value = cbor2.loads(
            data,
            max_depth=depth_max,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            tag_hook=_refuse_tag,
            semantic_decoders=_NO_TAGS,
        )
    except (cbor2.CBORError, TypeError) as err:
        raise MalformedCbor(f"CBOR {shown(data)}: {err}") from None
    ordered = _ordered(value)  # looks at every type, too
    if cbor2.dumps(value if any_order else ordered) != data:
        raise MalformedCbor(f"CBOR {shown(data)}: not its deterministic encoding")
    return value


def decode_record(data: bytes) -> dict[str, Any]:
    """A map with text keys, as derived, commit and genesis records are. Raises MalformedCbor."""
    value = decode(data)
    if type(value) is not dict or not all(type(key) is str for key in value):
        raise MalformedCbor(f"record {shown(data)}: want a map with text keys")
    return value


def _refuse_tag(value: object, _immutable: bool) -> object:  # noqa: FBT001 - cbor2 calls it so
    raise MalformedCbor(f"tag around {shown(value)}: tags have no place here")


# Every tag for which cbor2 6.3.0 has a decoder of its own: some parse dates, regular expressions or whole e-mails.
_NO_TAGS: Mapping[int, Any] = MappingProxyType(
    dict.fromkeys(
        (
            0,
            1,
            2,
            3,
            4,
            5,
            25,
            28,
            29,
            30,
            35,
            36,
            37,
            52,
            54,
            100,
            256,
            258,
            260,
            261,
            1004,
            43000,
            55799,
        ),
        _refuse_tag,
    )
)


def _ordered(value: Any) -> Any:
    """The same value with every map in the bytewise order of its encoded keys."""
    kind = type(value)
    if kind is bytes or kind is bool or value is None:
        return value
    if kind is str:
        if not value.isascii():
            _refuse_surrogates(value)
        return value
    if kind is int:
        if not _INTEGER_MIN <= value <= _INTEGER_MAX:
            raise MalformedCbor(f"integer {shown(value)}: not of 64 bits")
        return value
    if kind is dict:
        kinds = set(map(type, value))
        if kinds == {int}:
            keys = sorted(value, key=_integer_order)
        elif kinds <= {str}:
            keys = sorted(value, key=_text_order)
        else:
            raise MalformedCbor(f"map {shown(value)}: keys are all integers or all text")
        return {_ordered(key): _ordered(value[key]) for key in keys}
    if kind is list or kind is tuple:
        return [_ordered(item) for item in value]
    raise MalformedCbor(f"{kind.__name__} {shown(value)}: no CBOR type used here")


def _refuse_surrogates(text: str) -> None:
    """Python strings can hold halves of UTF-16 pairs, which UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MalformedCbor(f"text {shown(text)}: not UTF-8") from None


def _integer_order(key: int) -> int:
    """Orders as the encodings do: unsigned first, then negative, each by magnitude (heads grow with the number)."""
    return key if key >= 0 else 2**64 - key


def _text_order(key: str) -> tuple[int, bytes]:
    """Orders as the encodings do: the head holds the length, so shorter comes first."""
    data = key.encode("utf-8", "surrogatepass")
    return len(data), data

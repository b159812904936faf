import datetime as dt

import cbor2
import pytest

from node.log import cbor
from node.log.errors import MalformedCbor


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (256, "190100"),
        (2**64 - 1, "1bffffffffffffffff"),
        (-1, "20"),
        (-(2**64), "3bffffffffffffffff"),
        (b"", "40"),
        (b"ab", "426162"),
        ("\u00e9", "62c3a9"),
        ([], "80"),
        ([1, [2]], "82018102"),
        ({}, "a0"),
        (True, "f5"),
        (False, "f4"),
        (None, "f6"),
        (
            {2**64 - 1: 0, 2**63: 0, -(2**64): 0, -25: 0, -24: 0},
            "a5" + "1b8000000000000000" + "00"
            "1bffffffffffffffff" + "00" + "3700" + "381800" + "3bffffffffffffffff" + "00",
        ),
        # RFC 8949 section 4.2.1 orders by the encoded bytes, not by length first as RFC 7049 did:
        ({-1: 0, 24: 0, 1: 0}, "a30100181800" + "2000"),
        ({"bb": 0, "a": 0, "": 0, "aa": 0}, "a46000616100" + "62616100" + "62626200"),
    ],
)
def test_each_value_has_one_encoding(value: object, encoded: str) -> None:
    assert cbor.encode(value).hex() == encoded  # type: ignore[arg-type]
    assert cbor.decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("", "nothing"),
        ("0000", "trailing byte"),
        ("1800", "one where no byte would do"),
        ("190017", "two bytes for 23"),
        ("1b00000000ffffffff", "eight bytes where four do"),
        ("580161", "long head of a byte string"),
        ("780161", "long head of a text"),
        ("9801f6", "long head of an array"),
        ("b801000000", "long head of a map"),
        ("9fff", "indefinite array"),
        ("bfff", "indefinite map"),
        ("5f4161ff", "indefinite bytes"),
        ("7f6161ff", "indefinite text"),
        ("a201000100", "doubled key"),
        ("a202000100", "keys out of order"),
        ("a2616200616100", "text keys out of order"),
        ("a2010061" + "6100", "keys of two types"),
        ("a1f500", "key of another type"),
        ("a1410000", "bytes as a key"),
        ("a1800000", "array as a key"),
        ("f93c00", "float"),
        ("fb3ff0000000000000", "float"),
        ("f7", "undefined"),
        ("e0", "simple value"),
        ("f820", "simple value"),
        ("c100", "tag: epoch"),
        ("c249010000000000000000", "tag: big integer"),
        ("d81800", "tag 24"),
        ("d81c80", "tag 28, shared"),
        ("d8236161", "tag 35, regular expression"),
        ("d82461" + "61", "tag 36, MIME"),
        ("d9d9f700", "self-described"),
        ("62c328", "not UTF-8"),
        ("63eda080", "surrogate"),
        ("9b7fffffffffffffff", "array longer than memory"),
        ("81" * 9 + "00", "too deep"),
        ("ff", "break"),
        ("1c", "reserved"),
    ],
)
def test_every_other_spelling_is_refused(encoded: str, why: str) -> None:
    with pytest.raises(MalformedCbor):
        cbor.decode(bytes.fromhex(encoded))


def test_no_tag_reaches_a_decoder_of_the_library() -> None:
    """Some of cbor2's tag decoders compile regular expressions or parse e-mail: none may see a stranger's bytes."""
    for tag in [*range(1100), 4711, 43000, 55799, 2**32]:
        data = cbor2.dumps(cbor2.CBORTag(tag, "a"))
        with pytest.raises(
            MalformedCbor, match="tag"
        ):  # refused as a tag, not for what it decodes to
            cbor.decode(data)


def test_any_order_is_lenient_in_nothing_else() -> None:
    assert cbor.decode(bytes.fromhex("a202000100"), any_order=True) == {2: 0, 1: 0}
    for bad in ("a202000200", "a2180200" + "0100", "a2f5000100"):
        with pytest.raises(MalformedCbor):
            cbor.decode(bytes.fromhex(bad), any_order=True)


@pytest.mark.parametrize(
    "value",
    [1.5, 2**64, "\ud800", {"\udfff": 0}, {1: 0, "a": 0}, {b"": 0}, dt.date(2026, 1, 1), {1}],
)
def test_what_has_no_encoding_is_refused(value: object) -> None:
    with pytest.raises(MalformedCbor):
        cbor.encode([value])  # type: ignore[list-item]


def test_records_are_maps_with_text_keys() -> None:
    assert cbor.decode_record(cbor.encode({"type": "genesis"})) == {"type": "genesis"}
    others: list[cbor.Value] = [[], {1: 2}, "text", 5, None]
    for value in others:
        with pytest.raises(MalformedCbor):
            cbor.decode_record(cbor.encode(value))

import pytest

from node.log import note
from node.log.checkpoint import Checkpoint, is_origin, parse_checkpoint
from node.log.cosignature import (
    cosigned_subtree_message,
    line_check,
    median_timestamp,
    open_checkpoint,
    parse_cosignature,
)
from node.log.errors import (
    AmbiguousKey,
    BadSignature,
    MalformedCheckpoint,
    MalformedCosignature,
    MalformedKey,
    MalformedNote,
    MisspeltLine,
    NoKnownKey,
)
from node.log.note import KeyType
from node.log.strict import base64_text
from node.signing.checkpoints import (
    cosignature_line,
    mldsa_cosigner_vkey,
    sign_cosignature,
    sign_log_line,
    sign_mldsa_cosignature,
    verify_cosignature,
)
from node.signing.keys import MldsaKey
from node.signing.verify import verify_ed25519, verify_mldsa44
from tests.unit.log import world

CHECK = line_check(verify_ed25519, verify_mldsa44)
CHECKPOINT = world.checkpoint(9)


def test_who_signed_each_once_in_the_order_of_the_lines() -> None:
    data = world.note(CHECKPOINT, ("CC", "AA", "CC"), log="BB")
    keys = [*world.COSIGNER_VKEYS.values(), *world.LOG_VKEYS.values()]
    opened = open_checkpoint(data, keys, verify_ed25519)
    assert opened.signers == (
        world.LOG_VKEYS["BB"],
        world.COSIGNER_VKEYS["CC"],
        world.COSIGNER_VKEYS["AA"],
    )
    assert opened.checkpoint == CHECKPOINT
    assert bytes(opened.note) == data


def test_one_bad_line_of_a_known_key_rejects_the_note_even_beside_a_good_one() -> None:
    data = world.note(CHECKPOINT, ("AA",))
    other = world.cosigner_line("AA", world.checkpoint(10))
    with pytest.raises(BadSignature):
        note.open_note(
            note.parse_note(data + str(other).encode()), [*world.COSIGNER_VKEYS.values()], CHECK
        )


def test_unknown_lines_are_ignored_and_alone_are_not_enough() -> None:
    data = world.note(CHECKPOINT, ("AA", "BB"))
    assert open_checkpoint(data, [world.COSIGNER_VKEYS["BB"]], verify_ed25519).signers == (
        world.COSIGNER_VKEYS["BB"],
    )
    with pytest.raises(NoKnownKey):
        open_checkpoint(data, [world.COSIGNER_VKEYS["CC"]], verify_ed25519)
    with pytest.raises(NoKnownKey):
        open_checkpoint(data, [], verify_ed25519)


def test_two_known_keys_behind_one_label_are_ambiguous() -> None:
    key = world.LOG_VKEYS["AA"]
    with pytest.raises(AmbiguousKey):
        open_checkpoint(world.note(CHECKPOINT), [key, key], verify_ed25519)


def test_mldsa_lines_count_only_where_they_can_be_checked() -> None:
    key = MldsaKey.from_seed(bytes(32))
    vkey = mldsa_cosigner_vkey(world.ORIGIN, "AA", key.public)
    line = cosignature_line(vkey, sign_mldsa_cosignature(key, "AA", CHECKPOINT, world.TIME))
    data = bytes(note.Note(text=CHECKPOINT.text(), lines=(line,)))
    assert open_checkpoint(data, [vkey], verify_ed25519, verify_mldsa44).signers == (vkey,)
    with pytest.raises(NoKnownKey):
        open_checkpoint(data, [vkey], verify_ed25519)
    larger = data.replace(b"\n9\n", b"\n8\n")
    with pytest.raises(BadSignature):
        open_checkpoint(larger, [vkey], verify_ed25519, verify_mldsa44)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        "text\n\n\u2014 a AAAAAAA=".encode(),
        "text\n\n\u2014 a AAAAAA==\n".encode(),  # a key ID and nothing after it
        "text\n\n\u2014 a  AAAAAAA=\n".encode(),
        "text\n\n\u2014 a+b AAAAAAA=\n".encode(),
        "text\n\n\u2014 a AAAAAAA\n".encode(),
        "text\n\n\u2014 a AAAAAAB=\n".encode(),
        "te\txt\n\n\u2014 a AAAAAAA=\n".encode(),
        "te\rxt\n\n\u2014 a AAAAAAA=\n".encode(),
        b"te\xffxt\n\n\xe2\x80\x94 a AAAAAAA=\n",
        b"text\n\n" + "\u2014 a AAAAAAA=\n".encode() * 1_025,
        b"x" * 1_000_001,
    ],
)
def test_what_is_no_note(data: bytes) -> None:
    with pytest.raises(MalformedNote):
        note.parse_note(data)


def test_a_note_splits_at_its_last_empty_line() -> None:
    parsed = note.parse_note("a\n\n\u2014 b AAAAAAA=\n\n\u2014 c AAAAAAA=\n".encode())
    assert parsed.text == "a\n\n\u2014 b AAAAAAA=\n".encode()
    assert [line.name for line in parsed.lines] == ["c"]


def test_a_strangers_long_name_is_ignored_and_a_long_name_may_sign() -> None:
    """Only ML-DSA cosigners sign their name behind a u8 length; the note format bounds no name."""
    data = world.note(CHECKPOINT, ("AA",)) + "\u2014 {} AAAAAAA=\n".format("s" * 300).encode()
    assert open_checkpoint(data, [world.COSIGNER_VKEYS["AA"]], verify_ed25519).signers == (
        world.COSIGNER_VKEYS["AA"],
    )
    long = note.verifier_key("s" * 300, KeyType.COSIGNATURE, world.COSIGNERS["AA"].public)
    assert note.parse_vkey(str(long)) == long
    with pytest.raises(MalformedKey, match="at most 255"):
        note.verifier_key("s" * 256, KeyType.MLDSA_COSIGNATURE, bytes(1312))


def test_a_witness_takes_no_more_lines_than_other_peoples_readers() -> None:
    data = b"text\n\n" + "\u2014 a AAAAAAA=\n".encode() * 101
    assert len(note.parse_note(data).lines) == 101  # a certificate of 195 members has more
    with pytest.raises(MalformedNote, match="at most 100"):
        note.parse_note_for_witness(data)
    assert (
        len(note.parse_note_for_witness(data[: -len("\u2014 a AAAAAAA=\n".encode())]).lines) == 100
    )


def test_a_misspelt_line_refuses_a_note_but_not_a_witness() -> None:
    data = "text\n\n\u2014 a AAAAAAB=\n\u2014 b AAAAAAA=\n".encode()
    with pytest.raises(MisspeltLine):
        note.parse_note(data)
    assert [line.name for line in note.parse_note_for_witness(data).lines] == ["b"]


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        "name+00000000+",
        "name+00000000+AA==",
        str(world.LOG_VKEYS["AA"]).replace(world.ORIGIN, "another.example"),
        str(world.LOG_VKEYS["AA"]).upper(),
        str(world.LOG_VKEYS["AA"]) + "\n",
        "x\ud800+00000000+AQ==",
    ],
)
def test_what_is_no_vkey(vkey: str) -> None:
    with pytest.raises(MalformedKey):
        note.parse_vkey(vkey)


def test_key_types_that_are_not_used_are_refused() -> None:
    public = world.LOG_KEYS["AA"].public
    for key_type in (0x02, 0x05, 0xFF):
        text = f"n+{note.key_id('n', key_type, public).hex()}+"
        text += base64_text(bytes([key_type]) + public)
        with pytest.raises(MalformedKey, match="not used here"):
            note.parse_vkey(text)


def test_private_key_errors_show_no_secret() -> None:
    secret = "PRIVATE+KEY+n+00000000+AQsecretsecretsecret"
    with pytest.raises(MalformedKey) as caught:
        note.parse_private_key(secret)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"o\n1\n",
        b"o\n1\n" + b"A" * 43 + b"=",
        b"\n1\n" + b"A" * 43 + b"=\n",
        b"o\r\n1\n" + b"A" * 43 + b"=\n",
        b"o\tp\n1\n" + b"A" * 43 + b"=\n",
        b"o\n18446744073709551616\n" + b"A" * 43 + b"=\n",
        b"o\n1\n" + b"A" * 43 + b"=\n\n",
        b"o\n1\n" + b"A" * 43 + b"=\next\n\next\n",
        "o\n\u0661\n".encode() + b"A" * 43 + b"=\n",
    ],
)
def test_what_is_no_checkpoint(text: bytes) -> None:
    with pytest.raises(MalformedCheckpoint):
        parse_checkpoint(text)


def test_checkpoints_both_ways() -> None:
    for extensions in ((), ("one", "two words")):
        value = Checkpoint(origin="o p", size=2**64 - 1, root=bytes(32), extensions=extensions)
        assert parse_checkpoint(value.text()) == value


def test_origins_of_ours() -> None:
    assert is_origin("ledger.treaty.example/main")
    for bad in ("", "a b", "a+b", "https://a", "a/", "a\n"):
        assert not is_origin(bad)


def test_cosignatures_have_one_length_and_a_time_that_fits() -> None:
    assert parse_cosignature(bytes(72), KeyType.COSIGNATURE).timestamp == 0
    for bad in (bytes(71), bytes(73), b"\x80" + bytes(71)):
        with pytest.raises(MalformedCosignature):
            parse_cosignature(bad, KeyType.COSIGNATURE)


def test_a_cosignature_is_verified_only_as_what_it_is() -> None:
    made = sign_cosignature(world.COSIGNERS["AA"], CHECKPOINT, world.TIME)
    public = world.COSIGNERS["AA"].public
    verified = verify_cosignature("AA", public, CHECKPOINT, made)
    assert verified is not None
    assert (verified.state, verified.checkpoint, verified.cosignature) == ("AA", CHECKPOINT, made)
    assert verify_cosignature("AA", public, world.checkpoint(10), made) is None
    assert verify_cosignature("BB", world.COSIGNERS["BB"].public, CHECKPOINT, made) is None
    line = sign_log_line(world.LOG_KEYS["AA"], CHECKPOINT)
    assert len(line.signature) == 64


def test_the_median_of_a_quorum_stays_inside_the_honest_range() -> None:
    """Seven members, five cosigned, two of them lie as they like."""
    honest = [100, 101, 103]
    for lies in ([0, 0], [2**62, 2**62], [0, 2**62]):
        assert 100 <= median_timestamp(honest + lies) <= 103


def test_an_origin_too_long_for_mldsa_is_an_error_of_input() -> None:
    long = Checkpoint(origin="o" * 256, size=1, root=bytes(32))
    with pytest.raises(MalformedCheckpoint):
        cosigned_subtree_message(0, "name", long)

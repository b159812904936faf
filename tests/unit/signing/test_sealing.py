"""Sealed documents: k open them, fewer and others do not, and what comes out is what was committed to."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from node.signing.errors import BadKeyFile, CannotOpen, CannotSeal, WrongPassphrase
from node.signing.keystore import (
    KdfCost,
    read_agency_keys,
    read_facts,
    read_sealing_key,
    write_sealing_key,
)
from node.signing.sealing import (
    TEXT_BYTES_MAX,
    Sealed,
    SealingKey,
    open_share,
    open_together,
    seal,
)
from node.treaty.sealed import SEALED_SIZES, commitment_of

STATES = ("BR", "CN", "GB", "KE", "US")
KEYS = {state: SealingKey.generate() for state in STATES}
PUBLIC = {state: key.public for state, key in KEYS.items()}
TEXT = b"The counts of hall 3 are dummies."
CHEAP = KdfCost(ops=1, memory_bytes=8_192)


def shares_of(document: Sealed, *states: str) -> dict[int, bytes]:
    return dict(open_share(document, state, KEYS[state]) for state in states)


def test_any_k_of_the_recipients_open_it() -> None:
    document, receipt = seal(TEXT, PUBLIC, 3)
    for chosen in combinations(STATES, 3):
        opened = open_together(document, shares_of(document, *chosen))
        assert opened == receipt
        assert opened.text == TEXT
    assert commitment_of(receipt.salt, TEXT) == document.commitment


@pytest.mark.measure("M25")
def test_fewer_than_k_do_not() -> None:
    document, _ = seal(TEXT, PUBLIC, 3)
    with pytest.raises(CannotOpen, match="2 shares, and 3 open it"):
        open_together(document, shares_of(document, "BR", "CN"))
    # Nor if they say that two are enough: the polynomial is of degree 2.
    with pytest.raises(CannotOpen, match="no choice"):
        open_together(replace(document, threshold=2), shares_of(document, "BR", "CN"))


@pytest.mark.measure("M25")
def test_the_accused_cannot_read_it_and_cannot_tell() -> None:
    """A decoy opens like a share; alone or with too few others it opens nothing, among enough it does no harm."""
    document, _ = seal(TEXT, PUBLIC, 2, frozenset({"US"}))
    assert len(open_share(document, "US", KEYS["US"])[1]) == 32
    with pytest.raises(CannotOpen):
        open_together(document, shares_of(document, "US", "BR"))
    assert open_together(document, shares_of(document, "US", "BR", "KE")).text == TEXT
    boxes = {len(share.box) for share in document.shares}
    assert boxes == {80}


def test_a_share_is_its_recipients_alone() -> None:
    document, _ = seal(TEXT, {"KE": PUBLIC["KE"]}, 1)
    with pytest.raises(CannotOpen, match="not sealed to this key"):
        open_share(document, "KE", KEYS["US"])
    with pytest.raises(CannotOpen, match="US has no share of this document; there are KE"):
        open_share(document, "US", KEYS["US"])


def test_lengths_say_little() -> None:
    sizes = [
        len(seal(bytes(size), PUBLIC, 2)[0].sealed)
        for size in (0, 1, 988, 989, 4_060, TEXT_BYTES_MAX)
    ]
    assert sizes == [SEALED_SIZES[0]] * 3 + [SEALED_SIZES[1]] * 2 + [SEALED_SIZES[2]]


def test_equal_texts_look_different() -> None:
    one, other = seal(TEXT, PUBLIC, 2)[0], seal(TEXT, PUBLIC, 2)[0]
    assert one.commitment != other.commitment
    assert one.sealed != other.sealed


def test_any_changed_byte_is_found() -> None:
    document, _ = seal(TEXT, PUBLIC, 2)
    shares = shares_of(document, "BR", "KE")
    for place in (0, 24, 500, len(document.sealed) - 1):
        changed = bytearray(document.sealed)
        changed[place] ^= 1
        with pytest.raises(CannotOpen):
            open_together(replace(document, sealed=bytes(changed)), shares)
    with pytest.raises(CannotOpen):
        open_together(replace(document, commitment=bytes(32)), shares)
    for cut in (b"", document.sealed[:24], document.sealed[:40]):
        with pytest.raises(CannotOpen):
            open_together(replace(document, sealed=cut), shares)


def test_who_committed_to_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An author who seals one text and commits to another: whoever opens it sees that it lied."""
    monkeypatch.setattr("node.signing.sealing.commitment_of", lambda salt, text: bytes(32))
    document, _ = seal(TEXT, PUBLIC, 2)
    monkeypatch.undo()
    with pytest.raises(CannotOpen, match="its author lied"):
        open_together(document, shares_of(document, "BR", "KE"))


@pytest.mark.parametrize(
    ("recipients", "threshold", "decoys", "why"),
    [
        ({}, 1, (), "0 recipients"),
        (PUBLIC, 0, (), "threshold 0"),
        (PUBLIC, 6, (), "threshold 6"),
        (PUBLIC, 5, ("US",), "threshold 5: from 1 to the 4"),
        (PUBLIC, 2, ("FR",), "decoys FR"),
        ({"KE": bytes(31)}, 1, (), "no X25519 key"),
        ({"KE": bytes(32)}, 1, (), "no X25519 key"),  # of small order: everybody could open it
        ({str(n): PUBLIC["KE"] for n in range(33)}, 1, (), "33 recipients"),
    ],
)
def test_what_cannot_be_sealed(
    recipients: dict[str, bytes], threshold: int, decoys: tuple[str, ...], why: str
) -> None:
    with pytest.raises(CannotSeal, match=why):
        seal(TEXT, recipients, threshold, frozenset(decoys))


def test_too_long_a_text() -> None:
    with pytest.raises(CannotSeal, match="at most"):
        seal(bytes(TEXT_BYTES_MAX + 1), PUBLIC, 2)


def test_no_secret_in_words() -> None:
    key = SealingKey.generate()
    assert key.seed.hex() not in repr(key)
    assert repr(key.seed) not in repr(key)


def test_a_key_file(tmp_path: Path) -> None:
    path = tmp_path / "ke.seal"
    write_sealing_key(path, "KE", KEYS["KE"], b"correct horse", cost=CHEAP)
    assert read_sealing_key(path, b"correct horse") == ("KE", KEYS["KE"])
    assert read_facts(path).public == {"sealing": KEYS["KE"].public}
    with pytest.raises(WrongPassphrase):
        read_sealing_key(path, b"another horse")
    with pytest.raises(BadKeyFile, match="holds sealing keys, not author keys"):
        read_agency_keys(path, b"correct horse")

"""Class S: documents sealed to named recipients, opened by k of them together, checked against the ledger (MODEL 6).

    salt       32 random bytes; commitment = SHA-256(label || salt || text), which the ledger keeps
    secret     a random scalar, shared out among the recipients (`sharing`)
    key        SHA-256(label || commitment || secret)
    sealed     nonce || secretbox(salt || u32 length || text || zeros), keyed by `key`: 1, 4 or 10 KiB of plain text
    share i    an X25519 sealed box (ephemeral key, XSalsa20-Poly1305) to recipient i's sealing key, over f(i)

Whoever reads the ledger sees the commitment, one of three lengths and who holds shares. A recipient may be given a decoy: a
random share that fits no polynomial. Nobody can tell it from a real one without joining it, so that a whistleblower can
leave the accused state out without saying so. Joining tries the combinations; secretbox tells the right one.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, islice
from typing import Final, Self

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.utils import random as os_random

from node.signing.errors import CannotOpen, CannotSeal
from node.signing.sharing import is_scalar, join, random_scalar, share_out
from node.treaty.sealed import BOX_BYTES, PADDED_SIZES, SALT_BYTES, SHARES_MAX, commitment_of

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
TEXT_BYTES_MAX: Final = PADDED_SIZES[-1] - SALT_BYTES - 4
TRIES_MAX: Final = 20_000  # combinations of shares: with decoys among them most are wrong
_KEY_LABEL: Final = b"foedus/seal-key/1"
_LENGTH: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """What a party opens its shares with. Build it with `generate` or `from_seed`."""

    public: bytes  # X25519, 32 bytes
    seed: bytes = field(repr=False, compare=False)
    _secret: bytes = field(repr=False, compare=False)

    @classmethod
    def generate(cls) -> Self:
        return cls.from_seed(os_random(KEY_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        public, secret = bindings.crypto_box_seed_keypair(seed)
        return cls(public=public, seed=seed, _secret=secret)

    def open(self, box: bytes) -> bytes:
        """What was sealed to this key. Raises CannotOpen."""
        try:
            return bindings.crypto_box_seal_open(box, self.public, self._secret)
        except (CryptoError, ValueError, TypeError):
            raise CannotOpen("this box was not sealed to this key, or was altered") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One recipient's sealed part."""

    recipient: str
    box: bytes  # 80 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A sealed document: all of it may be public."""

    commitment: bytes
    sealed: bytes
    threshold: int
    shares: tuple[Share, ...]  # in the order of their indices, from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A document and the salt that proves it."""

    text: bytes
    salt: bytes


def seal(
    text: bytes,
    recipients: Mapping[str, bytes],
    threshold: int,
    decoys: frozenset[str] = frozenset(),
) -> tuple[Sealed, Opened]:
    """Seal `text` to recipients (name -> X25519 key) so that `threshold` of those who are no decoys open it.

    The second value is for its author alone: it opens the commitment. Raises CannotSeal naming what is wrong.
    """
    names = sorted(recipients)
    _require_sealable(text, recipients, threshold, decoys)
    salt = os_random(SALT_BYTES)
    commitment = commitment_of(salt, text)
    secret = random_scalar()
    values = share_out(secret, len(names), threshold)
    shares = tuple(
        Share(
            recipient=name,
            box=bindings.crypto_box_seal(
                random_scalar() if name in decoys else value, recipients[name]
            ),
        )
        for name, value in zip(names, values, strict=True)
    )
    plain = salt + _LENGTH.pack(len(text)) + text
    size = next(size for size in PADDED_SIZES if len(plain) <= size)
    nonce = os_random(NONCE_BYTES)
    box = bindings.crypto_secretbox(plain.ljust(size, b"\0"), nonce, _key(commitment, secret))
    sealed = Sealed(commitment=commitment, sealed=nonce + box, threshold=threshold, shares=shares)
    return sealed, Opened(text=text, salt=salt)


def _require_sealable(
    text: bytes, recipients: Mapping[str, bytes], threshold: int, decoys: frozenset[str]
) -> None:
    if len(text) > TEXT_BYTES_MAX:
        raise CannotSeal(
            f"text of {len(text)} bytes: at most {TEXT_BYTES_MAX}; seal its hash instead"
        )
    if not 1 <= len(recipients) <= SHARES_MAX:
        raise CannotSeal(f"{len(recipients)} recipients: from 1 to {SHARES_MAX}")
    for name, public in recipients.items():
        if len(public) != KEY_BYTES or not _is_usable(public):
            raise CannotSeal(f"recipient {name}: {public.hex()} is no X25519 key to seal to")
    unknown = sorted(decoys - set(recipients))
    if unknown:
        raise CannotSeal(f"decoys {', '.join(unknown)}: not among the recipients")
    real = len(recipients) - len(decoys)
    if not 1 <= threshold <= real:
        raise CannotSeal(
            f"threshold {threshold}: from 1 to the {real} recipients that are no decoys"
        )


def _is_usable(public: bytes) -> bool:
    """Keys of small order give everybody the same shared secret: libsodium refuses them when the product is zero."""
    try:
        bindings.crypto_scalarmult(b"\1" * KEY_BYTES, public)
    except (RuntimeError, CryptoError):
        return False
    return True


def open_share(document: Sealed, recipient: str, key: SealingKey) -> tuple[int, bytes]:
    """(index, share) of this recipient. A decoy opens too. Raises CannotOpen."""
    for index, share in enumerate(document.shares, start=1):
        if share.recipient == recipient:
            value = key.open(share.box) if len(share.box) == BOX_BYTES else b""
            if not is_scalar(value):
                raise CannotOpen(f"the share of {recipient} is none")
            return index, value
    names = ", ".join(share.recipient for share in document.shares)
    raise CannotOpen(f"{recipient} has no share of this document; there are {names or 'none'}")


def open_together(document: Sealed, shares: Mapping[int, bytes]) -> Opened:
    """What `threshold` good shares among these say. Raises CannotOpen: too few, none fits, or not what was committed to."""
    if not 1 <= document.threshold <= len(shares):
        raise CannotOpen(f"{len(shares)} shares, and {document.threshold} open it")
    ways = combinations(sorted(shares), document.threshold)
    for chosen in islice(ways, TRIES_MAX):
        secret = join({index: shares[index] for index in chosen})
        try:
            plain = bindings.crypto_secretbox_open(
                document.sealed[NONCE_BYTES:],
                document.sealed[:NONCE_BYTES],
                _key(document.commitment, secret),
            )
        except (CryptoError, ValueError):
            continue
        return _read(document, plain)
    raise CannotOpen("no choice of these shares opens it: too many are decoys, or it was altered")


def _read(document: Sealed, plain: bytes) -> Opened:
    salt, rest = plain[:SALT_BYTES], plain[SALT_BYTES:]
    if len(rest) < _LENGTH.size:
        raise CannotOpen("what is inside is no document")
    (length,) = _LENGTH.unpack(rest[: _LENGTH.size])
    text = rest[_LENGTH.size : _LENGTH.size + length]
    if len(text) != length or commitment_of(salt, text) != document.commitment:
        raise CannotOpen("what is inside is not what was committed to: its author lied")
    return Opened(text=text, salt=salt)


def _key(commitment: bytes, secret: bytes) -> bytes:
    return hashlib.sha256(_KEY_LABEL + commitment + secret).digest()

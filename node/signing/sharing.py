"""Shamir's secret sharing over the scalar field of Ed25519, with libsodium's arithmetic (decision record 0146).

The polynomial is f(x) = secret + a1 x + ... over integers modulo L = 2^252 + 27742317777372353535851937790883648493; member
i holds f(i), i from 1; any `threshold` of them give f(0) by Lagrange's formula. Fewer say nothing about it. RFC 9591,
appendix C.1, shares its group key so, and its test vectors are ours. Scalars are 32 bytes, little-endian, reduced. All
products are libsodium's, in constant time.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from nacl import bindings
from nacl.utils import random as os_random

from node.signing.errors import CannotOpen

SCALAR_BYTES: Final = 32
ORDER: Final = (1 << 252) + 27742317777372353535851937790883648493
SHARES_MAX: Final = 255


def random_scalar() -> bytes:
    """Uniform below L, but for a bias of 2^-259: 64 random bytes, reduced."""
    return bindings.crypto_core_ed25519_scalar_reduce(os_random(64))


def is_scalar(data: bytes) -> bool:
    """Whether these are the bytes of one number below L."""
    return len(data) == SCALAR_BYTES and int.from_bytes(data, "little") < ORDER


def share_out(secret: bytes, shares: int, threshold: int) -> tuple[bytes, ...]:
    """f(1) to f(shares) of a random polynomial with f(0) = secret."""
    coefficients = [random_scalar() for _ in range(threshold - 1)]
    return evaluate(secret, coefficients, shares, threshold)


def evaluate(
    secret: bytes, coefficients: Sequence[bytes], shares: int, threshold: int
) -> tuple[bytes, ...]:
    """`share_out` with its coefficients given: the part that published vectors test."""
    assert 1 <= threshold <= shares <= SHARES_MAX, f"{threshold} of {shares} shares"
    assert len(coefficients) == threshold - 1, "a polynomial of degree threshold - 1"
    made = []
    for index in range(1, shares + 1):
        x = _scalar(index)
        value = _scalar(0)
        for coefficient in reversed((secret, *coefficients)):  # Horner
            value = bindings.crypto_core_ed25519_scalar_mul(value, x)
            value = bindings.crypto_core_ed25519_scalar_add(value, coefficient)
        made.append(value)
    return tuple(made)


def join(shares: Mapping[int, bytes]) -> bytes:
    """f(0) of the polynomial through these points: the secret, if there are enough and all are right.

    Raises CannotOpen: a share is no scalar, or an index is out of range. A wrong share gives a wrong secret without a word.
    """
    for index, share in shares.items():
        if not 1 <= index <= SHARES_MAX or not is_scalar(share):
            raise CannotOpen(f"share {index}: want an index from 1 to {SHARES_MAX} and a scalar")
    secret = _scalar(0)
    for index, share in sorted(shares.items()):
        part = bindings.crypto_core_ed25519_scalar_mul(share, _lagrange(index, shares))
        secret = bindings.crypto_core_ed25519_scalar_add(secret, part)
    return secret


def _lagrange(index: int, indices: Mapping[int, bytes]) -> bytes:
    """The product of j / (j - i) over all other indices j."""
    above, below = _scalar(1), _scalar(1)
    for other in indices:
        if other != index:
            above = bindings.crypto_core_ed25519_scalar_mul(above, _scalar(other))
            gap = bindings.crypto_core_ed25519_scalar_sub(_scalar(other), _scalar(index))
            below = bindings.crypto_core_ed25519_scalar_mul(below, gap)
    return bindings.crypto_core_ed25519_scalar_mul(
        above, bindings.crypto_core_ed25519_scalar_invert(below)
    )


def _scalar(number: int) -> bytes:
    return number.to_bytes(SCALAR_BYTES, "little")

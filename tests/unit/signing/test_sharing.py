"""Shamir's shares: the published vectors of RFC 9591, and naive arithmetic over the same field."""

from itertools import combinations

import pytest

from node.signing.errors import CannotOpen
from node.signing.sharing import ORDER, evaluate, is_scalar, join, random_scalar, share_out

# RFC 9591, appendix E.1, FROST(Ed25519, SHA-512): group secret, coefficient, shares of participants 1 to 3.
SECRET = bytes.fromhex("7b1c33d3f5291d85de664833beb1ad469f7fb6025a0ec78b3a790c6e13a98304")
COEFFICIENT = bytes.fromhex("178199860edd8c62f5212ee91eff1295d0d670ab4ed4506866bae57e7030b204")
SHARES = (
    bytes.fromhex("929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509"),
    bytes.fromhex("a91e66e012e4364ac9aaa405fcafd370402d9859f7b6685c07eed76bf409e80d"),
    bytes.fromhex("d3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02"),
)


def number(scalar: bytes) -> int:
    return int.from_bytes(scalar, "little")


def test_the_vectors_of_rfc_9591() -> None:
    assert evaluate(SECRET, [COEFFICIENT], 3, 2) == SHARES
    for one, other in combinations((1, 2, 3), 2):
        assert join({one: SHARES[one - 1], other: SHARES[other - 1]}) == SECRET


def test_polynomials_by_plain_integers() -> None:
    """f(i) by powers instead of Horner, with Python's integers instead of libsodium's scalars."""
    for threshold in (1, 2, 5):
        secret = random_scalar()
        coefficients = [random_scalar() for _ in range(threshold - 1)]
        shares = evaluate(secret, coefficients, 7, threshold)
        for index, share in enumerate(shares, start=1):
            terms = [
                number(part) * index**power for power, part in enumerate([secret, *coefficients])
            ]
            assert number(share) == sum(terms) % ORDER
        for chosen in combinations(range(1, 8), threshold):
            assert join({index: shares[index - 1] for index in chosen}) == secret


def test_fewer_shares_fit_every_secret() -> None:
    """With one share less than the threshold, any secret at all has a polynomial through them: they say nothing."""
    shares = share_out(random_scalar(), 3, 3)
    for guess in (bytes(32), random_scalar()):
        # The line through (0, guess) and two shares' points has degree 2: a third point completes it.
        third = join_at(3, {0: guess, 1: shares[0], 2: shares[1]})
        assert join({1: shares[0], 2: shares[1], 3: third}) == guess


def join_at(x: int, points: dict[int, bytes]) -> bytes:
    """The value at `x` of the polynomial through these points, by plain integers."""
    total = 0
    for one, value in points.items():
        above = below = 1
        for other in points:
            if other != one:
                above = above * (x - other) % ORDER
                below = below * (one - other) % ORDER
        total += number(value) * above * pow(below, -1, ORDER)
    return (total % ORDER).to_bytes(32, "little")


def test_a_wrong_share_gives_another_secret() -> None:
    secret = random_scalar()
    shares = share_out(secret, 3, 2)
    assert join({1: shares[0], 2: random_scalar()}) != secret


@pytest.mark.parametrize(
    "share", [b"", bytes(31), bytes(33), ORDER.to_bytes(32, "little"), b"\xff" * 32]
)
def test_what_is_no_scalar(share: bytes) -> None:
    assert not is_scalar(share)
    with pytest.raises(CannotOpen):
        join({1: share})


@pytest.mark.parametrize("index", [0, 256, -1])
def test_an_index_out_of_range(index: int) -> None:
    with pytest.raises(CannotOpen):
        join({index: bytes(32)})


def test_scalars_are_spread() -> None:
    seen = {random_scalar() for _ in range(50)}
    assert len(seen) == 50
    assert all(is_scalar(one) for one in seen)

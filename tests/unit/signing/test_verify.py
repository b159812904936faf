import asyncio
import threading
from hashlib import sha256

import pytest

from node.signing import verify
from node.signing.keys import MldsaKey, Role, SigningKey
from node.signing.verify import SignatureCheck, VerifyPool, verify_mldsa44

KEYS = [SigningKey.from_seed(Role.AUTHOR, bytes([n]) * 32) for n in range(4)]


def checks(count: int, *, bad: frozenset[int] = frozenset()) -> list[SignatureCheck]:
    made = []
    for number in range(count):
        key, message = KEYS[number % 4], b"message %d" % number
        signature = key.sign(message if number not in bad else b"another")
        made.append(SignatureCheck(key.public, message, signature, sha256(message).digest()))
    return made


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 300])
async def test_verdicts_come_in_order(count: int) -> None:
    bad = frozenset(range(0, count, 7))
    wanted = [number not in bad for number in range(count)]
    with VerifyPool(threads=2) as pool:
        assert await pool.verify_many(checks(count, bad=bad)) == wanted
        assert await pool.verify_many(checks(count, bad=bad)) == wanted
    with VerifyPool(threads=3) as pool:
        assert pool.verify_now(checks(count, bad=bad)) == wanted
    with VerifyPool(threads=0) as pool:
        assert await pool.verify_many(checks(count, bad=bad)) == wanted
    with VerifyPool(threads=0) as pool:
        assert pool.verify_now(checks(count, bad=bad)) == wanted


async def test_results_are_remembered_under_entry_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotated key must not pass by cache (RULINGS R71): the same entry under another key is checked anew."""
    (check,) = checks(1)
    with VerifyPool(threads=1) as pool:
        assert pool.known(check.entry_hash or b"", check.public_key) is None
        assert await pool.verify_many([check]) == [True]
        assert pool.known(check.entry_hash or b"", check.public_key) is True
        rotated = check._replace(public_key=KEYS[1].public)
        assert await pool.verify_many([rotated]) == [False]
        monkeypatch.setattr(verify, "verify_ed25519", lambda *_: pytest.fail("checked again"))
        assert await pool.verify_many([check, rotated]) == [True, False]


def test_what_has_no_entry_hash_is_not_remembered() -> None:
    (check,) = checks(1)
    with VerifyPool(threads=1, cache_entries=8) as pool:
        assert pool.verify_now([check._replace(entry_hash=None)]) == [True]
        assert pool.known(check.entry_hash or b"", check.public_key) is None


def test_the_memory_of_results_is_bounded_and_keeps_the_latest_used() -> None:
    made = checks(20)
    with VerifyPool(threads=1, cache_entries=4) as pool:
        pool.verify_now(made[:4])
        pool.verify_now(made[:1])  # used again
        pool.verify_now(made[4:6])
        held = [pool.known(check.entry_hash or b"", check.public_key) for check in made[:6]]
        assert held == [True, None, None, True, True, True]


@pytest.mark.parametrize("threads", [0, 2])
async def test_the_event_loop_runs_while_signatures_are_checked(threads: int) -> None:
    ticks = 0
    done = asyncio.Event()

    async def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick())
    with VerifyPool(threads=threads) as pool:
        await asyncio.gather(*(pool.verify_many(checks(128)) for _ in range(4)))
    done.set()
    await ticker
    assert ticks > 10


@pytest.mark.parametrize(("threads", "count"), [(0, 40), (2, 4), (2, 5)])
async def test_who_checks(monkeypatch: pytest.MonkeyPatch, threads: int, count: int) -> None:
    """Few checks are not handed over; without threads none are."""
    here = threading.get_ident()
    seen: list[int] = []
    real = verify.verify_ed25519

    def noted(*check: bytes) -> bool:
        seen.append(threading.get_ident())
        return real(*check)

    monkeypatch.setattr(verify, "verify_ed25519", noted)
    with VerifyPool(threads=threads) as pool:
        assert await pool.verify_many(checks(count)) == [True] * count
    assert len(seen) == count
    assert {thread == here for thread in seen} == {threads == 0 or count <= 4}


async def test_no_more_than_the_bound_waits_in_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one chunk, chunks go to the threads one after the other, and all come back."""
    running = 0
    most = 0
    real = verify._check_all

    def counted(chunk: list[tuple[int, SignatureCheck]]) -> list[bool]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        result = real(chunk)
        running -= 1
        return result

    monkeypatch.setattr(verify, "_check_all", counted)
    with VerifyPool(threads=4, pending_max=64) as pool:
        results = await asyncio.gather(*(pool.verify_many(checks(150)) for _ in range(3)))
    assert results == [[True] * 150] * 3
    assert most == 1


def test_mldsa_verification_never_raises() -> None:
    key = MldsaKey.from_seed(bytes(32))
    signature = key.sign(b"m")
    assert verify_mldsa44(key.public, b"m", signature)
    assert not verify_mldsa44(key.public, b"n", signature)
    assert not verify_mldsa44(key.public[:-1], b"m", signature)
    assert not verify_mldsa44(key.public, b"m", signature[:-1])
    assert not verify_mldsa44(b"", b"", b"")

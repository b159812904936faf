"""Checking signatures: one rule, one library, batches off the event loop, each result remembered.

The rule (FORMATS 11) is libsodium's: S < L; A and R canonical and not of small order; the cofactorless equation. It
decides what the ledger holds, so no other library judges Ed25519 here: two of them disagree on edge cases and would
split the network. ML-DSA-44 lines are checked by `cryptography`; no consensus depends on them.

libsodium runs without Python's lock, so batches go over threads: that pays where a core is free for them (decision 0094).
A result is remembered under (entry hash, key): never under the entry alone, or a rotated key would pass by cache (RULINGS R71).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import NamedTuple, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from nacl import bindings
from nacl.exceptions import BadSignatureError

PUBLIC_KEY_BYTES = 32
MLDSA_PUBLIC_KEY_BYTES = 1312
SIGNATURE_BYTES = 64

_CHUNK_CHECKS = (
    64  # about 4 ms of work: the loop gets its answers soon, the hand-over costs under 1%
)

_CHUNK_CHECKS_MIN = (
    16  # about 1 ms: handing over costs 0.1 ms, so less is not worth a second thread
)
_LOOP_CHECKS_MAX = 4  # 0.25 ms: handing so few over, with two waits for Python's lock, takes longer


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """True if the signature is good by libsodium's rule. Never raises: strangers choose all three."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False  # the binding below reads 32 bytes of key whatever it is given
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


def verify_mldsa44(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """True if the pure ML-DSA-44 signature, empty context, is good. Never raises."""
    try:
        MLDSA44PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@cache
def mldsa_check() -> Callable[[bytes, bytes, bytes], bool] | None:
    """`verify_mldsa44`, or None where this machine's library has no ML-DSA: then such lines are lines of nobody known."""
    try:
        MLDSA44PublicKey.from_public_bytes(bytes(MLDSA_PUBLIC_KEY_BYTES))
    except UnsupportedAlgorithm:
        return None
    return verify_mldsa44


class SignatureCheck(NamedTuple):
    """One Ed25519 signature to check; a tuple, for there are thousands a second.

    `entry_hash` is SHA-256 of the whole entry (message and signature included) and names the result in the cache;
    None: the result is not remembered.
    """

    public_key: bytes
    message: bytes
    signature: bytes
    entry_hash: bytes | None = None


class VerifyPool:
    """Threads that check signatures, and the results they remember.

    Bounded: at most `cache_entries` results (about 250 B each) and `pending_max` checks handed to the threads; who
    asks for more waits in `verify_many`. Close it, or use it as a context manager.

    Without threads the caller's own thread checks, a millisecond at a time. Where processes share cores that is cheaper: each
    check in a thread has to win Python's lock back from the event loop (measured with four nodes on two cores: 700 to 800 us
    of processor time for an entry against 870).
    """

    def __init__(
        self, *, threads: int = 4, cache_entries: int = 65_536, pending_max: int = 16_384
    ) -> None:
        """`threads` 0: none, see above."""
        self._threads = threads
        self._cache_entries = cache_entries
        self._executor = (
            ThreadPoolExecutor(threads, thread_name_prefix="verify") if threads else None
        )
        self._turn = asyncio.Lock()
        self._slots = asyncio.Semaphore(max(1, pending_max // _CHUNK_CHECKS))
        self._lock = Lock()  # around the dictionary alone, held for microseconds
        self._verdicts: OrderedDict[tuple[bytes, bytes], bool] = OrderedDict()  # oldest use first

    async def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """One verdict per check, in order, without blocking the event loop for more than a millisecond."""
        verdicts, open_checks = self._recall(checks)
        if len(open_checks) <= _LOOP_CHECKS_MAX:
            self._keep(open_checks, _check_all(open_checks), verdicts)
            return [verdict is True for verdict in verdicts]
        if self._executor is None:
            for chunk in _pieces(open_checks, _CHUNK_CHECKS_MIN):
                async with self._turn:  # of several callers one each time round
                    self._keep(chunk, _check_all(chunk), verdicts)
                    await asyncio.sleep(0)
            return [verdict is True for verdict in verdicts]
        executor, loop = self._executor, asyncio.get_running_loop()

        async def run(chunk: list[tuple[int, SignatureCheck]]) -> None:
            async with self._slots:
                results = await loop.run_in_executor(executor, _check_all, chunk)
            self._keep(chunk, results, verdicts)

        await asyncio.gather(*(run(chunk) for chunk in self._chunks(open_checks)))
        return [verdict is True for verdict in verdicts]

    def verify_now(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """The same for replay: blocks the calling thread until all are checked, over all threads of the pool."""
        verdicts, open_checks = self._recall(checks)
        chunks = self._chunks(open_checks)
        check = map if self._executor is None else self._executor.map
        for chunk, results in zip(chunks, check(_check_all, chunks), strict=True):
            self._keep(chunk, results, verdicts)
        return [verdict is True for verdict in verdicts]

    def verify_later(
        self, checks: Sequence[SignatureCheck], executor: Executor
    ) -> Callable[[], None]:
        """Start what is not remembered in `executor`, processes of the caller's; the answer waits until all verdicts are `known`.

        For replay, whose own thread is busy meanwhile: threads would wait for Python's lock after each check (decision 0094).
        """
        _, open_checks = self._recall(checks)
        chunks = _pieces(open_checks, _CHUNK_CHECKS)
        waiting = [
            executor.submit(
                _check_plain, [(c.public_key, c.message, c.signature) for _, c in chunk]
            )
            for chunk in chunks
        ]

        def finish() -> None:
            for chunk, results in zip(chunks, waiting, strict=True):
                self._keep(chunk, results.result(), [None] * len(checks))

        return finish

    def known(self, entry_hash: bytes, public_key: bytes) -> bool | None:
        """The remembered verdict on this entry under this key, or None."""
        with self._lock:
            return self._verdicts.get((entry_hash, public_key))

    def close(self) -> None:
        """Waits for the checks under way, then ends the threads."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _recall(
        self, checks: Sequence[SignatureCheck]
    ) -> tuple[list[bool | None], list[tuple[int, SignatureCheck]]]:
        """What is remembered (None: nothing), and the checks still to do with their places."""
        verdicts: list[bool | None] = []
        with self._lock:
            for check in checks:
                if check.entry_hash is None:
                    verdicts.append(None)
                    continue
                name = (check.entry_hash, check.public_key)
                verdict = self._verdicts.get(name)
                if verdict is not None:
                    self._verdicts.move_to_end(name)
                verdicts.append(verdict)
        return verdicts, [
            (place, check) for place, check in enumerate(checks) if verdicts[place] is None
        ]

    def _chunks(
        self, open_checks: list[tuple[int, SignatureCheck]]
    ) -> list[list[tuple[int, SignatureCheck]]]:
        """Pieces small enough that every thread has work, large enough that handing over costs little."""
        share = -(-len(open_checks) // max(1, self._threads))
        return _pieces(open_checks, max(_CHUNK_CHECKS_MIN, min(_CHUNK_CHECKS, share)))

    def _keep(
        self,
        chunk: list[tuple[int, SignatureCheck]],
        results: list[bool],
        verdicts: list[bool | None],
    ) -> None:
        with self._lock:
            for (place, check), result in zip(chunk, results, strict=True):
                verdicts[place] = result
                if check.entry_hash is not None:
                    self._verdicts[check.entry_hash, check.public_key] = result
            while len(self._verdicts) > self._cache_entries:
                self._verdicts.popitem(last=False)


def _pieces(
    open_checks: list[tuple[int, SignatureCheck]], step: int
) -> list[list[tuple[int, SignatureCheck]]]:
    return [open_checks[start : start + step] for start in range(0, len(open_checks), step)]


def _check_plain(checks: list[tuple[bytes, bytes, bytes]]) -> list[bool]:
    """(public key, message, signature): what crosses to another process."""
    return [verify_ed25519(*check) for check in checks]


def _check_all(chunk: list[tuple[int, SignatureCheck]]) -> list[bool]:
    return [verify_ed25519(check.public_key, check.message, check.signature) for _, check in chunk]

"""What this node signs of its log's growth, and when it stays silent (RULINGS R36, R37, R53; D12).

Sizes are signed in order, one after another, each once: the file `cosign` is written before the line leaves. Who lost the memory
of what he signed says nothing about a size that peers may have seen from him.

    appended(9), appended(12)       due() gives 9, then 12
    sign(9)                         the file says 9, then the line is returned
    sign(9) after a restart         None: signed before; `line` is the same bytes again
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from node.ledger.cosigned import Cosigned
from node.ledger.terms import Terms
from node.log.checkpoint import Checkpoint
from node.signing.checkpoints import sign_cosignature
from node.storage import keys
from node.storage.errors import StoreDamaged
from node.storage.sign_state import CosignSigned, SignState
from node.storage.store import Store

BEHIND_MAX: Final = 100  # R37: further behind, only the newest size is cosigned


class Cosigner:
    """One node's cosignatures by Ed25519, whatever seats it has had. Used from one event loop."""

    def __init__(
        self,
        store: Store,
        sign_state: SignState,
        terms: Terms,
        *,
        origin: str,
        log_size: int,
        root_at: Callable[[int], bytes],
        clock_s: Callable[[], int],
    ) -> None:
        """Take up where the node stopped.

        Raises:
            StoreDamaged: the store holds less than this node has cosigned (R53).
        """
        self._sign_state = sign_state
        self._terms = terms
        self._origin = origin
        self._root_at = root_at
        self._clock_s = clock_s
        self._last: CosignSigned | None = sign_state.cosign()
        # A store that was restored beside no sign state: what this cosigner signed before, its peers alone know (D12).
        self._restored_at = (
            log_size if self._last is None and store.meta(keys.META_RESTORED) is not None else None
        )
        self._seen = 0  # the largest size of a good line of ours that a peer has shown
        self._line = self._line_last_signed(store, log_size)
        self._sizes: deque[int] = deque()
        self._work = asyncio.Event()  # set while there are sizes and `only_newest` is off
        self._only_newest = False
        self._is_waiting = False
        if log_size > (0 if self._last is None else self._last.size):
            self._sizes.append(log_size)
            self._work.set()

    @property
    def last(self) -> CosignSigned | None:
        """What was signed last, by whichever seat of ours."""
        return self._last

    @property
    def line(self) -> Cosigned | None:
        """The newest own line, to be sent again as it is; None: there is none yet."""
        return self._line

    @property
    def is_idle(self) -> bool:
        """Whether whoever signs has done all and waits in `due`."""
        return self._is_waiting and not self._work.is_set()

    def appended(self, size: int) -> None:
        """The log has this size and is durable."""
        self._sizes.append(size)
        if self._only_newest or len(self._sizes) > BEHIND_MAX:
            self._sizes = deque([size])
        if not self._only_newest:
            self._work.set()

    def only_newest(self, *, is_on: bool) -> None:
        """While on (this node is more than BEHIND_MAX commits behind) nothing is cosigned; then the newest size is (R37)."""
        self._only_newest = is_on
        if is_on:
            self._work.clear()
        elif self._sizes:
            self._work.set()

    def seen(self, size: int) -> None:
        """A peer has shown a good line of ours over this size."""
        self._seen = max(self._seen, size)

    async def due(self) -> int:
        """The next size to sign. For one caller at a time."""
        self._is_waiting = True
        try:
            await self._work.wait()
        finally:
            self._is_waiting = False
        size = self._sizes.popleft()
        if not self._sizes:
            self._work.clear()
        return size

    async def sign(self, size: int, final_size: int) -> Cosigned | None:
        """Our line over this size, durable in `cosign`; None: no seat, signed before, or silence is asked (D12).

        `final_size`: of the newest final checkpoint, 0 without one.

        Raises:
            WriteFailed: the file could not be written. Then the node must stop.
        """
        seat = self._terms.cosigner(size)
        if seat is None or self._is_silent(size, final_size):
            return None
        own, key = seat
        if self._last is not None and size <= self._last.size:
            return None  # signed before a restart: the same bytes are sent again, never others
        checkpoint = Checkpoint(origin=self._origin, size=size, root=self._root_at(size))
        floor = 0 if self._last is None else self._last.timestamp
        made = sign_cosignature(key, checkpoint, max(self._clock_s(), floor))
        signed = CosignSigned(
            size=size, root=checkpoint.root, timestamp=made.timestamp, signature=made.signature
        )
        self._last = signed
        await asyncio.to_thread(self._sign_state.save_cosign, signed)
        self._line = _line(own, signed)
        return self._line

    def _is_silent(self, size: int, final_size: int) -> bool:
        """True where a cosigner that lost its memory may have signed this size before.

        Never up to what peers have shown of us. After a restore nothing at all, before a checkpoint beyond the restored log has
        become final without us: then the others have gone on past what they had seen from us, and said so.
        """
        if size <= self._seen:
            return True
        if self._restored_at is None:
            return False
        return final_size <= self._restored_at or size <= final_size

    def _line_last_signed(self, store: Store, log_size: int) -> Cosigned | None:
        """What was signed before the restart, to be sent again; the store must not fall behind it."""
        last = self._last
        if last is None or self._terms.state is None:
            return None
        if last.size > log_size:
            rebuilding = store.meta(keys.META_REBUILD)
            if rebuilding is None or int.from_bytes(rebuilding, "big") < last.size:
                raise StoreDamaged(
                    f"{store.path}: {log_size} entries, but this node has cosigned {last.size}: the store was"
                    " rolled back or lost its end. `foedus repair` marks it, and the node fetches the rest from its peers"
                )
        own = self._terms.own_index(last.size)
        if own is None:
            return None
        line = _line(own, last)
        # Beyond the log nobody knows yet in which epoch it was signed, and so by which key: then it waits until the log is there.
        return line if last.size <= log_size or self._terms.is_good(line, self._origin) else None


def _line(own: int, signed: CosignSigned) -> Cosigned:
    return Cosigned(
        member=own,
        size=signed.size,
        root=signed.root,
        timestamp=signed.timestamp,
        signature=signed.signature,
    )

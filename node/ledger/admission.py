"""The way in: one signed entry, checked, made durable, acknowledged (DESIGN 3.2, RULINGS R58 to R60).

Any node takes entries from anyone whose key is on the ledger. A refusal names code, field and what would have been
right; an acknowledgement is this node's signed word that the entry will be in the log by a ledger time, given after the
entry is on its disk. Many submissions share one flush of the disk (`Store.durable`). Resubmitting is harmless: the same
entry gets the same promise.

What the law says of the content is not judged here: an entry that breaks a rule is logged with its reason.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from node.ledger.append import StoreFacts
from node.ledger.errors import Refused
from node.ledger.ledger import Ledger
from node.ledger.mempool import Mempool, Pending, Place
from node.ledger.reader import (
    SCHEMA_CODE,
    SIGNATURE_CODE,
    UNKNOWN_AUTHOR_CODE,
    Malformed,
    ReadEntry,
    read_entry,
    resolve,
)
from node.log.tiles import ENTRY_BYTES_MAX
from node.signing.acknowledgement import Acknowledgement, sign_acknowledgement
from node.signing.keys import SigningKey
from node.signing.statements import entry_hash
from node.signing.verify import VerifyPool
from node.storage.store import Store

_Turn: TypeAlias = asyncio.Future[None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The entry is durable here and promised. `acknowledgement` is a COSE_Sign1 by this node's log key."""

    entry_hash: bytes
    inclusion_by_ms: int  # ledger time
    acknowledgement: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The entry is durable here, but entries before it are unknown: nothing is promised until they come."""

    entry_hash: bytes
    missing_seq: int  # the first missing entry of the author's chain


class Admission:
    """See the module's text. Used from one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        mempool: Mempool,
        store: Store,
        pool: VerifyPool,
        *,
        node: str,
        log_key: SigningKey,
        clock_ms: Callable[[], int],
    ) -> None:
        """`node` is this node's member code; `clock_ms` its own clock (a promise never rests on a stale ledger time)."""
        self._ledger = ledger
        self._mempool = mempool
        self._store = store
        self._pool = pool
        self._node = node
        self._log_key = log_key
        self._clock_ms = clock_ms
        self._facts = StoreFacts(store)
        self._last_turn: dict[str, _Turn] = {}  # authors with an entry on its way in
        self._open = True

    def close(self) -> None:
        """Admit nothing more (the node is stopping). Entries under way are finished."""
        self._open = False

    async def submit(self, raw: bytes) -> Acknowledged | Held:
        """Take one entry: COSE_Sign1 bytes as signed.

        Raises:
            Refused: TOO_LARGE, SCHEMA, LEDGER, UNKNOWN_AUTHOR, SIGNATURE, DUPLICATE, SEQ_GAP or CLOSING; the same bytes
                will do no better here.
            Overloaded: try later.
            WriteFailed: the disk refused; the process must stop.
        """
        if not self._open:
            raise Refused("CLOSING", "node", "this node is stopping: submit to another one")
        if len(raw) > ENTRY_BYTES_MAX:
            raise Refused("TOO_LARGE", "entry", f"{len(raw)} bytes, at most {ENTRY_BYTES_MAX}")
        digest = entry_hash(raw)
        if (known := self._known(digest)) is not None:
            return await self._answer_again(known, digest)
        entry = self._parsed(raw)
        parsed = entry.parsed
        self._mempool.check_room(parsed.author, len(raw))
        before, mine = self._take_turn(parsed.author)
        try:
            await self._check_signatures(entry)
            if before is not None and not before.done():
                await asyncio.shield(before)
            # Others may have brought the same entry while its signature was checked.
            if (known := self._known(digest)) is None:
                self._check_new(entry)
                known = self._mempool.add(
                    digest, raw, parsed.author, parsed.seq, parsed.prev, self._inclusion_by_ms()
                )
        finally:
            self._end_turn(parsed.author, before, mine)
        return await self._answer_again(known, digest)

    def author_tip(self, author: str) -> tuple[int, bytes]:
        """(seq, prev) for the author's next entry at this node: behind what is logged and what waits here."""
        waiting = self._mempool.chain_tip(author)
        if waiting is None:
            return self._ledger.author_tip(author)
        seq, digest = waiting
        return seq + 1, digest

    # One row per author. Signatures are checked side by side, but an author's entries are taken in the order in which they
    # came: else a chain sent at full speed would look like gaps, and wide ones are refused.

    def _take_turn(self, author: str) -> tuple[_Turn | None, _Turn]:
        """The last place in the author's row, and a new one behind it."""
        before = self._last_turn.get(author)
        mine: _Turn = asyncio.get_running_loop().create_future()
        self._last_turn[author] = mine
        return before, mine

    def _end_turn(self, author: str, before: _Turn | None, mine: _Turn) -> None:
        """Who gives up leaves the row in order too: its place is done when the one before is."""
        if before is not None and not before.done():
            before.add_done_callback(lambda _: self._end_turn(author, before, mine))
            return
        mine.set_result(None)
        if self._last_turn.get(author) is mine:
            del self._last_turn[author]

    # Checks, each with its refusal

    def _parsed(self, raw: bytes) -> ReadEntry:
        entry = self._ledger.reader.read(raw)
        if isinstance(entry, Malformed):
            raise Refused(SCHEMA_CODE, entry.field, entry.why)
        ledger_id = entry.parsed.ledger
        if ledger_id != self._ledger.chain_id:
            why = f"{ledger_id.hex()}: this ledger is {self._ledger.chain_id.hex()}"
            raise Refused("LEDGER", "content.ledger", why)
        return entry

    async def _check_signatures(self, entry: ReadEntry) -> None:
        parsed = entry.parsed
        resolved = resolve(entry, self._ledger.law.resolve_key)
        if resolved is None:
            kid = entry.statement.header.kid.hex()
            role = "vote" if parsed.kind == "vote" else "author"
            why = f"{kid}: no {role} key of {parsed.author!r} with this id is in force"
            raise Refused(UNKNOWN_AUTHOR_CODE, "cose.kid", why)
        checks = [resolved.check(), *(check for _, check in resolved.endorsers)]
        verdicts = await self._pool.verify_many(checks)
        if not verdicts[0]:
            raise Refused(
                SIGNATURE_CODE, "signature", f"not by the key of {parsed.author!r} over this entry"
            )
        for (endorser, _), good in zip(resolved.endorsers, verdicts[1:], strict=True):
            if not good:
                raise Refused(
                    SIGNATURE_CODE,
                    "envelope.endorsements",
                    f"the endorsement of {endorser!r} is not by its key over this content",
                )

    def _check_new(self, entry: ReadEntry) -> None:
        """What would be DUPLICATE at the commit (R14, R28): say so now, with its place."""
        parsed = entry.parsed
        logged = None
        if parsed.seq < self._ledger.author_tip(parsed.author)[0]:
            logged = self._facts.at_seq(parsed.author, parsed.seq)
        elif parsed.endorsements:
            logged = self._facts.by_content(parsed.content_hash)
        if logged is not None and logged.content_hash == parsed.content_hash:
            why = f"this content is entry {logged.leaf} already, with the author's seq {logged.seq}"
            raise Refused("DUPLICATE", "content", why)

    # Answers

    def _known(self, digest: bytes) -> Pending | int | None:
        """The entry as it waits here, or its leaf index if it left the mempool."""
        return self._mempool.find(digest) or self._ledger.find(digest)

    async def _answer_again(self, known: Pending | int, digest: bytes) -> Acknowledged | Held:
        if isinstance(known, int):
            return self._acknowledge(digest, self._inclusion_by_ms())
        # The first submission may still wait for the disk.
        await self._store.durable()
        return self._answer(known)

    def _answer(self, pending: Pending) -> Acknowledged | Held:
        if pending.place is Place.HELD:
            missing = self._mempool.chain_end(pending.author) + 1
            return Held(entry_hash=pending.entry_hash, missing_seq=missing)
        if not pending.inclusion_by_ms:  # held when it came, and its gap has closed since
            self._mempool.promise(pending, self._inclusion_by_ms())
        return self._acknowledge(pending.entry_hash, pending.inclusion_by_ms)

    def _acknowledge(self, digest: bytes, inclusion_by_ms: int) -> Acknowledged:
        promise = Acknowledgement(
            chain_id=self._ledger.chain_id,
            entry_hash=digest,
            node=self._node,
            inclusion_by_ms=inclusion_by_ms,
        )
        return Acknowledged(
            entry_hash=digest,
            inclusion_by_ms=inclusion_by_ms,
            acknowledgement=sign_acknowledgement(self._log_key, promise),
        )

    def _inclusion_by_ms(self) -> int:
        return max(self._ledger.time_ms, self._clock_ms()) + 1000 * self._ledger.inclusion_s


def chain_place(raw: bytes) -> tuple[str, int, bytes] | None:
    """(author, seq, prev) of stored entry bytes, for `Mempool.restore`; None if they are no entry."""
    entry = read_entry(raw, entry_hash(raw))
    if isinstance(entry, Malformed):
        return None
    return entry.parsed.author, entry.parsed.seq, entry.parsed.prev

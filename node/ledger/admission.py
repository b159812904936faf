"""The way in: one signed entry, checked, made durable, acknowledged (DESIGN 3.2, RULINGS R58 to R60).

Any node takes entries from anyone whose key is on the ledger. A refusal names code, field and what would have been
right; an acknowledgement is this node's signed word that the entry will be in the log by a ledger time, given after the
entry is on its disk. Many submissions share one flush of the disk (`Store.durable`). Resubmitting is harmless: the same
entry gets the same promise.

What the law says of the content is not judged here: an entry that breaks a rule is logged with its reason.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from node.ledger.append import StoreFacts
from node.ledger.errors import Overloaded, Refused
from node.ledger.ledger import Ledger
from node.ledger.mempool import Mempool, Pending, Place
from node.ledger.reader import (
    SCHEMA_CODE,
    SIGNATURE_CODE,
    UNKNOWN_AUTHOR_CODE,
    Malformed,
    ReadEntry,
    Resolved,
    read_entry,
    resolve,
)
from node.log.tiles import ENTRY_BYTES_MAX
from node.signing.acknowledgement import Acknowledgement, sign_acknowledgement
from node.signing.keys import SigningKey
from node.signing.statements import entry_hash
from node.signing.verify import SignatureCheck, VerifyPool
from node.storage.store import Store

ANSWERS_PER_TURN: Final = 32
COSE_START: Final = b"\xd2\x84\x58"  # tag, array of four, bytes of a length in the next byte

Refusal: TypeAlias = Refused | Overloaded
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


Answer: TypeAlias = Acknowledged | Held | Refusal
"""What `Admission.submit_many` says of one entry; a refusal is given, not raised."""


@dataclass(frozen=True, slots=True)
class _Logged:
    """An entry that is in the log and no more in the mempool."""

    entry_hash: bytes


@dataclass(slots=True)
class _Row:
    """The calls of one state's authors whose signatures are to be checked."""

    calls: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


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
        log_key: Callable[[], SigningKey],
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
        self._rows: dict[str, _Row] = {}  # by state, while calls of its authors are here
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
        (answer,) = await self.submit_many((raw,))
        if isinstance(answer, Refused | Overloaded):
            raise answer
        return answer

    async def submit_many(self, raws: Sequence[bytes]) -> list[Answer]:
        """Take many, in order; each is answered for itself, as `submit` would. Raises WriteFailed.

        Their signatures are one piece of work for the threads, their rows one write, and they share one flush.
        """
        looked = self._look_at_all(raws)  # no await: the authors' turns are those of this call
        fresh = [entry for entry in looked if isinstance(entry, ReadEntry)]
        turns = {author: self._take_turn(author) for author in _authors(fresh)}
        try:
            verdicts = await self._verdicts_in_turn(fresh)
            for before, _ in turns.values():
                if before is not None and not before.done():
                    await asyncio.shield(before)
            taken = self._take_in(looked, verdicts)
        finally:
            for author, (before, mine) in turns.items():
                self._end_turn(author, before, mine)
        # Also for what was here before: its first submission may still wait for the disk.
        await self._store.durable()
        answers: list[Answer] = []
        for one in taken:
            answers.append(self._answer(one) if isinstance(one, Pending | _Logged) else one)
            if len(answers) % ANSWERS_PER_TURN == 0:
                await asyncio.sleep(0)  # signing promises takes its time: let others pass
        return answers

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

    def _look_at_all(
        self, raws: Sequence[bytes]
    ) -> "list[ReadEntry | Pending | _Logged | Refusal]":
        """`_look` at each. Once there is no room for an author's entry its next ones are not parsed to find that out again."""
        looked: list[ReadEntry | Pending | _Logged | Refusal] = []
        full: dict[bytes, Overloaded] = {}  # by protected header, which names the author (R13)
        for raw in raws:
            header = _header_of(raw)
            found = full.get(header) or self._look(raw)
            if isinstance(found, Overloaded) and header:
                full[header] = found
            looked.append(found)
        return looked

    def _look(self, raw: bytes) -> "ReadEntry | Pending | _Logged | Refusal":
        """What can be said before signatures are checked: the entry as it is here already, a refusal, or its parsed form."""
        try:
            if not self._open:
                raise Refused("CLOSING", "node", "this node is stopping: submit to another one")
            if len(raw) > ENTRY_BYTES_MAX:
                raise Refused("TOO_LARGE", "entry", f"{len(raw)} bytes, at most {ENTRY_BYTES_MAX}")
            entry = self._parsed(raw)
            known = self._known(entry)
            if known is None:
                self._mempool.check_room(entry.parsed.author, len(raw))
        except (Refused, Overloaded) as err:
            return err.with_traceback(
                None
            )  # an answer must not hold the frames that hold the entry
        return entry if known is None else known

    def _parsed(self, raw: bytes) -> ReadEntry:
        entry = self._ledger.reader.read(raw)
        if isinstance(entry, Malformed):
            raise Refused(SCHEMA_CODE, entry.field, entry.why)
        ledger_id = entry.parsed.ledger
        if ledger_id != self._ledger.chain_id:
            why = f"{ledger_id.hex()}: this ledger is {self._ledger.chain_id.hex()}"
            raise Refused("LEDGER", "content.ledger", why)
        return entry

    def _known(self, entry: ReadEntry) -> "Pending | _Logged | None":
        """The entry as it waits here, or its place in the log if it left the mempool."""
        pending = self._mempool.find(entry.entry_hash)
        if pending is not None:
            return pending
        if entry.parsed.seq >= self._ledger.author_tip(entry.parsed.author)[0]:
            return None  # its author has logged nothing so far along: spares a look into the index
        # Also where its commit is written and not durable yet: no answer leaves before the disk has both.
        facts = self._facts.get(entry.entry_hash)
        return None if facts is None else _Logged(entry.entry_hash)

    async def _verdicts_in_turn(
        self, entries: Sequence[ReadEntry]
    ) -> "dict[bytes, Refused | None]":
        """Of one state one call at a time: a flood in many calls must not have as many turns as it has calls (decision 0180)."""
        if not entries:
            return {}
        state = self._ledger.state_of(entries[0].parsed.author)
        row = self._rows.setdefault(state, _Row())
        row.calls += 1
        try:
            async with row.turn:
                return await self._signature_verdicts(entries)
        finally:
            row.calls -= 1
            if not row.calls:
                del self._rows[state]

    async def _signature_verdicts(
        self, entries: Sequence[ReadEntry]
    ) -> "dict[bytes, Refused | None]":
        """By entry hash: why its signatures do not hold, or None."""
        verdicts: dict[bytes, Refused | None] = {}
        open_checks: list[SignatureCheck] = []
        resolved_entries: list[Resolved] = []
        for entry in entries:
            resolved = resolve(entry, self._ledger.law.resolve_key)
            if resolved is None:
                verdicts[entry.entry_hash] = _unknown_author(entry)
                continue
            resolved_entries.append(resolved)
            open_checks.append(resolved.check())
            open_checks += (check for _, check in resolved.endorsers)
        good = iter(await self._pool.verify_many(open_checks))
        for resolved in resolved_entries:
            verdicts[resolved.entry.entry_hash] = _bad_signature(resolved, good)
        return verdicts

    def _take_in(
        self,
        looked: "Sequence[ReadEntry | Pending | _Logged | Refusal]",
        verdicts: "Mapping[bytes, Refused | None]",
    ) -> "list[Pending | _Logged | Refusal]":
        """Into the mempool what passed, in order."""
        taken: list[Pending | _Logged | Refusal] = []
        with self._mempool.adding():
            for one in looked:
                if not isinstance(one, ReadEntry):
                    taken.append(one)
                    continue
                refused = verdicts[one.entry_hash]
                try:
                    taken.append(self._add(one) if refused is None else refused)
                except (Refused, Overloaded) as err:
                    taken.append(err.with_traceback(None))  # as in `_look`
        return taken

    def _add(self, entry: ReadEntry) -> "Pending | _Logged":
        # Others may have brought the same entry while its signature was checked.
        known = self._known(entry)
        if known is not None:
            return known
        self._check_new(entry)
        parsed = entry.parsed
        return self._mempool.add(
            entry.entry_hash,
            entry.raw,
            parsed.author,
            parsed.seq,
            parsed.prev,
            self._inclusion_by_ms(),
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

    def _answer(self, taken: "Pending | _Logged") -> Acknowledged | Held:
        if isinstance(taken, _Logged):
            return self._acknowledge(taken.entry_hash, self._inclusion_by_ms())
        if taken.place is Place.HELD:
            missing = self._mempool.chain_end(taken.author) + 1
            return Held(entry_hash=taken.entry_hash, missing_seq=missing)
        if not taken.inclusion_by_ms:  # held when it came, and its gap has closed since
            self._mempool.promise(taken, self._inclusion_by_ms())
        return self._acknowledge(taken.entry_hash, taken.inclusion_by_ms)

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
            acknowledgement=sign_acknowledgement(self._log_key(), promise),
        )

    def _inclusion_by_ms(self) -> int:
        return max(self._ledger.time_ms, self._clock_ms()) + 1000 * self._ledger.inclusion_s


def _header_of(raw: bytes) -> bytes:
    """A COSE_Sign1 up to the end of its protected header, where that is of the usual length; else empty."""
    return raw[: 4 + raw[3]] if raw[:3] == COSE_START else b""


def _authors(entries: Sequence[ReadEntry]) -> dict[str, None]:
    return dict.fromkeys(entry.parsed.author for entry in entries)


def _unknown_author(entry: ReadEntry) -> Refused:
    parsed = entry.parsed
    kid = entry.statement.header.kid.hex()
    role = "vote" if parsed.kind == "vote" else "author"
    why = f"{kid}: no {role} key of {parsed.author!r} with this id is in force"
    return Refused(UNKNOWN_AUTHOR_CODE, "cose.kid", why)


def _bad_signature(resolved: Resolved, good: Iterator[bool]) -> Refused | None:
    """Takes the verdicts on the entry and on each endorsement, in this order."""
    author = resolved.entry.parsed.author
    signed = next(good)
    endorsed = [(endorser, next(good)) for endorser, _ in resolved.endorsers]
    if not signed:
        why = f"not by the key of {author!r} over this entry"
        return Refused(SIGNATURE_CODE, "signature", why)
    for endorser, holds in endorsed:
        if not holds:
            why = f"the endorsement of {endorser!r} is not by its key over this content"
            return Refused(SIGNATURE_CODE, "envelope.endorsements", why)
    return None


def chain_place(raw: bytes) -> tuple[str, int, bytes] | None:
    """(author, seq, prev) of stored entry bytes, for `Mempool.restore`; None if they are no entry."""
    entry = read_entry(raw, entry_hash(raw))
    if isinstance(entry, Malformed):
        return None
    return entry.parsed.author, entry.parsed.seq, entry.parsed.prev

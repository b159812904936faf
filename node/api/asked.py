"""Questions to this node's records: of the present at once, of the past by a replay that is lent a little time per call.

One replay is kept, where it got to: a later index goes on from there, an earlier one begins anew. Its work is done in slices
between other work of the node, at most half the time, and a call that ends before it got there is answered RESOURCE_EXHAUSTED
with how far it came: the next call goes on. Who wants more asks a home's own store (`foedus law ... --offline`).
"""

import asyncio
import time
from typing import Final

from grpc import StatusCode

from node.api.node import ServedNode
from node.api.refusals import Unanswerable, bad_field
from node.ledger.plan import MS_PER_S
from node.ledger.questions.answer import ABOUT_CHARS_MAX, QUESTIONS, ROWS_MAX, as_bytes, ask
from node.ledger.questions.moment import Moment
from node.ledger.questions.past import CannotReplay, Past
from node.ledger.questions.sight import Sight

SLICE_S: Final = 0.01
LENT_S: Final = 5.0  # of one call; clients wait ten
RETRY_MS: Final = 50
RECORDS_MAX: Final = 10_000  # that one answer reads, a tenth of a second's work


class TooMany(Exception):
    """An answer would read more records than a call may cost."""


class CountedLeaves:
    """The ledger's leaves for one answer, so many and no more."""

    def __init__(self, node: ServedNode, left: int = RECORDS_MAX) -> None:
        self._ledger = node.ledger
        self._left = left

    def list_indexes(
        self, *, kind: str | None = None, first: int = 0, end: int | None = None, limit: int = 100
    ) -> list[int]:
        return self._ledger.list_indexes(kind=kind, first=first, end=end, limit=limit)

    def entries(self, first: int, count: int) -> list[bytes]:
        self._left -= count
        if self._left < 0:
            raise TooMany
        return self._ledger.entries(first, count)


class Questions:
    """Answers for one node."""

    def __init__(self, node: ServedNode) -> None:
        self._node = node
        self._past: Past | None = None
        self._replaying = asyncio.Lock()

    async def answer(
        self, question: str, *, about: str, after: str, limit: int, moment: Moment | None
    ) -> tuple[bytes, int]:
        """(document, entries of the log after the commit it is of). Raises Unanswerable, StoreDamaged."""
        if question not in QUESTIONS:
            raise bad_field("question", question, f"one of {', '.join(QUESTIONS)}")
        for field, value in (("about", about), ("after", after)):
            if len(value) > ABOUT_CHARS_MAX:
                raise bad_field(field, value, f"at most {ABOUT_CHARS_MAX} characters")
        if limit > ROWS_MAX:
            raise bad_field("limit", limit, f"at most {ROWS_MAX}")
        ledger = self._node.ledger
        if moment is None:
            sight = Sight(
                law=ledger.law,
                size=ledger.size,
                state_digest=ledger.state_digest,
                leaves=CountedLeaves(self._node),
            )
            return self._page(sight, question, about, after, limit)
        if moment.index is not None and moment.index >= ledger.size:
            raise bad_field("index", moment.index, f"below {ledger.size}, the log's size")
        last_s = ledger.time_ms // MS_PER_S
        if moment.time_s is not None and moment.time_s > last_s:
            raise bad_field("time_s", moment.time_s, f"at most {last_s}, the last commit's second")
        if self._replaying.locked():
            raise _come_again("another question about the past is being answered")
        async with self._replaying:
            past = await self._at(moment)
            return self._page(past.sight(CountedLeaves(self._node)), question, about, after, limit)

    def _page(
        self, sight: Sight, question: str, about: str, after: str, limit: int
    ) -> tuple[bytes, int]:
        try:
            page = ask(sight, question, about=about, after=after, limit=limit or ROWS_MAX)
        except TooMany:
            why = f"{question} reads more than {RECORDS_MAX} records: ask a home's own store by --offline"
            raise Unanswerable(StatusCode.FAILED_PRECONDITION, "TOO_MANY", why) from None
        return as_bytes(page), sight.size

    async def _at(self, moment: Moment) -> Past:
        ledger = self._node.ledger
        past = self._past
        if past is None or not moment.holds(past.size, past.time_ms):
            past = self._past = Past(
                ledger.genesis, ledger.document, self._node.facts, ledger.entries, ledger.size
            )
        past.grow(ledger.size)
        ends = time.monotonic() + LENT_S
        try:
            while time.monotonic() < ends:
                slice_ends = time.monotonic() + SLICE_S
                while time.monotonic() < slice_ends:
                    if not past.step(moment):
                        return past
                await asyncio.sleep(SLICE_S)
        except CannotReplay as err:
            self._past = None
            raise Unanswerable(StatusCode.DATA_LOSS, "CANNOT_REPLAY", str(err)) from err
        raise _come_again(f"replayed up to entry {past.size}: ask again")


def _come_again(why: str) -> Unanswerable:
    return Unanswerable(StatusCode.RESOURCE_EXHAUSTED, "REPLAYING", why, retry_after_ms=RETRY_MS)

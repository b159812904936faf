"""Where the records are asked: a member's node, this home's own store, or the genesis document alone.

All three answer the same questions with the same code (`node.ledger.questions`). A node's answer is its word; an answer from the
own store rests on its state digest, and one about the past on that of every commit up to it. A copy that somebody else handed
over is opened by `OpenCopy`, which believes nothing of it.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from foedus.v1 import law_pb2
from node.cli.client import LedgerClient
from node.cli.errors import BadAnswer, CouldNot, Overloaded
from node.cli.founding import Founded
from node.cli.nodes import Nodes
from node.ledger.append import StoreFacts
from node.ledger.ledger import Ledger
from node.ledger.plan import MS_PER_S, CommitMachine, MemoryFacts
from node.ledger.questions.answer import ROWS_MAX, ask
from node.ledger.questions.moment import Moment, time_text
from node.ledger.questions.past import Past
from node.ledger.questions.sight import Leaves, Sight
from node.ledger.records import COMMIT_TYPE, GENESIS_TYPE, TYPE_OF
from node.ledger.state_digest import MemoryBuckets
from node.settings import FILE_NAME, load_settings
from node.signing.verify import VerifyPool
from node.storage.store import Store

NOTE_EVERY_S: Final = 2.0  # progress of a replay

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked. `moment` None: as of now."""

    name: str
    about: str
    moment: Moment | None
    limit: int


class Copied(Protocol):
    """The records as a copy shows them at one moment, and what shows that they are right."""

    @property
    def sight(self) -> Sight: ...

    @property
    def stands_on(self) -> dict[str, Any]:
        """The checkpoint, who cosigned it, the proofs, and what was checked."""

    @property
    def told(self) -> Sequence[str]:
        """The same for people."""


OpenCopy = Callable[[Path, bytes | None, Moment, Note], AbstractContextManager[Copied]]
"""(folder, genesis document to judge by or None, moment, progress) -> the copy. Raises CouldNot."""


async def of_node(nodes: Nodes, question: Question, within_s: float, note: Note) -> dict[str, Any]:
    """Pages from the node that answers first, until `limit` rows; a replay there is waited for. Raises ClientError."""
    async with nodes:
        return await of_client(await nodes.first_reachable(), question, within_s, note)


async def of_client(
    client: LedgerClient, question: Question, within_s: float, note: Note
) -> dict[str, Any]:
    """The same from one node. Raises ClientError."""
    ends = time.monotonic() + within_s
    whole = await _patiently(client, question, "", ends, note)
    page = whole
    while page["next_after"] is not None and len(whole["rows"]) < question.limit:
        page = await _patiently(client, question, page["next_after"], ends, note)
        whole["rows"] += page["rows"]
    whole["next_after"] = page["next_after"]
    return whole


async def _patiently(
    client: LedgerClient, question: Question, after: str, ends: float, note: Note
) -> dict[str, Any]:
    request = law_pb2.AskRequest(
        question=question.name,
        about=question.about,
        after=after,
        limit=min(question.limit, ROWS_MAX),
    )
    if question.moment is not None and question.moment.index is not None:
        request.index = question.moment.index
    elif question.moment is not None and question.moment.time_s is not None:
        request.time_s = question.moment.time_s
    told = time.monotonic()
    while True:
        try:
            answer = await client.ask(request)
        except Overloaded as err:
            if time.monotonic() > ends:
                raise
            if time.monotonic() - told > NOTE_EVERY_S:
                told = time.monotonic()
                note(str(err))
            await asyncio.sleep(err.retry_after_ms / 1000)
            continue
        try:
            document = json.loads(answer.document)
        except ValueError as err:
            raise BadAnswer(client.state, f"its answer is no JSON: {err}") from err
        if not isinstance(document, dict) or not isinstance(document.get("rows"), list):
            raise BadAnswer(client.state, "its answer has no rows")
        return document


def of_home(home: Path, founded: Founded, question: Question, note: Note) -> dict[str, Any]:
    """From the home's store, opened read-only, or from the genesis alone. Raises LedgerError, StorageError, CouldNot."""
    with _sight(home, founded, question.moment, note) as sight:
        return pages(sight, question)


def pages(sight: Sight, question: Question) -> dict[str, Any]:
    """The pages of an answer as one, until `limit` rows."""
    whole = _page(sight, question, "")
    page = whole
    while page["next_after"] is not None and len(whole["rows"]) < question.limit:
        page = _page(sight, question, page["next_after"])
        whole["rows"] += page["rows"]
    whole["next_after"] = page["next_after"]
    return whole


def _page(sight: Sight, question: Question, after: str) -> dict[str, Any]:
    limit = min(question.limit, ROWS_MAX)
    return ask(sight, question.name, about=question.about, after=after, limit=limit)


@contextmanager
def _sight(home: Path, founded: Founded, moment: Moment | None, note: Note) -> Iterator[Sight]:
    path = load_settings(home / FILE_NAME, {}).store_path if (home / FILE_NAME).exists() else None
    if path is None or not (path / "CURRENT").exists():
        yield _founding(founded)
        return
    store = Store.open(path, read_only=True)
    pool = VerifyPool(threads=1)
    try:
        ledger = asyncio.run(Ledger.open(store, founded.document, pool))
        yield _present(ledger) if moment is None else _past(ledger, store, moment, note)
    finally:
        pool.close()
        store.close()


def _present(ledger: Ledger) -> Sight:
    return Sight(law=ledger.law, size=ledger.size, state_digest=ledger.state_digest, leaves=ledger)


def _past(ledger: Ledger, store: Store, moment: Moment, note: Note) -> Sight:
    if moment.index is not None and moment.index >= ledger.size:
        raise CouldNot(f"--at {moment.index}: this log has {ledger.size} entries")
    if moment.time_s is not None and moment.time_s > ledger.time_ms // MS_PER_S:
        last = time_text(ledger.time_ms // MS_PER_S)
        raise CouldNot(
            f"--at {time_text(moment.time_s)}: the last commit here is of {last}, what came after it is not known"
        )
    past = Past(ledger.genesis, ledger.document, StoreFacts(store), ledger.entries, ledger.size)
    told = time.monotonic()
    while past.step(moment):
        if time.monotonic() - told > NOTE_EVERY_S:
            told = time.monotonic()
            note(f"replayed {past.size} of {ledger.size} entries")
    return past.sight(ledger)


def _founding(founded: Founded) -> Sight:
    """The records as the founding commit leaves them."""
    machine, plan = CommitMachine.found(
        founded.genesis, founded.document, facts=MemoryFacts(), buckets=MemoryBuckets()
    )
    kinds = [GENESIS_TYPE, *(TYPE_OF[type(leaf.derived)] for leaf in plan.leaves if leaf.derived)]
    leaves = _Leaves([leaf.leaf for leaf in plan.leaves], [*kinds, COMMIT_TYPE])
    return Sight(
        law=machine.law, size=plan.tree.size, state_digest=plan.state_digest, leaves=leaves
    )


class _Leaves(Leaves):
    """A few leaves in memory, with their kinds."""

    def __init__(self, leaves: list[bytes], kinds: list[str]) -> None:
        self._leaves = leaves
        self._kinds = kinds

    def list_indexes(
        self, *, kind: str | None = None, first: int = 0, end: int | None = None, limit: int = 100
    ) -> list[int]:
        found = [n for n, one in enumerate(self._kinds) if one == kind and first <= n]
        return [n for n in found if end is None or n < end][:limit]

    def entries(self, first: int, count: int) -> list[bytes]:
        return self._leaves[first : first + count]

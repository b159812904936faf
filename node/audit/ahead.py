"""What precedes the law, done by other processes for the batches that follow while one is committed (decision 0221).

    batches --raw entries, keys in force--> any process:  read_entry, entry hash, signatures of author and endorsers
            <--parts (`ledger.handover`), verdicts---     the law's process: rebuilds the value, runs the law

    for batch, looked in ReadAhead(executor, law.resolve_key).over(batches):
        machine.commit(batch, looked.read, looked.known)

A key that is sent along is a guess: a batch in between may change the register. A verdict is remembered under the entry *and*
the key, and the law asks under the keys in force when it comes to the entry; what nobody has checked under those, it checks
itself. So what other processes did changes the time that a replay takes, and nothing else; so does their death.

Entries go out TASK_ENTRIES at a time, from as many batches as that takes. At most ENTRIES_AHEAD of them, or one batch more than
the one that is next, are under way, and nothing beyond a batch that ends its epoch: who validates then, the law may have to say.
"""

import marshal
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from hashlib import sha256
from typing import Final, NamedTuple

from node.ledger.batch import CommittedBatch
from node.ledger.handover import Parts, packed, unpacked
from node.ledger.reader import (
    Malformed,
    ReadEntry,
    ResolveKey,
    endorsement_name,
    purpose_of,
    read_entry,
)
from node.log.cose import parse_header, peek_protected
from node.log.errors import MalformedStatement
from node.signing.verify import verify_ed25519

TASK_ENTRIES: Final = 256  # some hundredths of a second of work: handing over costs 1% of it
ENTRIES_AHEAD: Final = 4_096  # raw and read, some 8 MB
BATCHES_AHEAD: Final = 64  # where batches are small
ENDORSERS_MAX: Final = (
    256  # whose keys go along with every task: one agency for each state, and more
)

Name = tuple[str, bytes]
"""(party, kid): whose key, and which of them."""

Keys = dict[Name, tuple[bytes, str]]
"""(public key, purpose) of each name."""

Verdict = tuple[bytes, bytes, bool]
"""(what was signed: the hash that `known` is asked with, public key, whether the signature is good)."""


def look(task: bytes) -> bytes:
    """In another process: (raw entries, keys) in; for each entry its parts and the verdicts on its signatures out."""
    raws, keys = marshal.loads(task)  # noqa: S302 - written by `_Task.send` in a process of ours
    return marshal.dumps([_look_at(raw, keys) for raw in raws])


def _look_at(raw: bytes, keys: Keys) -> tuple[Parts, tuple[Verdict, ...]]:
    entry = read_entry(raw, sha256(raw).digest())
    if isinstance(entry, Malformed):
        return packed(entry), ()
    return packed(entry), tuple(_verdicts(entry, keys))


def _verdicts(entry: ReadEntry, keys: Keys) -> Iterator[Verdict]:
    """On the signatures whose keys were sent along: the author's first, and the endorsers' if that one is good."""
    statement, parsed = entry.statement, entry.parsed
    found = keys.get((parsed.author, statement.header.kid))
    if found is None or found[1] != purpose_of(parsed.kind):
        return
    good = verify_ed25519(found[0], statement.to_be_signed(), statement.signature)
    yield entry.entry_hash, found[0], good
    if not good:
        return
    for raw, endorsement in zip(parsed.endorsements, entry.endorsements, strict=True):
        found = keys.get((endorsement.header.issuer, endorsement.header.kid))
        if found is not None and found[1] == purpose_of("endorsement"):
            message = endorsement.to_be_signed(parsed.content_hash)
            good = verify_ed25519(found[0], message, endorsement.signature)
            yield endorsement_name(raw, parsed.content_hash), found[0], good


class Looked:
    """What other processes found out about the entries of one batch. What they did not look at is read here."""

    def __init__(self) -> None:
        self._entries: dict[bytes, ReadEntry | Malformed] = {}
        self._verdicts: dict[tuple[bytes, bytes], bool] = {}

    def take(self, raw: bytes, found: tuple[Parts, tuple[Verdict, ...]]) -> ReadEntry | Malformed:
        parts, verdicts = found
        entry = self._entries[raw] = unpacked(raw, parts)
        for name, public_key, good in verdicts:
            self._verdicts[name, public_key] = good
        return entry

    def read(self, raw: bytes) -> ReadEntry | Malformed:
        found = self._entries.get(raw)
        return read_entry(raw, sha256(raw).digest()) if found is None else found

    def known(self, name: bytes, public_key: bytes) -> bool | None:
        """The verdict on what has this hash, under this key; None: nobody has checked it."""
        return self._verdicts.get((name, public_key))


_Found = list[tuple[Parts, tuple[Verdict, ...]]]


class _Task:
    """Entries on their way to another process, and what it said of them."""

    def __init__(self) -> None:
        self.raws: list[bytes] = []
        self.is_sent = False
        self._future: Future[bytes] | None = None
        self._found: _Found | None = None

    def send(self, executor: Executor, keys: Keys) -> None:
        self.is_sent = True
        with suppress(BrokenExecutor):
            self._future = executor.submit(look, marshal.dumps((self.raws, keys)))

    def found(self) -> _Found | None:
        """For each entry in turn; waits for it. None if the processes have died, e.g. for want of memory."""
        assert self.is_sent, "asked for before it was sent"
        if self._future is not None:
            with suppress(BrokenExecutor):
                self._found = marshal.loads(self._future.result())  # noqa: S302 - written by `look`
            self._future = None
        return self._found


class _Piece(NamedTuple):
    """Which entries of a task are a batch's: from `start` to before `stop`."""

    task: _Task
    start: int
    stop: int


class ReadAhead:
    """See the module's text. `executor`: processes of the caller's; `resolve_key`: of the law, as it stands when asked."""

    def __init__(self, executor: Executor, resolve_key: ResolveKey) -> None:
        self._executor = executor
        self._resolve_key = resolve_key
        self._filling = _Task()
        self._endorsers: OrderedDict[Name, None] = OrderedDict()  # lately seen, oldest first

    def over(self, batches: Iterator[CommittedBatch]) -> Iterator[tuple[CommittedBatch, Looked]]:
        """The same batches, each with what was found out about it. One is committed before the next is asked for."""
        waiting: deque[tuple[CommittedBatch, Sequence[_Piece]]] = deque()
        entries = 0  # of `waiting`
        for batch in batches:
            waiting.append((batch, self._begin(batch)))
            entries += len(batch.entries)
            while waiting and (
                batch.ends_epoch
                or len(waiting) > BATCHES_AHEAD
                or (len(waiting) > 1 and entries - len(waiting[0][0].entries) >= ENTRIES_AHEAD)
            ):
                following, pieces = waiting.popleft()
                entries -= len(following.entries)
                yield following, self._finish(pieces)
        for following, pieces in waiting:
            yield following, self._finish(pieces)

    def _begin(self, batch: CommittedBatch) -> Sequence[_Piece]:
        pieces: list[_Piece] = []
        at = 0
        while at < len(batch.entries):
            task = self._filling
            start = len(task.raws)
            task.raws += batch.entries[at : at + TASK_ENTRIES - start]
            pieces.append(_Piece(task, start, len(task.raws)))
            at += len(task.raws) - start
            if len(task.raws) == TASK_ENTRIES:
                self._send()
        return pieces

    def _send(self) -> None:
        task, self._filling = self._filling, _Task()
        task.send(self._executor, self._keys(task.raws))

    def _keys(self, raws: Sequence[bytes]) -> Keys:
        """In force now, of these entries' authors and of those who endorsed lately."""
        names = dict(self._endorsers)
        for protected in set(map(peek_protected, raws)):
            try:
                header = parse_header(protected)
            except MalformedStatement:
                continue  # the other process says what is wrong with it
            names[header.issuer, header.kid] = None
        keys: Keys = {}
        for name in names:
            registered = self._resolve_key(*name)
            if registered is not None:
                keys[name] = (registered.public_key, registered.purpose)
        return keys

    def _finish(self, pieces: Sequence[_Piece]) -> Looked:
        looked = Looked()
        for task, start, stop in pieces:
            if not task.is_sent:
                self._send()
            said = task.found()
            if said is None:
                continue  # the law's process reads these entries itself
            for raw, found in zip(task.raws[start:stop], said[start:stop], strict=True):
                entry = looked.take(raw, found)
                if isinstance(entry, ReadEntry) and entry.endorsements:
                    self._note_endorsers(entry)
        return looked

    def _note_endorsers(self, entry: ReadEntry) -> None:
        for endorsement in entry.endorsements:
            name = endorsement.header.issuer, endorsement.header.kid
            self._endorsers[name] = None
            self._endorsers.move_to_end(name)
        while len(self._endorsers) > ENDORSERS_MAX:
            self._endorsers.popitem(last=False)

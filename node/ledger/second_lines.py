"""ML-DSA-44 cosignatures: a second line per state, for the decades after Ed25519 (RULINGS R36, R46; decision 0195).

Finality does not wait for them (R38). They are made for the first appending commit of every EVERY_MS of ledger time, and for the
last of each epoch, with which old members hand over to new ones (R44), once the member's Ed25519 line of that size is durable: so
whatever keeps that one from contradicting itself keeps this one too.

    ledger time 12:00:03   size 412   first in its ten seconds: due, cosigned a second time
                12:00:07   size 415   not due: a second line for it is passed over, unless it has another root
                12:00:11   size 421   due; the lines of 412 may go, but for one size an hour and epochs' ends

A line of 2,470 bytes: so sizes, lines ahead and pulls are few, and nothing is verified twice.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from node.ledger.cosigned import (
    Added,
    Cosigned,
    encode_cosigned,
    parse_second,
)
from node.ledger.terms import Term, term_of
from node.log.checkpoint import Checkpoint
from node.log.cosignature import Cosignature
from node.signing.checkpoints import sign_mldsa_cosignature, verify_mldsa_cosignature
from node.signing.keys import MldsaKey
from node.storage.store import Store

EVERY_MS: Final = 10_000
KEPT_EVERY_MS: Final = 3_600_000
HELD_MAX: Final = 8  # due sizes in memory: with 195 members 4 MB
AHEAD_PER_MEMBER_MAX: Final = 2
PULLS_MAX: Final = 3  # for one size: who has no line by then is down


class SecondLines:
    """What `Finality` holds beside its own lines. Used from one event loop, but for `sign`."""

    def __init__(
        self,
        store: Store,
        origin: str,
        epochs: Callable[[], Sequence[Term]],
        root_at: Callable[[int], bytes],
        keys: Sequence[MldsaKey],
        *,
        log_size: int,
        time_ms: int,
        forget: Callable[[int], None],
    ) -> None:
        """`time_ms`: of the last commit. `forget` is told of sizes of which nothing need be kept any more."""
        self._store = store
        self._origin = origin
        self._epochs = epochs
        self._root_at = root_at
        self._keys = {key.public: key for key in keys}
        self._forget = forget
        self._size = log_size
        self._slot = time_ms // EVERY_MS
        self._kept_hour = time_ms // KEPT_EVERY_MS
        self._due: OrderedDict[int, dict[int, Cosigned]] = OrderedDict()  # by size, then member
        self._times: dict[int, int] = {}  # of the due sizes
        self._ahead: dict[int, OrderedDict[int, Cosigned]] = {}  # by member, then size
        self._certified: set[int] = set()  # due sizes of which the store holds the certificate
        self._own: Cosigned | None = None
        self._pulls = 0
        self._load()

    # What others ask

    @property
    def own(self) -> Cosigned | None:
        """Our newest one, for who comes."""
        return self._own

    def is_due(self, size: int) -> bool:
        return size in self._due

    def holds(self, size: int) -> bool:
        """Whether any is held for a due size: then its Ed25519 lines are wanted beside them."""
        return bool(self._due.get(size))

    def lines(self, size: int) -> list[Cosigned]:
        """All that are held for this size, ascending by member."""
        held = self._due.get(size)
        if held is not None:
            return [held[member] for member in sorted(held)]
        return [parse_second(row) for _, row in self._store.second_lines(size)]

    def newest(self, final_size: int) -> int | None:
        """The newest final size that has any."""
        return next(
            (size for size in reversed(self._due) if size <= final_size and self._due[size]), None
        )

    def to_pull(self, final_size: int) -> int | None:
        """A final size that lacks lines of members who have such a key; asked for a few times, then let be."""
        size = next(reversed(self._due), None)
        if size is None or size > final_size or self._pulls >= PULLS_MAX:
            return None
        term = term_of(self._epochs(), size)
        if term is not self._epochs()[-1]:
            return None  # its members have gone on
        holders = [member for member in term.members if member.cosigner_pq_key]
        if len(self._due[size]) >= len(holders):
            return None
        self._pulls += 1
        return size

    # What happens

    def appended(self, size: int, time_ms: int) -> list[Cosigned]:
        """The log has `size` entries, the last commit's time is this. Returns lines with another root than ours: evidence."""
        self._size = size
        if time_ms // EVERY_MS > self._slot or self._epochs()[-1].after_size == size:
            self._slot = time_ms // EVERY_MS
            self._due[size] = {}
            self._times[size] = time_ms
            self._pulls = 0
            while len(self._due) > HELD_MAX:
                self._let_go(*self._due.popitem(last=False))
        conflicting: list[Cosigned] = []
        for waiting in self._ahead.values():
            for reached in [ahead for ahead in waiting if ahead <= size]:
                line = waiting.pop(reached)
                if self._judge(line) is Added.CONFLICT:
                    conflicting.append(line)
        return conflicting

    def epoch_ended(self) -> None:
        """Its members cosign nothing larger any more."""
        self._ahead.clear()

    def add(self, line: Cosigned) -> Added:
        """Take one from a peer: of a size above 0, by an index of that size's epoch."""
        member = term_of(self._epochs(), line.size).members[line.member]
        if not member.cosigner_pq_key:
            return Added.REFUSED
        if self._is_known(line):
            return Added.KNOWN
        checkpoint = Checkpoint(origin=self._origin, size=line.size, root=line.root)
        made = Cosignature(timestamp=line.timestamp, signature=line.signature)
        good = verify_mldsa_cosignature(member.state, member.cosigner_pq_key, checkpoint, made)
        if good is None:
            return (
                Added.KNOWN
            )  # this machine cannot tell, and passes nothing on that it cannot tell
        if not good:
            return Added.REFUSED
        if line.size > self._size:
            waiting = self._ahead.setdefault(line.member, OrderedDict())
            waiting[line.size] = line
            while len(waiting) > AHEAD_PER_MEMBER_MAX:
                waiting.pop(min(waiting))
            return Added.AHEAD
        return self._judge(line)

    def sign(self, member: int, size: int, root: bytes, timestamp: int) -> Cosigned | None:
        """Our line for what the Ed25519 cosigner has just signed durably; None: no key, or not due. Takes a millisecond."""
        seat = term_of(self._epochs(), size).members[member]
        key = self._keys.get(seat.cosigner_pq_key)
        if key is None or not self.is_due(size):
            return None
        checkpoint = Checkpoint(origin=self._origin, size=size, root=root)
        made = sign_mldsa_cosignature(key, seat.state, checkpoint, timestamp)
        return Cosigned(
            member=member, size=size, root=root, timestamp=timestamp, signature=made.signature
        )

    def made(self, line: Cosigned) -> None:
        """Hold an own one."""
        self._own = line
        self._judge(line)

    def _is_known(self, line: Cosigned) -> bool:
        held = self._due.get(line.size, {}).get(line.member)
        if held is None:
            held = self._ahead.get(line.member, OrderedDict()).get(line.size)
        if held is not None:
            return held.root == line.root
        is_past = line.size <= self._size and line.size not in self._due
        return is_past and self._root_at(line.size) == line.root

    def _judge(self, line: Cosigned) -> Added:
        """A good line for a size that our log has reached."""
        if line.root != self._root_at(line.size):
            return Added.CONFLICT
        held = self._due.get(line.size)
        if held is None:
            return Added.KNOWN
        held[line.member] = line
        if line.size in self._certified:
            self._keep([line])
        return Added.HELD

    def certified(self, size: int) -> None:
        """The store holds a quorum's Ed25519 lines of this size: now second lines may lie beside them."""
        if size in self._due:
            self._certified.add(size)
            self._keep(self.lines(size))

    def _keep(self, lines: Sequence[Cosigned]) -> None:
        rows = [(line.size, line.member, encode_cosigned(line)) for line in lines]
        self._store.put_second_lines(rows)

    def _let_go(self, size: int, held: dict[int, Cosigned]) -> None:
        hour = self._times.pop(size) // KEPT_EVERY_MS
        is_certified = size in self._certified
        self._certified.discard(size)
        if held and is_certified and self._ends_epoch(size):
            return
        if held and is_certified and hour > self._kept_hour:
            self._kept_hour = hour
            return
        self._store.delete_second_lines([(size, member) for member in held])
        self._forget(size)

    def _ends_epoch(self, size: int) -> bool:
        return any(term.after_size == size for term in self._epochs()[1:])

    def _load(self) -> None:
        """The newest size that has any, from before a restart; what does not fit the log is left to the audit."""
        size = self._store.newest_second()
        if size is None or not 0 < size <= self._size:
            return
        lines = [parse_second(row) for _, row in self._store.second_lines(size)]
        if all(line.size == size and line.root == self._root_at(size) for line in lines):
            self._due[size] = {line.member: line for line in lines}
            self._times[size] = self._slot * EVERY_MS
            self._certified.add(size)

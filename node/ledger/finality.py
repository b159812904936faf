"""Cosignatures: how a durable log becomes a final one (RULINGS R36 to R39, FORMATS 6).

After each commit that appended, once it is durable, the node cosigns the checkpoint (origin, size, root): the file
`cosign` is written first, then the line leaves. A size is *final* when a quorum of members cosigned one root for it; that
makes all smaller sizes final too. Lines travel by gossip beside the blocks; a node that lacks some pulls them from a peer.

A story, five members, quorum 4:

    appended(size=9)            own line made durable, given to `on_line`: the network sends it to every peer
    add(line of GB, size 9)     HELD: two lines
    add(line of KE, size 12)    AHEAD: kept until our log reaches 12
    add(line of CN, size 9)     HELD; add(line of BR, size 9): HELD, four lines: 9 is final, listeners are told

Two roots for one size: `conflicts`. Who cosigns which size: `terms`. What we sign ourselves, and when we are silent: `cosigner`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from consensus.committee import quorum_of
from node.ledger.conflicts import Conflicts, RootConflict
from node.ledger.cosigned import (
    Added,
    Cosigned,
    encode_cosigned,
    note_lines,
    parse_cosigned,
)
from node.ledger.cosigner import Cosigner
from node.ledger.genesis import Genesis
from node.ledger.second_lines import SecondLines
from node.ledger.terms import FoundingTerm, Term, Terms
from node.log.checkpoint import Checkpoint
from node.log.cosignature import median_timestamp
from node.log.note import Note
from node.signing.checkpoints import sign_log_line
from node.signing.keys import MldsaKey, SigningKey
from node.storage import keys
from node.storage.errors import StoreDamaged
from node.storage.sign_state import SignState
from node.storage.store import Store

LEAN_LINES_MAX: Final = 15  # R42
AHEAD_PER_MEMBER_MAX: Final = 32  # lines kept per member for sizes that our log has not reached
SIZES_HELD_MAX: Final = 1024  # sizes whose lines are in memory; about 200 B a line
SIZES_LATE_MAX: Final = 64  # final sizes that still collect late lines
KEPT_EVERY_S: Final = 60  # R43: of older certificates, one a minute stays


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalCheckpoint:
    """A checkpoint with the lines of at least a quorum, ascending by member."""

    checkpoint: Checkpoint
    lines: tuple[Cosigned, ...]


class Finality:
    """See the module's story. Used from one event loop; `run` is one task of the node for its whole life."""

    def __init__(
        self,
        store: Store,
        sign_state: SignState,
        genesis: Genesis,
        *,
        own: int | None,
        cosigner_key: SigningKey | None,
        log_key: SigningKey | None,
        log_size: int,
        root_at: Callable[[int], bytes],
        clock_s: Callable[[], int],
        on_line: Callable[[Cosigned], None] | None = None,
        epochs: Callable[[], Sequence[Term]] | None = None,
        state: str | None = None,
        later_keys: Sequence[SigningKey] = (),
        mldsa_keys: Sequence[MldsaKey] = (),
        time_ms: int = 0,
    ) -> None:
        """Take up where the node stopped; `root_at(size)` is the log's root at any size it has reached.

        `own` is this node's validator index at the founding; of a state that joined later, `state` names it. Without either, or
        without the cosigner key of its seat, it observes and never cosigns. `epochs` tells all epochs so far, ascending; None:
        the founding one goes on for ever. `later_keys`: cosigner and log keys of this node's other seats; `mldsa_keys`: the
        second cosigner's of all its seats. `time_ms`: of the last commit.

        Raises:
            StoreDamaged: the store holds less than this node has cosigned (R53), or a final checkpoint that does not verify.
        """
        self._store = store
        self._sign_state = sign_state
        self._origin = genesis.origin
        founding = (FoundingTerm(members=genesis.members),)
        self._terms = Terms(
            epochs or (lambda: founding),
            state if own is None else genesis.members[own].state,
            [key for key in (cosigner_key, log_key, *later_keys) if key is not None],
        )
        self._root_at = root_at
        self._on_line = on_line
        self._size = log_size
        self._lines: OrderedDict[int, dict[int, Cosigned]] = OrderedDict()  # by size, ascending
        self._ahead: dict[int, OrderedDict[int, Cosigned]] = {}  # by member, then size
        self._advanced = asyncio.Event()
        self._listeners: list[Callable[[FinalCheckpoint], None]] = []
        self._conflicts = Conflicts(store, self._terms, root_at)
        self._final: FinalCheckpoint | None = None
        self._ends_certified = 0  # epochs that are over, from the first on, with a certificate here
        self._kept_minute = -1
        self._cosigner = Cosigner(
            store,
            sign_state,
            self._terms,
            origin=self._origin,
            log_size=log_size,
            root_at=root_at,
            clock_s=clock_s,
        )
        self._passed_over: set[int] = set()  # sizes whose lines wait for `_second` to let them go
        self._second = SecondLines(
            store,
            self._origin,
            self._terms.epochs,
            root_at,
            mldsa_keys,
            log_size=log_size,
            time_ms=time_ms,
            forget=self._forget,
        )
        last = self._cosigner.last
        if last is not None and last.size <= log_size and root_at(last.size) != last.root:
            self._conflicts.accuse_self(last)
        self._load_final()
        own_line = self._cosigner.line
        if own_line is not None and own_line.size <= log_size:
            self._hold(own_line)

    # What others ask

    @property
    def final(self) -> FinalCheckpoint | None:
        """The newest final checkpoint; None before there is one, and while the alarm stops us (R39)."""
        return None if self.stopped else self._final

    @property
    def final_size(self) -> int:
        """Entries that are final; 0 before the first final checkpoint."""
        final = self.final
        return 0 if final is None else final.checkpoint.size

    @property
    def is_idle(self) -> bool:
        """Whether every size that `run` was given is cosigned, or never will be."""
        return self._cosigner.is_idle

    @property
    def quorum(self) -> int:
        """Of the members who cosign what is appended now."""
        return quorum_of(len(self._terms.newest.members))

    @property
    def conflicts(self) -> tuple[RootConflict, ...]:
        """Evidence of two roots, one piece per member."""
        return self._conflicts.held

    @property
    def alarm(self) -> str | None:
        """Why an operator must look, or None."""
        return self._conflicts.alarm

    @property
    def stopped(self) -> bool:
        """True while this node neither cosigns nor serves anything as final (R39)."""
        return self._conflicts.stopped

    def unfinal_size(self, epoch: int | None = None) -> int | None:
        """The newest size of this epoch that is appended and not certified: pull lines for it if it stays a second or more.

        The last size of an epoch wants a certificate of its own, though a later one makes it final: with it the old members hand
        over to the new ones (R44). None: all is well, or nobody of that epoch can help any more.
        """
        last = self._size if epoch is None else self._terms.last_size(epoch, self._size)
        if last == self._size:
            return last if last > self.final_size else None
        return last if last and not self.is_certified(last) else None

    def uncertified_end(self) -> tuple[int, int] | None:
        """The first epoch that is over and whose last size has no certificate here, and that size; None: all have (R43).

        Who was down, or only looked on, when its members cosigned lacks it: nobody says again what belongs to another epoch.
        """
        epochs = self._terms.epochs()
        while self._ends_certified + 1 < len(epochs):
            last = epochs[self._ends_certified + 1].after_size
            if not self.is_certified(last):
                return self._ends_certified, last
            self._ends_certified += 1
        return None

    def final_of(self, epoch: int) -> FinalCheckpoint | None:
        """The newest final checkpoint of this epoch's members; of an epoch that is over, that of its last size (R43)."""
        last = self._terms.last_size(epoch, self._size)
        if last != self._size:
            if not last or self.stopped or not self.is_certified(last):
                return None
            return self._certificate_of(self.lines(last))
        final = self.final
        if final is None or self._terms.of(final.checkpoint.size).number != epoch:
            return None
        return final

    def greeting(self, epoch: int) -> list[Cosigned]:
        """What somebody who comes is told first, of this epoch: our newest line, and those of its newest final checkpoint."""
        last = self._terms.last_size(epoch, self._size)
        if last != self._size:
            own_seat = self._terms.own_index(last) if last else None
            second_lines = [line for line in self.second_lines(last) if line.member == own_seat]
            return [*self.lines(last), *second_lines] if last else []
        own = self.newest_own()
        lines = [own] if own is not None and self._terms.of(own.size).number == epoch else []
        final = self.final_lines()
        if final and self._terms.of(final[0].size).number == epoch:
            lines += [line for line in final if line != own]
        second = self._second.own
        if second is not None and self._terms.of(second.size).number == epoch:
            lines.append(second)
        return lines

    def newest_own(self) -> Cosigned | None:
        """The own newest line, to send on every new connection."""
        return self._cosigner.line

    def to_resend(self, epoch: int | None = None) -> list[Cosigned]:
        """What to send to every peer each second: the own line, until that size or a larger is final (R36).

        To those of an epoch that is over: the own line of its last size.
        """
        if epoch is not None and (last := self._terms.last_size(epoch, self._size)) != self._size:
            own = self._terms.own_index(last) if last else None
            return [line for line in self.lines(last) if line.member == own]
        line = self._cosigner.line
        if line is not None and epoch is not None and self._terms.of(line.size).number != epoch:
            return []
        return [] if line is None or line.size <= self.final_size or self.stopped else [line]

    def lines(self, size: int) -> list[Cosigned]:
        """All lines held for exactly this size, ascending by member, for peers who pull."""
        held = self._lines.get(size)
        if held is not None:
            return [held[member] for member in sorted(held)]
        return [parse_cosigned(row) for _, row in self._store.cosignatures(size)]

    def second_lines(self, size: int) -> list[Cosigned]:
        """The ML-DSA-44 lines held for exactly this size."""
        return self._second.lines(size)

    def second_to_pull(self, epoch: int) -> int | None:
        """A final size of this epoch whose second lines are worth asking a peer for."""
        if self._terms.newest.number != epoch:
            return None
        return self._second.to_pull(self.final_size)

    def final_lines(self) -> list[Cosigned]:
        """The lines of the newest final checkpoint, for a peer that is behind."""
        return [] if self.final is None else list(self.final.lines)

    def lean_note(self) -> Note | None:
        """`/checkpoint`: own log line and at most 15 cosignatures over the newest final size (R42)."""
        return self.final_note(LEAN_LINES_MAX)

    def final_note(self, lines_max: int) -> Note | None:
        """Own log line and at most so many Ed25519 cosignatures over the newest final size."""
        return self._note(lines_max)

    def full_note(self) -> Note | None:
        """`/checkpoint.full`: own log line and every cosignature held for the newest final size."""
        return self._note(None)

    def second_note(self) -> Note | None:
        """`/checkpoint.ml-dsa`: the same for the newest final size that states cosigned by ML-DSA-44 as well."""
        size = self._second.newest(self.final_size)
        return None if size is None else self._note_of(self._certificate_of(self.lines(size)), None)

    def on_line(self, send: Callable[[Cosigned], None]) -> None:
        """Who is given each own line once it is durable: the network, which sends it to every peer."""
        self._on_line = send

    def subscribe(self, listener: Callable[[FinalCheckpoint], None]) -> None:
        """`listener` is called at once on every advance, on the event loop; it must not block."""
        self._listeners.append(listener)

    async def wait_past(self, size: int) -> FinalCheckpoint:
        """The first final checkpoint of more than `size` entries."""
        while self.final is None or self.final.checkpoint.size <= size:
            await self._advanced.wait()
        return self.final

    # What happens

    def appended(self, size: int, time_ms: int) -> None:
        """The log has `size` entries and they are durable. Called in order of size, by the ledger only.

        `time_ms`: of the commit.
        """
        assert size > self._size, f"appended {size} after {self._size}"
        self._size = size
        for line in self._second.appended(size, time_ms):
            self._conflicts.add(line, self._cosigner.last)
        self._cosigner.appended(size)
        for waiting in self._ahead.values():
            for reached in [ahead for ahead in waiting if ahead <= size]:
                self._judge(waiting.pop(reached))
        if self._terms.newest.after_size == size:
            self._ahead.clear()  # its members cosign nothing larger any more
            self._second.epoch_ended()

    def only_newest(self, *, is_on: bool) -> None:
        """While on (this node is more than BEHIND_MAX commits behind) nothing is cosigned; then the newest size is (R37)."""
        self._cosigner.only_newest(is_on=is_on)

    def contradicted(self, why: str) -> None:
        """A quorum certified something else than our log holds: nothing is cosigned or served as final any more (R39)."""
        self._conflicts.certified_otherwise(why)

    def add(self, line: Cosigned, epoch: int | None = None) -> Added:
        """Take one line from a peer who speaks of this epoch; None: of the newest. Never raises for what a peer can send."""
        newest = self._terms.newest.number
        speaks_of = newest if epoch is None else epoch
        expected = newest if line.size > self._size else self._terms.of(line.size).number
        if speaks_of != expected and not (epoch is None and line.size <= self._size):
            return Added.REFUSED  # nobody cosigns sizes of another epoch
        if line.size < 1 or line.member >= len(self._terms.of(line.size).members):
            return Added.REFUSED
        if line.is_second:
            return self._add_second(line)
        if self._is_known(line):
            return Added.KNOWN
        if not self._terms.is_good(line, self._origin):
            return Added.REFUSED
        if self._terms.is_ours(line):
            self._cosigner.seen(line.size)
        if line.size > self._size:
            waiting = self._ahead.setdefault(line.member, OrderedDict())
            waiting[line.size] = line
            while len(waiting) > AHEAD_PER_MEMBER_MAX:
                waiting.pop(min(waiting))  # the newest sizes make the older ones final
            return Added.AHEAD
        return self._judge(line)

    def _add_second(self, line: Cosigned) -> Added:
        added = self._second.add(line)
        if added is Added.CONFLICT:
            self._conflicts.add(line, self._cosigner.last)
        elif added in (Added.HELD, Added.AHEAD) and self._terms.is_ours(line):
            self._cosigner.seen(line.size)
        return added

    async def run(self) -> None:
        """Cosign what is appended, for ever. Raises WriteFailed: then the node must stop."""
        while True:
            await self._cosign(await self._cosigner.due())

    # Signing

    async def _cosign(self, size: int) -> None:
        if self.stopped:
            return
        line = await self._cosigner.sign(
            size, 0 if self._final is None else self._final.checkpoint.size
        )
        if line is None:
            return
        self._judge(line)
        if self._on_line is not None:
            self._on_line(line)
        if self._second.is_due(size):
            await self._cosign_again(line)

    async def _cosign_again(self, line: Cosigned) -> None:
        """The second line over what the `cosign` file holds: no other root can follow it."""
        made = await asyncio.to_thread(
            self._second.sign, line.member, line.size, line.root, line.timestamp
        )
        if made is None:
            return
        self._second.made(made)
        if self._on_line is not None:
            self._on_line(made)

    def is_certified(self, size: int) -> bool:
        """Whether a quorum's lines are held for this very size."""
        return len(self.lines(size)) >= self._terms.quorum_at(size)

    # Judging lines

    def _line_of(self, size: int, member: int) -> Cosigned | None:
        if size in self._lines:
            return self._lines[size].get(member)
        return self._ahead[member].get(size) if member in self._ahead else None

    def _is_known(self, line: Cosigned) -> bool:
        held = self._line_of(line.size, line.member)
        if held is not None:
            return held.root == line.root
        # Long final: another line adds nothing, unless it contradicts us, or hands over to the next epoch.
        return (
            self._final is not None
            and not (self._terms.is_last(line.size) and not self.is_certified(line.size))
            and line.size < self._final.checkpoint.size
            and line.size not in self._lines
            and self._root_at(line.size) == line.root
        )

    def _judge(self, line: Cosigned) -> Added:
        """A good line for a size that our log has reached."""
        if line.root != self._root_at(line.size):
            self._conflicts.add(line, self._cosigner.last)
            return Added.CONFLICT
        self._hold(line)
        return Added.HELD

    def _hold(self, line: Cosigned) -> None:
        if line.size not in self._lines:
            in_order = not self._lines or line.size > next(reversed(self._lines))
            kept = self.lines(line.size) if self._terms.is_last(line.size) else []
            self._lines[line.size] = {each.member: each for each in kept}
            if not in_order:
                self._lines = OrderedDict(sorted(self._lines.items()))
            while len(self._lines) > SIZES_HELD_MAX:
                self._lines.popitem(last=False)
        held = self._lines.get(line.size)
        if held is None:
            return
        held[line.member] = line
        if self._terms.is_last(line.size):
            self._store.put_cosignatures([(line.size, line.member, encode_cosigned(line))])
            if len(held) == self._terms.quorum_at(line.size):
                self._put_log_line(self._certificate(line.size).checkpoint)
        if self._final is not None and line.size <= self._final.checkpoint.size:
            self._hold_late(line)
        elif len(held) >= self._terms.quorum_at(line.size):
            self._advance(line.size)

    def _hold_late(self, line: Cosigned) -> None:
        """A line beyond the quorum: it strengthens the certificate that we keep."""
        assert self._final is not None, "only after an advance"
        if line.size == self._final.checkpoint.size:
            self._final = self._certificate(line.size)
        if line.size == self._final.checkpoint.size or self._store.cosignatures(line.size):
            self._store.put_cosignatures([(line.size, line.member, encode_cosigned(line))])

    def _advance(self, size: int) -> None:
        before = self._final
        self._final = self._certificate(size)
        rows = [(size, line.member, encode_cosigned(line)) for line in self._final.lines]
        self._put_log_line(self._final.checkpoint)
        self._store.put_cosignatures(rows, final=size)
        self._second.certified(size)
        if before is not None:
            self._thin_out(before)
        for old in [held for held in self._lines if held < size][:-SIZES_LATE_MAX]:
            del self._lines[old]
        if self.stopped:
            return
        for listener in self._listeners:
            listener(self._final)
        self._advanced.set()
        self._advanced = asyncio.Event()

    def _put_log_line(self, checkpoint: Checkpoint) -> None:
        """So that whoever exports the store, without its keys, can show a checkpoint as other people's tools want it."""
        found = self._terms.log_signer(checkpoint.size)
        if found is not None:
            own, key = found
            line = sign_log_line(key, checkpoint)
            self._store.put_log_line(checkpoint.size, own, line.signature)

    def _thin_out(self, before: FinalCheckpoint) -> None:
        """Of certificates that a later one covers, one a minute stays (R43)."""
        minute = median_timestamp([line.timestamp for line in before.lines]) // KEPT_EVERY_S
        if minute != self._kept_minute:
            self._kept_minute = minute
            return
        size = before.checkpoint.size
        if self._terms.is_last(size):
            return
        if self._second.holds(size):
            self._passed_over.add(size)
            return
        self._store.forget_checkpoint(size)

    def _forget(self, size: int) -> None:
        """Nothing keeps the certificate of this size any more."""
        if size in self._passed_over:
            self._passed_over.remove(size)
            self._store.forget_checkpoint(size)

    def _certificate(self, size: int) -> FinalCheckpoint:
        held = self._lines[size]
        return self._certificate_of([held[member] for member in sorted(held)])

    def _certificate_of(self, lines: Sequence[Cosigned]) -> FinalCheckpoint:
        first = lines[0]
        checkpoint = Checkpoint(origin=self._origin, size=first.size, root=first.root)
        return FinalCheckpoint(checkpoint=checkpoint, lines=tuple(lines))

    def _load_final(self) -> None:
        self._conflicts.restore(self._size)
        stored = self._store.meta(keys.META_FINAL)
        if stored is None:
            return
        size = int.from_bytes(stored, "big")
        held: dict[int, Cosigned] = {}
        for _, row in self._store.cosignatures(size):
            line = parse_cosigned(row)
            if (
                size > self._size
                or line.root != self._root_at(size)
                or not self._terms.is_good(line, self._origin)
            ):
                raise StoreDamaged(
                    f"{self._store.path}: the final checkpoint of size {size} does not verify against the log"
                )
            held[line.member] = line
        if len(held) < self._terms.quorum_at(size):
            return  # lines of a size are not synced by themselves; peers send them again
        self._lines[size] = held
        self._final = self._certificate(size)

    def last_note(self, epoch: int) -> Note | None:
        """The checkpoint that an epoch ended with, with our log line if we had a seat then; None: it is not certified."""
        return self._note_of(self.final_of(epoch), None, needs_log_line=False)

    def _note(self, lines_max: int | None) -> Note | None:
        return self._note_of(self.final, lines_max)

    def _note_of(
        self, final: FinalCheckpoint | None, lines_max: int | None, *, needs_log_line: bool = True
    ) -> Note | None:
        if final is None:
            return None
        members = self._terms.of(final.checkpoint.size).members
        signer = self._terms.log_signer(final.checkpoint.size)
        if signer is None and needs_log_line:
            return None
        shown = list(final.lines[:lines_max])
        if lines_max is None:
            shown += self._second.lines(final.checkpoint.size)
        lines = [] if signer is None else [sign_log_line(signer[1], final.checkpoint)]
        lines += note_lines(self._origin, members, shown)
        return Note(text=final.checkpoint.text(), lines=tuple(lines))

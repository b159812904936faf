"""Cosignatures: how a durable log becomes a final one (RULINGS R36 to R39, FORMATS 6).

After each commit that appended, once it is durable, the node cosigns the checkpoint (origin, size, root): the file
`cosign` is written first, then the line leaves. A size is *final* when a quorum of members cosigned one root for it; that
makes all smaller sizes final too. Lines travel by gossip beside the blocks; a node that lacks some pulls them from a peer.

A story, five members, quorum 4:

    appended(size=9)            own line made durable, given to `on_line`: the network sends it to every peer
    add(line of GB, size 9)     HELD: two lines
    add(line of KE, size 12)    AHEAD: kept until our log reaches 12
    add(line of CN, size 9)     HELD; add(line of BR, size 9): HELD, four lines: 9 is final, listeners are told

Two roots (R39): a good line with another root at a size that we hold is evidence against its signer, or against us. It is
kept and the alarm is raised. One liar must not stop everybody (that would be a veto), so the node stops cosigning and
serving as final once f+1 members contradict it, for then one of them is honest; or when its own log contradicts what it
signed itself.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from node.ledger.errors import MalformedRecord
from node.ledger.genesis import Genesis
from node.log.checkpoint import Checkpoint
from node.log.cosignature import TIMESTAMP_MAX, Cosignature, median_timestamp
from node.log.note import Note, SignatureLine
from node.signing.checkpoints import (
    cosignature_line,
    cosigner_vkey,
    sign_cosignature,
    sign_log_line,
    verify_cosignature,
)
from node.signing.keys import SigningKey
from node.storage import keys
from node.storage.errors import StoreDamaged
from node.storage.sign_state import CosignSigned, SignState
from node.storage.store import Store

LEAN_LINES_MAX: Final = 15  # R42
BEHIND_MAX: Final = 100  # R37: further behind, only the newest size is cosigned
AHEAD_PER_MEMBER_MAX: Final = 32  # lines kept per member for sizes that our log has not reached
SIZES_HELD_MAX: Final = 1024  # sizes whose lines are in memory; about 200 B a line
SIZES_LATE_MAX: Final = 64  # final sizes that still collect late lines
KEPT_EVERY_S: Final = 60  # R43: of older certificates, one a minute stays
COSIGNED_BYTES: Final = 2 + 8 + 32 + 8 + 64
META_CONFLICT: Final = b"conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """One member's cosignature as it travels between nodes: well-formed, not yet authenticated."""

    member: int  # validator index
    size: int
    root: bytes  # 32 bytes
    timestamp: int  # seconds, the signer's clock
    signature: bytes  # 64 bytes, Ed25519


def encode_cosigned(line: Cosigned) -> bytes:
    """114 bytes: u16 member | u64 size | root 32 | u64 timestamp | signature 64."""
    return b"".join(
        (
            line.member.to_bytes(2, "big"),
            line.size.to_bytes(8, "big"),
            line.root,
            line.timestamp.to_bytes(8, "big"),
            line.signature,
        )
    )


def parse_cosigned(data: bytes) -> Cosigned:
    """Raises MalformedRecord naming what is wrong."""
    if len(data) != COSIGNED_BYTES:
        raise MalformedRecord(f"cosigned line of {len(data)} bytes: want {COSIGNED_BYTES}")
    timestamp = int.from_bytes(data[42:50], "big")
    if timestamp > TIMESTAMP_MAX:
        raise MalformedRecord(f"cosigned line: timestamp {timestamp} is above 2^63-1")
    return Cosigned(
        member=int.from_bytes(data[:2], "big"),
        size=int.from_bytes(data[2:10], "big"),
        root=data[10:42],
        timestamp=timestamp,
        signature=data[50:],
    )


class Added(Enum):
    """What became of a line that came in."""

    HELD = "held"  # new and good, counted
    KNOWN = "known"  # held already, or its size is long final
    AHEAD = "ahead"  # good, for a size that our log has not reached
    REFUSED = "refused"  # no member, or not signed by that member's cosigner: charge the sender
    CONFLICT = "conflict"  # good, but for another root than ours: evidence kept, alarm raised


@dataclass(frozen=True, slots=True, kw_only=True)
class RootConflict:
    """Evidence of two roots for one size: a member's signed line, and the root that this node holds."""

    line: Cosigned
    own_root: bytes


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
    ) -> None:
        """Take up where the node stopped; `root_at(size)` is the log's root at any size it has reached.

        `own` is this node's validator index; None, or no cosigner key: it observes and never cosigns.

        Raises:
            StoreDamaged: the store holds less than this node has cosigned (R53), or a final checkpoint that does not verify.
        """
        self._store = store
        self._sign_state = sign_state
        self._origin = genesis.origin
        self._members = genesis.members
        self._own = own
        self._cosigner_key = cosigner_key
        self._log_key = log_key
        self._root_at = root_at
        self._clock_s = clock_s
        self._on_line = on_line
        self._size = log_size
        self._quorum = 2 * len(self._members) // 3 + 1
        self._lines: OrderedDict[int, dict[int, Cosigned]] = OrderedDict()  # by size, ascending
        self._ahead: dict[int, OrderedDict[int, Cosigned]] = {}  # by member, then size
        self._to_sign: deque[int] = deque()
        self._work = asyncio.Event()
        self._advanced = asyncio.Event()
        self._listeners: list[Callable[[FinalCheckpoint], None]] = []
        self._conflicts: dict[int, RootConflict] = {}  # by member, the first one
        self._own_conflict: str | None = None
        self._only_newest = False
        self._final: FinalCheckpoint | None = None
        self._kept_minute = -1
        self._last: CosignSigned | None = sign_state.cosign()
        # A store that was restored beside no sign state: what this cosigner signed before, its peers alone know (D12).
        self._restored_at = (
            log_size if self._last is None and store.meta(keys.META_RESTORED) is not None else None
        )
        self._own_seen = 0  # the largest size of a good line of ours that a peer has shown
        self._own_line = self._line_last_signed()
        self._load_final()
        if self._own_line is not None and self._own_line.size <= log_size:
            self._hold(self._own_line)
        if log_size > (0 if self._last is None else self._last.size):
            self._to_sign.append(log_size)
            self._work.set()

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
    def quorum(self) -> int:
        return self._quorum

    @property
    def conflicts(self) -> tuple[RootConflict, ...]:
        """Evidence of two roots, one piece per member."""
        return tuple(self._conflicts[member] for member in sorted(self._conflicts))

    @property
    def alarm(self) -> str | None:
        """Why an operator must look, or None."""
        if self._own_conflict is not None:
            return self._own_conflict
        if not self._conflicts:
            return None
        who = ", ".join(self._members[member].state for member in sorted(self._conflicts))
        return (
            f"another root than ours was cosigned by {who}: run `foedus audit` against their nodes"
        )

    @property
    def stopped(self) -> bool:
        """True while this node neither cosigns nor serves anything as final."""
        faults = (len(self._members) - 1) // 3
        return self._own_conflict is not None or len(self._conflicts) > faults

    @property
    def unfinal_size(self) -> int | None:
        """The newest size that is appended and not final: pull lines for it if it stays a second or more."""
        return self._size if self._size > self.final_size else None

    def newest_own(self) -> Cosigned | None:
        """The own newest line, to send on every new connection."""
        return self._own_line

    def to_resend(self) -> list[Cosigned]:
        """What to send to every peer each second: the own line, until that size or a larger is final (R36)."""
        line = self._own_line
        return [] if line is None or line.size <= self.final_size or self.stopped else [line]

    def lines(self, size: int) -> list[Cosigned]:
        """All lines held for exactly this size, ascending by member, for peers who pull."""
        held = self._lines.get(size)
        if held is not None:
            return [held[member] for member in sorted(held)]
        return [parse_cosigned(row) for _, row in self._store.cosignatures(size)]

    def final_lines(self) -> list[Cosigned]:
        """The lines of the newest final checkpoint, for a peer that is behind."""
        return [] if self.final is None else list(self.final.lines)

    def lean_note(self) -> Note | None:
        """`/checkpoint`: own log line and at most 15 cosignatures over the newest final size (R42)."""
        return self._note(LEAN_LINES_MAX)

    def full_note(self) -> Note | None:
        """`/checkpoint.full`: own log line and every cosignature held for the newest final size."""
        return self._note(len(self._members))

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

    def appended(self, size: int) -> None:
        """The log has `size` entries and they are durable. Called in order of size, by the ledger only."""
        assert size > self._size, f"appended {size} after {self._size}"
        self._size = size
        self._to_sign.append(size)
        if self._only_newest or len(self._to_sign) > BEHIND_MAX:
            self._to_sign = deque([size])
        if not self._only_newest:
            self._work.set()
        for waiting in self._ahead.values():
            for reached in [ahead for ahead in waiting if ahead <= size]:
                self._judge(waiting.pop(reached))

    def only_newest(self, *, is_on: bool) -> None:
        """While on (this node is more than BEHIND_MAX commits behind) nothing is cosigned; then the newest size is (R37)."""
        self._only_newest = is_on
        if not is_on and self._to_sign:
            self._work.set()

    def contradicted(self, why: str) -> None:
        """A quorum certified something else than our log holds: nothing is cosigned or served as final any more (R39)."""
        self._own_conflict = self._own_conflict or why

    def add(self, line: Cosigned) -> Added:
        """Take one line from a peer. Never raises for what a peer can send."""
        if not 0 <= line.member < len(self._members) or line.size < 1:
            return Added.REFUSED
        if self._is_known(line):
            return Added.KNOWN
        if not self._is_good(line):
            return Added.REFUSED
        if line.member == self._own:
            self._own_seen = max(self._own_seen, line.size)
        if line.size > self._size:
            waiting = self._ahead.setdefault(line.member, OrderedDict())
            waiting[line.size] = line
            while len(waiting) > AHEAD_PER_MEMBER_MAX:
                waiting.pop(min(waiting))  # the newest sizes make the older ones final
            return Added.AHEAD
        return self._judge(line)

    async def run(self) -> None:
        """Cosign what is appended, for ever. Raises WriteFailed: then the node must stop."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._to_sign:
                await self._cosign(self._to_sign.popleft())

    # Signing

    async def _cosign(self, size: int) -> None:
        key, own = self._cosigner_key, self._own
        if key is None or own is None or self.stopped:
            return
        if self._last is not None and size <= self._last.size:
            return  # signed before a restart: the same bytes are sent again, never others
        if self._is_silent(size):
            return
        checkpoint = Checkpoint(origin=self._origin, size=size, root=self._root_at(size))
        floor = 0 if self._last is None else self._last.timestamp
        made = sign_cosignature(key, checkpoint, max(self._clock_s(), floor))
        signed = CosignSigned(
            size=size, root=checkpoint.root, timestamp=made.timestamp, signature=made.signature
        )
        self._last = signed
        await asyncio.to_thread(self._sign_state.save_cosign, signed)
        line = Cosigned(
            member=own,
            size=size,
            root=checkpoint.root,
            timestamp=made.timestamp,
            signature=made.signature,
        )
        self._own_line = line
        self._judge(line)
        if self._on_line is not None:
            self._on_line(line)

    def _is_silent(self, size: int) -> bool:
        """True where a cosigner that lost its memory may have signed this size before.

        Never up to what peers have shown of us. After a restore nothing at all, before a checkpoint beyond the restored log has
        become final without us: then the others have gone on past what they had seen from us, and said so.
        """
        if size <= self._own_seen:
            return True
        if self._restored_at is None:
            return False
        final = self._final
        if final is None or final.checkpoint.size <= self._restored_at:
            return True
        return size <= final.checkpoint.size

    def _line_last_signed(self) -> Cosigned | None:
        """What was signed before the restart, to be sent again; the store must not fall behind it."""
        last = self._last
        if last is None or self._own is None:
            return None
        if last.size > self._size:
            rebuilding = self._store.meta(keys.META_REBUILD)
            if rebuilding is None or int.from_bytes(rebuilding, "big") < last.size:
                raise StoreDamaged(
                    f"{self._store.path}: {self._size} entries, but this node has cosigned {last.size}: the store was"
                    " rolled back or lost its end. Set that folder aside and start again: the node rebuilds it from its peers"
                )
        elif self._root_at(last.size) != last.root:
            self._accuse_self(last)
        return Cosigned(
            member=self._own,
            size=last.size,
            root=last.root,
            timestamp=last.timestamp,
            signature=last.signature,
        )

    def _accuse_self(self, last: CosignSigned) -> None:
        self._own_conflict = (
            f"this node cosigned root {last.root.hex()} at size {last.size}, and its log has another:"
            " run `foedus audit` on this home, then rebuild its store from peers"
        )

    # Judging lines

    def _line_of(self, size: int, member: int) -> Cosigned | None:
        if size in self._lines:
            return self._lines[size].get(member)
        return self._ahead[member].get(size) if member in self._ahead else None

    def _is_known(self, line: Cosigned) -> bool:
        held = self._line_of(line.size, line.member)
        if held is not None:
            return held.root == line.root
        # Long final: another line adds nothing, unless it contradicts us.
        return (
            self._final is not None
            and line.size < self._final.checkpoint.size
            and line.size not in self._lines
            and self._root_at(line.size) == line.root
        )

    def _is_good(self, line: Cosigned) -> bool:
        member = self._members[line.member]
        checkpoint = Checkpoint(origin=self._origin, size=line.size, root=line.root)
        cosignature = Cosignature(timestamp=line.timestamp, signature=line.signature)
        return (
            verify_cosignature(member.state, member.cosigner_key, checkpoint, cosignature)
            is not None
        )

    def _judge(self, line: Cosigned) -> Added:
        """A good line for a size that our log has reached."""
        own_root = self._root_at(line.size)
        if line.root != own_root:
            if line.member == self._own and self._last is not None:
                self._accuse_self(self._last)
            elif line.member not in self._conflicts:
                self._conflicts[line.member] = RootConflict(line=line, own_root=own_root)
                evidence = b"".join(encode_cosigned(held.line) for held in self.conflicts)
                self._store.put_meta(META_CONFLICT, evidence)
            return Added.CONFLICT
        self._hold(line)
        return Added.HELD

    def _hold(self, line: Cosigned) -> None:
        if line.size not in self._lines:
            in_order = not self._lines or line.size > next(reversed(self._lines))
            self._lines[line.size] = {}
            if not in_order:
                self._lines = OrderedDict(sorted(self._lines.items()))
            while len(self._lines) > SIZES_HELD_MAX:
                self._lines.popitem(last=False)
        held = self._lines.get(line.size)
        if held is None:
            return
        held[line.member] = line
        if self._final is not None and line.size <= self._final.checkpoint.size:
            self._hold_late(line)
        elif len(held) >= self._quorum:
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
        self._store.put_cosignatures(rows)
        self._store.put_meta(keys.META_FINAL, keys.u64(size))
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

    def _thin_out(self, before: FinalCheckpoint) -> None:
        """Of certificates that a later one covers, one a minute stays (R43)."""
        minute = median_timestamp([line.timestamp for line in before.lines]) // KEPT_EVERY_S
        if minute != self._kept_minute:
            self._kept_minute = minute
            return
        size = before.checkpoint.size
        self._store.delete_cosignatures([(size, line.member) for line in before.lines])

    def _certificate(self, size: int) -> FinalCheckpoint:
        held = self._lines[size]
        lines = tuple(held[member] for member in sorted(held))
        root = lines[0].root
        checkpoint = Checkpoint(origin=self._origin, size=size, root=root)
        return FinalCheckpoint(checkpoint=checkpoint, lines=lines)

    def _load_final(self) -> None:
        evidence = self._store.meta(META_CONFLICT) or b""
        for at in range(0, len(evidence), COSIGNED_BYTES):
            line = parse_cosigned(evidence[at : at + COSIGNED_BYTES])
            if line.size <= self._size and self._root_at(line.size) != line.root:
                own_root = self._root_at(line.size)
                self._conflicts[line.member] = RootConflict(line=line, own_root=own_root)
        stored = self._store.meta(keys.META_FINAL)
        if stored is None:
            return
        size = int.from_bytes(stored, "big")
        held: dict[int, Cosigned] = {}
        for _, row in self._store.cosignatures(size):
            line = parse_cosigned(row)
            if size > self._size or line.root != self._root_at(size) or not self._is_good(line):
                raise StoreDamaged(
                    f"{self._store.path}: the final checkpoint of size {size} does not verify against the log"
                )
            held[line.member] = line
        if len(held) < self._quorum:
            return  # lines of a size are not synced by themselves; peers send them again
        self._lines[size] = held
        self._final = self._certificate(size)

    def _note(self, lines_max: int) -> Note | None:
        final = self.final
        if final is None or self._log_key is None:
            return None
        lines: list[SignatureLine] = [sign_log_line(self._log_key, final.checkpoint)]
        lines += cosignature_lines(
            self._origin,
            [m.state for m in self._members],
            [m.cosigner_key for m in self._members],
            final.lines[:lines_max],
        )
        return Note(text=final.checkpoint.text(), lines=tuple(lines))


def cosignature_lines(
    origin: str, states: Sequence[str], cosigner_keys: Sequence[bytes], lines: Sequence[Cosigned]
) -> list[SignatureLine]:
    """The note lines of these cosignatures; `states` and `cosigner_keys` are in validator order."""
    return [
        cosignature_line(
            cosigner_vkey(origin, states[line.member], cosigner_keys[line.member]),
            Cosignature(timestamp=line.timestamp, signature=line.signature),
        )
        for line in lines
    ]

"""What only the damaged store of a node holds, and no replay gives: carried over where it proves itself.

    blocks not committed       named by their digest, signed by their authors
    cosignatures               good lines over the root that the repaired log has at their size
    entries that wait          named by their hash
    proofs of two blocks       two signatures of one validator
    lines over another root    signed by their member: evidence against it (RULINGS R39)
    marks                      that the cosigner stays silent (DESIGN D12)

A row that does not prove itself is left behind: the network sends it again, or it was never anybody's.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from consensus.codec import MalformedBlock, block_signing_bytes, decode_block
from consensus.committee import quorum_of
from node.audit.certificates import Judged
from node.audit.rebuilding import Rebuilding
from node.ledger.conflicts import META_CONFLICT
from node.ledger.cosigned import (
    COSIGNED_BYTES,
    Cosigned,
    encode_cosigned,
    parse_line,
)
from node.ledger.epochs import Epoch, epoch_of_size
from node.ledger.errors import MalformedRecord
from node.ledger.evidence import proof_checks
from node.ledger.genesis import GenesisMember
from node.log.checkpoint import Checkpoint
from node.log.cosignature import Cosignature
from node.signing.checkpoints import verify_cosignature, verify_mldsa_cosignature
from node.signing.verify import SignatureCheck, VerifyPool, verify_ed25519
from node.storage import keys
from node.storage.errors import StoreDamaged
from node.storage.sign_state import CosignSigned
from node.storage.store import Store

BLOCKS_STEP = 256
PENDING_HEAD_BYTES = 17  # u64 arrival | u64 inclusion_by_ms | u8 held


@dataclass(slots=True, kw_only=True)
class Kept:
    """How many rows were carried over."""

    blocks: int = 0
    lines: int = 0
    waiting: int = 0
    final_size: int = 0  # the newest size with a quorum of good lines


class Keeping:
    """From `old`, as far as it can be read, into `new`, which `made` has filled."""

    def __init__(
        self, old: Store, new: Store, made: Rebuilding, origin: str, pool: VerifyPool
    ) -> None:
        self._old = old
        self._new = new
        self._made = made
        self._origin = origin
        self._pool = pool
        self.kept = Kept()

    def run(self) -> Kept:
        self._blocks()
        self._mempool()
        self._evidence()
        self._lines()
        return self.kept

    def _rows(self, family: str) -> list[tuple[bytes, bytes]]:
        """All that can be read: a scan that stops at a damaged file has given what lies before it."""
        found: list[tuple[bytes, bytes]] = []
        with contextlib.suppress(StoreDamaged):
            found.extend(self._old.rows(family))
        return found

    def _blocks(self) -> None:
        """Those that the order did not need: undecided, or never referenced."""
        for family in ("blocks", "later_blocks"):
            pending: list[tuple[bytes, bytes]] = []
            try:
                for key, data in self._old.rows(family):
                    if self._new.row(family, key) is None:
                        pending.append((key, data))
                    if len(pending) >= BLOCKS_STEP:
                        self._put_blocks(pending)
                        pending = []
            except StoreDamaged:
                pass
            self._put_blocks(pending)

    def _put_blocks(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        found = []
        checks: list[SignatureCheck] = []
        for key, data in rows:
            try:
                block = decode_block(data)
            except MalformedBlock:
                continue
            epoch = self._epoch(block.header.epoch)
            named = keys.split_block(key) == (block.header.epoch, *block.ref)
            if not named or epoch is None or block.ref.author >= len(epoch.members):
                continue
            message = block_signing_bytes(epoch.committee.chain_id, block.header.epoch, block.ref)
            checks.append(
                SignatureCheck(epoch.members[block.ref.author].block_key, message, block.signature)
            )
            found.append((block, data))
        for (block, data), good in zip(found, self._pool.verify_now(checks), strict=True):
            if good:
                self._new.put_blocks([(block.ref, data)], block.header.epoch)
                self.kept.blocks += 1

    def _epoch(self, number: int) -> Epoch | None:
        epochs = self._made.epochs
        return epochs[number] if number < len(epochs) else None

    def _mempool(self) -> None:
        for key, value in self._rows("mempool"):
            if sha256(value[PENDING_HEAD_BYTES:]).digest() == key:
                self._new.put_row("mempool", key, value)
                self.kept.waiting += 1

    def _evidence(self) -> None:
        for name, value in self._rows("meta"):
            if name == META_CONFLICT:
                self._conflicts(value)
            elif name.startswith(keys.META_EQUIVOCATION):
                self._equivocation(name, value)

    def _conflicts(self, value: bytes) -> None:
        kept = b""
        for at in range(0, len(value), COSIGNED_BYTES):
            line = self._line(value[at : at + COSIGNED_BYTES])
            if line is not None and self._is_good(line):
                kept += encode_cosigned(line)
        if kept:
            self._new.put_meta(META_CONFLICT, kept)

    def _equivocation(self, name: bytes, value: bytes) -> None:
        place = name.removeprefix(keys.META_EQUIVOCATION)
        epoch = self._epoch(int.from_bytes(place[:4], "big"))
        if epoch is None:
            return
        try:
            checks = proof_checks(
                value, epoch.committee, [member.block_key for member in epoch.members]
            )
        except MalformedBlock:
            return
        if all(self._pool.verify_now(list(checks))):
            self._new.put_meta(name, value)

    def _lines(self) -> None:
        good: dict[int, int] = {}
        second: set[int] = set()
        roots: dict[int, bytes] = {}
        for key, value in self._rows("cosignatures"):
            size, place = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
            within = size <= self._made.tree.size
            if within and size not in roots:
                roots[size] = self._made.root_at(size)
            if not self._proves_itself(size, place, value, roots.get(size)):
                continue
            self._new.put_row("cosignatures", key, value)
            self.kept.lines += 1
            if place & keys.SECOND_LINE:
                second.add(size)
            elif within and place < keys.LOG_LINE:
                good[size] = good.get(size, 0) + 1
        self._final(good)
        if second:
            self._new.put_meta(keys.META_SECOND, keys.u64(max(second)))

    def _proves_itself(self, size: int, place: int, value: bytes, root: bytes | None) -> bool:
        """A member's line of either kind, or our own log line; over the repaired log's root, where that goes so far."""
        if place & keys.LOG_LINE:
            member = self._member(size, place - keys.LOG_LINE)
            if member is None or root is None:
                return False
            text = Checkpoint(origin=self._origin, size=size, root=root).text()
            return verify_ed25519(member.log_key, text, value)
        line = self._line(value)
        if line is None or line.is_second != bool(place & keys.SECOND_LINE):
            return False
        if (line.size, line.member) != (size, place & ~keys.SECOND_LINE):
            return False
        return root in (None, line.root) and self._is_good(line)

    def _final(self, good: dict[int, int]) -> None:
        final = max(
            (
                size
                for size, many in good.items()
                if many >= quorum_of(len(epoch_of_size(self._made.epochs, size).members))
            ),
            default=0,
        )
        if final:
            self._new.put_meta(keys.META_FINAL, keys.u64(final))
        self.kept.final_size = final

    def _line(self, value: bytes) -> Cosigned | None:
        try:
            return parse_line(value)
        except MalformedRecord:
            return None

    def _member(self, size: int, index: int) -> GenesisMember | None:
        members = epoch_of_size(self._made.epochs, size).members
        return members[index] if index < len(members) else None

    def _is_good(self, line: Cosigned) -> bool:
        member = self._member(line.size, line.member)
        if member is None:
            return False
        checkpoint = Checkpoint(origin=self._origin, size=line.size, root=line.root)
        made = Cosignature(timestamp=line.timestamp, signature=line.signature)
        if line.is_second:
            key = member.cosigner_pq_key
            return verify_mldsa_cosignature(member.state, key, checkpoint, made) is True
        return verify_cosignature(member.state, member.cosigner_key, checkpoint, made) is not None


def take_certificate(new: Store, kept: Kept, found: Sequence[Judged], size: int) -> None:
    """Where the damaged store has none left: the newest final checkpoint of another copy."""
    final = [judged for judged in found if judged.is_final and judged.size <= size]
    if kept.final_size or not final:
        return
    newest = max(final, key=lambda judged: judged.size)
    new.put_cosignatures([(line.size, line.member, encode_cosigned(line)) for line in newest.good])
    new.put_second_lines(
        [(line.size, line.member, encode_cosigned(line)) for line in newest.second]
    )
    new.put_meta(keys.META_FINAL, keys.u64(newest.size))
    kept.final_size = newest.size


def mark(old: Store | None, new: Store, signed: CosignSigned | None, size: int) -> None:
    """What the cosigner may not sign yet. A mark that the old store may have lost counts as if it were there."""
    if signed is None:  # nobody here knows what was signed before
        new.put_meta(keys.META_RESTORED, b"")
        return
    if signed.size > size:  # the store stands below it until it has caught up
        new.put_meta(keys.META_REBUILD, keys.u64(signed.size))
    if old is None:
        return
    for name in (keys.META_REBUILD, keys.META_RESTORED):
        with contextlib.suppress(StoreDamaged):
            held = old.meta(name)
            if held is not None and new.meta(name) is None:
                new.put_meta(name, held)

"""What must hold of whole nodes, judged from outside: from their disks, from what leaves them, and from their logs.

Nothing here calls the code under test. Layouts and hashes are spelled out again from the documents that fix them (SPEC 2, RULINGS
R7 and R52, `node/storage/keys.py` as of format 1); protobuf's own parser reads frames.

    one history     commit i is (size, root, time) whoever applies it, and again after a restart; time never runs backwards
    one root        of every honest cosignature for a size, and of every log that reaches it
    one signature   an honest member's blocks, on any honest disk or in any frame of its own: one for each round
    its word        what an honest disk keeps as a liar's block the liar did sign; what is final a quorum did cosign
    durable first   a block leaves when its sign state is on the disk, a cosignature when its file and the log are, an
                    acknowledgement when the entry is
    its own seat    only who has a seat in an epoch signs blocks and sizes of it; who has left signs nothing more
    no false blame  no honest member is charged, accused, or in conflict
    at the end      honest logs are equal, all in them is final, no entry is in them twice, none acknowledged is missing
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nacl import bindings
from nacl.exceptions import BadSignatureError

from consensus.simulate.checkers import Violation
from foedus.v1 import peer_pb2 as pb
from tests.simulation.driver.committees import Committees
from tests.simulation.driver.disk import Disk

SIGNED_ENTRY: Final = 0xD2  # first byte of a signed statement among the leaves (DESIGN 3.5)
BLOCK_FILE_AT: Final = len(b"foedus/block/1\n")
COSIGN_FILE_AT: Final = len(b"foedus/cosign/1\n")
EPOCH_AT: Final = 32  # in a header, after the chain's name
ROUND_AT: Final = 36  # after chain_id 32 and epoch u32
SIGNATURE_BYTES: Final = 64


@dataclass(slots=True)
class Conduct:
    """Watches commits, cosignatures, blocks and acknowledgements as they happen."""

    byzantine: frozenset[int]
    chain_id: bytes
    committees: Committees
    disks: dict[int, Disk]
    commits: dict[int, tuple[int, bytes, int]] = field(default_factory=dict)
    heights: dict[tuple[int, int], int] = field(default_factory=dict)  # (seat, life) -> last commit
    roots: dict[int, bytes] = field(default_factory=dict)  # by size
    # (epoch, author, round) -> digest
    blocks: dict[tuple[bytes, int, int], bytes] = field(default_factory=dict)
    cosigned_sizes: dict[int, int] = field(default_factory=dict)  # by seat, the last one
    cosigners: dict[int, set[int]] = field(default_factory=dict)  # honest ones, by size
    acknowledged: dict[bytes, int] = field(default_factory=dict)  # entry hash -> who

    # What happens

    def applied(
        self, seat: int, life: int, index: int, size: int, root: bytes, time_ms: int
    ) -> None:
        before = self.heights.get((seat, life))
        if before is not None and index != before + 1:
            raise Violation(f"node {seat}: commit {index} applied after {before}")
        self.heights[seat, life] = index
        self._same_root(seat, size, root)
        found = self.commits.setdefault(index, (size, root, time_ms))
        if found != (size, root, time_ms):
            raise Violation(
                f"node {seat}: commit {index} gives size {size}, root {root.hex()[:16]}, time {time_ms}; elsewhere"
                f" {found[0]}, {found[1].hex()[:16]}, {found[2]}"
            )
        earlier = self.commits.get(index - 1)
        if earlier is not None and (earlier[2] > time_ms or earlier[0] > size):
            raise Violation(f"commit {index}: time or size below those of the commit before")

    def cosigned(self, seat: int, size: int, root: bytes) -> None:
        """An honest member's line is about to leave."""
        self._same_root(seat, size, root)
        self._seated(seat, size)
        if size <= self.cosigned_sizes.get(seat, 0):
            raise Violation(f"node {seat}: signs size {size} after {self.cosigned_sizes[seat]}")
        self.cosigned_sizes[seat] = size
        self.cosigners.setdefault(size, set()).add(seat)
        disk = self.disks[seat]
        data = disk.contents.get(Path(f"/sim/{seat}/cosign"))
        if data is None or int.from_bytes(data[COSIGN_FILE_AT : COSIGN_FILE_AT + 8], "big") < size:
            raise Violation(f"node {seat}: cosignature of size {size} leaves before it is on disk")
        tip = disk.synced("meta", b"tip")
        if tip is None or int.from_bytes(tip[8:16], "big") < size:
            raise Violation(f"node {seat}: cosigns size {size}, which a power cut would take back")

    def remembers(self, seat: int, size: int, root: bytes) -> None:
        """An honest member that starts again found this line of its own on its disk: signed, perhaps never sent, sent now."""
        self._same_root(seat, size, root)
        if size < self.cosigned_sizes.get(seat, 0):
            raise Violation(f"node {seat}: remembers size {size}, sent {self.cosigned_sizes[seat]}")
        self.cosigned_sizes[seat] = size
        self.cosigners.setdefault(size, set()).add(seat)

    def final(self, seat: int, size: int, root: bytes, members: list[int]) -> None:
        """An honest node calls this size final, by the lines of these members of its epoch."""
        self._same_root(seat, size, root)
        committee = self.committees.of_size(size)
        if len(set(members)) != len(members) or len(members) < committee.quorum:
            raise Violation(f"node {seat}: size {size} final by {members}")
        seats = {committee.seats[member] for member in members}
        # Its own line counts from when it is on its disk, a moment before it leaves.
        forged = seats - self.byzantine - self.cosigners.get(size, set()) - {seat}
        if forged:
            raise Violation(f"node {seat}: size {size} final by {forged}, who did not cosign it")

    def sent(self, seat: int, kind: str, data: bytes) -> None:
        """A message of an honest member leaves."""
        for block in _blocks_in(kind, data):
            slot = block[EPOCH_AT:ROUND_AT], block[ROUND_AT : ROUND_AT + 4]
            author = int.from_bytes(block[ROUND_AT + 4 : ROUND_AT + 6], "big")
            committee = self.committees.of_epoch(int.from_bytes(slot[0], "big"))
            if author != committee.index_of(seat):
                continue
            # Epochs take turns in two files: one that has given way to the next but one needs none.
            name = "block-odd" if slot[0][-1] % 2 else "block"
            signed = self.disks[seat].contents.get(Path(f"/sim/{seat}/{name}"), b"")
            at = BLOCK_FILE_AT
            round_ = int.from_bytes(slot[1], "big")
            if (signed[at : at + 4], signed[at + 4 : at + 8]) < slot:
                raise Violation(
                    f"node {seat}: block of round {round_} leaves before its sign state"
                )

    def stored(self, seat: int, family: str, key: bytes, value: bytes) -> None:
        """An honest disk takes a row."""
        if family == "log":
            self.committees.leaf(
                seat,
                int.from_bytes(key, "big"),
                value,
                lambda at: self.disks[seat].tables["log"].rows[at.to_bytes(8, "big")],
            )
        if family not in ("blocks", "later_blocks"):
            return
        epoch = bytes(4)
        if family == "later_blocks":
            epoch, key = key[:4], key[4:]
        round_, author = int.from_bytes(key[:4], "big"), int.from_bytes(key[4:6], "big")
        committee = self.committees.of_epoch(int.from_bytes(epoch, "big"))
        if author >= len(committee.seats):
            raise Violation(f"node {seat}: keeps a block of {author}, who has no seat")
        if committee.seats[author] in self.byzantine:
            self._signed(seat, committee.block_keys[author], epoch + key, value[-SIGNATURE_BYTES:])
            return
        digest = self.blocks.setdefault((epoch, author, round_), key[6:])
        if digest != key[6:]:
            raise Violation(
                f"node {committee.seats[author]}: two blocks of round {round_}, {digest.hex()[:16]} and"
                f" {key[6:].hex()[:16]} on the disk of node {seat}"
            )

    def _seated(self, seat: int, size: int) -> None:
        if self.committees.of_size(size).index_of(seat) is None:
            raise Violation(f"node {seat}: cosigns size {size} of an epoch in which it has no seat")

    def _signed(self, seat: int, key: bytes, slot: bytes, signature: bytes) -> None:
        """A liar may sign what it likes, but it did (RULINGS R7)."""
        label = b"sign/block/1"
        message = sha256(bytes([len(label)]) + label + self.chain_id + slot)
        try:
            bindings.crypto_sign_open(signature + message, key)
        except BadSignatureError:
            raise Violation(
                f"node {seat}: keeps a block that its author {key.hex()[:16]} did not sign"
            ) from None

    def acked(self, seat: int, entry_hash: bytes) -> None:
        disk = self.disks[seat]
        if disk.synced("mempool", entry_hash) is None and disk.synced("index", entry_hash) is None:
            raise Violation(
                f"node {seat}: acknowledges {entry_hash.hex()[:16]}, which a power cut would take"
            )
        self.acknowledged.setdefault(entry_hash, seat)

    def _same_root(self, seat: int, size: int, root: bytes) -> None:
        known = self.roots.setdefault(size, root)
        if known != root:
            raise Violation(
                f"node {seat}: root {root.hex()[:16]} at size {size}, elsewhere {known.hex()[:16]}"
            )

    # What is left

    def logs(self, logs: dict[int, list[bytes]]) -> None:
        """The leaves of each honest member's log, all of the same size by now."""
        (first, log), *others = logs.items()
        for seat, other in others:
            if other != log:
                raise Violation(f"nodes {first} and {seat}: logs differ")
        if len(log) in self.roots and root_of(log) != self.roots[len(log)]:
            raise Violation(f"the root at size {len(log)} is not that of its leaves")
        entries = [sha256(leaf) for leaf in log if leaf[0] == SIGNED_ENTRY]
        if len(set(entries)) != len(entries):
            raise Violation("an entry is in the log twice")
        missing = self.acknowledged.keys() - set(entries)
        if missing:
            named = min(missing)
            raise Violation(
                f"{len(missing)} acknowledged entries are not in the log, {named.hex()[:16]} of node"
                f" {self.acknowledged[named]} among them"
            )


def _blocks_in(kind: str, data: bytes) -> list[bytes]:
    match kind:
        case "Subscribe":
            return list(pb.SubscribeResponse.FromString(data).bundle.blocks)
        case "Fetch":
            return list(pb.FetchResponse.FromString(data).blocks)
        case "FetchRange":
            return list(pb.FetchRangeResponse.FromString(data).blocks)
        case "GetNewestBlock":
            block = pb.GetNewestBlockResponse.FromString(data).block
            return [block] if block else []
        case _:
            return []


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def root_of(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + root_of(leaves[:split]) + root_of(leaves[split:]))

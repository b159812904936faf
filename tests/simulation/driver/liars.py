"""What a Byzantine member's node does on the wire. Its process is the shipping one; what it sends is changed on the way out.

    garbler      flips bits, cuts messages short, sends noise
    replayer     sends what it sent long ago, again and again
    withholder   shows its blocks to few, to others late or never, and to whom changes
    forger       cosigns in the name of others, what is right and what is not
    two-roots    cosigns another root for every size, with its real key
    crafter      blocks of its own, well signed: of rounds nobody is near, on parents that do not exist, second ones for its
                 slots, with as many votes for invented commits as fit
    line-flood   good cosignatures of sizes that nobody has reached, and of members that do not exist, by the hundred

Others are a matter of processes and disks (`cluster`): silent; twins, two processes with one key, each shown to a part of the
members; amnesiac, whose disk is empty after each crash; rollback, whose disk is an old copy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, Protocol

from consensus.codec import block_signing_bytes, decode_block, encode_block
from consensus.types import (
    COMMIT_VOTES_MAX,
    Block,
    CommitIndex,
    CommitVote,
    Digest,
    Millis,
    Ref,
    Round,
    VerifiedBlock,
)
from foedus.v1 import peer_pb2 as pb
from node.ledger.cosigned import Cosigned, encode_cosigned
from node.log.checkpoint import Checkpoint
from node.network import wire
from node.signing.blocks import sign_block
from node.signing.checkpoints import sign_cosignature
from node.signing.keys import NodeKeys
from node.signing.verify import verify_ed25519
from tests.unit.ledger.founding import Founding

LINES: Final = 40  # in one frame of a flood
SIGNATURE_BYTES: Final = 64
AGAIN: Final = 80  # messages in a burst of a replayer, over all members
KEPT: Final = 64  # messages that a replayer remembers


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigner:
    """A member's real key, and where it sits when."""

    keys: NodeKeys
    founding: Founding
    index_at: Callable[[int], int | None]  # by size: the index of the epoch whose members cosign it

    def line(self, size: int, root: bytes) -> bytes | None:
        """A line that this member's cosigner did sign; None: it has no seat then."""
        member = self.index_at(size)
        if member is None:
            return None
        genesis = self.founding.genesis
        checkpoint = Checkpoint(origin=genesis.origin, size=size, root=root)
        made = sign_cosignature(self.keys.cosigner, checkpoint, genesis.time_ms // 1000)
        return encode_cosigned(
            Cosigned(
                member=member,
                size=size,
                root=root,
                timestamp=made.timestamp,
                signature=made.signature,
            )
        )


class Liar(Protocol):
    """What goes out in a message's place."""

    def say(self, target: int, kind: str, data: bytes) -> Sequence[bytes]: ...


@dataclass
class Garbler:
    rng: Random

    def say(self, target: int, kind: str, data: bytes) -> Sequence[bytes]:
        rng = self.rng
        match rng.randrange(12):
            case 0 if data:
                at = rng.randrange(len(data))
                return (data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],)
            case 1 | 4 | 5 if len(data) > SIGNATURE_BYTES:  # the last of its last block
                at = len(data) - rng.randint(1, SIGNATURE_BYTES)
                return (data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],)
            case 2:
                return (data[: rng.randint(0, len(data))],)
            case 3:
                return (rng.randbytes(rng.choice((0, 1, 40, 3_000))),)
            case _:
                return (data,)


@dataclass
class Replayer:
    rng: Random
    size: int
    said: dict[str, list[bytes]] = field(default_factory=dict)

    def say(self, target: int, kind: str, data: bytes) -> Sequence[bytes]:
        said = self.said.setdefault(kind, [])
        said.append(data)
        if len(said) > KEPT:
            said.pop(self.rng.randrange(KEPT))
        if kind != "Subscribe":  # one call, one answer
            return (self.rng.choice(said),) if self.rng.random() < 0.3 else (data,)
        return (
            data,
            *self.rng.choices(said, k=self.rng.choice((0, 0, 1, max(1, AGAIN // self.size)))),
        )


@dataclass
class Withholder:
    rng: Random
    size: int
    shown: frozenset[int] = frozenset()
    until: int = 0

    def say(self, target: int, kind: str, data: bytes) -> Sequence[bytes]:
        self.until -= 1
        if self.until < 0:
            self.until = self.rng.choice((20, 100, 400))
            few = self.rng.choice((0, 1, (self.size - 1) // 3 + 1, self.size))
            self.shown = frozenset(self.rng.sample(range(self.size), few))
        return (data,) if target in self.shown else ()


@dataclass
class TwoRoots:
    rng: Random
    cosigner: Cosigner

    def say(self, target: int, kind: str, data: bytes) -> Sequence[bytes]:
        if kind != "Subscribe":
            return (data,)
        frame = pb.SubscribeResponse.FromString(data)
        if frame.WhichOneof("frame") != "cosigned" or self.rng.random() < 0.3:
            return (data,)
        lines = [int.from_bytes(line[2:10], "big") for line in frame.cosigned.lines]
        others = [self.cosigner.line(size, self.rng.randbytes(32)) for size in lines]
        return (cosigned_frame([line for line in others if line is not None]), data)


@dataclass
class Forger:
    rng: Random
    size: int

    def say(self, target: int, kind: str, data: bytes) -> Sequence[bytes]:
        if kind != "Subscribe":
            return (data,)
        frame = pb.SubscribeResponse.FromString(data)
        lines = [self.forged(line) for line in frame.cosigned.lines if self.rng.random() < 0.3]
        return (data, *[cosigned_frame([line]) for line in lines])

    def forged(self, line: bytes) -> bytes:
        """As if another had signed what this line says, or another root."""
        name = self.rng.randrange(self.size).to_bytes(2, "big")
        root = line[10:42] if self.rng.random() < 0.7 else self.rng.randbytes(32)
        return name + line[2:10] + root + line[42:]


@dataclass
class Crafter:
    """Valid in form, each (SPEC 3): what has to hold against them are the bounds of whoever takes them in (SPEC 13)."""

    rng: Random
    keys: NodeKeys
    seat_key: bytes  # by which its own blocks are known among those it sends

    def say(self, target: int, kind: str, data: bytes) -> Sequence[bytes]:
        if kind != "Subscribe" or self.rng.random() < 0.6:
            return (data,)
        frame = pb.SubscribeResponse.FromString(data)
        if frame.WhichOneof("frame") != "bundle" or not frame.bundle.blocks:
            return (data,)
        # The last of a bundle is its sender's newest.
        own = decode_block(frame.bundle.blocks[-1])
        if own.header.round < 2 or not self._is_ours(own):
            return (data,)
        crafted = [encode_block(self._crafted(own).block) for _ in range(self.rng.randint(1, 4))]
        return (data, wire.bundle_frame(crafted))

    def _is_ours(self, block: Block) -> bool:
        header = block.header
        message = block_signing_bytes(header.chain_id, header.epoch, block.ref)
        return verify_ed25519(self.seat_key, message, block.signature)

    def _crafted(self, own: Block) -> VerifiedBlock:
        header, rng = own.header, self.rng
        match rng.randrange(4):
            case 0:
                ahead = rng.choice((3, 40, 200, 1 << 20))
                parents = tuple(
                    Ref(Round(header.round + ahead - 1), parent.author, Digest(rng.randbytes(32)))
                    for parent in header.parents
                    if parent.round == header.round - 1
                )
                changed = replace(header, round=Round(header.round + ahead), parents=parents)
            case 1:
                at = rng.randrange(len(header.parents))
                parents = tuple(
                    parent._replace(digest=Digest(rng.randbytes(32))) if place == at else parent
                    for place, parent in enumerate(header.parents)
                )
                changed = replace(header, parents=parents)
            case 2:
                first = rng.randint(1, 60)
                votes = tuple(
                    CommitVote(index=CommitIndex(first + place), digest=Digest(rng.randbytes(32)))
                    for place in range(COMMIT_VOTES_MAX)
                )
                changed = replace(header, commit_votes=votes)
            case _:
                changed = replace(
                    header, time_ms=Millis(header.time_ms + rng.choice((-1, 1)) * 7_200_000)
                )
        return sign_block(self.keys.block, changed, own.payload)


@dataclass
class LineFlood:
    rng: Random
    cosigner: Cosigner

    def say(self, target: int, kind: str, data: bytes) -> Sequence[bytes]:
        if kind != "Subscribe" or self.rng.random() < 0.8:
            return (data,)
        rng = self.rng
        lines = [
            self.cosigner.line(rng.randrange(1, 1 << 62), rng.randbytes(32)) for _ in range(LINES)
        ]
        far = [line for line in lines if line is not None]
        if far and rng.random() < 0.1:  # and one that is nobody's: the whole frame is charged
            far.append(b"\xff\xff" + far[0][2:])
        return (cosigned_frame(far), data)


def cosigned_frame(lines: Sequence[bytes]) -> bytes:
    return pb.SubscribeResponse(cosigned=pb.CosignedLines(lines=lines)).SerializeToString()


def liar_of(name: str, rng: Random, size: int, cosigner: Cosigner) -> Liar | None:
    """`size`: of the members. None: what this one does is not a matter of messages."""
    match name:
        case "garbler":
            return Garbler(rng)
        case "replayer":
            return Replayer(rng, size)
        case "withholder":
            return Withholder(rng, size)
        case "forger":
            return Forger(rng, size)
        case "two-roots":
            return TwoRoots(rng, cosigner)
        case "line-flood":
            return LineFlood(rng, cosigner)
        case "crafter":
            return Crafter(rng, cosigner.keys, cosigner.keys.block.public)
        case _:
            return None

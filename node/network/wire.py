"""Between protobuf and our own values; nothing else converts (peer.proto).

Writing gives the bytes of one message; reading takes them from a stranger:

    frames    read_frame(data)   -> Bundle | Wake | Cosigned          what a peer's stream carries
    requests  read_fetch(data)   -> Fetch, ...                        what a peer asks of us
    answers   read_fetched(data) -> Fetched, ...                      what a peer answers us

gRPC is given bytes and gives bytes: a frame for all peers is built once, and a message that is none is charged to its sender here
instead of ending in a library's trace. Blocks stay the bytes they are. Readers raise MalformedMessage and nothing else. Every
list is counted before it is copied. Fields that this version does not know are ignored: nothing here is signed or hashed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from consensus.codec import BLOCK_BYTES_MAX
from consensus.types import (
    BELOW_COMMITS_MAX,
    COMMITS_ANSWERED_MAX,
    COMMITS_MAX,
    DIGEST_BYTES,
    FETCH_REFS_MAX,
    LISTED_REFS_MAX,
    RANGE_ROUNDS_MAX,
    CommitIndex,
    Digest,
    Ref,
    Round,
    ValidatorIndex,
)
from foedus.v1 import peer_pb2 as pb

MIB: Final = 1024 * 1024
# Room for a push's payload (Parameters.bundle_bytes_max) or a served answer, with the headers around it.
MESSAGE_BYTES_MAX: Final = 8 * MIB
REQUEST_BYTES_MAX: Final = (
    72 * 1024
)  # one entry at its largest, or 1,000 references of 44 bytes, and the chain
BLOCKS_MAX: Final = 8_192  # in one message; what fits by bytes is far less unless blocks are empty
LINES_MAX: Final = 2_048  # two cosignatures of each of the 1,024 members a genesis may list
LINE_BYTES_MAX: Final = 4_096  # an ML-DSA-44 line has 2,420 bytes of signature
HANDED_MAX: Final = 64  # entries in one request
HANDED_BYTES_MAX: Final = 64 * 1024
LEAF_BYTES_MAX: Final = 65_535  # one entry of the log (RULINGS R12)
PROOF_HASHES_MAX: Final = 63
AUTHOR_MAX: Final = 0xFFFF


class MalformedMessage(ValueError):
    """Bytes of a peer that are no message of peer.proto, or exceed its bounds: names field and value."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Which ledger, and which epoch of it, a caller speaks of."""

    chain_id: bytes  # 32 bytes
    epoch: int


# --- frames --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bundle:
    blocks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Wake:
    round: Round


@dataclass(frozen=True, slots=True)
class Cosigned:
    lines: tuple[bytes, ...]


Frame = Bundle | Wake | Cosigned


def bundle_frame(blocks: Iterable[bytes]) -> bytes:
    return pb.SubscribeResponse(bundle=pb.Bundle(blocks=blocks)).SerializeToString()


def wake_frame(round_: Round) -> bytes:
    return pb.SubscribeResponse(wake=pb.Wake(round=round_)).SerializeToString()


def cosigned_frame(lines: Iterable[bytes]) -> bytes:
    return pb.SubscribeResponse(cosigned=pb.CosignedLines(lines=lines)).SerializeToString()


def read_frame(data: bytes) -> Frame:
    message = _parse(pb.SubscribeResponse, data)
    match message.WhichOneof("frame"):
        case "bundle":
            return Bundle(_blocks(message.bundle.blocks, "bundle.blocks"))
        case "wake":
            return Wake(Round(message.wake.round))
        case "cosigned":
            return Cosigned(_lines(message.cosigned.lines, "cosigned.lines"))
        case _:
            raise MalformedMessage("frame: none of bundle, wake, cosigned")


def peek_epoch(request: bytes) -> int | None:
    """The epoch that a request of any kind names: all have their chain in one place. None: it is no request."""
    try:
        return pb.SubscribeRequest.FromString(request).chain.epoch
    except DecodeError:
        return None


# --- requests ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subscribe:
    chain: Chain
    after_round: Round


@dataclass(frozen=True, slots=True)
class Fetch:
    chain: Chain
    refs: tuple[Ref, ...]
    known_round: Round


@dataclass(frozen=True, slots=True)
class FetchRange:
    chain: Chain
    first: Round
    last: Round


@dataclass(frozen=True, slots=True)
class FetchBelow:
    chain: Chain
    after_commit: CommitIndex


@dataclass(frozen=True, slots=True)
class GetNewest:
    chain: Chain
    author: ValidatorIndex


@dataclass(frozen=True, slots=True)
class GetCosignatures:
    chain: Chain
    size: int


@dataclass(frozen=True, slots=True)
class FetchCommits:
    chain: Chain
    first: CommitIndex
    last: CommitIndex


@dataclass(frozen=True, slots=True)
class FetchListed:
    chain: Chain
    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class HandOver:
    chain: Chain
    entries: tuple[bytes, ...]


def write_subscribe(request: Subscribe) -> bytes:
    return pb.SubscribeRequest(
        chain=_chain_to_wire(request.chain), after_round=request.after_round
    ).SerializeToString()


def read_subscribe(data: bytes) -> Subscribe:
    message = _parse(pb.SubscribeRequest, data)
    return Subscribe(_chain(message.chain), Round(message.after_round))


def write_fetch(request: Fetch) -> bytes:
    return pb.FetchRequest(
        chain=_chain_to_wire(request.chain),
        refs=map(_ref_to_wire, request.refs),
        known_round=request.known_round,
    ).SerializeToString()


def read_fetch(data: bytes) -> Fetch:
    message = _parse(pb.FetchRequest, data)
    if not 1 <= len(message.refs) <= FETCH_REFS_MAX:
        raise MalformedMessage(f"refs={len(message.refs)} items: from 1 to {FETCH_REFS_MAX}")
    refs = tuple([_ref(ref, "refs") for ref in message.refs])
    return Fetch(_chain(message.chain), refs, Round(message.known_round))


def write_range(request: FetchRange) -> bytes:
    return pb.FetchRangeRequest(
        chain=_chain_to_wire(request.chain), first_round=request.first, last_round=request.last
    ).SerializeToString()


def read_range(data: bytes) -> FetchRange:
    message = _parse(pb.FetchRangeRequest, data)
    first, last = message.first_round, message.last_round
    if first < 1 or not 0 <= last - first < RANGE_ROUNDS_MAX:
        raise MalformedMessage(
            f"rounds {first} to {last}: want at most {RANGE_ROUNDS_MAX} rounds, from 1 on"
        )
    return FetchRange(_chain(message.chain), Round(first), Round(last))


def write_below(request: FetchBelow) -> bytes:
    return pb.FetchBelowRequest(
        chain=_chain_to_wire(request.chain), after_commit=request.after_commit
    ).SerializeToString()


def read_below(data: bytes) -> FetchBelow:
    message = _parse(pb.FetchBelowRequest, data)
    return FetchBelow(_chain(message.chain), CommitIndex(message.after_commit))


def write_newest(request: GetNewest) -> bytes:
    return pb.GetNewestBlockRequest(
        chain=_chain_to_wire(request.chain), author=request.author
    ).SerializeToString()


def read_newest(data: bytes) -> GetNewest:
    message = _parse(pb.GetNewestBlockRequest, data)
    return GetNewest(_chain(message.chain), _author(message.author, "author"))


def write_cosignatures(request: GetCosignatures) -> bytes:
    return pb.GetCosignaturesRequest(
        chain=_chain_to_wire(request.chain), size=request.size
    ).SerializeToString()


def read_cosignatures(data: bytes) -> GetCosignatures:
    message = _parse(pb.GetCosignaturesRequest, data)
    return GetCosignatures(_chain(message.chain), message.size)


def write_hand_over(request: HandOver) -> bytes:
    return pb.HandOverRequest(
        chain=_chain_to_wire(request.chain), entries=request.entries
    ).SerializeToString()


def read_hand_over(data: bytes) -> HandOver:
    message = _parse(pb.HandOverRequest, data)
    if not 1 <= len(message.entries) <= HANDED_MAX:
        raise MalformedMessage(f"entries={len(message.entries)} items: from 1 to {HANDED_MAX}")
    size = sum(map(len, message.entries))
    if size > HANDED_BYTES_MAX:
        raise MalformedMessage(f"entries={size} bytes: at most {HANDED_BYTES_MAX}")
    return HandOver(_chain(message.chain), tuple(message.entries))


def write_commits(request: FetchCommits) -> bytes:
    return pb.FetchCommitsRequest(
        chain=_chain_to_wire(request.chain), first=request.first, last=request.last
    ).SerializeToString()


def read_commits(data: bytes) -> FetchCommits:
    message = _parse(pb.FetchCommitsRequest, data)
    first, last = message.first, message.last
    if first < 1 or not 0 <= last - first < COMMITS_MAX:
        raise MalformedMessage(
            f"commits {first} to {last}: want at most {COMMITS_MAX} commits, from 1 on"
        )
    return FetchCommits(_chain(message.chain), CommitIndex(first), CommitIndex(last))


def write_listed(request: FetchListed) -> bytes:
    return pb.FetchListedRequest(
        chain=_chain_to_wire(request.chain), refs=map(_ref_to_wire, request.refs)
    ).SerializeToString()


def read_listed(data: bytes) -> FetchListed:
    message = _parse(pb.FetchListedRequest, data)
    if not 1 <= len(message.refs) <= LISTED_REFS_MAX:
        raise MalformedMessage(f"refs={len(message.refs)} items: from 1 to {LISTED_REFS_MAX}")
    refs = tuple([_ref(ref, "refs") for ref in message.refs])
    return FetchListed(_chain(message.chain), refs)


# --- answers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fetched:
    blocks: tuple[bytes, ...]
    floor: Round
    below: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Ranged:
    blocks: tuple[bytes, ...]
    complete_through: Round
    highest_round: Round


@dataclass(frozen=True, slots=True)
class Below:
    floor: Round
    commits: tuple[tuple[CommitIndex, tuple[bytes, ...]], ...]  # ascending by index


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a peer says proves a commit; nothing of it is verified (RULINGS R45)."""

    leaf_index: int
    leaf: bytes
    proof: tuple[bytes, ...]
    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Commits:
    commits: tuple[bytes, ...]
    certificate: Certificate | None


def write_fetched(answer: Fetched) -> bytes:
    return pb.FetchResponse(
        blocks=answer.blocks, floor=answer.floor, below=map(_ref_to_wire, answer.below)
    ).SerializeToString()


def read_fetched(data: bytes) -> Fetched:
    message = _parse(pb.FetchResponse, data)
    if len(message.below) > FETCH_REFS_MAX:
        raise MalformedMessage(f"below={len(message.below)} items: at most {FETCH_REFS_MAX}")
    below = tuple([_ref(ref, "below") for ref in message.below])
    return Fetched(_blocks(message.blocks, "blocks"), Round(message.floor), below)


def write_ranged(answer: Ranged) -> bytes:
    return pb.FetchRangeResponse(
        blocks=answer.blocks,
        complete_through=answer.complete_through,
        highest_round=answer.highest_round,
    ).SerializeToString()


def read_ranged(data: bytes) -> Ranged:
    message = _parse(pb.FetchRangeResponse, data)
    blocks = _blocks(message.blocks, "blocks")
    return Ranged(blocks, Round(message.complete_through), Round(message.highest_round))


def write_below_answer(answer: Below) -> bytes:
    return pb.FetchBelowResponse(
        floor=answer.floor,
        commits=[pb.CommitEvidence(index=index, blocks=blocks) for index, blocks in answer.commits],
    ).SerializeToString()


def read_below_answer(data: bytes) -> Below:
    message = _parse(pb.FetchBelowResponse, data)
    if len(message.commits) > BELOW_COMMITS_MAX:
        raise MalformedMessage(f"commits={len(message.commits)} items: at most {BELOW_COMMITS_MAX}")
    total = sum(len(commit.blocks) for commit in message.commits)
    if total > BLOCKS_MAX:
        raise MalformedMessage(f"commits: {total} blocks in all, at most {BLOCKS_MAX}")
    commits = tuple(
        [
            (CommitIndex(commit.index), _blocks(commit.blocks, "commits.blocks"))
            for commit in message.commits
        ]
    )
    return Below(Round(message.floor), commits)


def write_newest_answer(block: bytes | None) -> bytes:
    return pb.GetNewestBlockResponse(block=b"" if block is None else block).SerializeToString()


def read_newest_answer(data: bytes) -> bytes | None:
    block = _parse(pb.GetNewestBlockResponse, data).block
    if len(block) > BLOCK_BYTES_MAX:
        raise MalformedMessage(f"block={len(block)} bytes: at most {BLOCK_BYTES_MAX}")
    return block or None


def write_commits_answer(answer: Commits) -> bytes:
    made = answer.certificate
    return pb.FetchCommitsResponse(
        commits=answer.commits,
        certificate=None
        if made is None
        else pb.CommitCertificate(
            leaf_index=made.leaf_index, leaf=made.leaf, proof=made.proof, lines=made.lines
        ),
    ).SerializeToString()


def read_commits_answer(data: bytes) -> Commits:
    message = _parse(pb.FetchCommitsResponse, data)
    if len(message.commits) > COMMITS_ANSWERED_MAX:
        raise MalformedMessage(
            f"commits={len(message.commits)} items: at most {COMMITS_ANSWERED_MAX}"
        )
    if message.HasField("certificate") != bool(message.commits):
        raise MalformedMessage(
            f"certificate: want one with commits and none without, {len(message.commits)} commits"
        )
    commits = tuple(message.commits)
    return Commits(commits, _certificate(message.certificate) if commits else None)


def _certificate(wire: pb.CommitCertificate) -> Certificate:
    if not 1 <= len(wire.leaf) <= LEAF_BYTES_MAX:
        raise MalformedMessage(
            f"certificate.leaf={len(wire.leaf)} bytes: from 1 to {LEAF_BYTES_MAX}"
        )
    if len(wire.proof) > PROOF_HASHES_MAX:
        raise MalformedMessage(
            f"certificate.proof={len(wire.proof)} hashes: at most {PROOF_HASHES_MAX}"
        )
    proof = tuple(wire.proof)
    for at, digest in enumerate(proof):
        if len(digest) != DIGEST_BYTES:
            raise MalformedMessage(
                f"certificate.proof[{at}]={len(digest)} bytes: want {DIGEST_BYTES}"
            )
    lines = _lines(wire.lines, "certificate.lines")
    return Certificate(leaf_index=wire.leaf_index, leaf=wire.leaf, proof=proof, lines=lines)


def write_listed_answer(blocks: Iterable[bytes]) -> bytes:
    return pb.FetchListedResponse(blocks=blocks).SerializeToString()


def read_listed_answer(data: bytes) -> tuple[bytes, ...]:
    return _blocks(_parse(pb.FetchListedResponse, data).blocks, "blocks")


def write_taken(taken: int) -> bytes:
    return pb.HandOverResponse(taken=taken).SerializeToString()


def read_taken(data: bytes) -> int:
    return _parse(pb.HandOverResponse, data).taken


def write_lines(lines: Iterable[bytes]) -> bytes:
    return pb.GetCosignaturesResponse(lines=lines).SerializeToString()


def read_lines(data: bytes) -> tuple[bytes, ...]:
    return _lines(_parse(pb.GetCosignaturesResponse, data).lines, "lines")


# --- parts ---------------------------------------------------------------------------------------

M = TypeVar("M", bound=Message)


def _parse(kind: type[M], data: bytes) -> M:
    try:
        return kind.FromString(data)
    except DecodeError as err:
        raise MalformedMessage(f"{kind.DESCRIPTOR.name}: {len(data)} bytes: {err}") from None


def _chain_to_wire(chain: Chain) -> pb.Chain:
    return pb.Chain(chain_id=chain.chain_id, epoch=chain.epoch)


def _chain(wire: pb.Chain) -> Chain:
    if len(wire.chain_id) != DIGEST_BYTES:
        raise MalformedMessage(f"chain.chain_id={len(wire.chain_id)} bytes: want {DIGEST_BYTES}")
    return Chain(wire.chain_id, wire.epoch)


def _ref_to_wire(ref: Ref) -> pb.BlockRef:
    return pb.BlockRef(round=ref.round, author=ref.author, digest=ref.digest)


def _ref(wire: pb.BlockRef, name: str) -> Ref:
    if len(wire.digest) != DIGEST_BYTES:
        raise MalformedMessage(f"{name}.digest={len(wire.digest)} bytes: want {DIGEST_BYTES}")
    return Ref(Round(wire.round), _author(wire.author, f"{name}.author"), Digest(wire.digest))


def _author(index: int, name: str) -> ValidatorIndex:
    if index > AUTHOR_MAX:
        raise MalformedMessage(f"{name}={index}: at most {AUTHOR_MAX}")
    return ValidatorIndex(index)


def _blocks(wire: Sequence[bytes], name: str) -> tuple[bytes, ...]:
    if len(wire) > BLOCKS_MAX:
        raise MalformedMessage(f"{name}={len(wire)} items: at most {BLOCKS_MAX}")
    blocks = tuple(wire)
    for at, block in enumerate(blocks):
        if len(block) > BLOCK_BYTES_MAX:
            raise MalformedMessage(f"{name}[{at}]={len(block)} bytes: at most {BLOCK_BYTES_MAX}")
    return blocks


def _lines(wire: Sequence[bytes], name: str) -> tuple[bytes, ...]:
    if len(wire) > LINES_MAX:
        raise MalformedMessage(f"{name}={len(wire)} items: at most {LINES_MAX}")
    lines = tuple(wire)
    for at, line in enumerate(lines):
        if len(line) > LINE_BYTES_MAX:
            raise MalformedMessage(f"{name}[{at}]={len(line)} bytes: at most {LINE_BYTES_MAX}")
    return lines

"""Bytes and values, one spelling each (SPEC 2 and 3; RULINGS R7, R8, R9, R21, R36).

All integers are big-endian and of fixed width; a list is a u16 count and its items. Nothing in a block is optional, so a
value has one spelling by construction, and the decoder needs only to refuse what is out of range, left over or missing.

    header   chain_id 32 | epoch u32 | round u32 | author u16 | time_ms u64 | flags u8
             | u16 n, n x (round u32, author u16, digest 32)                   parents
             | payload_root 32 | payload_len u32
             | u16 n, n x (index u64, digest 32)                               commit votes
             | u16 n, n x (epoch u32, round u32, author u16, digest 32, signature 64, digest 32, signature 64)   evidence
    block    header | u32 n, n x (u32 length, bytes) | signature 64
    record   epoch u32 | index u64 | prev_digest 32 | leader ref | u32 n, n x ref | time_ms u64 | committee_hash 32
             | u16 n, n x ref                                                  deciders
             | u16 n, n x author u16                                           closed_by; nothing at all if it is empty

The digest covers the header alone: a signature made again over the same header names the same block (SPEC 2), and a header
can be proven without its payload. What a valid block must also obey, with the committee known, is `validity`.
"""

import functools
import hashlib
import itertools
import struct
from collections.abc import Callable, Sequence
from typing import Final

from consensus.events import Propose
from consensus.types import (
    COMMIT_VOTES_MAX,
    EVIDENCE_MAX,
    FLAGS_KNOWN,
    HEADER_BYTES_FIXED,
    PAYLOAD_BYTES_MAX,
    SIGNATURE_BYTES,
    TRANSACTION_BYTES_MAX,
    TRANSACTIONS_MAX,
    Block,
    Commit,
    CommitIndex,
    CommitRecord,
    CommitVote,
    Digest,
    EquivocationProof,
    Header,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)


class MalformedBlock(ValueError):
    """Bytes that are no block, or no commit record: names field and value."""


_FIXED: Final = struct.Struct(">32sIIHQB")
_REF: Final = struct.Struct(">IH32s")
_PAYLOAD: Final = struct.Struct(">32sI")
_VOTE: Final = struct.Struct(">Q32s")
_PROOF: Final = struct.Struct(">IIH32s64s32s64s")
_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")
_RECORD_HEAD: Final = struct.Struct(">IQ32sIH32sI")
_RECORD_TAIL: Final = struct.Struct(">Q32sH")
# A Ref of the tuple that struct built, without a call into Python for each of up to n parents, of n blocks a round.
_ref: Final[Callable[[tuple[int, int, bytes]], Ref]] = functools.partial(tuple.__new__, Ref)

PARENTS_MAX: Final = (
    0xFFFF  # the width of the count; the committee's size is the real bound (validity)
)
BLOCK_BYTES_MAX: Final = (
    # header cap at the 1,024 members a genesis may list, payload with its length prefixes, signature
    80 * 1024 + HEADER_BYTES_FIXED + PAYLOAD_BYTES_MAX + 4 * TRANSACTIONS_MAX + 4 + SIGNATURE_BYTES
)


# --- hashes --------------------------------------------------------------------------------------


def labelled_hash(label: str, message: bytes) -> Digest:
    """H(label, m) = SHA-256(u8 len(label) || label || m) (RULINGS R7)."""
    name = label.encode("ascii")
    return Digest(hashlib.sha256(bytes((len(name),)) + name + message).digest())


def header_digest(header: bytes) -> Digest:
    """A block's digest, from the canonical bytes of its header."""
    return labelled_hash("block/1", header)


def block_signing_bytes(chain_id: Digest, epoch: int, ref: Ref) -> bytes:
    """The 32 bytes a block key signs (RULINGS R7): chain and epoch are inside, so no block passes on another ledger."""
    place = struct.pack(">IIH", epoch, ref.round, ref.author)
    return labelled_hash("sign/block/1", chain_id + place + ref.digest)


def proof_signing_bytes(chain_id: Digest, proof: EquivocationProof) -> tuple[bytes, bytes]:
    """What the accused author's block key signed, by `signature1` and by `signature2`, if the proof is good."""
    return (
        block_signing_bytes(chain_id, proof.epoch, Ref(proof.round, proof.author, proof.digest1)),
        block_signing_bytes(chain_id, proof.epoch, Ref(proof.round, proof.author, proof.digest2)),
    )


def payload_root(transactions: Sequence[bytes]) -> Digest:
    """RFC 6962 root (section 2.1) over the transactions; of none, SHA-256 of the empty string."""
    sha256 = hashlib.sha256
    level = [sha256(b"\0" + transaction).digest() for transaction in transactions]
    if not level:
        return Digest(sha256(b"").digest())
    # Pairs from the left, an odd last one moves up unchanged: the same tree as RFC 6962's split at the
    # largest power of two, without recursion.
    while len(level) > 1:
        above = [
            sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)
        ]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return Digest(level[0])


def genesis_ref(
    *,
    chain_id: Digest,
    epoch: int,
    author: ValidatorIndex,
    previous_commit: Digest,
    committee_hash: Digest,
) -> Ref:
    """The implicit round-0 block of one member (RULINGS R9). It has no bytes and is never output."""
    place = struct.pack(">IH", epoch, author)
    digest = labelled_hash("genesis/1", chain_id + place + previous_commit + committee_hash)
    return Ref(Round(0), author, digest)


def commit_digest(
    *,
    epoch: int,
    index: CommitIndex,
    prev_digest: Digest,
    leader: Ref,
    blocks: Sequence[Ref],
    time_ms: Millis,
    committee_hash: Digest,
) -> Digest:
    """H("commit/1", fields in this order) (RULINGS R21). Chains all earlier commits through `prev_digest`.

    `blocks` has a u32 count: a commit may bring GC_DEPTH rounds of a thousand members.
    """
    head = _RECORD_HEAD.pack(epoch, index, prev_digest, *leader, len(blocks))
    refs = b"".join([_REF.pack(*ref) for ref in blocks])
    return labelled_hash("commit/1", head + refs + _U64.pack(time_ms) + committee_hash)


# --- writing -------------------------------------------------------------------------------------


def encode_header(header: Header) -> bytes:
    parts = [
        _FIXED.pack(
            header.chain_id,
            header.epoch,
            header.round,
            header.author,
            header.time_ms,
            header.flags,
        ),
        _U16.pack(len(header.parents)),
        *[_REF.pack(*parent) for parent in header.parents],
        _PAYLOAD.pack(header.payload_root, header.payload_len),
        _U16.pack(len(header.commit_votes)),
        *[_VOTE.pack(vote.index, vote.digest) for vote in header.commit_votes],
        _U16.pack(len(header.evidence)),
        *map(encode_proof, header.evidence),
    ]
    return b"".join(parts)


def encode_proof(proof: EquivocationProof) -> bytes:
    """202 bytes: as in a header, and as kept beside the blocks."""
    return _PROOF.pack(
        proof.epoch,
        proof.round,
        proof.author,
        proof.digest1,
        proof.signature1,
        proof.digest2,
        proof.signature2,
    )


def encode_block(block: Block) -> bytes:
    """The bytes that travel, are stored, and are kept in the sign state."""
    parts = [encode_header(block.header), _U32.pack(len(block.payload))]
    for transaction in block.payload:
        parts.append(_U32.pack(len(transaction)))
        parts.append(transaction)
    parts.append(block.signature)
    return b"".join(parts)


def assemble_block(header: Header, payload: tuple[bytes, ...], signature: bytes) -> Block:
    """Our own new block: `header` must commit to `payload` (`make_header` sees to it)."""
    ref = Ref(header.round, header.author, header_digest(encode_header(header)))
    return Block(header=header, payload=payload, signature=signature, ref=ref)


def make_header(
    *,
    chain_id: Digest,
    epoch: int,
    author: ValidatorIndex,
    wanted: Propose,
    payload: Sequence[bytes],
) -> Header:
    """The header that answers `wanted`, over this payload. Hash it (`header_digest`), sign it, `assemble_block`."""
    return Header(
        chain_id=chain_id,
        epoch=epoch,
        round=wanted.round,
        author=author,
        time_ms=wanted.time_ms,
        flags=wanted.flags,
        parents=wanted.parents,
        payload_root=payload_root(payload),
        payload_len=sum(map(len, payload)),
        commit_votes=wanted.commit_votes,
        evidence=wanted.evidence,
    )


def encode_commit_record(record: CommitRecord) -> bytes:
    commit = record.commit
    head = _RECORD_HEAD.pack(
        commit.epoch, commit.index, commit.prev_digest, *commit.leader, len(commit.blocks)
    )
    tail = _RECORD_TAIL.pack(commit.time_ms, commit.committee_hash, len(record.deciders))
    refs = [_REF.pack(*ref) for ref in commit.blocks]
    deciders = [_REF.pack(*ref) for ref in record.deciders]
    closed_by = record.closed_by
    end = struct.pack(f">H{len(closed_by)}H", len(closed_by), *closed_by) if closed_by else b""
    return b"".join([head, *refs, tail, *deciders, end])


# --- reading -------------------------------------------------------------------------------------


def decode_block(data: bytes) -> Block:
    """A well-formed block whose payload is the one its header commits to.

    Raises:
        MalformedBlock: any other bytes. The sender is to blame, not yet the author: nothing is verified.
    """
    header, end = _read_header(data)
    payload, at = _read_payload(data, end)
    signature = data[at:]
    if len(signature) != SIGNATURE_BYTES:
        raise MalformedBlock(f"signature={len(signature)} bytes to the end: {SIGNATURE_BYTES}")
    size = sum(map(len, payload))
    if size != header.payload_len:
        raise MalformedBlock(f"payload_len={header.payload_len}: the payload has {size} bytes")
    if payload_root(payload) != header.payload_root:
        raise MalformedBlock(f"payload_root={header.payload_root.hex()}: not of this payload")
    ref = Ref(header.round, header.author, header_digest(data[:end]))
    return Block(header=header, payload=payload, signature=signature, ref=ref)


def peek_ref(data: bytes) -> Ref:
    """The block's name from its header's bytes: tells a copy already held from a new block, before anything is parsed.

    Only lengths are looked at: that the header is well-formed is known of a name already held, of no other.

    Raises:
        MalformedBlock: cut short.
    """
    try:
        _, _, round_, author, _, _ = _FIXED.unpack_from(data)
        end = _FIXED.size
        for item, fixed in ((_REF, 0), (_VOTE, _PAYLOAD.size), (_PROOF, 0)):
            end += fixed
            (count,) = _U16.unpack_from(data, end)
            end += _U16.size + count * item.size
    except struct.error:
        raise MalformedBlock(f"header: cut short at {len(data)} bytes") from None
    if end > len(data):
        raise MalformedBlock(f"header: needs {end} bytes, cut short at {len(data)}")
    return Ref(Round(round_), ValidatorIndex(author), header_digest(data[:end]))


def read_header(block: bytes) -> Header:
    """The header of a block's bytes, without a look at the payload. Raises MalformedBlock if the header is malformed."""
    header, _ = _read_header(block)
    return header


def decode_header(data: bytes) -> Header:
    """Raises MalformedBlock, also for trailing bytes."""
    header, end = _read_header(data)
    if end != len(data):
        raise MalformedBlock(f"header: {len(data) - end} bytes left over")
    return header


def _read_header(data: bytes) -> tuple[Header, int]:
    try:
        return _unpack_header(data)
    except struct.error:
        raise MalformedBlock(f"header: cut short at {len(data)} bytes") from None


def _unpack_header(data: bytes) -> tuple[Header, int]:
    chain_id, epoch, round_, author, time_ms, flags = _FIXED.unpack_from(data)
    if flags & ~FLAGS_KNOWN:
        raise MalformedBlock(f"flags={flags:#04x}: unknown bits, known are {FLAGS_KNOWN:#04x}")
    at = _FIXED.size
    (count,) = _U16.unpack_from(data, at)
    at += _U16.size
    end = at + count * _REF.size
    parents = _refs(_exactly(data, at, end, "parents"))
    root, payload_len = _PAYLOAD.unpack_from(data, end)
    at = end + _PAYLOAD.size
    count = _count(data, at, COMMIT_VOTES_MAX, "commit_votes")
    at += _U16.size
    end = at + count * _VOTE.size
    votes = tuple(
        [
            CommitVote(index=CommitIndex(index), digest=Digest(digest))
            for index, digest in _VOTE.iter_unpack(_exactly(data, at, end, "commit_votes"))
        ]
    )
    count = _count(data, end, EVIDENCE_MAX, "evidence")
    at = end + _U16.size
    end = at + count * _PROOF.size
    evidence = tuple(map(_proof, _PROOF.iter_unpack(_exactly(data, at, end, "evidence"))))
    header = Header(
        chain_id=Digest(chain_id),
        epoch=epoch,
        round=Round(round_),
        author=ValidatorIndex(author),
        time_ms=Millis(time_ms),
        flags=flags,
        parents=parents,
        payload_root=Digest(root),
        payload_len=payload_len,
        commit_votes=votes,
        evidence=evidence,
    )
    return header, end


def _refs(data: bytes) -> tuple[Ref, ...]:
    return tuple(map(_ref, _REF.iter_unpack(data)))


def _count(data: bytes, at: int, most: int, name: str) -> int:
    (count,) = _U16.unpack_from(data, at)
    if count > most:
        raise MalformedBlock(f"{name}={count} items: at most {most}")
    return int(count)


def _exactly(data: bytes, start: int, end: int, name: str) -> bytes:
    if end > len(data):
        raise MalformedBlock(f"{name}: needs {end - start} bytes, {len(data) - start} are left")
    return data[start:end]


def _proof(fields: tuple[int, int, int, bytes, bytes, bytes, bytes]) -> EquivocationProof:
    epoch, round_, author, digest1, signature1, digest2, signature2 = fields
    if digest1 >= digest2:
        raise MalformedBlock(
            f"evidence.digest1={digest1.hex()}: must be below digest2={digest2.hex()}"
        )
    return EquivocationProof(
        epoch=epoch,
        round=Round(round_),
        author=ValidatorIndex(author),
        digest1=Digest(digest1),
        signature1=signature1,
        digest2=Digest(digest2),
        signature2=signature2,
    )


def decode_proof(data: bytes) -> EquivocationProof:
    """What `encode_proof` wrote; its signatures are not verified. Raises MalformedBlock."""
    if len(data) != _PROOF.size:
        raise MalformedBlock(f"proof={len(data)} bytes: {_PROOF.size}")
    return _proof(_PROOF.unpack(data))


def _read_payload(data: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    if at + 4 > len(data):
        raise MalformedBlock(f"payload: cut short at {len(data)} bytes")
    from_bytes = int.from_bytes
    count = from_bytes(data[at : at + 4], "big")
    if count > TRANSACTIONS_MAX:
        raise MalformedBlock(f"payload={count} transactions: at most {TRANSACTIONS_MAX}")
    at += 4
    end_of_data = len(data)
    payload: list[bytes] = []
    for index in range(count):
        start = at + 4
        length = from_bytes(data[at:start], "big")
        at = start + length
        # A prefix cut short reads as a smaller number, but then `start` is already past the end.
        if at > end_of_data or start > end_of_data:
            raise MalformedBlock(f"payload[{index}]: {length} bytes, {end_of_data - start} left")
        if not 1 <= length <= TRANSACTION_BYTES_MAX:
            raise MalformedBlock(
                f"payload[{index}]={length} bytes: from 1 to {TRANSACTION_BYTES_MAX}"
            )
        payload.append(data[start:at])
    return tuple(payload), at


def decode_commit_record(data: bytes) -> CommitRecord:
    """What `encode_commit_record` wrote. Raises MalformedBlock: our own store is damaged."""
    try:
        epoch, index, prev, leader_round, leader_author, leader_digest, count = (
            _RECORD_HEAD.unpack_from(data)
        )
        end = _RECORD_HEAD.size + count * _REF.size
        blocks = _refs(_exactly(data, _RECORD_HEAD.size, end, "blocks"))
        time_ms, committee_hash, count = _RECORD_TAIL.unpack_from(data, end)
    except struct.error:
        raise MalformedBlock(f"commit record: cut short at {len(data)} bytes") from None
    at = end + _RECORD_TAIL.size
    end = at + count * _REF.size
    deciders = _refs(_exactly(data, at, end, "deciders"))
    closed_by = _closed_by(data, end)
    leader = Ref(Round(leader_round), ValidatorIndex(leader_author), Digest(leader_digest))
    digest = commit_digest(
        epoch=epoch,
        index=CommitIndex(index),
        prev_digest=Digest(prev),
        leader=leader,
        blocks=blocks,
        time_ms=Millis(time_ms),
        committee_hash=Digest(committee_hash),
    )
    commit = Commit(
        epoch=epoch,
        index=CommitIndex(index),
        prev_digest=Digest(prev),
        leader=leader,
        blocks=blocks,
        time_ms=Millis(time_ms),
        committee_hash=Digest(committee_hash),
        digest=digest,
    )
    return CommitRecord(commit=commit, deciders=deciders, closed_by=closed_by)


def _closed_by(data: bytes, at: int) -> tuple[ValidatorIndex, ...]:
    """The end of a commit record. Raises MalformedBlock."""
    left = len(data) - at
    if not left:
        return ()
    count = int.from_bytes(data[at : at + 2], "big")
    if left < 2 or not count or left != 2 + 2 * count:
        raise MalformedBlock(f"commit record: {left} bytes left over")
    authors = struct.unpack_from(f">{count}H", data, at + 2)
    if any(one >= other for one, other in itertools.pairwise(authors)):
        raise MalformedBlock(f"commit record: closed_by={authors}: must ascend")
    return tuple(map(ValidatorIndex, authors))

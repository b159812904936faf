"""One spelling for every block and commit record (SPEC 2 and 3; RULINGS R7, R8, R12, R21, R36).

The golden bytes are put together by hand below, from the rulings and not from the codec: a changed label, width, order or
domain shows here even where encoder and decoder still agree with each other.
"""

import struct
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest

from consensus.codec import (
    BLOCK_BYTES_MAX,
    MalformedBlock,
    block_signing_bytes,
    commit_digest,
    decode_block,
    decode_commit_record,
    decode_header,
    encode_block,
    encode_commit_record,
    encode_header,
    header_digest,
    labelled_hash,
    make_header,
    payload_root,
    peek_ref,
)
from consensus.events import Propose
from consensus.types import (
    COMMIT_VOTES_MAX,
    EVIDENCE_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTIONS_MAX,
    Block,
    Commit,
    CommitIndex,
    CommitRecord,
    Digest,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)
from tests.unit.consensus.blocks import (
    CHAIN,
    MEMBERS,
    SIGNATURE,
    block,
    commit_vote,
    committee_of,
    proof,
    ref,
)

COMMITTEE = committee_of(4, epoch=7)
PAYLOAD = (b"first transaction", b"2nd", b"the third")
FULL = block(
    COMMITTEE,
    2,
    9,
    (ref(8, 2, "own"), ref(8, 0, "a"), ref(7, 1, "b"), ref(8, 3, "c")),
    payload=PAYLOAD,
    time_ms=1_700_000_123_456,
    commit_votes=(commit_vote(4), commit_vote(6)),
    evidence=(proof(1, 3), proof(3, 5)),
)
BARE = block(COMMITTEE, 0, 1, COMMITTEE.genesis)

# Where the fields of FULL's header begin.
FLAGS_AT = 32 + 4 + 4 + 2 + 8
PARENTS_AT = FLAGS_AT + 1
ROOT_AT = PARENTS_AT + 2 + 4 * 38
LEN_AT = ROOT_AT + 32
VOTES_AT = LEN_AT + 4
EVIDENCE_AT = VOTES_AT + 2 + 2 * 40
PROOF_BYTES = 4 + 4 + 2 + 2 * (32 + 64)
PAYLOAD_AT = EVIDENCE_AT + 2 + 2 * PROOF_BYTES


def golden_header() -> bytes:
    """FULL's header, field by field as R8 and SPEC 2 say."""

    def name(round_: int, author: int, text: str) -> bytes:
        return (
            round_.to_bytes(4, "big") + author.to_bytes(2, "big") + sha256(text.encode()).digest()
        )

    low, high = sorted((sha256(b"one").digest(), sha256(b"other").digest()))

    def double(round_: int, author: int) -> bytes:
        place = (0).to_bytes(4, "big") + round_.to_bytes(4, "big") + author.to_bytes(2, "big")
        return place + low + b"\x01" * 64 + high + b"\x02" * 64

    leaves = [sha256(b"\x00" + transaction).digest() for transaction in PAYLOAD]
    left = sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    root = sha256(b"\x01" + left + leaves[2]).digest()
    return b"".join(
        (
            sha256(b"a ledger for tests").digest(),
            bytes.fromhex("00000007"),  # epoch
            bytes.fromhex("00000009"),  # round
            bytes.fromhex("0002"),  # author
            bytes.fromhex("0000018bcfe74a40"),  # 1,700,000,123,456 ms
            bytes.fromhex("00"),  # flags
            bytes.fromhex("0004"),
            name(8, 2, "own"),
            name(8, 0, "a"),
            name(7, 1, "b"),
            name(8, 3, "c"),
            root,
            bytes.fromhex("0000001d"),  # 17 + 3 + 9 bytes
            bytes.fromhex("0002"),
            bytes.fromhex("0000000000000004") + sha256(b"commit 4").digest(),
            bytes.fromhex("0000000000000006") + sha256(b"commit 6").digest(),
            bytes.fromhex("0002"),
            double(3, 1),
            double(5, 3),
        )
    )


def golden_block() -> bytes:
    payload = b"".join(
        (
            bytes.fromhex("00000003"),
            bytes.fromhex("00000011") + b"first transaction",
            bytes.fromhex("00000003") + b"2nd",
            bytes.fromhex("00000009") + b"the third",
        )
    )
    return golden_header() + payload + bytes(range(64))


def test_the_bytes_of_a_block() -> None:
    assert encode_header(FULL.header) == golden_header()
    assert encode_block(FULL) == golden_block()


def test_the_digest_of_a_block() -> None:
    """R7: H(label, m) = SHA-256(u8 len(label) || label || m), over the header without the signature."""
    digest = sha256(b"\x07block/1" + golden_header()).digest()
    assert FULL.ref == (9, 2, digest)
    assert header_digest(golden_header()) == digest


def test_what_a_block_key_signs() -> None:
    digest = sha256(b"\x07block/1" + golden_header()).digest()
    place = bytes.fromhex("00000007" + "00000009" + "0002")
    message = sha256(b"a ledger for tests").digest() + place + digest
    expected = sha256(b"\x0csign/block/1" + message).digest()
    assert block_signing_bytes(CHAIN, 7, FULL.ref) == expected


def test_another_signature_is_the_same_block() -> None:
    """SPEC 2: else whoever signs a header again would seem to equivocate."""
    again = decode_block(golden_block()[:-64] + bytes(64))
    assert again.ref == FULL.ref
    assert again.signature != FULL.signature


@pytest.mark.parametrize("one", [FULL, BARE], ids=["full", "bare"])
def test_round_trip(one: Block) -> None:
    data = encode_block(one)
    back = decode_block(data)
    assert back == one
    assert encode_block(back) == data
    assert peek_ref(data) == one.ref
    assert decode_header(encode_header(one.header)) == one.header


def test_make_header_commits_to_the_payload() -> None:
    wanted = Propose(
        round=Round(9),
        parents=FULL.header.parents,
        time_ms=FULL.header.time_ms,
        flags=0,
        commit_votes=FULL.header.commit_votes,
        evidence=FULL.header.evidence,
    )
    made = make_header(
        chain_id=CHAIN, epoch=7, author=ValidatorIndex(2), wanted=wanted, payload=PAYLOAD
    )
    assert made == FULL.header


# --- every other spelling is refused -------------------------------------------------------------


def test_every_truncation_is_refused() -> None:
    data = golden_block()
    for length in range(len(data)):
        with pytest.raises(MalformedBlock):
            decode_block(data[:length])
    for length in range(PAYLOAD_AT):
        with pytest.raises(MalformedBlock):
            decode_header(data[:length])
        with pytest.raises(MalformedBlock):
            peek_ref(data[:length])


@pytest.mark.parametrize("tail", [b"\x00", bytes(64), golden_block()])
def test_trailing_bytes_are_refused(tail: bytes) -> None:
    with pytest.raises(MalformedBlock, match="signature="):
        decode_block(golden_block() + tail)
    with pytest.raises(MalformedBlock, match="left over"):
        decode_header(golden_header() + tail)


@pytest.mark.parametrize("bit", range(1, 8))
def test_unknown_flag_bits_are_refused(bit: int) -> None:
    with pytest.raises(MalformedBlock, match="flags=0x"):
        decode_block(patched(FLAGS_AT, bytes((1 << bit,))))


def test_the_known_flag_is_read() -> None:
    assert decode_block(patched(FLAGS_AT, b"\x01")).header.flags == 1


def patched(at: int, new: bytes) -> bytes:
    data = golden_block()
    return data[:at] + new + data[at + len(new) :]


COUNTS: list[tuple[str, int, bytes]] = [
    ("parents", PARENTS_AT, b"\xff\xff"),
    ("parents", PARENTS_AT, b"\x00\x05"),
    ("parents", PARENTS_AT, b"\x00\x03"),
    ("commit_votes", VOTES_AT, (COMMIT_VOTES_MAX + 1).to_bytes(2, "big")),
    ("commit_votes", VOTES_AT, b"\x00\x01"),
    ("commit_votes", VOTES_AT, b"\x00\x03"),
    ("evidence", EVIDENCE_AT, (EVIDENCE_MAX + 1).to_bytes(2, "big")),
    ("evidence", EVIDENCE_AT, b"\xff\xff"),
    ("evidence", EVIDENCE_AT, b"\x00\x01"),
    ("payload", PAYLOAD_AT, (TRANSACTIONS_MAX + 1).to_bytes(4, "big")),
    ("payload", PAYLOAD_AT, b"\xff\xff\xff\xff"),
    ("payload", PAYLOAD_AT, b"\x00\x00\x00\x02"),
    ("payload", PAYLOAD_AT, b"\x00\x00\x00\x04"),
    ("length", PAYLOAD_AT + 4, b"\x00\x00\x00\x12"),
    ("length", PAYLOAD_AT + 4, b"\x00\x00\x00\x10"),
    ("length", PAYLOAD_AT + 4, b"\xff\xff\xff\xff"),
]


@pytest.mark.parametrize(("name", "at", "new"), COUNTS)
def test_a_count_or_length_that_is_not_so_is_refused(name: str, at: int, new: bytes) -> None:
    assert golden_block()[at : at + len(new)] != new, name
    with pytest.raises(MalformedBlock):
        decode_block(patched(at, new))


def test_lists_at_their_caps_are_read() -> None:
    votes = tuple(commit_vote(index) for index in range(1, COMMIT_VOTES_MAX + 1))
    full = block(COMMITTEE, 2, 9, FULL.header.parents, commit_votes=votes)
    assert decode_block(encode_block(full)) == full
    many = block(COMMITTEE, 2, 9, FULL.header.parents, payload=(b"x",) * TRANSACTIONS_MAX)
    assert decode_block(encode_block(many)) == many
    long = block(COMMITTEE, 2, 9, FULL.header.parents, payload=(bytes(TRANSACTION_BYTES_MAX),))
    assert decode_block(encode_block(long)) == long


OVER: list[tuple[str, Callable[[], Block]]] = [
    (
        "commit_votes=9 items",
        lambda: block(
            COMMITTEE,
            2,
            9,
            FULL.header.parents,
            commit_votes=tuple(map(commit_vote, range(1, COMMIT_VOTES_MAX + 2))),
        ),
    ),
    (
        "evidence=3 items",
        lambda: block(
            COMMITTEE, 2, 9, FULL.header.parents, evidence=(proof(),) * (EVIDENCE_MAX + 1)
        ),
    ),
    (
        "payload=2049 transactions",
        lambda: block(
            COMMITTEE, 2, 9, FULL.header.parents, payload=(b"x",) * (TRANSACTIONS_MAX + 1)
        ),
    ),
    (
        r"payload\[1\]=65536 bytes",
        lambda: block(
            COMMITTEE,
            2,
            9,
            FULL.header.parents,
            payload=(b"x", bytes(TRANSACTION_BYTES_MAX + 1)),
        ),
    ),
    (
        r"payload\[1\]=0 bytes",
        lambda: block(COMMITTEE, 2, 9, FULL.header.parents, payload=(b"x", b"")),
    ),
]


@pytest.mark.parametrize(("why", "build"), OVER, ids=[why for why, _ in OVER])
def test_over_a_cap_is_refused_though_consistent(why: str, build: Callable[[], Block]) -> None:
    with pytest.raises(MalformedBlock, match=why):
        decode_block(encode_block(build()))


def test_evidence_with_digests_the_other_way_round_is_refused() -> None:
    data = golden_block()
    at = EVIDENCE_AT + 2 + 10
    first, second = data[at : at + 96], data[at + 96 : at + 192]
    assert first[:32] < second[:32]
    with pytest.raises(MalformedBlock, match="digest1="):
        decode_block(patched(at, second + first))


def test_evidence_of_one_digest_is_refused() -> None:
    at = EVIDENCE_AT + 2 + 10
    with pytest.raises(MalformedBlock, match="digest1="):
        decode_block(patched(at + 96, golden_block()[at : at + 32]))


def test_another_payload_is_refused() -> None:
    with pytest.raises(MalformedBlock, match="payload_root="):
        decode_block(patched(PAYLOAD_AT + 8, b"F"))


def test_another_payload_length_is_refused() -> None:
    with pytest.raises(MalformedBlock, match="payload_len=30: the payload has 29"):
        decode_block(patched(LEN_AT, b"\x00\x00\x00\x1e"))


def test_another_payload_root_is_refused() -> None:
    with pytest.raises(MalformedBlock, match="payload_root="):
        decode_block(patched(ROOT_AT, b"\x00"))


def test_the_same_bytes_cut_elsewhere_are_another_payload() -> None:
    """The root is over transactions, not over their concatenation."""
    whole = block(COMMITTEE, 2, 9, FULL.header.parents, payload=(b"ab", b"c"))
    other = replace(whole, payload=(b"a", b"bc"))
    with pytest.raises(MalformedBlock, match="payload_root="):
        decode_block(encode_block(other))


def test_every_changed_byte_is_refused_or_another_block() -> None:
    data = golden_block()
    for at in range(len(data) - 64):
        changed = bytes((data[at] ^ 0x01,))
        try:
            other = decode_block(patched(at, changed))
        except MalformedBlock:
            continue
        assert other.ref != FULL.ref, at
        assert encode_block(other) == patched(at, changed), at


def test_a_block_at_every_cap_fits_the_byte_limit() -> None:
    payload = (bytes(TRANSACTION_BYTES_MAX),) * 4 + (b"1234",)  # 256 KiB exactly
    assert sum(map(len, payload)) == 256 * 1024
    widest = block(
        COMMITTEE,
        2,
        9,
        tuple(ref(8, author) for author in range(1024)),
        payload=payload,
        commit_votes=tuple(map(commit_vote, range(1, COMMIT_VOTES_MAX + 1))),
        evidence=(proof(),) * EVIDENCE_MAX,
    )
    assert len(encode_block(widest)) <= BLOCK_BYTES_MAX


# --- roots ---------------------------------------------------------------------------------------


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word: split at the largest power of two below n."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(
        b"\x01" + recursive_root(leaves[:split]) + recursive_root(leaves[split:])
    ).digest()


def test_the_payload_root_is_rfc_6962s() -> None:
    for count in range(70):
        leaves = [b"%d" % i for i in range(count)]
        assert payload_root(leaves) == recursive_root(leaves), count


def test_labels_cannot_run_into_messages() -> None:
    assert labelled_hash("ab", b"c") != labelled_hash("a", b"bc")
    assert labelled_hash("ab", b"c") == sha256(b"\x02abc").digest()


# --- commits -------------------------------------------------------------------------------------

LEADER = ref(8, 0, "a")
BROUGHT = (ref(7, 1, "b"), ref(7, 3, "d"), LEADER)
DECIDERS = (ref(10, 0, "x"), ref(10, 1, "y"), ref(10, 2, "z"))


def golden_commit() -> bytes:
    def name(one: Ref) -> bytes:
        return one.round.to_bytes(4, "big") + one.author.to_bytes(2, "big") + one.digest

    return b"".join(
        (
            bytes.fromhex("00000007"),
            bytes.fromhex("0000000000000005"),
            sha256(b"commit 4").digest(),
            name(LEADER),
            bytes.fromhex("00000003"),
            *map(name, BROUGHT),
            bytes.fromhex("0000018bcfe74a40"),
            sha256(b"its members").digest(),
        )
    )


def golden_record() -> bytes:
    names = b"".join(struct.pack(">IH32s", *one) for one in DECIDERS)
    return golden_commit() + bytes.fromhex("0003") + names


def record() -> CommitRecord:
    return CommitRecord(
        commit=Commit(
            epoch=7,
            index=CommitIndex(5),
            prev_digest=Digest(sha256(b"commit 4").digest()),
            leader=LEADER,
            blocks=BROUGHT,
            time_ms=Millis(1_700_000_123_456),
            committee_hash=MEMBERS,
            digest=Digest(sha256(b"\x08commit/1" + golden_commit()).digest()),
        ),
        deciders=DECIDERS,
    )


def test_the_digest_of_a_commit() -> None:
    """R21: over these fields in this order; neither log root nor deciders are in it."""
    commit = record().commit
    assert (
        commit_digest(
            epoch=commit.epoch,
            index=commit.index,
            prev_digest=commit.prev_digest,
            leader=commit.leader,
            blocks=commit.blocks,
            time_ms=commit.time_ms,
            committee_hash=commit.committee_hash,
        )
        == commit.digest
    )


def test_the_bytes_of_a_commit_record() -> None:
    assert encode_commit_record(record()) == golden_record()
    assert decode_commit_record(golden_record()) == record()


def test_a_commit_record_without_blocks_or_deciders() -> None:
    # The leader is always among the blocks; the codec leaves that to the linearizer.
    bare = golden_commit()[:82] + bytes(4) + golden_commit()[-40:] + bytes(2)
    decoded = decode_commit_record(bare)
    assert (decoded.commit.blocks, decoded.deciders) == ((), ())
    assert encode_commit_record(decoded) == bare


def test_every_truncation_of_a_commit_record_is_refused() -> None:
    data = golden_record()
    for length in range(len(data)):
        with pytest.raises(MalformedBlock):
            decode_commit_record(data[:length])
    with pytest.raises(MalformedBlock, match="left over"):
        decode_commit_record(data + b"\x00")


def test_every_changed_byte_of_a_commit_is_another_commit() -> None:
    data = golden_record()
    for at in range(len(golden_commit())):
        changed = data[:at] + bytes((data[at] ^ 0x01,)) + data[at + 1 :]
        try:
            other = decode_commit_record(changed)
        except MalformedBlock:
            continue
        assert other.commit.digest != record().commit.digest, at
        assert encode_commit_record(other) == changed


def test_a_signature_is_kept_as_it_came() -> None:
    assert decode_block(golden_block()).signature == SIGNATURE

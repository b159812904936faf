"""The values of the protocol: blocks, commits, their bounds, and what a core starts from. Events and effects: `events`."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple, NewType

Round = NewType("Round", int)
ValidatorIndex = NewType("ValidatorIndex", int)
Digest = NewType("Digest", bytes)
Millis = NewType("Millis", int)
CommitIndex = NewType("CommitIndex", int)

DIGEST_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
ZERO_DIGEST: Final = Digest(bytes(DIGEST_BYTES))
GENESIS_ROUND: Final = Round(0)

# Protocol constants (SPEC 3.6 and 19, RULINGS R12, R36): a change of one is another protocol version.
WAVE_LENGTH: Final = 3
GC_DEPTH: Final = (
    128  # rounds; at 4 rounds a second a late block has half a minute to be referenced
)
PAYLOAD_BYTES_MAX: Final = 256 * 1024  # sum of the transactions' bytes
TRANSACTION_BYTES_MAX: Final = 65_535  # one tlog entry (R12)
TRANSACTIONS_MAX: Final = 2_048
COMMIT_VOTES_MAX: Final = 8
EVIDENCE_MAX: Final = 2
HEADER_BYTES_PER_MEMBER: Final = 80
HEADER_BYTES_FIXED: Final = 4_096

# Bounds between peers (RULINGS R31, R73; SPEC 4; PACEMAKER P6).
LAZY_TIMEOUT_DELTAS_MIN: Final = 6  # P6: without history in every push

FETCH_REFS_MAX: Final = 64
FETCH_LEVELS_MAX: Final = 64
RANGE_ROUNDS_MAX: Final = 50
BELOW_COMMITS_MAX: Final = 64
COMMITS_MAX: Final = 50  # asked for at once (SPEC 11)
COMMITS_ANSWERED_MAX: Final = 1_024  # an answer may go on to the first commit that can be certified
LISTED_REFS_MAX: Final = 1_000  # blocks of certified commits asked for at once (SPEC 11)

FLAG_EPOCH_CLOSE: Final = 0x01  # SPEC 14: the law of the author has closed this epoch
FLAGS_KNOWN: Final = FLAG_EPOCH_CLOSE


# --- blocks --------------------------------------------------------------------------------------


class Ref(NamedTuple):
    """The name of one block. Order: round, author, digest (SPEC 2). A tuple, since tables are keyed by it."""

    round: Round
    author: ValidatorIndex
    digest: Digest  # H("block/1", canonical header); 32 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitVote:
    """The author's word that its commit `index` has this digest."""

    index: CommitIndex
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class EquivocationProof:
    """Two blocks signed by one author for one round: needs neither header. Canonical: `digest1 < digest2`.

    Collected and reported (`Accuse`), carried in blocks, and verified where a block that carries it is (`evidence`, SPEC 12).
    """

    epoch: int
    round: Round
    author: ValidatorIndex
    digest1: Digest
    signature1: bytes  # 64 bytes
    digest2: Digest
    signature2: bytes  # 64 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a block's digest covers (SPEC 2, RULINGS R36: no cosignatures here)."""

    chain_id: Digest
    epoch: int
    round: Round
    author: ValidatorIndex
    time_ms: Millis
    flags: int
    parents: tuple[Ref, ...]  # [0] is the author's own previous block, the others ascend by author
    payload_root: Digest  # RFC 6962 root over the transactions
    payload_len: int  # sum of the transactions' bytes; 0 only without transactions
    commit_votes: tuple[CommitVote, ...]  # ascending by index
    evidence: tuple[EquivocationProof, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A well-formed block: its payload is the one its header commits to. Not yet known to be signed or valid.

    Built by `codec.decode_block` (a peer's) or `codec.assemble_block` (our own): nobody computes `ref` by hand.
    """

    header: Header
    payload: tuple[bytes, ...] = field(repr=False)
    signature: bytes = field(repr=False)  # Ed25519 over codec.block_signing_bytes
    ref: Ref


@dataclass(frozen=True, slots=True)
class VerifiedBlock:
    """A block whose signature is its author's and which `validity.check_block` accepts.

    Only node/signing builds one in production, and for blocks read back from our own store.
    """

    block: Block


# --- commits -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One decision of the protocol: a leader and the blocks it brings, in final order (SPEC 2, RULINGS R21)."""

    epoch: int
    index: CommitIndex  # from 1, contiguous
    prev_digest: Digest  # zeros for the first
    leader: Ref
    blocks: tuple[Ref, ...]
    time_ms: Millis  # ledger time, never below the commit before
    committee_hash: Digest
    digest: Digest  # codec.commit_digest of the fields above


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRecord:
    """What the driver keeps with each commit; opaque to the ledger (codec.encode_commit_record)."""

    commit: Commit
    # Empty: taken over on a quorum's certificate, and what decided it was never here (SPEC 11).
    # What decided it (PACEMAKER P1): for its slot, or its anchor's, a quorum of certificates; before those, for each slot
    # skipped directly since the commit before, a quorum of blocks that blame it. Served to a peer that is stuck.
    deciders: tuple[Ref, ...]
    # Authors of whom a closing block is committed in this epoch, this commit included, ascending. A quorum of them: this is the
    # last commit of its epoch (`epoch`, SPEC 14.2).
    closed_by: tuple[ValidatorIndex, ...] = ()


@dataclass(frozen=True, slots=True)
class Certified:
    """A quorum's cosignatures stand behind this digest of this commit, and so behind all commits that it chains (RULINGS R45).

    Only node/engine builds one in production, from a certificate that it verified.
    """

    index: CommitIndex
    digest: Digest


# --- parameters and start ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Pace and resources of this node. They may differ between nodes: only liveness depends on them (SPEC 19)."""

    delta_ms: int = 500  # guess at the longest message delay between states, after things are well
    timeout_deltas: int = 2  # leader timeout = 2 delta: every push carries its history (P6)
    history_delay_ms: int = 0  # Push; above 0 is Lazy-Push, which wants timeout_deltas = 8 (SPEC 5)
    timeout_cap_ms: int = 60_000
    min_round_delay_ms: int = 250  # R33's; `pace` has those that nodes take
    idle_delay_ms: int = 30_000  # how long a round may wait while there is nothing to order
    request_timeout_ms: int = 2_000  # how long a peer may take to answer before others are asked
    fetch_backoff_cap_ms: int = 5_000
    bundle_blocks_max: int = (
        128  # history sent with one push; a peer that lacks more asks for a range
    )
    bundle_bytes_max: int = 2 * 1024 * 1024  # of payload in one push; below gRPC's usual 4 MiB
    suspended_bytes_max: int = 32 * 1024 * 1024  # payload held for blocks whose parents are missing
    sync_rounds_behind: int = (
        8  # P3: validity threshold of authors this far ahead means ranges, not single blocks
    )
    sync_commits_behind: int = (
        100  # SPEC 11: further behind a quorum, certified commits are fetched
    )
    sync_bytes_max: int = (
        32 * 1024 * 1024
    )  # payload of such commits that the ledger has not applied

    @property
    def half_delta_ms(self) -> int:
        """A pause that is no message delay and no busy loop."""
        return max(1, self.delta_ms // 2)

    def __post_init__(self) -> None:
        for name in self.__slots__:
            least = 0 if name == "history_delay_ms" else 1
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least {least}")
        if self.history_delay_ms and self.timeout_deltas < LAZY_TIMEOUT_DELTAS_MIN:
            raise ValueError(
                f"timeout_deltas={self.timeout_deltas}: at least {LAZY_TIMEOUT_DELTAS_MIN} where history comes later"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What a core starts from. Empty on the very first start. `serving.recover` reads it from a store.

    blocks        every stored block of this epoch above the garbage-collection floor of its last commit, ascending by ref
    records       the newest commit records of this epoch, ascending and contiguous, back to the first whose leader round is at or
                  below that floor (or to the epoch's first): they name what is already committed above it
    own           the block in the sign state file: the newest this node ever signed, whether the store has it or not
    evidence      the proofs of all `Accuse` of this epoch
    """

    own: VerifiedBlock | None = None
    blocks: tuple[VerifiedBlock, ...] = ()
    records: tuple[CommitRecord, ...] = ()
    evidence: tuple[EquivocationProof, ...] = ()

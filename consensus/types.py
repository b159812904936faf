"""Every value, event and effect of the core, and what its driver promises.

The core is one function of its history: `Core.step(now, event) -> list[Effect]`. It sees no clock, disk, socket or key. A
*driver* (node/engine in production, consensus/simulate in simulations) turns the world into events and carries the effects out.

A story, four validators, no fault. The timer fires; the core answers `Propose(round=7, ...)`. The driver takes transactions
from its mempool, builds and signs the block, and says `BlockProposed`. The core accepts it as it would anybody's and
answers `PersistOwnBlock`, then `SendBlocks` to three peers. Their blocks of round 7 arrive as `BlocksReceived`; each is kept by
`StoreBlocks`. With a quorum of them the core enters round 8. The third block of round 9 certifies the leader of round 7:
`CommitDecided` hands its history, in final order, to the ledger.

What the driver owes (the order of a returned list is the order of doing):

1. `now` never runs backwards. It is milliseconds since the Unix epoch, of a clock that is slewed, not stepped (decision 0003).
2. `PersistOwnBlock` is done, in this order, before any later effect is begun: everything put into the store before is flushed;
   the sign state is synced (file and directory); the block is put into the store, lazily, for the sign state holds it until the
   next one. So the store never holds an own block that the sign state does not know of (SPEC 10). If it fails, the process stops.
3. `StoreBlocks` may be lazy. Reads of the store must see it at once: peers are served from there. After a restart the sign
   state's block is in the store before any peer is served: a peer that lost its sign state counts on it.
4. `CommitDecided` comes in index order. Its record and what the ledger makes of it are one atomic write, not before its blocks
   are in the store. After a restart the newest record stored is where the core goes on.
5. At most one `Propose` is outstanding. Signing may take as long as it likes; other events go on meanwhile.
6. Every `SendFetch`, `SendRange`, `SendBelow`, `SendNewest`, `SendCommits`, `SendListed` is answered by its event or by
   `RequestFailed`. Both may be lost for ever: the core asks again. Of certificates the driver says only what it has verified.
7. Peers' requests never reach the core: `consensus.serving` answers them from the store.
"""

from dataclasses import dataclass, field
from enum import Enum, unique
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


# --- events: what the world tells the core -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlocksReceived:
    """A bundle that `sender` pushed, judged as a whole (PACEMAKER P6)."""

    sender: ValidatorIndex
    blocks: tuple[VerifiedBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchAnswered:
    peer: ValidatorIndex
    request: int
    blocks: tuple[VerifiedBlock, ...]
    floor: Round  # the peer's
    below: tuple[Ref, ...] = ()  # asked for, not served, at or below its floor


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeAnswered:
    peer: ValidatorIndex
    request: int
    blocks: tuple[VerifiedBlock, ...]
    complete_through: Round  # last round served whole
    highest_round: Round  # of any block the peer holds


@dataclass(frozen=True, slots=True, kw_only=True)
class BelowAnswered:
    peer: ValidatorIndex
    request: int
    floor: Round
    blocks: tuple[VerifiedBlock, ...]  # of all commits served
    last_commit: CommitIndex  # of the last commit served; the one asked from if none


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestAnswered:
    """The newest block of the asked author that the peer holds."""

    peer: ValidatorIndex
    request: int
    block: VerifiedBlock | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitsAnswered:
    """Commits from the one asked for on, and the certificate of the last of them. Both empty: the peer can certify none."""

    peer: ValidatorIndex
    request: int
    commits: tuple[Commit, ...]
    certified: Certified | None  # None beside commits: they came without a certificate that holds


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedAnswered:
    """Some of the blocks that were asked for by name."""

    peer: ValidatorIndex
    request: int
    blocks: tuple[VerifiedBlock, ...]
    size: int  # bytes of them as they came: an answer that is not full and leaves some out withholds them


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed:
    """No answer, or none that could be read. What was malformed the driver has charged already."""

    peer: ValidatorIndex
    request: int
    refused: bool = False  # there was an answer: malformed, or not signed as it should be


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeReceived:
    peer: ValidatorIndex
    round: Round


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """The peer reads what we send from now on, or can be asked; nothing sent before is sure to have arrived."""

    peer: ValidatorIndex


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    peer: ValidatorIndex


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time of the last `SetTimer` has come. Harmless when early or repeated."""


@dataclass(frozen=True, slots=True)
class PayloadPending:
    """Whether the mempool holds entries that wait for a block of ours (RULINGS R32). Told when it changes."""

    pending: bool


@dataclass(frozen=True, slots=True)
class NextDue:
    """When the law next has something to do, in ledger milliseconds; None: nothing. Told after each commit that changed it."""

    at_ms: Millis | None


@dataclass(frozen=True, slots=True)
class EpochClosing:
    """The law has closed this epoch: our blocks say so from now on. Told once, and again after a restart (SPEC 14.2)."""


@dataclass(frozen=True, slots=True)
class CommitsApplied:
    """The ledger has applied all commits up to this one. Told when it changes; only catching up depends on it (SPEC 11)."""

    index: CommitIndex


@dataclass(frozen=True, slots=True)
class LossConfirmed:
    """An operator's word that our sign state is lost and one answer less than a quorum must do (SPEC 10, `amnesia`)."""


@dataclass(frozen=True, slots=True)
class BlockProposed:
    """The block asked for by the outstanding `Propose`, built and signed."""

    block: VerifiedBlock


Event = (
    BlocksReceived
    | FetchAnswered
    | RangeAnswered
    | BelowAnswered
    | NewestAnswered
    | CommitsAnswered
    | ListedAnswered
    | RequestFailed
    | WakeReceived
    | PeerConnected
    | PeerDisconnected
    | TimerFired
    | PayloadPending
    | NextDue
    | CommitsApplied
    | LossConfirmed
    | EpochClosing
    | BlockProposed
)


# --- effects: what the driver must do, in order --------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """Build, sign and bring back (`BlockProposed`) the block of this round. The driver adds the payload alone.

    A block with FLAG_EPOCH_CLOSE gets none: what it holds might be void (SPEC 14.2).
    """

    round: Round
    parents: tuple[Ref, ...]
    time_ms: Millis
    flags: int
    commit_votes: tuple[CommitVote, ...]
    evidence: tuple[EquivocationProof, ...] = ()


@dataclass(frozen=True, slots=True)
class PersistOwnBlock:
    """A barrier: durable in store and sign state before any later effect is begun (SPEC 10)."""

    block: Block


@dataclass(frozen=True, slots=True)
class StoreBlocks:
    """Accepted blocks that peers gave us, ascending by ref. Lazy, but durable before the next `PersistOwnBlock` is done."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class SendBlocks:
    """Push one bundle, ascending by ref, read from the store. A slow reader may miss it: never buffer without bound."""

    peer: ValidatorIndex
    blocks: tuple[Ref, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFetch:
    """Ask for blocks (at most FETCH_REFS_MAX) and for their ancestors above `known_round`."""

    peer: ValidatorIndex
    request: int
    refs: tuple[Ref, ...]
    known_round: Round


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRange:
    """Ask for all blocks of rounds first..last (at most RANGE_ROUNDS_MAX), ascending."""

    peer: ValidatorIndex
    request: int
    first: Round
    last: Round


@dataclass(frozen=True, slots=True, kw_only=True)
class SendBelow:
    """Ask for what decided the commits after this one (PACEMAKER P1)."""

    peer: ValidatorIndex
    request: int
    after_commit: CommitIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class SendNewest:
    """Ask for the newest block held of `author`: our own after a start; the peer's, if our sign state was lost (SPEC 10)."""

    peer: ValidatorIndex
    request: int
    author: ValidatorIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCommits:
    """Ask for commits first..last (at most COMMITS_MAX) with a certificate of the last one answered (SPEC 11)."""

    peer: ValidatorIndex
    request: int
    first: CommitIndex
    last: CommitIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class SendListed:
    """Ask for exactly these blocks (at most LISTED_REFS_MAX), which certified commits list."""

    peer: ValidatorIndex
    request: int
    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class SendWake:
    peer: ValidatorIndex
    round: Round


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Fire once at this time (of `now`'s clock); replaces the timer set before."""

    at_ms: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitDecided:
    """The next commit, with its blocks in final order: the ledger's input (order_digest = commit.digest).

    After one that ends the epoch (`epoch.ends_epoch`) there is no other: the next epoch is another core's.
    """

    record: CommitRecord
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class OwnBlockVoid:
    """An own block fell below the floor uncommitted: its transactions go into a later block (SPEC 8)."""

    block: Ref


@unique
class Fault(Enum):
    """What a peer did that no honest peer does, as far as bytes that it sent show."""

    UNREQUESTED = "blocks in an answer that were not asked for"
    OVERSIZED = "more blocks, or a longer list, than the protocol allows"
    FOREIGN_BLOCK = "our own slot's name on a block we did not sign"
    BAD_RANGE = "an answer that contradicts itself"
    BAD_COMMITS = "commits that are not those asked for, do not chain, or have no good certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """Something of this peer's was dropped. The driver scores the peer, and logs it."""

    peer: ValidatorIndex
    fault: Fault
    detail: str


@dataclass(frozen=True, slots=True)
class Accuse:
    """An author signed two blocks for one round: seen by us, or proven by somebody's block. Once per author and epoch.

    To be kept, and given back in `Recovered`: its blocks are gone below the floor, and the author stays accused.
    """

    proof: EquivocationProof


@unique
class Trouble(Enum):
    """What an operator must look at. OWN_SLOT_TWICE and FORK end this node's proposing until restart."""

    OWN_SLOT_TWICE = "our block key signed two blocks of one round: it is used elsewhere"
    ROLLED_BACK = (
        "peers hold a newer block of ours than our sign state: it was rolled back; adopted"
    )
    SIGN_STATE_LOST = "there are blocks of ours and no sign state: observing until a quorum of others shows which rounds are safe"
    VOTE_CONTRADICTS = "a validator voted for another digest of a commit we know"
    FORK = "more than f validators contradict our commits, or one slot has two certified leaders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    trouble: Trouble
    detail: str


Effect = (
    Propose
    | PersistOwnBlock
    | StoreBlocks
    | SendBlocks
    | SendFetch
    | SendRange
    | SendBelow
    | SendNewest
    | SendCommits
    | SendListed
    | SendWake
    | SetTimer
    | CommitDecided
    | OwnBlockVoid
    | Reject
    | Accuse
    | Alarm
)

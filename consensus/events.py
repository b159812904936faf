"""Every event and effect of the core, and what its driver promises.

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

from dataclasses import dataclass
from enum import Enum, unique

from consensus.types import (
    Block,
    Certified,
    Commit,
    CommitIndex,
    CommitRecord,
    CommitVote,
    EquivocationProof,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)

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

"""Far behind: commits that a quorum has certified, and the blocks they list, instead of live blocks (SPEC 11, RULINGS R45).

    quorum index - our index > sync_commits_behind
        ──► commits [i, i+49] from peers in turn, each answer with a certificate of its last commit, which chains all before it
        ──► the blocks these commits list, by name, from peers in turn
        ──► into the DAG and the linearizer, in index order: the same order must come out of it
        ──► near the quorum index: live blocks again

Every answer may be a lie; one costs its sender only its turn, for TURN_LOST_MS. What bounds memory:

    commits known          BATCHES_AHEAD * COMMITS_MAX after the last one that the ledger applied
    blocks held            sync_bytes_max of payload, those included that are ordered and not applied; beyond that only what the
                           next commit lists is asked for
    ordered, not applied   ORDERED_AHEAD_MAX commits
    questions              one of each kind to each peer, COMMITS_OPEN_MAX and PARALLEL_MAX in all

Where no peer can certify anything (nothing was appended to the log since), this ends and rounds are fetched (`range_sync`).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from consensus.admission import Admission
from consensus.commit_rule import Forked
from consensus.dag import Dag
from consensus.events import CommitsAnswered, ListedAnswered, SendCommits, SendListed
from consensus.linearizer import Linearizer
from consensus.requests import Requests
from consensus.types import (
    COMMITS_ANSWERED_MAX,
    COMMITS_MAX,
    LISTED_REFS_MAX,
    Block,
    Commit,
    CommitIndex,
    Millis,
    Parameters,
    Ref,
    ValidatorIndex,
    VerifiedBlock,
)

BATCHES_AHEAD: Final = 8
NEAR_COMMITS: Final = 16  # so near to the quorum index live blocks take over
ORDERED_AHEAD_MAX: Final = 32
COMMITS_OPEN_MAX: Final = 2
PARALLEL_FIRST: Final = 4
PARALLEL_MAX: Final = 8
TURN_LOST_MS: Final = 30_000
PAUSE_FIRST_MS: Final = 500  # after no answer at all; doubles up to TURN_LOST_MS
# A served answer ends before 2 MiB are passed, so one block may be left out of this much and more.
ANSWER_FULL_BYTES: Final = 1024 * 1024
ANSWER_BYTES_MAX: Final = 2 * 1024 * 1024


@dataclass(slots=True)
class _Turn:
    """When one peer may be asked again."""

    at: Millis
    withholds: bool = False  # it answered, and not with what was asked for
    pause_ms: int = PAUSE_FIRST_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """One certified commit that is in the linearizer now, and its blocks."""

    commit: Commit
    blocks: tuple[Block, ...]  # in final order
    fresh: tuple[Block, ...]  # those that were not in the DAG, and so are in no store of ours


class CommitSync:
    """Inactive most of the time."""

    def __init__(
        self,
        dag: Dag,
        linearizer: Linearizer,
        admission: Admission,
        requests: Requests,
        parameters: Parameters,
    ) -> None:
        self.active = False
        self._dag = dag
        self._linearizer = linearizer
        self._admission = admission
        self._requests = requests
        self._parameters = parameters
        self._reached = CommitIndex(0)  # by a quorum
        self._known: dict[CommitIndex, Commit] = {}  # certified, to be ordered
        self._lacking: dict[CommitIndex, dict[Ref, None]] = {}  # blocks to be asked for
        self._place: dict[Ref, CommitIndex] = {}  # of every block that known commits list
        self._held: dict[Ref, VerifiedBlock] = {}
        self._held_bytes = 0
        self._applied = CommitIndex(0)
        self._unapplied: deque[tuple[CommitIndex, int]] = deque()  # ordered, with payload bytes
        self._unapplied_bytes = 0
        self._parallel = PARALLEL_FIRST
        self._turns = [_Turn(Millis(0)) for _ in range(dag.committee.size)]
        self._next_peer = 0

    # --- when ------------------------------------------------------------------------------------

    @property
    def _next_index(self) -> CommitIndex:
        return CommitIndex(self._linearizer.last_index + 1)

    def applied(self, index: CommitIndex) -> None:
        """The ledger has applied all commits up to this one."""
        self._applied = max(self._applied, index)
        while self._unapplied and self._unapplied[0][0] <= self._applied:
            self._unapplied_bytes -= self._unapplied.popleft()[1]

    def check(self, reached: CommitIndex, peers: Sequence[ValidatorIndex], now: Millis) -> bool:
        """Begin or end. True if it has just begun. `reached`: by a quorum, as its votes say; `peers`: connected, ascending."""
        self._reached = reached
        behind = reached - self._linearizer.last_index
        if self.active:
            near = min(NEAR_COMMITS, self._parameters.sync_commits_behind // 2)
            if behind <= near or self._is_fruitless(peers, now):
                self.end()
            return False
        self.active = behind > self._parameters.sync_commits_behind and any(
            self._turns[peer].at <= now for peer in peers
        )
        return self.active

    def _is_fruitless(self, peers: Sequence[ValidatorIndex], now: Millis) -> bool:
        """Nobody who is there has anything for us."""
        waiting = len(self._requests.open_of(SendCommits)) + len(self._requests.open_of(SendListed))
        if not peers or waiting:
            return False
        turns = [self._turns[peer] for peer in peers]
        return all(turn.withholds and turn.at > now for turn in turns) and not self._is_complete(
            self._next_index
        )

    def end(self) -> None:
        """What is known and held is forgotten: live blocks bring it."""
        self.active = False
        self._known.clear()
        self._lacking.clear()
        self._place.clear()
        self._held.clear()
        self._held_bytes = 0
        self._parallel = PARALLEL_FIRST

    def next_at(self, now: Millis) -> Millis | None:
        """When a peer has its turn again, if that matters."""
        behind = self._reached - self._linearizer.last_index
        if not self.active and behind <= self._parameters.sync_commits_behind:
            return None
        return min((turn.at for turn in self._turns if turn.at > now), default=None)

    # --- questions -------------------------------------------------------------------------------

    def due(self, peers: Sequence[ValidatorIndex], now: Millis) -> list[SendCommits | SendListed]:
        """What to ask now. `peers` are those connected, ascending."""
        if not self.active:
            return []
        questions: list[SendCommits | SendListed] = []
        until = Millis(now + 2 * self._parameters.request_timeout_ms)
        while len(self._requests.open_of(SendListed)) < self._parallel:
            peer = self._peer_for(SendListed, peers, now)
            refs = self._next_refs() if peer is not None else ()
            if peer is None or not refs:
                break
            questions.append(self._requests.ask(_listed(peer, refs), until))
        while len(self._requests.open_of(SendCommits)) < COMMITS_OPEN_MAX:
            peer = self._peer_for(SendCommits, peers, now)
            span = self._next_span() if peer is not None else None
            if peer is None or span is None:
                break
            questions.append(self._requests.ask(_commits(peer, *span), until))
        return questions

    def _peer_for(
        self,
        kind: type[SendCommits] | type[SendListed],
        peers: Sequence[ValidatorIndex],
        now: Millis,
    ) -> ValidatorIndex | None:
        """The next in turn who may be asked."""
        for offset in range(len(peers)):
            peer = peers[(self._next_peer + offset) % len(peers)]
            if self._turns[peer].at <= now and not self._requests.is_open(kind, peer):
                self._next_peer += offset + 1
                return peer
        return None

    def _next_span(self) -> tuple[CommitIndex, CommitIndex] | None:
        """The lowest commits that are neither known nor asked for, at most COMMITS_MAX.

        Not so near to the head that peers may have no certificate yet, unless that is all that is left.
        """
        asked = {question.first: question.last for question in self._requests.open_of(SendCommits)}
        first = self._next_index
        end = min(self._applied + BATCHES_AHEAD * COMMITS_MAX, self._reached)
        while first in self._known or first in asked:
            first = CommitIndex(asked.get(first, first) + 1)
        if first > end or (first > self._next_index and first > self._reached - NEAR_COMMITS):
            return None
        last = min(first + COMMITS_MAX - 1, end)
        taken = [index for index in (*self._known, *asked) if first < index <= last]
        return first, CommitIndex(min(taken, default=last + 1) - 1)

    def _next_refs(self) -> tuple[Ref, ...]:
        """Blocks of the lowest commits that are neither here nor asked for, as far as there is room for them."""
        under_way = len(self._requests.open_of(SendListed)) * ANSWER_BYTES_MAX
        room = self._parameters.sync_bytes_max - self._held_bytes - self._unapplied_bytes
        room -= under_way
        refs: list[Ref] = []
        lowest = sorted(self._lacking)[:COMMITS_MAX]
        for index in lowest:
            if room < ANSWER_BYTES_MAX and index != self._next_index:
                break
            lacking = self._lacking[index]
            while lacking and len(refs) < LISTED_REFS_MAX:
                ref = next(iter(lacking))
                del lacking[ref]
                refs.append(ref)
            if lacking:
                break
            del self._lacking[index]
        return tuple(refs)

    # --- answers ---------------------------------------------------------------------------------

    def commits_answered(
        self, answer: CommitsAnswered, question: SendCommits, now: Millis
    ) -> str | None:
        """Returns what is wrong with the answer. Raises Forked: it is certified, and contradicts what is decided here."""
        if not self.active:
            return None
        if not answer.commits:
            if self._reached - self._linearizer.last_index <= self._parameters.sync_commits_behind:
                if not self._known:
                    self.end()  # near the head, and nothing more is certified yet
            else:
                self._withheld(question, now)
            return None
        wrong = self._wrong_with(answer, question)
        if wrong is not None:
            self._withheld(question, now)
            return wrong
        self._answered(answer.peer, now)
        for commit in answer.commits:
            if commit.index > self._applied + BATCHES_AHEAD * COMMITS_MAX:
                break
            if commit.index >= self._next_index:
                self._learn(commit)
        return None

    def _wrong_with(self, answer: CommitsAnswered, question: SendCommits) -> str | None:
        commits, committee = answer.commits, self._dag.committee
        if len(commits) > COMMITS_ANSWERED_MAX:
            return f"{len(commits)} commits: at most {COMMITS_ANSWERED_MAX}"
        before: Commit | None = None
        for offset, commit in enumerate(commits):
            if commit.index != question.first + offset:
                return f"commit {commit.index}, expected {question.first + offset}"
            if before is not None and commit.prev_digest != before.digest:
                return f"commit {commit.index} does not chain to the one before"
            if commit.epoch != committee.epoch or commit.committee_hash != committee.committee_hash:
                return f"commit {commit.index}: epoch {commit.epoch}, or another committee"
            before = commit
        certified, last = answer.certified, commits[-1]
        if certified is None or (certified.index, certified.digest) != (last.index, last.digest):
            return f"commit {last.index} has no certificate"
        return None

    def _learn(self, commit: Commit) -> None:
        index = commit.index
        known = self._known.get(index)
        before = self._known.get(CommitIndex(index - 1))
        digest = self._linearizer.last_digest if index == self._next_index else None
        if before is not None:
            digest = before.digest
        if digest is not None and commit.prev_digest != digest:
            raise Forked(f"certified commit {index} does not chain to commit {index - 1}")
        if known is not None:
            if known.digest != commit.digest:
                raise Forked(f"two certified commits {index}")
            return
        self._known[index] = commit
        lacking: dict[Ref, None] = {}
        for ref in commit.blocks:
            self._place[ref] = index
            if self._dag.node(ref) is None and ref not in self._held:
                lacking[ref] = None
        if lacking:
            self._lacking[index] = lacking

    def listed_answered(
        self, answer: ListedAnswered, question: SendListed, now: Millis
    ) -> str | None:
        """Returns what is wrong with the answer."""
        if not self.active:
            return None
        asked = set(question.refs)
        given = {one.block.ref: one for one in answer.blocks if one.block.ref in asked}
        for ref, block in given.items():
            if ref in self._place and ref not in self._held and self._dag.node(ref) is None:
                self._held[ref] = block
                self._held_bytes += block.block.header.payload_len
        if len(given) == len(asked) or answer.size >= ANSWER_FULL_BYTES:
            self._answered(answer.peer, now)
            self._parallel = min(PARALLEL_MAX, self._parallel + 1)
            self._ask_again(question)
        else:
            self._withheld(question, now)
        if len(given) < len(answer.blocks):
            return f"{len(answer.blocks) - len(given)} of {len(answer.blocks)} blocks not asked for"
        return None

    def failed(self, question: SendCommits | SendListed, now: Millis, *, refused: bool) -> None:
        """No answer, or (`refused`) one that the driver could not accept."""
        if refused:
            self._withheld(question, now)
            return
        turn = self._turns[question.peer]
        turn.at = Millis(now + turn.pause_ms)
        turn.pause_ms = min(TURN_LOST_MS, 2 * turn.pause_ms)
        self._gap(question)

    def _answered(self, peer: ValidatorIndex, now: Millis) -> None:
        """As it should. A turn that it lost by another answer stays lost."""
        if self._turns[peer].at <= now:
            self._turns[peer] = _Turn(now)

    def _withheld(self, question: SendCommits | SendListed, now: Millis) -> None:
        turn = self._turns[question.peer]
        turn.at, turn.withholds = Millis(now + TURN_LOST_MS), True
        self._gap(question)

    def _gap(self, question: SendCommits | SendListed) -> None:
        """What this question was to bring must come from another; if all else waits for it, less is asked for at once."""
        if isinstance(question, SendListed):
            places = [self._place.get(ref) for ref in question.refs if ref not in self._held]
            blocks_all = self._next_index in places
            self._ask_again(question)
        else:
            blocks_all = question.first == self._next_index
        if blocks_all:
            self._parallel = max(1, self._parallel // 2)

    def _ask_again(self, question: SendListed) -> None:
        for ref in question.refs:
            index = self._place.get(ref)
            if index is not None and ref not in self._held and self._dag.node(ref) is None:
                self._lacking.setdefault(index, {})[ref] = None

    # --- into the order --------------------------------------------------------------------------

    def _is_complete(self, index: CommitIndex) -> bool:
        commit = self._known.get(index)
        return commit is not None and all(
            ref in self._held or self._dag.node(ref) is not None for ref in commit.blocks
        )

    def ordered(self) -> Iterator[Ordered]:
        """Certified commits whose blocks are here, put into the DAG and the linearizer, as far as the ledger keeps up.

        The caller raises the DAG's floor between two of them. Raises Forked: a certified commit is not what its leader's
        history gives here.
        """
        while self.active:
            index = self._next_index
            if index > self._applied + ORDERED_AHEAD_MAX or not self._is_complete(index):
                return
            yield self._order(self._known[index])

    def _order(self, certified: Commit) -> Ordered:
        dag, index = self._dag, certified.index
        if certified.leader.round <= self._linearizer.last_leader_round:
            raise Forked(f"certified commit {index}: its leader's round is committed already")
        fresh: list[Block] = []
        for ref in sorted(certified.blocks):
            held = self._held.get(ref)
            if held is None or dag.has(ref):
                continue
            if not all(dag.has(parent) for parent in held.block.header.parents):
                raise Forked(f"certified commit {index} leaves out ancestors of what it lists")
            self._admission.certify(held)
            fresh.append(held.block)
        if dag.node(certified.leader) is None:
            raise Forked(f"certified commit {index} does not list its leader")
        commit = self._linearizer.order(dag, certified.leader)
        if commit.digest != certified.digest:
            raise Forked(f"certified commit {index} is not what its leader's history gives here")
        self._forget(certified)
        found = [dag.block(ref) for ref in commit.blocks]
        blocks = tuple([block for block in found if block is not None])
        assert len(blocks) == len(found), f"commit {index}: a payload is gone"
        size = sum(block.header.payload_len for block in blocks)
        self._unapplied.append((index, size))
        self._unapplied_bytes += size
        return Ordered(commit=commit, blocks=blocks, fresh=tuple(fresh))

    def _forget(self, certified: Commit) -> None:
        del self._known[certified.index]
        self._lacking.pop(certified.index, None)
        for ref in certified.blocks:
            self._place.pop(ref, None)
            held = self._held.pop(ref, None)
            if held is not None:
                self._held_bytes -= held.block.header.payload_len


def _listed(peer: ValidatorIndex, refs: tuple[Ref, ...]) -> Callable[[int], SendListed]:
    return lambda number: SendListed(peer=peer, request=number, refs=refs)


def _commits(
    peer: ValidatorIndex, first: CommitIndex, last: CommitIndex
) -> Callable[[int], SendCommits]:
    return lambda number: SendCommits(peer=peer, request=number, first=first, last=last)

"""Questions to peers: which are due, what their answers bring, what follows where none comes (SPEC 4, 10, 11; PACEMAKER P1, P3).

    a parent is missing                   `fetching`     single blocks with ancestors, then what decided a commit below a floor
    others are some rounds ahead          `range_sync`   whole rounds
    others are many commits ahead         `commit_sync`  certified commits and the blocks they list; nothing else meanwhile
    after a start                         `own_slot`     the newest block of ours that the peer holds

An answer is matched to its question (`requests`), and what is in it beyond what was asked for is dropped and charged.
"""

from typing import assert_never

from consensus.admission import Admission
from consensus.commit_rule import Forked
from consensus.commit_sync import CommitSync
from consensus.dag import Dag
from consensus.dissemination import Dissemination
from consensus.effects import Effects
from consensus.events import (
    BelowAnswered,
    CommitsAnswered,
    Fault,
    FetchAnswered,
    ListedAnswered,
    NewestAnswered,
    RangeAnswered,
    RequestFailed,
    SendBelow,
    SendCommits,
    SendFetch,
    SendListed,
    SendNewest,
    SendRange,
)
from consensus.fetching import Fetcher, asked_for
from consensus.hearing import Hearing
from consensus.ordering import Ordering
from consensus.own_slot import OwnSlot, named
from consensus.range_sync import RangeSync
from consensus.requests import Question, Requests
from consensus.types import Millis, Parameters, ValidatorIndex
from consensus.waiting import WaitingRoom

Answer = (
    FetchAnswered
    | RangeAnswered
    | BelowAnswered
    | NewestAnswered
    | CommitsAnswered
    | ListedAnswered
    | RequestFailed
)


class Asking:
    """All that this validator asks of others."""

    def __init__(
        self,
        *,
        dag: Dag,
        room: WaitingRoom,
        admission: Admission,
        requests: Requests,
        catch_up: CommitSync,
        hearing: Hearing,
        ordering: Ordering,
        spread: Dissemination,
        mine: OwnSlot,
        parameters: Parameters,
        own: ValidatorIndex,
        out: Effects,
    ) -> None:
        self._fetcher = Fetcher(room, requests, parameters, own)
        self._sync = RangeSync(dag, requests, parameters, own)
        self._catch_up = catch_up
        self._requests = requests
        self._admission = admission
        self._hearing = hearing
        self._ordering = ordering
        self._linearizer = ordering.linearizer
        self._spread = spread
        self._mine = mine
        self._parameters = parameters
        self._out = out
        self._ask_newest_at = Millis(0)

    @property
    def is_behind(self) -> bool:
        """Others are so far ahead that a block of ours would be of no use to anybody (P3)."""
        return self._sync.active or self._catch_up.active

    # --- what is due -----------------------------------------------------------------------------

    def want_missing(self) -> None:
        """What admission found missing since the last time."""
        self._want(deep=False)

    def _want(self, *, deep: bool) -> None:
        missing = self._admission.admitted.missing
        for ref, holder in missing:
            self._fetcher.want(ref, holder, deep=deep)
        missing.clear()

    def check(self, now: Millis) -> None:
        """How far the others are, and so which way to catch up."""
        if self._ordering.forked:
            self._catch_up.end()
        elif self._catch_up.check(self._ordering.votes.certified_index, self._spread.peers, now):
            self._sync.stop()
        if not self._catch_up.active:
            self._sync.check(self._admission.shown)

    def ask(self, now: Millis) -> None:
        """Every question that is due."""
        peers = self._spread.peers
        if not self._mine.is_ready and now >= self._ask_newest_at:
            self.ask_newest(now)
        if self._catch_up.active:
            self._out.add(*self._catch_up.due(peers, now))
            return
        floor = self._linearizer.floor
        self._out.add(*self._fetcher.due(now, peers, floor, below=self._sync.next_round))
        question = self._sync.due(now, peers, self._admission.shown)
        if question is not None:
            self._out.add(question)

    def ask_newest(self, now: Millis) -> None:
        """Always, not only when the store is empty: it may have been rolled back (SPEC 10)."""
        if self._mine.is_ready:
            return
        deadline = Millis(now + self._parameters.request_timeout_ms)
        for peer in self._spread.peers:
            question = self._mine.question_to(peer)
            if question is not None and not self._requests.is_open(SendNewest, peer):
                self._out.add(self._requests.ask(question, deadline))

    def next_times(self, now: Millis) -> list[Millis | None]:
        """When something is due although nothing came."""
        return [
            self._requests.next_deadline(),
            self._fetcher.next_at(now),
            self._sync.next_at(now),
            self._catch_up.next_at(now),
            None if self._mine.is_ready else self._ask_newest_at,
        ]

    # --- answers ---------------------------------------------------------------------------------

    def on(self, answer: Answer, now: Millis) -> None:
        """What was asked came, or something else, or nothing."""
        match answer:
            case FetchAnswered():
                fetch = self._requests.answered(SendFetch, answer.request, answer.peer)
                if fetch is not None:
                    self._on_fetched(answer, fetch, now)
            case RangeAnswered():
                rounds = self._requests.answered(SendRange, answer.request, answer.peer)
                if rounds is not None:
                    self._on_range(answer, rounds, now)
            case BelowAnswered():
                below = self._requests.answered(SendBelow, answer.request, answer.peer)
                if below is not None:
                    self._hearing.take(
                        answer.blocks, answer.peer, now, asked_for=True, deciders=True
                    )
                    self._fetcher.below_answered(answer, below, self._linearizer.last_index)
            case NewestAnswered():
                newest = self._requests.answered(SendNewest, answer.request, answer.peer)
                if newest is not None:
                    self._on_newest(answer, newest.author, now)
            case CommitsAnswered():
                span = self._requests.answered(SendCommits, answer.request, answer.peer)
                if span is not None:
                    self._on_commits(answer, span, now)
            case ListedAnswered():
                listed = self._requests.answered(SendListed, answer.request, answer.peer)
                if listed is not None:
                    self._on_listed(answer, listed, now)
            case RequestFailed():
                question = self._requests.failed(answer.request, answer.peer)
                if question is not None:
                    self._failed(question, now, refused=answer.refused)
            case _:
                assert_never(answer)

    def _on_fetched(self, answer: FetchAnswered, question: SendFetch, now: Millis) -> None:
        """Requested blocks and their ancestors are taken in, anything else is not."""
        wanted = asked_for(answer, question)
        if len(wanted) < len(answer.blocks):
            detail = f"{len(answer.blocks) - len(wanted)} of {len(answer.blocks)} blocks"
            self._out.reject(answer.peer, Fault.UNREQUESTED, detail)
        if any(ref.round > answer.floor for ref in answer.below):
            detail = f"below its floor {answer.floor}: not so"
            self._out.reject(answer.peer, Fault.BAD_RANGE, detail)
            return
        asked = [block for block in answer.blocks if block.block.ref in wanted]
        self._hearing.take(asked, answer.peer, now, asked_for=True)
        self._want(deep=True)
        self._fetcher.fetch_answered(
            answer, question, self._linearizer.last_index, self._linearizer.floor
        )

    def _on_range(self, answer: RangeAnswered, question: SendRange, now: Millis) -> None:
        inside = [
            block
            for block in answer.blocks
            if question.first <= block.block.ref.round <= question.last
        ]
        if len(inside) < len(answer.blocks) or answer.complete_through > question.last:
            detail = f"rounds {question.first}..{question.last}"
            self._out.reject(answer.peer, Fault.BAD_RANGE, detail)
            self._sync.failed(now)
            return
        self._hearing.take(inside, answer.peer, now, asked_for=True)
        self._sync.answered(answer, question, now)

    def _on_newest(self, answer: NewestAnswered, author: ValidatorIndex, now: Millis) -> None:
        block = answer.block
        if block is not None and block.block.ref.author != author:
            detail = f"{named(block.block.ref)}: not {author}'s"
            self._out.reject(answer.peer, Fault.UNREQUESTED, detail)
            return
        if block is not None:
            self._hearing.take((block,), answer.peer, now, asked_for=True, always=True)
        newest = block.block.ref if block is not None else None
        self._mine.answered(answer.peer, author, newest)

    def _on_commits(self, answer: CommitsAnswered, question: SendCommits, now: Millis) -> None:
        """What a lie of a peer costs is its turn; only a certificate that contradicts us is trouble (SPEC 11)."""
        try:
            wrong = self._catch_up.commits_answered(answer, question, now)
        except Forked as err:
            self._ordering.fork(str(err))
            return
        if wrong is not None:
            self._out.reject(answer.peer, Fault.BAD_COMMITS, wrong)

    def _on_listed(self, answer: ListedAnswered, question: SendListed, now: Millis) -> None:
        self._hearing.note(answer.blocks, answer.peer, now)
        wrong = self._catch_up.listed_answered(answer, question, now)
        if wrong is not None:
            self._out.reject(answer.peer, Fault.UNREQUESTED, wrong)

    # --- none ------------------------------------------------------------------------------------

    def expire(self, now: Millis) -> None:
        """Questions whose time is over."""
        for question in self._requests.expired(now):
            self._failed(question, now)

    def _failed(self, question: Question, now: Millis, *, refused: bool = False) -> None:
        match question:
            case SendCommits() | SendListed():
                self._catch_up.failed(question, now, refused=refused)
            case SendFetch() | SendBelow():
                self._fetcher.failed(question)
            case SendRange():
                self._sync.failed(now)
            case SendNewest():
                self._ask_newest_at = Millis(now + self._parameters.delta_ms)
            case _:
                assert_never(question)

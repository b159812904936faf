"""Getting missing blocks: single ones, and what decided a commit where those are gone (SPEC 4, PACEMAKER P1, P6).

A missing parent is asked first from whoever sent its child, then, on timeout, from two others at a time, with a growing
pause. A peer that garbage-collected the block answers `below`: it never had it, or need not have. Then it is asked what
decided its commits after our last one; with that we commit too, our floor rises, and the block is missing no longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from consensus.events import BelowAnswered, FetchAnswered, SendBelow, SendFetch
from consensus.requests import Requests
from consensus.types import (
    FETCH_LEVELS_MAX,
    FETCH_REFS_MAX,
    CommitIndex,
    Millis,
    Parameters,
    Ref,
    Round,
    ValidatorIndex,
)
from consensus.waiting import WaitingRoom

_AT_ONCE: Final = Millis(0)


@dataclass(slots=True)
class _Want:
    holder: ValidatorIndex  # who claims to have it
    deep: bool  # its ancestors are likely to be missing too
    attempts: int = 0  # questions, of one peer each
    asked: int = 0  # mask of the peers asked since all were
    next_at: Millis = _AT_ONCE
    by_another: bool = False  # a block of another author needs it: whatever comes is let in


class Fetcher:
    """What the waiting room misses, and when to ask whom for it."""

    def __init__(
        self, room: WaitingRoom, requests: Requests, parameters: Parameters, own: ValidatorIndex
    ) -> None:
        self._room = room
        self._requests = requests
        self._parameters = parameters
        self._own = own
        self._wants: dict[Ref, _Want] = {}
        self._below: dict[ValidatorIndex, CommitIndex] = {}  # whom to ask, after which commit

    def want(self, ref: Ref, holder: ValidatorIndex, *, deep: bool) -> None:
        """Somebody's block needs this one. Asked for from `due`."""
        if ref not in self._wants:
            self._wants[ref] = _Want(holder, deep)

    def due(
        self,
        now: Millis,
        peers: Sequence[ValidatorIndex],
        floor: Round,
        *,
        below: Round | None = None,
    ) -> list[SendFetch | SendBelow]:
        """The questions to send now; `peers` are those connected, ascending.

        `below`: blocks from this round on are coming by ranges, and are not asked for one by one.
        """
        # What is missing is the room's to say, not the memory of what was wanted once: a block that came and was pushed out by a
        # bound is missing again, and nobody pushes it a second time.
        self._wants = {
            ref: self._wants.get(ref) or _Want(self._room.giver(ref), deep=True)
            for ref in self._room.missing
        }
        chosen: dict[ValidatorIndex, list[Ref]] = {}
        for ref, want in self._wants.items():
            if not want.by_another and self._room.needed_by_another(ref):
                # Until now an equivocator alone needed it, and it may have come and been refused as one variant too many.
                want.by_another = True
                want.attempts, want.next_at = 0, _AT_ONCE
            if want.next_at > now or (below is not None and ref.round >= below):
                continue
            for peer in self._whom(want, peers):
                refs = chosen.setdefault(peer, [])
                if len(refs) < FETCH_REFS_MAX:
                    refs.append(ref)
        asked: list[SendFetch | SendBelow] = []
        for peer, refs in sorted(chosen.items()):
            asked.append(self._fetch(peer, refs, floor, now))
        for peer in sorted(self._below):
            if peer in peers and not self._requests.is_open(SendBelow, peer):
                asked.append(self._ask_below(peer, now))
        return asked

    def _whom(self, want: _Want, peers: Sequence[ValidatorIndex]) -> list[ValidatorIndex]:
        free = [peer for peer in peers if not self._requests.is_open(SendFetch, peer)]
        if not free:
            return []
        if want.attempts == 0 and want.holder in peers:
            return [want.holder] if want.holder in free else []
        # Two at a time, from the holder on, and nobody twice before all were asked: whoever withholds, loses or is busy just now
        # costs one turn. A peer that is busy is waited for, for it may be the only one that has the block.
        left = [peer for peer in peers if not want.asked >> peer & 1]
        if not left:
            want.asked, left = 0, list(peers)
        left.sort(key=lambda peer: (peer < want.holder, peer))
        return [peer for peer in left if peer in free][:2]

    def _fetch(self, peer: ValidatorIndex, refs: list[Ref], floor: Round, now: Millis) -> SendFetch:
        lowest = min(ref.round for ref in refs)
        levels = FETCH_LEVELS_MAX if any(self._wants[ref].deep for ref in refs) else 0
        for ref in refs:
            want = self._wants[ref]
            pause = self._parameters.request_timeout_ms << min(want.attempts, 8)
            want.next_at = Millis(now + min(pause, self._parameters.fetch_backoff_cap_ms))
            want.attempts += 1
            want.asked |= 1 << peer
        return self._requests.ask(
            lambda number: SendFetch(
                peer=peer,
                request=number,
                refs=tuple(refs),
                known_round=Round(max(floor, lowest - 1 - levels)),
            ),
            Millis(now + self._parameters.request_timeout_ms),
        )

    def _ask_below(self, peer: ValidatorIndex, now: Millis) -> SendBelow:
        after = self._below.pop(peer)
        return self._requests.ask(
            lambda number: SendBelow(peer=peer, request=number, after_commit=after),
            Millis(now + self._parameters.request_timeout_ms),
        )

    def fetch_answered(
        self, answer: FetchAnswered, question: SendFetch, last_commit: CommitIndex, floor: Round
    ) -> None:
        """The blocks of the answer are on their way in; what it says of the others is noted here."""
        served = {block.block.ref for block in answer.blocks}
        self._try_others([ref for ref in question.refs if ref not in served])
        if answer.floor > floor and any(self._room.is_missing(ref) for ref in answer.below):
            self._below.setdefault(answer.peer, last_commit)

    def failed(self, question: SendFetch | SendBelow) -> None:
        """No answer came."""
        if isinstance(question, SendFetch):
            self._try_others(question.refs)

    def _try_others(self, refs: Sequence[Ref]) -> None:
        """The first question brought nothing: ask others at once. Later ones keep their pause."""
        for ref in refs:
            want = self._wants.get(ref)
            if want is not None and want.attempts == 1:
                want.next_at = _AT_ONCE

    def below_answered(
        self, answer: BelowAnswered, question: SendBelow, last_commit: CommitIndex
    ) -> None:
        """Ask on from where the answer ended, as long as it brought something and something is still missing."""
        if answer.last_commit > question.after_commit and any(True for _ in self._room.missing):
            self._below.setdefault(answer.peer, max(answer.last_commit, last_commit))

    def next_at(self, now: Millis) -> Millis | None:
        return min(
            (want.next_at for want in self._wants.values() if want.next_at > now), default=None
        )


def asked_for(answer: FetchAnswered, question: SendFetch) -> set[Ref]:
    """Those of an answer that were requested, or are ancestors of such. Asked for membership and size only."""
    parents = {block.block.ref: block.block.header.parents for block in answer.blocks}
    wanted: set[Ref] = set()
    pending = list(question.refs)
    while pending:
        ref = pending.pop()
        if ref in parents and ref not in wanted:
            wanted.add(ref)
            pending.extend(parents[ref])
    return wanted

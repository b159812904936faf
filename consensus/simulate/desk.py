"""Peers' requests, answered by `consensus.serving` from a simulated store; and what a node starts from.

On the way back an answer's bytes become the event that a driver would decode from them.
"""

from collections.abc import Iterable

from consensus import serving
from consensus.codec import decode_commit_record
from consensus.events import (
    BelowAnswered,
    CommitsAnswered,
    Event,
    FetchAnswered,
    ListedAnswered,
    NewestAnswered,
    RangeAnswered,
    SendBelow,
    SendCommits,
    SendFetch,
    SendListed,
    SendNewest,
    SendRange,
)
from consensus.simulate.mint import Mint
from consensus.simulate.store import SimulatedStore
from consensus.types import (
    Certified,
    CommitIndex,
    EquivocationProof,
    Recovered,
    ValidatorIndex,
    VerifiedBlock,
)

Request = SendFetch | SendRange | SendBelow | SendNewest | SendCommits | SendListed


class Desk:
    """How one node answers the others."""

    def __init__(self, index: int, store: SimulatedStore, mint: Mint, *, gc_depth: int) -> None:
        self._index = ValidatorIndex(index)
        self._store = store
        self._mint = mint
        self._gc_depth = gc_depth

    def answer(self, request: Request) -> Event:
        match request:
            case SendFetch():
                fetched = serving.serve_fetch(
                    self._store, request.refs, request.known_round, gc_depth=self._gc_depth
                )
                return FetchAnswered(
                    peer=self._index,
                    request=request.request,
                    blocks=self._read(fetched.blocks),
                    floor=fetched.floor,
                    below=fetched.below,
                )
            case SendRange():
                ranged = serving.serve_range(
                    self._store,
                    request.first,
                    request.last,
                    validators=self._mint.committee.size,
                )
                return RangeAnswered(
                    peer=self._index,
                    request=request.request,
                    blocks=self._read(ranged.blocks),
                    complete_through=ranged.complete_through,
                    highest_round=ranged.highest_round,
                )
            case SendBelow():
                return self._below(request)
            case SendNewest():
                data = serving.serve_newest(self._store, request.author)
                block = None if data is None else self._mint.by_data[data]
                return NewestAnswered(peer=self._index, request=request.request, block=block)
            case SendCommits():
                return self._commits(request)
            case SendListed():
                listed = serving.serve_listed(self._store, request.refs)
                return ListedAnswered(
                    peer=self._index,
                    request=request.request,
                    blocks=self._read(listed),
                    size=sum(map(len, listed)),
                )

    def _commits(self, request: SendCommits) -> CommitsAnswered:
        served = serving.serve_commits(self._store, request.first, request.last, self)
        commits = tuple([decode_commit_record(data).commit for data in served])
        return CommitsAnswered(
            peer=self._index,
            request=request.request,
            commits=commits,
            certified=Certified(commits[-1].index, commits[-1].digest) if commits else None,
        )

    def last_certified(self, first: int, last: int) -> CommitIndex | None:
        """As `consensus.serving.Certifier`: commits that a quorum of the honest decided."""
        found = filter(self._is_certified, range(last, first - 1, -1))
        return next(map(CommitIndex, found), None)

    def next_certified(self, after: int) -> CommitIndex | None:
        """As `consensus.serving.Certifier`."""
        found = filter(self._is_certified, range(after + 1, self._store.last_commit_index() + 1))
        return next(map(CommitIndex, found), None)

    def _is_certified(self, index: int) -> bool:
        data = self._store.commit_record(index)
        if data is None:
            return False
        who = self._mint.cosigned.get(decode_commit_record(data).commit.digest, ())
        return len(who) >= self._mint.committee.quorum

    def _below(self, request: SendBelow) -> BelowAnswered:
        served = serving.serve_below(self._store, request.after_commit, gc_depth=self._gc_depth)
        # One block may have decided several commits.
        data = dict.fromkeys(each for _, blocks in served.commits for each in blocks)
        last = served.commits[-1][0] if served.commits else request.after_commit
        return BelowAnswered(
            peer=self._index,
            request=request.request,
            floor=served.floor,
            blocks=self._read(data),
            last_commit=CommitIndex(last),
        )

    def _read(self, blocks: Iterable[bytes]) -> tuple[VerifiedBlock, ...]:
        return tuple([self._mint.by_data[data] for data in blocks])

    def recover(
        self, sign_state: bytes | None, evidence: tuple[EquivocationProof, ...]
    ) -> Recovered:
        """After a restart: the store as it is now, the block in the sign state, and the proofs kept."""
        own = None if sign_state is None else self._mint.by_data[sign_state]
        return serving.recover(
            self._store,
            own,
            evidence=evidence,
            after_commit=self._mint.committee.previous_index,
            gc_depth=self._gc_depth,
        )

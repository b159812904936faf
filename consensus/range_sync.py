"""Coming back after an absence: whole rounds in ascending order instead of one missing block at a time (PACEMAKER P3).

Single fetches go back one level a round trip; who was away for 500 rounds needs 485 of them, and pushed blocks lie beyond every
bound. So when f+1 authors show rounds far ahead, one of whom is honest, rounds are asked for in order, at most
RANGE_ROUNDS_MAX a question, from one peer, from another on failure. Until the head shown at the start is reached nothing
is signed: blocks in between would be useless, and their payload void.
"""

from collections.abc import Sequence

from consensus.dag import Dag
from consensus.events import RangeAnswered, SendRange
from consensus.requests import Requests
from consensus.types import RANGE_ROUNDS_MAX, Millis, Parameters, Round, ValidatorIndex


class RangeSync:
    """Inactive most of the time."""

    def __init__(
        self, dag: Dag, requests: Requests, parameters: Parameters, own: ValidatorIndex
    ) -> None:
        self._dag = dag
        self._requests = requests
        self._parameters = parameters
        self._own = own
        self._head: Round | None = None
        self._first = Round(0)
        self._turn = 0  # whose turn it is to be asked
        self._pause_until = Millis(0)

    @property
    def active(self) -> bool:
        return self._head is not None

    @property
    def next_round(self) -> Round | None:
        """The first round not asked for yet, while active."""
        return self._first if self._head is not None else None

    def stop(self) -> None:
        """Certified commits are fetched instead (`commit_sync`)."""
        self._head = None

    def check(self, shown: Sequence[Round]) -> None:
        """Begin when the validity threshold of authors are too far ahead of all we accepted; end at the head.

        `shown`: the highest round that each author is known to have signed.
        """
        dag = self._dag
        if self._head is not None:
            if dag.highest_round >= self._head:
                self._head = None
            elif self._first > self._head:
                # All was said to be served, and it is not here: begin again, with another peer.
                self._first = self._begin()
                self._turn += 1
            return
        head = sorted(shown, reverse=True)[dag.committee.validity - 1]
        if head > dag.highest_round + self._parameters.sync_rounds_behind:
            self._head = head
            self._first = self._begin()

    def _begin(self) -> Round:
        """The highest round of which a quorum is here, itself included: what it lacks comes along."""
        dag = self._dag
        for number in range(dag.highest_round, dag.floor, -1):
            if dag.has_quorum(Round(number)):
                return Round(number)
        return Round(dag.floor + 1)

    def due(
        self, now: Millis, peers: Sequence[ValidatorIndex], shown: Sequence[Round]
    ) -> SendRange | None:
        """The next question, unless one is open. `peers` are those connected, ascending."""
        if self._head is None or now < self._pause_until:
            return None
        if any(self._requests.is_open(SendRange, peer) for peer in peers):
            return None
        ahead = [peer for peer in peers if shown[peer] > self._dag.highest_round] or list(peers)
        if not ahead:
            return None
        peer = ahead[self._turn % len(ahead)]
        last = Round(self._first + RANGE_ROUNDS_MAX - 1)
        return self._requests.ask(
            lambda number: SendRange(peer=peer, request=number, first=self._first, last=last),
            Millis(now + self._parameters.request_timeout_ms),
        )

    def answered(self, answer: RangeAnswered, question: SendRange, now: Millis) -> None:
        """Call it after the blocks are taken in. An answer that serves no whole round gives another peer the turn."""
        if question.first != self._first:
            return
        if answer.complete_through >= question.first:
            self._first = Round(answer.complete_through + 1)
        else:
            self.failed(now)

    def failed(self, now: Millis) -> None:
        """Another peer's turn, after a pause: peers that refuse at once are not asked as fast as they refuse."""
        self._turn += 1
        self._pause_until = Millis(now + self._parameters.half_delta_ms)

    def next_at(self, now: Millis) -> Millis | None:
        return self._pause_until if self._head is not None and self._pause_until > now else None

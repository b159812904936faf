"""Questions to peers that are not answered yet. Answers are matched by number *and* peer: a stranger's answer is none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from consensus.events import SendBelow, SendCommits, SendFetch, SendListed, SendNewest, SendRange
from consensus.types import Millis, ValidatorIndex

Question = SendFetch | SendRange | SendBelow | SendNewest | SendCommits | SendListed
_Kind = TypeVar("_Kind", SendFetch, SendRange, SendBelow, SendNewest, SendCommits, SendListed)


@dataclass(frozen=True, slots=True)
class _Open:
    question: Question
    deadline: Millis


class Requests:
    """Bounded by who asks: at most one question of each kind is open to each peer."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._next = 0

    def ask(self, make: Callable[[int], _Kind], deadline: Millis) -> _Kind:
        """The question that `make` builds from its number."""
        self._next += 1
        question = make(self._next)
        assert not self.is_open(type(question), question.peer), f"asked twice: {question}"
        self._open[self._next] = _Open(question, deadline)
        return question

    def is_open(self, kind: type[Question], peer: ValidatorIndex) -> bool:
        return any(
            type(open_.question) is kind and open_.question.peer == peer
            for open_ in self._open.values()
        )

    def open_of(self, kind: type[_Kind]) -> list[_Kind]:
        """Those of one kind, in the order of asking."""
        found: list[_Kind] = []
        for open_ in self._open.values():
            if isinstance(open_.question, kind):
                found.append(open_.question)
        return found

    def answered(self, kind: type[_Kind], number: int, peer: ValidatorIndex) -> _Kind | None:
        """The question this answers; None if it is not open, or was not asked of this peer."""
        open_ = self._open.get(number)
        if open_ is None or not isinstance(open_.question, kind) or open_.question.peer != peer:
            return None
        del self._open[number]
        return open_.question

    def failed(self, number: int, peer: ValidatorIndex) -> Question | None:
        """As `answered`, for an answer that will not come."""
        open_ = self._open.get(number)
        if open_ is None or open_.question.peer != peer:
            return None
        del self._open[number]
        return open_.question

    def expired(self, now: Millis) -> list[Question]:
        """Those whose time is over; they are open no longer."""
        over = [number for number, open_ in self._open.items() if open_.deadline <= now]
        return [self._open.pop(number).question for number in over]

    def next_deadline(self) -> Millis | None:
        return min((open_.deadline for open_ in self._open.values()), default=None)

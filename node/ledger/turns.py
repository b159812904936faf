"""Whose entry is proposed next: states take turns, in each state its authors, and each author's entries go in their order.

So whoever brings much waits behind itself. An author with one entry has it in the next block of this node, however many thousands
others have brought before; and a state that registers a thousand operators has the turns of one state.

    KE: op1 [a b c d]  op2 [e]      a e b c d of KE, x y of US
    US: op3 [x y]                   a x e y b c d
"""

from collections import OrderedDict
from collections.abc import Collection

_Author = OrderedDict[bytes, None]  # entry hashes, in the order of proposing
_State = OrderedDict[str, _Author]


class Turns:
    """A queue of entry hashes. Every step costs the same, however many wait."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, _State] = OrderedDict()
        self._where: dict[bytes, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._where

    def add(self, digest: bytes, state: str, author: str, *, first: bool = False) -> None:
        """At the end of its author's queue, or before all of it. One that waits already keeps its place, unless `first`."""
        if digest in self._where:
            state, author = self._where[digest]
        self._where[digest] = (state, author)
        entries = self._states.setdefault(state, OrderedDict()).setdefault(author, OrderedDict())
        entries.setdefault(digest)
        if first:
            entries.move_to_end(digest, last=False)

    def discard(self, digest: bytes) -> None:
        """It is proposed by another way, or gone: nobody's turn is over by it."""
        where = self._where.pop(digest, None)
        if where is None:
            return
        state, author = where
        authors = self._states[state]
        del authors[author][digest]
        if not authors[author]:
            del authors[author]
        if not authors:
            del self._states[state]

    def next(self, passed: Collection[str] = ()) -> bytes | None:
        """Whose turn it is, the states of `passed` being passed over. It stays so until `take`."""
        for state, authors in self._states.items():
            if state in passed:
                continue
            for entries in authors.values():
                return next(iter(entries))
        return None

    def take(self, digest: bytes) -> None:
        """The entry that `next` named is proposed; its author's and its state's turns are over."""
        state, author = self._where[digest]
        self.discard(digest)
        if author in self._states.get(state, ()):
            self._states[state].move_to_end(author)
        if state in self._states:
            self._states.move_to_end(state)

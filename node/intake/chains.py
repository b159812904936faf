"""What the gateway needs of the authors' outboxes and of the ledger, as Protocols: others know how.

An author has one chain of entries and one outbox for it (RULINGS R28), which this gateway shares with whoever else signs for
that author, `foedus submit` for one. So the gateway holds an outbox only while it signs, and looks each time at where it stands.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


class ChainBusy(Exception):
    """Another process signs for this author now; the same call may succeed later."""


class NodeUnavailable(Exception):
    """No node could be asked just now; the same call may succeed later."""


class EntryRefused(Exception):
    """A node says no to an entry. `code` is a reason code of the law or of the node."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTip:
    """Where an author's chain stands: the last seq and that entry's hash; 0 and 32 zero bytes before the first."""

    seq: int
    entry_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTip:
    """The chain as a node has it: on the ledger, and behind what waits in that node."""

    logged: ChainTip
    pending: ChainTip


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """An entry's place in the log for good. `code`: why the law rejected it, empty if it was accepted."""

    index: int
    code: str


class Chain(Protocol):
    """One author's outbox, held by us. Methods block on the disk."""

    @property
    def tip(self) -> ChainTip:
        """The last entry signed."""

    def sign(self, content: bytes) -> bytes:
        """The entry with this content that follows the tip. Records nothing: it must not leave yet."""

    def record(self, entry: bytes) -> None:
        """Make it the chain's next, durably; only then may it leave."""

    def adopt(self, tip: ChainTip) -> None:
        """Go on from where the ledger's chain stands."""

    def kept(self, first_seq: int) -> dict[int, bytes]:
        """Recorded entries from this seq on that are not known to be final, by ascending seq."""

    def forget_final(self, seq: int) -> None:
        """Entries up to this one are final: their bytes need not be kept."""


class Chains(Protocol):
    """The outboxes of all authors that this gateway signs for."""

    def open(self, author: str) -> AbstractContextManager[Chain]:
        """Hold the author's outbox. Raises ChainBusy; what a damaged one raises ends the gateway."""


class LedgerAccess(Protocol):
    """What the gateway needs of nodes. Each call may try several of them; each raises NodeUnavailable."""

    async def submit(self, entry: bytes) -> None:
        """Hand over a signed entry; handing over the same bytes again is harmless. Raises EntryRefused."""

    async def tip(self, author: str) -> LedgerTip:
        """Where the author's chain stands."""

    async def final(self, entry: bytes) -> Final | None:
        """Where the entry stands once it is proven final; None until then. Raises EntryRefused if a commit left it out."""

    async def used(self, author: str, seq: int, entry_hash: bytes) -> bool | None:
        """Whether this is the author's entry with that seq on the ledger; None if its chain is not so long yet."""

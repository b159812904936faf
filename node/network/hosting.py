"""What the network asks of the node around it: two roles, both played by the engine.

Hosted   what we answer peers from, and what a new reader is sent first
Heard    what peers' streams bring us
"""

from collections.abc import Sequence
from typing import Protocol

from consensus.types import Round
from node.network import wire


class Rejected(Exception):
    """What a peer sent is well-formed protobuf and bad all the same: says what; the sender is charged `points`."""

    def __init__(self, why: str, points: float) -> None:
        super().__init__(why)
        self.points = points


class Hosted(Protocol):
    """Answers from the store: quick, and from the event loop. May raise StorageError or AssertionError: the node stops."""

    def greeting(self, after_round: Round) -> Sequence[bytes]:
        """Frames for a new reader: own blocks above the round or at least the newest, and own cosignatures."""
        ...

    def newest_own_frame(self) -> bytes | None:
        """The newest own block that may leave, as a frame; None before the first."""
        ...

    def fetch(self, request: wire.Fetch) -> wire.Fetched: ...

    def fetch_range(self, request: wire.FetchRange) -> wire.Ranged: ...

    def fetch_below(self, request: wire.FetchBelow) -> wire.Below: ...

    def fetch_commits(self, request: wire.FetchCommits) -> wire.Commits: ...

    def fetch_listed(self, request: wire.FetchListed) -> Sequence[bytes]: ...

    def newest(self, request: wire.GetNewest) -> bytes | None: ...

    def cosignatures(self, request: wire.GetCosignatures) -> Sequence[bytes]: ...

    def hand_over(self, request: wire.HandOver) -> int:
        """Entries of one who has no block for them: how many are taken, from the first on."""
        ...

    def reader_came(self, member: int) -> None:
        """From now on this member reads what we send it."""
        ...

    def reader_left(self, member: int) -> None: ...


class Heard(Protocol):
    """What a member's stream brought. May raise Rejected."""

    async def bundle(self, member: int, blocks: tuple[bytes, ...]) -> None:
        """Returns when there is room for more: until then the peer's stream is not read."""
        ...

    def wake(self, member: int, round_: Round) -> None: ...

    def cosigned(self, member: int, lines: tuple[bytes, ...]) -> None: ...

    def stream_opened(self, member: int) -> None:
        """From now on this member's stream is read, and it can be asked."""
        ...

    def stream_ended(self, member: int) -> None: ...

    def newest_round_of(self, member: int) -> Round:
        """Highest round of a block of this member that we hold: its stream is resumed above it."""
        ...

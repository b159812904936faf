"""What peers are answered: from the store through `consensus.serving`, never from the core.

The own block is in the store only once it is durable in the sign state (`dag`), so nothing that is served here can be
contradicted after a crash.
"""

from collections.abc import Callable, Sequence
from typing import Final

from consensus import serving
from consensus.codec import MalformedBlock, read_header
from consensus.committee import Committee
from consensus.types import GENESIS_ROUND, Ref, Round, ValidatorIndex
from node.engine.catching_up import CommitServer
from node.engine.gossip import Gossip
from node.network import wire
from node.storage.epoch_blocks import EpochBlocks
from node.storage.errors import StoreDamaged

BACKLOG_BLOCKS_MAX: Final = 32
BACKLOG_BYTES_MAX: Final = 1024 * 1024


class Host:
    """A `node.network.hosting.Hosted`."""

    def __init__(
        self,
        blocks: EpochBlocks,
        committee: Committee,
        own: ValidatorIndex | None,
        commits: CommitServer,
        gossip: Callable[[], Gossip],
        on_reader: Callable[[int], None],
        on_reader_left: Callable[[int], None],
        handed: Callable[[tuple[bytes, ...]], int] = lambda _: 0,
    ) -> None:
        """`handed` takes entries for those who have no block of their own; by default nobody does."""
        self._handed = handed
        self._blocks = blocks
        self._committee = committee
        self._own = own
        self._commits = commits
        self._gossip = gossip
        self._on_reader = on_reader
        self._on_reader_left = on_reader_left

    def _newest_own(self) -> tuple[Ref, bytes] | None:
        return None if self._own is None else self._blocks.newest_block_of(self._own)

    def greeting(self, after_round: Round) -> Sequence[bytes]:
        frames = []
        if blocks := self.own_blocks_above(after_round):
            frames.append(wire.bundle_frame(blocks))
        if (lines := self._gossip().greeting()) is not None:
            frames.append(lines)
        return frames

    def own_blocks_above(self, after_round: Round) -> list[bytes]:
        """Own blocks above the round, ascending: the newest ones, at least one if there is any."""
        newest = self._newest_own()
        if newest is None:
            return []
        data = newest[1]
        blocks, size = [data], len(data)
        while len(blocks) < BACKLOG_BLOCKS_MAX:
            try:
                parent = read_header(data).parents[0]
            except MalformedBlock as err:
                raise StoreDamaged(f"an own block: {err}") from err
            if parent.round <= max(after_round, GENESIS_ROUND):
                break
            before = self._blocks.block(parent)
            if before is None or size + len(before) > BACKLOG_BYTES_MAX:
                break
            data = before
            blocks.append(data)
            size += len(data)
        return blocks[::-1]

    def newest_own_frame(self) -> bytes | None:
        newest = self._newest_own()
        return None if newest is None else wire.bundle_frame((newest[1],))

    def fetch(self, request: wire.Fetch) -> wire.Fetched:
        served = serving.serve_fetch(self._blocks, request.refs, request.known_round)
        return wire.Fetched(served.blocks, served.floor, served.below)

    def fetch_range(self, request: wire.FetchRange) -> wire.Ranged:
        served = serving.serve_range(
            self._blocks, request.first, request.last, validators=self._committee.size
        )
        return wire.Ranged(served.blocks, served.complete_through, served.highest_round)

    def fetch_below(self, request: wire.FetchBelow) -> wire.Below:
        served = serving.serve_below(self._blocks, request.after_commit)
        return wire.Below(served.floor, served.commits)

    def fetch_commits(self, request: wire.FetchCommits) -> wire.Commits:
        return self._commits.commits(request.first, request.last)

    def fetch_listed(self, request: wire.FetchListed) -> Sequence[bytes]:
        return serving.serve_listed(self._blocks, request.refs)

    def newest(self, request: wire.GetNewest) -> bytes | None:
        return serving.serve_newest(self._blocks, request.author)

    def cosignatures(self, request: wire.GetCosignatures) -> Sequence[bytes]:
        return self._gossip().lines(request.size)

    def hand_over(self, request: wire.HandOver) -> int:
        return self._handed(request.entries)

    def reader_came(self, member: int) -> None:
        self._on_reader(member)

    def reader_left(self, member: int) -> None:
        self._on_reader_left(member)

"""Blocks to disk and back: how an own block becomes durable, and what a start finds (promises 2 and 3 of consensus/types.py).

    own block        flush the store (all it refers to) ──► sign state, synced ──► into the store, from where peers are served
    blocks of peers  into the store, unsynced: the next own block's flush covers them
    a start          the block in the sign state is put into the store before any peer is served; then blocks above the floor

After a crash the own block is read back from the sign state if the store does not have it. If either write fails, the process
ends and the block never left.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Final

from consensus import serving
from consensus.codec import MalformedBlock, decode_block
from consensus.types import (
    GENESIS_ROUND,
    Block,
    EquivocationProof,
    Recovered,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)
from node.engine.recent import RecentBlocks
from node.ledger.epochs import Epoch
from node.network import wire
from node.signing.blocks import of_own_store
from node.storage.epoch_blocks import EpochBlocks
from node.storage.errors import StoreDamaged
from node.storage.sign_state import BlockSigned, SignState
from node.storage.store import Store
from node.telemetry import event

FRAMES_REMEMBERED: Final = 8  # one bundle goes to every peer
_log = logging.getLogger("foedus.engine")


class BlockKeeping:
    """The blocks of one epoch on this node's disk. `signed_round` is the newest round that this node has signed."""

    def __init__(
        self, store: Store, sign_state: SignState, epoch: Epoch, own: ValidatorIndex | None
    ) -> None:
        self.blocks = EpochBlocks(
            store, epoch.number, after_commit=epoch.after_commit, last_commit=epoch.last_commit
        )
        self.recent = RecentBlocks()
        self.signed_round = Round(GENESIS_ROUND)
        self._store = store
        self._sign_state = sign_state
        self._epoch = epoch
        self._own = own
        self._frames: OrderedDict[tuple[Ref, ...], bytes] = OrderedDict()

    # To disk

    async def persist(self, block: Block) -> bytes:
        """An own block. See the module's text. Returns its bytes. Raises WriteFailed: then it must not leave."""
        data = self.recent.data_of(block)
        if block.ref.round > self.signed_round:
            signed = BlockSigned(
                epoch=self._epoch.number,
                round=block.ref.round,
                digest=block.ref.digest,
                block=data,
            )
            await self._store.durable(partial(self._sign_state.save_block, signed))
            self.signed_round = block.ref.round
        else:
            await self._store.durable()
        self.blocks.put_blocks([(block.ref, data)])
        self.recent.add(of_own_store(block), data)
        return data

    def put(self, blocks: Sequence[Block]) -> None:
        """Blocks of peers."""
        data_of = self.recent.data_of
        self.blocks.put_blocks([(block.ref, data_of(block)) for block in blocks])

    # And back

    def frame(self, refs: tuple[Ref, ...]) -> bytes:
        """These blocks as one bundle. Raises StoreDamaged."""
        frame = self._frames.get(refs)
        if frame is None:
            frame = wire.bundle_frame(map(self.bytes_of, refs))
            self._frames[refs] = frame
            if len(self._frames) > FRAMES_REMEMBERED:
                self._frames.popitem(last=False)
        return frame

    def bytes_of(self, ref: Ref) -> bytes:
        """Of a block that was stored. Raises StoreDamaged."""
        data = self.recent.data(ref) or self.blocks.block(ref)
        if data is None:
            raise StoreDamaged(f"{self._store.path}: block {ref} was stored and is gone")
        return data

    def block_of(self, ref: Ref) -> Block | None:
        data = self.recent.data(ref) or self.blocks.block(ref)
        return None if data is None else decode_block(data)

    # A start

    def recover(self, evidence: Sequence[EquivocationProof]) -> Recovered:
        """What store and sign state hold. Raises StoreDamaged."""
        signed = self._sign_state.block(self._epoch.number)
        own = None if signed is None else self._own_block(signed)
        if own is not None and signed is not None:
            # Before any peer is served (promise 3): one that lost its sign state counts on our newest block.
            self.blocks.put_blocks([(own.block.ref, signed.block)])
            self.signed_round = own.block.ref.round
        try:
            recovered = serving.recover(
                self.blocks,
                own,
                evidence=tuple(evidence),
                after_commit=self._epoch.after_commit,
            )
        except MalformedBlock as err:
            raise StoreDamaged(f"{self._store.path}: {err}") from err
        event(
            _log,
            "engine recovered",
            blocks=len(recovered.blocks),
            commit=self._store.last_commit_index(),
            signed_round=self.signed_round,
        )
        return recovered

    def _own_block(self, signed: BlockSigned) -> VerifiedBlock:
        path = self._store.path.parent / "block"
        try:
            block = decode_block(signed.block)
        except MalformedBlock as err:
            raise StoreDamaged(f"{path}: {err}") from err
        header, committee = block.header, self._epoch.committee
        if (header.chain_id, header.epoch, header.author) != (
            committee.chain_id,
            self._epoch.number,
            self._own,
        ):
            raise StoreDamaged(
                f"{path}: a block of another ledger, epoch or member: this folder belongs to another node"
            )
        return of_own_store(block)

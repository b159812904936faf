"""The node of `node.main` with an engine that lies once: it signs two blocks for one round and shows each to a part of the peers.

Everything else is the shipping node. The second block differs by a millisecond; validators of odd index are sent it in place of
the first. Who holds either soon hears of the other from somebody who does.

    python -m tests.e2e.lying_node --home DIR
"""

import sys
from dataclasses import replace

from consensus.codec import encode_block
from consensus.events import SendBlocks
from consensus.types import Block, Millis, Ref
from node.engine.dag import DagEngine
from node.engine.epochs import Epochs
from node.main import build_engine, main
from node.network import wire
from node.signing.blocks import sign_block
from node.start.wiring import Parts

LIE_ROUND = 8  # late enough that all peers are there


class LyingEngine(DagEngine):
    """See the module's text."""

    _first: Ref | None = None
    _second: Block | None = None

    async def _persist(self, block: Block) -> None:
        await super()._persist(block)
        if self._second is None and self._keys is not None and block.ref.round >= LIE_ROUND:
            header = replace(block.header, time_ms=Millis(block.header.time_ms + 1))
            twin = sign_block(self._keys.block, header, block.payload).block
            self._keeping.blocks.put_blocks([(twin.ref, encode_block(twin))])
            self._first, self._second = block.ref, twin

    def _send_blocks(self, effect: SendBlocks) -> None:
        if self._second is None or self._first not in effect.blocks or effect.peer % 2 == 0:
            super()._send_blocks(effect)
            return
        shown = [self._second.ref if ref == self._first else ref for ref in effect.blocks]
        self._network.send(effect.peer, wire.bundle_frame(map(self._keeping.bytes_of, shown)))


def build_lying_engine(parts: Parts) -> Epochs:
    """The parts of the shipping engine, its first epoch in other hands."""
    honest = build_engine(parts)
    assert isinstance(honest, Epochs), "the shipping engine"
    honest._engine.__class__ = LyingEngine
    return honest


if __name__ == "__main__":
    sys.exit(main(None, build_lying_engine))

"""Blocks verified lately, with their bytes.

With history pushed, each block comes from several peers. A copy costs its header's hash and one comparison of bytes: it is not
decoded again, nor verified, nor encoded again when it is stored or sent. Only verified blocks are here, and a copy counts as one
only if all its bytes are equal: one with another signature is another question (SPEC 3).
"""

from collections import OrderedDict
from typing import Final

from consensus.codec import encode_block
from consensus.types import Block, Ref, VerifiedBlock

BYTES_MAX: Final = 8 * 1024 * 1024  # of bytes; the decoded payload takes about as much again


class RecentBlocks:
    """Oldest out first."""

    def __init__(self, *, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._held: OrderedDict[Ref, tuple[bytes, VerifiedBlock]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, block: VerifiedBlock, data: bytes) -> None:
        """`data` is the block's bytes. The first bytes of a name stay."""
        ref = block.block.ref
        if ref in self._held:
            return
        self._held[ref] = (data, block)
        self._bytes += len(data)
        while self._bytes > self._bytes_max and len(self._held) > 1:
            _, (old, _) = self._held.popitem(last=False)
            self._bytes -= len(old)

    def copy_of(self, ref: Ref, data: bytes) -> VerifiedBlock | None:
        """The verified block whose bytes these are, if it is here."""
        held = self._held.get(ref)
        return held[1] if held is not None and held[0] == data else None

    def data(self, ref: Ref) -> bytes | None:
        held = self._held.get(ref)
        return None if held is None else held[0]

    def data_of(self, block: Block) -> bytes:
        """The block's bytes, from here or encoded again."""
        return self.data(block.ref) or encode_block(block)

"""A peer's bytes become verified blocks, or a charge against the peer.

Cheapest first: the header's hash tells a copy of what was verified lately; then the payload is decoded and hashed; then
signatures are checked in threads, all of a bundle together; then the rules of SPEC 3. One bad block spoils its whole bundle: an
honest peer forwards only what it has verified itself, so there is nobody to be kind to.
"""

from collections.abc import Callable, Sequence
from typing import Final

from consensus.codec import MalformedBlock, decode_block, peek_ref
from consensus.types import Block, VerifiedBlock
from node.engine.recent import RecentBlocks
from node.network.hosting import Rejected
from node.signing.blocks import BlockVerifier, Refused

MALFORMED_POINTS: Final = 20.0
SIGNATURE_POINTS: Final = 20.0
INVALID_POINTS: Final = 40.0  # its author signed it: no accident on the way


class Receiver:
    """One per node; calls may overlap."""

    def __init__(
        self,
        verifier: BlockVerifier,
        recent: RecentBlocks,
        on_payload: Callable[[Block], None],
        on_refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_payload` is told of each block seen for the first time: its entries' signatures can be checked ahead.

        `on_refused` is told why a bundle was refused: malformed, signature, invalid.
        """
        self._verifier = verifier
        self._recent = recent
        self._on_payload = on_payload
        self._on_refused = on_refused

    async def open(self, data: Sequence[bytes]) -> tuple[VerifiedBlock, ...]:
        """All of them, in order. Raises Rejected: none of it is used."""
        found: list[VerifiedBlock | None] = []
        fresh: list[Block] = []
        fresh_data: list[bytes] = []
        try:
            for one in data:
                known = self._recent.copy_of(peek_ref(one), one)
                found.append(known)
                if known is None:
                    fresh.append(decode_block(one))
                    fresh_data.append(one)
        except MalformedBlock as err:
            self._on_refused("malformed")
            raise Rejected(f"malformed block: {err}", MALFORMED_POINTS) from None
        if not fresh:
            return tuple([block for block in found if block is not None])
        verified = iter(await self._verified(fresh, fresh_data))
        return tuple([next(verified) if block is None else block for block in found])

    async def _verified(
        self, blocks: Sequence[Block], data: Sequence[bytes]
    ) -> list[VerifiedBlock]:
        found: list[VerifiedBlock] = []
        for verdict in await self._verifier.verify(blocks):
            if isinstance(verdict, Refused):
                points = INVALID_POINTS if verdict.by_author else SIGNATURE_POINTS
                self._on_refused("invalid" if verdict.by_author else "signature")
                raise Rejected(f"block {_named(verdict)}: {verdict.why}", points)
            found.append(verdict)
        for block, one in zip(found, data, strict=True):
            self._recent.add(block, one)
            self._on_payload(block.block)
        return found


def _named(refused: Refused) -> str:
    ref = refused.ref
    return f"{ref.round}/{ref.author}/{ref.digest[:4].hex()}"

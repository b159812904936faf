"""THE VILLAIN: the node of a state that leaves out of its blocks what speaks against it. For the rehearsal alone.

    python -m node.cli.demo.censoring_node --home DIR

It is the shipping node with one thing of its own in between: when its engine takes entries for the next block, the votes of
other states in a BREACH about its own state are not among them. It has taken and acknowledged them, so they look proposed to
whoever asks it, and never are. Nothing in the published node helps with this, and nothing there could prevent it: a
state runs what it likes. What makes it vain is that nobody needs this node (RULINGS R59).
"""

import sys
from dataclasses import replace
from typing import Any, Final, cast

from node.ledger.mempool import Mempool
from node.log.cose import parse_statement
from node.log.errors import MalformedStatement
from node.main import build_engine, main
from node.start.wiring import Engine, Parts
from node.treaty.errors import MalformedContent
from node.treaty.parsing import parse_entry

MOTION: Final = "BREACH:"


class CensoringMempool:
    """Everything is the mempool's, except what comes out for blocks."""

    def __init__(self, mempool: Mempool, state: str) -> None:
        self._mempool = mempool
        self._state = state

    def take(
        self, max_bytes: int, max_count: int, *, is_busy: bool = False, due_by_ms: int = 0
    ) -> tuple[bytes, ...]:
        """As the mempool's, without what is unwelcome: that stays marked as proposed, and is in no block."""
        taken = self._mempool.take(max_bytes, max_count, is_busy=is_busy, due_by_ms=due_by_ms)
        return tuple(entry for entry in taken if not is_unwelcome(entry, self._state))

    def __len__(self) -> int:
        return len(self._mempool)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mempool, name)


def is_unwelcome(entry: bytes, state: str) -> bool:
    """Another state's vote in a case against `state`: the case's id begins CHECK:STATE:."""
    try:
        payload = parse_statement(entry).payload
        if payload is None:
            return False
        parsed = parse_entry(payload)
    except (MalformedStatement, MalformedContent):
        return False  # other people's nonsense is none of its business
    if parsed.kind != "vote" or parsed.author == state:
        return False
    motion: str = parsed.body.motion
    return motion.startswith(MOTION) and motion.split(":")[2:3] == [state]


def build(parts: Parts) -> Engine:
    """The shipping engine, fed by the censoring mempool."""
    state = parts.prepared.settings.node.state
    return build_engine(
        replace(parts, mempool=cast("Mempool", CensoringMempool(parts.mempool, state)))
    )


if __name__ == "__main__":
    sys.exit(main(None, build))

"""The operator's word that the sign state is lost, on its way to the core (SPEC 10; `consensus.amnesia`).

    core raises SIGN_STATE_LOST -> `open` -> looks into the folder each second -> `foedus node confirm-loss` wrote: LossConfirmed

The word is put aside before it is acted upon, so it counts for one loss; one that lies there at a start was meant for another.
"""

import asyncio
import logging
from typing import Final

from consensus.events import LossConfirmed
from node.engine.inbox import Inbox
from node.storage.sign_state import SignState
from node.telemetry import event

LOOK_S: Final = 1.0
_log = logging.getLogger("foedus.engine")


class LossWatch:
    """One per engine."""

    def __init__(self, sign_state: SignState, inbox: Inbox) -> None:
        self._sign_state = sign_state
        self._inbox = inbox
        self._lost = asyncio.Event()

    def start(self) -> None:
        """Before the core starts. Raises WriteFailed."""
        if self._sign_state.take_loss_confirmed():
            event(_log, "an old confirmation of a loss was put aside", level=logging.WARNING)

    def open(self) -> None:
        """The core says that the sign state is lost."""
        self._lost.set()

    async def run(self) -> None:
        """Until cancelled. Raises WriteFailed."""
        while True:
            await self._lost.wait()
            if self._sign_state.take_loss_confirmed():
                event(_log, "loss of the sign state confirmed", level=logging.WARNING)
                self._inbox.tell(("loss", 0), LossConfirmed())
                self._lost.clear()
            else:
                await asyncio.sleep(LOOK_S)

"""From epoch to epoch without a restart: the engine as the node sees it (SPEC 14.4, 14.5; DESIGN D1).

    engine of epoch 7 ──── its last commit is applied ────► engine of epoch 8, beside it ────► engine of epoch 7 stops

One port serves them all (`node.network.listener`), and each epoch has a core, a network and streams of its own, so nothing of one
can be taken for another's. The old engine goes on, without payload, until a quorum of the new members has been seen active and
the old members' last checkpoint is certified; then whoever still asks about it is answered from the store (`PastEpoch`). A node
that was away walks through the epochs it missed in the same way, one after another.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from node.engine.dag import DagEngine
from node.engine.figures import EngineFigures
from node.engine.parts import EngineParts, PeerLink
from node.engine.past import PastEpoch
from node.ledger.cosigned import Cosigned
from node.network.doorkeeper import Handshakes
from node.network.listener import Listener
from node.network.service import PeerService
from node.telemetry import event

LOOK_EVERY_S: Final = 0.5
_log = logging.getLogger("foedus.engine")


class Epochs:
    """See the module's text. `start`, then `run` until cancelled, then `stop`."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._listener = Listener(
            parts.listen_peer, parts.transport, Handshakes(parts.metrics, parts.monotonic)
        )
        self._listener.on_past(self._open_past)
        self._engine = DagEngine(parts, listener=self._listener)
        self._old: DagEngine | None = None
        self._runs: dict[int, asyncio.Task[None]] = {}
        parts.metrics.read_at_scrape(
            "foedus_epoch", "Epoch that goes on here.", lambda: self._engine.epoch.number
        )

    # The engine as the node sees it

    async def start(self) -> None:
        """Read what was left, listen to peers. Raises OSError naming the address, StoreDamaged."""
        await self._engine.start()
        self._engine.renew_register()
        await self._listener.start(len(self._engine.epoch.members))

    async def run(self) -> None:
        """Until cancelled. Raises what stops the node, in a group: StorageError, LedgerError, AssertionError."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listener.count_handshakes(), name="handshakes")
            self._run(self._engine, tasks)
            while True:
                await self._engine.over.wait()
                await self._begin(tasks)

    async def stop(self) -> None:
        """Leave the peers."""
        for engine in (self._old, self._engine):
            if engine is not None:
                await engine.stop()
        await self._listener.stop()

    def send(self, line: Cosigned) -> None:
        """An own cosignature, to every peer of the epoch that it belongs to."""
        for engine in (self._old, self._engine):
            if engine is not None and engine.cosigns(line.size):
                engine.send(line)

    def own_round(self) -> int:
        return self._engine.own_round()

    def peers(self) -> Sequence[PeerLink]:
        return self._engine.peers()

    def figures(self) -> EngineFigures:
        """How this node stands in the epoch that goes on."""
        return self._engine.figures()

    def alarms(self) -> Sequence[str]:
        """What an operator must look at, one sentence each."""
        return self._engine.alarms()

    # From one to the next

    def _run(self, engine: DagEngine, tasks: asyncio.TaskGroup) -> None:
        number = engine.epoch.number
        self._runs[number] = tasks.create_task(engine.run(), name=f"epoch {number}")

    async def _begin(self, tasks: asyncio.TaskGroup) -> None:
        """The next epoch's engine takes over; the one before goes on beside it, the one before that has had its time."""
        if self._old is not None:
            await self._close(self._old)
        self._old = self._engine
        following = DagEngine(self._parts, listener=self._listener)
        await following.start()
        following.renew_register()
        self._engine = following
        event(
            _log,
            "epoch begun",
            epoch=following.epoch.number,
            members=",".join(member.state for member in following.epoch.members),
            after_commit=following.epoch.after_commit,
            validates=following.validates,
        )
        self._run(following, tasks)
        tasks.create_task(self._see_off(self._old), name=f"end of epoch {self._old.epoch.number}")

    async def _see_off(self, old: DagEngine) -> None:
        """Keep the old engine until nobody needs it (SPEC 14.5)."""
        following, finality = self._engine, self._parts.finality
        last_size = following.epoch.after_size
        while self._old is old:
            certified = finality.is_certified(last_size) or not old.validates
            if following.is_active() and certified:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        if self._old is old:
            self._old = None
            await self._close(old)
            event(_log, "epoch left", epoch=old.epoch.number)

    async def _close(self, engine: DagEngine) -> None:
        run = self._runs.pop(engine.epoch.number, None)
        if run is None:
            return  # on its way already: epochs follow closely where a node walks through those it missed
        run.cancel()
        await asyncio.wait((run,))
        await engine.stop()

    def _open_past(self, number: int) -> PeerService | None:
        epochs = self._parts.ledger.epochs
        if not 0 <= number < len(epochs) or not epochs[number].is_over:
            return None
        certificates = self._engine.good_certificates()
        return PastEpoch(self._parts, epochs[number], certificates, self._listener).service

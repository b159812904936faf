"""One node, one process: settings once, objects built and handed over, run until told to stop.

    python -m node.main --home DIR [--passphrase-file FILE]

    home: settings, keys, genesis                  2  something there is missing or wrong: nothing was started
      sign state (lock), store, ledger             1  the node cannot go on; the last log line says what to do
        mempool, admission, finality               0  stopped by SIGTERM or SIGINT
        network (peers), engine
        client server, HTTP, metrics

It starts from the bottom up and stops from the top down: nothing more is admitted, callers get a moment, then peers are left, the
engine ends, the store closes last. A second signal ends the process at once: whatever left it is durable.
"""

import argparse
import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

from consensus.pace import pace_of
from node.engine.epochs import Epochs
from node.engine.parts import EngineParts
from node.ledger.errors import LedgerError
from node.reporting import CouldNot
from node.settings import FILE_NAME
from node.start.home import BadStart, Prepared, prepare
from node.start.mending import mend, mend_what_was_met, remember_damage
from node.start.wiring import (
    Engine,
    Parts,
    admission_of,
    faces_of,
    measure,
    open_parts,
    outside_of,
    renew_certificates,
    served_node,
)
from node.storage.errors import StorageError, StoreDamaged
from node.storage.sign_state import SignState
from node.telemetry import Metrics, event, start_logging

EXIT_STOPPED: Final = 0
EXIT_FATAL: Final = 1
EXIT_BAD_START: Final = 2
_log = logging.getLogger("foedus.node")

BuildEngine = Callable[[Parts], Engine]


def main(argv: Sequence[str] | None, build_engine: BuildEngine) -> int:
    """Run a node around this engine; returns the exit status drawn above."""
    arguments = _arguments(argv)
    if not __debug__:
        print(
            "python -O removes the assertions that stop a node at its own faults: run it without -O",
            file=sys.stderr,
        )
        return EXIT_BAD_START
    try:
        prepared = prepare(arguments.home, arguments.passphrase_file)
    except BadStart as err:
        print(f"foedus node: {err}", file=sys.stderr)
        return EXIT_BAD_START
    start_logging(prepared.settings.log.format, prepared.settings.log.level)
    return asyncio.run(run(prepared, build_engine))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="foedus node run", description="Run one node until SIGTERM or SIGINT."
    )
    parser.add_argument(
        "--home",
        type=Path,
        required=True,
        help=f"folder with {FILE_NAME}, as `foedus init` makes it",
    )
    parser.add_argument(
        "--passphrase-file", type=Path, help="file with the passphrase of the node's key file"
    )
    return parser.parse_args(argv)


class Ending:
    """Why the node ends. The first fault counts."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._fault: BaseException | None = None

    def ask(self) -> None:
        """End in order."""
        self._asked.set()

    def fail(self, err: BaseException) -> None:
        """End because of a fault."""
        if self._fault is None:
            self._fault = err
        self._asked.set()

    async def wait(self) -> None:
        """Until somebody asked. Raises the fault, if one was the reason."""
        await self._asked.wait()
        if self._fault is not None:
            raise self._fault


async def run(prepared: Prepared, build_engine: BuildEngine) -> int:
    """From the first lock to the last flush. Returns the exit status."""
    ending = Ending()
    _on_signals(ending)
    status = EXIT_STOPPED
    try:
        await _serve(prepared, build_engine, ending)
    except* (StorageError, LedgerError, OSError, CouldNot) as group:
        # Each of these messages says what was seen and what to do about it.
        for err in _leaves(group):
            event(_log, "node cannot go on", level=logging.CRITICAL, why=str(err))
            if isinstance(err, StoreDamaged):
                remember_damage(prepared, str(err))
        status = EXIT_FATAL
    except* AssertionError as group:
        why = "a fault of this program: keep this log and the home folder, report it, start again"
        _log.critical(why, exc_info=group)
        status = EXIT_FATAL
    if status == EXIT_STOPPED:
        event(_log, "stopped")
    return status


async def _serve(prepared: Prepared, build_engine: BuildEngine, ending: Ending) -> None:
    metrics = Metrics(prepared.settings.node.state)
    async with AsyncExitStack() as stack:
        sign_state = stack.enter_context(SignState(prepared.settings.data_path))
        await mend_what_was_met(prepared, sign_state)
        try:
            parts, engine = await _begin(prepared, metrics, build_engine, sign_state, stack)
        except StoreDamaged as err:
            if not await mend(prepared, sign_state, str(err)):
                raise
            # Its metrics have the names of the first attempt's: a registry of its own.
            metrics = Metrics(prepared.settings.node.state)
            parts, engine = await _begin(prepared, metrics, build_engine, sign_state, stack)
        admission = admission_of(parts)
        outside = outside_of(parts)
        node = served_node(parts, admission, engine, outside)
        measure(parts, engine, metrics, outside)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(parts.finality.run(), name="finality"),
                tasks.create_task(engine.run(), name="engine"),
            ]
            if outside is not None:
                running.append(tasks.create_task(outside.run(), name="outside witnesses"))
            async with AsyncExitStack() as faces:
                started = faces_of(node, parts, metrics, ending.fail)
                renew_certificates(parts, started)
                for face in started:
                    await face.start()
                    faces.push_async_callback(face.stop)
                _settle_collector()
                _say_ready(parts)
                try:
                    await ending.wait()
                finally:
                    admission.close()
            for task in running:
                task.cancel()


async def _begin(
    prepared: Prepared,
    metrics: Metrics,
    build_engine: BuildEngine,
    sign_state: SignState,
    stack: AsyncExitStack,
) -> tuple[Parts, Engine]:
    """Everything opened and compared, peers listened to. Raises StorageError, LedgerError, OSError: then nothing stays open."""
    async with AsyncExitStack() as attempt:
        parts = await open_parts(prepared, metrics, sign_state, attempt)
        engine = build_engine(parts)
        parts.finality.on_line(engine.send)
        attempt.push_async_callback(engine.stop)
        await engine.start()
        stack.push_async_callback(attempt.pop_all().aclose)
        return parts, engine


def _settle_collector() -> None:
    """Python's cycle collector walks live objects again and again: what is here at the start stays, and it need not look.

    Its thresholds stay as they are. Measured: with higher ones the collector takes 0.2 s less of 5.5 s of processor time at full
    load, but connections that never finish TLS live in cycles, and a flood of them grew the node by 80 MiB.
    """
    gc.collect()
    gc.freeze()


def _say_ready(parts: Parts) -> None:
    settings = parts.prepared.settings
    listen = settings.listen
    event(
        _log,
        "ready",
        state=settings.node.state,
        origin=parts.ledger.genesis.origin,
        size=parts.ledger.size,
        peer=listen.peer,
        client=listen.client,
        http=listen.http,
        metrics=listen.metrics,
    )


def _on_signals(ending: Ending) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        event(_log, "stopping", signal=number.name)
        for other in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(other)  # the next one ends the process at once
        ending.ask()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


def _leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    """The errors in a tree of groups."""
    found: list[BaseException] = []
    for err in group.exceptions:
        found += _leaves(err) if isinstance(err, BaseExceptionGroup) else [err]
    return found


def build_engine(parts: Parts) -> Engine:
    """The embedded engine: a DAG of blocks among the members (DESIGN D1)."""
    prepared = parts.prepared
    return Epochs(
        EngineParts(
            genesis=prepared.genesis,
            chain_id=parts.ledger.chain_id,
            keys=prepared.keys,
            later_keys=prepared.later_keys,
            listen_peer=prepared.settings.listen.peer,
            pace=partial(pace_of, prepared.settings.pace.profile),
            store=parts.store,
            sign_state=parts.sign_state,
            pool=parts.pool,
            ledger=parts.ledger,
            mempool=parts.mempool,
            finality=parts.finality,
            metrics=parts.metrics,
            decisions=prepared.settings.decisions_path,
        )
    )


if __name__ == "__main__":
    sys.exit(main(None, build_engine))

"""A store that is damaged is put whole again before a node goes on, and readers are shown meanwhile what it can still prove.

What stopped the node when it ran last is remembered in a file of the data folder: not every row is read at a start.
"""

import asyncio
import contextlib
import logging
from contextlib import AsyncExitStack
from typing import Final

from node.api.listener import HttpListener
from node.api.stale import StaleFiles, newest_proven
from node.audit.at_start import mend_at_start
from node.start.home import Prepared
from node.storage.errors import StorageError
from node.storage.sign_state import SignState
from node.storage.store import Store
from node.telemetry import event

DAMAGE_NOTE: Final = (
    "store-damaged"  # file in the data folder: what stopped the node when it ran last
)
DAMAGE_NOTE_CHARS_MAX: Final = 2_000
_log = logging.getLogger("foedus.node")


async def mend_what_was_met(prepared: Prepared, sign_state: SignState) -> None:
    """A row that stopped this node when it ran last need not be one that is read at a start. Raises as `mend`."""
    note = prepared.settings.data_path / DAMAGE_NOTE
    if note.is_file():
        await mend(prepared, sign_state, note.read_text(encoding="utf-8", errors="replace"))
        note.unlink()


def remember_damage(prepared: Prepared, why: str) -> None:
    """For the next start; if the disk refuses even that, the operator's log has it."""
    with contextlib.suppress(OSError):
        note = prepared.settings.data_path / DAMAGE_NOTE
        note.write_text(why[:DAMAGE_NOTE_CHARS_MAX], encoding="utf-8")


async def mend(prepared: Prepared, sign_state: SignState, why: str) -> bool:
    """Put a whole store in the place of the damaged one; meanwhile readers are shown what it can still prove.

    False: nothing was wrong with it. Raises StorageError, OSError, CouldNot: then an operator must look.
    """
    event(_log, "store damaged", level=logging.ERROR, why=why)
    settings = prepared.settings
    async with AsyncExitStack() as shown:
        await _show_stale(prepared, why, shown)
        made = await asyncio.to_thread(
            mend_at_start,
            settings,
            prepared.genesis,
            prepared.document,
            prepared.keys.transport,
            sign_state,
        )
    for row in made.damage.rows:
        event(_log, "row damaged", level=logging.ERROR, row=str(row))
    event(
        _log,
        "store repaired" if made.replaced else "store found sound",
        level=logging.WARNING,
        size=made.size,
        commits=made.commits,
        cut=made.cut,
        set_aside=None if made.set_aside is None else str(made.set_aside),
        # A family may bear the name of a field: `commits` does.
        **{f"damaged_{family}": count for family, count in made.damage.counts.items()},
    )
    return made.replaced


async def _show_stale(prepared: Prepared, why: str, stack: AsyncExitStack) -> None:
    """As far as the damaged store can be read at all."""
    settings = prepared.settings
    try:
        store = stack.enter_context(Store.open(settings.store_path, read_only=True, salvage=True))
        stands = newest_proven(store, prepared.genesis, prepared.document)
    except StorageError as err:
        event(_log, "nothing can be shown meanwhile", level=logging.WARNING, why=str(err))
        return
    if stands is None:
        event(_log, "nothing can be shown meanwhile", level=logging.WARNING)
        return
    files = StaleFiles(store, stands, prepared.genesis, prepared.keys.log, why)
    face = HttpListener(
        files.app(),
        settings.listen.http,
        requests_max=settings.limits.http_connections,
        identity=prepared.keys.transport,
    )
    await face.start()
    stack.push_async_callback(face.stop)
    event(_log, "shown meanwhile, as it stood", size=stands.checkpoint.size)

"""Hand-made mistakes in the driver, at least one at each of its seams; `mutants` runs them.

Each must be caught by whole nodes in virtual time (`tests.simulation.driver`), not by a unit test.
"""

from functools import partial
from typing import Final

from tests.simulation.mutant import Mutant

_Node = partial(Mutant, room="node")

DRIVER: Final = (
    # the disk
    _Node(
        "a flush that flushes nothing",
        "storage/group_sync.py",
        "        self._flush()\n        for then in thens:",
        "        for then in thens:",
    ),
    _Node(
        "a second caller that counts on a flush begun before it wrote",
        "storage/group_sync.py",
        "            if self._next is None:\n"
        "                self._next = asyncio.get_running_loop().create_future()\n"
        "            mine = self._next\n",
        "            mine = self._running\n",
    ),
    _Node(
        "a sign state written in place",
        "storage/sign_state.py",
        "            self._files.write(temporary, data)\n"
        "            self._files.rename(temporary, self._folder / name)\n",
        "            self._files.write(self._folder / name, data)\n",
    ),
    # the engine
    _Node(
        "an own block that leaves without its sign state",
        "engine/keeping.py",
        "durable(partial(self._sign_state.save_block, signed))",
        "durable()",
    ),
    _Node(
        "an own block that does not wait for its sign state",
        "engine/keeping.py",
        "await self._store.durable(partial(self._sign_state.save_block, signed))",
        "__import__('asyncio').ensure_future("
        "self._store.durable(partial(self._sign_state.save_block, signed)))",
    ),
    _Node(
        "a start without the own block that was signed last",
        "engine/keeping.py",
        "own = None if signed is None else self._own_block(signed)",
        "own = None",
    ),
    _Node(
        "a clock that jumps when somebody sets the machine's",
        "engine/clock.py",
        "max(-most, min(most, error))",
        "error",
    ),
    _Node(
        "commits applied newest first",
        "engine/applying.py",
        "self._queue.append((decided, size))",
        "self._queue.appendleft((decided, size))",
    ),
    _Node(
        "blocks whose signature nobody checked",
        "signing/blocks.py",
        "        if not good:\n",
        "        if good is None:\n",
    ),
    # the ledger
    _Node(
        "a log that is shown before it is durable",
        "ledger/ledger.py",
        "        if any(plan.leaves for plan in plans):\n            await self._store.durable()\n",
        "",
    ),
    _Node(
        "a cosignature that leaves before its file is written",
        "ledger/cosigner.py",
        "        await asyncio.to_thread(self._sign_state.save_cosign, signed)\n",
        "",
    ),
    _Node(
        "a restart that forgets what it cosigned",
        "ledger/cosigner.py",
        "CosignSigned | None = sign_state.cosign()",
        "CosignSigned | None = None",
    ),
    _Node(
        "cosignatures that nobody checked",
        "ledger/finality.py",
        "        if not self._terms.is_good(line, self._origin):\n            return Added.REFUSED\n",
        "",
    ),
    _Node(
        "final with a quorum less one",
        "ledger/finality.py",
        "elif len(held) >= self._terms.quorum_at(line.size):",
        "elif len(held) >= self._terms.quorum_at(line.size) - 1:",
    ),
    _Node(
        "one member that contradicts us stops us",
        "ledger/conflicts.py",
        "count > self._terms.faults_in(epoch)",
        "count > 0",
    ),
    _Node(
        "an acknowledgement before the disk has the entry",
        "ledger/admission.py",
        "        # Also for what was here before: its first submission may still wait for the disk.\n"
        "        await self._store.durable()\n",
        "",
    ),
    _Node(
        "a mempool that a restart leaves on the disk",
        "ledger/mempool.py",
        "        for row in self._store.all_pending():",
        "        for row in self._store.all_pending()[:0]:",
    ),
    # members that come and go
    _Node(
        "doors of past epochs that know the certificates of once",
        "network/listener.py",
        "            service.close()\n        self._past.clear()\n",
        "            service.close()\n",
    ),
    _Node(
        "a node without a seat that keeps its entries",
        "engine/handing_over.py",
        "entries = self._mempool.take(HANDED_BYTES_MAX, HANDED_MAX)",
        "entries: tuple[bytes, ...] = ()",
    ),
    # the network
    _Node(
        "a peer that is not dialled again",
        "network/link.py",
        "            await self._pause(pause + self._spread_s)\n",
        "            await asyncio.Event().wait()\n",
    ),
)

"""What a node goes on showing while its store is made whole: its newest certified checkpoint and the tiles under it.

    /checkpoint, /checkpoint.full   the newest one that the damaged store can still prove: a quorum of good lines over the root of
                                    the hashes that are there
    /tile/...                       what leads to that root; anything else is refused by name
    /healthz                        503, and why

Stale is better than silent: readers keep what was certified, and see by its size and times that nothing new comes. Nothing is
signed here but the node's own log line under a checkpoint that a quorum has cosigned, the same as before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from consensus.committee import quorum_of
from node.ledger.cosigned import Cosigned, note_lines, parse_cosigned
from node.ledger.epochs import epoch_of_size, epochs_of, founding_epoch
from node.ledger.errors import MalformedRecord
from node.ledger.genesis import Genesis, GenesisMember
from node.ledger.records import EPOCH_TYPE
from node.ledger.sound import SoundLog
from node.log import merkle
from node.log.checkpoint import Checkpoint
from node.log.cosignature import Cosignature
from node.log.errors import MalformedTile
from node.log.merkle import Tree
from node.log.note import Note
from node.log.tiles import TILE_HEIGHT, TILE_WIDTH, encode_bundle, parse_path
from node.signing.checkpoints import sign_log_line, verify_cosignature
from node.signing.keys import SigningKey
from node.storage.errors import StoreDamaged
from node.storage.keys import META_FINAL, Facet
from node.storage.store import Store

NOTE_TYPE: Final = "text/plain; charset=utf-8"
LEAN_LINES_MAX: Final = 15
SIZES_TRIED_MAX: Final = 256  # one is kept a minute: some hours back
RECORDS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stands:
    """The newest checkpoint that a damaged store proves."""

    checkpoint: Checkpoint
    lines: tuple[Cosigned, ...]
    members: tuple[GenesisMember, ...]
    tree: Tree


def newest_proven(store: Store, genesis: Genesis, document: bytes) -> Stands | None:
    """None: nothing that is certified can be shown any more."""
    members_at = _members_at(store, genesis, document)
    for size in _sizes(store):
        try:
            tree = merkle.load(size, store.hash)
            lines = _good_lines(store, genesis.origin, size, tree.root(), members_at(size))
        except StoreDamaged:
            continue
        if len(lines) >= quorum_of(len(members_at(size))):
            checkpoint = Checkpoint(origin=genesis.origin, size=size, root=tree.root())
            return Stands(checkpoint=checkpoint, lines=lines, members=members_at(size), tree=tree)
    return None


def _sizes(store: Store) -> list[int]:
    """Newest first: of the final row, then of the lines that can be listed."""
    found: dict[int, None] = {}
    listed: list[int] = []
    try:
        held = store.meta(META_FINAL)
        if held is not None and len(held) == 8:
            found[int.from_bytes(held, "big")] = None
        for key, _ in store.rows("cosignatures"):
            listed.append(int.from_bytes(key[:8], "big"))
    except StoreDamaged:
        pass  # what was listed before it counts
    found.update(dict.fromkeys(sorted(set(listed), reverse=True)[:SIZES_TRIED_MAX]))
    return [size for size in found if size > 0]


def _members_at(
    store: Store, genesis: Genesis, document: bytes
) -> Callable[[int], tuple[GenesisMember, ...]]:
    """Who cosigns a log of a size, as far as the log still tells."""
    epochs = [founding_epoch(genesis, document)]
    try:
        leaves = store.indexes_by_facet(
            Facet.KIND, EPOCH_TYPE.encode(), first=0, end=2**62, limit=RECORDS_MAX
        )
        epochs = epochs_of(genesis, document, leaves, store.entry)
    except (StoreDamaged, MalformedRecord, KeyError):
        pass  # checkpoints of later members are then not proven, and not shown
    return lambda size: epoch_of_size(epochs, size).members


def _good_lines(
    store: Store, origin: str, size: int, root: bytes, members: Sequence[GenesisMember]
) -> tuple[Cosigned, ...]:
    found: list[Cosigned] = []
    checkpoint = Checkpoint(origin=origin, size=size, root=root)
    for member, row in store.cosignatures(size):
        try:
            line = parse_cosigned(row)
        except MalformedRecord:
            continue
        if (line.size, line.root, line.member) != (size, root, member) or member >= len(members):
            continue
        by = members[member]
        made = Cosignature(timestamp=line.timestamp, signature=line.signature)
        if verify_cosignature(by.state, by.cosigner_key, checkpoint, made) is not None:
            found.append(line)
    return tuple(found)


class StaleFiles:
    """The handlers, over a store opened read-only."""

    def __init__(
        self, store: Store, stands: Stands, genesis: Genesis, log_key: SigningKey, why: str
    ) -> None:
        self._stands = stands
        self._is_open = genesis.publication == "open"
        self._log = SoundLog(store, lambda: stands.tree)
        self._why = why
        self._notes = {full: self._note(log_key, full=full) for full in (False, True)}

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/checkpoint", self.checkpoint),
                Route("/checkpoint.full", self.full_checkpoint),
                Route("/tile/{path:path}", self.tile),
                Route("/healthz", self.health),
            ]
        )

    def _note(self, log_key: SigningKey, *, full: bool) -> bytes:
        stands = self._stands
        shown = stands.lines if full else stands.lines[:LEAN_LINES_MAX]
        lines = note_lines(stands.checkpoint.origin, stands.members, shown)
        own = sign_log_line(log_key, stands.checkpoint)
        return bytes(Note(text=stands.checkpoint.text(), lines=(own, *lines)))

    async def checkpoint(self, request: Request) -> Response:
        del request
        return Response(self._notes[False], media_type=NOTE_TYPE, headers=_UNCACHED)

    async def full_checkpoint(self, request: Request) -> Response:
        del request
        return Response(self._notes[True], media_type=NOTE_TYPE, headers=_UNCACHED)

    async def tile(self, request: Request) -> Response:
        try:
            raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
            tile = parse_path(raw.decode("ascii", "replace").lstrip("/"))
        except MalformedTile as err:
            return _text(HTTPStatus.BAD_REQUEST, str(err))
        if tile.level is None and not self._is_open:
            why = "entries of this ledger go to registered readers: ask another node, this one mends its store"
            return _text(HTTPStatus.FORBIDDEN, why)
        size = self._stands.checkpoint.size
        if not tile.exists(size):
            return _text(HTTPStatus.NOT_FOUND, f"{tile}: not below the size {size}")
        first = TILE_WIDTH * tile.index
        try:
            if tile.level is None:
                body = encode_bundle(self._log.entries(first, tile.width))
            else:
                body = b"".join(self._log.hashes(TILE_HEIGHT * tile.level, first, tile.width))
        except StoreDamaged as err:
            why = f"this node's store is damaged: {err}. Ask another node"
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, why)
        return Response(body, media_type="application/octet-stream", headers=_UNCACHED)

    async def health(self, request: Request) -> Response:
        del request
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, f"this node mends its store: {self._why}")


_UNCACHED: Final = {"cache-control": "no-store"}


def _text(status: HTTPStatus, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", int(status), headers=_UNCACHED)

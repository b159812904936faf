"""The log as files: C2SP tlog-tiles over HTTP, for anyone (FORMATS 8, RULINGS R37, R42, R61).

    /checkpoint                     the newest final checkpoint: own log line, at most 15 cosignatures; renewed once a second
    /checkpoint.full                the same with every cosignature, ML-DSA-44 ones among them where that size has some
    /checkpoint.ml-dsa              the same for the newest final size that has some (RULINGS R36): at most every ten seconds
    /checkpoint.witnessed[/<K>]     the newest final checkpoint with lines of K outside witnesses (1), if any are asked: `outside`
    /policies.json                  from the genesis' trust policy to those of later epochs (`ledger.policy_chain`)
    /tile/<L>/<N>[.p/<W>]           hashes, cut on request, never stored; only what the final checkpoint covers
    /tile/entries/<N>[.p/<W>]       entries, if the genesis says `publication: open`; else to registered readers, who show
                                    a proof in the header foedus-reader (`access`), and for no cache to keep
    /witness/...                    the witness API, see `witness`
    /entries, /.well-known/...      the SCITT surface, see `scrapi`
    /healthz                        200 while the node serves; 503 once it has raised the alarm

Tiles never change, so whoever stands between may keep the public ones for ever.
"""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from node.api.access import READER_HEADER, Access
from node.api.node import ServedNode
from node.api.refusals import Unanswerable
from node.api.scrapi import ScrapiFace
from node.api.witness import WitnessBook, WitnessFace
from node.ledger.policy_chain import encode_links, links_of
from node.log.errors import MalformedTile
from node.log.note import Note
from node.log.tiles import TILE_HEIGHT, TILE_WIDTH, TilePath, encode_bundle, parse_path
from node.storage.errors import StoreDamaged

CHECKPOINT_MAX_AGE_S: Final = 1
IMMUTABLE: Final = "public, max-age=31536000, immutable"
NOTE_TYPE: Final = "text/plain; charset=utf-8"
TILE_TYPE: Final = "application/octet-stream"
_FOR_READERS: Final = (
    "entries of this ledger go to members, its secretariat and accredited readers: show a reader's proof in the header"
    f" {READER_HEADER} (`foedus log reader-proof`), or use the hash tiles, which are public"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """A checkpoint as it is shown for up to a second."""

    at_s: float
    note: bytes | None


class LogFiles:
    """The handlers. `clock_s` is monotone."""

    def __init__(
        self,
        node: ServedNode,
        clock_s: Callable[[], float],
        *,
        on_fatal: Callable[[BaseException], None],
        book: WitnessBook | None = None,
    ) -> None:
        """`book`: what is cosigned for other people's logs, if any are. `on_fatal` stops the node."""
        self._node = node
        self._witness = WitnessFace(node, book)
        self._scrapi = ScrapiFace(node, on_fatal)
        self._clock_s = clock_s
        self._access = Access(node)
        self._shown: dict[str, _Served] = {}  # by path
        self._links = (0, encode_links(()))  # how many, and their file

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/checkpoint", self.checkpoint),
                Route("/checkpoint.full", self.full_checkpoint),
                Route("/checkpoint.ml-dsa", self.second_checkpoint),
                Route("/checkpoint.witnessed", self.witnessed_checkpoint),
                Route("/checkpoint.witnessed/{count:int}", self.witnessed_checkpoint),
                Route("/policies.json", self.policies),
                Route("/tile/{path:path}", self.tile),
                *self._witness.routes(),
                *self._scrapi.routes(),
                Route("/healthz", self.health),
            ]
        )

    async def checkpoint(self, request: Request) -> Response:
        del request
        return self._checkpoint("lean", self._node.finality.lean_note)

    async def full_checkpoint(self, request: Request) -> Response:
        del request
        return self._checkpoint("full", self._node.finality.full_note)

    async def second_checkpoint(self, request: Request) -> Response:
        del request
        finality = self._node.finality
        if not finality.stopped and finality.second_note() is None:
            return _text(HTTPStatus.NOT_FOUND, "no state has cosigned by ML-DSA-44 yet")
        return self._checkpoint("ml-dsa", finality.second_note)

    async def witnessed_checkpoint(self, request: Request) -> Response:
        count = request.path_params.get("count", 1)
        outside, finality = self._node.outside, self._node.finality
        note = None if outside is None else outside.note(count)
        if finality.stopped:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, f"alarm: {finality.alarm}")
        if note is None:
            why = "no outside witness is asked here" if outside is None else "none yet"
            return _text(HTTPStatus.NOT_FOUND, f"no checkpoint with so many outside lines: {why}")
        headers = {"cache-control": f"public, max-age={CHECKPOINT_MAX_AGE_S}"}
        return Response(bytes(note), media_type=NOTE_TYPE, headers=headers)

    async def policies(self, request: Request) -> Response:
        del request
        node = self._node
        if len(node.ledger.epochs) - 1 != self._links[0]:
            try:
                links = links_of(node.ledger, node.finality)
            except StoreDamaged as err:
                return _text(
                    HTTPStatus.INTERNAL_SERVER_ERROR, f"this node's store is damaged: {err}"
                )
            self._links = (len(links), encode_links(links))
        headers = {"cache-control": f"public, max-age={CHECKPOINT_MAX_AGE_S}"}
        return Response(self._links[1], media_type="application/json", headers=headers)

    async def tile(self, request: Request) -> Response:
        try:
            # The path as sent: a percent sign in it is another spelling, and tiles have one.
            raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
            tile = parse_path(raw.decode("ascii", "replace").lstrip("/"))
        except MalformedTile as err:
            return _text(HTTPStatus.BAD_REQUEST, str(err))
        if tile.level is None:
            try:
                admitted = self._access.may_read_bundles(request.headers.get(READER_HEADER))
            except Unanswerable as err:
                return _text(HTTPStatus.FORBIDDEN, f"{err.field}: {err.why}")
            if not admitted:
                return _text(HTTPStatus.FORBIDDEN, _FOR_READERS)
        size = self._node.finality.final_size
        if not tile.exists(size):
            return _text(HTTPStatus.NOT_FOUND, f"{tile}: not below the final size {size}")
        try:
            body = self._cut(tile)
        except StoreDamaged as err:
            why = f"this node's store is damaged: {err}. Ask another node"
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, why)
        public = tile.level is not None or self._access.is_open
        headers = {"cache-control": IMMUTABLE if public else "no-store"}
        return Response(body, media_type=TILE_TYPE, headers=headers)

    async def health(self, request: Request) -> Response:
        del request
        if self._node.finality.stopped:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, f"alarm: {self._node.finality.alarm}")
        return _text(HTTPStatus.OK, "ok")

    def _cut(self, tile: TilePath) -> bytes:
        ledger = self._node.ledger
        if tile.level is None:
            return encode_bundle(ledger.entries(TILE_WIDTH * tile.index, tile.width))
        hashes = ledger.hashes(TILE_HEIGHT * tile.level, TILE_WIDTH * tile.index, tile.width)
        return b"".join(hashes)

    def _checkpoint(self, which: str, made: Callable[[], Note | None]) -> Response:
        now = self._clock_s()
        shown = self._shown.get(which)
        if shown is None or now - shown.at_s >= CHECKPOINT_MAX_AGE_S:
            note = made()
            shown = _Served(at_s=now, note=None if note is None else bytes(note))
            self._shown[which] = shown
        if shown.note is None:
            why = self._node.finality.alarm or "no checkpoint is final yet"
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, why)
        headers = {"cache-control": f"public, max-age={CHECKPOINT_MAX_AGE_S}"}
        return Response(shown.note, media_type=NOTE_TYPE, headers=headers)


def _text(status: HTTPStatus, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", int(status), headers={"cache-control": "no-store"})

"""The log as static files: c2sp.org/tlog-tiles. Paths, geometry, tiles of hashes, bundles of entries.

    tile/<L>/<N>[.p/<W>]        W hashes (256 without .p) of level L: hash i stands for the full subtree over entries
                                [(256 N + i) 256^L, (256 N + i + 1) 256^L)
    tile/entries/<N>[.p/<W>]    entries 256 N .. 256 N + W - 1, each uint16 big-endian length then bytes

N is written in groups of three digits, all but the last with an x before: 1234067 -> x001/x234/067. A tile holds every
eighth level of the tree (levels 0, 8, 16, ...), so 256 hashes of one tile are the leaves below one hash of the next.
A partial tile (W of 1..255) ends where the tree ended at some published size. Partials are cut on request (RULINGS R42).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from node.log.errors import MalformedTile, shown
from node.log.merkle import HASH_BYTES, ReadHash
from node.log.strict import U64_MAX, decimal

TILE_WIDTH = 256  # hashes of a full tile, entries of a full bundle
TILE_HEIGHT = 8  # tree levels that one tile level stands for
TILE_LEVEL_MAX = 63
ENTRY_BYTES_MAX = 65_535  # what a uint16 length can say; RULINGS R12
BUNDLE_BYTES_MAX = TILE_WIDTH * (2 + ENTRY_BYTES_MAX)

_LENGTH_BYTES = 2
_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)
_INDEX_DIGITS_MAX = 21  # seven groups of three hold 2^64-1


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePath:
    """One tile (`level` 0..63) or entry bundle (`level` None); `width` 256 is the full one."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __str__(self) -> str:
        """The path below the prefix, without a leading slash."""
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
        number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{number}{partial}"

    def exists(self, size: int) -> bool:
        """Is this resource covered by a log of `size` entries? It need not be the widest for that size."""
        complete = size >> TILE_HEIGHT * (self.level or 0)
        return TILE_WIDTH * self.index + self.width <= complete


def parse_path(path: str) -> TilePath:
    """The one tile that `path` names. Raises MalformedTile for every other spelling."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise MalformedTile(f"path {shown(path)}: want tile/<L>/<N>[.p/<W>] or tile/entries/...")
    digits = re.sub(r"[x/]", "", match["index"])
    if len(digits) > _INDEX_DIGITS_MAX or int(digits) > U64_MAX:
        raise MalformedTile(f"path {shown(path)}: tile number above 2^64-1")
    width = TILE_WIDTH if match["width"] is None else decimal(match["width"], TILE_WIDTH - 1)
    level = None if match["level"] == "entries" else decimal(match["level"], TILE_LEVEL_MAX)
    if width is None or (level is None and match["level"] != "entries"):
        raise MalformedTile(f"path {shown(path)}: level is 0..63, partial width 1..255")
    tile = TilePath(level=level, index=int(digits), width=width)
    if str(tile) != path:
        raise MalformedTile(f"path {shown(path)}: the shortest spelling is {tile}")
    return tile


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelShape:
    """How many full tiles a level has, and the width of the partial one behind them (0: none)."""

    full: int
    partial_width: int


def geometry(size: int) -> dict[int, LevelShape]:
    """The tiles of a log of `size` entries, by tile level. No empty tiles, so an empty log has no level."""
    levels: dict[int, LevelShape] = {}
    count = size
    while count:
        levels[len(levels)] = LevelShape(full=count // TILE_WIDTH, partial_width=count % TILE_WIDTH)
        count //= TILE_WIDTH
    return levels


def paths(size: int) -> list[TilePath]:
    """Every tile and bundle of a log of `size` entries, in level order, bundles last."""
    found: list[TilePath] = []
    shapes = geometry(size)
    rows: list[tuple[int | None, LevelShape]] = list(shapes.items())
    if shapes:
        rows.append((None, shapes[0]))
    for level, shape in rows:
        found.extend(TilePath(level=level, index=index) for index in range(shape.full))
        if shape.partial_width:
            found.append(TilePath(level=level, index=shape.full, width=shape.partial_width))
    return found


def cut_tile(tile: TilePath, read_hash: ReadHash) -> bytes:
    """The bytes of a hash tile, from stored hashes; the caller has checked `tile.exists(size)`."""
    assert tile.level is not None, f"{tile} is a bundle of entries"
    level = TILE_HEIGHT * tile.level
    first = TILE_WIDTH * tile.index
    return b"".join(read_hash(level, first + offset) for offset in range(tile.width))


def tile_hashes(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile of this width. Raises MalformedTile on any other length."""
    if len(data) != width * HASH_BYTES:
        raise MalformedTile(f"tile of {len(data)} bytes: width {width} has {width * HASH_BYTES}")
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """The bundle of these entries, at most 256, each at most 65,535 bytes (refused before it was ordered)."""
    assert len(entries) <= TILE_WIDTH, f"{len(entries)} entries in one bundle"
    pieces: list[bytes] = []
    for entry in entries:
        pieces += (len(entry).to_bytes(_LENGTH_BYTES, "big"), entry)
    return b"".join(pieces)


def decode_bundle(data: bytes, width: int | None = None) -> list[bytes]:
    """The entries of a bundle. Raises MalformedTile on trailing or missing bytes, or a count other than `width`."""
    entries: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(data[start - _LENGTH_BYTES : start], "big")
        if start > len(data) or position > len(data):
            raise MalformedTile(f"bundle ends inside entry {len(entries)}, at byte {len(data)}")
        entries.append(data[start:position])
        if len(entries) > TILE_WIDTH:
            raise MalformedTile(f"bundle of more than {TILE_WIDTH} entries")
    if width is not None and len(entries) != width:
        raise MalformedTile(f"bundle of {len(entries)} entries: the path says {width}")
    return entries

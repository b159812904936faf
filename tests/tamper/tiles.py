"""Tampers with whole tiles: one level against another, a partial one against its full one, an old one against a new one.

As in `archives`: by nobody in particular, and each returns what it did, or None if this archive gives no occasion.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from node.log import merkle
from node.log.tiles import TILE_WIDTH, TilePath, decode_bundle, encode_bundle, parse_path, paths
from tests.tamper.archives import Tamper
from tests.tamper.folder import Folder

HASH: int = merkle.HASH_BYTES


class TileTampers:
    """On `folder`, which holds an archive of `size` entries; `older` ones have partial tiles of their own."""

    def __init__(
        self, folder: Folder, size: int, older: Sequence[Path], draw: random.Random
    ) -> None:
        self._folder = folder
        self._draw = draw
        self._tiles = paths(size)
        self._old = [
            (archive, parse_path(path.relative_to(archive).as_posix()))
            for archive in older
            for path in sorted((archive / "tile").rglob("*"))
            if path.is_file()
        ]
        self.all: tuple[Tamper, ...] = (
            *(self.one_hash, self.narrower, self.wider, self.old_partial, self.exchanged),
            *(self.level_above, self.shifted, self.partial_beside),
        )

    def _some(self, *, bundles: bool = True) -> TilePath:
        """One tile; of a level, since those above the leaves are few and each covers much."""
        levels = sorted({tile.level for tile in self._tiles if tile.level is not None})
        wanted = self._draw.choice([*levels, None] if bundles else levels)
        return self._draw.choice([tile for tile in self._tiles if tile.level == wanted])

    def _parts(self, tile: TilePath) -> list[bytes]:
        data = self._folder.whole[str(tile)]
        if tile.level is None:
            return decode_bundle(data, tile.width)
        return [data[at : at + HASH] for at in range(0, len(data), HASH)]

    def _put(self, tile: TilePath, parts: Sequence[bytes]) -> None:
        data = encode_bundle(parts) if tile.level is None else b"".join(parts)
        self._folder.write(str(tile), data)

    def one_hash(self) -> str:
        """A hash of any level, by another one or by none of this tree."""
        tile = self._some(bundles=False)
        parts = self._parts(tile)
        at = self._draw.randrange(len(parts))
        other = self._draw.choice([self._draw.randbytes(HASH), parts[at - 1][::-1], bytes(HASH)])
        parts[at] = other
        self._put(tile, parts)
        return f"hash {at} of {tile}"

    def narrower(self) -> str | None:
        """A tile cut to fewer parts, under the name of that width, in place of the wider one."""
        tile = self._some()
        if tile.width < 2:
            return None
        width = self._draw.randint(1, tile.width - 1)
        self._folder.delete(str(tile))
        self._put(replace(tile, width=width), self._parts(tile)[:width])
        return f"{tile} cut to {width}"

    def wider(self) -> str | None:
        """A partial tile filled up, under the name of the full one or of a wider one."""
        partial = [tile for tile in self._tiles if tile.width < TILE_WIDTH]
        tile = self._draw.choice(partial)
        width = self._draw.choice((TILE_WIDTH, self._draw.randint(tile.width + 1, TILE_WIDTH)))
        parts = self._parts(tile)
        more = [self._draw.choice(parts) for _ in range(width - tile.width)]
        if self._draw.random() < 0.5:
            self._folder.delete(str(tile))
        self._put(replace(tile, width=width), [*parts, *more])
        return f"{tile} filled up to {width}"

    def partial_beside(self) -> str | None:
        """A partial tile beside the full one, with the same hashes or others: a client may ask for either."""
        full = [tile for tile in self._tiles if tile.width == TILE_WIDTH]
        if not full:
            return None
        tile = self._draw.choice(full)
        width = self._draw.randint(1, TILE_WIDTH - 1)
        parts = self._parts(tile)[:width]
        if self._draw.random() < 0.5:
            parts = parts[::-1]
        self._put(replace(tile, width=width), parts)
        return f"{tile} of width {width} beside it"

    def old_partial(self) -> str | None:
        """A partial tile as an older archive has it: beside today's, in its place, or cut into its place."""
        here = {(tile.level, tile.index): tile for tile in self._tiles}
        chosen = [
            (archive, tile)
            for archive, tile in self._old
            if tile.width < TILE_WIDTH and (tile.level, tile.index) in here
        ]
        if not chosen:
            return None
        archive, tile = self._draw.choice(chosen)
        today = here[tile.level, tile.index]
        data = (archive / str(tile)).read_bytes()
        way = self._draw.choice(("beside", "instead of", "under the name of"))
        if way != "beside":
            self._folder.delete(str(today))
        self._folder.write(str(today if way == "under the name of" else tile), data)
        return f"{tile} of {archive.name} {way} {today}"

    def exchanged(self) -> str | None:
        """Two tiles of one kind and width change places; or a level has the hashes of another one."""
        tile = self._some()
        others = [each for each in self._tiles if each != tile and each.level is not None]
        same = [each for each in others if each.level == tile.level and each.width == tile.width]
        if tile.level is None:
            same = [
                e for e in self._tiles if e != tile and (e.level, e.width) == (None, tile.width)
            ]
        if same:
            other = self._draw.choice(same)
            self._folder.write(str(tile), self._folder.whole[str(other)])
            self._folder.write(str(other), self._folder.whole[str(tile)])
            return f"{tile} with {other}"
        others = [each for each in others if each.level != tile.level and each.width >= tile.width]
        if tile.level is None or not others:
            return None
        other = self._draw.choice(others)
        self._put(tile, self._parts(other)[: tile.width])
        return f"{tile} with the hashes of {other}"

    def level_above(self) -> str | None:
        """A leaf hash of a full tile altered, and what stands above it made to fit: entries are left as they are."""
        full = [tile for tile in self._tiles if tile.level == 0 and tile.width == TILE_WIDTH]
        if not full:
            return None
        tile = self._draw.choice(full)
        parts = self._parts(tile)
        at = self._draw.randrange(TILE_WIDTH)
        parts[at] = self._draw.randbytes(HASH)
        self._put(tile, parts)
        upper = next(
            each
            for each in self._tiles
            if each.level == 1 and each.index == tile.index // TILE_WIDTH
        )
        hashes = self._parts(upper)
        hashes[tile.index % TILE_WIDTH] = merkle.root_of_leaf_hashes(parts)
        self._put(upper, hashes)
        return f"hash {at} of {tile}, and {upper} to fit"

    def shifted(self) -> str | None:
        """The last part of one bundle goes to the front of the next one, hashes alike or not."""
        if len({tile.index for tile in self._tiles}) < 2:
            return None
        at = self._draw.randrange(len([tile for tile in self._tiles if tile.level is None]) - 1)
        for level in self._draw.choice(((None,), (None, 0), (0,))):
            row = [tile for tile in self._tiles if tile.level == level]
            one, two = self._parts(row[at]), self._parts(row[at + 1])
            moved = [one[-1], *one[:-1]], [one[-1], *two[1:]]
            self._put(row[at], moved[0])
            self._put(row[at + 1], moved[1])
        return f"parts moved over the edge of {row[at]}"

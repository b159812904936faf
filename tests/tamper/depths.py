"""At which depth a tamper must be found: fixed here, by what was touched, before any audit has looked at it.

    of an archive
      manifests that do not fit the files                       parse
    and once a forger has brought the manifests into line:
      a file more or less; the genesis; the policy              parse
      bundles, or tiles of hashes, that disagree; how many      structure
        commits the manifest counts
      both, in agreement; the checkpoint; the policies          certificates
      signatures of blocks                                      signatures
      commits, blocks, deciders, undecided blocks               order
    of a store
      an entry or a tree hash that is read                      structure
      a cosignature                                             certificates
      a commit record, a committed block                        order
      all other rows; rows too many; bytes of its files         store

Each is the cheapest one at which what was touched is looked at by what it means: no depth before it reads the part at all, but
to hash it. The depth of a tamper with several parts is that of the cheapest.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from node.audit.archive import CHECKPOINT, MANIFEST, POLICIES, SIGNATURES, SIGNATURES_MANIFEST
from node.audit.findings import Depth
from node.log import merkle
from node.log.checkpoint import parse_checkpoint
from node.log.errors import MalformedInput
from node.log.note import parse_note
from node.log.tiles import TILE_WIDTH, TilePath, decode_bundle, parse_path, tile_hashes

MANIFESTS: Final = frozenset({MANIFEST, SIGNATURES_MANIFEST})
BUNDLES: Final = "tile/entries/"
ORDER: Final = list(Depth)
POINT: Final = ("size", "root")

Files = Mapping[str, bytes]


def cheapest(depths: Collection[Depth]) -> Depth:
    return min(depths, key=ORDER.index)


def of_archive(
    held: Files,
    references: Sequence[Files],
    *,
    sealed: bool,
    excused: frozenset[str] = frozenset(),
) -> Depth:
    """`held`: its files now; `references`: the whole archives that it may be taken for, one with parts of another being both.

    `sealed`: the manifests were brought into line. `excused`: files that an honest node may have as they are here.
    """
    if not sealed:
        return Depth.PARSE
    return max((_beside(held, whole, excused) for whole in references), key=ORDER.index)


def _beside(held: Files, whole: Files, excused: frozenset[str]) -> Depth:
    """Taken for `whole`, tampered with."""
    changed = {name for name in held if held[name] != whole.get(name)} - MANIFESTS - excused
    too_few_or_many = set(held) ^ set(whole)
    if too_few_or_many - {POLICIES}:
        return Depth.PARSE
    depths = [_of_file(name) for name in (*changed, *too_few_or_many)]
    if any(name.startswith("tile/") for name in changed):
        depths.append(Depth.CERTIFICATES if _agree(held) else Depth.STRUCTURE)
    said, true = (json.loads(files[MANIFEST]) for files in (held, whole))
    if said["commits"] != true["commits"]:
        depths.append(Depth.STRUCTURE)
    if any(said[name] != true[name] for name in said if name not in ("files", "commits", *POINT)):
        depths.append(Depth.PARSE)
    if any(said[name] != value for name, value in _point(held[CHECKPOINT]).items()):
        depths.append(Depth.PARSE)
    return cheapest(depths or [Depth.PARSE])


def _point(note: bytes) -> dict[str, object]:
    """What the checkpoint says that the manifest repeats; nothing of one that cannot be read."""
    try:
        checkpoint = parse_checkpoint(parse_note(note).text)
    except MalformedInput:
        return {}
    return dict(zip(POINT, (checkpoint.size, checkpoint.root.hex()), strict=True))


def _of_file(name: str) -> Depth:
    if name in ("genesis.cbor", "policy"):
        return Depth.PARSE
    if name in (CHECKPOINT, POLICIES) or name.startswith("tile/"):
        return Depth.CERTIFICATES
    if name.startswith(f"{SIGNATURES}/") and name.endswith(".blocks"):
        return Depth.SIGNATURES
    return Depth.ORDER


def _agree(held: Files) -> bool:
    """Whether each tile holds what the bundles, and the tiles below it, lead to."""
    tiles = [parse_path(name) for name in held if name.startswith("tile/")]
    below: list[bytes] = []
    try:
        for tile in _row(tiles, None):
            below += merkle.leaf_hashes(decode_bundle(held[str(tile)], tile.width))
        for level in sorted({tile.level for tile in tiles if tile.level is not None}):
            found: list[bytes] = []
            for tile in _row(tiles, level):
                found += tile_hashes(held[str(tile)], tile.width)
            if found != below:
                return False
            below = above(below)
    except MalformedInput:
        return False
    return True


def _row(tiles: Sequence[TilePath], level: int | None) -> list[TilePath]:
    return sorted([tile for tile in tiles if tile.level == level], key=lambda tile: tile.index)


def above(hashes: list[bytes]) -> list[bytes]:
    """The hashes of the next level of tiles: one for each full tile."""
    full = len(hashes) // TILE_WIDTH * TILE_WIDTH
    return [
        merkle.root_of_leaf_hashes(hashes[first : first + TILE_WIDTH])
        for first in range(0, full, TILE_WIDTH)
    ]


# --- stores ---------------------------------------------------------------------------------------


def of_row(family: str, *, added: bool = False, committed: bool = False) -> Depth:
    """Of a row altered, exchanged or deleted, or of one too many. `committed`: it is a block that a commit holds."""
    if added and family != "cosignatures":
        return Depth.STORE
    match family:
        case "log" | "hashes":
            return Depth.STRUCTURE
        case "cosignatures":
            return Depth.CERTIFICATES
        case "commits":
            return Depth.ORDER
        case "blocks" | "later_blocks" if committed:
            return Depth.ORDER
        case _:
            return Depth.STORE

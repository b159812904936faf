import pytest

from node.log import merkle, tiles
from node.log.errors import MalformedTile
from node.log.tiles import TilePath


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (TilePath(level=0, index=0), "tile/0/000"),
        (TilePath(level=0, index=1_234_067), "tile/0/x001/x234/067"),
        (TilePath(level=63, index=999, width=1), "tile/63/999.p/1"),
        (TilePath(level=None, index=1000, width=255), "tile/entries/x001/000.p/255"),
    ],
)
def test_paths_both_ways(tile: TilePath, path: str) -> None:
    assert str(tile) == path
    assert tiles.parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/64/000",
        "tile/00/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/1/",
        "tile/entries/x001",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/0a0",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/" + "x999/" * 7 + "999",
        "tile/checkpoint/000",
    ],
)
def test_other_spellings_are_refused(path: str) -> None:
    with pytest.raises(MalformedTile):
        tiles.parse_path(path)


def test_a_resource_exists_when_the_size_covers_it() -> None:
    assert TilePath(level=0, index=0, width=5).exists(5)
    assert not TilePath(level=0, index=0, width=6).exists(5)
    assert TilePath(level=0, index=0, width=3).exists(300)
    assert TilePath(level=1, index=0, width=1).exists(256)
    assert not TilePath(level=1, index=0, width=1).exists(255)
    assert TilePath(level=None, index=1, width=44).exists(300)
    assert not TilePath(level=None, index=1).exists(300)
    assert not TilePath(level=63, index=0, width=1).exists(2**63 - 1)


def test_every_listed_resource_exists_and_covers_the_log() -> None:
    for size in (0, 1, 255, 256, 257, 511, 512, 65_535, 65_537):
        listed = tiles.paths(size)
        assert all(tile.exists(size) for tile in listed)
        assert sum(tile.width for tile in listed if tile.level is None) == size
        assert sum(tile.width for tile in listed if tile.level == 0) == size


@pytest.mark.measure("M57")
def test_any_proof_can_be_made_from_tiles_alone() -> None:
    """What a client does: tiles of size 300 in, inclusion and consistency proofs out."""
    hashes = merkle.MemoryHashes()
    hashes.append(merkle.leaf_hashes(b"%d" % index for index in range(300)))
    rows: dict[int, list[bytes]] = {}
    for tile in tiles.paths(300):
        if tile.level is not None:
            data = tiles.cut_tile(tile, hashes.read)
            rows.setdefault(tile.level, []).extend(tiles.tile_hashes(data, tile.width))

    def read(level: int, index: int) -> bytes:
        tile_level, above = divmod(level, tiles.TILE_HEIGHT)
        first = index << above
        return merkle.root_of_leaf_hashes(rows[tile_level][first : first + (1 << above)])

    root = merkle.load(300, read).root()
    assert root == hashes.tree.root()
    proof = merkle.inclusion_proof(299, 300, read)
    assert merkle.verify_inclusion(hashes.read(0, 299), 299, 300, proof, root)
    proof = merkle.consistency_proof(77, 300, read)
    assert merkle.verify_consistency(77, 300, hashes.root_at(77), root, proof)


def test_bundles_both_ways_and_their_limits() -> None:
    entries = [b"", b"x" * 65_535, b"\x00\x01"]
    data = tiles.encode_bundle(entries)
    assert tiles.decode_bundle(data) == entries
    assert tiles.decode_bundle(data, 3) == entries
    for bad, width in ((data, 2), (data[:-1], 3), (data + b"\x00", 3), (b"\x00\x00" * 257, None)):
        with pytest.raises(MalformedTile):
            tiles.decode_bundle(bad, width)
    with pytest.raises(
        OverflowError
    ):  # refused before it was ordered, so only our own mistake comes here
        tiles.encode_bundle([b"x" * 65_536])


def test_a_tile_has_exactly_its_hashes() -> None:
    with pytest.raises(MalformedTile):
        tiles.tile_hashes(b"x" * 33, 1)

"""Tiles and entry bundles (C2SP tlog-tiles), their geometry, and a log that Tessera wrote."""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from node.log import cose, merkle, note, tiles
from node.log.conformance.cases import (
    Case,
    Failed,
    Json,
    Judge,
    expect,
    generated_entry,
    refused,
    tree_of,
    unbase64,
    unhex,
)
from node.log.cosignature import (
    open_checkpoint,
)
from node.log.errors import (
    MalformedInput,
)
from node.signing.keys import Role, SigningKey
from node.signing.verify import verify_ed25519


def tile_cases(data: Json) -> Iterator[Case]:
    for case in data.get("paths", []):
        yield Case(name=f"path {case['path']}", judge=_path_judge(case))
    for path in data.get("paths_reject", []):
        yield Case(
            name=f"refuse path {path!r}",
            judge=lambda p=path: refused(MalformedInput, lambda: tiles.parse_path(p)),  # type: ignore[misc]
        )
    for case in data.get("geometry", []):
        yield Case(name=f"geometry {case['size']}", judge=_geometry_judge(case))
    for key, part in data.items():
        if key.startswith("size_"):
            yield from _tree_files_cases(int(key.removeprefix("size_")), part)
    for case in data.get("bundle_accept", []):
        yield Case(name=f"bundle {case['hex'][:24]!r}", judge=_bundle_judge(case))
    for text in data.get("bundle_reject", []):
        yield Case(
            name=f"refuse bundle {text}",
            judge=lambda t=text: refused(  # type: ignore[misc]
                MalformedInput, lambda: tiles.decode_bundle(bytes.fromhex(t))
            ),
        )
    if "max_entry" in data:
        yield Case(name="largest entry", judge=_largest_judge(data["max_entry"]))


def _path_judge(case: Json) -> Judge:
    def judge() -> None:
        level = None if case["level"] == "entries" else case["level"]
        tile = tiles.TilePath(level=level, index=case["index"], width=case["width"])
        expect(str(tile), case["path"], "path")
        expect(tiles.parse_path(case["path"]), tile, "parsed")

    return judge


def _geometry_judge(case: Json) -> Judge:
    def judge() -> None:
        seen = {
            str(level): {"full": shape.full, "partial_width": shape.partial_width}
            for level, shape in tiles.geometry(case["size"]).items()
        }
        expect(seen, case["levels"], "levels")

    return judge


def _tree_files_cases(size: int, data: Json) -> Iterator[Case]:
    entries = [generated_entry(index) for index in range(size)]
    tree = tree_of(entries)
    yield Case(
        name=f"size {size} root",
        judge=lambda: expect(tree.root_at(size).hex(), data["root"], "root"),
    )
    for case in data.get("resources", []):
        yield Case(
            name=f"size {size} {case['path']}",
            judge=_resource_judge(case, tile_file(tree, entries, case["path"])),
        )
    for path, text in data.items():
        if path.startswith("tile/"):
            made = tile_file(tree, entries, path)
            yield Case(
                name=f"size {size} {path}",
                judge=lambda m=made, t=text: expect(m.hex(), t, "bytes"),  # type: ignore[misc]
            )


def tile_file(tree: merkle.MemoryHashes, entries: Sequence[bytes], path: str) -> bytes:
    tile = tiles.parse_path(path)
    if not tile.exists(len(entries)):
        raise Failed(f"{path} does not exist at size {len(entries)}")
    if tile.level is not None:
        return tiles.cut_tile(tile, tree.read)
    first = tiles.TILE_WIDTH * tile.index
    return tiles.encode_bundle(entries[first : first + tile.width])


def _resource_judge(case: Json, made: bytes) -> Judge:
    def judge() -> None:
        expect(len(made), case["bytes"], "length")
        expect(sha256(made).hexdigest(), case["sha256"], "SHA-256")
        first, last = case.get("first_hash", ""), case.get("last_hash", "")
        start = case.get("first_bytes_hex", first)
        expect(made.hex().startswith(start) and made.hex().endswith(last), wanted=True, what="ends")

    return judge


def _bundle_judge(case: Json) -> Judge:
    def judge() -> None:
        data, entries = bytes.fromhex(case["hex"]), unhex(case["entries_hex"])
        expect(tiles.decode_bundle(data), entries, "entries")
        expect(tiles.encode_bundle(entries), data, "bundle")

    return judge


def _largest_judge(case: Json) -> Judge:
    def judge() -> None:
        entry = bytes(case["bytes"])
        bundle = tiles.encode_bundle([entry])
        expect(bundle[:2].hex(), case["encoded_prefix_hex"], "prefix")
        expect(tiles.decode_bundle(bundle), [entry], "round trip")
        too_large = cose.encode_statement(b"", entry, bytes(cose.SIGNATURE_BYTES))
        refused(MalformedInput, lambda: cose.parse_statement(too_large))

    return judge


def tessera_cases(data: Json) -> Iterator[Case]:
    entries = [text.encode() for text in data["entries_utf8"]]
    tree = tree_of(entries)
    key = note.parse_vkey(data["vkey"])
    for size, text in data["checkpoints_by_size"].items():
        yield Case(name=f"checkpoint {size}", judge=_tessera_judge(tree, key, int(size), text))
    for path, text in data["resources_base64"].items():
        made = tile_file(tree, entries, path)
        yield Case(
            name=path,
            judge=lambda m=made, t=text: expect(m, unbase64(t), "bytes"),  # type: ignore[misc]
        )
    name, seed = note.parse_private_key(data["skey"])
    public = SigningKey.from_seed(Role.LOG, seed).public
    yield Case(
        name="key pair",
        judge=lambda: expect(
            str(note.verifier_key(name, note.KeyType.ED25519, public)), data["vkey"], "vkey"
        ),
    )


def _tessera_judge(tree: merkle.MemoryHashes, key: note.VerifierKey, size: int, text: str) -> Judge:
    def judge() -> None:
        opened = open_checkpoint(text.encode(), [key], verify_ed25519)
        expect((opened.checkpoint.size, opened.checkpoint.root), (size, tree.root_at(size)), "tree")

    return judge

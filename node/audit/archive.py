r"""An archive: one node's history as plain files, the same bytes whichever honest node wrote it (RULINGS R56).

    manifest.json                every file of this first part, with bytes and SHA-256; origin, size, root, commits
    genesis.cbor                 the founding document
    policy                       the trust policy: whose cosignatures make a checkpoint final
    tile/<L>/<N>[.p/<W>]         tree hashes, as c2sp.org/tlog-tiles
    tile/entries/<N>[.p/<W>]     entries, likewise
    commits/<first>.commits      commit records from commit <first> on: u32 length | record without deciders, ...
    blocks/<first>.blocks        their blocks in committed order: u32 length | block without its signature, ...

    signatures/manifest.json     every file of this second part, likewise
    checkpoint                   the final checkpoint as a signed note, with every cosignature line held
    signatures/policies.json     where members or keys have changed: from the policy above to later ones (`ledger.policy_chain`)
    signatures/<first>.blocks    one signature of 64 bytes for each block of blocks/<first>.blocks
    signatures/<first>.deciders  for each commit of commits/<first>.commits: u16 n | n x (u32 round | u16 author | digest 32)
    signatures/undecided         blocks that deciders rest on and that no commit holds: u32 length | whole block, ...

Two honest nodes may hold different quorums, other deciders, and two good signatures of one block: so the second part is
outside the manifest, and is judged by the signatures themselves. `<first>` has ten digits; a file has COMMITS_PER_FILE
commits, the last one fewer. Any static web server that serves the folder serves a C2SP tiled log: `checkpoint` and `tile/`
stand where its clients look (decision 0160).
"""

import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

from consensus.codec import (
    BLOCK_BYTES_MAX,
    MalformedBlock,
    decode_commit_record,
    encode_commit_record,
    peek_ref,
)
from consensus.types import SIGNATURE_BYTES, CommitRecord, Digest, Ref, Round, ValidatorIndex
from node.audit.plain_files import open_plain
from node.audit.source import CannotAudit, Certificate, Lost, TrustAt, certificate_of
from node.ledger.genesis import GENESIS_BYTES_MAX
from node.ledger.policy_chain import FILE_BYTES_MAX as POLICIES_BYTES_MAX
from node.ledger.policy_chain import BrokenChain, parse_links
from node.log.checkpoint import parse_checkpoint
from node.log.errors import MalformedInput
from node.log.merkle import HASH_BYTES
from node.log.note import NOTE_BYTES_MAX, Note, parse_note
from node.log.proof import parse_proof
from node.log.tiles import (
    BUNDLE_BYTES_MAX,
    TILE_HEIGHT,
    TILE_WIDTH,
    TilePath,
    decode_bundle,
    tile_hashes,
)

FORMAT: Final = "foedus/archive/1"
SIGNATURES_FORMAT: Final = "foedus/archive-signatures/1"
MANIFEST: Final = "manifest.json"
SIGNATURES: Final = "signatures"
CHECKPOINT: Final = "checkpoint"
POLICIES: Final = f"{SIGNATURES}/policies.json"
UNDECIDED: Final = f"{SIGNATURES}/undecided"
SIGNATURES_MANIFEST: Final = f"{SIGNATURES}/{MANIFEST}"
COMMITS_PER_FILE: Final = 256
MANIFEST_BYTES_MAX: Final = 1 << 30
RECORD_BYTES_MAX: Final = 64 * 1024 * 1024
REF_BYTES: Final = 4 + 2 + 32
# Deciders lie in the commit's own range or the next: a block is committed within GC_DEPTH rounds, which are fewer than a range.
RANGES_HELD: Final = 3
TILES_HELD: Final = 64
LENGTH_BYTES: Final = 4
LOST_ENTRIES_MAX: Final = 1_000_000  # so many may be missing before a claimed size is not believed


def first_of_range(commit: int) -> int:
    """The commit that names the file with this one."""
    return (commit - 1) // COMMITS_PER_FILE * COMMITS_PER_FILE + 1


def range_name(first: int) -> str:
    return f"{first:010d}"


def is_beside(name: str) -> bool:
    """True for the second part: what honest nodes may have in different bytes."""
    return name == CHECKPOINT or name.startswith(f"{SIGNATURES}/")


def encode_manifest(value: dict[str, Any]) -> bytes:
    """One spelling: sorted names, no spaces, one newline."""
    return (json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n").encode()


def encode_ref(ref: Ref) -> bytes:
    return ref.round.to_bytes(4, "big") + ref.author.to_bytes(2, "big") + ref.digest


def framed(part: bytes) -> bytes:
    return len(part).to_bytes(LENGTH_BYTES, "big") + part


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest that is spelt as it must be."""

    fields: dict[str, Any]
    files: dict[str, tuple[int, str]]  # path -> (bytes, SHA-256 in hex)


def parse_manifest(data: bytes, want: str, names: frozenset[str]) -> Manifest:
    """Raises Lost naming what is wrong. `names`: the fields beside `format` and `files`."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise Lost(f"not JSON: {err}") from err
    if not isinstance(value, dict) or set(value) != {"format", "files", *names}:
        raise Lost(f"want the fields format, files, {', '.join(sorted(names))}")
    if value["format"] != want:
        raise Lost(f"format {value['format']!r:.40}: this program reads {want!r}")
    if encode_manifest(value) != data:
        raise Lost("not spelt as an archive spells it: sorted names, no spaces")
    files: dict[str, tuple[int, str]] = {}
    listed = value["files"]
    if not isinstance(listed, dict):
        raise Lost("files: want a map of paths")
    for path, entry in listed.items():
        match entry:
            case [int(length), str(digest)] if len(digest) == 2 * HASH_BYTES:
                files[path] = (length, digest)
            case _:
                raise Lost(f"files: {path!r:.80}: want [bytes, SHA-256]")
    return Manifest(fields=value, files=files)


MANIFEST_FIELDS: Final = frozenset(
    {"chain_id", "origin", "size", "root", "commits", "commits_per_file"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a block and its signature stand in their files."""

    offset: int
    length: int
    number: int  # of the block in its file


@dataclass(slots=True, kw_only=True)
class _Range:
    """One file of commits with what belongs to it. Blocks stay on the disk."""

    first: int
    records: list[CommitRecord]
    places: dict[Ref, _Place]


def is_archive(path: Path) -> bool:
    return (path / MANIFEST).is_file() and (path / "tile").is_dir()


class ArchiveSource:
    """An archive folder. Files are opened when asked for; what they hold is bounded before it is read."""

    kind = "archive"
    every_level = False
    shows_entries = True

    def __init__(self, path: Path, document: bytes, manifest: Manifest | None) -> None:
        """For `open`."""
        self.path = path
        self.name = path.name
        self.where = str(path)
        self.state: str | None = None
        self.document = document
        self.manifest = manifest
        self.damage: list[Lost] = []
        self.size = 0
        self.last_commit: int | None = 0
        self.certificates: tuple[Certificate, ...] = ()
        self._tiles: OrderedDict[str, list[bytes]] = OrderedDict()
        self._ranges: OrderedDict[int, _Range] = OrderedDict()
        self._undecided: dict[Ref, bytes] | None = None

    @classmethod
    def open(cls, path: Path, name: str | None = None) -> Self:
        """Raises CannotAudit if there is no genesis to judge anything by."""
        try:
            document = read_file(path, "genesis.cbor", GENESIS_BYTES_MAX)
        except Lost as lost:
            raise CannotAudit(f"{path}: {lost.why}") from lost
        manifest = None
        damage = []
        try:
            data = read_file(path, MANIFEST, MANIFEST_BYTES_MAX)
            manifest = parse_manifest(data, FORMAT, MANIFEST_FIELDS)
        except Lost as lost:
            damage.append(Lost(lost.why, MANIFEST))
        source = cls(path, document, manifest)
        source.name = name or path.name
        source.damage += damage
        source._measure()
        return source

    def _measure(self) -> None:
        """How much there is, by the checkpoint; the manifest must say the same."""
        try:
            note = parse_note(read_file(self.path, CHECKPOINT, NOTE_BYTES_MAX))
            self.size = parse_checkpoint(note.text).size
        except (Lost, MalformedInput):  # `read_certificates` says so
            if self.manifest is not None and isinstance(self.manifest.fields["size"], int):
                self.size = self.manifest.fields["size"]
        bundles = sum(1 for path in (self.path / "tile" / "entries").rglob("*") if path.is_file())
        if not 0 <= self.size <= TILE_WIDTH * bundles + LOST_ENTRIES_MAX:
            why = f"claims {self.size} entries, and {bundles} bundles of {TILE_WIDTH} are there"
            self.damage.append(Lost(why, CHECKPOINT))
            self.size = TILE_WIDTH * bundles
        if self.manifest is not None and isinstance(self.manifest.fields["commits"], int):
            self.last_commit = self.manifest.fields["commits"]
            return
        found = sorted(self.path.glob("commits/*.commits"))
        if found:
            self._count_commits(found[-1])

    def _count_commits(self, last: Path) -> None:
        try:
            records = list(frames(last, RECORD_BYTES_MAX))
            self.last_commit = int(last.stem) + len(records) - 1
        except (Lost, ValueError) as err:
            self.damage.append(Lost(str(err), f"commits/{last.name}"))

    def read_certificates(self, trust_at: TrustAt) -> None:
        try:
            note = parse_note(read_file(self.path, CHECKPOINT, NOTE_BYTES_MAX))
            checkpoint = parse_checkpoint(note.text)
        except (Lost, MalformedInput) as err:
            self.damage.append(Lost(str(err), CHECKPOINT))
            return
        found = [certificate_of(note, checkpoint, trust_at(checkpoint.size))]
        for handed in self._handed_over():
            checkpoint = parse_checkpoint(handed.text)
            found.append(certificate_of(handed, checkpoint, trust_at(checkpoint.size)))
        by_size = {certificate.checkpoint.size: certificate for certificate in reversed(found)}
        self.certificates = tuple(by_size[size] for size in sorted(by_size))

    def _handed_over(self) -> list[Note]:
        """The checkpoints that epochs ended with, if the archive holds any."""
        if not (self.path / POLICIES).is_file():
            return []
        try:
            links = parse_links(read_file(self.path, POLICIES, POLICIES_BYTES_MAX))
            notes = [parse_note(parse_proof(link.proof).note) for link in links]
            for note in notes:
                parse_checkpoint(note.text)
        except (Lost, BrokenChain, MalformedInput) as err:
            self.damage.append(Lost(str(err), POLICIES))
            return []
        return notes

    # The questions of a source

    def entries(self, first: int, count: int) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < count:
            index = first + len(found)
            bundle = self._tile(None, index // TILE_WIDTH)
            offset = index % TILE_WIDTH
            found += bundle[offset : offset + count - len(found)]
        return found

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        assert level % TILE_HEIGHT == 0, f"tiles hold every eighth level, not {level}"
        found: list[bytes] = []
        while len(found) < count:
            index = first + len(found)
            tile = self._tile(level // TILE_HEIGHT, index // TILE_WIDTH)
            offset = index % TILE_WIDTH
            found += tile[offset : offset + count - len(found)]
        return found

    def _tile(self, level: int | None, number: int) -> list[bytes]:
        complete = self.size >> TILE_HEIGHT * (level or 0)
        width = min(TILE_WIDTH, complete - TILE_WIDTH * number)
        if width <= 0:
            raise Lost(f"level {level}, tile {number}: beyond the size {self.size}")
        path = str(TilePath(level=level, index=number, width=width))
        if path in self._tiles:
            self._tiles.move_to_end(path)
            return self._tiles[path]
        data = read_file(self.path, path, BUNDLE_BYTES_MAX)
        try:
            parts = decode_bundle(data, width) if level is None else tile_hashes(data, width)
        except MalformedInput as err:
            raise Lost(str(err), path) from err
        self._tiles[path] = parts
        while len(self._tiles) > TILES_HELD:
            self._tiles.popitem(last=False)
        return parts

    def commit_record(self, index: int) -> bytes:
        held = self._range(first_of_range(index))
        position = index - held.first
        if not 0 <= position < len(held.records):
            raise Lost(
                f"commit record {index} is missing", f"commits/{range_name(held.first)}.commits"
            )
        return encode_commit_record(held.records[position])

    def block(self, ref: Ref, epoch: int = 0) -> bytes:
        del epoch  # a block's digest tells its epoch
        for held in reversed(self._ranges.values()):
            if ref in held.places:
                return self._read_block(held, held.places[ref])
        if ref in self._undecided_blocks():
            return self._undecided_blocks()[ref]
        newest = max(self._ranges, default=1)
        following = newest + COMMITS_PER_FILE
        if self.last_commit is not None and following <= self.last_commit:
            held = self._range(following)
            if ref in held.places:
                return self._read_block(held, held.places[ref])
        raise Lost(f"block {ref.round}/{ref.author} {ref.digest.hex()} is missing")

    def _read_block(self, held: _Range, place: _Place) -> bytes:
        name = range_name(held.first)
        try:
            with open_plain(self.path / f"blocks/{name}.blocks") as file:
                file.seek(place.offset)
                body = file.read(place.length)
            with open_plain(self.path / f"{SIGNATURES}/{name}.blocks") as file:
                file.seek(place.number * SIGNATURE_BYTES)
                signature = file.read(SIGNATURE_BYTES)
        except OSError as err:
            raise Lost(f"{err.strerror}", f"blocks/{name}.blocks") from err
        return body + signature

    def _range(self, first: int) -> _Range:
        if first in self._ranges:
            return self._ranges[first]
        name = range_name(first)
        records_file = f"commits/{name}.commits"
        records: list[CommitRecord] = []
        try:
            for data in frames(self.path / records_file, RECORD_BYTES_MAX):
                record = decode_commit_record(data)
                if record.deciders:
                    raise Lost("a record with deciders: they stand in signatures/")
                records.append(record)
        except (Lost, MalformedBlock) as err:
            raise Lost(str(err), records_file) from err
        if self.last_commit is not None:
            many = min(COMMITS_PER_FILE, self.last_commit - first + 1)
            if len(records) != many:
                raise Lost(
                    f"{len(records)} commit records from {first} on: want {many}", records_file
                )
        deciders = self._deciders(name, len(records))
        records = [
            replace(record, deciders=refs) for record, refs in zip(records, deciders, strict=True)
        ]
        held = _Range(first=first, records=records, places=self._places(name, records))
        self._ranges[first] = held
        while len(self._ranges) > RANGES_HELD:
            self._ranges.popitem(last=False)
        return held

    def _deciders(self, name: str, count: int) -> list[tuple[Ref, ...]]:
        file = f"{SIGNATURES}/{name}.deciders"
        data = read_file(self.path, file, RECORD_BYTES_MAX)
        found: list[tuple[Ref, ...]] = []
        at = 0
        for _ in range(count):
            number = int.from_bytes(data[at : at + 2], "big")
            start, at = at + 2, at + 2 + number * REF_BYTES
            refs = tuple(_ref(data[p : p + REF_BYTES]) for p in range(start, at, REF_BYTES))
            if any(later <= earlier for earlier, later in pairwise(refs)):
                raise Lost("the deciders of a commit do not ascend, each once", file)
            found.append(refs)
        if at != len(data):
            raise Lost(f"{len(data)} bytes for {count} commits: want {at}", file)
        return found

    def _places(self, name: str, records: list[CommitRecord]) -> dict[Ref, _Place]:
        """Which frame of the file is which block: the commits say it; whether it is so, the digests show when read."""
        file = f"blocks/{name}.blocks"
        refs = [ref for record in records for ref in record.commit.blocks]
        places: dict[Ref, _Place] = {}
        offset = 0
        try:
            with open_plain(self.path / file) as handle:
                total = handle.seek(0, 2)
                for number, ref in enumerate(refs):
                    handle.seek(offset)
                    head = handle.read(LENGTH_BYTES)
                    length = int.from_bytes(head, "big")
                    start = offset + LENGTH_BYTES
                    offset = start + length
                    if len(head) < LENGTH_BYTES or offset > total or length > BLOCK_BYTES_MAX:
                        raise Lost(f"ends inside block {number} of {len(refs)}", file)
                    places[ref] = _Place(offset=start, length=length, number=number)
        except OSError as err:
            raise Lost(f"{err.strerror}", file) from err
        if offset != total:
            raise Lost(f"{total - offset} bytes after the last block", file)
        signatures = self.path / f"{SIGNATURES}/{name}.blocks"
        held = signatures.stat().st_size if signatures.is_file() else 0
        if held != len(refs) * SIGNATURE_BYTES:
            raise Lost(
                f"{held} bytes for {len(refs)} blocks of {SIGNATURE_BYTES} each",
                f"{SIGNATURES}/{name}.blocks",
            )
        return places

    def undecided(self) -> list[Ref]:
        """Names of the blocks beside the committed ones. Raises Lost."""
        return sorted(self._undecided_blocks())

    def _undecided_blocks(self) -> dict[Ref, bytes]:
        if self._undecided is None:
            file = UNDECIDED
            found: dict[Ref, bytes] = {}
            try:
                for data in frames(self.path / file, BLOCK_BYTES_MAX):
                    found[peek_ref(data)] = data
            except (MalformedBlock, Lost) as err:
                raise Lost(str(err), file) from err
            self._undecided = found
        return self._undecided

    def close(self) -> None:
        """Nothing stays open."""


def _ref(data: bytes) -> Ref:
    return Ref(
        round=Round(int.from_bytes(data[:4], "big")),
        author=ValidatorIndex(int.from_bytes(data[4:6], "big")),
        digest=Digest(data[6:]),
    )


def frames(path: Path, bytes_max: int) -> Iterator[bytes]:
    """The parts of a file of u32 lengths and bytes. Raises Lost."""
    try:
        with open_plain(path) as file:
            while head := file.read(LENGTH_BYTES):
                length = int.from_bytes(head, "big")
                if len(head) < LENGTH_BYTES or length > bytes_max:
                    raise Lost(f"length prefix {head.hex()}: want 4 bytes, at most {bytes_max}")
                part = file.read(length)
                if len(part) != length:
                    raise Lost(f"ends {length - len(part)} bytes too early")
                yield part
    except OSError as err:
        raise Lost(f"{path.name}: {err.strerror}") from err


def read_file(folder: Path, name: str, bytes_max: int) -> bytes:
    """A file of an archive. Raises Lost naming it."""
    try:
        with open_plain(folder / name) as file:
            data = file.read(bytes_max + 1)
    except OSError as err:
        raise Lost(f"{name}: {err.strerror}", name) from err
    if len(data) > bytes_max:
        raise Lost(f"{name}: more than {bytes_max} bytes", name)
    return data

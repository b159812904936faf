"""Write an export of one node's history (layout: `archive`).

Everything is checked as it is copied, tree against entries, root against cosignatures, so that no damaged store spreads as an
archive. The folder is built under a temporary name beside its place and renamed when its last byte is durable: it is there whole,
or not.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from consensus.codec import (
    MalformedBlock,
    decode_block,
    decode_commit_record,
    encode_block,
    encode_commit_record,
)
from consensus.types import (
    GC_DEPTH,
    GENESIS_ROUND,
    SIGNATURE_BYTES,
    Block,
    CommitRecord,
    Ref,
    Round,
)
from node.audit.archive import (
    COMMITS_PER_FILE,
    FORMAT,
    MANIFEST,
    SIGNATURES,
    SIGNATURES_FORMAT,
    encode_manifest,
    encode_ref,
    file_digest,
    framed,
    range_name,
)
from node.audit.certificates import Judged, judge
from node.audit.copies import Progress, Silent
from node.audit.findings import Findings
from node.audit.source import CannotAudit, Lost
from node.audit.store_source import StoreSource, find_folders
from node.ledger.errors import MalformedGenesis, MalformedRecord
from node.ledger.genesis import Genesis, chain_id, parse_genesis
from node.ledger.records import decode_record
from node.ledger.trust import trust_policy
from node.log import merkle
from node.log.merkle import EMPTY_TREE
from node.log.tiles import TILE_HEIGHT, TILE_WIDTH, cut_tile, encode_bundle, paths

FOLDER_MODE: Final = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written. `manifest_digest` is equal for all honest nodes' exports of the same size."""

    folder: Path
    chain_id: str
    size: int
    root: str
    commits: int
    cosigned_by: tuple[str, ...]
    files: int
    bytes: int
    manifest_digest: str


def export_home(
    home: Path, out: Path, *, size: int | None = None, progress: Progress | None = None
) -> Exported:
    """Export the final history of the node whose home or data folder this is, up to `size` (default: all that is final).

    Raises:
        CannotAudit: no store, nothing final, no certificate for that size, `out` exists, or the store is damaged.
        OSError: `out` cannot be written.
    """
    if out.exists():
        raise CannotAudit(f"{out}: exists already: exports are never overwritten")
    folders = find_folders(home)
    if folders is None:
        raise CannotAudit(f"{home}: no node's home or data folder")
    source = StoreSource.open(folders)
    with ExitStack() as stack:
        stack.callback(source.close)
        if source.opening_error is not None:
            raise _damaged(source, source.opening_error)
        try:
            genesis = parse_genesis(source.document)
        except MalformedGenesis as err:
            raise _damaged(source, str(err)) from err
        source.read_certificates(genesis)
        final = _final(source, genesis, size)
        partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
        partial.mkdir(parents=True, mode=FOLDER_MODE)
        stack.callback(shutil.rmtree, partial, ignore_errors=True)
        writer = _Writer(source, genesis, final, partial, progress or Silent())
        try:
            exported = writer.write(out)
        except (Lost, MalformedBlock, MalformedRecord) as err:
            raise _damaged(source, str(err)) from err
        partial.rename(out)
        _sync_folder(out.parent)
    return exported


def _damaged(source: StoreSource, why: str) -> CannotAudit:
    return CannotAudit(f"{source.where}: {why}: run `foedus audit` on it, and export another node")


def _final(source: StoreSource, genesis: Genesis, size: int | None) -> Judged:
    """The checkpoint that the export ends with. Raises CannotAudit."""
    scratch = Findings(source.name)
    judged = [judge(certificate, genesis, scratch) for certificate in source.certificates]
    finals = [found for found in judged if found.is_final and found.size <= source.size]
    if not finals:
        raise CannotAudit(f"{source.where}: no checkpoint with a quorum of cosignatures is held")
    if size is None:
        return max(finals, key=lambda found: found.size)
    for found in finals:
        if found.size == size:
            return found
    held = ", ".join(str(found.size) for found in finals[-8:])
    raise CannotAudit(
        f"{source.where}: no final checkpoint of size {size}; the newest held: {held}"
    )


class _Writer:
    """One export on its way."""

    def __init__(
        self,
        source: StoreSource,
        genesis: Genesis,
        final: Judged,
        folder: Path,
        progress: Progress,
    ) -> None:
        self._source = source
        self._genesis = genesis
        self._final = final
        self._folder = folder
        self._progress = progress

    def write(self, out: Path) -> Exported:
        """`out`: what the folder will be called.

        Raises Lost, MalformedBlock, MalformedRecord for what the store should hold and does not; OSError.
        """
        source, final = self._source, self._final
        note = final.certificate
        self._file("genesis.cbor", source.document)
        self._file("policy", trust_policy(self._genesis))
        self._file("checkpoint", note.checkpoint.text())
        self._file(f"{SIGNATURES}/checkpoint", note.note(self._genesis))
        self._tiles()
        commits = self._last_commit()
        _Commits(source, self._folder, self._progress).write(commits)
        ledger = chain_id(source.document).hex()
        fields = {
            "format": FORMAT,
            "chain_id": ledger,
            "origin": self._genesis.origin,
            "size": final.size,
            "root": final.root.hex(),
            "commits": commits,
            "commits_per_file": COMMITS_PER_FILE,
        }
        beside = self._digests(self._folder / SIGNATURES)
        self._file(
            f"{SIGNATURES}/{MANIFEST}",
            encode_manifest({"format": SIGNATURES_FORMAT, "files": beside}),
        )
        covered = {
            name: entry
            for name, entry in self._digests(self._folder).items()
            if not name.startswith(f"{SIGNATURES}/")
        }
        self._file(MANIFEST, encode_manifest({**fields, "files": covered}))
        for folder in (self._folder, *filter(Path.is_dir, self._folder.rglob("*"))):
            _sync_folder(folder)
        _, digest = file_digest(self._folder / MANIFEST)
        sizes = [path.stat().st_size for path in self._folder.rglob("*") if path.is_file()]
        return Exported(
            folder=out,
            chain_id=ledger,
            size=final.size,
            root=final.root.hex(),
            commits=commits,
            cosigned_by=final.signers,
            files=len(sizes),
            bytes=sum(sizes),
            manifest_digest=digest,
        )

    def _tiles(self) -> None:
        """Tiles and bundles; on the way the tree is grown from the entries and compared."""
        source, size = self._source, self._final.size
        tick = self._progress.start("entries and tiles", size)
        tree = EMPTY_TREE
        for tile in paths(size):
            if tile.level is not None:
                data = cut_tile(tile, lambda level, index: source.hashes(level, index, 1)[0])
            else:
                first = TILE_WIDTH * tile.index
                entries = source.entries(first, tile.width)
                leaves = merkle.leaf_hashes(entries)
                if leaves != source.hashes(0, first, tile.width):
                    raise Lost(
                        f"entries {first} to {first + tile.width - 1} and their hashes differ"
                    )
                tree = merkle.append(tree, leaves).tree
                data = encode_bundle(entries)
                tick(tile.width)
            self._file(str(tile), data)
        if tree.root() != self._final.root:
            raise Lost(f"the first {size} entries do not lead to the cosigned root")
        assert TILE_HEIGHT == 8, "tiles as c2sp.org/tlog-tiles draws them"

    def _last_commit(self) -> int:
        """Of the commit that the last entry closes. Raises MalformedRecord."""
        record = decode_record(self._source.entries(self._final.size - 1, 1)[0])
        index = record.get("index")
        if record["type"] != "commit" or not isinstance(index, int):
            raise MalformedRecord(f"entry {self._final.size - 1} closes no commit")
        return index

    def _file(self, name: str, data: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _digests(self, folder: Path) -> dict[str, list[object]]:
        found: dict[str, list[object]] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = list(file_digest(path))
        return found


class _Commits:
    """Commit records, blocks and what decided them, file by file."""

    def __init__(self, source: StoreSource, folder: Path, progress: Progress) -> None:
        self._source = source
        self._folder = folder
        self._progress = progress
        self._committed: set[Ref] = set()  # above the floor of the range before
        self._undecided: dict[Ref, Block] = {}
        self._floor = GENESIS_ROUND  # of the commit that is looked at

    def write(self, last: int) -> None:
        """Commits 1 to `last`. Raises Lost, MalformedBlock."""
        for name in ("commits", "blocks", SIGNATURES):
            (self._folder / name).mkdir(exist_ok=True, mode=FOLDER_MODE)
        tick = self._progress.start("commits and blocks", last)
        waiting: list[CommitRecord] = []
        for first in range(1, last + 1, COMMITS_PER_FILE):
            end = min(last, first + COMMITS_PER_FILE - 1)
            records = [
                decode_commit_record(self._source.commit_record(index))
                for index in range(first, end + 1)
            ]
            self._range(range_name(first), records, tick)
            for record in records:
                self._committed.update(record.commit.blocks)
            # What decided a commit is mostly committed soon after it, so each range waits for the next.
            self._settle(waiting)
            waiting = records
        self._settle(waiting)
        kept = [ref for ref in sorted(self._undecided) if ref not in self._committed]
        _write(
            self._folder / f"{SIGNATURES}/undecided",
            (framed(encode_block(self._undecided[ref])) for ref in kept),
        )

    def _range(
        self, name: str, records: Sequence[CommitRecord], tick: Callable[[int], None]
    ) -> None:
        _write(
            self._folder / f"commits/{name}.commits",
            (
                framed(encode_commit_record(CommitRecord(commit=record.commit, deciders=())))
                for record in records
            ),
        )
        _write(
            self._folder / f"{SIGNATURES}/{name}.deciders",
            (
                len(record.deciders).to_bytes(2, "big") + b"".join(map(encode_ref, record.deciders))
                for record in records
            ),
        )
        with (
            (self._folder / f"blocks/{name}.blocks").open("wb") as bodies,
            (self._folder / f"{SIGNATURES}/{name}.blocks").open("wb") as signatures,
        ):
            for record in records:
                for ref in record.commit.blocks:
                    data = encode_block(self._block(ref))
                    bodies.write(framed(data[:-SIGNATURE_BYTES]))
                    signatures.write(data[-SIGNATURE_BYTES:])
                tick(1)
            _sync(bodies)
            _sync(signatures)

    def _settle(self, records: Sequence[CommitRecord]) -> None:
        """Take up what the deciders of these commits rest on beyond committed blocks, down to the floor of each commit."""
        for record in records:
            pending = list(record.deciders)
            while pending:
                ref = pending.pop()
                if ref.round <= self._floor or ref in self._committed or ref in self._undecided:
                    continue
                block = self._block(ref)
                self._undecided[ref] = block
                pending += block.header.parents
            self._floor = Round(max(self._floor, record.commit.leader.round - GC_DEPTH))
        self._committed = {ref for ref in self._committed if ref.round > self._floor}
        self._undecided = {
            ref: block for ref, block in self._undecided.items() if ref not in self._committed
        }

    def _block(self, ref: Ref) -> Block:
        block = decode_block(self._source.block(ref))
        if block.ref != ref:
            raise Lost(f"block {ref.round}/{ref.author} {ref.digest.hex()} was altered")
        return block


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
        _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Write an archive of one node's history (layout: `archive`).

Everything is checked as it is copied, leaf hashes against entries, root against cosignatures, blocks against their names, so that
no damaged store spreads as an archive. An interrupted export goes on where it stopped (`unfinished`): it keeps the checkpoint
that it was begun for, however far the node has come meanwhile.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

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
    CHECKPOINT,
    COMMITS_PER_FILE,
    FORMAT,
    MANIFEST,
    POLICIES,
    SIGNATURES,
    SIGNATURES_FORMAT,
    SIGNATURES_MANIFEST,
    encode_manifest,
    encode_ref,
    framed,
    is_beside,
    range_name,
)
from node.audit.certificates import Judged, judge, links_of_copy
from node.audit.copies import Progress, Silent
from node.audit.epochs import Trust, trust_of
from node.audit.findings import Findings
from node.audit.source import CannotAudit, Lost
from node.audit.store_source import StoreSource, find_folders
from node.audit.unfinished import Unfinished
from node.ledger.errors import MalformedGenesis, MalformedRecord
from node.ledger.genesis import chain_id, parse_genesis
from node.ledger.policy_chain import encode_links
from node.ledger.records import decode_record
from node.ledger.trust import trust_policy
from node.log import merkle
from node.log.errors import MalformedTile
from node.log.merkle import EMPTY_TREE
from node.log.tiles import TILE_HEIGHT, TILE_WIDTH, TilePath, decode_bundle, encode_bundle

_HEIGHT_MASK: Final = TILE_HEIGHT - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written. `manifest_digest` is equal for all honest nodes' archives of the same size."""

    folder: Path
    chain_id: str
    size: int
    root: str
    commits: int
    cosigned_by: tuple[str, ...]
    files: int
    bytes: int
    reused: int  # files that stood already when an interrupted export was taken up
    manifest_digest: str


def export_home(
    home: Path, out: Path, *, size: int | None = None, progress: Progress | None = None
) -> Exported:
    """Export the final history of the node whose home or data folder this is, up to `size` (default: all that is final).

    Raises:
        CannotAudit: no store, nothing final, no certificate for that size, `out` exists, another process writes it, an
            interrupted export stands there and is of another size or ledger, or the store is damaged.
        OSError: `out` cannot be written.
    """
    if out.exists():
        raise CannotAudit(f"{out}: exists already: archives are never overwritten")
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
        trust = trust_of(source, genesis, source.document, Findings(source.name))
        source.read_certificates(trust.at)
        finals = _finals(source, trust)
        wanted = _of_size(source, finals, size)
        target = _target(source.document, wanted)
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished = stack.enter_context(Unfinished.open(out, target))
        if unfinished.target != target:
            wanted = _begun(source, finals, size, unfinished, out)
        writer = _Writer(source, trust, wanted, finals, unfinished, progress or Silent())
        try:
            exported = writer.write(out)
        except (Lost, MalformedBlock, MalformedRecord) as err:
            raise _damaged(source, str(err)) from err
        unfinished.finish()
    return exported


def _damaged(source: StoreSource, why: str) -> CannotAudit:
    return CannotAudit(f"{source.where}: {why}: run `foedus audit` on it, and export another node")


def _finals(source: StoreSource, trust: Trust) -> list[Judged]:
    """The checkpoints that an archive could end with, the last one largest. Raises CannotAudit."""
    scratch = Findings(source.name)
    judged = [
        judge(certificate, trust.at(certificate.checkpoint.size), scratch)
        for certificate in source.certificates
    ]
    finals = [found for found in judged if found.is_final and found.size <= source.size]
    if not finals:
        raise CannotAudit(f"{source.where}: no checkpoint with a quorum of cosignatures is held")
    return sorted(finals, key=lambda found: found.size)


def _of_size(source: StoreSource, finals: Sequence[Judged], size: int | None) -> Judged:
    """Raises CannotAudit."""
    if size is None:
        return finals[-1]
    for found in finals:
        if found.size == size:
            return found
    held = ", ".join(str(found.size) for found in finals[-8:])
    raise CannotAudit(
        f"{source.where}: no final checkpoint of size {size}; the newest held: {held}"
    )


def _target(document: bytes, final: Judged) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "chain_id": chain_id(document).hex(),
        "size": final.size,
        "root": final.root.hex(),
    }


def _begun(
    source: StoreSource,
    finals: Sequence[Judged],
    size: int | None,
    unfinished: Unfinished,
    out: Path,
) -> Judged:
    """What an interrupted export was begun for, if it can go on: the node has come further since, that is all.

    Raises CannotAudit.
    """
    for found in finals:
        if size is None and unfinished.target == _target(source.document, found):
            return found
    begun = unfinished.target.get("size")
    raise CannotAudit(
        f"{out}: an interrupted export of {begun!r:.20} entries stands beside it, and this is of another size or ledger:"
        f" finish that one by --size {begun!r:.20}, or remove {unfinished.path('').parent}"
    )


class _Writer:
    """One export on its way."""

    def __init__(
        self,
        source: StoreSource,
        trust: Trust,
        final: Judged,
        finals: Sequence[Judged],
        files: Unfinished,
        progress: Progress,
    ) -> None:
        self._finals = finals
        self._source = source
        self._genesis = trust.genesis
        self._trust = trust
        self._final = final
        self._files = files
        self._progress = progress

    def write(self, out: Path) -> Exported:
        """`out`: what the folder will be called.

        Raises Lost, MalformedBlock, MalformedRecord for what the store should hold and does not; OSError.
        """
        source, final, files = self._source, self._final, self._files
        self._file("genesis.cbor", source.document)
        self._file("policy", trust_policy(self._genesis))
        self._tiles()
        commits = self._last_commit()
        _Commits(source, files, self._progress).write(commits)
        if len(self._trust.epochs) > 1:
            finals = [found for found in self._finals if found.size <= final.size]
            links = links_of_copy(source, self._until(final.size), finals)
            files.write(POLICIES, [encode_links(links)])
        files.write(CHECKPOINT, [final.note(self._trust.at(final.size)).encode()])
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
        seal(files, fields)
        return Exported(
            folder=out,
            chain_id=ledger,
            size=final.size,
            root=final.root.hex(),
            commits=commits,
            cosigned_by=final.signers,
            files=len(files.done),
            bytes=sum(length for length, _ in files.done.values()),
            reused=files.reused,
            manifest_digest=files.done[MANIFEST][1],
        )

    def _until(self, size: int) -> Trust:
        """The epochs of a log of this size."""
        begun = tuple(epoch for epoch in self._trust.epochs if epoch.after_size <= size)
        return replace(self._trust, epochs=begun)

    def _tiles(self) -> None:
        """Raises Lost if the entries do not lead to the cosigned root."""
        source, size = self._source, self._final.size
        tick = self._progress.start("entries and tiles", size)
        writer = TileWriter(self._files)
        for first in range(0, size, TILE_WIDTH):
            width = min(TILE_WIDTH, size - first)
            entries = self._entries(TilePath(level=None, index=first // TILE_WIDTH, width=width))
            leaves = merkle.leaf_hashes(entries)
            if leaves != source.hashes(0, first, width):
                raise Lost(f"entries {first} to {first + width - 1} and their hashes differ")
            writer.bundle(entries, leaves)
            tick(width)
        writer.finish()
        if writer.tree.root() != self._final.root:
            raise Lost(f"the first {size} entries do not lead to the cosigned root")

    def _entries(self, tile: TilePath) -> list[bytes]:
        """Of one bundle: from before an interruption, or out of the store."""
        name = str(tile)
        if not self._files.has(name):
            return self._source.entries(TILE_WIDTH * tile.index, tile.width)
        try:
            return decode_bundle(self._files.path(name).read_bytes(), tile.width)
        except MalformedTile as err:
            raise Lost(str(err), name) from err

    def _last_commit(self) -> int:
        """Of the commit that the last entry closes. Raises MalformedRecord."""
        record = decode_record(self._source.entries(self._final.size - 1, 1)[0])
        index = record.get("index")
        if record["type"] != "commit" or not isinstance(index, int):
            raise MalformedRecord(f"entry {self._final.size - 1} closes no commit")
        return index

    def _file(self, name: str, data: bytes) -> None:
        if not self._files.has(name):
            self._files.write(name, [data])


def seal(files: Unfinished, fields: Mapping[str, Any]) -> None:
    """The two manifests over all that is written. `fields`: what the first one says beside `files`. Raises OSError."""
    beside = {name: list(entry) for name, entry in files.done.items() if is_beside(name)}
    beside.pop(SIGNATURES_MANIFEST, None)
    covered = {name: list(entry) for name, entry in files.done.items() if not is_beside(name)}
    covered.pop(MANIFEST, None)
    files.write(
        SIGNATURES_MANIFEST, [encode_manifest({"format": SIGNATURES_FORMAT, "files": beside})]
    )
    files.write(MANIFEST, [encode_manifest({**fields, "files": covered})])


class TileWriter:
    """Bundles of entries; and tiles of the tree that is grown from them, not of the hashes that a store holds."""

    def __init__(self, files: Unfinished) -> None:
        self.tree = EMPTY_TREE
        self._files = files
        self._waiting: dict[int, list[bytes]] = {}  # tile level -> hashes that fill no tile yet
        self._written: dict[int, int] = {}  # tile level -> full tiles so far

    def bundle(self, entries: Sequence[bytes], leaves: Sequence[bytes] | None = None) -> None:
        """The next entries, TILE_WIDTH of them but for the last; `leaves` are their hashes. Raises OSError."""
        first = self.tree.size
        assert first % TILE_WIDTH == 0, f"a bundle after {first} entries"
        self._file(TilePath(level=None, index=first // TILE_WIDTH, width=len(entries)), entries)
        grown = merkle.append(self.tree, leaves or merkle.leaf_hashes(entries))
        for run in grown.runs:
            if not run.level & _HEIGHT_MASK:
                self._hashes(run.level // TILE_HEIGHT, run.hashes)
        self.tree = grown.tree

    def finish(self) -> None:
        """The tiles that are not full."""
        for level, hashes in self._waiting.items():
            if hashes:
                self._tile(level, hashes)

    def _hashes(self, level: int, hashes: Sequence[bytes]) -> None:
        waiting = self._waiting.setdefault(level, [])
        waiting += hashes
        while len(waiting) >= TILE_WIDTH:
            self._tile(level, waiting[:TILE_WIDTH])
            del waiting[:TILE_WIDTH]

    def _tile(self, level: int, hashes: Sequence[bytes]) -> None:
        index = self._written.get(level, 0)
        self._written[level] = index + 1
        name = str(TilePath(level=level, index=index, width=len(hashes)))
        if not self._files.has(name):
            self._files.write(name, hashes)

    def _file(self, tile: TilePath, entries: Sequence[bytes]) -> None:
        if not self._files.has(str(tile)):
            self._files.write(str(tile), [encode_bundle(entries)])


class _Commits:
    """Commit records, blocks and what decided them, file by file."""

    def __init__(self, source: StoreSource, files: Unfinished, progress: Progress) -> None:
        self._source = source
        self._files = files
        self._progress = progress
        self._committed: set[Ref] = set()  # above the floor of the range before
        self._undecided: dict[Ref, Block] = {}
        self._floor = GENESIS_ROUND  # of the commit that is looked at
        self._epoch = 0  # and its epoch

    def write(self, last: int) -> None:
        """Commits 1 to `last`. Raises Lost, MalformedBlock."""
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
        self._write(
            f"{SIGNATURES}/undecided",
            lambda: (framed(encode_block(self._undecided[ref])) for ref in kept),
        )

    def _range(
        self, name: str, records: Sequence[CommitRecord], tick: Callable[[int], None]
    ) -> None:
        self._write(
            f"commits/{name}.commits",
            lambda: (
                framed(encode_commit_record(replace(record, deciders=()))) for record in records
            ),
        )
        self._write(
            f"{SIGNATURES}/{name}.deciders",
            lambda: (
                len(record.deciders).to_bytes(2, "big") + b"".join(map(encode_ref, record.deciders))
                for record in records
            ),
        )
        # A range's blocks are at most tens of megabytes on the disk, but not in memory: bodies go out one by one.
        signatures: list[bytes] = []

        def bodies() -> Iterator[bytes]:
            signatures.clear()
            for record in records:
                for ref in record.commit.blocks:
                    data = encode_block(self._block(ref, record.commit.epoch))
                    signatures.append(data[-SIGNATURE_BYTES:])
                    yield framed(data[:-SIGNATURE_BYTES])

        names = (f"blocks/{name}.blocks", f"{SIGNATURES}/{name}.blocks")
        # Both or neither: two good signatures of one block may be about, and these belong to the bodies read with them.
        if not all([self._files.has(part) for part in names]):  # noqa: C419 - both are looked at
            self._files.write(names[0], bodies())
            self._files.write(names[1], signatures)
        tick(len(records))

    def _write(self, name: str, parts: Callable[[], Iterator[bytes]]) -> None:
        if not self._files.has(name):
            self._files.write(name, parts())

    def _settle(self, records: Sequence[CommitRecord]) -> None:
        """Take up what the deciders of these commits rest on beyond committed blocks, down to the floor of each commit."""
        for record in records:
            if record.commit.epoch != self._epoch:
                self._epoch, self._floor = record.commit.epoch, GENESIS_ROUND  # rounds begin anew
            pending = list(record.deciders)
            while pending:
                ref = pending.pop()
                if ref.round <= self._floor or ref in self._committed or ref in self._undecided:
                    continue
                block = self._block(ref, record.commit.epoch)
                self._undecided[ref] = block
                pending += block.header.parents
            self._floor = Round(max(self._floor, record.commit.leader.round - GC_DEPTH))
        self._committed = {ref for ref in self._committed if ref.round > self._floor}
        self._undecided = {
            ref: block for ref, block in self._undecided.items() if ref not in self._committed
        }

    def _block(self, ref: Ref, epoch: int) -> Block:
        block = decode_block(self._source.block(ref, epoch))
        if block.ref != ref:
            raise Lost(f"block {ref.round}/{ref.author} {ref.digest.hex()} was altered")
        return block

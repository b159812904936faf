"""A node's own folder as a source: its home, its data folder, or the database alone. Opened read-only: no byte changes.

A stopped node's store is read as it stands; a running one's as it stood when it was opened. A store that RocksDB refuses to
open is opened once more for salvage, so that the loss gets a name: file, and indexes of entries.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from consensus.committee import quorum_of
from consensus.types import Ref
from node.audit.source import CannotAudit, Certificate, Lost, TrustAt, database_file
from node.ledger.cosigned import Cosigned, parse_cosigned, parse_second
from node.ledger.errors import MalformedRecord
from node.ledger.genesis import Genesis
from node.log import merkle
from node.log.checkpoint import Checkpoint
from node.log.errors import shown
from node.settings import FILE_NAME, load_settings
from node.storage import keys
from node.storage.errors import StorageError, StoreDamaged, StoreLocked
from node.storage.rows import Tip
from node.storage.store import Store

DATABASE: Final = "rocksdb"  # inside the data folder
SIZES_PAGE: Final = 1_000
LOGS_NAMED: Final = 4  # of write-ahead logs, of which a store has one or two
ROUND_BYTES_MAX: Final = (
    256 * 1024 * 1024
)  # of one round's blocks: 200 validators of 300 KB, and twins


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the parts of a node lie; `home` and `data` are None when only the database was named."""

    home: Path | None
    data: Path | None
    database: Path
    state: str | None
    genesis: Path | None


def find_folders(path: Path) -> Folders | None:
    """The node's folders that `path` names, or None if it is no node's. Raises BadSettings."""
    if (path / FILE_NAME).is_file():
        settings = load_settings(path / FILE_NAME, {})
        return Folders(
            home=path,
            data=settings.data_path,
            database=settings.store_path,
            state=settings.node.state,
            genesis=settings.genesis_path,
        )
    if (path / DATABASE).is_dir():
        return Folders(home=None, data=path, database=path / DATABASE, state=None, genesis=None)
    if list(path.glob("MANIFEST-*")) or (path / "CURRENT").exists():
        return Folders(home=None, data=None, database=path, state=None, genesis=None)
    return None


class StoreSource:
    """See the module's text. `open` it, `close` it."""

    kind = "store"
    every_level = True
    shows_entries = True

    def __init__(
        self, name: str, folders: Folders, store: Store, document: bytes, opening: str | None
    ) -> None:
        """For `open`."""
        self.name = name
        self.where = str(folders.home or folders.data or folders.database)
        self.state = folders.state
        self.folders = folders
        self.store = store
        self.document = document
        self.opening_error = opening  # why the store could only be salvaged, if so
        self.damaged_file = None if opening is None else _damaged_file(folders.database, opening)
        self.tip: Tip | None = None
        self.damage: list[Lost] = []  # met while opening
        if opening is not None:
            self.damage.append(Lost(f"RocksDB refuses its files: {opening}", self.damaged_file))
        self.size = 0
        self.last_commit: int | None = 0
        self.certificates: tuple[Certificate, ...] = ()
        self.unfinal: tuple[Certificate, ...] = ()  # of sizes above the final one, without a quorum
        self._take_up()

    @classmethod
    def open(cls, folders: Folders, name: str | None = None) -> Self:
        """Raises CannotAudit if there is no store, or it is locked; damage is no error but a finding."""
        if not folders.database.is_dir():
            raise CannotAudit(f"{folders.database}: no database there: has this node ever run?")
        store, opening = _open(folders.database)
        try:
            document = store.meta(keys.META_GENESIS)
        except StoreDamaged as err:
            opening, document = opening or str(err), None
        from_file = document is None
        if document is None and folders.genesis is not None and folders.genesis.is_file():
            document = folders.genesis.read_bytes()
        if document is None:
            store.close()
            raise CannotAudit(
                f"{folders.database}: holds no genesis document{f': {opening}' if opening else ''}: name one by --genesis"
            )
        label = name or folders.state or (folders.data or folders.database).name
        made = cls(label, folders, store, document, opening)
        if not from_file and _differs(folders.genesis, document):
            why = "the home's genesis document is not the one of its store"
            made.damage.append(Lost(why, "genesis.cbor"))
        if opening is None and from_file:
            made.damage.append(Lost("the row genesis is missing in the store"))
        return made

    def _take_up(self) -> None:
        try:
            self.tip = self.store.tip()
        except StoreDamaged as err:
            self.damage.append(lost_by(err))
        if self.tip is None:
            return
        self.size, self.last_commit = self.tip.log_size, self.tip.commit

    def read_certificates(self, trust_at: TrustAt) -> None:
        """All checkpoints kept, the final one last. Their lines are on the entries' own root at that size."""
        try:
            final = self.store.meta(keys.META_FINAL)
            sizes = self._cosigned_sizes()
        except StoreDamaged as err:
            self.damage.append(lost_by(err))
            return
        final_size = int.from_bytes(final, "big") if final is not None and len(final) == 8 else 0
        if final is not None and (len(final) != 8 or final_size not in sizes):
            why = f"the row final is {final[:8].hex()}: no size that lines are held for"
            self.damage.append(Lost(why))
        found: list[Certificate] = []
        waiting: list[Certificate] = []
        for size in sizes:
            if size <= max(final_size, 1) or final is None:
                found += self._certificates_at(size, trust_at(size))
            elif size > self.size:  # a node keeps lines ahead of its log in memory
                self.damage.append(Lost(f"lines are held for size {size}: the log has {self.size}"))
            else:
                waiting += self._certificates_at(size, trust_at(size))
        self.certificates, self.unfinal = tuple(found), tuple(waiting)
        self._final_is_put_back(waiting, final_size, trust_at)
        if final is None:
            self._final_is_missing(found, trust_at)

    def _final_is_missing(self, found: Sequence[Certificate], trust_at: TrustAt) -> None:
        """Lines are written with that row, or after it: of any size that has a quorum, it would be there."""
        for held in found:
            size = held.checkpoint.size
            if len(held.lines) >= quorum_of(len(trust_at(size).members)):
                why = f"the row final is missing, and lines of a quorum are held for size {size}"
                self.damage.append(Lost(why))
                return

    def _final_is_put_back(
        self, waiting: Sequence[Certificate], final_size: int, trust_at: TrustAt
    ) -> None:
        """The same of a row that is there: of a size above it no quorum's lines are held."""
        for held in waiting:
            size = held.checkpoint.size
            if len(held.lines) >= quorum_of(len(trust_at(size).members)):
                why = (
                    f"the row final is {final_size}, and lines of a quorum are held for size {size}"
                )
                self.damage.append(Lost(why))
                return

    def _cosigned_sizes(self) -> list[int]:
        sizes: list[int] = []
        while True:
            first = sizes[-1] + 1 if sizes else 0
            page = self.store.cosigned_sizes(first, 2**63, SIZES_PAGE)
            sizes += page
            if len(page) < SIZES_PAGE:
                return sizes

    def _certificates_at(self, size: int, genesis: Genesis) -> list[Certificate]:
        """One per root that lines of this size speak of: one, in a healthy store."""
        strange: list[str] = []
        try:
            rows = self.store.cosignatures(size)
            lines = _read_lines(rows, parse_cosigned, size, genesis, strange)
            rows = self.store.second_lines(size)
            second = _read_lines(rows, parse_second, size, genesis, strange)
            log_lines = tuple(self.store.log_lines(size))
        except StoreDamaged as err:
            self.damage.append(lost_by(err))
            return []
        strange += [
            f"log line of member {member}"
            for member, _ in log_lines
            if member >= len(genesis.members)
        ]
        roots = [line.root for line in (*lines, *second)]
        found = [
            Certificate(
                checkpoint=Checkpoint(origin=genesis.origin, size=size, root=root),
                lines=tuple(line for line in lines if line.root == root),
                second=tuple(line for line in second if line.root == root),
                log_lines=() if strange else log_lines,
                strange=tuple(strange),
            )
            for root in sorted(set(roots), key=lambda root: (roots.count(root), root))
        ]
        if strange and not found:
            self.damage.append(Lost(f"cosignatures of size {size}: {'; '.join(strange)}"))
        return found

    # The questions of a source

    def entries(self, first: int, count: int) -> list[bytes]:
        return self._read(lambda: self.store.entries(first, count))

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        nodes = [(level, first + offset) for offset in range(count)]
        return self._read(lambda: self.store.hashes(nodes))

    def commit_record(self, index: int) -> bytes:
        record = self._read_maybe(lambda: self.store.commit_record(index))
        if record is None:
            raise Lost(f"commit record {index} is missing")
        return record

    def block(self, ref: Ref, epoch: int = 0) -> bytes:
        block = self._read_maybe(lambda: self.store.block(ref, epoch))
        if block is None:
            raise Lost(f"block {ref.round}/{ref.author} {ref.digest.hex()} is missing")
        return block

    def refs_in_round(self, round_: int, epoch: int) -> list[Ref]:
        """Names of the blocks of one round that can be read."""
        try:
            return [
                ref
                for ref, _ in self.store.blocks_in_rounds(round_, round_, ROUND_BYTES_MAX, epoch)
            ]
        except StoreDamaged:
            return []  # the damaged file hides them all; each is asked for by name where a record names it

    def rows(self, family: str) -> Iterator[tuple[bytes, bytes]]:
        """Every row of a column family. Raises Lost at the first that cannot be read."""
        try:
            yield from self.store.rows(family)
        except StoreDamaged as err:
            raise lost_by(err) from err

    def root_at(self, size: int) -> bytes:
        """By the stored hashes. Raises Lost."""
        return self._read(lambda: [merkle.load(size, self.store.hash).root()])[0]

    def close(self) -> None:
        self.store.close()

    def _read(self, ask: Callable[[], list[bytes]]) -> list[bytes]:
        try:
            return ask()
        except StoreDamaged as err:
            raise lost_by(err) from err

    def _read_maybe(self, ask: Callable[[], bytes | None]) -> bytes | None:
        try:
            return ask()
        except StoreDamaged as err:
            raise lost_by(err) from err


def lost_by(err: StoreDamaged) -> Lost:
    """What the store's error says, with the file named apart."""
    return Lost(str(err), database_file(str(err)))


def _open(path: Path) -> tuple[Store, str | None]:
    try:
        return Store.open(path, read_only=True), None
    except StoreLocked as err:
        raise CannotAudit(str(err)) from err
    except StoreDamaged as err:
        refusal = str(err).split(". Run `foedus audit`")[0]
    try:
        return Store.open(path, read_only=True, salvage=True), refusal
    except StorageError as err:
        raise Unopenable(path, refusal) from err


def _differs(path: Path | None, document: bytes) -> bool:
    if path is None or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(document) + 1) != document


class Unopenable(CannotAudit):
    """Nothing of the database can be read: all of it is lost, and that is a finding where another source shows what was there."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: nothing can be read: {shown(why)}")
        self.file = database_file(why) or _manifest_of(path)


def _damaged_file(database: Path, opening: str) -> str | None:
    """The file that RocksDB names; of its write-ahead logs, which it reads as it opens, it names none: then all of them."""
    logs = sorted(path.name for path in database.glob("*.log"))
    return database_file(opening) or " or ".join(logs[:LOGS_NAMED]) or None


def _manifest_of(database: Path) -> str:
    """The file that says what a database holds: where it cannot be opened and no file is named, that one lacks something."""
    try:
        with (database / "CURRENT").open("rb") as file:
            name = file.read(64).decode("ascii", "replace").strip()
    except OSError:
        return "CURRENT"
    return name if name.startswith("MANIFEST-") else "CURRENT"


def _read_lines(
    rows: Sequence[tuple[int, bytes]],
    parse: Callable[[bytes], Cosigned],
    size: int,
    genesis: Genesis,
    strange: list[str],
) -> list[Cosigned]:
    """The lines of these (member, row); what is none of this size and member is told in `strange`."""
    found: list[Cosigned] = []
    for member, row in rows:
        try:
            line = parse(row)
        except MalformedRecord as err:
            strange.append(f"row of member {member}: {err}")
            continue
        if line.size != size or line.member != member or member >= len(genesis.members):
            strange.append(f"row of member {member} holds a line of {line.member} at {line.size}")
            continue
        if line.is_second and not genesis.members[member].cosigner_pq_key:
            strange.append(f"row of member {member} holds a second line, and it has no ML-DSA key")
            continue
        found.append(line)
    return found

"""A seeded campaign against what nodes keep: every tamper is found, its place is named, and nobody honest is blamed.

    python -m tests.tamper --tampers 10000 --seed 1 [--seconds 3600] [--json]

Targets are an archive and a node's store, of the history that the audit's tests live through. Tampers on an archive: bits
flipped, files truncated, deleted, swapped, replaced by an older archive's; parts moved; entries inserted, dropped, reordered,
with tiles made to fit; checkpoints forged, lines left out; f members cosigning a second history. Half of them bring the
manifests into line, as a careful forger would. On a node's home: rows altered, deleted, swapped through the database's own
software; bits flipped in its files, files cut short, deleted, swapped; its sign state and genesis altered, deleted, put back. Not
its key file, which none but its passphrase opens, and not its settings, which say nothing of the history.

Each is looked for at the cheapest depth first, then deeper: `found_at` counts which one saw it. A tamper that leaves every byte
that a reader can be given as it was (RULINGS R55), or one of a certificate's lines less while a quorum stays, as honest nodes
hold them (R56), is counted as `void` and does not count as found.
"""

import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import rocksdict

from node.audit.audit import audit_sources
from node.audit.findings import AuditReport, Depth, Finding, Verdict
from node.audit.source import CannotAudit
from node.ledger.cosigned import note_lines
from node.log import merkle
from node.log.checkpoint import Checkpoint
from node.log.note import Note
from node.log.tiles import TILE_WIDTH, TilePath, decode_bundle, encode_bundle
from node.storage import keys
from node.storage.store import Store
from tests.unit.audit.conftest import World
from tests.unit.audit.history import MEMBERS, clone, database, flip, lines
from tests.unit.audit.test_altered_archives import reseal

DEPTHS: Final = (Depth.PARSE, Depth.CERTIFICATES, Depth.ORDER, Depth.LAW)
STORE_SHARE: Final = (
    25  # one tamper of so many is on a store: opening a database takes longer than all else
)
MANIFESTS: Final = ("manifest.json", "signatures/manifest.json")


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a campaign came to."""

    tampers: int = 0
    void: int = 0
    found_at: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    blamed: list[str] = field(default_factory=list)  # where somebody honest was
    placeless: list[str] = field(default_factory=list)  # found, and nothing said where
    liars_named: int = 0

    @property
    def good(self) -> bool:
        return not (self.missed or self.blamed or self.placeless)


PLACES: Final = re.compile(
    r"entr(?:y|ies)|block [0-9]|commit [0-9]|checkpoint|index|level|rows?|tip|genesis|store"
    r"|manifest|tree|size|root|sign state"
)


def _has_place(finding: Finding) -> bool:
    """A file, an entry, or a sentence that says which part: of a person who reads it, nobody asks where."""
    return (
        finding.file is not None
        or finding.entry is not None
        or finding.entries is not None
        or PLACES.search(finding.what) is not None
    )


class Campaign:
    """One world, tampered with again and again; after each tamper everything is put back."""

    def __init__(self, world: World, folder: Path, seed: int) -> None:
        self._world = world
        self._draw = random.Random(seed)
        self._pinned = world.weave.founding.document
        self._archive = clone(world.exports["CN"], folder / "archive")
        self._older = clone(world.exports["early"], folder / "older")
        self._home = clone(world.homes["CN"], folder / "CN")
        self._older_home = world.homes.get("early")
        self._files = sorted(path for path in self._archive.rglob("*") if path.is_file())
        self._whole = {path: path.read_bytes() for path in self._files}
        self._folder = folder
        self.depths: tuple[Depth, ...] = DEPTHS
        self.outcome = Outcome()
        self._archive_tampers: list[Callable[[], str | None]] = [
            self._flip,
            self._flip,
            self._truncate,
            self._delete,
            self._swap,
            self._move,
            self._replay,
            self._entries,
            self._lines,
            self._collude,
        ]

    def run(self, tampers: int, until: float) -> Outcome:
        """So many, or as many as there is time for (`until`: by the monotonic clock)."""
        for number in range(tampers):
            if time.monotonic() > until:
                break
            if number % STORE_SHARE == STORE_SHARE - 1:
                self._tamper_store()
            else:
                self._tamper_archive()
        return self.outcome

    # Archives

    def _tamper_archive(self) -> None:
        tamper = self._draw.choice(self._archive_tampers)
        what = tamper()
        if what is None:
            self._restore()
            return
        liars: set[str] = set()
        sealed = False
        if tamper == self._collude:
            liars, sealed = {"CN"}, True
        elif self._draw.random() < 0.5 and self._manifests_stand():
            reseal(self._archive)
            sealed = True
        name = f"{tamper.__name__.lstrip('_')}{' sealed' if sealed else ''}: {what}"
        self.outcome.kinds[tamper.__name__.lstrip("_")] += 1
        if self._unchanged():
            self.outcome.void += 1
        else:
            self._look(name, [self._archive], liars)
        self._restore()

    def _manifests_stand(self) -> bool:
        """What was tampered with is not a manifest: else bringing it into line would undo it, or cannot be done."""
        paths = [self._archive / name for name in MANIFESTS]
        return all(path.is_file() and path.read_bytes() == self._whole[path] for path in paths)

    def _unchanged(self) -> bool:
        held = {path: path.read_bytes() for path in self._archive.rglob("*") if path.is_file()}
        return held == self._whole

    def _restore(self) -> None:
        for path in self._archive.rglob("*"):
            if path.is_file() and path not in self._whole:
                path.unlink()
        for path, data in self._whole.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def _file(self) -> Path:
        return self._draw.choice([path for path in self._files if self._whole[path]])

    def _name(self, path: Path) -> str:
        return path.relative_to(self._archive).as_posix()

    def _flip(self) -> str:
        path = self._file()
        data = path.read_bytes()
        at = self._draw.randrange(len(data))
        path.write_bytes(flip(data, at, self._draw.randrange(8)))
        return f"byte {at} of {self._name(path)}"

    def _truncate(self) -> str:
        path = self._file()
        data = path.read_bytes()
        keep = self._draw.randrange(len(data))
        path.write_bytes(data[:keep])
        return f"to {keep} bytes {self._name(path)}"

    def _delete(self) -> str:
        path = self._draw.choice(self._files)
        path.unlink()
        return self._name(path)

    def _swap(self) -> str | None:
        one, two = self._draw.sample(self._files, 2)
        a, b = one.read_bytes(), two.read_bytes()
        one.write_bytes(b)
        two.write_bytes(a)
        return f"{self._name(one)} with {self._name(two)}"

    def _move(self) -> str | None:
        """Two parts of one file change places."""
        path = self._file()
        data = path.read_bytes()
        if len(data) < 8:
            return None
        a, b, c = sorted(self._draw.sample(range(len(data)), 3))
        path.write_bytes(data[:a] + data[b:c] + data[a:b] + data[c:])
        return f"bytes {a}-{c} of {self._name(path)}"

    def _replay(self) -> str | None:
        """A file as an older archive of the same ledger has it."""
        candidates = [path for path in self._files if (self._older / self._name(path)).is_file()]
        path = self._draw.choice(candidates)
        path.write_bytes((self._older / self._name(path)).read_bytes())
        return f"older {self._name(path)}"

    def _bundle(self) -> tuple[Path, list[bytes]]:
        size = self._world.exported["CN"].size
        assert size < TILE_WIDTH, "one bundle holds the whole history"
        path = self._archive / str(TilePath(level=None, index=0, width=size))
        return path, decode_bundle(path.read_bytes(), size)

    def _entries(self) -> str:
        """Entries inserted, dropped, doubled, reordered or altered, and the tile made to fit."""
        path, entries = self._bundle()
        size = len(entries)
        at, other = self._draw.sample(range(size), 2)
        kind = self._draw.choice(("insert", "drop", "reorder", "double", "alter"))
        match kind:
            case "insert":
                entries = [*entries[:at], b"\xd2inserted", *entries[at : size - 1]]
            case "drop":
                entries = [*entries[:at], *entries[at + 1 :], entries[at]]
            case "reorder":
                entries[at], entries[other] = entries[other], entries[at]
            case "double":
                entries[at] = entries[other]
            case _:
                position = self._draw.randrange(len(entries[at]))
                entries[at] = flip(entries[at], position, self._draw.randrange(8))
        path.write_bytes(encode_bundle(entries))
        if self._draw.random() < 0.7:
            tile = self._archive / str(TilePath(level=0, index=0, width=size))
            tile.write_bytes(b"".join(merkle.leaf_hashes(entries)))
        return f"{kind} {at}"

    def _lines(self) -> str:
        """The checkpoint with another size or root, or without a quorum of lines."""
        path = self._archive / "checkpoint"
        data = path.read_bytes()
        match self._draw.randrange(3):
            case 0:
                kept = data.splitlines(keepends=True)
                path.write_bytes(b"".join(kept[: -self._draw.randint(2, MEMBERS)]))
                return "lines left out"
            case 1:
                text = data.split(b"\n")
                text[1] = b"%d" % (int(text[1]) + self._draw.choice((-3, -1, 1, 300)))
                path.write_bytes(b"\n".join(text))
                return "size"
            case _:
                text = data.split(b"\n")
                text[2] = b"A" * 43 + b"="
                path.write_bytes(b"\n".join(text))
                return "root"

    def _collude(self) -> str:
        """f members, one of five, sign a second history that is made to fit throughout; the others' old lines stand beside."""
        self._entries()
        path, entries = self._bundle()
        size = len(entries)
        hashes = merkle.leaf_hashes(entries)
        tile = self._archive / str(TilePath(level=0, index=0, width=size))
        tile.write_bytes(b"".join(hashes))
        root = merkle.root_of_leaf_hashes(hashes)
        founding = self._world.weave.founding
        genesis = founding.genesis
        mine = lines(founding, size, root, [1])
        made = note_lines(genesis.origin, genesis.members, mine)
        checkpoint = Checkpoint(origin=genesis.origin, size=size, root=root)
        note = Note(text=checkpoint.text(), lines=tuple(made))
        old = (self._archive / "checkpoint").read_bytes().splitlines(keepends=True)
        others = b"".join(old[4:]) if self._draw.random() < 0.5 else b""
        (self._archive / "checkpoint").write_bytes(bytes(note) + others)
        self._set_root(root)
        return f"CN signs another root, {path.name}"

    def _set_root(self, root: bytes) -> None:
        manifest = self._archive / "manifest.json"
        held = self._world.exported["CN"].root.encode()
        manifest.write_bytes(manifest.read_bytes().replace(held, root.hex().encode()))
        reseal(self._archive)

    # Stores

    def _tamper_store(self) -> None:
        draw = self._draw.random()
        if draw < 0.5:
            what = self._row()
        elif draw < 0.8:
            what = self._database_file()
        else:
            what = self._home_file()
        self.outcome.kinds["store"] += 1
        self._look(f"store: {what}", [self._home], set(), deepest=Depth.STORE)
        shutil.rmtree(self._home)
        clone(self._world.homes["CN"], self._home)

    def _row(self) -> str:
        """One row altered, deleted or added, by the database's own software."""
        families = [family for family in keys.COLUMN_FAMILIES if family != "mempool"]
        with Store.open(database(self._home)) as store:
            held = {family: list(store.rows(family)) for family in families}
            family = self._draw.choice([family for family in families if held[family]])
            rows = held[family]
            key, value = self._draw.choice(rows)
            batch = rocksdict.WriteBatch(raw_mode=True)
            kind = self._draw.choice(("alter", "delete", "swap"))
            if key in (keys.META_FORMAT, keys.META_REBUILD, keys.META_RESTORED):
                key, value = keys.META_TIP, store.meta(keys.META_TIP) or b""
                family = "meta"
            if kind == "alter" and value:
                at = self._draw.randrange(len(value))
                batch.put(key, flip(value, at, self._draw.randrange(8)), store._handles[family])
            elif kind == "swap" and value and len(rows) > 1:
                other = self._draw.choice(rows)[1]
                batch.put(key, other + b"x" if other == value else other, store._handles[family])
            else:
                kind = "delete"
                batch.delete(key, store._handles[family])
            store._write(batch)
        return f"{kind} {family} {key.hex()}"

    def _database_file(self) -> str:
        files = sorted(
            path
            for path in database(self._home).iterdir()
            if path.is_file()
            and path.stat().st_size
            and not path.name.startswith(("LOG", "OPTIONS"))
        )
        path = self._draw.choice(files)
        data = path.read_bytes()
        match self._draw.randrange(6):
            case 0:
                path.write_bytes(data[: self._draw.randrange(len(data))])
                return f"cut {path.name}"
            case 1:
                path.unlink()
                return f"deleted {path.name}"
            case 2:
                other = self._draw.choice([each for each in files if each != path])
                theirs = other.read_bytes()
                path.write_bytes(theirs)
                other.write_bytes(data)
                return f"swapped {path.name} with {other.name}"
            case _:
                at = self._draw.randrange(len(data))
                path.write_bytes(flip(data, at, self._draw.randrange(8)))
                return f"byte {at} of {path.name}"

    def _home_file(self) -> str:
        """The genesis document and the sign state, beside the database."""
        names = ("genesis.cbor", "data/block", "data/cosign")
        name = self._draw.choice(names)
        path = self._home / name
        data = path.read_bytes()
        match self._draw.randrange(4):
            case 0:
                path.write_bytes(data[: self._draw.randrange(len(data))])
                return f"cut {name}"
            case 1 if name != "genesis.cbor":
                path.unlink()
                return f"deleted {name}"
            case 2 if name != "genesis.cbor" and self._older_home is not None:
                path.write_bytes((self._older_home / name).read_bytes())
                return f"put back {name}"
            case _:
                at = self._draw.randrange(len(data))
                path.write_bytes(flip(data, at, self._draw.randrange(8)))
                return f"byte {at} of {name}"

    # Looking for it

    def _look(
        self, name: str, sources: list[Path], liars: set[str], deepest: Depth = Depth.LAW
    ) -> None:
        self.outcome.tampers += 1
        depths = self.depths if deepest is Depth.LAW else (*self.depths, deepest)
        for depth in depths:
            try:
                report = audit_sources(
                    [str(source) for source in sources],
                    pinned=self._pinned,
                    depth=depth,
                    threads=0,
                    processes=1,
                )
            except CannotAudit:
                self.outcome.found_at["cannot be read at all"] += 1
                return
            self._judge_blame(name, report, liars)
            if report.verdict is Verdict.INCONSISTENT:
                self.outcome.found_at[depth.value] += 1
                if not all(finding.source and _has_place(finding) for finding in report.findings):
                    self.outcome.placeless.append(name)
                self._named(sources, liars)
                return
        if name.startswith("store") and self._is_an_honest_store():
            self.outcome.tampers -= 1
            self.outcome.void += 1
            return
        self.outcome.missed.append(name)

    def _named(self, sources: list[Path], liars: set[str]) -> None:
        """Beside an honest copy who lied is named, and nobody else."""
        if not liars:
            return
        report = audit_sources(
            [*map(str, sources), str(self._world.exports["US"])],
            pinned=self._pinned,
            depth=Depth.CERTIFICATES,
            threads=0,
            processes=1,
        )
        self._judge_blame("beside an honest copy", report, liars)
        accused = {state for finding in report.findings for state in finding.accused}
        self.outcome.liars_named += accused == liars

    def _judge_blame(self, name: str, report: AuditReport, liars: set[str]) -> None:
        accused = {
            state for found in (*report.findings, *report.misdeeds) for state in found.accused
        }
        if accused - liars:
            self.outcome.blamed.append(f"{name}: {', '.join(sorted(accused - liars))}")

    def _is_an_honest_store(self) -> bool:
        """The same rows; or a line of a certificate less, and a quorum of them still there."""
        held, whole = self._rows(), self._whole_rows()
        lines_held, lines_whole = held.pop("cosignatures"), whole.pop("cosignatures")
        if held != whole or not set(lines_held) <= set(lines_whole):
            return False
        sizes = Counter(key[:8] for key, _ in lines_held)
        return all(sizes[key[:8]] > 2 * MEMBERS // 3 for key, _ in lines_whole)

    def _rows(self) -> dict[str, list[tuple[bytes, bytes]]]:
        with Store.open(database(self._home), read_only=True) as store:
            return {family: list(store.rows(family)) for family in keys.COLUMN_FAMILIES}

    def _whole_rows(self) -> dict[str, list[tuple[bytes, bytes]]]:
        with Store.open(database(self._world.homes["CN"]), read_only=True) as store:
            return {family: list(store.rows(family)) for family in keys.COLUMN_FAMILIES}

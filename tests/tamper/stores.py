"""Tampers with a node's home: rows through the database's own software, bytes of its files, the files beside it.

Not its key file, which none but its passphrase opens, and not its settings, which say nothing of the history.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import rocksdict

from consensus.codec import (
    MalformedBlock,
    block_signing_bytes,
    decode_block,
    decode_commit_record,
    encode_commit_record,
)
from consensus.committee import quorum_of
from consensus.types import SIGNATURE_BYTES
from node.audit.findings import Depth
from node.ledger.cosigned import encode_cosigned
from node.ledger.genesis import GenesisMember
from node.signing.verify import verify_ed25519
from node.storage import keys
from node.storage.store import Store
from tests.tamper.depths import of_row
from tests.tamper.folder import Folder
from tests.tamper.foreign import ORDER_L, signed_again
from tests.tamper.world import World
from tests.unit.audit.epoch_history import without_deciders
from tests.unit.audit.history import database, flip

Rows = dict[str, list[tuple[bytes, bytes]]]
DATABASE: Final = "data/rocksdb/"
BESIDE: Final = ("genesis.cbor", "data/block", "data/block-odd", "data/cosign")
IGNORED: Final = ("LOG", "OPTIONS", "IDENTITY", "LOCK", "rocksdict-config")
MARKS: Final = (keys.META_FORMAT, keys.META_REBUILD, keys.META_RESTORED)
FAMILIES: Final = tuple(family for family in keys.COLUMN_FAMILIES if family != "mempool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What was done, and at which depth that must be found (`depths`); `liars`: who signed something that only a liar signs."""

    what: str
    depth: Depth
    liars: frozenset[str] = frozenset()


class StoreTampers:
    """By chance drawn from `draw`, on a home of `world`; `older` is the same node's home as it was earlier, `other` another's."""

    def __init__(
        self, world: World, home: Folder, older: Folder, other: Folder, draw: random.Random
    ) -> None:
        self._world = world
        self._other = other
        self._home = home
        self._older = older
        self._draw = draw
        self._rows = self.rows()
        self._older_rows = rows_of(older)
        self._committed = {
            ref.digest for record in world.weave.records for ref in record.commit.blocks
        }
        self._files = [
            name
            for name, data in home.whole.items()
            if name.startswith(DATABASE)
            and data
            and not name.removeprefix(DATABASE).startswith(IGNORED)
        ]
        self.all: tuple[Callable[[], Damage], ...] = (
            *(self.row, self.row, self.row, self.row, self.older_row),
            *(self.line, self.database_file, self.database_file, self.beside, self.put_back),
            *(self.index_lies, self.block_signature),
        )

    def rows(self) -> Rows:
        return rows_of(self._home)

    def _change(self, family: str, key: bytes, value: bytes | None) -> None:
        with Store.open(database(self._home.path)) as store:
            batch = rocksdict.WriteBatch(raw_mode=True)
            if value is None:
                batch.delete(key, store._handles[family])
            else:
                batch.put(key, value, store._handles[family])
            store._write(batch)

    def _place(self) -> tuple[str, bytes, bytes]:
        family = self._draw.choice([family for family in FAMILIES if self._rows[family]])
        return (family, *self._draw.choice(self._rows[family]))

    def row(self) -> Damage:
        """One row altered, deleted, exchanged for another one's value, or added."""
        family, key, value = self._place()
        if key in MARKS:
            family, key, value = next(
                ("meta", k, v) for k, v in self._rows["meta"] if k == keys.META_TIP
            )
        kind = self._draw.choice(("alter", "delete", "swap", "add"))
        if kind == "alter" and value:
            at = self._draw.randrange(len(value))
            self._change(family, key, flip(value, at, self._draw.randrange(8)))
        elif kind == "swap" and value and len(self._rows[family]) > 1:
            other = self._draw.choice(self._rows[family])[1]
            self._change(family, key, other + b"x" if other == value else other)
        elif kind == "add":
            key = flip(key, self._draw.randrange(len(key)), self._draw.randrange(8))
            self._change(family, key, value)
        else:
            kind = "delete"
            self._change(family, key, None)
        return Damage(
            what=f"{kind} {family} {key.hex()}", depth=self._depth(family, key, kind == "add")
        )

    def _depth(self, family: str, key: bytes, added: bool = False) -> Depth:
        """Commit 0 founds the log and has no blocks: nothing reads its record but the count of rows."""
        if family == "commits" and not any(key):
            return Depth.STORE
        is_block = family in ("blocks", "later_blocks")
        committed = is_block and keys.split_block(key)[3] in self._committed
        return of_row(family, added=added, committed=committed)

    def older_row(self) -> Damage:
        """A row as it was before, or that was not there yet."""
        changed = []
        for family in FAMILIES:
            past = dict(self._older_rows[family])
            changed += [(family, k, past.get(k)) for k, v in self._rows[family] if past.get(k) != v]
        changed = [(f, k, v) for f, k, v in changed if k not in MARKS]
        assert changed, "the older home is an older one"
        family, key, value = self._draw.choice(changed)
        self._change(family, key, value)
        return Damage(what=f"older {family} {key.hex()}", depth=self._depth(family, key))

    def line(self) -> Damage:
        """A cosignature by one member over another root, of its own epoch; or by keys of another epoch."""
        sizes = sorted({int.from_bytes(key[:8], "big") for key, _ in self._rows["cosignatures"]})
        size = self._draw.choice(sizes)
        epoch = self._world.epoch_at(size)
        if self._draw.random() < 0.5:
            epoch = self._draw.choice(self._world.epochs)
        state = self._draw.choice([member.state for member in epoch.members])
        root = self._draw.randbytes(32)
        (line, *_) = self._world.weave.sign(epoch, size, root, [state])
        key = keys.u64(size) + line.member.to_bytes(2, "big")
        self._change("cosignatures", key, encode_cosigned(line))
        what = f"a line of {state} of epoch {epoch.number} over another root at {size}"
        return Damage(what=what, depth=Depth.CERTIFICATES, liars=frozenset((state,)))

    def index_lies(self) -> Damage:
        """The log is right, and what finds entries in it is not: consistently so, as far as one writes it."""
        entries = [(key, value) for key, value in self._rows["index"]]
        key, value = self._draw.choice(entries)
        other, others = self._draw.choice(entries)
        changes: list[tuple[str, bytes, bytes | None]]
        named = {f: [k for k, v in self._rows[f] if v == key] for f in ("sequence", "contents")}
        match self._draw.randrange(4):
            case 0:
                what = "forgotten"
                changes = [(f, k, None) for f, found in named.items() for k in found]
                changes += [("index", key, None)]
                index = self._index_of(key)
                facets = [k for k, _ in self._rows["facets"] if k.endswith(keys.u64(index))]
                changes += [("facets", k, None) for k in facets]
            case 1 if other != key and value != others:
                what = f"changed with {other.hex()}"
                changes = [("index", key, others), ("index", other, value)]
            case 2 if named["sequence"] and other != key:
                what = f"{other.hex()} in its place in the author's chain"
                changes = [("sequence", named["sequence"][0], other)]
            case _:
                facet, _ = self._draw.choice(self._rows["facets"])
                moved = facet[:-8] + keys.u64(self._draw.randrange(self._world.size))
                what = f"facet {facet.hex()} as {moved.hex()}"
                changes = [("facets", facet, None), ("facets", moved, b"")]
                if moved == facet:
                    changes = changes[:1]
        for family, place, new in changes:
            self._change(family, place, new)
        return Damage(what=f"entry {key.hex()} {what}", depth=Depth.STORE)

    def _index_of(self, digest: bytes) -> int:
        hashes = [sha256(leaf).digest() for leaf in self._world.leaves]
        return hashes.index(digest) if digest in hashes else len(hashes)

    def block_signature(self) -> Damage:
        """The same block, its digest alike, by another spelling of its signature, or by another good signature."""
        family = self._draw.choice(("blocks", "later_blocks"))
        key, data = self._draw.choice(self._rows[family])
        block = decode_block(data)
        if self._draw.random() < 0.7:
            scalar = int.from_bytes(block.signature[32:], "little") + ORDER_L
            other, what = block.signature[:32] + scalar.to_bytes(32, "little"), "another spelling"
        else:
            header = block.header
            message = block_signing_bytes(header.chain_id, header.epoch, block.ref)
            seed = self._world.block_seed(block)
            other, what = signed_again(seed, message, self._draw.randbytes(64)), "a good one"
        self._change(family, key, data[:-SIGNATURE_BYTES] + other)
        return Damage(
            what=f"signature of {family} {key.hex()}: {what}", depth=self._depth(family, key)
        )

    def database_file(self) -> Damage:
        name = self._draw.choice(self._files)
        data = self._home.whole[name]
        short = name.removeprefix(DATABASE)
        match self._draw.randrange(7):
            case 6:
                return self._added(name, data)
            case 0:
                self._home.write(name, data[: self._draw.randrange(len(data))])
                return Damage(what=f"cut {short}", depth=Depth.STORE)
            case 1:
                self._home.delete(name)
                return Damage(what=f"deleted {short}", depth=Depth.STORE)
            case 2:
                other = self._draw.choice([each for each in self._files if each != name])
                self._home.write(name, self._home.whole[other])
                self._home.write(other, data)
                what = f"swapped {short} with {other.removeprefix(DATABASE)}"
                return Damage(what=what, depth=Depth.STORE)
            case _:
                at = self._draw.randrange(len(data))
                self._home.write(name, flip(data, at, self._draw.randrange(8)))
                return Damage(what=f"byte {at} of {short}", depth=Depth.STORE)

    def _added(self, name: str, data: bytes) -> Damage:
        """A file more, as RocksDB names them: a log of that number would be read after all others."""
        older = [each for each in self._older.whole if each.startswith(DATABASE)]
        source = self._draw.choice([name, *older])
        whole = data if source == name else self._older.whole[source]
        kind = self._draw.choice(("log", "sst"))
        added = f"{DATABASE}{self._draw.choice((5, 77, 999_999)):06d}.{kind}"
        self._home.write(added, whole)
        what = f"{source.removeprefix(DATABASE)} as {added.removeprefix(DATABASE)}"
        return Damage(what=what, depth=Depth.STORE)

    def beside(self) -> Damage:
        """The genesis document and the sign states."""
        name = self._draw.choice([name for name in BESIDE if name in self._home.whole])
        data = self._home.whole[name]
        older = self._older.whole.get(name)
        depth = Depth.PARSE if name == "genesis.cbor" else Depth.STORE
        match self._draw.randrange(5):
            case 4 if depth is Depth.STORE:
                theirs = self._draw.choice([n for n in BESIDE[1:] if n in self._other.whole])
                self._home.write(name, self._other.whole[theirs])
                return Damage(what=f"{theirs} of another node as {name}", depth=depth)
            case 0:
                self._home.write(name, data[: self._draw.randrange(len(data))])
                return Damage(what=f"cut {name}", depth=depth)
            case 1 if name != "genesis.cbor":
                self._home.delete(name)
                return Damage(what=f"deleted {name}", depth=depth)
            case 2 if older is not None and older != data:
                self._home.write(name, older)
                return Damage(what=f"put back {name}", depth=depth)
            case _:
                at = self._draw.randrange(len(data))
                self._home.write(name, flip(data, at, self._draw.randrange(8)))
                return Damage(what=f"byte {at} of {name}", depth=depth)

    def put_back(self) -> Damage:
        """The whole database as it was; or one of its files, as the older one has it."""
        if self._draw.random() < 0.5:
            for name in self._home.whole:
                if name.startswith(DATABASE):
                    self._home.delete(name)
            for name, data in self._older.whole.items():
                if name.startswith(DATABASE):
                    self._home.write(name, data)
            return Damage(what="the database put back", depth=Depth.STORE)
        both = [name for name in self._files if self._older.whole.get(name, b"")]
        both = [name for name in both if self._older.whole[name] != self._home.whole[name]]
        if not both:
            return self.database_file()
        name = self._draw.choice(both)
        self._home.write(name, self._older.whole[name])
        return Damage(what=f"older {name.removeprefix(DATABASE)}", depth=Depth.STORE)

    def is_honest(self) -> bool:
        """The same rows; or a line of a certificate less, and a quorum of them still there; or other deciders (RULINGS R56)."""
        held, whole = self.rows(), dict(self._rows)
        for rows in (held, whole):
            rows["commits"] = [(key, _bare(row)) for key, row in rows["commits"]]
            for family in ("blocks", "later_blocks"):
                rows[family] = [(key, self._unsigned(row)) for key, row in rows[family]]
        lines_held, lines_whole = held.pop("cosignatures"), whole.pop("cosignatures")
        # ML-DSA signs with fresh random bytes: the older home's own second line of a size is as good a one.
        other = {row for row in self._older_rows["cosignatures"] if _is_second(row[0])}
        lines_held = [row for row in lines_held if row not in other or row in lines_whole]
        held["meta"], whole["meta"] = (
            self._but_a_hint(held["meta"]),
            self._but_a_hint(whole["meta"]),
        )
        if held != whole or not set(lines_held) <= set(lines_whole):
            return False
        many = Counter(key[:8] for key, _ in lines_held if _is_first(key))
        before = Counter(key[:8] for key, _ in lines_whole if _is_first(key))
        return all(
            many[size] >= min(had, quorum_of(len(self._members_at(size))))
            for size, had in before.items()
        )

    def _unsigned(self, row: bytes) -> bytes:
        """A block without its signature, if that is a good one: one digest may have two (RULINGS R56)."""
        try:
            block = decode_block(row)
        except MalformedBlock:
            return row
        header = block.header
        message = block_signing_bytes(header.chain_id, header.epoch, block.ref)
        key = self._world.epochs[header.epoch].members[block.ref.author].block_key
        good = verify_ed25519(key, message, block.signature)
        return row[:-SIGNATURE_BYTES] if good else row

    def _but_a_hint(self, rows: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Without `second`: above the largest size of a second line, where alone the audit lets it be, it says nothing."""
        return [(name, value) for name, value in rows if name != keys.META_SECOND]

    def _members_at(self, size: bytes) -> tuple[GenesisMember, ...]:
        return self._world.epoch_at(int.from_bytes(size, "big")).members


def _is_second(key: bytes) -> bool:
    place = int.from_bytes(key[8:], "big")
    return bool(place & keys.SECOND_LINE)


def _bare(row: bytes) -> bytes:
    """A commit record without what decided it, which a node that took the commit over does not have; other rows as they are."""
    try:
        return encode_commit_record(without_deciders(decode_commit_record(row)))
    except MalformedBlock:
        return row


def _is_first(key: bytes) -> bool:
    """A member's Ed25519 line."""
    place = int.from_bytes(key[8:], "big")
    return place < min(keys.LOG_LINE, keys.SECOND_LINE)


def rows_of(home: Folder) -> Rows:
    with Store.open(database(home.path), read_only=True) as store:
        return {family: list(store.rows(family)) for family in keys.COLUMN_FAMILIES}

"""Tampers with a node's home: rows through the database's own software, bytes of its files, the files beside it.

Not its key file, which none but its passphrase opens, and not its settings, which say nothing of the history.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import rocksdict

from consensus.codec import MalformedBlock, decode_commit_record, encode_commit_record
from consensus.committee import quorum_of
from node.ledger.cosigned import encode_cosigned
from node.ledger.genesis import GenesisMember
from node.storage import keys
from node.storage.store import Store
from tests.tamper.folder import Folder
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
    """What was done; `liars`: who signed something that only a liar signs."""

    what: str
    liars: frozenset[str] = frozenset()


class StoreTampers:
    """By chance drawn from `draw`, on a home of `world`; `older` is the same node's home as it was earlier."""

    def __init__(self, world: World, home: Folder, older: Folder, draw: random.Random) -> None:
        self._world = world
        self._home = home
        self._older = older
        self._draw = draw
        self._rows = self.rows()
        self._older_rows = rows_of(older)
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
        return Damage(what=f"{kind} {family} {key.hex()}")

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
        return Damage(what=f"older {family} {key.hex()}")

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
        return Damage(what=what, liars=frozenset((state,)))

    def database_file(self) -> Damage:
        name = self._draw.choice(self._files)
        data = self._home.whole[name]
        short = name.removeprefix(DATABASE)
        match self._draw.randrange(6):
            case 0:
                self._home.write(name, data[: self._draw.randrange(len(data))])
                return Damage(what=f"cut {short}")
            case 1:
                self._home.delete(name)
                return Damage(what=f"deleted {short}")
            case 2:
                other = self._draw.choice([each for each in self._files if each != name])
                self._home.write(name, self._home.whole[other])
                self._home.write(other, data)
                return Damage(what=f"swapped {short} with {other.removeprefix(DATABASE)}")
            case _:
                at = self._draw.randrange(len(data))
                self._home.write(name, flip(data, at, self._draw.randrange(8)))
                return Damage(what=f"byte {at} of {short}")

    def beside(self) -> Damage:
        """The genesis document and the sign states."""
        name = self._draw.choice([name for name in BESIDE if name in self._home.whole])
        data = self._home.whole[name]
        older = self._older.whole.get(name)
        match self._draw.randrange(4):
            case 0:
                self._home.write(name, data[: self._draw.randrange(len(data))])
                return Damage(what=f"cut {name}")
            case 1 if name != "genesis.cbor":
                self._home.delete(name)
                return Damage(what=f"deleted {name}")
            case 2 if older is not None and older != data:
                self._home.write(name, older)
                return Damage(what=f"put back {name}")
            case _:
                at = self._draw.randrange(len(data))
                self._home.write(name, flip(data, at, self._draw.randrange(8)))
                return Damage(what=f"byte {at} of {name}")

    def put_back(self) -> Damage:
        """The whole database as it was; or one of its files, as the older one has it."""
        if self._draw.random() < 0.5:
            for name in self._home.whole:
                if name.startswith(DATABASE):
                    self._home.delete(name)
            for name, data in self._older.whole.items():
                if name.startswith(DATABASE):
                    self._home.write(name, data)
            return Damage(what="the database put back")
        both = [name for name in self._files if self._older.whole.get(name, b"")]
        both = [name for name in both if self._older.whole[name] != self._home.whole[name]]
        if not both:
            return self.database_file()
        name = self._draw.choice(both)
        self._home.write(name, self._older.whole[name])
        return Damage(what=f"older {name.removeprefix(DATABASE)}")

    def is_honest(self) -> bool:
        """The same rows; or a line of a certificate less, and a quorum of them still there; or other deciders (RULINGS R56)."""
        held, whole = self.rows(), dict(self._rows)
        for rows in (held, whole):
            rows["commits"] = [(key, _bare(row)) for key, row in rows["commits"]]
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

"""A damaged store beside the one that was made in its place: which rows were lost or altered, by name.

Every row of the new store is asked for by key in the old one (the end of a scan proves nothing, RULINGS R54). Rows that only the
old one has are counted, as far as it can be read: nothing gives them.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from node.audit.source import database_file
from node.storage import keys
from node.storage.errors import StoreDamaged
from node.storage.store import Store

NAMED_MAX: Final = 20  # rows of one kind that are named; the others are counted
OWN_MARKS: Final = frozenset(
    {keys.META_REBUILD, keys.META_RESTORED}
)  # that the cosigner waits: no part of the ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedRow:
    """One row of the old store that is not what it should be."""

    family: str
    name: str  # for people: "entry 7", "tree hash of level 0, index 3"
    what: str  # missing, altered, cannot be read
    file: str | None = None  # of the database, where it cannot be read

    def __str__(self) -> str:
        where = "" if self.file is None else f" (file {self.file})"
        return f"{self.name}: {self.what}{where}"


@dataclass(slots=True, kw_only=True)
class RowDamage:
    """All of it."""

    rows: list[DamagedRow] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # by family, named or not
    surplus: Counter[str] = field(default_factory=Counter)  # rows that nothing gives, by family

    @property
    def total(self) -> int:
        return sum(self.counts.values()) + sum(self.surplus.values())

    def add(self, row: DamagedRow) -> None:
        self.counts[row.family] += 1
        if self.counts[row.family] <= NAMED_MAX:
            self.rows.append(row)


def row_damage(old: Store, new: Store, tick: Callable[[int], None]) -> RowDamage:
    """What of `new` the old store has not. Raises StoreDamaged only if `new` cannot be read."""
    found = RowDamage()
    for family in keys.COLUMN_FAMILIES:
        same = 0
        for key, value in new.rows(family):
            tick(1)
            if family == "meta" and key in OWN_MARKS:
                continue
            wrong = _wrong(old, family, key, value)
            if wrong is None:
                same += 1
            else:
                found.add(wrong)
        surplus = _surplus(old, new, family)
        if surplus:
            found.surplus[family] = surplus
    return found


def _wrong(old: Store, family: str, key: bytes, value: bytes) -> DamagedRow | None:
    try:
        held = old.row(family, key)
    except StoreDamaged as err:
        return DamagedRow(
            family=family,
            name=row_name(family, key),
            what="cannot be read",
            file=database_file(str(err)),
        )
    if held == value:
        return None
    what = "missing" if held is None else "altered"
    return DamagedRow(family=family, name=row_name(family, key), what=what)


def _surplus(old: Store, new: Store, family: str) -> int:
    many = 0
    try:
        for key, _ in old.rows(family):
            if family == "meta" and key in OWN_MARKS:
                continue
            many += new.row(family, key) is None
    except StoreDamaged:
        pass  # what cannot be read of it is named by key above
    return many


def row_name(family: str, key: bytes) -> str:
    """What a person calls this row (`storage.keys`)."""
    match family:
        case "log":
            return f"entry {int.from_bytes(key, 'big')}"
        case "hashes":
            return f"tree hash of level {key[0]}, index {int.from_bytes(key[1:], 'big')}"
        case "commits":
            return f"commit record {int.from_bytes(key, 'big')}"
        case "blocks" | "later_blocks":
            epoch, round_, author, digest = keys.split_block(key)
            where = f" of epoch {epoch}" if epoch else ""
            return f"block {round_}/{author} {digest.hex()[:16]}{where}"
        case "cosignatures":
            size, place = int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
            if place & keys.SECOND_LINE:
                return f"second line of member {place - keys.SECOND_LINE} at size {size}"
            if place & keys.LOG_LINE:
                return f"log line of member {place - keys.LOG_LINE} at size {size}"
            return f"cosignature of member {place} at size {size}"
        case "meta":
            return f"row {key.decode('ascii', 'replace')}"
        case _:
            return f"{family} row {key.hex()[:48]}"

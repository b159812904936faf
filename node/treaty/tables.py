"""A table of the state: rows by text key, which remembers the keys that changed, or refuses to be changed."""

from collections.abc import Callable, ItemsView, Iterator, ValuesView
from typing import Final, Generic, NamedTuple, TypeVar

from node.treaty.codec import Value

Row = TypeVar("Row", bound=NamedTuple)


def changer(row_type: type[Row], field: str) -> Callable[[Row, Value], Row]:
    """`_replace` of one field, at half its cost: for rows that each report changes."""
    at = row_type._fields.index(field)
    after = at + 1

    def changed(row: Row, value: Value) -> Row:
        return row_type._make((*row[:at], value, *row[after:]))

    return changed


class WouldChange(Exception):
    """A barred table was to be changed (`rehearsal`)."""


class Bar(dict[tuple[str, str], None]):
    def __setitem__(self, key: tuple[str, str], value: None) -> None:
        raise WouldChange(key)


class Table(Generic[Row]):
    """Rows of one type by text key, which remembers the keys that changed."""

    __slots__ = ("_changed", "_rows", "get", "name", "row_type")

    def __init__(
        self,
        name: str,
        row_type: type[Row],
        changed: dict[tuple[str, str], None],
        of: "Table[Row] | None" = None,
    ) -> None:
        """Empty, or another's rows, changes of which are noted (or barred) in `changed`."""
        self.name = name
        self.row_type = row_type
        self._rows: dict[str, Row] = {} if of is None else of._rows
        self._changed = changed
        # The row, or None. Every rule looks rows up: the dict's own method saves a call each time.
        self.get: Final[Callable[[str], Row | None]] = self._rows.get

    def __getitem__(self, key: str) -> Row:
        return self._rows[key]

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def items(self) -> ItemsView[str, Row]:
        return self._rows.items()

    def values(self) -> ValuesView[Row]:
        return self._rows.values()

    def put(self, key: str, row: Row) -> None:
        self._changed[self.name, key] = None  # first: a barred table raises here
        self._rows[key] = row

    def drop(self, key: str) -> None:
        self._changed[self.name, key] = None
        del self._rows[key]

    def load(self, key: str, row: Row) -> None:
        """Put back a stored row: not a change."""
        self._rows[key] = row

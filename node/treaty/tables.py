"""A table of the state: rows by text key, which remembers the keys that changed, or refuses to be changed."""

from collections.abc import ItemsView, Iterator, ValuesView
from typing import Generic, TypeVar

from node.treaty.codec import Value

Row = TypeVar("Row", bound=tuple[Value, ...])


class WouldChange(Exception):
    """A barred table was to be changed (`rehearsal`)."""


class Bar(dict[tuple[str, str], None]):
    def __setitem__(self, key: tuple[str, str], value: None) -> None:
        raise WouldChange(key)


class Table(Generic[Row]):
    """Rows of one type by text key, which remembers the keys that changed."""

    __slots__ = ("_changed", "_rows", "name", "row_type")

    def __init__(
        self, name: str, row_type: type[Row], changed: dict[tuple[str, str], None]
    ) -> None:
        self.name = name
        self.row_type = row_type
        self._rows: dict[str, Row] = {}
        self._changed = changed

    def get(self, key: str) -> Row | None:
        return self._rows.get(key)

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

    def barred(self, bar: dict[tuple[str, str], None]) -> "Table[Row]":
        """The same rows, not to be changed."""
        table = Table(self.name, self.row_type, bar)
        table._rows = self._rows
        return table

    def load(self, key: str, row: Row) -> None:
        """Put back a stored row: not a change."""
        self._rows[key] = row

"""What changed between two places of a history, or between two copies: members, policy, registers, cases, decisions, findings.

Both places are certified as `travel` does it. Rows are those of the questions of MODEL 11, compared key by key, field by field;
what grows by itself with time (the age of a case) is left out, so that a difference is always something that somebody did,
or that the law made of a deadline.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.audit.source import CannotAudit
from node.audit.travel import Journey, Place, Stand, journey
from node.ledger.questions.answer import QUESTIONS
from node.ledger.questions.moment import Moment, told_time
from node.ledger.questions.sight import Sight

Note = Callable[[str], None]
Fields = Mapping[str, Any]

COMPARED: Final = (
    *("status", "members", "policy", "veto"),
    *("facilities", "chips", "runs", "inspections"),
    *("motions", "decisions", "cases", "findings"),
)
MOVES_BY_ITSELF: Final = frozenset({"age_s", "moves_next_s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A copy and a moment in it."""

    path: Path
    moment: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Of one question: rows by key."""

    added: Mapping[str, Fields]
    removed: Mapping[str, Fields]
    changed: Mapping[str, Mapping[str, tuple[Any, Any]]]  # key -> field -> (before, after)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def as_json(self) -> dict[str, Any]:
        return {
            "added": {key: dict(row) for key, row in self.added.items()},
            "removed": {key: dict(row) for key, row in self.removed.items()},
            "changed": {
                key: {name: list(pair) for name, pair in fields.items()}
                for key, fields in self.changed.items()
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two places, and what the later one says otherwise."""

    before: Stand
    after: Stand
    one_log: bool  # the log of one of them begins with that of the other
    changes: Mapping[str, Changes]  # question -> what changed; all of COMPARED

    @property
    def differs(self) -> bool:
        return not self.one_log or any(self.changes.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "before": self.before.as_json(),
            "after": self.after.as_json(),
            "one_log": self.one_log,
            "differs": self.differs,
            "changes": {name: found.as_json() for name, found in self.changes.items()},
        }


Rows = dict[str, dict[str, Fields]]
"""question -> key -> row."""


def rows_of(sight: Sight) -> Rows:
    """All that is compared, as of one place."""
    return {
        name: {
            key: {field: value for field, value in row.items() if field not in MOVES_BY_ITSELF}
            for key, row in QUESTIONS[name](sight, "")
        }
        for name in COMPARED
    }


def difference(before: Fields, after: Fields) -> Changes:
    """Rows by key, two times. Keys ascending."""
    both = sorted(set(before) & set(after))
    return Changes(
        added={key: after[key] for key in sorted(set(after) - set(before))},
        removed={key: before[key] for key in sorted(set(before) - set(after))},
        changed={key: fields for key in both if (fields := _fields(before[key], after[key]))},
    )


def _fields(before: Fields, after: Fields) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*before, *after])
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    }


def diff_spots(first: Spot, second: Spot, pinned: bytes | None, note: Note) -> Difference:
    """Two places of one copy, or of two. Raises CannotAudit."""
    if first.path.resolve() == second.path.resolve():
        return _within(first, second, pinned, note)
    with journey(first.path, pinned, note) as one:
        judged_by = pinned if pinned is not None else one.source.document
        with journey(second.path, judged_by, note) as other:
            before, after = one.to(first.moment), other.to(second.moment)
            return _between(
                (before.stand, rows_of(before.sight)),
                (after.stand, rows_of(after.sight)),
                one_log=_is_one_log(one, before, other, after),
            )


def _within(first: Spot, second: Spot, pinned: bytes | None, note: Note) -> Difference:
    """One run through one copy: the earlier place first, and turned round if the later one was named first."""
    for spots, turned in (((first, second), False), ((second, first), True)):
        with journey(first.path, pinned, note) as going:
            here = going.to(spots[0].moment)
            earlier = (here.stand, rows_of(here.sight))
            if not going.reaches(spots[1].moment):
                continue
            there = going.to(spots[1].moment)
            later = (there.stand, rows_of(there.sight))
        before, after = (later, earlier) if turned else (earlier, later)
        return _between(before, after, one_log=True)
    raise CannotAudit(f"{first.path}: neither place comes before the other")


def _between(before: tuple[Stand, Rows], after: tuple[Stand, Rows], *, one_log: bool) -> Difference:
    return Difference(
        before=before[0],
        after=after[0],
        one_log=one_log,
        changes={name: difference(before[1][name], after[1][name]) for name in COMPARED},
    )


def _is_one_log(one: Journey, before: Place, other: Journey, after: Place) -> bool:
    """The root at the smaller size is the same in both: by the larger one's own hashes, which lead to its cosigned root."""
    if before.stand.size <= after.stand.size:
        return other.certified_root_at(before.stand.size).hex() == before.stand.root
    return one.certified_root_at(after.stand.size).hex() == after.stand.root


def lines_of(found: Difference) -> Iterator[str]:
    """For people: one line for each row that changed."""
    for name, changes in found.changes.items():
        if not changes:
            yield f"{name}: nothing changed"
            continue
        yield f"{name}:"
        for key, row in changes.added.items():
            yield f"  + {key}: {_row(row)}"
        for key, row in changes.removed.items():
            yield f"  - {key}: {_row(row)}"
        for key, fields in changes.changed.items():
            told = ", ".join(
                f"{field} {_named(field, a)} -> {_named(field, b)}"
                for field, (a, b) in fields.items()
            )
            yield f"  * {key}: {told}"


def _row(row: Fields) -> str:
    return ", ".join(
        f"{name} {_named(name, value)}" for name, value in row.items() if value not in ("", None)
    )


def _named(name: str, value: Any) -> str:
    return _cell(told_time(name, value))


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} {_cell(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_cell, value)) + "]"
    return "-" if value is None else str(value)

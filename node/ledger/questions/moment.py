"""A place in the history that a question is about: an index of the log, or a ledger time. Both mean the last commit up to there.

1200                        the last commit all of whose entries stand at or below index 1200
2026-03-31                  the last commit of that day (UTC)
2026-03-31T12:00:00Z        the last commit up to and including that second
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from node.ledger.errors import LedgerError

MOMENT_CHARS_MAX: Final = 40
INDEX_MAX: Final = 1 << 53
# Fields of answers that hold a ledger second; so do those that end in "_at". Some say "due" of a count as well: those are small.
TIME_FIELDS: Final = frozenset(
    {"at", "due", "since", "until", "reply_due", "access_due", "in_force_since", "moves_next_s"}
)
FIRST_SECOND: Final = 1_000_000_000  # 2001: no ledger is older
SECOND_MAX: Final = (
    1 << 37
)  # the year 6325: what is beyond is no time, but a law's "never" or a stranger's number
_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class NoMoment(LedgerError):
    """A text that is neither an index nor a date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """At most one of both is set; none of both is the end of what is there."""

    index: int | None = None
    time_s: int | None = None  # unix seconds UTC

    def holds(self, size: int, time_ms: int) -> bool:
        """Whether a commit is up to here: the log had `size` entries after it."""
        if self.index is not None:
            return size <= self.index + 1
        return self.time_s is None or time_ms < (self.time_s + 1) * 1000


THE_END: Final = Moment()


def parse_moment(text: str) -> Moment:
    """What `--at` says. Raises NoMoment saying what would be right."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(INDEX_MAX)):
        return Moment(index=int(text))
    return Moment(time_s=parse_time(text, end_of_day=True))


def parse_time(text: str, *, end_of_day: bool) -> int:
    """Unix seconds of a date (its last second, or its first) or of a second in ISO 8601 with its offset. Raises NoMoment."""
    want = "want an index, a date as 2026-03-31, or a second as 2026-03-31T12:00:00Z"
    if len(text) > MOMENT_CHARS_MAX:
        raise NoMoment(f"{text[:MOMENT_CHARS_MAX]!r}...: {want}")
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise NoMoment(f"{text!r}: {want}") from None
    if "T" not in text and " " not in text:
        read = read.replace(tzinfo=UTC)
        if end_of_day:
            read += timedelta(days=1) - _SECOND
    if read.tzinfo is None:
        raise NoMoment(f"{text!r}: without an offset it is another second everywhere: {want}")
    return (read - _EPOCH) // _SECOND


def told_time(name: str, value: object) -> object:
    """For people: a field that holds a ledger second as its date and time; any other value as it is."""
    is_time = name.endswith("_at") or name in TIME_FIELDS
    if is_time and isinstance(value, int) and FIRST_SECOND <= value < SECOND_MAX:
        return time_text(value)
    return value


def time_text(time_s: int) -> str:
    """The second as `parse_time` reads it."""
    return (_EPOCH + _SECOND * time_s).strftime("%Y-%m-%dT%H:%M:%SZ")

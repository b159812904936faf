"""What the gateway must remember over a crash: one SQLite file, every change synced before it is relied upon.

Tables, all small but one: `meter` (one row a source: tally.Meter), `evidence` (the signed readings themselves, kept for a
time and up to a number), `period` (where each facility's open reporting period began), `report` (statements closed, intended,
signed, final).

    reading -> [accept, synced] -> broker is acknowledged
    period over -> [close: report rows written and totals marked, one transaction]
                -> [intend: entry bytes, seq and hash written] -> author's outbox -> [signed] -> submit -> [final]

A crash between any two steps repeats the next step with the same result: closing is one transaction; an intended entry is in
the author's outbox or it never left (`reporter` finds out which); submitting the same bytes twice is a duplicate at the node.
The author's chain itself stands in the outbox, which others who sign for this author share (RULINGS R28): the journal
keeps no second truth about it.

SQLite and not RocksDB, because the gateway is its own process at the operator's site and needs transactions over a
few rows, and because only node/storage may import RocksDB.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from node.intake import tally
from node.intake.reading import Reading, encode_reading, parse_topic
from node.intake.tally import Meter, RefusedReading
from node.reporting import CouldNot

_SCHEMA: Final = """
create table if not exists meta (name text primary key, value text not null) strict;
create table if not exists meter (
  topic text primary key, sequence integer not null, time_s integer not null, value integer not null, total text not null,
  reported text not null, peak integer not null, low integer not null, samples integer not null, missing integer not null,
  resets integer not null) strict;
create table if not exists evidence (topic text, sequence integer, time_s integer not null, payload blob not null,
  primary key (topic, sequence)) strict, without rowid;
create index if not exists evidence_time on evidence (time_s);
create table if not exists period (facility text primary key, start_s integer not null) strict;
create table if not exists report (
  id integer primary key, facility text not null, kind text not null, meter text not null, start_s integer not null,
  end_s integer not null, body blob not null, author text not null, state text not null, seq integer, entry blob,
  log_index integer, code text, unique (facility, kind, meter, start_s)) strict;
create index if not exists report_state on report (state, author, id);
"""
_VERSION: Final = "1"
_METER_COLUMNS: Final = (
    "sequence, time_s, value, total, reported, peak, low, samples, missing, resets"
)
_REPORT_COLUMNS: Final = (
    "id, facility, kind, meter, start_s, end_s, body, author, state, seq, entry, log_index, code"
)
# Rows that one call forgets: the journal is not held for long, and the caller comes again.
FORGET_AT_ONCE: Final = 10_000


class JournalError(CouldNot):
    """The journal cannot be opened or is not this gateway's. The message names the file and what to do."""


class Outcome(Enum):
    """What became of one well-formed, correctly signed reading."""

    COUNTED = "counted"
    RESTARTED = "restarted"  # counted too: a counter that began anew
    REPEATED = "repeated"
    REFUSED = "refused"


class ReportState(Enum):
    """How far a report has come."""

    CLOSED = "closed"  # the period is over, its sums are fixed
    INTENDED = "intended"  # an entry is made; whether the outbox has it is not known here
    SIGNED = "signed"  # the outbox has it: it may have left
    FINAL = "final"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A statement to be: `content` is its content bytes, `meter` the device (the facility itself for usage)."""

    facility: str
    kind: str
    meter: str
    start_s: int
    end_s: int
    content: bytes
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A draft with what has happened to it since: `seq` and `entry` from INTENDED on, `log_index` and `code` when FINAL."""

    id: int
    draft: Draft
    state: ReportState
    seq: int = 0
    entry: bytes = b""
    log_index: int | None = None
    code: str = ""  # why the law rejected it; empty if it was accepted


class Journal:
    """Owns the file. Methods are synchronous and durable when they return; call them from one thread at a time."""

    def __init__(self, path: Path, *, ledger: bytes) -> None:
        """Open or create, and lock. Raises JournalError if it is damaged, in use, or of another ledger."""
        self._path = path
        self._lock = _locked(path.with_name(f"{path.name}.lock"))
        try:
            # Made here first, so that no other user can read it at any moment.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
            # The gateway calls from a worker thread, one call at a time (its own lock sees to it).
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")  # NORMAL may lose the last transaction
            self._db.executescript(_SCHEMA)
            self._claim("version", _VERSION)
            self._claim("ledger", ledger.hex())
            _sync_folder(path.parent)
        except (sqlite3.DatabaseError, OSError, JournalError) as err:
            os.close(self._lock)
            if isinstance(err, JournalError):
                raise
            raise JournalError(
                f"journal {path}: {err}; restore it from a copy, or start a new one"
            ) from err

    def close(self) -> None:
        self._db.close()
        os.close(self._lock)

    def _claim(self, name: str, value: str) -> None:
        self._db.execute("insert or ignore into meta values (?, ?)", (name, value))
        (held,) = self._db.execute("select value from meta where name = ?", (name,)).fetchone()
        if held != value:
            raise JournalError(f"journal {self._path}: {name} is {held}, this gateway has {value}")

    # -- readings ------------------------------------------------------------------------------

    def accept(
        self, readings: Sequence[Reading], *, hold_s: int, wraps_at: Mapping[str, int]
    ) -> list[tuple[Outcome, str]]:
        """Count a burst of readings in one synced transaction; one outcome and reason each, in order.

        Each reading is checked against the ones before it, those of the same burst included. `wraps_at`: by topic, where a
        counter runs over.
        """
        held: dict[str, Meter | None] = {}
        outcomes: list[tuple[Outcome, str]] = []
        counted: list[Reading] = []
        for reading in readings:
            topic = reading.source.topic
            if topic not in held:
                held[topic] = self.meter(topic)
            meter = held[topic]
            outcome = Outcome.COUNTED
            if meter is None:
                held[topic] = tally.first(reading)
            elif tally.is_repeat(meter, reading):
                outcomes.append(self._repeated(reading, counted))
                continue
            else:
                try:
                    after = tally.advance(
                        meter, reading, hold_s=hold_s, wraps_at=wraps_at.get(topic, 0)
                    )
                except RefusedReading as err:
                    outcomes.append((Outcome.REFUSED, str(err)))
                    continue
                held[topic] = after
                if after.resets > meter.resets:
                    outcome = Outcome.RESTARTED
            counted.append(reading)
            outcomes.append((outcome, ""))
        if counted:
            self._write_readings(held, counted)
        return outcomes

    def _repeated(self, reading: Reading, counted: Sequence[Reading]) -> tuple[Outcome, str]:
        """A sequence number used before: the same reading again, or a device that contradicts itself."""
        source, sequence = reading.source, reading.sequence
        row = self._db.execute(
            "select payload from evidence where topic = ? and sequence = ?",
            (source.topic, sequence),
        ).fetchone()
        known = None if row is None else bytes(row[0])
        for other in counted:
            if (other.source, other.sequence) == (source, sequence):
                known = encode_reading(other)
        if known is not None and known != encode_reading(reading):
            why = f"sequence={sequence}: this device signed another reading under it: has it lost its memory?"
            return Outcome.REFUSED, why
        return Outcome.REPEATED, f"sequence={sequence}: seen"

    def _write_readings(self, held: dict[str, Meter | None], counted: Iterable[Reading]) -> None:
        with _transaction(self._db):
            for topic, meter in held.items():
                if meter is not None:
                    self._put_meter(topic, meter)
            self._db.executemany(
                "insert into evidence values (?, ?, ?, ?)",
                (
                    (each.source.topic, each.sequence, each.time_s, encode_reading(each))
                    for each in counted
                ),
            )

    def meter(self, topic: str) -> Meter | None:
        row = self._db.execute(
            f"select {_METER_COLUMNS} from meter where topic = ?",  # noqa: S608 - our own columns
            (topic,),
        ).fetchone()
        return None if row is None else _meter(row)

    def meters(self, facility: str) -> dict[str, Meter]:
        """Every source of one facility by topic, ascending."""
        rows = self._db.execute(
            f"select topic, {_METER_COLUMNS} from meter order by topic"  # noqa: S608 - our own columns
        ).fetchall()
        return {
            topic: _meter(row) for topic, *row in rows if parse_topic(topic).facility == facility
        }

    def _put_meter(self, topic: str, meter: Meter) -> None:
        self._db.execute(
            "insert or replace into meter values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                topic,
                meter.sequence,
                meter.time_s,
                meter.value,
                # Watt-seconds may pass 64 bits over years of a large site: kept as text.
                str(meter.total),
                str(meter.reported),
                meter.peak,
                meter.low,
                meter.samples,
                meter.missing,
                meter.resets,
            ),
        )

    def forget(self, *, before_s: int, readings_max: int) -> int:
        """Drop evidence and final reports that are older than `before_s`, and the oldest evidence beyond `readings_max`.

        Totals stay. At most FORGET_AT_ONCE rows of each; returns how many went: call again while any did.
        """
        row = self._db.execute(
            "select time_s from evidence order by time_s desc limit 1 offset ?", (readings_max,)
        ).fetchone()
        oldest_kept_s = before_s if row is None else max(before_s, int(row[0]) + 1)
        with _transaction(self._db):
            readings = self._db.execute(
                "delete from evidence where (topic, sequence) in"
                " (select topic, sequence from evidence where time_s < ? limit ?)",
                (oldest_kept_s, FORGET_AT_ONCE),
            ).rowcount
            reports = self._db.execute(
                "delete from report where id in"
                " (select id from report where state = ? and end_s < ? limit ?)",
                (ReportState.FINAL.value, before_s, FORGET_AT_ONCE),
            ).rowcount
        return readings + reports

    def evidence(self, topic: str) -> list[bytes]:
        """The signed readings of one source that are still kept, by ascending sequence."""
        rows = self._db.execute(
            "select payload from evidence where topic = ? order by sequence", (topic,)
        ).fetchall()
        return [bytes(row[0]) for row in rows]

    # -- periods and reports -------------------------------------------------------------------

    def open_period(self, facility: str, start_s: int) -> int:
        """Where the facility's open period begins; `start_s` if none was open."""
        row = self._db.execute(
            "select start_s from period where facility = ?", (facility,)
        ).fetchone()
        if row is not None:
            return int(row[0])
        self._db.execute("insert into period values (?, ?)", (facility, start_s))
        return start_s

    def close_period(self, facility: str, *, end_s: int, drafts: Sequence[Draft]) -> None:
        """Write the drafts, mark every total of the facility as reported, open the next period: all or nothing.

        The drafts must have been made from `meters(facility)` as they are now; the caller holds the journal between.
        """
        with _transaction(self._db):
            for draft in drafts:
                self._db.execute(
                    "insert into report (facility, kind, meter, start_s, end_s, body, author, state)"
                    " values (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        draft.facility,
                        draft.kind,
                        draft.meter,
                        draft.start_s,
                        draft.end_s,
                        draft.content,
                        draft.author,
                        ReportState.CLOSED.value,
                    ),
                )
            for topic, meter in self.meters(facility).items():
                self._put_meter(topic, tally.mark_reported(meter, parse_topic(topic).kind))
            self._db.execute("update period set start_s = ? where facility = ?", (end_s, facility))

    def skip_to(self, facility: str, start_s: int) -> None:
        """Open the period that begins at `start_s` instead, all before it having been silent."""
        self._db.execute("update period set start_s = ? where facility = ?", (start_s, facility))

    def reports(self, state: ReportState, author: str, limit: int = 256) -> list[Report]:
        """An author's reports in that state, oldest first, at most `limit`."""
        rows = self._db.execute(
            f"select {_REPORT_COLUMNS} from report where state = ? and author = ? order by id limit ?",  # noqa: S608
            (state.value, author, limit),
        ).fetchall()
        return [_report(row) for row in rows]

    def count(self, state: ReportState) -> int:
        (found,) = self._db.execute(
            "select count(*) from report where state = ?", (state.value,)
        ).fetchone()
        return int(found)

    def intend(self, report: Report, *, seq: int, entry: bytes) -> None:
        """CLOSED -> INTENDED: what the outbox is about to be given."""
        self._move(report, ReportState.INTENDED, seq=seq, entry=entry)

    def settle(self, report: Report, *, recorded: bool) -> None:
        """INTENDED -> SIGNED if the outbox has the entry; else it never left: back to CLOSED, to be signed anew."""
        if recorded:
            self._move(report, ReportState.SIGNED, seq=report.seq, entry=report.entry)
        else:
            self._move(report, ReportState.CLOSED, seq=None, entry=None)

    def finish(self, report: Report, *, log_index: int, code: str) -> None:
        """-> FINAL at that index of the log; `code` says why the law rejected it, if it did."""
        self._db.execute(
            "update report set state = ?, log_index = ?, code = ? where id = ?",
            (ReportState.FINAL.value, log_index, code, report.id),
        )

    def _move(
        self, report: Report, state: ReportState, *, seq: int | None, entry: bytes | None
    ) -> None:
        self._db.execute(
            "update report set state = ?, seq = ?, entry = ? where id = ?",
            (state.value, seq, entry, report.id),
        )


class _transaction:  # noqa: N801 - reads as a keyword: `with _transaction(db):`
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK if the body raises."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("begin immediate")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._db.execute("commit" if kind is None else "rollback")


def _locked(path: Path) -> int:
    """Two gateways on one journal would each count what the other has."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as err:
        raise JournalError(f"journal: {path}: {err.strerror}") from err
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise JournalError(f"journal: {path}: another gateway uses it: stop that one") from None
    return descriptor


def _sync_folder(folder: Path) -> None:
    """The file's name in its folder survives a power loss too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _meter(row: Sequence[str | int]) -> Meter:
    sequence, time_s, value, total, reported, peak, low, samples, missing, resets = map(int, row)
    return Meter(
        sequence=sequence,
        time_s=time_s,
        value=value,
        total=total,
        reported=reported,
        peak=peak,
        low=low,
        samples=samples,
        missing=missing,
        resets=resets,
    )


def _report(row: Sequence[Any]) -> Report:
    """A row of _REPORT_COLUMNS; the table is strict, so its types are the schema's."""
    identity, facility, kind, meter, start_s, end_s, content, author, state, *rest = row
    seq, entry, log_index, code = rest
    return Report(
        id=identity,
        draft=Draft(
            facility=facility,
            kind=kind,
            meter=meter,
            start_s=start_s,
            end_s=end_s,
            content=content,
            author=author,
        ),
        state=ReportState(state),
        seq=seq or 0,
        entry=entry or b"",
        log_index=log_index,
        code=code or "",
    )

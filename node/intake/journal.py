"""What the gateway must remember over a crash: one SQLite file, every change synced before it is relied upon.

Tables, all small: `meter` (one row a source: tally.Meter), `evidence` (the signed readings themselves, kept for
`retain_s`), `period` (where each facility's open reporting period began), `report` (statements closed, signed, sent,
final), `chain` (each author's last seq and entry hash).

    reading -> [accept, synced] -> broker is acknowledged
    period over -> [close: report rows written and totals marked, one transaction]
                -> [sign: entry bytes, seq and hash written, one transaction] -> submit -> [final]

A crash between any two steps repeats the next step with the same result: closing is one transaction, signing is
written before a byte leaves (RULINGS R28), submitting the same bytes twice is a duplicate at the node.
SQLite and not RocksDB, because the gateway is its own process at the operator's site and needs transactions over a
few rows, and because only node/storage may import RocksDB.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from node.intake import tally
from node.intake.reading import Reading, encode_reading, parse_topic
from node.intake.tally import Meter, RefusedReading

_SCHEMA: Final = """
create table if not exists meta (name text primary key, value text not null) strict;
create table if not exists meter (
  topic text primary key, sequence integer not null, time_s integer not null, value integer not null, total text not null,
  reported text not null, peak integer not null, low integer not null, samples integer not null, missing integer not null
) strict;
create table if not exists evidence (topic text, sequence integer, time_s integer not null, payload blob not null,
  primary key (topic, sequence)) strict, without rowid;
create index if not exists evidence_time on evidence (time_s);
create table if not exists period (facility text primary key, start_s integer not null) strict;
create table if not exists report (
  id integer primary key, facility text not null, kind text not null, subject text not null, start_s integer not null,
  end_s integer not null, body blob not null, author text not null, state text not null, seq integer, entry blob,
  entry_hash blob, log_index integer, unique (facility, kind, subject, start_s)) strict;
create table if not exists chain (author text primary key, seq integer not null, hash blob not null) strict;
"""
_VERSION: Final = "1"


class JournalError(Exception):
    """The journal cannot be opened or is not this gateway's. The message names the file and what to do."""


class Outcome(Enum):
    """What became of one well-formed, correctly signed reading."""

    COUNTED = "counted"
    REPEATED = "repeated"
    REFUSED = "refused"


class ReportState(Enum):
    """How far a report has come."""

    CLOSED = "closed"
    SIGNED = "signed"
    FINAL = "final"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A statement to be: kind and subject as in COSE's claims, body the protobuf bytes of its message."""

    facility: str
    kind: str
    subject: str
    start_s: int
    end_s: int
    body: bytes
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A draft with what has happened to it since. `entry` is None until signed, `log_index` until final."""

    id: int
    draft: Draft
    state: ReportState
    seq: int | None
    entry: bytes | None
    entry_hash: bytes | None
    log_index: int | None


class Journal:
    """Owns the file. Methods are synchronous and durable when they return; call them from one thread at a time."""

    def __init__(self, path: Path, *, ledger: bytes) -> None:
        """Open or create. Raises JournalError if the file is damaged or belongs to another ledger."""
        self._path = path
        try:
            # The gateway calls from a worker thread, one call at a time (its own lock sees to it).
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            path.chmod(0o600)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")  # NORMAL may lose the last transaction
            self._db.executescript(_SCHEMA)
            self._claim("version", _VERSION)
            self._claim("ledger", ledger.hex())
        except (sqlite3.DatabaseError, OSError) as err:
            raise JournalError(
                f"journal {path}: {err}; restore it from a copy, or start a new one"
            ) from err

    def close(self) -> None:
        self._db.close()

    def _claim(self, name: str, value: str) -> None:
        self._db.execute("insert or ignore into meta values (?, ?)", (name, value))
        (held,) = self._db.execute("select value from meta where name = ?", (name,)).fetchone()
        if held != value:
            raise JournalError(f"journal {self._path}: {name} is {held}, this gateway has {value}")

    # -- readings ------------------------------------------------------------------------------

    def accept(self, readings: Sequence[Reading], *, hold_s: int) -> list[tuple[Outcome, str]]:
        """Count a burst of readings in one synced transaction; one outcome and reason each, in order.

        Each reading is checked against the ones before it, those of the same burst included.
        """
        held: dict[str, Meter | None] = {}
        outcomes: list[tuple[Outcome, str]] = []
        counted: list[Reading] = []
        for reading in readings:
            topic = reading.source.topic
            if topic not in held:
                held[topic] = self.meter(topic)
            meter = held[topic]
            if meter is None:
                held[topic] = tally.first(reading)
            elif tally.is_repeat(meter, reading):
                outcomes.append((Outcome.REPEATED, f"sequence={reading.sequence}: seen"))
                continue
            else:
                try:
                    held[topic] = tally.advance(meter, reading, hold_s=hold_s)
                except RefusedReading as err:
                    outcomes.append((Outcome.REFUSED, str(err)))
                    continue
            counted.append(reading)
            outcomes.append((Outcome.COUNTED, ""))
        if counted:
            self._write_readings(held, counted)
        return outcomes

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
            "select sequence, time_s, value, total, reported, peak, low, samples, missing from meter where topic = ?",
            (topic,),
        ).fetchone()
        return None if row is None else _meter(row)

    def meters(self, facility: str) -> dict[str, Meter]:
        """Every source of one facility by topic, ascending."""
        rows = self._db.execute(
            "select topic, sequence, time_s, value, total, reported, peak, low, samples, missing from meter order by topic"
        ).fetchall()
        return {
            topic: _meter(row) for topic, *row in rows if parse_topic(topic).facility == facility
        }

    def _put_meter(self, topic: str, meter: Meter) -> None:
        self._db.execute(
            "insert or replace into meter values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            ),
        )

    def forget_evidence(self, before_s: int) -> int:
        """Drop signed readings older than `before_s`; the totals stay. Returns how many went."""
        return self._db.execute("delete from evidence where time_s < ?", (before_s,)).rowcount

    # -- periods and reports -------------------------------------------------------------------

    def open_period(self, facility: str, start_s: int) -> int:
        """Where the facility's open period begins; `start_s` if none was open."""
        self._db.execute("insert or ignore into period values (?, ?)", (facility, start_s))
        (start,) = self._db.execute(
            "select start_s from period where facility = ?", (facility,)
        ).fetchone()
        return int(start)

    def close_period(self, facility: str, *, end_s: int, drafts: Sequence[Draft]) -> None:
        """Write the drafts, mark every total of the facility as reported, open the next period: all or nothing.

        The drafts must have been made from `meters(facility)` as they are now; the caller holds the journal between.
        """
        with _transaction(self._db):
            for draft in drafts:
                self._db.execute(
                    "insert into report (facility, kind, subject, start_s, end_s, body, author, state)"
                    " values (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        draft.facility,
                        draft.kind,
                        draft.subject,
                        draft.start_s,
                        draft.end_s,
                        draft.body,
                        draft.author,
                        ReportState.CLOSED.value,
                    ),
                )
            for topic, meter in self.meters(facility).items():
                self._put_meter(topic, tally.mark_reported(meter, parse_topic(topic).kind))
            self._db.execute("update period set start_s = ? where facility = ?", (end_s, facility))

    def reports(self, state: ReportState, limit: int = 256) -> list[Report]:
        """Reports in that state, oldest first, at most `limit`."""
        rows = self._db.execute(
            "select id, facility, kind, subject, start_s, end_s, body, author, state, seq, entry, entry_hash, log_index"
            " from report where state = ? order by id limit ?",
            (state.value, limit),
        ).fetchall()
        return [_report(row) for row in rows]

    def chain(self, author: str) -> tuple[int, bytes]:
        """The author's last seq and entry hash; (0, 32 zero bytes) before the first."""
        row = self._db.execute("select seq, hash from chain where author = ?", (author,)).fetchone()
        return (0, bytes(32)) if row is None else (int(row[0]), bytes(row[1]))

    def adopt_chain(self, author: str, seq: int, entry_hash: bytes) -> None:
        """Take over the chain as the ledger knows it, if it is ahead of ours (entries signed elsewhere before)."""
        if seq > self.chain(author)[0]:
            self._db.execute(
                "insert or replace into chain values (?, ?, ?)", (author, seq, entry_hash)
            )

    def sign(self, report: Report, *, seq: int, entry: bytes, entry_hash: bytes) -> None:
        """Record the signed entry and move the author's chain, before the signature leaves."""
        last, _ = self.chain(report.draft.author)
        assert seq == last + 1, f"{report.draft.author}: seq {seq} after {last}"
        with _transaction(self._db):
            self._db.execute(
                "update report set state = ?, seq = ?, entry = ?, entry_hash = ? where id = ?",
                (ReportState.SIGNED.value, seq, entry, entry_hash, report.id),
            )
            self._db.execute(
                "insert or replace into chain values (?, ?, ?)",
                (report.draft.author, seq, entry_hash),
            )

    def finish(self, report: Report, log_index: int) -> None:
        """The report is final at that index of the log."""
        self._db.execute(
            "update report set state = ?, log_index = ? where id = ?",
            (ReportState.FINAL.value, log_index, report.id),
        )


class _transaction:  # noqa: N801 - reads as a keyword: `with _transaction(db):`
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK if the body raises."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("begin immediate")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._db.execute("commit" if kind is None else "rollback")


def _meter(row: Sequence[str | int]) -> Meter:
    sequence, time_s, value, total, reported, peak, low, samples, missing = (int(x) for x in row)
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
    )


def _report(row: Sequence[object]) -> Report:
    (
        identity,
        facility,
        kind,
        subject,
        start_s,
        end_s,
        body,
        author,
        state,
        seq,
        entry,
        digest,
        at,
    ) = row
    assert isinstance(identity, int)
    assert isinstance(start_s, int)
    assert isinstance(end_s, int)
    assert isinstance(body, bytes)
    return Report(
        id=identity,
        draft=Draft(
            facility=str(facility),
            kind=str(kind),
            subject=str(subject),
            start_s=start_s,
            end_s=end_s,
            body=body,
            author=str(author),
        ),
        state=ReportState(state),
        seq=seq if isinstance(seq, int) else None,
        entry=entry if isinstance(entry, bytes) else None,
        entry_hash=digest if isinstance(digest, bytes) else None,
        log_index=at if isinstance(at, int) else None,
    )

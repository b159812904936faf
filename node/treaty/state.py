"""Everything the law remembers, as rows that can be stored, hashed and read back.

A `Table` maps text keys to immutable rows; changing a row means putting a new one, so no change can
escape the list of changed keys. Rows are NamedTuples of the codec's values, because a row is written
to the store as the tuple it is, and because making one costs a third of making a dataclass.

What grows: rows of parties, facilities, runs, models, cases and motions, one each; an open motion
also holds its votes, a closed one only its outcome; one row per kind of chip at a site, per lot on its
way, per model evaluated. Entries, votes of the past, reports and records
leave no row: the log keeps them. The book's other fields (`node/treaty/book.py`) follow from rows.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from node.treaty.codec import DamagedRow, decode, encode
from node.treaty.rows.clock import (
    Anchor,
    Counter,
    Draw,
    Gap,
    Reveal,
    Round,
)
from node.treaty.rows.motions import (
    Amendment,
    Closed,
    Course,
    Ground,
    Halting,
    Inspection,
    Motion,
    Removal,
    Rest,
    Share,
    Standard,
    Tightening,
    Walks,
)
from node.treaty.rows.parties import (
    Appointment,
    Chain,
    Closing,
    Conflict,
    Epoch,
    Key,
    KeyOwner,
    Member,
    Naming,
    Offer,
    Owned,
    Party,
    Place,
    PriorLog,
    Sealing,
    Seat,
    SecondKey,
    Source,
    Suspect,
    Suspension,
)
from node.treaty.rows.runs import (
    Benchmarks,
    Claim,
    Denial,
    Deployment,
    Evaluations,
    Examiner,
    Incidents,
    Licence,
    Life,
    Manifest,
    Model,
    Named,
    Owning,
    Plan,
    Purpose,
    Release,
    SafetyCase,
    Sealed,
    Teachers,
    Work,
)
from node.treaty.rows.sites import (
    Access,
    Ceremony,
    ChipType,
    Duty,
    Facility,
    Located,
    Lot,
    Memory,
    Meters,
    Notice,
    Output,
    Passes,
    Power,
    Price,
    Registered,
    Routine,
    Said,
    Seal,
    Serial,
    Size,
    Snapshots,
    Spec,
    Stock,
    Tally,
    Team,
)
from node.treaty.rows.verdicts import (
    Basis,
    Case,
    Confirmed,
    Explanation,
    Latest,
    Provisional,
    Remedy,
    TipReport,
)
from node.treaty.tables import Bar, Row, Table


class State:
    """All tables."""

    def __init__(self, shown: "State | None" = None) -> None:
        """Empty, or the rows of `shown` in tables that raise WouldChange at the first change."""
        self._changed: dict[tuple[str, str], None] = {} if shown is None else Bar()
        self._tables: dict[str, Table[Any]] = {}
        self._shown = shown
        self.chains = self._table("chain", Chain)
        self.parties = self._table("party", Party)
        self.keys = self._table("key", Key)
        self.key_owners = self._table("kid", KeyOwner)
        self.members = self._table("member", Member)
        self.seats = self._table("seat", Seat)
        self.second_keys = self._table("second_key", SecondKey)
        self.seat_counts = self._table("seat_count", Counter)
        self.epochs = self._table("epoch", Epoch)
        self.closing = self._table("closing", Closing)
        self.facilities = self._table("facility", Facility)
        self.sizes = self._table("size", Size)
        self.chip_types = self._table("chip_type", ChipType)
        self.stocks = self._table("stock", Stock)
        self.serials = self._table("serial", Serial)
        self.notices = self._table("notice", Notice)
        self.lots = self._table("lot", Lot)
        self.duties = self._table("duty", Duty)
        self.access = self._table("access", Access)
        self.evaluations = self._table("evaluation", Evaluations)
        self.sealing = self._table("sealing", Sealing)
        self.sources = self._table("source", Source)
        self.specs = self._table("spec", Spec)
        self.meters = self._table("meter", Meters)
        self.tallies = self._table("tally", Tally)
        self.snapshots = self._table("snapshot", Snapshots)
        self.located = self._table("located", Located)
        self.seals = self._table("seal", Seal)
        self.works = self._table("work", Work)
        self.manifests = self._table("manifest", Manifest)
        self.claims = self._table("claim", Claim)
        self.denials = self._table("denial", Denial)
        self.prices = self._table("price", Price)
        self.tips = self._table("tip", TipReport)
        self.incidents = self._table("incident", Incidents)
        self.licences = self._table("licence", Licence)
        self.releases = self._table("release", Release)
        self.conflicts = self._table("conflict", Conflict)
        self.removals = self._table("removal", Removal)
        self.provisional = self._table("provisional", Provisional)
        self.allowances = self._table("allowance", Walks)
        self.plans = self._table("plan", Plan)
        self.lives = self._table("life", Life)
        self.models = self._table("model", Model)
        self.cases = self._table("case", Case)
        self.latest = self._table("latest", Latest)
        self.basis = self._table("basis", Basis)
        self.motions = self._table("motion", Motion)
        self.grounds = self._table("ground", Ground)
        self.closed = self._table("closed", Closed)
        self.appointments = self._table("appointment", Appointment)
        self.courses = self._table("course", Course)
        self.shares = self._table("share", Share)
        self.amendments = self._table("amendment", Amendment)
        self.tightenings = self._table("tightening", Tightening)
        self.halts = self._table("halt", Halting)
        self.standards = self._table("standard", Standard)
        self.deployments = self._table("deployment", Deployment)
        self.rests = self._table("rest", Rest)
        self.walks = self._table("walk", Walks)
        self.inspections = self._table("inspect", Inspection)
        self.suspensions = self._table("suspension", Suspension)
        self.named = self._table("named", Named)
        self.anchors = self._table("anchor", Anchor)
        self.rounds = self._table("round", Round)
        self.reveals = self._table("reveal", Reveal)
        self.draws = self._table("draw", Draw)
        self.routines = self._table("routine", Routine)
        self.teams = self._table("team", Team)
        self.gaps = self._table("gap", Gap)
        self.owned = self._table("owned", Owned)
        self.places = self._table("place", Place)
        self.suspects = self._table("suspect", Suspect)
        self.prior_logs = self._table("prior_log", PriorLog)
        self.ceremonies = self._table("ceremony", Ceremony)
        self.outputs = self._table("output", Output)
        self.owning = self._table("owning", Owning)
        self.purposes = self._table("purpose", Purpose)
        self.safety_cases = self._table("safety_case", SafetyCase)
        self.examiners = self._table("examiner", Examiner)
        self.sealed = self._table("sealed", Sealed)
        self.remedies = self._table("remedy", Remedy)
        self.explanations = self._table("explanation", Explanation)
        self.namings = self._table("naming", Naming)
        self.benchmarks = self._table("benchmark", Benchmarks)
        self.teachers = self._table("teacher", Teachers)
        self.powers = self._table("power", Power)
        self.passes = self._table("pass", Passes)
        self.memories = self._table("memory", Memory)
        self.said = self._table("said", Said)
        self.registered = self._table("registered", Registered)
        self.confirmed = self._table("confirmed", Confirmed)
        self.offers = self._table("offer", Offer)
        self.counters = self._table("counter", Counter)

    def _table(self, name: str, row_type: type[Row]) -> Table[Row]:
        rows = None if self._shown is None else self._shown._tables[name]
        table = Table(name, row_type, self._changed, rows)
        self._tables[name] = table
        return table

    def rows(self) -> Iterator[tuple[str, str, Any]]:
        """(table, key, row) of everything, table by table."""
        for name, table in self._tables.items():
            for key, row in table.items():
                yield name, key, row

    def drain_changes(self) -> dict[bytes, bytes | None]:
        """Changed rows since the last call, encoded; None for those that are gone."""
        changes: dict[bytes, bytes | None] = {}
        for name, key in self._changed:
            row = self._tables[name].get(key)
            changes[f"{name}/{key}".encode()] = None if row is None else encode(row)
        self._changed.clear()
        return changes

    def load(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Fill the tables from stored rows. Raises DamagedRow."""
        for key_bytes, value_bytes in items:
            name, _, key = key_bytes.decode().partition("/")
            table = self._tables.get(name)
            fields = decode(value_bytes)
            if table is None or not isinstance(fields, tuple):
                raise DamagedRow(f"state row {key_bytes!r}: no such table, or no row")
            if len(fields) != len(table.row_type._fields):
                raise DamagedRow(f"state row {key_bytes!r}: {len(fields)} fields")
            table.load(key, table.row_type._make(fields))

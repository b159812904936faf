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
    Meters,
    Notice,
    Output,
    Price,
    Routine,
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
    Explanation,
    Latest,
    Provisional,
    Remedy,
    TipReport,
)
from node.treaty.tables import Bar, Table


class State:
    """All tables."""

    def __init__(self) -> None:
        changed: dict[tuple[str, str], None] = {}
        self._changed = changed
        self.chains = Table("chain", Chain, changed)
        self.parties = Table("party", Party, changed)
        self.keys = Table("key", Key, changed)
        self.key_owners = Table("kid", KeyOwner, changed)
        self.members = Table("member", Member, changed)
        self.seats = Table("seat", Seat, changed)
        self.second_keys = Table("second_key", SecondKey, changed)
        self.seat_counts = Table("seat_count", Counter, changed)
        self.epochs = Table("epoch", Epoch, changed)
        self.closing = Table("closing", Closing, changed)
        self.facilities = Table("facility", Facility, changed)
        self.sizes = Table("size", Size, changed)
        self.chip_types = Table("chip_type", ChipType, changed)
        self.stocks = Table("stock", Stock, changed)
        self.serials = Table("serial", Serial, changed)
        self.notices = Table("notice", Notice, changed)
        self.lots = Table("lot", Lot, changed)
        self.duties = Table("duty", Duty, changed)
        self.access = Table("access", Access, changed)
        self.evaluations = Table("evaluation", Evaluations, changed)
        self.sealing = Table("sealing", Sealing, changed)
        self.sources = Table("source", Source, changed)
        self.specs = Table("spec", Spec, changed)
        self.meters = Table("meter", Meters, changed)
        self.tallies = Table("tally", Tally, changed)
        self.snapshots = Table("snapshot", Snapshots, changed)
        self.located = Table("located", Located, changed)
        self.seals = Table("seal", Seal, changed)
        self.works = Table("work", Work, changed)
        self.manifests = Table("manifest", Manifest, changed)
        self.claims = Table("claim", Claim, changed)
        self.denials = Table("denial", Denial, changed)
        self.prices = Table("price", Price, changed)
        self.tips = Table("tip", TipReport, changed)
        self.incidents = Table("incident", Incidents, changed)
        self.licences = Table("licence", Licence, changed)
        self.releases = Table("release", Release, changed)
        self.conflicts = Table("conflict", Conflict, changed)
        self.removals = Table("removal", Removal, changed)
        self.provisional = Table("provisional", Provisional, changed)
        self.allowances = Table("allowance", Walks, changed)
        self.plans = Table("plan", Plan, changed)
        self.lives = Table("life", Life, changed)
        self.models = Table("model", Model, changed)
        self.cases = Table("case", Case, changed)
        self.latest = Table("latest", Latest, changed)
        self.basis = Table("basis", Basis, changed)
        self.motions = Table("motion", Motion, changed)
        self.grounds = Table("ground", Ground, changed)
        self.closed = Table("closed", Closed, changed)
        self.appointments = Table("appointment", Appointment, changed)
        self.courses = Table("course", Course, changed)
        self.shares = Table("share", Share, changed)
        self.amendments = Table("amendment", Amendment, changed)
        self.tightenings = Table("tightening", Tightening, changed)
        self.halts = Table("halt", Halting, changed)
        self.standards = Table("standard", Standard, changed)
        self.deployments = Table("deployment", Deployment, changed)
        self.rests = Table("rest", Rest, changed)
        self.walks = Table("walk", Walks, changed)
        self.inspections = Table("inspect", Inspection, changed)
        self.suspensions = Table("suspension", Suspension, changed)
        self.named = Table("named", Named, changed)
        self.anchors = Table("anchor", Anchor, changed)
        self.rounds = Table("round", Round, changed)
        self.reveals = Table("reveal", Reveal, changed)
        self.draws = Table("draw", Draw, changed)
        self.routines = Table("routine", Routine, changed)
        self.teams = Table("team", Team, changed)
        self.gaps = Table("gap", Gap, changed)
        self.owned = Table("owned", Owned, changed)
        self.places = Table("place", Place, changed)
        self.suspects = Table("suspect", Suspect, changed)
        self.prior_logs = Table("prior_log", PriorLog, changed)
        self.ceremonies = Table("ceremony", Ceremony, changed)
        self.outputs = Table("output", Output, changed)
        self.owning = Table("owning", Owning, changed)
        self.purposes = Table("purpose", Purpose, changed)
        self.safety_cases = Table("safety_case", SafetyCase, changed)
        self.examiners = Table("examiner", Examiner, changed)
        self.sealed = Table("sealed", Sealed, changed)
        self.remedies = Table("remedy", Remedy, changed)
        self.explanations = Table("explanation", Explanation, changed)
        self.offers = Table("offer", Offer, changed)
        self.counters = Table("counter", Counter, changed)
        self._tables = {
            table.name: table for table in vars(self).values() if isinstance(table, Table)
        }

    def barred(self) -> "State":
        """The same rows in tables that raise WouldChange at the first change."""
        state, bar = State.__new__(State), Bar()
        state._changed = bar
        state._tables = {name: table.barred(bar) for name, table in self._tables.items()}
        for attribute, table in vars(self).items():
            if isinstance(table, Table):
                setattr(state, attribute, state._tables[table.name])
        return state

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

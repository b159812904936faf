"""Everything the law remembers, as rows that can be stored, hashed and read back.

A `Table` maps text keys to immutable rows; changing a row means putting a new one, so no change can
escape the list of changed keys. Rows are NamedTuples of the codec's values, because a row is written
to the store as the tuple it is, and because making one costs a third of making a dataclass.

What grows: rows of parties, facilities, runs, models, cases and motions, one each; an open motion
also holds its votes, a closed one only its outcome; one row per kind of chip at a site, per lot on its
way, per model evaluated. Entries, votes of the past, reports and records
leave no row: the log keeps them. The book's other fields (`node/treaty/book.py`) follow from rows.
"""

from collections.abc import ItemsView, Iterable, Iterator, ValuesView
from typing import Final, Generic, NamedTuple, TypeVar

from node.treaty.codec import DamagedRow, Value, decode, encode

NEVER: Final = -1  # in a row's field of a second: it has not happened


class Chain(NamedTuple):
    """The end of an author's own hash chain."""

    seq: int
    entry_hash: bytes


class Party(NamedTuple):
    """Key: party id. A state is a party whose role is "state"."""

    role: str
    state: str
    owners: tuple[str, ...]


class Key(NamedTuple):
    """Key: author/kid in hex. A rotated key keeps its row, so that it never returns."""

    public_key: bytes
    purpose: str  # author, vote; "rotated" once replaced


class KeyOwner(NamedTuple):
    """Key: kid in hex, over all parties (RULINGS R16, R46: one key, one role, one owner)."""

    owner: str


class Member(NamedTuple):
    """Key: state."""

    status: str  # MEMBER, SUSPENDED, WITHDRAWING, LEFT
    since: int


class Seat(NamedTuple):
    """Key: state/number, from 1; a founder's seat 0 is in the genesis. The node of a member as it was declared (SPEC 14)."""

    leaf: int  # of the `identity` that declared it
    block_key: bytes
    log_key: bytes
    cosigner_key: bytes
    certificate_pem: bytes
    peer: str  # host:port, as the next two
    client: str
    http: str


class Epoch(NamedTuple):
    """Key: number in ten digits, from 1. Who validates in it, by state."""

    began: int
    seats: tuple[tuple[str, int], ...]  # (state, number of its seat)


class Closing(NamedTuple):
    """Key: "closing". This epoch is to end; who validates in the next."""

    since: int
    seats: tuple[tuple[str, int], ...]


class Facility(NamedTuple):
    """Key: facility id. Slots run from `covered_at` in steps of `slot`; 0 = not covered."""

    operator: str
    state: str
    capacity_mh: int
    mem_gb: int
    covered_at: int
    slot: int
    severe_after: int  # consecutive missed slots that make severity 3
    due_slot: int  # the earliest slot not yet judged
    reported: tuple[int, ...]  # slots from due_slot on that have a usage
    missed: int  # consecutive missed slots up to due_slot


class Size(NamedTuple):
    """Key: facility id. The most mH that any report showed there, where that is more than was declared."""

    mh: int


class ChipType(NamedTuple):
    """Key: author/name. A chip type that somebody described; those known at genesis have no row."""

    entry: bytes
    author: str
    mh: int
    peak_any: int  # GFLOP/s
    approved: int  # 0 or 1


class Stock(NamedTuple):
    """Key: facility id, ':', chip type. The last count there, and what has moved since (C03)."""

    entry: bytes
    chips: int
    serial_root: bytes
    came: int
    went: int
    destroyed: int
    found: int
    lost: int
    moves: tuple[bytes, ...]  # custody entries since: what a finding shows as its inputs


class Serial(NamedTuple):
    """Key: serial root in hex. Where the last count shows this root, in the order of declaration (C29)."""

    holders: tuple[tuple[str, bytes], ...]  # (key of the stock, its inventory)


class Notice(NamedTuple):
    """Key: entry hash in hex. Chips that a custody notice says will leave a site."""

    facility: str
    chip_type: str
    left: int  # not yet covered by an `out`
    at: int


class Lot(NamedTuple):
    """Key: entry id of a custody `out` whose chips have not all arrived (C04)."""

    entry: bytes
    leaf: int
    origin: str
    destination: str
    serial_root: bytes
    mh: int  # of one chip
    missing: int  # chips; below 0 if more arrived than left
    arrived: int  # 0 or 1: an `in` has matched, be it short
    emergency: str  # the id of the open C04w; empty if there is none
    at: int


class Duty(NamedTuple):
    """Key: what is owed, as "count:acme/dc1" or "meeting" (C28)."""

    due: int  # fulfilled in time up to and including this second


class Access(NamedTuple):
    """Key: motion id. An inspection that goes ahead (C28)."""

    site: str
    subject: str
    due: int
    granted: int  # 0 or 1
    judged: int  # 0 or 1: the time is over and nobody was let in
    denied: tuple[bytes, ...]  # inspection entries that say so


class Evaluations(NamedTuple):
    """Key: model id. The last evaluation of each evaluator, sorted by evaluator."""

    rows: tuple[tuple[Value, ...], ...]  # evaluations.Evaluation each


class Sealing(NamedTuple):
    """Key: party. Its X25519 key for what is sealed to it, and the keys before."""

    public_key: bytes
    at: int


class Source(NamedTuple):
    """Key: party of role source. What trade it reports on (names of `trade` types, sorted)."""

    trades: tuple[str, ...]


class Spec(NamedTuple):
    """Key: author/name of a chip type. What its description says beyond mH and best rate; 0 = not said."""

    peak_bf16: int  # GFLOP/s
    peak_any: int
    mem_gb: int
    tdp_w: int
    node_nm: int
    link_gbps: int
    paradigm: str
    features: tuple[str, ...]


class Meters(NamedTuple):
    """Key: device. The groups whose counters it reads, sorted: (facility, group, counter, end of the last period, firmware)."""

    groups: tuple[tuple[Value, ...], ...]


class Tally(NamedTuple):
    """Key: facility. Slots not yet judged by C10, sorted: (slot, PFLOP and chips by counters, PFLOP and chips by operator)."""

    slots: tuple[tuple[int, ...], ...]


class Snapshots(NamedTuple):
    """Key: device. Where the chain of each group's snapshots stands, sorted: (facility, group, chain_pos)."""

    groups: tuple[tuple[Value, ...], ...]


class Located(NamedTuple):
    """Key: target device. The states of the last two probes that measured it, oldest first."""

    probes: tuple[str, ...]


class Seal(NamedTuple):
    """Key: facility id, ':', name of the seal. A seal that inspectors left."""

    entry: bytes
    at: int


class Work(NamedTuple):
    """Key: run id. What C26 compares at its end; tokens -1 = not said."""

    params_active: int
    tokens: int  # the last said


class Manifest(NamedTuple):
    """Key: run id. The data it says it was trained on."""

    entry: bytes
    tokens: int  # over all licence classes
    doc_root: bytes
    documents: int


class Claim(NamedTuple):
    """Key: entry hash of a rights_claim in hex."""

    run: str
    document: bytes
    claimant: str
    due: int  # answered in time up to and including this second
    answered: int  # 0 or 1


class Denial(NamedTuple):
    """Key: run id, ':', document hash in hex. The developer proved that this document is not among its data."""

    entry: bytes


class Price(NamedTuple):
    """Key: chip type, ':', state. What a source of that state last said an hour of that chip costs."""

    source: str
    usd: int
    hours: int
    at: int


class TipReport(NamedTuple):
    """Key: entry hash of a sealed tip in hex."""

    author: str  # who passed it on
    commitment: bytes
    threshold: int
    at: int
    assessed: tuple[tuple[str, int], ...]  # (state, 1 credible), sorted
    credible: int
    subject: str  # once opened


class Incidents(NamedTuple):
    """Key: model id. The last entries that report harm done with it, and how many there were."""

    entries: tuple[bytes, ...]
    total: int
    worst: int


class Licence(NamedTuple):
    """Key: id of a CLASS motion that was granted."""

    operator: str  # empty: any operator
    domain: str
    until: int


class Release(NamedTuple):
    """Key: model id. A deployment that was approved."""

    run: str
    motion: str
    mode: str
    sites: tuple[str, ...]  # empty: any
    stewards: tuple[str, ...]  # states that hold the weights' shares
    threshold: int  # so many of them can join the weights
    shown: tuple[str, ...]  # stewards that confirmed their share
    asked_at: int  # evaluations from here on fulfil the present duty


class Conflict(NamedTuple):
    """Key: party/other party. The first declares an interest in the second: it does not judge or watch its work."""

    entry: bytes


class Removal(NamedTuple):
    """Key: motion id. A capability that was voted off the list, till it is off."""

    name: str
    in_force_at: int


class Provisional(NamedTuple):
    """Key: case id. It was raised before the treaty entered into force."""

    at: int


class Plan(NamedTuple):
    """Key: run id. What was declared; never changes."""

    entry: bytes
    operator: str
    state: str
    model: str
    params_total: int
    pflop_plan: int
    parents: tuple[str, ...]
    joined: tuple[str, ...]  # parents whose work joins this run's C15 group (LAW K33)
    forecast_bp: int
    code_hash: bytes
    doc_root: bytes
    sites: tuple[str, ...]
    gates: tuple[int, ...]  # tiers.Gates when the plan was included


class Life(NamedTuple):
    """Key: run id. What became of it."""

    status: str
    tier: int
    gates: tuple[str, ...]  # which gates decided the tier
    own: int  # PFLOP: the greater of plan and done until the end, then done (LAW K17)
    lineage: int  # PFLOP: own work and that of all distinct ancestors
    approved: int  # tier of the valid approval; 0 = none
    until: int  # the approval ends at this second, or NEVER
    motion: str  # the open TRAIN, else the last one
    inspectors: tuple[str, ...]
    limits: tuple[int, ...]  # tiers.Gates frozen at start; empty before
    reported: int  # last pflop_done
    used: int  # PFLOP of all usage shares
    started_at: int  # or NEVER, as the next two
    last_at: int  # last run entry
    ended_at: int
    refused_at: int
    halted_done: int  # done at the first report after a halt; -1 = none yet
    halts: tuple[str, ...]  # HALT motions in effect, sorted


class Model(NamedTuple):
    """Key: model id, declared once."""

    run: str


class Case(NamedTuple):
    """Key: case id, which is the finding's id or that of a BREACH without one."""

    check: str
    subject: str
    about: str
    severity: int
    size: int  # what grew when the act grew: to tell a new event from the same one (LAW K38)
    actor: str  # who did it, where one subject state has many (equivocations)
    status: str
    result: str
    reply_due: int
    motion: str


class Latest(NamedTuple):
    """Key: CHECK:SUBJECT:ABOUT. The newest finding under that name."""

    finding: str
    number: int


class Basis(NamedTuple):
    """Key: entry hash in hex. A finding that rests on that entry."""

    finding: str


class Motion(NamedTuple):
    """Key: motion id. An open motion; what is above `votes` was fixed at filing (LAW K3)."""

    kind: str
    order: int
    about: str
    subjects: tuple[str, ...]
    rule: str
    threshold: int
    k: int
    eligible: tuple[str, ...]
    panel: tuple[str, ...]
    filed_at: int
    closes_at: int
    early_from: int  # no early close before this second
    case: str
    tier: int
    until: int
    inspectors: tuple[str, ...]
    mandate: int  # 1: votes need an own mandate note
    votes: tuple[tuple[str, str], ...]  # sorted by state
    barred: tuple[str, ...]  # equivocators, sorted
    trigger: int  # how many states may call a panel motion to the plenary
    callers: tuple[str, ...]  # who has asked for that, sorted


class Closed(NamedTuple):
    """Key: motion id."""

    kind: str
    outcome: str
    closed_at: int


class Appointment(NamedTuple):
    """Key: what/name, e.g. inspector/insp-fr."""

    motion: str  # empty: by genesis


class Course(NamedTuple):
    """Key: parameter. Its schedule once an AMEND entered force, as pairs (second, value or generator's numbers)."""

    segments: tuple[tuple[int, Value], ...]


class Share(NamedTuple):
    """Key: rule. What an AMEND of the rule table made of its share of yes-votes."""

    num: int
    den: int


class Amendment(NamedTuple):
    """Key: motion id. An AMEND that is open, or adopted and not yet in force."""

    order: int
    param: str  # or rule/NAME
    loosens: int
    shape: tuple[tuple[int, Value], ...]  # as Course.segments; of a rule ((num, den),)
    filed_at: int
    in_force_at: int  # NEVER while it is open
    waits: int  # 1: a case of severity 4 keeps it from entering force


class Tightening(NamedTuple):
    """Key: motion id. A TIGHTEN_NOW in effect."""

    param: str
    value: int
    filed_at: int
    until: int  # NEVER: kept, until an AMEND filed after `closed_at` enters force
    closed_at: int  # NEVER while it is open


class Halting(NamedTuple):
    """Key: motion id. A filed HALT in effect."""

    run: str  # or empty
    facility: str  # or empty: then it halts all runs there
    until: int
    lift: int  # no-votes that end it at once, fixed at filing (LAW K3, K8)


class Standard(NamedTuple):
    """Key: id of the APPOINT motion that adopted it, as criteria for the horizon name it (LAW K42)."""

    name: str


class Deployment(NamedTuple):
    """Key: id of a DEPLOY motion that is open or was approved."""

    shown: tuple[bytes, ...]  # its refs: which evaluations it shows
    cap_ver: int
    stewards: tuple[str, ...]  # states
    mode: str
    sites: tuple[str, ...]  # empty: anywhere


class Rest(NamedTuple):
    """Key: kind/what. The last such act ended without success: another must wait (LAW K49, K52)."""

    since: int


class Walks(NamedTuple):
    """Key: a state. How many of its amendments of a daily course were judged on the newest day it filed one."""

    day: int  # ledger seconds div 86,400
    judged: int


class Inspection(NamedTuple):
    """Key: motion id. An INSPECT that was filed, for the quotas and for C28."""

    requester: str
    subject: str
    site: str  # facility, or the hash in hex of an evidence note
    filed_at: int
    free: int  # 1: counts for no quota
    closed_at: int  # NEVER while it is open
    stopped: int
    cited: tuple[str, ...]  # cases of which an inspection under it is evidence


class Suspension(NamedTuple):
    """Key: state. What it returns to when its suspension ends."""

    motion: str
    until: int
    status: str
    since: int


class Named(NamedTuple):
    """Key: run. Cases of severity 4 that name it."""

    cases: tuple[str, ...]


class Anchor(NamedTuple):
    """Key: state. The end of its hash chain: `tip` is the link of `round`, and the next round's is one link on."""

    tip: bytes
    round: int


class Round(NamedTuple):
    """Key: "open". The round of the beacon that is under way."""

    number: int
    due: int  # a link is in time up to and including this second
    expected: tuple[str, ...]  # states that anchored before it opened, sorted
    needed: int  # reveals without which it gives nothing


class Reveal(NamedTuple):
    """Key: state. What it revealed in the open round."""

    value: bytes


class Draw(NamedTuple):
    """Key: what/name. A draw that waits for this round."""

    round: int


class Routine(NamedTuple):
    """Key: facility id. The last routine inspection that was drawn for it (C19)."""

    number: int  # of the draw
    at: int
    due: int  # reported in time up to and including this second
    plan: int  # serial numbers to compare
    checked: int
    visited: int  # 0 or 1: inspectors were let in
    done: int  # 0 or 1: carried out as planned, or its time is over
    denied: tuple[bytes, ...]  # inspection entries that say so


class Team(NamedTuple):
    """Key: motion id. The inspectors drawn for an inspection, in draw order."""

    inspectors: tuple[str, ...]


class Gap(NamedTuple):
    """Key: its number, eight digits. The ledger stood still between these seconds (RULINGS R34)."""

    since: int
    until: int
    moved: int  # seconds that deadlines open then have moved


class Offer(NamedTuple):
    """Key: author/content hash in hex. When the author offered it for countersignature."""

    at: int


class Counter(NamedTuple):
    """Key: name of a counter."""

    value: int


Row = TypeVar("Row", bound=tuple[Value, ...])


class WouldChange(Exception):
    """A barred table was to be changed (`rehearsal`)."""


class _Bar(dict[tuple[str, str], None]):
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
        self.offers = Table("offer", Offer, changed)
        self.counters = Table("counter", Counter, changed)
        self._tables = {
            table.name: table for table in vars(self).values() if isinstance(table, Table)
        }

    def barred(self) -> "State":
        """The same rows in tables that raise WouldChange at the first change."""
        state, bar = State.__new__(State), _Bar()
        state._changed = bar
        state._tables = {name: table.barred(bar) for name, table in self._tables.items()}
        for attribute, table in vars(self).items():
            if isinstance(table, Table):
                setattr(state, attribute, state._tables[table.name])
        return state

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

"""Sites and chips: what is declared, counted, moved, metered, measured and inspected there."""

from typing import NamedTuple

from node.treaty.codec import Value


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


class Price(NamedTuple):
    """Key: chip type, ':', state. What a source of that state last said an hour of that chip costs."""

    source: str
    usd: int
    hours: int
    at: int


class Ceremony(NamedTuple):
    """Key: chip type. The key that signs its firmware was made by several states together (X12)."""

    entry: bytes
    key_hash: bytes
    states: tuple[str, ...]


class Output(NamedTuple):
    """Key: step of the supply chain, ':', maker. What it made by quarters since genesis, oldest first (M34)."""

    quarters: tuple[tuple[int, int], ...]  # (quarter, pieces)


class Power(NamedTuple):
    """Key: facility id. What it says that it draws at most (C23)."""

    max_w: int
    cell: str


class Passes(NamedTuple):
    """Key: facility id. States whose sensors saw more heat there than it says, in the order of their first word (C23)."""

    states: tuple[str, ...]


class Memory(NamedTuple):
    """Key: chip type. Stacks of memory on each chip, as its description says (C05)."""

    stacks: int


class Said(NamedTuple):
    """Key: what, ':' and whose, of one side of a balance (C05, C06). Pieces by quarter of the report, oldest first."""

    quarters: tuple[
        tuple[int, int], ...
    ]  # (quarter since genesis, pieces); what is older is summed up in the first
    states: tuple[str, ...]  # whose sources said so, the first few
    entries: tuple[bytes, ...]  # the last few


class Registered(NamedTuple):
    """Key: as of `Said`. Pieces that the register shows on the other side of a balance."""

    pieces: int
    entries: tuple[bytes, ...]  # the last few

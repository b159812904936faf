"""`chipmeter`: a group of chips counts its own work, read by a device at the site (MODEL 3, kind 9; M32).

Counters only run on: each reading begins where the last one of its group ended or later, and in a later period. What the
counters say against what the operator says is C10 (`checks.counters`).
"""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.checks import counters
from node.treaty.chips import approved_chip
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.filing import known_facility, require_device_at, require_past
from node.treaty.kinds import Kind
from node.treaty.rows.sites import Meters

GROUPS_MAX: Final = 64  # groups that one device reads: its row holds them all


def _counter(body: Any) -> None:
    if body.counter_end < body.counter_start:
        raise MalformedContent("chipmeter.counter_end", "below counter_start: counters only rise")
    if body.counter_end - body.counter_start != body.pflop:
        raise MalformedContent("chipmeter.pflop", "is not what the counter rose by")


def take_chipmeter(book: Book, entry: Entry, body: pb.Chipmeter) -> Accepted:
    """Judge one reading; the first of a group sets where it starts."""
    parsed = entry.parsed
    facility, row = known_facility(book, parsed.author, body.facility)
    require_device_at(book, entry, facility, row)
    assert parsed.period is not None, "parse_entry let a chipmeter without a period through"
    start, end = parsed.period
    meters = book.state.meters.get(parsed.author)
    groups = {group[:2]: group for group in (meters.groups if meters else ())}
    known = groups.get((facility, body.group))
    if known is None and len(groups) >= GROUPS_MAX:
        raise Refused(Code.QUOTA, f"{parsed.author} reads {GROUPS_MAX} groups already")
    approved_chip(book, parsed.author, body.chip_type)
    if known is not None:
        _require_running_on(body, known, start)
    require_past(book, entry)
    groups[facility, body.group] = (facility, body.group, body.counter_end, end, body.fw_hash)
    book.state.meters.put(parsed.author, Meters(tuple(sorted(groups.values()))))
    counters.by_meter(book, facility, row, (start, end), body.pflop, body.chips)
    return Accepted(f"chipmeter:{facility}")


def _require_running_on(body: pb.Chipmeter, known: tuple[Any, ...], start: int) -> None:
    """Refuses REPEATED: a period or a count that was reported before; PERIOD is for slots."""
    _, _, counter, until, _ = known
    if start < until:
        raise Refused(Code.REPEATED, f"{body.group} was read up to {until} already")
    if body.counter_start < counter:
        raise Refused(Code.REPEATED, f"{body.group} stood at {counter}: counters only rise")


KIND: Final[Kind] = Kind(
    form=Form(
        required=(
            "facility",
            "chip_type",
            "chips",
            "chip_seconds",
            "pflop",
            "counter_start",
            "counter_end",
        ),
        integers=("chips", "chip_seconds", "pflop", "max_peers", "counter_start", "counter_end"),
        names=("group",),
        references=("facility", "chip_type"),
        hashes=("fw_hash",),
        extra=(_counter,),
    ),
    take=take_chipmeter,
    speaks_of="facility",
    needs_period=True,
)

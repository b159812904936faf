"""`custody`: chips leave, arrive, are destroyed, lost or found; with C04, the way of each lot (MODEL 3, kind 6; LAW K22).

    notice -> (14 days) -> out -> in        and at one site: destroy, loss, found

An `out` is about its lot: who sent it answers for it until an `in` with the same serial root and the same two ends.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import Form
from node.treaty.book import RANK_DUTY, Accepted, Book, Refused
from node.treaty.cases import raise_finding
from node.treaty.checks import balances
from node.treaty.chips import Chip, approved_chip
from node.treaty.codes import Code
from node.treaty.derived import Finding, FindingEnded
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.inspections import require_inspectors
from node.treaty.kinds import Kind
from node.treaty.rows.sites import Lot, Notice
from node.treaty.rows.verdicts import Basis
from node.treaty.stocks import MH_SEVERE, move, sent_out, stock_key

_NAMES: Final = {
    pb.CUSTODY_TYPE_NOTICE: "notice",
    pb.CUSTODY_TYPE_OUT: "out",
    pb.CUSTODY_TYPE_IN: "in",
    pb.CUSTODY_TYPE_DESTROY: "destroy",
    pb.CUSTODY_TYPE_LOSS: "loss",
    pb.CUSTODY_TYPE_FOUND: "found",
}
# Which end of the way a type of statement is made at: what it must name, and whose word counts.
_AT_DESTINATION: Final = frozenset({"in", "found"})
_SUMS: Final = {"destroy": "destroyed", "loss": "lost", "found": "found"}


def take_custody(book: Book, entry: Entry, body: pb.Custody) -> Accepted:
    """Judge a custody statement of any type."""
    author = entry.parsed.author
    name = _NAMES[body.type]
    field = "destination" if name in _AT_DESTINATION else "origin"
    if not getattr(body, field):
        raise Refused(Code.SCHEMA, f"custody.{field}: missing in a custody {name}")
    if not body.count:
        raise Refused(Code.SCHEMA, "custody.count: 0 chips go nowhere")
    ends = {
        end: book.qualified(author, getattr(body, end))
        for end in ("origin", "destination")
        if getattr(body, end)
    }
    for site in ends.values():
        if site not in book.state.facilities:
            raise Refused(Code.UNKNOWN_REF, f"no facility {site}")
    notice = _notice_of(book, body)
    here = ends[field]
    _require_signers(book, entry, name, here)
    chip = approved_chip(book, author, body.chip_type)
    origin, destination = ends.get("origin", ""), ends.get("destination", "")
    key = stock_key(here, chip.name)
    match name:
        case "notice":
            require_past(book, entry)
            notice = Notice(here, chip.name, body.count, book.now)
            book.state.notices.put(entry.entry_hash.hex(), notice)
        case "out":
            _out(book, entry, body, chip, origin, destination, notice)
        case "in":
            require_past(book, entry)
            move(book, key, entry, came=body.count)
            balances.take_arrival(
                book, destination, chip.name, origin, body.count, entry.entry_hash
            )
            _arrive(book, entry, body, origin, destination)
        case _:
            require_past(book, entry)
            move(book, key, entry, **{_SUMS[name]: body.count})
    return Accepted(f"custody:{origin or destination}")


def _notice_of(book: Book, body: pb.Custody) -> Notice | None:
    if not body.notice_of:
        return None
    facts = book.index.get(body.notice_of)
    if facts is None or facts.code:
        raise Refused(Code.UNKNOWN_REF, f"{body.notice_of.hex()} is no accepted entry")
    return book.state.notices.get(body.notice_of.hex())


def _require_signers(book: Book, entry: Entry, name: str, site: str) -> None:
    """The site's operator or state; a destruction is certified by inspectors. Refuses FILER, STANDING, INSPECTORS."""
    facility = book.state.facilities[site]
    author = entry.parsed.author
    if name == "destroy":
        require_role(book, entry, "inspector")
        require_inspectors(book, entry, facility.state)
        return
    require_role(book, entry, "operator", "state")
    if author not in {facility.operator, facility.state}:
        raise Refused(
            Code.STANDING, f"{site} is {facility.operator}'s, in {facility.state}, not {author}'s"
        )


# --- C04 ------------------------------------------------------------------------------------------


def _out(
    book: Book,
    entry: Entry,
    body: pb.Custody,
    chip: Chip,
    origin: str,
    destination: str,
    notice: Notice | None,
) -> None:
    """Chips leave a site: with a notice old enough and large enough, or in an emergency that stays on show."""
    if not body.emergency and not _covers(book, body, chip, origin, notice):
        raise Refused(
            Code.NOTICE,
            f"no notice of {body.count} more {chip.name} from {origin}, {book.value('notice')} s old",
        )
    require_past(book, entry)
    if notice is not None and not body.emergency:
        left = notice.left - body.count
        if left:
            book.state.notices.put(body.notice_of.hex(), notice._replace(left=left))
        else:
            book.state.notices.drop(body.notice_of.hex())
    key = stock_key(origin, chip.name)
    move(book, key, entry, went=body.count)
    sent_out(book, key, body.serial_root)
    lot = Lot(
        entry=entry.entry_hash,
        leaf=entry.leaf,
        origin=origin,
        destination=destination,
        serial_root=body.serial_root,
        mh=chip.mh,
        missing=body.count,
        arrived=0,
        emergency=_show_emergency(book, entry, origin) if body.emergency else "",
        at=book.now,
    )
    book.put_lot(entry.name, lot)
    schedule_lot(book, entry.name, lot)


def _covers(book: Book, body: pb.Custody, chip: Chip, origin: str, notice: Notice | None) -> bool:
    """Whether this notice is of these chips, of enough that have not left yet, and old enough."""
    return (
        notice is not None
        and (notice.facility, notice.chip_type) == (origin, chip.name)
        and notice.left >= body.count
        and book.now >= notice.at + book.value("notice")
    )


def _show_emergency(book: Book, entry: Entry, origin: str) -> str:
    """C04w: a warning that lasts until the `in`; no case, since nothing is wrong yet."""
    subject = book.state.facilities[origin].state
    name = f"C04w:{subject}:{entry.name}"
    book.state.basis.put(entry.entry_hash.hex(), Basis(name))
    book.emit(
        Finding(
            finding=name,
            check="C04w",
            subject=subject,
            about=entry.name,
            severity=0,
            numbers=(),
            inputs=(entry.entry_hash,),
            at=book.now,
        )
    )
    return name


def schedule_lot(book: Book, name: str, lot: Lot) -> None:
    """Have the clock look at a lot on its way when the next of its two times is over."""
    book.schedule(lot.at + book.value("transit") + 1, RANK_DUTY, "lot", name)


def lot_due(book: Book, name: str) -> None:
    """Not arrived in time: severity 2; 30 days on, with 80 H100-equivalents missing: 3."""
    lot = book.state.lots.get(name)
    if lot is None:
        return  # all there
    last = lot.at + book.value("transit_missing")
    if book.now > last:
        if lot.missing * lot.mh >= MH_SEVERE:
            _broken(book, name, lot, 3)
        if lot.arrived:
            book.state.lots.drop(name)  # short for good: the finding stays
        return
    if not lot.arrived and book.now > lot.at + book.value("transit"):
        _broken(book, name, lot, 2)
    book.schedule(last + 1, RANK_DUTY, "lot", name)


def _arrive(book: Book, entry: Entry, body: pb.Custody, origin: str, destination: str) -> None:
    """Chips arrived: of the lots with this root and these ends the oldest is the one."""
    name = book.take_oldest_lot(body.serial_root, origin, destination)
    if name is None:
        return  # from a factory, or reported before its `out`
    lot = book.state.lots[name]
    if lot.emergency:
        book.emit(FindingEnded(finding=lot.emergency, entry=entry.entry_hash, at=book.now))
    missing = lot.missing - body.count
    lot = lot._replace(missing=missing, arrived=1, emergency="")
    if missing:
        _broken(book, name, lot, 2, entry.entry_hash)
    may_grow = book.now <= lot.at + book.value("transit_missing")
    if missing * lot.mh >= MH_SEVERE and may_grow:
        book.state.lots.put(name, lot)
    else:
        book.state.lots.drop(name)


def _broken(book: Book, name: str, lot: Lot, severity: int, arrival: bytes = b"") -> None:
    raise_finding(
        book,
        "C04",
        book.state.facilities[lot.origin].state,
        name,
        severity=severity,
        size=severity,  # a rise after the case is decided is a new event (LAW K38)
        numbers=(("mh", lot.mh), ("missing", lot.missing), ("out_at", lot.at)),
        inputs=(lot.entry, arrival) if arrival else (lot.entry,),
    )


KIND: Final[Kind] = Kind(
    form=Form(
        required=("chip_type", "count", "serial_root"),
        enums=("type",),
        integers=("count",),
        references=("chip_type", "origin", "destination"),
        hashes=("serial_root", "notice_of"),
    ),
    take=take_custody,
)

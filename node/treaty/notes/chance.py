"""Notes for drawing lots and for calling up what lots decided (MODEL 10; RULINGS R63; LAW K6)."""

from foedus.v1 import content_pb2 as pb
from node.treaty import beacon
from node.treaty.ballots import call_up
from node.treaty.book import Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import is_filing_state, require_past, require_role


def take_anchor(book: Book, entry: Entry, body: pb.Note) -> str:
    """A member begins a hash chain."""
    require_role(book, entry, "state")
    beacon.check_anchor(book, entry.parsed.author)
    require_past(book, entry)
    beacon.anchor(book, entry.parsed.author, body.hash)
    return body.about


def take_reveal(book: Book, entry: Entry, body: pb.Note) -> str:
    """A member's link for a round of the beacon; `about` is the round's number (RULINGS R63)."""
    author, number = entry.parsed.author, int(body.about)
    beacon.require_round(book, number)
    require_role(book, entry, "state")
    beacon.check_reveal(book, author, number, body.hash)
    require_past(book, entry)
    beacon.reveal(book, author, number, body.hash)
    return body.about


def take_callup(book: Book, entry: Entry, body: pb.Note) -> str:
    """Ask that the plenary decide and not a panel (LAW K6). One that sits as a plenary already stays one (K52)."""
    motion = book.state.motions.get(body.about)
    if motion is None and body.about not in book.state.closed:
        raise Refused(Code.UNKNOWN_REF, f"no motion {body.about}")
    require_role(book, entry, "state")
    if motion is not None and book.now >= motion.filed_at + book.value("callup"):
        raise Refused(Code.LATE, f"{body.about} was filed at {motion.filed_at}")
    require_past(book, entry)
    if motion is None:
        raise Refused(Code.CLOSED, f"motion {body.about} is closed")
    if motion.rule == "PANEL":
        asking = {entry.parsed.author, *entry.endorsers}
        call_up(book, body.about, motion, {one for one in asking if is_filing_state(book, one)})
    return body.about

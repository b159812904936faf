"""Notes of states and offices: mandates, meetings, offers, interests, earlier logs, keys made by several (MODEL 3, kind 20)."""

from foedus.v1 import content_pb2 as pb
from node.treaty.book import Book, Refused
from node.treaty.chips import known_chip
from node.treaty.codes import Code
from node.treaty.duties import owe_meeting
from node.treaty.entries import Entry
from node.treaty.filing import is_filing_state, require_allowance, require_past, require_role
from node.treaty.rows.parties import Conflict, Offer, PriorLog
from node.treaty.rows.sites import Ceremony
from node.treaty.rules import k_of


def take_mandate(book: Book, entry: Entry, body: pb.Note) -> str:
    """An act of a state's legislature or government, by its hash (M36)."""
    require_role(book, entry, "state")
    require_past(book, entry)
    return body.about


def take_meeting(book: Book, entry: Entry, body: pb.Note) -> str:
    """A meeting was held. One from before the founding is history: it fulfils no duty (M08)."""
    require_role(book, entry, "secretariat")
    require_past(book, entry)
    period = entry.parsed.period
    if book.is_first_law or period is None or period[1] > book.genesis.time_s:
        owe_meeting(book)
    return body.about


def take_offer(book: Book, entry: Entry, body: pb.Note) -> str:
    """Content is shown to whoever must endorse it: the wait begins (RULINGS R15)."""
    key = f"{entry.parsed.author}/{body.hash.hex()}"
    if key in book.state.offers:
        raise Refused(Code.REPEATED, "this content is already offered")
    require_past(book, entry)
    book.state.offers.put(key, Offer(book.now))
    return body.about


def take_conflict(book: Book, entry: Entry, body: pb.Note) -> str:
    """An inspector or evaluator declares an interest in a party, for itself: nobody strips another of its office so."""
    if body.about not in book.state.parties:
        raise Refused(Code.UNKNOWN_REF, f"no party {body.about}")
    require_role(book, entry, "inspector", "evaluator")
    require_past(book, entry)
    key = f"{entry.parsed.author}/{body.about}"
    book.state.conflicts.put(key, Conflict(entry.entry_hash))
    return body.about


def take_prior_log(book: Book, entry: Entry, body: pb.Note) -> str:
    """A state's own log from before it was bound: its root and size, so that its entries can be proved (M03).

    Nothing in it is judged: what came before the treaty breaks no rule of it. One origin is declared once.
    """
    require_role(book, entry, "state")
    name = f"{entry.parsed.author}/{body.about}"
    if not book.is_first_law and name in book.state.prior_logs:
        raise Refused(Code.REPEATED, f"{name} is declared already")
    require_past(book, entry)
    require_allowance(book, f"prior_log/{entry.parsed.author}", 1)
    book.state.prior_logs.put(name, PriorLog(entry.entry_hash, body.hash, body.size))
    return body.about


def take_ceremony(book: Book, entry: Entry, body: pb.Note) -> str:
    """The key that signs a chip type's firmware was made before witnesses of k+1 states: none holds it alone (X12)."""
    chip_type = known_chip(book, entry.parsed.author, body.about)
    require_role(book, entry, "source", "secretariat")
    states = {state for state in entry.endorsers if is_filing_state(book, state)}
    needed = k_of(book.membership()) + 1
    if len(states) < needed:
        raise Refused(Code.SIGNERS, f"{len(states)} of {needed} states witnessed this key")
    require_past(book, entry)
    row = Ceremony(entry.entry_hash, body.hash, tuple(sorted(states)))
    book.state.ceremonies.put(chip_type, row)
    return chip_type

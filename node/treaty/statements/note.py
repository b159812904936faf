"""Notes: replies, corrections, offers, evidence and the other short papers (MODEL 3, kind 20)."""

import re
from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty import beacon, releases
from node.treaty.ballots import call_up
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.cases import UNDECIDED, raise_finding, reply
from node.treaty.codes import Code
from node.treaty.duties import owe_meeting
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.evaluators import require_evaluator, require_independence
from node.treaty.filing import is_filing_state, require_past, require_role
from node.treaty.kinds import Kind
from node.treaty.motions import publications
from node.treaty.rows.parties import Conflict, Offer

_NAMES: Final = {
    pb.NOTE_TYPE_REPLY: "reply",
    pb.NOTE_TYPE_CORRECTION: "correction",
    pb.NOTE_TYPE_MANDATE: "mandate",
    pb.NOTE_TYPE_MEETING: "meeting",
    pb.NOTE_TYPE_PUBLICATION: "publication",
    pb.NOTE_TYPE_CALLUP: "callup",
    pb.NOTE_TYPE_REVIEW: "review",
    pb.NOTE_TYPE_EVIDENCE: "evidence",
    pb.NOTE_TYPE_OFFER: "offer",
    pb.NOTE_TYPE_ANCHOR: "anchor",
    pb.NOTE_TYPE_REVEAL: "reveal",
    pb.NOTE_TYPE_INCIDENT: "incident",
    pb.NOTE_TYPE_PRIOR_LOG: "prior_log",
    pb.NOTE_TYPE_CONFLICT_OF_INTEREST: "conflict_of_interest",
    pb.NOTE_TYPE_SHARE: "share",
}


def take_note(book: Book, entry: Entry, body: pb.Note) -> Accepted:
    """Judge a note of any type."""
    name = _NAMES[body.type]
    about = body.about
    match name:
        case "reply":
            _reply(book, entry, body)
        case "correction":
            _correction(book, entry, body)
        case "callup":
            _callup(book, entry, body)
        case "evidence":
            _evidence(book, entry, body)
        case "review":
            about = book.qualified(entry.parsed.author, body.about)
            if about not in book.state.plans:
                raise Refused(Code.UNKNOWN_REF, f"no run {about}")
            if book.is_first_law:  # it asked for the role alone
                require_role(book, entry, "evaluator")
            else:
                require_evaluator(book, entry)
                require_independence(book, entry.parsed.author, about)
            require_past(book, entry)
        case "mandate":
            require_role(book, entry, "state")
            require_past(book, entry)
        case "meeting":
            require_role(book, entry, "secretariat")
            require_past(book, entry)
            owe_meeting(book)
        case "offer":
            key = f"{entry.parsed.author}/{body.hash.hex()}"
            if key in book.state.offers:
                raise Refused(Code.REPEATED, "this content is already offered")
            require_past(book, entry)
            book.state.offers.put(key, Offer(book.now))
        case "anchor":
            require_role(book, entry, "state")
            beacon.check_anchor(book, entry.parsed.author)
            require_past(book, entry)
            beacon.anchor(book, entry.parsed.author, body.hash)
        case "reveal":
            _reveal(book, entry, body)
        case "incident":
            about = _incident(book, entry, body)
        case "conflict_of_interest":
            _conflict(book, entry, body)
        case "share":
            about = _share(book, entry, body)
        case "prior_log":
            require_role(book, entry, "state")
            require_past(book, entry)
        case _:
            publications.take(book, entry, body)
    return Accepted(f"note:{name}:{about}")


def _reply(book: Book, entry: Entry, body: pb.Note) -> None:
    case = book.state.cases.get(body.about)
    if case is None:
        raise Refused(Code.UNKNOWN_REF, f"no case {body.about}")
    if entry.parsed.author != case.subject:
        raise Refused(Code.STANDING, f"{body.about} is {case.subject}'s to answer")
    if book.now > case.reply_due:
        raise Refused(Code.LATE, f"the reply was due by {case.reply_due}")
    require_past(book, entry)
    if case.status not in UNDECIDED:
        raise Refused(Code.CLOSED, f"{body.about} is {case.status}")
    reply(book, body.about, case, entry.entry_hash)


def _correction(book: Book, entry: Entry, body: pb.Note) -> None:
    """Both stay. Where a Finding already rests on the corrected entry, that is C29 (LAW K27)."""
    corrected = book.index.get(body.corrects)
    if corrected is None or corrected.code:
        raise Refused(Code.UNKNOWN_REF, f"{body.corrects.hex()} is no accepted entry")
    if corrected.author != entry.parsed.author:
        raise Refused(Code.STANDING, f"that entry is {corrected.author}'s")
    require_past(book, entry)
    if body.corrects.hex() in book.state.basis:
        raise_finding(
            book,
            "C29",
            book.state_of(entry.parsed.author),
            entry.name,
            severity=1,
            size=0,
            inputs=(body.corrects, entry.entry_hash),
        )


def _callup(book: Book, entry: Entry, body: pb.Note) -> None:
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


def _incident(book: Book, entry: Entry, body: pb.Note) -> str:
    """Harm done with a model, as a state's courts or police have it (M45). Returns the model's id."""
    model = book.qualified(entry.parsed.author, body.about)
    if model not in book.state.models:
        raise Refused(Code.UNKNOWN_REF, f"no model {model}")
    require_role(book, entry, "state", "secretariat")
    require_past(book, entry)
    releases.incident(book, model, entry.parsed.author, entry.entry_hash, body.severity)
    return model


def _conflict(book: Book, entry: Entry, body: pb.Note) -> None:
    """An inspector or evaluator declares an interest in a party, for itself: nobody strips another of its office so."""
    if body.about not in book.state.parties:
        raise Refused(Code.UNKNOWN_REF, f"no party {body.about}")
    require_role(book, entry, "inspector", "evaluator")
    require_past(book, entry)
    key = f"{entry.parsed.author}/{body.about}"
    book.state.conflicts.put(key, Conflict(entry.entry_hash))


def _share(book: Book, entry: Entry, body: pb.Note) -> str:
    """A steward confirms that it holds its share of a model's weights (M37). Returns the model's id."""
    model = book.qualified(entry.parsed.author, body.about)
    if model not in book.state.models:
        raise Refused(Code.UNKNOWN_REF, f"no model {model}")
    author = entry.parsed.author
    require_role(book, entry, "state")
    if not releases.is_unconfirmed_steward(book, model, author):
        raise Refused(Code.STANDING, f"{author} is no steward of {model} that has still to confirm")
    require_past(book, entry)
    releases.confirm_share(book, model, author)
    return model


def _evidence(book: Book, entry: Entry, body: pb.Note) -> None:
    """With `about` it names a state as subject, which not everybody may (LAW K37)."""
    if body.about:
        if body.about not in book.state.members:
            raise Refused(Code.UNKNOWN_REF, f"{body.about} is no member")
        require_role(book, entry, "state", "secretariat", "inspector")
    require_past(book, entry)


def _reveal(book: Book, entry: Entry, body: pb.Note) -> None:
    """A member's link for a round of the beacon; `about` is the round's number (RULINGS R63)."""
    author, number = entry.parsed.author, int(body.about)
    beacon.require_round(book, number)
    require_role(book, entry, "state")
    beacon.check_reveal(book, author, number, body.hash)
    require_past(book, entry)
    beacon.reveal(book, author, number, body.hash)


_NEEDS: Final[dict[int, tuple[str, ...]]] = {
    pb.NOTE_TYPE_REPLY: ("about",),
    pb.NOTE_TYPE_CORRECTION: ("corrects",),
    pb.NOTE_TYPE_CALLUP: ("about",),
    pb.NOTE_TYPE_REVIEW: ("about",),
    pb.NOTE_TYPE_OFFER: ("hash",),
    pb.NOTE_TYPE_ANCHOR: ("hash",),
    pb.NOTE_TYPE_REVEAL: ("about", "hash"),
    pb.NOTE_TYPE_INCIDENT: ("about", "code", "jurisdiction", "severity", "hash"),
    pb.NOTE_TYPE_PRIOR_LOG: ("about", "hash", "size"),
    pb.NOTE_TYPE_CONFLICT_OF_INTEREST: ("about",),
    pb.NOTE_TYPE_SHARE: ("about", "hash"),
}
_ROUND: Final = re.compile("[1-9][0-9]{0,15}")
# Fields that came later, and the one or two types they are for.
_ALSO: Final = {
    "code": {pb.NOTE_TYPE_INCIDENT, pb.NOTE_TYPE_PUBLICATION},
    "jurisdiction": {pb.NOTE_TYPE_INCIDENT},
    "severity": {pb.NOTE_TYPE_INCIDENT},
    "multiplier_bp": {pb.NOTE_TYPE_PUBLICATION},
    "size": {pb.NOTE_TYPE_PRIOR_LOG},
}
SEVERITY_MAX: Final = 4


def _note_type(body: Any) -> None:
    for name in _NEEDS.get(body.type, ()):
        if not body.HasField(name):
            raise MalformedContent(f"note.{name}", "missing in a note of this type")
    for name, types in _ALSO.items():
        if body.HasField(name) and body.type not in types:
            raise MalformedContent(f"note.{name}", "not allowed in a note of this type")
    if body.type == pb.NOTE_TYPE_REVEAL and not _ROUND.fullmatch(body.about):
        raise MalformedContent("note.about", f"{body.about[:80]!r} is no number of a round")
    if body.type == pb.NOTE_TYPE_INCIDENT and not 1 <= body.severity <= SEVERITY_MAX:
        raise MalformedContent("note.severity", f"{body.severity}: from 1 to {SEVERITY_MAX}")


KIND: Final = Kind(
    form=Form(
        enums=("type",),
        integers=("multiplier_bp", "size", "severity"),
        texts=("about", "code", "jurisdiction"),
        hashes=("corrects", "hash"),
        extra=(_note_type,),
    ),
    take=take_note,
    speaks_of="about",
    classes="RPS",
)

"""Notes in a case: the reply, corrections, evidence, a panel's word, the remedy (MODEL 9)."""

from foedus.v1 import content_pb2 as pb
from node.treaty import explanations, remedies
from node.treaty.book import Book, Refused
from node.treaty.cases import UNDECIDED, enter, raise_finding, reply
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_endorsed_agency, require_past, require_role


def take_reply(book: Book, entry: Entry, body: pb.Note) -> str:
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
    return body.about


def take_correction(book: Book, entry: Entry, body: pb.Note) -> str:
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
    return body.about


def take_evidence(book: Book, entry: Entry, body: pb.Note) -> str:
    """With `about` it names a state as subject, which not everybody may (LAW K37)."""
    if body.about:
        if body.about not in book.state.members:
            raise Refused(Code.UNKNOWN_REF, f"{body.about} is no member")
        require_role(book, entry, "state", "secretariat", "inspector")
    require_endorsed_agency(book, entry)
    require_past(book, entry)
    return body.about


def take_explained(book: Book, entry: Entry, body: pb.Note) -> str:
    """A state of the panel is satisfied by the reply to a case below severity 3."""
    ended = explanations.take(book, entry, body.about)
    if ended is not None:
        enter(book, body.about, ended, entry.entry_hash)
    return body.about


def take_remedy(book: Book, entry: Entry, body: pb.Note) -> str:
    """Inspectors of two states confirm what an upheld case asked for."""
    remedies.take(book, entry, body.about)
    return body.about

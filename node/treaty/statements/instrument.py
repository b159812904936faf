"""`instrument`: a state signs, joins or leaves the treaty; nobody votes on who joins (MODEL 3, kind 2; MODEL 7; LAW K28)."""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import departures, epochs
from node.treaty.bodies import Form
from node.treaty.book import RANK_LAPSE, Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import is_filing_state, require_past
from node.treaty.kinds import Kind
from node.treaty.register import membership_changed, withdrawal_s
from node.treaty.rows.parties import Member
from node.treaty.rules import trigger_of


def take_instrument(book: Book, entry: Entry, body: pb.Instrument) -> Accepted:
    """Sign, join or leave the treaty. Refuses FILER, ATTESTATION, INSTRUMENT (LAW K28)."""
    state = entry.parsed.author
    if book.state.parties[state].role != "state":
        raise Refused(Code.FILER, f"{state} is no state")
    member = book.state.members.get(state)
    bound = member is not None and member.status != "LEFT"
    if body.type in {pb.INSTRUMENT_TYPE_RATIFY, pb.INSTRUMENT_TYPE_ACCEDE}:
        attesting = set(body.attested_by) & set(entry.endorsers) - {state}
        attesting = {other for other in attesting if is_filing_state(book, other)}
        needed = min(trigger_of(book.membership()), book.membership())
        if not bound and len(attesting) < needed:
            raise Refused(Code.ATTESTATION, f"{len(attesting)} of {needed} members attest the key")
        if bound:
            raise Refused(Code.INSTRUMENT, f"{state} is already bound")
        require_past(book, entry)
        book.state.members.put(state, Member("MEMBER", book.now))
        membership_changed(book)
        epochs.consider(book)
    elif body.type == pb.INSTRUMENT_TYPE_WITHDRAW:
        suspended = book.state.suspensions.get(state)
        status = suspended.status if suspended else member.status if member else ""
        if status != "MEMBER":
            raise Refused(Code.INSTRUMENT, f"{state} has no instrument to withdraw")
        require_past(book, entry)
        if suspended:
            row = suspended._replace(status="WITHDRAWING", since=book.now)
            book.state.suspensions.put(state, row)
        else:
            book.state.members.put(state, Member("WITHDRAWING", book.now))
        book.schedule(book.now + withdrawal_s(book), RANK_LAPSE, "leave", state)
        departures.begun(book, state, withdrawal_s(book))
    else:
        require_past(book, entry)
    return Accepted(f"instrument:{state}")


KIND: Final[Kind] = Kind(
    form=Form(enums=("type",), counted=("attested_by",), hashes=("text_hash",)),
    take=take_instrument,
    classes="PR",
)

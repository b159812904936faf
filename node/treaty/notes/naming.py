"""Notes of whoever is named by another: consent, or an objection in time (record 0240)."""

from foedus.v1 import content_pb2 as pb
from node.treaty import consent, owners
from node.treaty.book import Book, Refused
from node.treaty.codes import Code
from node.treaty.consent import ITSELF, Claim
from node.treaty.entries import Entry
from node.treaty.filing import require_past


def take_consent(book: Book, entry: Entry, body: pb.Note) -> str:
    """Who is concerned agrees; or k+1 other members attest what was said, also against an objection.

    Refuses UNKNOWN_REF, STANDING.
    """
    party, claims = body.about, _claims(book, body.about)
    settled = [(claim, event) for claim in claims if (event := _event(book, entry, party, claim))]
    if not settled:
        raise Refused(
            Code.STANDING,
            f"nothing said of {party} concerns {entry.parsed.author}, and too few others sign with it",
        )
    require_past(book, entry)
    for claim, event in settled:
        if claim.owner == ITSELF:
            consent.settle(book, party, ITSELF, event, entry.entry_hash)
        else:
            owners.stands(book, party, claim.owner, event, entry.entry_hash)
    return party


def _event(book: Book, entry: Entry, party: str, claim: Claim) -> str:
    """How this note settles a claim; empty: it does not. Others attest only what was denied: first who is named is heard."""
    concerned = consent.concerned(book, party, claim)
    if not concerned.isdisjoint({entry.parsed.author, *entry.endorsers}):
        return "CONSENTED"
    aside = concerned | {book.state_of(party)}
    return "ATTESTED" if claim.objected and consent.is_attested(book, entry, aside) else ""


def take_objection(book: Book, entry: Entry, body: pb.Note) -> str:
    """Who is concerned says no in time. Refuses UNKNOWN_REF, STANDING, LATE, REPEATED."""
    party, author = body.about, entry.parsed.author
    own = [
        claim for claim in _claims(book, party) if author in consent.concerned(book, party, claim)
    ]
    if not own:
        raise Refused(Code.STANDING, f"nothing said of {party} concerns {author}")
    if all(book.now > claim.due for claim in own):
        raise Refused(Code.LATE, f"an objection was due by {max(claim.due for claim in own)}")
    open_claims = [claim for claim in own if not claim.objected and book.now <= claim.due]
    if not open_claims:
        raise Refused(Code.REPEATED, f"{author} has objected already")
    require_past(book, entry)
    for claim in open_claims:
        consent.object_to(book, party, claim, entry.entry_hash)
    return party


def _claims(book: Book, party: str) -> list[Claim]:
    if party not in book.state.parties:
        raise Refused(Code.UNKNOWN_REF, f"no party {party}")
    claims = consent.claims_of(book, party)
    if not claims:
        raise Refused(Code.UNKNOWN_REF, f"nothing said of {party} waits for anybody's word")
    return claims

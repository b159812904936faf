"""Who is named by another is heard before anything counts against it (record 0240; law 3).

Two things are said of parties abroad:

    an owner       a party's statement names an owner, and neither the owner nor its state signs it
    a state        a party is registered by others than the state that is to answer for it (RULINGS R50)

Each is a claim until one of these comes, whichever is first:

    consent        of the owner or its state, or of the state that is to answer: it stands at once; a state that countersigns
                   anything of such a party answers for it
    silence        `consent` seconds without a word: it stands, so nobody blocks by saying nothing
    objection      in that time: it does not stand, unless the objector agrees later, or k+1 other members attest it: one of
                   them is honest, so neither does a lie make an owner nor a denial unmake one

While it does not stand, a named owner is no owner (M39, C15), and no finding that rests on such a party's word, or on its
sites and runs, is graver than severity 2 for the state that has not agreed: two members cannot register a culprit for a
third. The party itself writes, is shown, and is bound from its first second: no state gags its operators by objecting.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from node.treaty.book import RANK_LAPSE, Book
from node.treaty.codec import Value
from node.treaty.derived import NamingStep
from node.treaty.entries import Entry
from node.treaty.filing import is_filing_state
from node.treaty.rows.parties import Naming
from node.treaty.rules import k_of

SINCE_LAW: Final = 3
UNHEARD_SEVERITY_MAX: Final = 2  # a panel's matter: no BREACH, no HALT
ITSELF: Final = ""  # in a claim: not an owner, but the state that is to answer for the party


class Claim(NamedTuple):
    """One thing said of a party that does not stand yet."""

    owner: str  # a party's id, or ITSELF
    entry: bytes
    at: int
    due: int  # an objection is in time up to and including this second
    objected: int  # 0 or 1


def claims_of(book: Book, party: str) -> list[Claim]:
    """What is said of a party and does not stand, by owner; its own state first."""
    row = book.state.namings.get(party)
    return [Claim(*one) for one in row.claims] if row is not None else []  # type: ignore[arg-type] # a row holds plain tuples


def claimed_owners(book: Book, party: str) -> set[str]:
    """Owners named that do not stand."""
    return {claim.owner for claim in claims_of(book, party)} - {ITSELF}


def is_heard(book: Book, party: str) -> bool:
    """Whether the state of a party answers for it: it registered it, agreed, was silent, or k+1 others attest it."""
    row = book.state.namings.get(party)
    return row is None or not any(one[0] == ITSELF for one in row.claims)


def agrees(book: Book, entry: Entry, owner: str) -> bool:
    """Whether an owner or its state signs a statement that names it."""
    return not {owner, book.state_of(owner)}.isdisjoint({entry.parsed.author, *entry.endorsers})


def is_attested(book: Book, entry: Entry, concerned: set[str]) -> bool:
    """Whether k+1 members other than those concerned sign: one of them at least is honest."""
    signers = {entry.parsed.author, *entry.endorsers} - concerned
    members = {state for state in signers if is_filing_state(book, state)}
    return len(members) > k_of(book.membership())


def name(book: Book, entry: Entry, party: str, owners: Iterable[str]) -> None:
    """`owners` (and ITSELF for its state) are named with `party`; what stood as a claim keeps its time and its objection."""
    before = {claim.owner: claim for claim in claims_of(book, party)}
    due = book.now + book.value("consent")
    for owner in sorted(owners):
        if owner not in before:
            claim = Claim(owner, entry.entry_hash, book.now, due, objected=0)
            before[owner] = claim
            _show(book, party, claim, "NAMED", entry.entry_hash)
    _keep(book, party, before.values())


def settle(book: Book, party: str, owner: str, event: str, entry_hash: bytes) -> bool:
    """A claim ends: CONSENTED, ATTESTED, SILENT, WITHDRAWN or VOID. False if there is none."""
    claims = claims_of(book, party)
    for claim in claims:
        if claim.owner == owner:
            _keep(book, party, (one for one in claims if one is not claim))
            _show(book, party, claim, event, entry_hash)
            return True
    return False


def endorsed(book: Book, entry: Entry) -> None:
    """A state that countersigns what a party says answers for it: it does not use an operator that it denies."""
    party = entry.parsed.author
    if not is_heard(book, party) and book.state_of(party) in entry.endorsers:
        settle(book, party, ITSELF, "CONSENTED", entry.entry_hash)


def object_to(book: Book, party: str, claim: Claim, entry_hash: bytes) -> None:
    """Who is concerned says no in time."""
    rest = [one for one in claims_of(book, party) if one.owner != claim.owner]
    objected = claim._replace(objected=1)
    _keep(book, party, (*rest, objected))
    _show(book, party, objected, "OBJECTED", entry_hash)


def concerned(book: Book, party: str, claim: Claim) -> set[str]:
    """Whose word ends a claim."""
    if claim.owner == ITSELF:
        return {book.state_of(party)}
    return {claim.owner, book.state_of(claim.owner)}


def schedule(book: Book, party: str) -> None:
    """Have the clock look when the first claim about a party would stand by silence."""
    open_claims = [claim.due for claim in claims_of(book, party) if not claim.objected]
    if open_claims:
        book.schedule(min(open_claims) + 1, RANK_LAPSE, "naming", party)


def silent(book: Book, party: str) -> list[str]:
    """The clock looks: which owners stand now by silence. A state that is no member has not been able to speak."""
    stand: list[str] = []
    for claim in claims_of(book, party):
        if claim.objected or book.now <= claim.due:
            continue
        if claim.owner == ITSELF and not is_filing_state(book, book.state_of(party)):
            later = claim._replace(due=book.now + book.value("consent"))
            rest = [one for one in claims_of(book, party) if one.owner != ITSELF]
            _keep(book, party, (*rest, later))
        elif claim.owner == ITSELF:
            settle(book, party, ITSELF, "SILENT", b"")
        else:
            stand.append(claim.owner)
    schedule(book, party)
    return stand


def postpone(book: Book, by_s: int) -> None:
    """The ledger stood still, and nobody could say no (RULINGS R34)."""
    for party in sorted(book.state.namings):
        moved = (one._replace(due=one.due + by_s) for one in claims_of(book, party))
        _keep(book, party, moved)


def capped(book: Book, subject: str, about: str, inputs: tuple[bytes, ...], severity: int) -> int:
    """The severity that a finding may have for a state that has not been heard about who it rests on."""
    if severity <= UNHEARD_SEVERITY_MAX or not book.state.namings:
        return severity
    for party in _rests_on(book, about, inputs):
        row = book.state.parties.get(party)
        if row is not None and row.state == subject and not is_heard(book, party):
            return UNHEARD_SEVERITY_MAX
    return severity


def _rests_on(book: Book, about: str, inputs: tuple[bytes, ...]) -> Iterable[str]:
    """Parties whose word, site or run a finding is about."""
    thing = about.rpartition(":")[2]
    facility = book.state.facilities.get(thing)
    if facility is not None:
        yield facility.operator
    plan = book.state.plans.get(thing)
    if plan is not None:
        yield plan.operator
    for entry_hash in inputs:
        facts = book.index.get(entry_hash)
        if facts is not None:
            yield facts.author


def _keep(book: Book, party: str, claims: Iterable[Claim]) -> None:
    kept: tuple[tuple[Value, ...], ...] = tuple(sorted(claims))
    if kept:
        book.state.namings.put(party, Naming(kept))
        schedule(book, party)
    elif party in book.state.namings:
        book.state.namings.drop(party)


def _show(book: Book, party: str, claim: Claim, event: str, entry_hash: bytes) -> None:
    book.emit(
        NamingStep(
            party=party,
            owner=claim.owner,
            state=book.state_of(claim.owner or party),
            event=event,
            named_by=claim.entry,
            entry=entry_hash,
            due=claim.due,
            at=book.now,
        )
    )

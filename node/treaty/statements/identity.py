"""`identity`: a new party, or new keys for a known one (MODEL 3, kind 1; RULINGS R50)."""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import HASH_BYTES, Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.filing import is_filing_state, require_past
from node.treaty.kinds import Kind
from node.treaty.register import AUTHOR, PURPOSES, ROLES, VOTE, kid_of, rotate
from node.treaty.rules import k_of, trigger_of
from node.treaty.state import Party


def take_identity(book: Book, entry: Entry, body: pb.Identity) -> Accepted:
    """Register a party, or give a known one new keys."""
    role = ROLES[body.role]
    owners = tuple(sorted(body.owners))
    for owner in owners:
        if owner not in book.state.parties:
            raise Refused(Code.UNKNOWN_REF, f"no party {owner}")
    if body.state not in book.genesis.states:
        raise Refused(Code.UNKNOWN_REF, f"{body.state} is no state of the genesis list")
    known = book.state.parties.get(body.party)
    purposes = {PURPOSES[key.purpose] for key in body.keys}
    if known is None:
        _may_register(book, entry, body, role)
        if AUTHOR not in purposes or (VOTE in purposes) != (role == "state"):
            raise Refused(Code.EVIDENCE, "a party needs an author key, a state a vote key too")
    else:
        _may_rekey(book, entry, body.party, known)
        if (role, body.state, owners) != (known.role, known.state, known.owners):
            raise Refused(Code.STANDING, f"{body.party} is {known.role} of {known.state}")
    for key in body.keys:
        if kid_of(key.ed25519).hex() in book.state.key_owners:
            raise Refused(Code.REPEATED, "a key whose id is already registered")
    require_past(book, entry)
    if known is None:
        book.state.parties.put(body.party, Party(role, body.state, owners))
    for key in body.keys:
        rotate(book, body.party, key.ed25519, PURPOSES[key.purpose])
    return Accepted(f"identity:{body.party}")


def _may_register(book: Book, entry: Entry, body: pb.Identity, role: str) -> None:
    author = entry.parsed.author
    if role == "secretariat" or not is_filing_state(book, author):
        raise Refused(Code.FILER, f"{author} may not register a {role}")
    if role == "state" and body.party != body.state:
        raise Refused(Code.STANDING, "a state's party id is its code")
    if author == body.state:
        return
    others = _members_behind(book, entry) - {body.state}
    needed = min(trigger_of(book.membership()), max(book.membership() - 1, 1))
    if len(others) < needed:
        raise Refused(Code.SIGNERS, f"{len(others)} of {needed} other members stand behind this")


def _may_rekey(book: Book, entry: Entry, party: str, known: Party) -> None:
    if entry.parsed.author == party:
        return  # signed by its old key
    if not is_filing_state(book, entry.parsed.author):
        raise Refused(Code.FILER, f"{entry.parsed.author} may not replace keys of {party}")
    others = _members_behind(book, entry) - {known.state}
    needed = k_of(book.membership()) + 1
    if len(others) < needed:
        raise Refused(Code.SIGNERS, f"{len(others)} of {needed} other members stand behind this")


def _members_behind(book: Book, entry: Entry) -> set[str]:
    signers = (entry.parsed.author, *entry.endorsers)
    return {state for state in signers if is_filing_state(book, state)}


def _identity_keys(body: Any) -> None:
    purposes = set()
    for key in body.keys:
        if not key.purpose or key.purpose in purposes:
            raise MalformedContent("identity.keys", "purpose missing, or twice")
        purposes.add(key.purpose)
        if len(key.ed25519) != HASH_BYTES:
            raise MalformedContent("identity.keys", f"{len(key.ed25519)} bytes, not 32")


KIND: Final = Kind(
    form=Form(
        enums=("role",), names=("party", "state"), lists=("keys", "owners"), extra=(_identity_keys,)
    ),
    take=take_identity,
    speaks_of="party",
    classes="PR",
)

"""`identity`: a new party, or new keys for a known one (MODEL 3, kind 1; RULINGS R50)."""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty import consent, epochs
from node.treaty import owners as ownership
from node.treaty.bodies import HASH_BYTES, Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.filing import check_place, is_filing_state, require_past
from node.treaty.kinds import Kind
from node.treaty.register import AUTHOR, PURPOSES, ROLES, VOTE, kid_of, rotate
from node.treaty.rows.parties import Party, Place, Sealing, Source, Suspect
from node.treaty.rules import k_of, trigger_of
from node.treaty.statements.trade import NAMES as TRADE_NAMES

CERTIFICATE_BYTES_MAX: Final = 4_096
ENDPOINT_CHARS_MAX: Final = 255
SUSPECT_SPANS_MAX: Final = 64  # of one party, the latest
SIGNATURE_BYTES: Final = (64, 64, 64)  # by the block, log and cosigner key
MLDSA_KEY_BYTES: Final = 1_312
MLDSA_SIGNATURE_BYTES: Final = 2_420


def take_identity(book: Book, entry: Entry, body: pb.Identity) -> Accepted:
    """Register a party, or give a known one new keys."""
    role = ROLES[body.role]
    owners = tuple(sorted(body.owners))
    for owner in owners:
        if owner not in book.state.parties:
            raise Refused(Code.UNKNOWN_REF, f"no party {owner}")
    if not book.is_listed(body.state):
        raise Refused(Code.UNKNOWN_REF, f"{body.state} is no state of the genesis list")
    known = book.state.parties.get(body.party)
    by_own_state = False
    purposes = {PURPOSES[key.purpose] for key in body.keys}
    if known is None:
        _may_register(book, entry, body, role)
        if AUTHOR not in purposes or (VOTE in purposes) != (role == "state"):
            raise Refused(Code.EVIDENCE, "a party needs an author key, a state a vote key too")
    else:
        by_own_state = _is_by_own_state(book, entry, known, body)
        if body.trades and entry.parsed.author != known.state:
            raise Refused(Code.FILER, f"{known.state} says what {body.party} may report on")
        if body.keys or body.sealing_key or not (body.trades or by_own_state):
            _may_rekey(book, entry, body.party, known)
        if (role, body.state) != (known.role, known.state) or not (
            by_own_state or _repeats_owners(book, body.party, known, owners)
        ):
            raise Refused(Code.STANDING, f"{body.party} is {known.role} of {known.state}")
    if body.jurisdiction:
        if entry.parsed.author != body.state:
            raise Refused(Code.FILER, f"{body.state} says where in it {body.party} sits")
        check_place(body.jurisdiction, body.state)
    if body.suspect_from > book.now or (body.suspect_from and (known is None or not body.keys)):
        raise Refused(Code.EVIDENCE, "suspect_from: a past second, with new keys of a known party")
    for key in body.keys:
        if kid_of(key.ed25519).hex() in book.state.key_owners:
            raise Refused(Code.REPEATED, "a key whose id is already registered")
    if body.HasField("validator"):
        if role != "state":
            raise Refused(Code.STANDING, f"a {role} has no validator")
        epochs.check_seat(book, body.party, body.validator)
    require_past(book, entry)
    claimed = _claimed(book, entry, known, owners)
    if known is None:
        counting = tuple(owner for owner in owners if owner not in claimed)
        book.state.parties.put(body.party, Party(role, body.state, counting))
        _name(book, entry, body, claimed)
    elif by_own_state and not _says_nothing_new(book, body.party, known, owners, claimed):
        ownership.check_change(book, body.party, owners)
        counting = tuple(owner for owner in owners if owner not in claimed)
        _name_anew(book, entry, body.party, owners, claimed)
        if counting != known.owners:
            ownership.change(book, body.party, counting)
    if body.jurisdiction:
        book.state.places.put(body.party, Place(body.jurisdiction))
    if body.suspect_from:
        _suspect(book, body.party, body.suspect_from)
    for key in body.keys:
        rotate(book, body.party, key.ed25519, PURPOSES[key.purpose])
    if body.HasField("validator"):
        epochs.take_seat(book, body.party, body.validator, entry.leaf)
    if body.sealing_key:
        book.state.sealing.put(body.party, Sealing(body.sealing_key, book.now))
    if body.trades:
        names = tuple(sorted(TRADE_NAMES[trade] for trade in body.trades))
        book.state.sources.put(body.party, Source(names))
    return Accepted(f"identity:{body.party}")


def _repeats_owners(book: Book, party: str, known: Party, owners: tuple[str, ...]) -> bool:
    """Whether a statement says of owners what was said before, with or without those who have not agreed."""
    named = {*known.owners, *consent.claimed_owners(book, party)}
    return owners == known.owners or set(owners) == named


def _says_nothing_new(
    book: Book, party: str, known: Party, owners: tuple[str, ...], claimed: frozenset[str]
) -> bool:
    counting = tuple(owner for owner in owners if owner not in claimed)
    return counting == known.owners and claimed == consent.claimed_owners(book, party)


def _claimed(
    book: Book, entry: Entry, known: Party | None, owners: tuple[str, ...]
) -> frozenset[str]:
    """Owners that are new and have not agreed to be named: they are heard first (record 0240)."""
    if book.law < consent.SINCE_LAW:
        return frozenset()
    old = known.owners if known is not None else ()
    return frozenset(
        owner for owner in owners if owner not in old and not consent.agrees(book, entry, owner)
    )


def _name(book: Book, entry: Entry, body: pb.Identity, claimed: frozenset[str]) -> None:
    """A new party: its owners abroad are claims, and so is its state's answering for it if others registered it."""
    if book.law < consent.SINCE_LAW:
        return
    # A state speaks for itself: its own instrument binds it, and nobody else's word.
    stands = body.party == body.state or body.state in {entry.parsed.author, *entry.endorsers}
    consent.name(book, entry, body.party, claimed if stands else {*claimed, consent.ITSELF})


def _name_anew(
    book: Book, entry: Entry, party: str, owners: tuple[str, ...], claimed: frozenset[str]
) -> None:
    """Its state says who owns it now: claims left out fall, those who sign have agreed, the others are heard."""
    for owner in sorted(consent.claimed_owners(book, party)):
        if owner not in owners:
            consent.settle(book, party, owner, "WITHDRAWN", entry.entry_hash)
        elif owner not in claimed:
            consent.settle(book, party, owner, "CONSENTED", entry.entry_hash)
    consent.name(book, entry, party, claimed)


def _is_by_own_state(book: Book, entry: Entry, known: Party, body: pb.Identity) -> bool:
    """Whether the party's own state says where it sits or who owns it now; a state itself is owned by nobody."""
    author = entry.parsed.author
    may = not book.is_first_law and known.role != "state" and not body.HasField("validator")
    return may and author == known.state


def _suspect(book: Book, party: str, since: int) -> None:
    """What its old key signed from `since` on bears a flag; nothing is deleted (MODEL 9, Key)."""
    row = book.state.suspects.get(party)
    spans = (*(row.spans if row is not None else ()), (since, book.now))
    book.state.suspects.put(party, Suspect(spans[-SUSPECT_SPANS_MAX:]))


def _may_register(book: Book, entry: Entry, body: pb.Identity, role: str) -> None:
    author = entry.parsed.author
    if role == "secretariat" or not is_filing_state(book, author):
        raise Refused(Code.FILER, f"{author} may not register a {role}")
    if role == "state" and body.party != body.state:
        raise Refused(Code.STANDING, "a state's party id is its code")
    if role != "state" and book.is_listed(body.party) and not book.is_first_law:
        # Else whoever takes a state's code first keeps that state from ever joining (I15).
        raise Refused(Code.STANDING, f"{body.party} is the code of a state")
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
    if body.trades and body.role != pb.PARTY_ROLE_SOURCE:
        raise MalformedContent("identity.trades", "is for sources")
    if not all(body.trades) or len(set(body.trades)) != len(body.trades):
        raise MalformedContent("identity.trades", "unspecified, or one twice")


def _validator(body: Any) -> None:
    if not body.HasField("validator"):
        return
    node = body.validator
    for name in ("block_key", "log_key", "cosigner_key"):
        if len(getattr(node, name)) != HASH_BYTES:
            length = len(getattr(node, name))
            raise MalformedContent(f"identity.validator.{name}", f"{length} bytes, not 32")
    if not 0 < len(node.certificate_pem) <= CERTIFICATE_BYTES_MAX:
        raise MalformedContent(
            "identity.validator.certificate_pem", f"from 1 to {CERTIFICATE_BYTES_MAX} bytes"
        )
    for name in ("peer_endpoint", "client_endpoint", "http_endpoint"):
        if not _is_endpoint(getattr(node, name)):
            raise MalformedContent(f"identity.validator.{name}", "want host:port")
    second = len(node.cosigner_pq_key)
    if second not in (0, MLDSA_KEY_BYTES):
        raise MalformedContent(
            "identity.validator.cosigner_pq_key", f"{second} bytes, not {MLDSA_KEY_BYTES}"
        )
    wanted = (*SIGNATURE_BYTES, MLDSA_SIGNATURE_BYTES) if second else SIGNATURE_BYTES
    if tuple(map(len, node.possession)) != wanted:
        raise MalformedContent(
            "identity.validator.possession",
            f"want signatures of {', '.join(map(str, wanted))} bytes",
        )


def _is_endpoint(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    if not colon or not host or len(text) > ENDPOINT_CHARS_MAX or not text.isprintable():
        return False
    return port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536


KIND: Final[Kind] = Kind(
    form=Form(
        enums=("role",),
        names=("party", "state"),
        lists=("keys", "owners", "trades"),
        hashes=("sealing_key",),
        integers=("suspect_from",),
        texts=("jurisdiction",),
        extra=(_identity_keys, _validator),
    ),
    take=take_identity,
    speaks_of="party",
    classes="PR",
)

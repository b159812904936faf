"""Who is who: parties, their keys, and the states bound by the treaty.

A key belongs to one party and one purpose for ever; a rotated key signs nothing more, and never
comes back (RULINGS R16, R46). No state can gag its operators, and no few states take over a party:
a new party is registered by its own state or by `trigger` others, a lost key replaced by k+1 others
(RULINGS R50). Nobody votes on who joins (MODEL 7).
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import HASH_BYTES, is_name
from node.treaty.book import (
    RANK_LAPSE,
    RANK_VETO_CHECK,
    VETO_CHECK_DUE,
    Accepted,
    Book,
    Refused,
)
from node.treaty.codes import Code
from node.treaty.duties import owe_meeting
from node.treaty.entries import Entry
from node.treaty.filing import is_filing_state, require_past
from node.treaty.rules import k_of, trigger_of
from node.treaty.state import Appointment, Counter, Key, KeyOwner, Member, Party
from node.treaty.veto import veto_check

KID_BYTES: Final = 8  # RULINGS R16
WITHDRAWAL_S: Final = 365 * 86_400
# Entry into force (MODEL 7, LAW K28)
EIF_MEMBERS: Final = 5
EIF_NAMED: Final = ("CN", "US")
EIF_SLOW_S: Final = 180 * 86_400
EIF_CAPACITY_BP: Final = 5_000
EIF_FAB_BP: Final = 6_667
FIVE_SINCE: Final = "eif_five_since"
IN_FORCE_SINCE: Final = "eif_in_force_since"
AUTHOR: Final = "author"
VOTE: Final = "vote"
ROTATED: Final = "rotated"
NODE: Final = "node"  # a key of a member's node: held so that no party takes it

_ROLES: Final = {
    pb.PARTY_ROLE_OPERATOR: "operator",
    pb.PARTY_ROLE_INSPECTOR: "inspector",
    pb.PARTY_ROLE_EVALUATOR: "evaluator",
    pb.PARTY_ROLE_SOURCE: "source",
    pb.PARTY_ROLE_DEVICE: "device",
    pb.PARTY_ROLE_SECRETARIAT: "secretariat",
    pb.PARTY_ROLE_STATE: "state",
}
_PURPOSES: Final = {pb.KEY_PURPOSE_AUTHOR: AUTHOR, pb.KEY_PURPOSE_VOTE: VOTE}


def kid_of(public_key: bytes) -> bytes:
    """The key id: the first 8 bytes of SHA-256(public key)."""
    return hashlib.sha256(public_key).digest()[:KID_BYTES]


def found(book: Book) -> None:
    """Enter what genesis lists. Raises ValueError naming what is listed twice."""
    genesis = book.genesis
    for member in genesis.members:
        _found_party(book, member.state, Party("state", member.state, ()))
        book.state.members.put(member.state, Member("MEMBER", genesis.time_s))
        _found_key(book, member.state, member.author_key, AUTHOR)
        _found_key(book, member.state, member.vote_key, VOTE)
        for key in member.node_keys:
            _found_key(book, member.state, key, NODE)
    for party in genesis.parties:
        state = "SEC" if party.role == "secretariat" else party.state
        _found_party(book, party.party, Party(party.role, state, tuple(sorted(party.owners))))
        _found_key(book, party.party, party.author_key, AUTHOR)
        if party.vote_key:
            _found_key(book, party.party, party.vote_key, VOTE)
        if party.role in {"inspector", "evaluator"}:
            book.state.appointments.put(f"{party.role}/{party.party}", Appointment(""))
    _membership_changed(book)
    owe_meeting(book)


def _membership_changed(book: Book) -> None:
    """What one state can block is computed anew and recorded (MODEL 7), by the clock's next look."""
    book.ask_veto_check()
    counters = book.state.counters
    if book.membership() >= EIF_MEMBERS and FIVE_SINCE not in counters:
        counters.put(FIVE_SINCE, Counter(book.now))
        schedule_slow_door(book)
    consider_entry_into_force(book)


def schedule_slow_door(book: Book) -> None:
    """Have the clock look at the slow door once it may open."""
    five = book.state.counters.get(FIVE_SINCE)
    if five is not None and IN_FORCE_SINCE not in book.state.counters:
        due = five.value + EIF_SLOW_S
        if due >= book.now:  # later, every change of members looks by itself
            book.schedule(due, RANK_LAPSE, "eif", "")


def consider_entry_into_force(book: Book) -> None:
    """Fast door: five members with the named states. Slow door: 180 d later, with enough of the world (LAW K28).

    Once in force, always: no departure undoes it, so no state can undo it.
    """
    counters = book.state.counters
    if IN_FORCE_SINCE in counters or book.membership() < EIF_MEMBERS:
        return
    bound = {state for state, row in book.state.members.items() if row.status != "LEFT"}
    opens = bound.issuperset(EIF_NAMED)
    if not opens and book.now >= counters[FIVE_SINCE].value + EIF_SLOW_S:
        opens = (
            _share_bp(book.genesis.world_capacity_mh, bound) >= EIF_CAPACITY_BP
            or _share_bp(book.genesis.world_fab, bound) >= EIF_FAB_BP
        )
    if opens:
        counters.put(IN_FORCE_SINCE, Counter(book.now))


def _share_bp(world: Mapping[str, int], bound: set[str]) -> int:
    """The members' share of the world in basis points, rounded down; 0 where nothing is registered."""
    whole = sum(world.values())
    held = sum(amount for state, amount in world.items() if state in bound)
    return 10_000 * held // whole if whole else 0


def in_force_since(book: Book) -> int | None:
    """The second since which the treaty is in force; None: provisional."""
    row = book.state.counters.get(IN_FORCE_SINCE)
    return row.value if row is not None else None


def schedule_veto_check(book: Book) -> None:
    """Have a pending veto check made; a row says that one is pending, so a restart keeps it."""
    row = book.state.counters.get(VETO_CHECK_DUE)
    if row is not None:
        book.schedule(row.value, RANK_VETO_CHECK, "veto", "")


def show_veto_check(book: Book) -> None:
    book.state.counters.drop(VETO_CHECK_DUE)
    book.emit(veto_check(book.membership(), book.now, book.shares()))


def _found_party(book: Book, name: str, row: Party) -> None:
    if not is_name(name) or row.role not in _ROLES.values():
        raise ValueError(f"genesis party {name!r} of role {row.role!r}: no such name or role")
    if row.role != "secretariat" and row.state not in book.genesis.states:
        raise ValueError(f"genesis party {name}: {row.state} is not on the list of states")
    if name in book.state.parties:
        raise ValueError(f"genesis lists party {name} twice")
    book.state.parties.put(name, row)


def _found_key(book: Book, owner: str, public_key: bytes, purpose: str) -> None:
    if len(public_key) != HASH_BYTES:
        raise ValueError(f"genesis gives {owner} a key of {len(public_key)} bytes")
    if kid_of(public_key).hex() in book.state.key_owners:
        raise ValueError(f"genesis gives {owner} a key whose id is already taken")
    _put_key(book, owner, public_key, purpose)


def _put_key(book: Book, owner: str, public_key: bytes, purpose: str) -> None:
    kid = kid_of(public_key).hex()
    book.state.keys.put(f"{owner}/{kid}", Key(public_key, purpose))
    book.state.key_owners.put(kid, KeyOwner(owner))


def key_in_force(book: Book, author: str, kid: bytes) -> Key | None:
    """The author's key with this id, unless it is rotated or no signing key of entries."""
    row = book.state.keys.get(f"{author}/{kid.hex()}")
    return row if row is not None and row.purpose in {AUTHOR, VOTE} else None


def take_identity(book: Book, entry: Entry, body: pb.Identity) -> Accepted:
    """Register a party, or give a known one new keys."""
    role = _ROLES[body.role]
    owners = tuple(sorted(body.owners))
    for owner in owners:
        if owner not in book.state.parties:
            raise Refused(Code.UNKNOWN_REF, f"no party {owner}")
    if body.state not in book.genesis.states:
        raise Refused(Code.UNKNOWN_REF, f"{body.state} is no state of the genesis list")
    known = book.state.parties.get(body.party)
    purposes = {_PURPOSES[key.purpose] for key in body.keys}
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
        _rotate(book, body.party, key.ed25519, _PURPOSES[key.purpose])
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


def _rotate(book: Book, party: str, public_key: bytes, purpose: str) -> None:
    for name, row in list(_keys_of(book, party)):
        if row.purpose == purpose:
            book.state.keys.put(name, row._replace(purpose=ROTATED))
    _put_key(book, party, public_key, purpose)


def _keys_of(book: Book, party: str) -> list[tuple[str, Key]]:
    prefix = f"{party}/"
    return [(name, row) for name, row in book.state.keys.items() if name.startswith(prefix)]


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
        _membership_changed(book)
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
        book.schedule(book.now + WITHDRAWAL_S, RANK_LAPSE, "leave", state)
    else:
        require_past(book, entry)
    return Accepted(f"instrument:{state}")


def leave(book: Book, state: str) -> None:
    """A year after its notice a withdrawing state has left."""
    suspended = book.state.suspensions.get(state)
    member = Member(suspended.status, suspended.since) if suspended else book.state.members[state]
    if member.status == "WITHDRAWING" and book.now >= member.since + WITHDRAWAL_S:
        if suspended:
            book.state.suspensions.drop(state)
        book.state.members.put(state, Member("LEFT", book.now))
        _membership_changed(book)

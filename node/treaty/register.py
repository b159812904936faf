"""Who is who: parties, their keys, and the states bound by the treaty.

A key belongs to one party and one purpose for ever; a rotated key signs nothing more, and never
comes back (RULINGS R16, R46). No state can gag its operators, and no few states take over a party:
a new party is registered by its own state or by `trigger` others, a lost key replaced by k+1 others
(RULINGS R50). Nobody votes on who joins (MODEL 7).
"""

import hashlib
from dataclasses import replace
from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import entry_into_force
from node.treaty.bodies import HASH_BYTES, is_name
from node.treaty.book import (
    RANK_VETO_CHECK,
    VETO_CHECK_DUE,
    Book,
)
from node.treaty.duties import owe_meeting
from node.treaty.rows.parties import Appointment, Key, KeyOwner, Member, Party
from node.treaty.veto import veto_check

KID_BYTES: Final = 8  # RULINGS R16
AUTHOR: Final = "author"
VOTE: Final = "vote"
ROTATED: Final = "rotated"
NODE: Final = "node"  # a key of a member's node: held so that no party takes it

ROLES: Final = {
    pb.PARTY_ROLE_OPERATOR: "operator",
    pb.PARTY_ROLE_INSPECTOR: "inspector",
    pb.PARTY_ROLE_EVALUATOR: "evaluator",
    pb.PARTY_ROLE_SOURCE: "source",
    pb.PARTY_ROLE_DEVICE: "device",
    pb.PARTY_ROLE_SECRETARIAT: "secretariat",
    pb.PARTY_ROLE_STATE: "state",
    pb.PARTY_ROLE_AGENCY: "agency",
}
PURPOSES: Final = {pb.KEY_PURPOSE_AUTHOR: AUTHOR, pb.KEY_PURPOSE_VOTE: VOTE}


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
        if member.second_key:
            put_key(book, member.state, member.second_key, NODE)
    for party in genesis.parties:
        state = "SEC" if party.role == "secretariat" else party.state
        _found_party(book, party.party, Party(party.role, state, tuple(sorted(party.owners))))
        _found_key(book, party.party, party.author_key, AUTHOR)
        if party.vote_key:
            _found_key(book, party.party, party.vote_key, VOTE)
        if party.role in {"inspector", "evaluator"}:
            book.state.appointments.put(f"{party.role}/{party.party}", Appointment(""))
    if not book.is_first_law:
        _require_acyclic(book)
    membership_changed(book)
    owe_meeting(book)


def _require_acyclic(book: Book) -> None:
    """Nobody owns itself, directly or not (MODEL 3, kind 1). Raises ValueError naming who does."""
    for party, row in book.state.parties.items():
        if any(party in book.owner_closure(owner) for owner in row.owners):
            raise ValueError(f"genesis party {party} owns itself through {row.owners}")


def membership_changed(book: Book) -> None:
    """What one state can block is computed anew and recorded (MODEL 7), by the clock's next look."""
    book.ask_veto_check()
    entry_into_force.members_changed(book)


def schedule_veto_check(book: Book) -> None:
    """Have a pending veto check made; a row says that one is pending, so a restart keeps it."""
    row = book.state.counters.get(VETO_CHECK_DUE)
    if row is not None:
        book.schedule(row.value, RANK_VETO_CHECK, "veto", "")


def show_veto_check(book: Book) -> None:
    book.state.counters.drop(VETO_CHECK_DUE)
    row = veto_check(book.membership(), book.now, book.shares())
    if not book.is_first_law:
        amended = tuple((rule, *share) for rule, share in sorted(book.shares().items()))
        row = replace(row, shares=amended)
    book.emit(row)


def _found_party(book: Book, name: str, row: Party) -> None:
    if not is_name(name) or row.role not in ROLES.values():
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
    put_key(book, owner, public_key, purpose)


def put_key(book: Book, owner: str, public_key: bytes, purpose: str) -> None:
    kid = kid_of(public_key).hex()
    book.state.keys.put(f"{owner}/{kid}", Key(public_key, purpose))
    book.state.key_owners.put(kid, KeyOwner(owner))


def key_in_force(book: Book, author: str, kid: bytes) -> Key | None:
    """The author's key with this id, unless it is rotated or no signing key of entries."""
    row = book.state.keys.get(f"{author}/{kid.hex()}")
    return row if row is not None and row.purpose in {AUTHOR, VOTE} else None


def rotate(book: Book, party: str, public_key: bytes, purpose: str) -> None:
    for name, row in list(_keys_of(book, party)):
        if row.purpose == purpose:
            book.state.keys.put(name, row._replace(purpose=ROTATED))
    put_key(book, party, public_key, purpose)


def _keys_of(book: Book, party: str) -> list[tuple[str, Key]]:
    prefix = f"{party}/"
    return [(name, row) for name, row in book.state.keys.items() if name.startswith(prefix)]


def withdrawal_s(book: Book) -> int:
    """Seconds from the notice of a withdrawal until it takes effect; the treaty fixes them, only a drill has less."""
    return book.founding_policy.value("withdrawal_s", book.genesis.time_s)


def leaves_at(book: Book, state: str) -> int | None:
    """The second at which a withdrawing state will have left; None for every other."""
    suspended = book.state.suspensions.get(state)
    member = book.state.members.get(state)
    row = Member(suspended.status, suspended.since) if suspended else member
    if row is None or row.status != "WITHDRAWING":
        return None
    return row.since + withdrawal_s(book)


def leave(book: Book, state: str) -> None:
    """A year after its notice a withdrawing state has left."""
    suspended = book.state.suspensions.get(state)
    member = Member(suspended.status, suspended.since) if suspended else book.state.members[state]
    if member.status == "WITHDRAWING" and book.now >= member.since + withdrawal_s(book):
        if suspended:
            book.state.suspensions.drop(state)
        book.state.members.put(state, Member("LEFT", book.now))
        membership_changed(book)

"""Which states validate, and when that changes (SPEC 14; RULINGS R3, R44). From law 2 on: under law 1 it is the founders.

A member validates once the register holds its node's keys, its *seat*: the founders' are in the genesis, later ones and every
rotation come by `identity`. What the register wants takes effect at an epoch end alone:

    identity, instrument, a departure      the committee that the register wants differs from the one in force
    epoch_min_s after the epoch began      the clock closes the epoch: what is wanted then is fixed, later changes wait
    the engine's last commit               `end_epoch`: the fixed committee is in force from the next commit on

No vote is in any of this, so nobody can keep a state out (MODEL 7). Two bounds keep a change from stopping the ledger:

- Of n members at most max(1, f(n)) take a seat that did not validate before, in the order in which they were declared; the rest
  wait for the next epoch. So the others are a quorum, and seats whose nodes never run stop nobody.
- Outside of drills no departure leaves fewer than four (RULINGS R4): who leaves last stays until somebody joins.
"""

import hashlib
from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.book import RANK_LAPSE, Book, Refused
from node.treaty.codes import Code
from node.treaty.register import NODE, kid_of, put_key
from node.treaty.rows.clock import Counter
from node.treaty.rows.parties import Closing, Epoch, Seat, SecondKey

MEMBERS_MIN: Final = 4
DUE: Final = "epoch_due"  # counter: the clock looks at the committee at this second
CLOSING: Final = "closing"
LOG_KEY_AT: Final = 1  # among a founder's node keys: block, log, cosigner
NOTE_ED25519: Final = b"\x01"  # note key type (FORMATS 4)

Committee = dict[str, int]
"""State -> number of its seat; 0 is the one that it founded the ledger with."""


# --- seats ---------------------------------------------------------------------------------------


def seat_name(state: str, number: int) -> str:
    """The key of a row of `state.seats`."""
    return f"{state}/{number}"


def newest_seat(book: Book, state: str) -> int | None:
    """The number of the last seat that a state declared, or None."""
    row = book.state.seat_counts.get(state)
    if row is not None:
        return row.value
    return 0 if any(member.state == state for member in book.genesis.members) else None


def declared_seats(book: Book) -> Committee:
    """The newest seat of each bound state that has declared one, by state."""
    found: Committee = {}
    for state, row in sorted(book.state.members.items()):
        number = newest_seat(book, state)
        if row.status != "LEFT" and number is not None:
            found[state] = number
    return found


def check_seat(book: Book, state: str, node: pb.Validator) -> None:
    """Raises Refused REPEATED unless every key is the state's own from before or new to the ledger (RULINGS R16, R46)."""
    keys = _keys_in(node)
    held = _keys_of_newest(book, state)
    for role, key in enumerate(keys):
        if not key or (held is not None and held[role] == key):
            continue
        if kid_of(key).hex() in book.state.key_owners or keys.count(key) > 1:
            raise Refused(Code.REPEATED, "a node key whose id is already registered")
    if held is not None and held == keys and not _moves(book, state, node):
        raise Refused(Code.REPEATED, f"{state} has this seat already")
    taken = _note_id(book, node.log_key)
    for other, log_key in _log_keys(book):
        if _note_id(book, log_key) == taken and (other, log_key) != (state, node.log_key):
            raise Refused(Code.REPEATED, f"a log key with the note key ID of one of {other}")


def _keys_in(node: pb.Validator) -> tuple[bytes, bytes, bytes, bytes]:
    """Block, log, cosigner, and the second cosigner's, which may be empty."""
    return node.block_key, node.log_key, node.cosigner_key, node.cosigner_pq_key


def _keys_of_newest(book: Book, state: str) -> tuple[bytes, bytes, bytes, bytes] | None:
    """As `_keys_in`."""
    number = newest_seat(book, state)
    if not number:
        for member in book.genesis.members:
            if member.state == state and len(member.node_keys) == 3:
                block, log, cosigner = member.node_keys
                return block, log, cosigner, member.second_key
        return None
    row = book.state.seats[seat_name(state, number)]
    second = book.state.second_keys.get(seat_name(state, number))
    key = b"" if second is None else second.public_key
    return row.block_key, row.log_key, row.cosigner_key, key


def _moves(book: Book, state: str, node: pb.Validator) -> bool:
    """Whether certificate or addresses differ from the newest seat's; of a founder's the law knows none."""
    number = newest_seat(book, state)
    if not number:
        return True
    row = book.state.seats[seat_name(state, number)]
    return (row.certificate_pem, row.peer, row.client, row.http) != (
        node.certificate_pem,
        node.peer_endpoint,
        node.client_endpoint,
        node.http_endpoint,
    )


def _log_keys(book: Book) -> list[tuple[str, bytes]]:
    founders = [
        (member.state, member.node_keys[LOG_KEY_AT])
        for member in book.genesis.members
        if len(member.node_keys) > LOG_KEY_AT
    ]
    later = [(name.partition("/")[0], row.log_key) for name, row in book.state.seats.items()]
    return founders + later


def _note_id(book: Book, log_key: bytes) -> bytes:
    """Log keys share one name, the origin: only the key ID tells them apart (FORMATS 1.2, 4; RULINGS R16)."""
    name = book.genesis.origin.encode()
    return hashlib.sha256(name + b"\n" + NOTE_ED25519 + log_key).digest()[:4]


def take_seat(book: Book, state: str, node: pb.Validator, leaf: int) -> None:
    """Enter a checked seat; it validates from some later epoch on."""
    row = book.state.seat_counts.get(state)
    number = row.value + 1 if row is not None else 1
    for key in _keys_in(node):
        if key and kid_of(key).hex() not in book.state.key_owners:
            put_key(book, state, key, NODE)
    if node.cosigner_pq_key:
        book.state.second_keys.put(seat_name(state, number), SecondKey(node.cosigner_pq_key))
    book.state.seat_counts.put(state, Counter(number))
    book.state.seats.put(
        seat_name(state, number),
        Seat(
            leaf=leaf,
            block_key=node.block_key,
            log_key=node.log_key,
            cosigner_key=node.cosigner_key,
            certificate_pem=node.certificate_pem,
            peer=node.peer_endpoint,
            client=node.client_endpoint,
            http=node.http_endpoint,
        ),
    )
    consider(book)


# --- committees ----------------------------------------------------------------------------------


def number_of(book: Book) -> int:
    """The number of the epoch in force, from 0."""
    return len(book.state.epochs)


def committee(book: Book) -> Committee:
    """Who validates now, in validator order: at first the founders as the genesis lists them, later by state."""
    row = book.state.epochs.get(epoch_name(number_of(book)))
    if row is None:
        return {member.state: 0 for member in book.genesis.members}
    return dict(row.seats)


def epoch_name(number: int) -> str:
    """The key of a row of `state.epochs`; the founding epoch has none."""
    return f"{number:010d}"


def wanted(book: Book) -> Committee:
    """The committee that the register wants next, within the bounds of the module's text; by state."""
    now = committee(book)
    bound = {state for state, row in book.state.members.items() if row.status != "LEFT"}
    chosen = {state: seat for state, seat in now.items() if state in bound}
    for fresh, (state, seat) in enumerate(_declared(book, bound, now), start=1):
        size = len(chosen) + (state not in chosen)
        if fresh > max(1, (size - 1) // 3):
            break
        chosen[state] = seat
    least = 1 if book.genesis.drill else MEMBERS_MIN
    for state in sorted(now):
        if len(chosen) >= least:
            break
        chosen.setdefault(state, now[state])
    return dict(sorted(chosen.items()))


def _declared(book: Book, bound: set[str], now: Committee) -> list[tuple[str, int]]:
    """Seats of bound states that do not validate yet, the newest of each, in the order of the log."""
    found: list[tuple[int, str, int]] = []
    for state in bound:
        number = newest_seat(book, state)
        if number is None or now.get(state) == number:
            continue
        leaf = book.state.seats[seat_name(state, number)].leaf if number else 0
        found.append((leaf, state, number))
    return [(state, number) for _, state, number in sorted(found)]


def is_closing(book: Book) -> bool:
    """Whether the next committee is fixed and the engine must end this epoch."""
    return CLOSING in book.state.closing


def consider(book: Book) -> None:
    """Something changed in the register: have the clock close the epoch, if that is needed, when it may."""
    if book.is_first_law or is_closing(book) or DUE in book.state.counters:
        return
    if wanted(book) == dict(sorted(committee(book).items())):
        return
    # Not in this second: what was due up to the last commit's time is done before a restart, never after it.
    due = max(book.now + 1, _began(book) + epoch_min_s(book))
    book.state.counters.put(DUE, Counter(due))
    schedule(book)


def schedule(book: Book) -> None:
    """Have the clock look when it is time; after a restart as well."""
    row = book.state.counters.get(DUE)
    if row is not None:
        book.schedule(row.value, RANK_LAPSE, "epoch", "")


def close(book: Book) -> None:
    """The clock's look: fix the next committee, unless what was wanted is in force by now."""
    row = book.state.counters.get(DUE)
    if row is None or book.now < row.value:
        return
    book.state.counters.drop(DUE)
    following = wanted(book)
    if following != dict(sorted(committee(book).items())):
        book.state.closing.put(CLOSING, Closing(book.now, tuple(following.items())))


def end_epoch(book: Book) -> None:
    """The engine ended the epoch by this commit. Only while it is closing."""
    row = book.state.closing[CLOSING]
    book.state.closing.drop(CLOSING)
    book.state.epochs.put(epoch_name(number_of(book) + 1), Epoch(book.now, row.seats))
    consider(book)


def _began(book: Book) -> int:
    row = book.state.epochs.get(epoch_name(number_of(book)))
    return book.genesis.time_s if row is None else row.began


def epoch_min_s(book: Book) -> int:
    """Seconds between two changes (RULINGS R44): 3,600, in a drill 10 unless its genesis says otherwise."""
    if book.genesis.drill and "epoch_min_s" not in book.genesis.policy:
        return 10
    return book.founding_policy.value("epoch_min_s", book.genesis.time_s)

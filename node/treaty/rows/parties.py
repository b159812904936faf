"""Who is who: chains, parties, keys, members, their nodes' seats and epochs, offices, interests."""

from typing import NamedTuple

from node.treaty.codec import Value


class Chain(NamedTuple):
    """The end of an author's own hash chain."""

    seq: int
    entry_hash: bytes


class Party(NamedTuple):
    """Key: party id. A state is a party whose role is "state"."""

    role: str
    state: str
    owners: tuple[str, ...]


class Key(NamedTuple):
    """Key: author/kid in hex. A rotated key keeps its row, so that it never returns."""

    public_key: bytes
    purpose: str  # author, vote; "rotated" once replaced


class KeyOwner(NamedTuple):
    """Key: kid in hex, over all parties (RULINGS R16, R46: one key, one role, one owner)."""

    owner: str


class Member(NamedTuple):
    """Key: state."""

    status: str  # MEMBER, SUSPENDED, WITHDRAWING, LEFT
    since: int


class Seat(NamedTuple):
    """Key: state/number, from 1; a founder's seat 0 is in the genesis. The node of a member as it was declared (SPEC 14)."""

    leaf: int  # of the `identity` that declared it
    block_key: bytes
    log_key: bytes
    cosigner_key: bytes
    certificate_pem: bytes
    peer: str  # host:port, as the next two
    client: str
    http: str


class SecondKey(NamedTuple):
    """Key: state/number, as of its seat. Only where the node has an ML-DSA-44 cosigner."""

    public_key: bytes


class Epoch(NamedTuple):
    """Key: number in ten digits, from 1. Who validates in it, by state."""

    began: int
    seats: tuple[tuple[str, int], ...]  # (state, number of its seat)


class Closing(NamedTuple):
    """Key: "closing". This epoch is to end; who validates in the next."""

    since: int
    seats: tuple[tuple[str, int], ...]


class Sealing(NamedTuple):
    """Key: party. Its X25519 key for what is sealed to it, and the keys before."""

    public_key: bytes
    at: int


class Source(NamedTuple):
    """Key: party of role source. What trade it reports on (names of `trade` types, sorted)."""

    trades: tuple[str, ...]


class Appointment(NamedTuple):
    """Key: what/name, e.g. inspector/insp-fr."""

    motion: str  # empty: by genesis


class Conflict(NamedTuple):
    """Key: party/other party. The first declares an interest in the second: it does not judge or watch its work."""

    entry: bytes


class Suspension(NamedTuple):
    """Key: state. What it returns to when its suspension ends."""

    motion: str
    until: int
    status: str
    since: int


class Offer(NamedTuple):
    """Key: author/content hash in hex. When the author offered it for countersignature."""

    at: int


class Owned(NamedTuple):
    """Key: party. Direct owners that it had, and the second until which: they count for a while yet (M39)."""

    past: tuple[tuple[str, int], ...]


class Place(NamedTuple):
    """Key: party, or facility id. Where it sits, below its state: as US/CA (M04)."""

    path: str


class Suspect(NamedTuple):
    """Key: party. Its old key may have been another's from `since` until it was replaced: what it signed then bears a flag."""

    spans: tuple[tuple[int, int], ...]  # (since, replaced at)


class PriorLog(NamedTuple):
    """Key: state, '/', origin. A log that the state kept before it was bound (M03): its root and size, as it declared them."""

    entry: bytes
    root: bytes
    size: int


class Naming(NamedTuple):
    """Key: party. Who is named with it and has not answered, or has said no: each a `consent.Claim` (record 0240)."""

    claims: tuple[tuple[Value, ...], ...]

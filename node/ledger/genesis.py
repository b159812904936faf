"""The founding document (RULINGS R10): who founds a ledger, under which law, with which keys.

A document is deterministic CBOR. The members sign it with their block keys; it is valid only if all of them did:

    {"version": 1, "origin": text, "time_ms": u64, "drill": bool, "publication": "members"|"open",
     "protocol": {name: int}, "policy": {param: int | [[t_from, value], ...] | {generator}}, "law_version": int,
     "world": {"capacity_mh": {code: int}, "fab": {code: int}}                      only if the founders say it
     "states": [code, ...], "members": [{...}, ...], "parties": [{...}, ...],    "cosigner_pq_key" only of who has one
     "signatures": {member code: 64 bytes}}         each over H("sign/genesis/1", the map without "signatures")

Its SHA-256 is chain id, ledger id and genesis hash in one (R9). Leaf 0 of the log is a small record that names it.

How one comes about: each state writes a *declaration* (its own part, signed by its own block key); somebody gathers them
into an unsigned genesis; each state reads that and signs it; the document with all signatures is what nodes start from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256
from typing import Any, Final

from node.ledger.errors import MalformedGenesis
from node.log import cbor
from node.log.checkpoint import is_origin
from node.log.errors import MalformedCbor
from node.log.note import KeyType, key_id
from node.signing.errors import BadCertificate, WeakKey
from node.signing.keys import MLDSA_PUBLIC_KEY_BYTES, check_public_key
from node.signing.transport import CERTIFICATE_PEM_BYTES_MAX, check_certificate
from node.signing.verify import verify_ed25519
from node.treaty.bodies import is_name
from node.treaty.policy import InvalidPolicy, parse_policy

GENESIS_VERSION: Final = 1
DECLARATION_VERSION: Final = 1
GENESIS_BYTES_MAX: Final = 4 * 1024 * 1024  # 195 members with certificates take 0.4 MB
DECLARATION_BYTES_MAX: Final = 16 * 1024
TEXT_BYTES_MAX: Final = 255
MEMBERS_MAX: Final = 1024
PARTIES_MAX: Final = 4096
NUMBER_MAX: Final = 2**53 - 1
INCLUSION_S_DEFAULT: Final = 600  # MODEL 7

PUBLICATIONS: Final = ("members", "open")
ROLES: Final = ("operator", "inspector", "evaluator", "source", "device", "secretariat")
WORLD_FIELDS: Final = ("capacity_mh", "fab")
LAW_WITH_WORLD: Final = 2
PQ_FIELD: Final = "cosigner_pq_key"
KEY_FIELDS: Final = ("block_key", "log_key", "cosigner_key", "author_key", "vote_key")

PolicyValue = int | Sequence[Sequence[int]] | Mapping[str, int | Sequence[int]]
"""A number, a schedule [[t_from, value], ...], or a generator, as LAW section 5 spells them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisMember:
    """One founding state: its validator's keys and where it is found. Keys are 32-byte Ed25519 public keys (R46), but one."""

    state: str  # ISO code, the member's party id
    block_key: bytes
    log_key: bytes
    cosigner_key: bytes
    author_key: bytes
    vote_key: bytes
    certificate_pem: bytes  # whole transport certificate, compared byte for byte (R47)
    peer_endpoint: str  # host:port
    client_endpoint: str
    http_endpoint: str
    cosigner_pq_key: bytes = b""  # ML-DSA-44, 1,312 bytes: signs second lines; empty: none


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisParty:
    """A party known from the start. Inspectors and evaluators listed here are appointed (R66)."""

    id: str
    role: str  # one of ROLES
    state: str  # controlling state; empty for the secretariat
    owners: tuple[str, ...] = ()  # direct owners' party ids
    author_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """A founding document. `members` is the committee, in validator order."""

    version: int = GENESIS_VERSION
    origin: str
    time_ms: int
    drill: bool
    publication: str
    protocol: Mapping[str, int]
    policy: Mapping[str, PolicyValue]
    law_version: int
    states: tuple[str, ...]  # codes that may be members, founding ones included
    members: tuple[GenesisMember, ...]
    parties: tuple[GenesisParty, ...] = ()
    # "capacity_mh" and "fab" by state, for the slow door of entry into force (MODEL 7); empty: not said, and not in the document
    world: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    signatures: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def inclusion_s(self) -> int:
        """Seconds within which an acknowledged entry is in the log (R58); at least one."""
        return max(1, self.protocol.get("inclusion_s", INCLUSION_S_DEFAULT))

    def member_index(self, state: str) -> int:
        """Validator index of a founding member. Raises KeyError."""
        for index, member in enumerate(self.members):
            if member.state == state:
                return index
        raise KeyError(state)


# --- writing -----------------------------------------------------------------------------------------------------


def encode_genesis(genesis: Genesis) -> bytes:
    """The document's bytes. `chain_id` is their SHA-256."""
    return cbor.encode({**_unsigned(genesis), "signatures": dict(genesis.signatures)})


def chain_id(document: bytes) -> bytes:
    """Chain id, ledger id and genesis hash in one (R9)."""
    return sha256(document).digest()


def signed_bytes(genesis: Genesis) -> bytes:
    """What every member signs with its block key: 32 bytes, H("sign/genesis/1", map without signatures)."""
    return _labelled("sign/genesis/1", cbor.encode(_unsigned(genesis)))


def with_signature(genesis: Genesis, state: str, signature: bytes) -> Genesis:
    """The same document with one more signature."""
    return replace(genesis, signatures={**genesis.signatures, state: signature})


def declaration_signed_bytes(member: GenesisMember) -> bytes:
    """What a state signs with its block key over its own part: H("sign/declaration/1", map without signature)."""
    return _labelled("sign/declaration/1", cbor.encode(_declaration(member)))


def encode_declaration(member: GenesisMember, signature: bytes) -> bytes:
    """A state's part, for whoever gathers the genesis."""
    return cbor.encode({**_declaration(member), "signature": signature})


def _labelled(label: str, message: bytes) -> bytes:
    """H of R7: SHA-256(u8 length of the label || label || message)."""
    name = label.encode()
    return sha256(bytes((len(name),)) + name + message).digest()


def _unsigned(genesis: Genesis) -> dict[str, Any]:
    return {
        "version": genesis.version,
        "origin": genesis.origin,
        "time_ms": genesis.time_ms,
        "drill": genesis.drill,
        "publication": genesis.publication,
        "protocol": dict(genesis.protocol),
        "policy": {name: _plain(value) for name, value in genesis.policy.items()},
        "law_version": genesis.law_version,
        "states": list(genesis.states),
        "members": [_fields(member) for member in genesis.members],
        "parties": [{**_fields(party), "owners": list(party.owners)} for party in genesis.parties],
        **(
            {"world": {name: dict(of) for name, of in genesis.world.items()}}
            if genesis.world
            else {}
        ),
    }


def _declaration(member: GenesisMember) -> dict[str, Any]:
    return {"declaration": DECLARATION_VERSION, **_fields(member)}


def _fields(value: GenesisMember | GenesisParty) -> dict[str, Any]:
    named = {item.name: getattr(value, item.name) for item in fields(value)}
    if not named.get(PQ_FIELD, True):
        del named[PQ_FIELD]  # documents of before, and of who has none, have no such field
    return named


def _plain(value: PolicyValue) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain_part(part) for name, part in value.items()}
    return value if isinstance(value, int) else [list(pair) for pair in value]


def _plain_part(part: int | Sequence[int]) -> int | list[int]:
    return part if isinstance(part, int) else list(part)


# --- reading -----------------------------------------------------------------------------------------------------


def parse_genesis(document: bytes) -> Genesis:
    """The genesis that these bytes are, signed by every member it lists.

    Raises:
        MalformedGenesis: not the deterministic encoding of a genesis, a value out of its range, a key used twice, or a
            member whose signature is missing or bad; the message names member and field.
    """
    genesis = parse_unsigned_genesis(document)
    message = signed_bytes(genesis)
    for member in genesis.members:
        signature = genesis.signatures.get(member.state)
        if signature is None:
            raise MalformedGenesis(f"member {member.state}: has not signed the genesis")
        if not verify_ed25519(member.block_key, message, signature):
            raise MalformedGenesis(
                f"member {member.state}: its signature is not by its block key over this genesis"
            )
    extra = sorted(set(genesis.signatures) - {member.state for member in genesis.members})
    if extra:
        raise MalformedGenesis(f"signatures: {extra[0]} is not a member")
    return genesis


def parse_unsigned_genesis(document: bytes) -> Genesis:
    """As `parse_genesis`, before all have signed: form and values are checked, signatures are not."""
    reader = _Reader.open(document, GENESIS_BYTES_MAX, "genesis")
    version = reader.number("version", 1, GENESIS_VERSION)
    origin = reader.text("origin")
    if not is_origin(origin):
        raise MalformedGenesis(
            f"origin={origin!r}: want a name without space, '+', scheme or final slash"
        )
    states = tuple(reader.texts("states", MEMBERS_MAX))
    members = tuple(_member(item) for item in reader.maps("members", MEMBERS_MAX))
    parties = tuple(_party(item) for item in reader.maps("parties", PARTIES_MAX))
    genesis = Genesis(
        version=version,
        origin=origin,
        time_ms=reader.number("time_ms", 0, NUMBER_MAX),
        drill=reader.flag("drill"),
        publication=reader.choice("publication", PUBLICATIONS),
        protocol=reader.numbers("protocol"),
        policy=reader.policy("policy"),
        law_version=reader.number("law_version", 1, NUMBER_MAX),
        states=states,
        members=members,
        parties=parties,
        world=_world(reader),
        signatures=reader.signatures("signatures"),
    )
    reader.done()
    _check_names(genesis)
    _check_keys(genesis)
    _check_world(genesis)
    _check_owners(genesis)
    try:
        parse_policy(genesis.policy, drill=genesis.drill, law=genesis.law_version)
    except InvalidPolicy as err:
        raise MalformedGenesis(str(err)) from err
    return genesis


def parse_declaration(data: bytes) -> GenesisMember:
    """One state's signed part. Raises MalformedGenesis naming member and field."""
    reader = _Reader.open(data, DECLARATION_BYTES_MAX, "declaration")
    reader.number("declaration", 1, DECLARATION_VERSION)
    signature = reader.exact_bytes("signature", 64)
    member = _member(reader)
    if not verify_ed25519(member.block_key, declaration_signed_bytes(member), signature):
        raise MalformedGenesis(f"declaration of {member.state}: not signed by its own block key")
    return member


def _member(reader: "_Reader") -> GenesisMember:
    state = reader.text("state")
    reader.name = f"member {state}"
    keys = {name: reader.exact_bytes(name, 32) for name in KEY_FIELDS}
    member = GenesisMember(
        state=state,
        certificate_pem=reader.some_bytes("certificate_pem", CERTIFICATE_PEM_BYTES_MAX),
        peer_endpoint=reader.endpoint("peer_endpoint"),
        client_endpoint=reader.endpoint("client_endpoint"),
        http_endpoint=reader.endpoint("http_endpoint"),
        cosigner_pq_key=reader.exact_bytes(PQ_FIELD, MLDSA_PUBLIC_KEY_BYTES)
        if reader.has(PQ_FIELD)
        else b"",
        **keys,
    )
    reader.done()
    return member


def _party(reader: "_Reader") -> GenesisParty:
    party_id = reader.text("id")
    reader.name = f"party {party_id}"
    party = GenesisParty(
        id=party_id,
        role=reader.choice("role", ROLES),
        state=reader.text("state", empty=True),
        owners=tuple(reader.texts("owners", 64)),
        author_key=reader.exact_bytes("author_key", 32),
    )
    reader.done()
    return party


def _check_names(genesis: Genesis) -> None:
    if not genesis.members:
        raise MalformedGenesis("members: a ledger has at least one")
    ids = [member.state for member in genesis.members] + [party.id for party in genesis.parties]
    for position, name in enumerate(ids):
        if name in ids[:position]:
            raise MalformedGenesis(f"party id {name!r}: listed twice")
        if not is_name(name):
            raise MalformedGenesis(
                f"party id {name!r}: want letters, digits, '.', '_', '-', at most 64"
            )
    if list(genesis.states) != sorted(set(genesis.states)):
        raise MalformedGenesis("states: want ascending codes, each once")
    for member in genesis.members:
        if member.state not in genesis.states:
            raise MalformedGenesis(f"member {member.state}: not in states")
    for party in genesis.parties:
        if party.role == "secretariat" and not party.state:
            continue
        if party.state not in genesis.states:
            raise MalformedGenesis(f"party {party.id}: state={party.state!r} is not in states")
        for owner in party.owners:
            if owner not in ids:
                raise MalformedGenesis(f"party {party.id}: owner {owner!r} is not a party")


def _world(reader: "_Reader") -> dict[str, dict[str, int]]:
    """What the founders hold to be the world's capacity, if the document says it."""
    if not reader.has("world"):
        return {}
    world = _Reader("world", reader.take("world"))
    found = {name: world.numbers(name) for name in WORLD_FIELDS if world.has(name)}
    world.done()
    if not any(found.values()):
        raise MalformedGenesis("world: leave it out where nothing is said")
    return found


def _check_world(genesis: Genesis) -> None:
    if genesis.world and genesis.law_version < LAW_WITH_WORLD:
        raise MalformedGenesis(f"world: from law {LAW_WITH_WORLD} on")


def _check_owners(genesis: Genesis) -> None:
    """From law 2 on nobody owns itself, directly or not (MODEL 3, kind 1)."""
    if genesis.law_version < LAW_WITH_WORLD:
        return
    try:
        tuple(
            TopologicalSorter({party.id: party.owners for party in genesis.parties}).static_order()
        )
    except CycleError as err:
        raise MalformedGenesis(f"parties: they own themselves: {' -> '.join(err.args[1])}") from err


def _check_keys(genesis: Genesis) -> None:
    """No weak key, no key in two roles (R46), no two keys with one kid or note key ID (R16)."""
    held: dict[bytes, str] = {}
    for label, key in _all_keys(genesis):
        try:
            if not label.endswith(
                PQ_FIELD
            ):  # of which the length was looked at, and more is not to be seen
                check_public_key(key, label)
        except WeakKey as err:
            raise MalformedGenesis(str(err)) from err
        for identity in (b"key" + key, b"kid" + sha256(key).digest()[:8]):
            if identity in held:
                raise MalformedGenesis(f"{label}: same key or key id as {held[identity]}")
            held[identity] = label
    note_ids: dict[bytes, str] = {}
    for member in genesis.members:
        # All log keys share one name, the origin; so only the key ID tells them apart (FORMATS 1.2).
        identity = key_id(genesis.origin, KeyType.ED25519, member.log_key)
        if identity in note_ids:
            raise MalformedGenesis(
                f"member {member.state}: log key has the note key ID of {note_ids[identity]}"
            )
        note_ids[identity] = member.state
    for member in genesis.members:
        try:
            # The certificate carries its state's name, so no two members can have the same.
            check_certificate(member.certificate_pem, member.state)
        except BadCertificate as err:
            raise MalformedGenesis(f"member {member.state}: {err}") from err


def _all_keys(genesis: Genesis) -> list[tuple[str, bytes]]:
    found = [
        (f"member {member.state}: {name}", getattr(member, name))
        for member in genesis.members
        for name in KEY_FIELDS
    ]
    found += [
        (f"member {member.state}: {PQ_FIELD}", member.cosigner_pq_key)
        for member in genesis.members
        if member.cosigner_pq_key
    ]
    found += [(f"party {party.id}: author_key", party.author_key) for party in genesis.parties]
    return found


class _Reader:
    """One map of a document: each field is taken once, with its type and range, and none may be left over."""

    def __init__(self, name: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise MalformedGenesis(f"{name}: want a map")
        self.name = name
        self._left: dict[Any, Any] = dict(value)

    @classmethod
    def open(cls, data: bytes, bytes_max: int, name: str) -> "_Reader":
        if len(data) > bytes_max:
            raise MalformedGenesis(f"{name}: {len(data)} bytes, at most {bytes_max}")
        try:
            return cls(name, cbor.decode_record(data))
        except MalformedCbor as err:
            raise MalformedGenesis(f"{name}: {err}") from err

    def take(self, field_name: str) -> Any:
        if field_name not in self._left:
            raise MalformedGenesis(f"{self.name}: {field_name} is missing")
        return self._left.pop(field_name)

    def has(self, field_name: str) -> bool:
        return field_name in self._left

    def done(self) -> None:
        if self._left:
            raise MalformedGenesis(f"{self.name}: unknown field {min(self._left, key=str)!r}")

    def fail(self, field_name: str, value: object, want: str) -> MalformedGenesis:
        return MalformedGenesis(f"{self.name}: {field_name}={value!r:.80}: want {want}")

    def number(self, field_name: str, low: int, high: int) -> int:
        value = self.take(field_name)
        if not _is_number(value) or not low <= value <= high:
            raise self.fail(field_name, value, f"an integer in {low}..{high}")
        return int(value)

    def flag(self, field_name: str) -> bool:
        value = self.take(field_name)
        if not isinstance(value, bool):
            raise self.fail(field_name, value, "true or false")
        return value

    def text(self, field_name: str, *, empty: bool = False) -> str:
        return self._text(field_name, self.take(field_name), empty=empty)

    def _text(self, field_name: str, value: Any, *, empty: bool = False) -> str:
        if (
            not isinstance(value, str)
            or not value.isprintable()
            or len(value.encode()) > TEXT_BYTES_MAX
        ):
            raise self.fail(field_name, value, f"printable text of at most {TEXT_BYTES_MAX} bytes")
        if not value and not empty:
            raise self.fail(field_name, value, "a text that is not empty")
        return value

    def choice(self, field_name: str, allowed: Sequence[str]) -> str:
        value = self.text(field_name)
        if value not in allowed:
            raise self.fail(field_name, value, "one of " + ", ".join(allowed))
        return value

    def endpoint(self, field_name: str) -> str:
        value = self.text(field_name)
        host, colon, port = value.rpartition(":")
        if (
            not colon
            or not host
            or not port.isascii()
            or not port.isdigit()
            or not 0 < int(port[:6]) < 65536
        ):
            raise self.fail(field_name, value, "host:port")
        return value

    def some_bytes(self, field_name: str, bytes_max: int) -> bytes:
        value = self.take(field_name)
        if not isinstance(value, bytes) or not 0 < len(value) <= bytes_max:
            raise self.fail(field_name, value, f"1 to {bytes_max} bytes")
        return value

    def exact_bytes(self, field_name: str, length: int) -> bytes:
        value = self.take(field_name)
        if not isinstance(value, bytes) or len(value) != length:
            raise self.fail(field_name, value, f"{length} bytes")
        return value

    def items(self, field_name: str, count_max: int) -> list[Any]:
        value = self.take(field_name)
        if not isinstance(value, list) or len(value) > count_max:
            raise self.fail(field_name, value, f"a list of at most {count_max}")
        return value

    def texts(self, field_name: str, count_max: int) -> list[str]:
        return [self._text(field_name, value) for value in self.items(field_name, count_max)]

    def maps(self, field_name: str, count_max: int) -> "list[_Reader]":
        return [
            _Reader(f"{field_name}[{position}]", value)
            for position, value in enumerate(self.items(field_name, count_max))
        ]

    def numbers(self, field_name: str) -> dict[str, int]:
        value = self.take(field_name)
        if not _is_text_map(value) or not all(_is_number(number) for number in value.values()):
            raise self.fail(field_name, value, "a map of names to integers")
        return dict(value)

    def policy(self, field_name: str) -> dict[str, PolicyValue]:
        value = self.take(field_name)
        if not _is_text_map(value):
            raise self.fail(field_name, value, "a map of parameters")
        for name, item in value.items():
            if not _is_policy_value(item):
                raise self.fail(f"{field_name}.{name}", item, "a number, a schedule or a generator")
        return dict(value)

    def signatures(self, field_name: str) -> dict[str, bytes]:
        value = self.take(field_name)
        if not _is_text_map(value) or not all(
            isinstance(item, bytes) and len(item) == 64 for item in value.values()
        ):
            raise self.fail(field_name, value, "a map of member codes to 64 bytes")
        return dict(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= NUMBER_MAX


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_number(item) for item in value)


def _is_policy_value(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) > 0 and all(_is_numbers(item) for item in value)
    if isinstance(value, dict):
        # A generator; its step may be negative. Which fields it has is for the law to say.
        return _is_text_map(value) and all(
            type(part) is int or _is_numbers(part) for part in value.values()
        )
    return _is_number(value)

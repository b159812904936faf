"""Founding a ledger: homes, declarations, genesis. What `foedus init` and `foedus genesis` do, as functions.

US: made = make_home(Path("us"), state="US", endpoints=Endpoints(peer=.., client=.., http=..), passphrase=b"..")
    -> us/foedus.toml, us/keys/node.key, us/keys/agency.key, us/US.declaration
somebody: proposal = propose([declaration, ...], Terms(origin="ledger.treaty.example/main", ...))
each:     signed = sign_proposal(proposal, node_keys)
somebody: document = combine([signed, ...])            # every member's signature, or an error that names who is missing
each:     install_genesis(home, document)
"""

import json
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from node.cli.errors import CouldNot
from node.cli.outbox import write_durably
from node.ledger.errors import MalformedGenesis
from node.ledger.genesis import (
    DECLARATION_BYTES_MAX,
    GENESIS_BYTES_MAX,
    WORLD_FIELDS,
    Genesis,
    GenesisMember,
    GenesisParty,
    PolicyValue,
    chain_id,
    declaration_signed_bytes,
    encode_declaration,
    encode_genesis,
    parse_declaration,
    parse_genesis,
    parse_unsigned_genesis,
    signed_bytes,
    with_signature,
)
from node.ledger.trust import trust_policy
from node.log.errors import shown
from node.settings import (
    FILE_NAME,
    ListenSettings,
    LogSettings,
    NodeSettings,
    PaceSettings,
    Settings,
    documented_toml,
    host_and_port,
)
from node.signing.keys import AgencyKeys, NodeKeys, generate_agency_keys, generate_node_keys
from node.signing.keystore import KdfCost, write_agency_keys, write_node_keys
from node.signing.verify import verify_ed25519
from node.treaty.bodies import is_name
from node.treaty.derived import VetoCheck
from node.treaty.genesis import LAW_VERSION
from node.treaty.veto import veto_check

GENESIS_FILE: Final = "genesis.cbor"
AGENCY_KEYS: Final = "keys/agency.key"
OUTBOX: Final = "outbox"
POLICY_BYTES_MAX: Final = 1 << 20
VETO_WARNING: Final = "provisional: veto possible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where others find this member's node: host:port each. They go into the genesis."""

    peer: str
    client: str
    http: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A home folder just made, and the keys that are in its files."""

    folder: Path
    state: str
    node_keys: NodeKeys
    agency_keys: AgencyKeys
    declaration: bytes
    declaration_path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a genesis says beside its members. `time_ms` None: now."""

    origin: str
    drill: bool = False
    publication: str = "members"
    time_ms: int | None = None
    policy: Mapping[str, PolicyValue] = field(default_factory=dict)
    protocol: Mapping[str, int] = field(default_factory=dict)
    states: tuple[str, ...] = ()  # states that may accede later; the members are always among them
    parties: tuple[GenesisParty, ...] = ()
    world: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # see Genesis


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """A genesis that all its members signed, as read from its bytes."""

    genesis: Genesis
    document: bytes
    chain_id: bytes

    @property
    def trust_policy(self) -> bytes:
        return trust_policy(self.genesis)


# --- homes -------------------------------------------------------------------------------------------------------


def make_home(
    folder: Path,
    *,
    state: str,
    endpoints: Endpoints,
    passphrase: bytes,
    agency_passphrase: bytes | None = None,
    passphrase_file: Path | None = None,
    listen: ListenSettings | None = None,
    pace: str = "wan",
    log_format: str = "human",
    cost: KdfCost | None = None,
    with_mldsa: bool = False,
) -> Home:
    """A new home folder: settings with every default explained, node and agency keys, founding declaration.

    `passphrase_file` is noted in the settings, for starts without a terminal. `listen` defaults to all interfaces at the ports of
    `endpoints`, metrics at the port after the last one's. `with_mldsa`: with the optional second cosigner (R46). Raises CouldNot
    if the folder holds a home already, BadSettings for an endpoint, NoMldsa, OSError.
    """
    if not is_name(state):
        raise CouldNot(f"state {state!r}: want a country code such as US")
    if (folder / FILE_NAME).exists() or (folder / "keys").exists():
        raise CouldNot(
            f"{folder}: holds a home already: choose another folder; keys are never overwritten"
        )
    settings = Settings(
        home=folder,
        node=NodeSettings(
            state=state, passphrase_file=str(passphrase_file.resolve()) if passphrase_file else ""
        ),
        listen=listen or _listen_at(endpoints),
        pace=PaceSettings(profile=pace),
        log=LogSettings(format=log_format),
    )
    text = documented_toml(settings)
    node_keys = generate_node_keys(state, with_mldsa=with_mldsa)
    agency_keys = generate_agency_keys(state)
    declaration = declare(node_keys, agency_keys, endpoints)
    parse_declaration(declaration)  # what others would refuse is found before anything is written
    cost = cost or KdfCost()
    (folder / "keys").mkdir(parents=True, mode=0o700)
    (folder / OUTBOX).mkdir(mode=0o700)
    write_node_keys(settings.keys_path, node_keys, passphrase, cost=cost)
    write_agency_keys(
        folder / AGENCY_KEYS,
        agency_keys,
        passphrase if agency_passphrase is None else agency_passphrase,
        cost=cost,
    )
    path = folder / f"{state}.declaration"
    write_durably(path, declaration, mode=0o644)
    write_durably(folder / FILE_NAME, text.encode(), mode=0o644)
    return Home(
        folder=folder,
        state=state,
        node_keys=node_keys,
        agency_keys=agency_keys,
        declaration=declaration,
        declaration_path=path,
    )


def _listen_at(endpoints: Endpoints) -> ListenSettings:
    ports = [host_and_port(getattr(endpoints, name))[1] for name in ("peer", "client", "http")]
    default = ListenSettings()
    # The one after the last, so that several homes on one machine do not meet; else the nearest free one below.
    free = next(port for port in range(min(max(ports) + 1, 65_535), 0, -1) if port not in ports)
    return replace(
        default,
        peer=f"0.0.0.0:{ports[0]}",
        client=f"0.0.0.0:{ports[1]}",
        http=f"0.0.0.0:{ports[2]}",
        metrics=f"127.0.0.1:{free}",
    )


def install_genesis(folder: Path, document: bytes) -> Founded:
    """Put the founding document where the node and the commands look for it. Raises MalformedGenesis, CouldNot."""
    founded = founded_from(document)
    path = folder / GENESIS_FILE
    if path.exists() and path.read_bytes() != document:
        raise CouldNot(f"{path}: another genesis is there: one home belongs to one ledger")
    write_durably(path, document, mode=0o644)
    return founded


# --- genesis -----------------------------------------------------------------------------------------------------


def declare(node: NodeKeys, agency: AgencyKeys, endpoints: Endpoints) -> bytes:
    """One state's part of a genesis, signed by its block key."""
    if agency.vote is None or agency.author_id != node.state:
        raise CouldNot(
            f"agency keys of {agency.author_id}: want those of {node.state}, with a vote key"
        )
    member = GenesisMember(
        state=node.state,
        block_key=node.block.public,
        log_key=node.log.public,
        cosigner_key=node.cosigner.public,
        author_key=agency.author.public,
        vote_key=agency.vote.public,
        certificate_pem=node.transport.certificate_pem,
        peer_endpoint=endpoints.peer,
        client_endpoint=endpoints.client,
        http_endpoint=endpoints.http,
        cosigner_pq_key=b"" if node.cosigner_pq is None else node.cosigner_pq.public,
    )
    return encode_declaration(member, node.block.sign(declaration_signed_bytes(member)))


def propose(declarations: Sequence[bytes], terms: Terms) -> bytes:
    """An unsigned genesis of these members, in this order. Raises MalformedGenesis naming member and field."""
    members = tuple(map(parse_declaration, declarations))
    if not members:
        raise CouldNot("no declaration: a genesis needs one of each founding state")
    _check_endpoints(members)
    states = sorted({*terms.states, *(member.state for member in members)})
    genesis = Genesis(
        origin=terms.origin,
        time_ms=int(time.time() * 1000) if terms.time_ms is None else terms.time_ms,
        drill=terms.drill,
        publication=terms.publication,
        protocol=dict(terms.protocol),
        policy=dict(terms.policy),
        world=terms.world,
        law_version=LAW_VERSION,
        states=tuple(states),
        members=members,
        parties=terms.parties,
    )
    document = encode_genesis(genesis)
    parse_unsigned_genesis(document)
    return document


def _check_endpoints(members: Sequence[GenesisMember]) -> None:
    """Two listeners at one address: somebody left a default in place, and one of the nodes would never be found."""
    holders: dict[str, str] = {}
    for member in members:
        for name in ("peer_endpoint", "client_endpoint", "http_endpoint"):
            endpoint: str = getattr(member, name)
            holder = f"{name} of {member.state}"
            other = holders.setdefault(endpoint, holder)
            if other != holder:
                raise CouldNot(
                    f"{holder} and {other} are both {endpoint}: `foedus init` again with the address where it is reached"
                )


def sign_proposal(proposal: bytes, keys: NodeKeys) -> bytes:
    """The proposal with this member's signature beside those already there. Raises MalformedGenesis, CouldNot."""
    genesis = parse_unsigned_genesis(proposal)
    for member in genesis.members:
        if member.state == keys.state:
            break
    else:
        codes = ", ".join(member.state for member in genesis.members)
        raise CouldNot(f"{keys.state} is not a member of this genesis: there are {codes}")
    if member.block_key != keys.block.public or member.log_key != keys.log.public:
        raise CouldNot(
            f"the genesis has other keys for {keys.state}: this key file's declaration did not go into it"
        )
    signed = with_signature(genesis, keys.state, keys.block.sign(signed_bytes(genesis)))
    return encode_genesis(signed)


def combine(documents: Sequence[bytes]) -> bytes:
    """One document with all signatures of these copies. Raises MalformedGenesis, CouldNot (who has not signed)."""
    if not documents:
        raise CouldNot("no signed proposal to combine")
    copies = [parse_unsigned_genesis(document) for document in documents]
    first = copies[0]
    message = signed_bytes(first)
    for position, copy in enumerate(copies[1:], start=2):
        if signed_bytes(copy) != message:
            raise CouldNot(
                f"document {position} is another proposal than document 1: all must sign the same bytes"
            )
    signatures: dict[str, bytes] = {}
    for copy in copies:
        signatures.update(copy.signatures)
    for state in missing_signatures(replace(first, signatures=signatures)):
        raise CouldNot(f"member {state}: has not signed: `foedus genesis sign` with its key file")
    document = encode_genesis(replace(first, signatures=signatures))
    parse_genesis(document)
    return document


def missing_signatures(genesis: Genesis) -> tuple[str, ...]:
    """Members whose good signature is not there, in member order."""
    message = signed_bytes(genesis)
    return tuple(
        member.state
        for member in genesis.members
        if not verify_ed25519(
            member.block_key, message, genesis.signatures.get(member.state, bytes(64))
        )
    )


def founded_from(document: bytes) -> Founded:
    """Raises MalformedGenesis unless every member signed it."""
    return Founded(genesis=parse_genesis(document), document=document, chain_id=chain_id(document))


def read_founded(path: Path) -> Founded:
    """The same from a file. Raises CouldNot naming it."""
    try:
        return founded_from(read_bounded(path, GENESIS_BYTES_MAX))
    except MalformedGenesis as err:
        raise CouldNot(f"{path}: {err}") from err


def quorum_of(genesis: Genesis) -> int:
    """R1: floor(2n/3)+1 of the members."""
    return 2 * len(genesis.members) // 3 + 1


def genesis_view(genesis: Genesis, document: bytes) -> dict[str, Any]:
    """A genesis for people and for JSON: members, policy, quorum, signatures, veto check (MODEL 7)."""
    missing = missing_signatures(genesis)
    return {
        "chain_id": None if missing else chain_id(document).hex(),
        "origin": genesis.origin,
        "time_ms": genesis.time_ms,
        "drill": genesis.drill,
        "publication": genesis.publication,
        "law_version": genesis.law_version,
        "members": [_member_view(member, missing) for member in genesis.members],
        "parties": [_party_view(party) for party in genesis.parties],
        "states": list(genesis.states),
        "policy": json.loads(json.dumps(dict(genesis.policy))),
        "world": {name: dict(amounts) for name, amounts in genesis.world.items()},
        "protocol": dict(genesis.protocol),
        "quorum": quorum_of(genesis),
        "unsigned_by": list(missing),
        "veto_check": veto_view(veto_check(len(genesis.members), genesis.time_ms // 1000)),
    }


def veto_view(check: VetoCheck) -> dict[str, Any]:
    """Each rule's number: the largest k of states that cannot stop it when all others want it."""
    return {
        "members": check.members,
        "k": check.k,
        "f": check.f,
        "trigger": check.trigger,
        "quorum": check.quorum,
        "veto_possible": bool(check.veto_possible),
        "shown_as": VETO_WARNING if check.veto_possible else "no state has a veto",
        "all": {
            "maj": check.all_maj,
            "sup": check.all_sup,
            "high": check.all_high,
            "stop": check.all_stop,
        },
        "one_recused": {
            "maj": check.one_recused_maj,
            "sup": check.one_recused_sup,
            "high": check.one_recused_high,
            "stop": check.one_recused_stop,
        },
    }


def _member_view(member: GenesisMember, missing: Sequence[str]) -> dict[str, Any]:
    return {
        "state": member.state,
        "signed": member.state not in missing,
        "peer": member.peer_endpoint,
        "client": member.client_endpoint,
        "http": member.http_endpoint,
        "block_key": member.block_key.hex(),
        "log_key": member.log_key.hex(),
        "cosigner_key": member.cosigner_key.hex(),
        "author_key": member.author_key.hex(),
        "vote_key": member.vote_key.hex(),
    }


def _party_view(party: GenesisParty) -> dict[str, Any]:
    return {
        "id": party.id,
        "role": party.role,
        "state": party.state,
        "owners": list(party.owners),
        "author_key": party.author_key.hex(),
    }


# --- files of terms ----------------------------------------------------------------------------------------------


def read_policy(path: Path) -> dict[str, PolicyValue]:
    """Policy overrides from a TOML file, or JSON if its name ends so. Raises CouldNot; values are judged with the genesis."""
    document = _document(path)
    for name, value in document.items():
        if not isinstance(value, int | list | dict) or isinstance(value, bool):
            raise CouldNot(
                f"{path}: {name} = {shown(value)}: want a number, [[from, value], ...] or a generator"
            )
    return document


def read_world(path: Path) -> dict[str, dict[str, int]]:
    """What the world has, from a file of two tables: capacity_mh and fab, each by state. Raises CouldNot."""
    document = _document(path)
    for name, amounts in document.items():
        is_table = isinstance(amounts, dict) and all(type(one) is int for one in amounts.values())
        if name not in WORLD_FIELDS or not is_table:
            raise CouldNot(
                f"{path}: {name}: want tables {' and '.join(WORLD_FIELDS)}: CODE = number"
            )
    return document


def read_parties(path: Path) -> tuple[GenesisParty, ...]:
    """Parties from a file of tables, TOML `[[party]]` or JSON `{"party": [...]}`: id, role, state, author_key, owners."""
    document = _document(path)
    items = document.get("party")
    if set(document) != {"party"} or not isinstance(items, list):
        raise CouldNot(f"{path}: want nothing but a list of tables, [[party]]")
    return tuple(
        _party_from(item, f"{path}: party {number}") for number, item in enumerate(items, 1)
    )


def party_from_words(text: str) -> GenesisParty:
    """`ID,ROLE,STATE,KEY` with the author key in hex. Raises CouldNot."""
    words = text.split(",")
    if len(words) != 4:
        raise CouldNot(f"party {shown(text)}: want ID,ROLE,STATE,KEY; owners need a --parties file")
    name, role, state, key = words
    table = {"id": name, "role": role, "state": state, "author_key": key}
    return _party_from(table, f"party {name}")


def _party_from(item: object, where: str) -> GenesisParty:
    match item:
        case {"id": str(name), "role": str(role), "author_key": str(key), **rest} if not set(
            rest
        ) - {"state", "owners"}:
            state, owners = rest.get("state", ""), rest.get("owners", [])
            if isinstance(state, str) and isinstance(owners, list):
                return GenesisParty(
                    id=name,
                    role=role,
                    state=state,
                    owners=tuple(map(str, owners)),
                    author_key=_public_key(key, where),
                )
    raise CouldNot(f"{where}: want id, role, author_key, and if any state and owners")


def _public_key(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise CouldNot(
            f"{where}: author_key {shown(text)}: want 64 hex digits, as `foedus keys show` prints them"
        )
    return key


def _document(path: Path) -> dict[str, Any]:
    data = read_bounded(path, POLICY_BYTES_MAX)
    try:
        if path.suffix == ".json":
            document = json.loads(data)
        else:
            document = tomllib.loads(data.decode())
    except (UnicodeDecodeError, json.JSONDecodeError, tomllib.TOMLDecodeError) as err:
        raise CouldNot(
            f"{path}: not {path.suffix.removeprefix('.').upper() or 'TOML'}: {err}"
        ) from err
    if not isinstance(document, dict):
        raise CouldNot(f"{path}: want a table of names")
    return document


def read_declaration(path: Path) -> bytes:
    """A declaration's bytes. Raises CouldNot naming the file, also for what is none."""
    data = read_bounded(path, DECLARATION_BYTES_MAX)
    try:
        parse_declaration(data)
    except MalformedGenesis as err:
        raise CouldNot(f"{path}: {err}") from err
    return data


def read_bounded(path: Path, bytes_max: int) -> bytes:
    """A whole file of at most so many bytes. Raises CouldNot, OSError."""
    with path.open("rb") as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise CouldNot(f"{path}: more than {bytes_max} bytes")
    return data

"""Encrypted key files: for the node's online keys, an author's offline keys, a party's sealing key, a state's hash chain.

    line 1   foedus-keys/1
    rest     deterministic CBOR {
               box      nonce (24 B) || secretbox(secrets), keyed by argon2id(passphrase, salt)
               kdf      {name: "argon2id13", memory_bytes, ops, salt}
               kind     "node", "author", "sealing" or "chain"
               owner    state, or author id
               public   {role: public key}, for reading without a passphrase
             }
    secrets  deterministic CBOR {binding: SHA-256 of the record without box, seeds: {role: seed}, certificate?, key?,
                                 links?, round?, shown?}

64 MiB and 3 passes (RULINGS R51): 256 MiB would lift a node over its memory target. The binding inside the box makes every
readable byte authenticated. Mode is 0600, looked at on every opening: a key file that others can read is refused, not repaired.
Writing is temp file, fsync, rename, directory fsync, so a crash leaves the old file or the new one.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.exceptions import ValueError as NaClValueError
from nacl.utils import random as os_random

from node.log import cbor
from node.log.errors import MalformedCbor
from node.signing.chain import BeaconChain
from node.signing.errors import BadKeyFile, CannotReveal, UnsafeKeyFile, WrongPassphrase
from node.signing.keys import SEED_BYTES, AgencyKeys, MldsaKey, NodeKeys, Role, SigningKey
from node.signing.sealing import SealingKey
from node.signing.transport import TransportIdentity

_MAGIC = b"foedus-keys/1\n"
_KDF_NAME = "argon2id13"
_NONCE_BYTES = 24
_KEY_BYTES = 32
_FILE_BYTES_MAX = 65_536
_FILE_MODE = 0o600
_OPS_MAX = 16  # a file from elsewhere must not make us compute for minutes
_MEMORY_BYTES_MAX = 1 << 30

NODE = "node"
AUTHOR = "author"
SEALING = "sealing"
CHAIN = "chain"


@dataclass(frozen=True, slots=True, kw_only=True)
class KdfCost:
    """What one guess of the passphrase costs."""

    ops: int = 3
    memory_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFileFacts:
    """What a key file says without its passphrase. Unauthenticated until it is opened."""

    kind: str
    owner: str
    public: Mapping[str, bytes]


def write_node_keys(
    path: Path,
    keys: NodeKeys,
    passphrase: bytes,
    *,
    replace: bool = False,
    cost: KdfCost = KdfCost(),
) -> None:
    """Encrypts a node's keys into a new file. Raises FileExistsError unless `replace`, OSError."""
    in_use = (keys.block, keys.log, keys.cosigner, keys.witness)
    signing = {key.role.value: key for key in in_use if key is not None}
    public = {role: key.public for role, key in signing.items()}
    seeds = {role: key.seed for role, key in signing.items()}
    if keys.cosigner_pq is not None:
        public[Role.COSIGNER_PQ.value] = keys.cosigner_pq.public
        seeds[Role.COSIGNER_PQ.value] = keys.cosigner_pq.seed
    secrets = {
        "seeds": seeds,
        "certificate": keys.transport.certificate_pem,
        "key": keys.transport.private_key_pem,
    }
    _write(path, _seal(NODE, keys.state, public, secrets, passphrase, cost), replace=replace)


def write_agency_keys(
    path: Path,
    keys: AgencyKeys,
    passphrase: bytes,
    *,
    replace: bool = False,
    cost: KdfCost = KdfCost(),
) -> None:
    """Encrypts an author's offline keys into a new file. Raises FileExistsError unless `replace`, OSError."""
    signing = {key.role.value: key for key in (keys.author, keys.vote) if key is not None}
    public = {role: key.public for role, key in signing.items()}
    secrets = {"seeds": {role: key.seed for role, key in signing.items()}}
    _write(path, _seal(AUTHOR, keys.author_id, public, secrets, passphrase, cost), replace=replace)


def read_node_keys(path: Path, passphrase: bytes) -> NodeKeys:
    """Raises OSError, UnsafeKeyFile, BadKeyFile, WrongPassphrase. Takes about 0.2 s and 64 MiB, once."""
    facts, secrets = _open(path, passphrase, NODE)
    needed, optional = (Role.BLOCK, Role.LOG, Role.COSIGNER), (Role.COSIGNER_PQ, Role.WITNESS)
    seeds = _seeds(path, facts, secrets, needed, optional)
    certificate, private_key = secrets.get("certificate"), secrets.get("key")
    if not isinstance(certificate, bytes) or not isinstance(private_key, bytes):
        raise BadKeyFile(f"{path}: no transport certificate and key inside")
    pq_seed, witness_seed = seeds.get(Role.COSIGNER_PQ), seeds.get(Role.WITNESS)
    keys = NodeKeys(
        state=facts.owner,
        block=SigningKey.from_seed(Role.BLOCK, seeds[Role.BLOCK]),
        log=SigningKey.from_seed(Role.LOG, seeds[Role.LOG]),
        cosigner=SigningKey.from_seed(Role.COSIGNER, seeds[Role.COSIGNER]),
        transport=TransportIdentity(certificate_pem=certificate, private_key_pem=private_key),
        cosigner_pq=None if pq_seed is None else MldsaKey.from_seed(pq_seed),
        witness=None if witness_seed is None else SigningKey.from_seed(Role.WITNESS, witness_seed),
    )
    in_use = (keys.block, keys.log, keys.cosigner, keys.witness)
    made = {key.role.value: key.public for key in in_use if key is not None}
    if keys.cosigner_pq is not None:
        made[Role.COSIGNER_PQ.value] = keys.cosigner_pq.public
    _check_public(path, facts, made)
    return keys


def read_agency_keys(path: Path, passphrase: bytes) -> AgencyKeys:
    """Raises OSError, UnsafeKeyFile, BadKeyFile, WrongPassphrase."""
    facts, secrets = _open(path, passphrase, AUTHOR)
    seeds = _seeds(path, facts, secrets, (Role.AUTHOR,), (Role.VOTE,))
    vote_seed = seeds.get(Role.VOTE)
    keys = AgencyKeys(
        author_id=facts.owner,
        author=SigningKey.from_seed(Role.AUTHOR, seeds[Role.AUTHOR]),
        vote=None if vote_seed is None else SigningKey.from_seed(Role.VOTE, vote_seed),
    )
    made = {key.role.value: key.public for key in (keys.author, keys.vote) if key is not None}
    _check_public(path, facts, made)
    return keys


def write_sealing_key(
    path: Path,
    owner: str,
    key: SealingKey,
    passphrase: bytes,
    *,
    replace: bool = False,
    cost: KdfCost = KdfCost(),
) -> None:
    """Encrypts what a party opens sealed documents with. Raises FileExistsError unless `replace`, OSError."""
    public, secrets = {SEALING: key.public}, {"seeds": {SEALING: key.seed}}
    _write(path, _seal(SEALING, owner, public, secrets, passphrase, cost), replace=replace)


def read_sealing_key(path: Path, passphrase: bytes) -> tuple[str, SealingKey]:
    """(owner, key). Raises OSError, UnsafeKeyFile, BadKeyFile, WrongPassphrase."""
    facts, secrets = _open(path, passphrase, SEALING)
    match secrets.get("seeds"):
        case {"sealing": bytes(seed), **rest} if len(seed) == SEED_BYTES and not rest:
            key = SealingKey.from_seed(seed)
        case _:
            raise BadKeyFile(f"{path}: no one seed of {SEED_BYTES} bytes inside")
    _check_public(path, facts, {SEALING: key.public})
    return facts.owner, key


def write_chain(
    path: Path,
    owner: str,
    chain: BeaconChain,
    passphrase: bytes,
    *,
    replace: bool = False,
    cost: KdfCost = KdfCost(),
) -> None:
    """Encrypts a state's hash chain with what it has shown. Raises FileExistsError unless `replace`, OSError."""
    places = {"links": chain.links, "round": chain.round, "shown": chain.shown}
    secrets = {"seeds": {CHAIN: chain.secret}, **places}
    public = {CHAIN: chain.anchor}
    _write(path, _seal(CHAIN, owner, public, secrets, passphrase, cost), replace=replace)


def read_chain(path: Path, passphrase: bytes) -> tuple[str, BeaconChain]:
    """(state, chain). Raises OSError, UnsafeKeyFile, BadKeyFile, WrongPassphrase."""
    facts, secrets = _open(path, passphrase, CHAIN)
    match secrets:
        case {
            "seeds": {"chain": bytes(secret), **rest},
            "links": int(links),
            "round": int(round_),
            "shown": int(shown),
        } if len(secret) == SEED_BYTES and not rest:
            try:
                chain = BeaconChain(secret=secret, links=links, round=round_, shown=shown)
            except CannotReveal as err:
                raise BadKeyFile(f"{path}: {err}") from None
        case _:
            raise BadKeyFile(f"{path}: no one seed of {SEED_BYTES} bytes with its places inside")
    _check_public(path, facts, {CHAIN: chain.anchor})
    return facts.owner, chain


def read_facts(path: Path) -> KeyFileFacts:
    """The readable part of a key file. Raises OSError, UnsafeKeyFile, BadKeyFile."""
    return _facts(path, _parse(path))


# --- the file ----------------------------------------------------------------------------------------------------


def _write(path: Path, data: bytes, *, replace: bool) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    # O_EXCL and the mode at creation: at no moment does a file with these bytes exist that others can open.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), _FILE_MODE)  # whatever the umask took away
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike rename, fails if the path exists
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(path: Path) -> bytes:
    # O_NONBLOCK: opening a pipe put in the file's place must not hang the start of a node.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UnsafeKeyFile(f"{path}: not a regular file")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise UnsafeKeyFile(f"{path}: mode {mode:04o} lets others in; run chmod 600 {path}")
        if status.st_size > _FILE_BYTES_MAX:
            raise BadKeyFile(
                f"{path}: {status.st_size} bytes, a key file has at most {_FILE_BYTES_MAX}"
            )
        return file.read(_FILE_BYTES_MAX + 1)


def _parse(path: Path) -> dict[str, Any]:
    data = _read(path)
    if not data.startswith(_MAGIC):
        raise BadKeyFile(f"{path}: does not begin with {_MAGIC.decode().strip()!r}")
    try:
        record = cbor.decode_record(data[len(_MAGIC) :])
    except MalformedCbor as err:
        raise BadKeyFile(f"{path}: {err}") from None
    if set(record) != {"box", "kdf", "kind", "owner", "public"}:
        raise BadKeyFile(f"{path}: fields {sorted(record)}: want box, kdf, kind, owner, public")
    return record


def _facts(path: Path, record: dict[str, Any]) -> KeyFileFacts:
    match record:
        case {"kind": str(kind), "owner": str(owner), "public": dict(public)} if (
            kind in (NODE, AUTHOR, SEALING, CHAIN)
            and all(isinstance(role, str) for role in public)
            and all(isinstance(key, bytes) for key in public.values())
        ):
            return KeyFileFacts(kind=kind, owner=owner, public=public)
    raise BadKeyFile(f"{path}: want a kind, an owner and public keys")


def _seal(
    kind: str,
    owner: str,
    public: Mapping[str, bytes],
    secrets: dict[str, Any],
    passphrase: bytes,
    cost: KdfCost,
) -> bytes:
    record: dict[str, Any] = {
        "kdf": {
            "name": _KDF_NAME,
            "memory_bytes": cost.memory_bytes,
            "ops": cost.ops,
            "salt": os_random(bindings.crypto_pwhash_SALTBYTES),
        },
        "kind": kind,
        "owner": owner,
        "public": dict(public),
    }
    plain = cbor.encode({"binding": _binding(record), **secrets})
    nonce = os_random(_NONCE_BYTES)
    box = bindings.crypto_secretbox(plain, nonce, _stretch(passphrase, record["kdf"]))
    return _MAGIC + cbor.encode({"box": nonce + box, **record})


def _open(path: Path, passphrase: bytes, kind: str) -> tuple[KeyFileFacts, dict[str, Any]]:
    record = _parse(path)
    facts = _facts(path, record)
    if facts.kind != kind:
        raise BadKeyFile(f"{path}: holds {facts.kind} keys, not {kind} keys")
    box, kdf = record["box"], record["kdf"]
    match kdf:
        case {
            "name": str(name),
            "memory_bytes": int(memory_bytes),
            "ops": int(ops),
            "salt": bytes(salt),
        } if (
            len(kdf) == 4
            and name == _KDF_NAME
            and 1 <= ops <= _OPS_MAX
            and 8_192 <= memory_bytes <= _MEMORY_BYTES_MAX
            and len(salt) == bindings.crypto_pwhash_SALTBYTES
        ):
            pass
        case _:
            raise BadKeyFile(
                f"{path}: key derivation {_KDF_NAME} with at most {_OPS_MAX} passes and 1 GiB wanted"
            )
    if not isinstance(box, bytes) or len(box) <= _NONCE_BYTES:
        raise BadKeyFile(f"{path}: box is too short")
    key = _stretch(passphrase, kdf)
    try:
        plain = bindings.crypto_secretbox_open(box[_NONCE_BYTES:], box[:_NONCE_BYTES], key)
    except (CryptoError, NaClValueError):
        raise WrongPassphrase(f"{path}: wrong passphrase, or the file was altered") from None
    try:
        secrets = cbor.decode_record(plain)
    except MalformedCbor:
        raise BadKeyFile(f"{path}: what is inside is no record") from None
    del record["box"]
    if secrets.pop("binding", None) != _binding(record):
        raise BadKeyFile(f"{path}: the readable part was altered")
    return facts, secrets


def _binding(record: Mapping[str, Any]) -> bytes:
    return sha256(_MAGIC + cbor.encode(dict(record))).digest()


def _stretch(passphrase: bytes, kdf: Mapping[str, Any]) -> bytes:
    return bindings.crypto_pwhash_alg(
        _KEY_BYTES,
        passphrase,
        kdf["salt"],
        kdf["ops"],
        kdf["memory_bytes"],
        bindings.crypto_pwhash_ALG_ARGON2ID13,
    )


def _seeds(
    path: Path,
    facts: KeyFileFacts,
    secrets: Mapping[str, Any],
    needed: tuple[Role, ...],
    optional: tuple[Role, ...],
) -> dict[Role, bytes]:
    seeds = secrets.get("seeds")
    roles = set(seeds) if isinstance(seeds, dict) else set()
    allowed = {role.value for role in needed + optional}
    if not isinstance(seeds, dict) or not {role.value for role in needed} <= roles <= allowed:
        raise BadKeyFile(
            f"{path}: {facts.kind} keys are {', '.join(needed)}, found {sorted(roles)}"
        )
    if not all(isinstance(seed, bytes) and len(seed) == SEED_BYTES for seed in seeds.values()):
        raise BadKeyFile(f"{path}: a seed is not of {SEED_BYTES} bytes")
    return {Role(role): seed for role, seed in seeds.items()}


def _check_public(path: Path, facts: KeyFileFacts, made: Mapping[str, bytes]) -> None:
    if dict(facts.public) != dict(made):
        raise BadKeyFile(f"{path}: the public keys named are not those of the seeds inside")

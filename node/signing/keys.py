"""Key roles and signing keys.

Every role has a key of its own (RULINGS R46): a block signature can then never be read as a cosignature, and a stolen
node takes no vote with it. Online, in the node: block, log, cosigner, transport. Outside it: author, vote. Optional: the
ML-DSA-44 cosigner, a second line for tools that want one; the witness, which cosigns other people's logs and none of ours.

A key shows its public half alone: `repr` and error messages hold no secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from nacl import bindings
from nacl.utils import random as os_random

from node.log.cose import kid_of
from node.signing.errors import KeyReused, NoMldsa, WeakKey
from node.signing.transport import TransportIdentity, generate_transport

PUBLIC_KEY_BYTES = 32
MLDSA_PUBLIC_KEY_BYTES = 1312
SEED_BYTES = 32
SIGNATURE_BYTES = 64


class Role(StrEnum):
    """What a key is for. Each value is also the label under which a demo seed is split."""

    BLOCK = "block"
    LOG = "log"
    COSIGNER = "cosigner"
    COSIGNER_PQ = "cosigner-pq"
    WITNESS = "witness"
    TRANSPORT = "transport"
    AUTHOR = "author"
    VOTE = "vote"


NODE_ROLES = (Role.BLOCK, Role.LOG, Role.COSIGNER)
AGENCY_ROLES = (Role.AUTHOR, Role.VOTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One Ed25519 key in one role. Build it with `generate` or `from_seed`."""

    role: Role
    public: bytes  # 32 bytes
    seed: bytes = field(repr=False, compare=False)
    _secret: bytes = field(repr=False, compare=False)

    @classmethod
    def generate(cls, role: Role) -> Self:
        """A fresh key from the operating system's randomness."""
        return cls.from_seed(role, os_random(SEED_BYTES))

    @classmethod
    def from_seed(cls, role: Role, seed: bytes) -> Self:
        """The key of a 32-byte seed: from a key file, or from a test's fixed seed."""
        public, secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(role=role, public=public, seed=seed, _secret=secret)

    @property
    def kid(self) -> bytes:
        """First 8 bytes of SHA-256(public key), RULINGS R16."""
        return kid_of(self.public)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature. Deterministic (RFC 8032): signing the same bytes again gives the same bytes."""
        return bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class MldsaKey:
    """The optional ML-DSA-44 cosigner key. Its signatures are randomised."""

    public: bytes  # 1,312 bytes
    seed: bytes = field(repr=False, compare=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Raises NoMldsa."""
        return cls(public=_mldsa(seed).public_key().public_bytes_raw(), seed=seed)

    def sign(self, message: bytes) -> bytes:
        """Pure ML-DSA-44, empty context, 2,420 bytes."""
        return _mldsa(self.seed).sign(message)


def _mldsa(seed: bytes) -> MLDSA44PrivateKey:
    """Raises NoMldsa: the library under `cryptography` may be one that was built without it."""
    try:
        return MLDSA44PrivateKey.from_seed_bytes(seed)
    except UnsupportedAlgorithm as err:
        raise NoMldsa(
            f"this machine's cryptographic library has no ML-DSA-44 ({err}): use a build of `cryptography` with OpenSSL 3.5 or"
            " later, or keys without a second cosigner"
        ) from err


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """What a node of a state holds online."""

    state: str
    block: SigningKey
    log: SigningKey
    cosigner: SigningKey
    transport: TransportIdentity
    cosigner_pq: MldsaKey | None = None
    witness: SigningKey | None = None  # None: key files made before nodes were witnesses


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencyKeys:
    """What an author (a state's agency, an operator, a device) holds outside any node. Parties have no vote key."""

    author_id: str
    author: SigningKey
    vote: SigningKey | None


def check_mldsa_key(public: bytes, what: str = "ML-DSA-44 key") -> None:
    """Raises WeakKey unless it has the length of one: any such bytes are a public key, good only with its secret half."""
    if len(public) != MLDSA_PUBLIC_KEY_BYTES:
        raise WeakKey(
            f"{what} of {len(public)} bytes: ML-DSA-44 keys have {MLDSA_PUBLIC_KEY_BYTES}"
        )


def check_public_key(public: bytes, what: str = "public key") -> None:
    """Raises WeakKey unless `public` is a canonical point of the prime-order group and not of small order.

    Under a weak key, signatures exist that anybody can make and that libraries judge differently (FORMATS 11): such a
    key is refused where it is registered, so that no entry is ever judged under one.
    """
    if len(public) != PUBLIC_KEY_BYTES:
        raise WeakKey(f"{what} of {len(public)} bytes: Ed25519 keys have {PUBLIC_KEY_BYTES}")
    if not bindings.crypto_core_ed25519_is_valid_point(public):
        raise WeakKey(f"{what} {public.hex()}: not a point of the prime-order group")


def check_distinct(keys: Mapping[str, bytes]) -> None:
    """Raises KeyReused if two names hold one key, or keys of one kid (RULINGS R16, R46)."""
    holders: dict[bytes, str] = {}
    for name, public in keys.items():
        other = holders.setdefault(kid_of(public), name)
        if other != name:
            raise KeyReused(
                f"{name} and {other} have one key (kid {kid_of(public).hex()}): use two"
            )


def generate_node_keys(
    state: str, *, seed: bytes | None = None, later: bool = False, with_mldsa: bool = False
) -> NodeKeys:
    """A node's keys: from the operating system's randomness, or all from one seed in tests and demonstrations.

    `later`: they follow others of the same state. `with_mldsa`: with the optional ML-DSA-44 cosigner; raises NoMldsa where this
    machine cannot.
    """
    mldsa_seed = os_random(SEED_BYTES) if seed is None else split_seed(seed, Role.COSIGNER_PQ)
    keys = NodeKeys(
        state=state,
        block=_key(Role.BLOCK, seed),
        log=_key(Role.LOG, seed),
        cosigner=_key(Role.COSIGNER, seed),
        transport=generate_transport(
            state,
            scalar_seed=None if seed is None else split_seed(seed, Role.TRANSPORT),
            later=later,
        ),
        witness=_key(Role.WITNESS, seed),
        cosigner_pq=MldsaKey.from_seed(mldsa_seed) if with_mldsa else None,
    )
    signing = (keys.block, keys.log, keys.cosigner, keys.witness)
    check_distinct({key.role: key.public for key in signing if key is not None})
    return keys


def generate_agency_keys(
    author_id: str, *, with_vote: bool = True, seed: bytes | None = None
) -> AgencyKeys:
    """An author's keys. `with_vote`: a state's agency votes, other parties do not."""
    return AgencyKeys(
        author_id=author_id,
        author=_key(Role.AUTHOR, seed),
        vote=_key(Role.VOTE, seed) if with_vote else None,
    )


def split_seed(seed: bytes, role: Role) -> bytes:
    """A seed for one role out of one for all: SHA-256("foedus/seed/" || role || 0x00 || seed)."""
    return sha256(b"foedus/seed/" + role.value.encode() + b"\x00" + seed).digest()


def _key(role: Role, seed: bytes | None) -> SigningKey:
    if seed is None:
        return SigningKey.generate(role)
    return SigningKey.from_seed(role, split_seed(seed, role))

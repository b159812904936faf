"""What the law needs to know of a genesis document. `node/ledger` parses it and fills this."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# Which rules are in force (RULINGS R67): a genesis names its law for good, and every law named here is kept
# (decision record 0120).
LAW_VERSIONS: Final = (1, 2, 3)
LAW_VERSION: Final = LAW_VERSIONS[-1]  # what a new genesis names
# All that anybody could say under law 1; its rows and records keep their fields under every later law.
LAW_1_KINDS: Final = frozenset(
    [
        *("identity", "instrument", "facility", "usage", "energy", "run", "note", "vote"),
        *("TRAIN", "BREACH", "APPOINT", "CLASSIFY"),
    ]
)


def is_in_force(kind: str, law_version: int) -> bool:
    """Whether that law has rules for entries of this kind."""
    return law_version > 1 or kind in LAW_1_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingMember:
    """A state that signed the genesis. Keys: Ed25519, 32 bytes each, but for the last."""

    state: str  # ISO code
    author_key: bytes
    vote_key: bytes
    node_keys: tuple[bytes, ...] = ()  # block, log, cosigner, so that none takes another role
    second_key: bytes = b""  # its node's ML-DSA-44 cosigner; empty: none


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingParty:
    """An operator, inspector, evaluator, source or device known from the first second; in scenarios a state that may join."""

    party: str
    role: str  # operator, inspector, evaluator, source, device, secretariat
    state: str  # controlling state
    owners: tuple[str, ...] = ()  # direct owners: party ids
    author_key: bytes
    vote_key: bytes = b""  # of a state that is no member yet


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisFacts:
    """All of genesis that a rule reads."""

    chain_id: bytes  # 32 bytes: the `ledger` of every content
    time_s: int
    drill: bool
    law_version: int
    states: tuple[str, ...]  # the genesis list, members included
    members: tuple[FoundingMember, ...]
    parties: tuple[FoundingParty, ...] = ()
    policy: Mapping[str, object] = field(default_factory=dict)  # see policy.parse_policy
    origin: str = ""  # the log's name, which is in every note key ID
    beacon: bytes | None = None  # scenarios only; without one, panels sit as plenaries (LAW K52)
    world_capacity_mh: Mapping[str, int] = field(
        default_factory=dict
    )  # by state; for the slow door
    world_fab: Mapping[str, int] = field(
        default_factory=dict
    )  # chip-making capacity by state, any unit
    qualified_ids: bool = True  # ids are author/name (LAW K53); scenarios use bare names

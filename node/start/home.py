"""What a home folder holds, read and compared before anything is started: settings, keys, genesis, passphrase."""

import getpass
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.api.outside import read_asked_witnesses
from node.api.witness import WitnessKeys, read_witness_keys
from node.ledger.errors import MalformedGenesis
from node.ledger.genesis import GENESIS_BYTES_MAX, Genesis, parse_genesis
from node.log.policy import PolicyWitness
from node.settings import FILE_NAME, BadSettings, Settings, load_settings
from node.signing.errors import SigningError
from node.signing.keys import NodeKeys
from node.signing.keystore import read_node_keys

PASSPHRASE_BYTES_MAX: Final = 4096
JOINING_SINCE_LAW: Final = 2


class BadStart(Exception):
    """What the home folder holds does not make a node. Says what to do; nothing was started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All that was read before anything is started: checked, and checked against one another."""

    settings: Settings
    keys: NodeKeys
    document: bytes
    genesis: Genesis
    later_keys: tuple[NodeKeys, ...]  # of seats that the state declared since the founding
    own: int | None  # validator index at the founding; None: the state joined later, or will
    witness: WitnessKeys | None = None  # None: no other people's logs are cosigned
    asked: tuple[PolicyWitness, ...] = ()  # outside witnesses of this ledger


def prepare(home: Path, passphrase_file: Path | None) -> Prepared:
    """Read settings, keys and genesis, and check them against one another. Raises BadStart."""
    try:
        settings = load_settings(home / FILE_NAME, os.environ)
    except BadSettings as err:
        raise BadStart(str(err)) from err
    document = _genesis_bytes(settings.genesis_path)
    try:
        genesis = parse_genesis(document)
    except MalformedGenesis as err:
        raise BadStart(f"{settings.genesis_path}: {err}") from err
    own = _founding_index(genesis, settings.node.state)
    passphrase = _passphrase(passphrase_file or settings.passphrase_path)
    try:
        keys = read_node_keys(settings.keys_path, passphrase)
        later_keys = tuple(read_node_keys(path, passphrase) for path in settings.later_keys_paths)
    except (OSError, SigningError) as err:
        raise BadStart(f"key file: {err}") from err
    if own is not None and not later_keys:
        _check_keys(keys, genesis, own, settings.keys_path)
    try:
        witness = read_witness_keys(settings, keys, genesis.origin)
        asked = read_asked_witnesses(settings)
    except BadSettings as err:
        raise BadStart(str(err)) from err
    return Prepared(
        settings=settings,
        keys=keys,
        later_keys=later_keys,
        document=document,
        genesis=genesis,
        own=own,
        witness=witness,
        asked=asked,
    )


def _genesis_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(GENESIS_BYTES_MAX + 1)
    except OSError as err:
        why = f"{path}: {err.strerror}: put the genesis document that all members signed there"
        raise BadStart(why) from err


def _passphrase(path: Path | None) -> bytes:
    if path is None:
        if not sys.stdin.isatty():
            raise BadStart(
                "no passphrase: name a file by --passphrase-file or node.passphrase_file,"
                " or start from a terminal"
            )
        return getpass.getpass("Passphrase of the node's key file: ").encode()
    try:
        with path.open("rb") as file:
            data = file.read(PASSPHRASE_BYTES_MAX + 1)
    except OSError as err:
        raise BadStart(f"passphrase file {path}: {err.strerror}") from err
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase or len(data) > PASSPHRASE_BYTES_MAX:
        raise BadStart(
            f"passphrase file {path}: want one line of at most {PASSPHRASE_BYTES_MAX} bytes"
        )
    return passphrase


def _founding_index(genesis: Genesis, state: str) -> int | None:
    """The state's place among the founders; None: it may join, and its seat is in the ledger or will be. Raises BadStart."""
    try:
        return genesis.member_index(state)
    except KeyError:
        pass
    codes = ", ".join(member.state for member in genesis.members)
    if state not in genesis.states:
        raise BadStart(
            f"node.state = {state!r} is not a member: the genesis has {codes}, and does not list it among the states"
            " that may join"
        )
    if genesis.law_version < JOINING_SINCE_LAW:
        raise BadStart(
            f"node.state = {state!r} is not a member: the genesis has {codes}, and under law {genesis.law_version} the founders"
            " validate for ever"
        )
    return None


def _check_keys(keys: NodeKeys, genesis: Genesis, own: int, path: Path) -> None:
    """The node's keys must be those of the register: peers and readers accept no others."""
    member = genesis.members[own]
    for role, held, registered in (
        ("block", keys.block.public, member.block_key),
        ("log", keys.log.public, member.log_key),
        ("cosigner", keys.cosigner.public, member.cosigner_key),
        ("transport", keys.transport.certificate_pem, member.certificate_pem),
    ):
        if held != registered:
            raise BadStart(
                f"{path}: its {role} key is not the one that the genesis registers for {member.state}:"
                " use the key file whose declaration went into this genesis; after a change of keys name both files, the new one"
                " as node.later_keys"
            )
    second = b"" if keys.cosigner_pq is None else keys.cosigner_pq.public
    if member.cosigner_pq_key not in (b"", second):
        raise BadStart(
            f"{path}: it has not the ML-DSA cosigner key that the genesis registers for {member.state}: use the key file whose"
            " declaration went into this genesis"
        )

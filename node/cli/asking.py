"""Which ledger, which nodes, as whom: the options that commands share, and what they lead to.

A home folder, as `foedus init` makes it, answers all three; each can be given by itself. Without --node a command asks the home's
own node first and then the other members', in the order of the genesis; from law 2 on, those who validate today (`policies`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.client import LedgerClient, NodeAddress, Reader, node_at
from node.cli.errors import CouldNot
from node.cli.founding import AGENCY_KEYS, GENESIS_FILE, Founded, read_founded
from node.cli.nodes import Nodes
from node.cli.passphrases import read_passphrase
from node.cli.policies import members_shown
from node.settings import FILE_NAME, BadSettings, host_and_port, load_settings
from node.signing.keys import AgencyKeys
from node.signing.keystore import read_agency_keys

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="FOEDUS_HOME",
        help="Home folder, as `foedus init` makes it.",
        metavar="DIR",
    ),
]
GenesisOption = Annotated[
    Path | None,
    typer.Option(
        "--genesis",
        help="Genesis document; else that of the home.",
        show_default=False,
        metavar="FILE",
    ),
]
NodeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--node",
        help="Ask this member's node: KE, or KE@host:port if it is not where the genesis says."
        " May be repeated: the next is asked when one is down or deaf. Else: own node, then the others.",
        show_default=False,
        metavar="STATE[@HOST:PORT]",
    ),
]
KeysOption = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        help=f"Author's key file; else {AGENCY_KEYS} of the home.",
        show_default=False,
        metavar="FILE",
    ),
]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help="File of one line with the key file's passphrase; else you are asked.",
        show_default=False,
        metavar="FILE",
    ),
]
ReaderOption = Annotated[
    Path | None,
    typer.Option(
        "--reader-keys",
        help="Author's key file of a member, inspector or evaluator: to read what is restricted where"
        " publication is `members`.",
        show_default=False,
        metavar="FILE",
    ),
]
DEFAULT_HOME: Final = Path()
EPOCHS_SINCE_LAW: Final = 2


def ledger_of(home: Path, genesis: Path | None) -> Founded:
    """The ledger meant. Raises CouldNot."""
    path = genesis or home / GENESIS_FILE
    if not path.exists():
        raise CouldNot(
            f"{path}: no genesis document: name one by --genesis, or a home by --home or FOEDUS_HOME"
        )
    return read_founded(path)


def addresses(founded: Founded, home: Path, wanted: Sequence[str] | None) -> list[NodeAddress]:
    """The nodes to ask, in order. Raises CouldNot naming the option."""
    if wanted:
        return [_address(founded, text) for text in wanted]
    states = [member.state for member in founded.genesis.members]
    own = own_state(home)
    if own in states:
        states = [own, *(state for state in states if state != own)]
    return [node_at(founded.genesis, founded.chain_id, state) for state in states]


def open_nodes(
    founded: Founded, home: Path, wanted: Sequence[str] | None, reader: Reader | None = None
) -> Nodes:
    """Connections to them; to be entered inside an event loop."""
    members = len(founded.genesis.members)
    if founded.genesis.law_version < EPOCHS_SINCE_LAW:
        found = addresses(founded, home, wanted)
        return Nodes([LedgerClient(one, reader=reader) for one in found], members=members)
    founders = _first_asked(founded, home, wanted)

    async def today() -> list[LedgerClient]:
        shown = await members_shown(founded, founders)
        genesis = replace(founded.genesis, members=tuple(shown))
        found = addresses(replace(founded, genesis=genesis), home, wanted)
        return [LedgerClient(one, reader=reader) for one in found]

    clients = [LedgerClient(one, reader=reader) for one in founders]
    return Nodes(clients, members=members, today=today)


def _first_asked(founded: Founded, home: Path, wanted: Sequence[str] | None) -> list[NodeAddress]:
    """Founders' nodes, to learn from who validates today: those named first. Raises CouldNot."""
    states = {member.state for member in founded.genesis.members}
    named = [text for text in wanted or () if text.partition("@")[0] in states]
    found = addresses(founded, home, named) if named else []
    held = {address.state for address in found}
    return found + [one for one in addresses(founded, home, None) if one.state not in held]


def own_state(home: Path) -> str | None:
    """Whose home this is; None if it is none."""
    path = home / FILE_NAME
    return load_settings(path, {}).node.state if path.exists() else None


def author_keys(home: Path, keys: Path | None, passphrase_file: Path | None) -> AgencyKeys:
    """The keys to sign with. Raises CouldNot, SigningError, OSError."""
    path = keys or home / AGENCY_KEYS
    if not path.exists():
        raise CouldNot(
            f"{path}: no key file: name one by --keys, or a home by --home or FOEDUS_HOME"
        )
    return read_agency_keys(path, read_passphrase(passphrase_file, str(path)))


def reader_of(keys: Path | None, passphrase_file: Path | None) -> Reader | None:
    """Who reads restricted entries; None without keys."""
    if keys is None:
        return None
    agency = read_agency_keys(keys, read_passphrase(passphrase_file, str(keys)))
    return Reader(party=agency.author_id, key=agency.author)


def _address(founded: Founded, text: str) -> NodeAddress:
    state, _, target = text.partition("@")
    if target:
        try:
            host_and_port(target)
        except BadSettings as err:
            raise CouldNot(f"--node {text}: {err}") from err
    return node_at(founded.genesis, founded.chain_id, state, target)

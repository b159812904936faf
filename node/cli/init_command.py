"""`foedus init`: a home folder with settings, keys and the declaration that goes into the genesis."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.founding import AGENCY_KEYS, Endpoints, make_home
from node.cli.passphrases import new_passphrase
from node.reporting import JsonOption, reporting
from node.settings import FILE_NAME


def init_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    *,
    state: Annotated[str, typer.Option(help="Code of the state whose node this will be.")],
    peer: Annotated[
        str, typer.Option(help="host:port where the other members' nodes reach this one.")
    ] = "127.0.0.1:7450",
    client: Annotated[
        str, typer.Option(help="host:port where clients reach it.")
    ] = "127.0.0.1:7451",
    http: Annotated[
        str, typer.Option(help="host:port where checkpoints and tiles are served.")
    ] = "127.0.0.1:7452",
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="File of one line, mode 0600: passphrase of the node's keys, noted in the settings so that the"
            " node starts without a terminal; else you are asked.",
            show_default=False,
        ),
    ] = None,
    agency_passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="The same for the agency's keys; else the node's passphrase.", show_default=False
        ),
    ] = None,
    ml_dsa: Annotated[
        bool,
        typer.Option(
            "--ml-dsa",
            help="Also make an ML-DSA-44 cosigner key: the node then signs checkpoints a second time.",
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Make a home folder: settings with every default explained, encrypted keys, founding declaration.

    keys/node.key stays with the node. keys/agency.key (author and vote) does not: no node needs it, so move it to where the
    agency signs. DIR/STATE.declaration holds public keys and addresses, signed; send it to whoever gathers the genesis.

    Exit status: 0 made, 2 not: the folder holds a home already, or a value is wrong.

    For example:

      foedus init us --state US --peer us.example:7450 --client us.example:7451 --http us.example:7452

      foedus init us --state US --passphrase-file node.pass --agency-passphrase-file agency.pass --json
    """
    with reporting(json_output) as report:
        node_pass = new_passphrase(passphrase_file, "the node's keys")
        agency_pass = (
            new_passphrase(agency_passphrase_file, "the agency's keys")
            if agency_passphrase_file
            else node_pass
        )
        made = make_home(
            folder,
            state=state,
            endpoints=Endpoints(peer=peer, client=client, http=http),
            passphrase=node_pass,
            agency_passphrase=agency_pass,
            passphrase_file=passphrase_file,
            with_mldsa=ml_dsa,
        )
        document = {
            "home": str(folder),
            "state": state,
            "settings": str(folder / FILE_NAME),
            "node_keys": str(folder / "keys" / "node.key"),
            "agency_keys": str(folder / AGENCY_KEYS),
            "declaration": str(made.declaration_path),
        }
        text = (
            f"home of {state} made in {folder}\n"
            f"  settings      {folder / FILE_NAME}\n"
            f"  node's keys   {folder / 'keys' / 'node.key'}\n"
            f"  agency's keys {folder / AGENCY_KEYS}  (move them away from the node)\n"
            f"  declaration   {made.declaration_path}  (send it to whoever gathers the genesis)"
        )
        report.show(document, text)

"""`foedus keys`: what key files hold, new ones for parties, and whether one opens. No secret is ever shown."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from node.cli.asking import PassphraseOption
from node.cli.errors import CouldNot
from node.cli.passphrases import new_passphrase, read_passphrase
from node.log.cose import kid_of
from node.log.note import KeyType, verifier_key
from node.reporting import JsonOption, Report, reporting, table
from node.signing.checkpoints import cosigner_vkey, log_vkey, witness_vkey
from node.signing.keys import generate_agency_keys
from node.signing.keystore import (
    AUTHOR,
    CHAIN,
    NODE,
    SEALING,
    KeyFileFacts,
    read_agency_keys,
    read_chain,
    read_facts,
    read_node_keys,
    read_sealing_key,
    write_agency_keys,
    write_sealing_key,
)
from node.signing.sealing import SealingKey
from node.treaty.bodies import is_name

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A key file.")]
OriginOption = Annotated[
    str,
    typer.Option(
        help="Origin of the ledger: also print the verifier keys (vkey) of log, cosigner and witness.",
        show_default=False,
    ),
]
_KINDS: Final = {NODE: "node", AUTHOR: "author", SEALING: "sealing", CHAIN: "chain"}


def show_command(
    file: FileArgument, *, origin: OriginOption = "", json_output: JsonOption = False
) -> None:
    """Show a key file's public keys and key ids. Needs no passphrase: what it shows is unproven until `keys check`.

    Exit status: 0 shown, 2 no readable key file, or others can read it.

    For example:

      foedus keys show us/keys/node.key

      foedus keys show us/keys/node.key --origin ledger.treaty.example/main --json
    """
    with reporting(json_output) as report:
        _show(report, file, read_facts(file), origin, checked=False)


def new_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Key file to make.")],
    *,
    party: Annotated[
        str, typer.Option(help="Party id: operator, inspector, evaluator, device or state.")
    ],
    vote: Annotated[
        bool, typer.Option("--vote", help="Also a vote key: for a member state's agency only.")
    ] = False,
    sealing: Annotated[
        bool,
        typer.Option("--sealing", help="A sealing key instead: for documents sealed to the party."),
    ] = False,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make an author's key file for a party. A state's own come with `foedus init`.

    The author key shown goes to whoever registers the party: its state on the ledger, or the genesis. An existing file is
    never overwritten.

    Exit status: 0 made, 2 not.

    For example:

      foedus keys new acme.key --party acme

      foedus keys new acme.key --party acme --passphrase-file acme.pass --json

      foedus keys new ke.seal --party KE --sealing
    """
    with reporting(json_output) as report:
        if not is_name(party):
            raise CouldNot(f"--party {party!r}: want letters, digits, '.', '_', '-', at most 64")
        passphrase = new_passphrase(passphrase_file, str(file))
        if not file.parent.is_dir():
            raise CouldNot(f"{file.parent}: no such folder: make it first")
        if sealing:
            if vote:
                raise CouldNot("--sealing and --vote: a sealing key signs nothing; make two files")
            write_sealing_key(file, party, SealingKey.generate(), passphrase)
        else:
            write_agency_keys(file, generate_agency_keys(party, with_vote=vote), passphrase)
        _show(report, file, read_facts(file), "", checked=True)


def check_command(
    file: FileArgument,
    *,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """Open a key file, to see that the passphrase is right, the file sound, and that only you can read it.

    Exit status: 0 all of it, 2 not; standard error says which.

    For example:

      foedus keys check us/keys/agency.key

      foedus keys check us/keys/node.key --passphrase-file us.pass --json
    """
    with reporting(json_output) as report:
        facts = read_facts(file)
        passphrase = read_passphrase(passphrase_file, str(file))
        if facts.kind == NODE:
            read_node_keys(file, passphrase)
        elif facts.kind == SEALING:
            read_sealing_key(file, passphrase)
        elif facts.kind == CHAIN:
            read_chain(file, passphrase)
        else:
            read_agency_keys(file, passphrase)
        _show(report, file, facts, "", checked=True)


def _show(report: Report, file: Path, facts: KeyFileFacts, origin: str, *, checked: bool) -> None:
    keys = [_key_view(facts, role, public, origin) for role, public in sorted(facts.public.items())]
    document = {
        "file": str(file),
        "kind": _KINDS[facts.kind],
        "owner": facts.owner,
        "checked": checked,
        "keys": keys,
    }
    columns = ("role", "public key", "kid") + (("vkey",) if origin else ())
    rows = [
        [key["role"], key["public"], key["kid"], key.get("vkey", "")][: len(columns)]
        for key in keys
    ]
    title = f"{file}: {_KINDS[facts.kind]} keys of {facts.owner}" + (
        "" if checked else ", unproven"
    )
    report.show(document, table(title, columns, rows))


def _key_view(facts: KeyFileFacts, role: str, public: bytes, origin: str) -> dict[str, Any]:
    view = {"role": role, "public": public.hex(), "kid": kid_of(public).hex()}
    if origin and role == "log":
        view["vkey"] = str(log_vkey(origin, public))
    if origin and role == "cosigner":
        view["vkey"] = str(cosigner_vkey(origin, facts.owner, public))
    if origin and role == "witness":
        view["vkey"] = str(witness_vkey(origin, facts.owner, public))
    if origin and role == "cosigner-pq":
        name = f"{origin}/cosigner/{facts.owner}/pq"
        view["vkey"] = str(verifier_key(name, KeyType.MLDSA_COSIGNATURE, public))
    return view


def keys_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Key files: show their public keys, make new ones, check that one opens.\n\n"
        "For example: foedus keys show us/keys/node.key",
    )
    app.command("show")(show_command)
    app.command("new")(new_command)
    app.command("check")(check_command)
    return app

"""`foedus genesis`: from declarations to the document that all members signed. Everything here is offline."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from node.cli.asking import PassphraseOption
from node.cli.errors import CouldNot
from node.cli.founding import (
    Terms,
    combine,
    founded_from,
    genesis_view,
    install_genesis,
    missing_signatures,
    party_from_words,
    propose,
    read_bounded,
    read_declaration,
    read_parties,
    read_policy,
    read_world,
    sign_proposal,
)
from node.cli.outbox import write_durably
from node.cli.passphrases import read_passphrase
from node.ledger.errors import MalformedGenesis
from node.ledger.genesis import GENESIS_BYTES_MAX, PUBLICATIONS, parse_unsigned_genesis
from node.log.errors import MalformedInput
from node.reporting import JsonOption, Report, reporting, sentence, table
from node.settings import FILE_NAME, load_settings
from node.signing.keystore import read_node_keys

DocumentArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A proposal or a genesis document.")
]
OutOption = Annotated[
    Path,
    typer.Option("--out", "-o", help="File to write; an existing one is replaced.", metavar="FILE"),
]
PROPOSAL_FILE: Final = Path("proposal.cbor")
_RULES: Final = ("maj", "sup", "high", "stop")


def propose_command(
    declarations: Annotated[
        list[Path], typer.Argument(metavar="DECLARATION...", help="One of each founding state.")
    ],
    *,
    origin: Annotated[
        str, typer.Option(help="The log's name for ever, such as ledger.treaty.example/main.")
    ],
    drill: Annotated[
        bool,
        typer.Option("--drill", help="An exercise: deadlines may be seconds; marked everywhere."),
    ] = False,
    publication: Annotated[
        str, typer.Option(help=f"Who reads restricted entries: {' or '.join(PUBLICATIONS)} (all).")
    ] = PUBLICATIONS[0],
    policy: Annotated[
        Path | None,
        typer.Option(help="Policy overrides, TOML or .json: name = number.", show_default=False),
    ] = None,
    world: Annotated[
        Path | None,
        typer.Option(
            help="The world's capacity by state, TOML or .json: tables capacity_mh and fab. It opens the slow door into force.",
            show_default=False,
        ),
    ] = None,
    party: Annotated[
        list[str] | None,
        typer.Option(
            help="A party known from the start: its author key in hex. May be repeated.",
            metavar="ID,ROLE,STATE,KEY",
            show_default=False,
        ),
    ] = None,
    parties: Annotated[
        Path | None,
        typer.Option(
            help="More of them, TOML [[party]] or .json, with owners.", show_default=False
        ),
    ] = None,
    states: Annotated[
        str,
        typer.Option(help="Further states that may accede later: US,CN,...", show_default=False),
    ] = "",
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="A protocol constant, such as inclusion_s=600.",
            metavar="NAME=N",
            show_default=False,
        ),
    ] = None,
    out: OutOption = PROPOSAL_FILE,
    json_output: JsonOption = False,
) -> None:
    """Gather declarations into an unsigned genesis. The members get validator numbers in the order given.

    Each member then reads it (`foedus genesis show`) and signs it.

    Exit status: 0 written, 2 not; the error names member and field.

    For example:

      foedus genesis propose us/US.declaration cn/CN.declaration gb/GB.declaration ke/KE.declaration
      br/BR.declaration --origin ledger.treaty.example/main --states DE,FR,IN

      foedus genesis propose */*.declaration --origin drill.example/1 --drill --publication open
      --policy drill.toml --party acme,operator,US,<64 hex digits> -o proposal.cbor
    """
    with reporting(json_output) as report:
        terms = Terms(
            origin=origin,
            drill=drill,
            publication=publication,
            policy=read_policy(policy) if policy else {},
            world=read_world(world) if world else {},
            protocol=dict(map(_constant, protocol or ())),
            states=tuple(code.strip() for code in states.split(",") if code.strip()),
            parties=(
                *map(party_from_words, party or ()),
                *(read_parties(parties) if parties else ()),
            ),
        )
        document = propose([read_declaration(path) for path in declarations], terms)
        write_durably(out, document, mode=0o644)
        _show(report, out, document)


def sign_command(
    proposal: Annotated[Path, typer.Argument(metavar="PROPOSAL", help="What `propose` wrote.")],
    *,
    home: Annotated[
        Path, typer.Option(help="Home folder of the member that signs.", metavar="DIR")
    ],
    passphrase_file: PassphraseOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write; else STATE.signed.cbor.", show_default=False
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Sign a proposal with this member's block key. Read it first: `foedus genesis show PROPOSAL`.

    Exit status: 0 signed, 2 not: other keys, another state's, or not a genesis.

    For example:

      foedus genesis sign proposal.cbor --home us

      foedus genesis sign proposal.cbor --home us --passphrase-file us.pass -o US.signed.cbor --json
    """
    with reporting(json_output) as report:
        settings = load_settings(home / FILE_NAME, {})
        path = settings.keys_path
        passphrase = read_passphrase(passphrase_file or settings.passphrase_path, str(path))
        keys = read_node_keys(path, passphrase)
        document = sign_proposal(_read(proposal), keys)
        target = out or Path(f"{keys.state}.signed.cbor")
        write_durably(target, document, mode=0o644)
        _show(report, target, document)


def combine_command(
    signed: Annotated[
        list[Path], typer.Argument(metavar="SIGNED...", help="What the members signed.")
    ],
    *,
    out: OutOption = Path("genesis.cbor"),
    json_output: JsonOption = False,
) -> None:
    """Put all members' signatures into one genesis document.

    Exit status: 0 written, 2 not: somebody has not signed, or signed another proposal.

    For example:

      foedus genesis combine US.signed.cbor CN.signed.cbor GB.signed.cbor KE.signed.cbor BR.signed.cbor

      foedus genesis combine *.signed.cbor -o genesis.cbor --json
    """
    with reporting(json_output) as report:
        document = combine([_read(path) for path in signed])
        write_durably(out, document, mode=0o644)
        _show(report, out, document)


def install_command(
    file: DocumentArgument,
    *,
    home: Annotated[list[Path], typer.Option(help="Home folder; may be repeated.", metavar="DIR")],
    json_output: JsonOption = False,
) -> None:
    """Put a genesis, checked, into home folders, where the node and the commands look for it.

    Exit status: 0 done, 2 not: not signed by all, or another genesis is there.

    For example:

      foedus genesis install genesis.cbor --home us
    """
    with reporting(json_output) as report:
        document = _read(file)
        chain = ""
        for folder in home:
            if not (folder / FILE_NAME).exists():
                raise CouldNot(f"{folder}: no {FILE_NAME} there: `foedus init` makes a home")
            chain = install_genesis(folder, document).chain_id.hex()
        report.show(
            {"chain_id": chain, "homes": [str(folder) for folder in home]},
            f"ledger {chain}\ninstalled in {', '.join(map(str, home))}",
        )


def show_command(file: DocumentArgument, *, json_output: JsonOption = False) -> None:
    """Show a proposal or genesis: members, policy, quorum, and what each rule withstands (veto check).

    The veto check gives, for each voting rule, the largest number of states that cannot stop what all others want. Below five
    members it says "provisional: veto possible".

    Exit status: 0 shown, 2 not a genesis.

    For example:

      foedus genesis show genesis.cbor

      foedus genesis show proposal.cbor --json
    """
    with reporting(json_output) as report:
        _show(report, file, _read(file))


def verify_command(file: DocumentArgument, *, json_output: JsonOption = False) -> None:
    """Check that every member listed signed this genesis, and that its values and keys are sound.

    Exit status: 0 valid, 1 a signature is missing or bad, 2 not a genesis document.

    For example:

      foedus genesis verify genesis.cbor && echo good
    """
    with reporting(json_output) as report:
        document = _read(file)
        try:
            genesis = parse_unsigned_genesis(document)
        except (MalformedGenesis, MalformedInput) as err:
            raise CouldNot(f"{file}: {sentence(err)}") from err
        try:
            founded = founded_from(document)
        except MalformedGenesis as err:
            unsigned = list(missing_signatures(genesis))
            report.show(
                {"valid": False, "why": str(err), "unsigned_by": unsigned}, f"not valid: {err}"
            )
            report.answer_is_no(f"{file}: {err}")
            return
        chain = founded.chain_id.hex()
        members = len(founded.genesis.members)
        report.show(
            {"valid": True, "chain_id": chain, "members": members},
            f"valid: signed by all {members} members\nchain id {chain}",
        )


def _read(path: Path) -> bytes:
    return read_bounded(path, GENESIS_BYTES_MAX)


def _constant(text: str) -> tuple[str, int]:
    name, equals, number = text.partition("=")
    if not equals or not name or not (number.isascii() and number.isdigit()):
        raise CouldNot(f"--protocol {text}: want NAME=N, such as inclusion_s=600")
    return name, int(number)


def _show(report: Report, path: Path, document: bytes) -> None:
    try:
        view = genesis_view(parse_unsigned_genesis(document), document)
    except MalformedGenesis as err:
        raise CouldNot(f"{path}: {err}") from err
    report.show({"file": str(path), **view}, _text(path, view))


def _text(path: Path, view: dict[str, Any]) -> list[str | Table]:
    unsigned = view["unsigned_by"]
    founded = datetime.fromtimestamp(view["time_ms"] // 1000, tz=UTC).isoformat()
    kind = "DRILL, " if view["drill"] else ""
    head = [
        f"{path}: {kind}{view['origin']}, founded {founded}, publication {view['publication']}",
        f"chain id {view['chain_id'] or 'none yet: not signed by ' + ', '.join(unsigned)}",
        f"quorum {view['quorum']} of {len(view['members'])} members; law version {view['law_version']}",
    ]
    members = [
        (number, m["state"], "yes" if m["signed"] else "no", m["peer"], m["client"], m["http"])
        for number, m in enumerate(view["members"])
    ]
    parts: list[str | Table] = [
        "\n".join(head),
        table("Members", ("#", "state", "signed", "peer", "client", "http"), members),
    ]
    if view["parties"]:
        rows = [(p["id"], p["role"], p["state"], ", ".join(p["owners"])) for p in view["parties"]]
        parts.append(table("Parties", ("id", "role", "state", "owners"), rows))
    if view["policy"]:
        parts.append(
            table("Policy beside the defaults", ("name", "value"), list(view["policy"].items()))
        )
    return [*parts, *veto_text(view["veto_check"])]


def veto_text(check: dict[str, Any]) -> Sequence[str | Table]:
    """The veto check for people (MODEL 7)."""
    rows = [
        ("all members eligible", *(check["all"][rule] for rule in _RULES)),
        ("one recused", *(check["one_recused"][rule] for rule in _RULES)),
    ]
    title = "Veto check: the largest number of states that cannot stop what all others want"
    summary = (
        f"{check['shown_as']}: {check['members']} members, k={check['k']}, f={check['f']},"
        f" trigger {check['trigger']}, quorum {check['quorum']}"
    )
    return [table(title, ("", *_RULES), rows), summary]


def genesis_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Found a ledger: gather declarations, sign, combine, install, check. All offline.\n\n"
        "For example: foedus genesis show genesis.cbor",
    )
    app.command("propose")(propose_command)
    app.command("sign")(sign_command)
    app.command("combine")(combine_command)
    app.command("install")(install_command)
    app.command("show")(show_command)
    app.command("verify")(verify_command)
    return app

"""`foedus seal`, `foedus open` and `foedus tip`: documents of class S, and what whistleblowers send.

None of these touches a ledger or a node. What goes onto the ledger is a draft for `foedus submit`: a
commitment in a note, or a tip.
"""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from node.cli.asking import PassphraseOption
from node.cli.errors import CouldNot
from node.cli.founding import read_bounded
from node.cli.outbox import write_durably
from node.cli.passphrases import read_passphrase
from node.cli.sealed_files import (
    PUBLIC_MODE,
    SECRET_MODE,
    document_fields,
    read_document,
    read_receipt,
    read_shares,
    recipients_of,
    write_json,
    write_receipt,
    write_share,
)
from node.cli.statements import hash_of
from node.reporting import JsonOption, Report, reporting
from node.signing.keystore import read_sealing_key
from node.signing.sealing import TEXT_BYTES_MAX, Opened, Sealed, open_share, open_together, seal
from node.treaty.sealed import SALT_BYTES, commitment_of

TextArgument = Annotated[
    Path, typer.Argument(metavar="TEXT", help=f"File to seal, at most {TEXT_BYTES_MAX} bytes.")
]
ToOption = Annotated[
    list[str],
    typer.Option(
        "--to",
        help="A recipient and its X25519 key, in hex or a key file of `foedus keys new --sealing`. May be repeated.",
        metavar="NAME=KEY",
    ),
]
DecoyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--decoy",
        help="A recipient that gets a share which fits nothing, and cannot tell. May be repeated.",
        metavar="NAME",
        show_default=False,
    ),
]
ThresholdOption = Annotated[
    int, typer.Option("--threshold", help="So many recipients together open it.", min=1)
]
ReceiptOption = Annotated[
    Path,
    typer.Option(
        "--receipt",
        help="Secret file to write: with it you can prove later what you sealed.",
        metavar="FILE",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="File to write.", metavar="FILE")]
DocumentArgument = Annotated[
    Path, typer.Argument(metavar="DOCUMENT", help="Sealed document, or the draft of a tip.")
]
SharesArgument = Annotated[
    list[Path], typer.Argument(metavar="SHARE...", help="Files that `foedus open share` wrote.")
]
_TIP: Final = "tip"


def seal_command(
    text: TextArgument,
    *,
    to: ToOption,
    threshold: ThresholdOption,
    out: OutOption,
    receipt: ReceiptOption,
    decoy: DecoyOption = None,
    json_output: JsonOption = False,
) -> None:
    """Seal a document to named recipients, so that --threshold of them together open it.

    The document written may be public: ciphertext, a commitment, and a sealed share for each recipient. Its commitment goes
    onto the ledger, as the hash of a note of class S or as an evaluation's detail.

    Exit status: 0 sealed, 2 not: too long, a bad key, a threshold beyond the recipients.

    For example:

      foedus seal report.txt --to KE=ke.seal --to BR=5f0c... --to GB=77aa... --threshold 2 -o report.sealed --receipt mine

      foedus submit --kind note --class S --set type=evidence --set hash=COMMITMENT --home ke
    """
    with reporting(json_output) as report:
        document = _seal(text, to, threshold, decoy, receipt)
        write_json(out, document_fields(document), mode=PUBLIC_MODE)
        _show_sealed(report, document, out, receipt)


def tip_write_command(
    text: TextArgument,
    *,
    to: ToOption,
    threshold: ThresholdOption,
    out: OutOption,
    receipt: ReceiptOption,
    decoy: DecoyOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write a whistleblower's report as a draft that any relay can submit: nobody reads it, and nothing in it names you.

    Seal to states that are not accused. Naming the accused as --decoy gives it a share that fits nothing, so that its absence
    does not point at it. --threshold must be above k and leave k recipients to spare (k is in `foedus status`). Give the draft
    to any member's agency, inspector, evaluator, source or the secretariat; keep the receipt: it proves later that it is yours.

    Exit status: 0 written, 2 not.

    For example:

      foedus tip write saw.txt --to KE=... --to BR=... --to GB=... --to US=... --decoy US --threshold 2 -o tip.json --receipt me

      foedus submit tip.json --home ke
    """
    with reporting(json_output) as report:
        document = _seal(text, to, threshold, decoy, receipt)
        body = {"type": "report", **document_fields(document)}
        write_json(out, {"kind": _TIP, "class": "S", "body": body}, mode=PUBLIC_MODE)
        _show_sealed(report, document, out, receipt)


def _seal(
    text: Path, to: list[str], threshold: int, decoy: list[str] | None, receipt: Path
) -> Sealed:
    plain = read_bounded(text, TEXT_BYTES_MAX)
    document, opened = seal(plain, recipients_of(to), threshold, frozenset(decoy or ()))
    write_receipt(receipt, document, opened)
    return document


def _show_sealed(report: Report, document: Sealed, out: Path, receipt: Path) -> None:
    names = [share.recipient for share in document.shares]
    report.show(
        {
            "file": str(out),
            "receipt": str(receipt),
            "commitment": document.commitment.hex(),
            "threshold": document.threshold,
            "recipients": names,
        },
        f"sealed: {out}\n  commitment {document.commitment.hex()}\n"
        f"  {document.threshold} of {', '.join(names)} open it\n  keep secret: {receipt}",
    )


def share_command(
    document: DocumentArgument,
    *,
    keys: Annotated[Path, typer.Option("--keys", help="Your sealing key's file.", metavar="FILE")],
    out: OutOption,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """Take your share out of a sealed document. Alone it says nothing; give it to those who are to open it with you.

    Exit status: 0 taken out, 2 not: no share for you, another key, or altered.

    For example:

      foedus open share report.sealed --keys ke.seal -o ke.share
    """
    with reporting(json_output) as report:
        sealed = read_document(document)
        owner, key = read_sealing_key(keys, read_passphrase(passphrase_file, str(keys)))
        index, share = open_share(sealed, owner, key)
        write_share(out, sealed, owner, index, share)
        report.show(
            {"file": str(out), "recipient": owner, "index": index},
            f"share {index} of {owner}: {out}; {sealed.threshold} such open the document",
        )


def join_command(
    document: DocumentArgument,
    shares: SharesArgument,
    *,
    out: OutOption,
    json_output: JsonOption = False,
) -> None:
    """Open a sealed document with enough shares, and check that it is what was committed to.

    More shares than needed are welcome: decoys among them are found out by trying.

    Exit status: 0 opened, 2 not: too few shares, none fits, or its author committed to something else.

    For example:

      foedus open join report.sealed ke.share br.share -o report.txt
    """
    with reporting(json_output) as report:
        sealed, opened = _join(document, shares)
        _require_new(out)
        write_durably(out, opened.text, mode=SECRET_MODE)
        report.show(
            {
                "file": str(out),
                "commitment": sealed.commitment.hex(),
                "salt": opened.salt.hex(),
                "bytes": len(opened.text),
            },
            f"opened: {out}, {len(opened.text)} bytes, as committed to by {sealed.commitment.hex()}\n"
            f"  salt {opened.salt.hex()}",
        )


def tip_disclose_command(
    document: DocumentArgument,
    shares: SharesArgument,
    *,
    tip_report: Annotated[
        str, typer.Option("--report", help="Hash of the tip's entry on the ledger.", metavar="HASH")
    ],
    subject: Annotated[
        str, typer.Option("--subject", help="The member that it accuses.", metavar="STATE")
    ],
    out: OutOption,
    json_output: JsonOption = False,
) -> None:
    """Open a tip with enough shares, and write the draft that discloses it. k+1 states sign: the others endorse its content.

    Exit status: 0 written, 2 not.

    For example:

      foedus tip disclose tip.json ke.share br.share --report 5f0c... --subject US -o open.json

      foedus submit open.json --author KE --content-out open.content
    """
    with reporting(json_output) as report:
        sealed, opened = _join(document, shares)
        entry_hash = hash_of(tip_report, "--report")
        body: dict[str, Any] = {
            "type": "open",
            "report": entry_hash.hex(),
            "salt": opened.salt.hex(),
            "text": opened.text.hex(),
            "subject": subject,
        }
        write_json(out, {"kind": _TIP, "class": "R", "body": body}, mode=SECRET_MODE)
        report.show(
            {"file": str(out), "commitment": sealed.commitment.hex(), "subject": subject},
            f"draft that discloses {entry_hash.hex()} against {subject}: {out}",
        )


def _join(document: Path, shares: list[Path]) -> tuple[Sealed, Opened]:
    sealed = read_document(document)
    return sealed, open_together(sealed, read_shares(shares, sealed))


def _require_new(path: Path) -> None:
    if path.exists():
        raise CouldNot(f"{path}: exists already, and nothing is overwritten")


def check_command(
    text: Annotated[Path, typer.Argument(metavar="TEXT", help="The text as it was sealed.")],
    *,
    receipt: Annotated[
        Path | None,
        typer.Option(
            "--receipt",
            help="The author's receipt; or give --salt and --commitment.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    salt: Annotated[str, typer.Option(help="32 bytes in hex.", show_default=False)] = "",
    commitment: Annotated[
        str, typer.Option(help="As the ledger has it, in hex.", show_default=False)
    ] = "",
    json_output: JsonOption = False,
) -> None:
    """Check whether a text is what was sealed, by the commitment on the ledger.

    With --receipt and --commitment both, the receipt must be of that commitment.

    Exit status: 0 it was, 1 it was not, 2 could not be checked.

    For example:

      foedus open check report.txt --receipt mine --commitment 5f0c...

      foedus open check report.txt --salt 77aa... --commitment 5f0c... --json
    """
    with reporting(json_output) as report:
        if (receipt is None) == (not salt) or not (receipt or commitment):
            raise CouldNot("give --receipt, or --salt and --commitment")
        promised, proof = (b"", b"") if receipt is None else read_receipt(receipt)
        if salt:
            proof = hash_of(salt, "--salt")
        wanted = hash_of(commitment, "--commitment") if commitment else promised
        if len(proof) != SALT_BYTES:
            raise CouldNot(f"a salt of {len(proof)} bytes: want {SALT_BYTES}")
        seen = commitment_of(proof, read_bounded(text, TEXT_BYTES_MAX))
        same = seen == wanted and (not promised or promised == wanted)
        report.show(
            {"matches": same, "commitment": wanted.hex(), "computed": seen.hex()},
            f"{'as committed to' if same else 'NOT what was committed to'}: {wanted.hex()}",
        )
        if not same:
            report.answer_is_no(f"text and salt give {seen.hex()}")


def open_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Sealed documents: take out your share, open with others, check against a commitment.\n\n"
        "For example: foedus open share report.sealed --keys ke.seal -o ke.share",
    )
    app.command("share")(share_command)
    app.command("join")(join_command)
    app.command("check")(check_command)
    return app


def tip_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Whistleblowers' tips: write one that nobody can read or trace, disclose one together.\n\n"
        "For example: foedus tip write what-i-saw.txt --to KE=... --threshold 2 -o tip.json --receipt mine",
    )
    app.command("write")(tip_write_command)
    app.command("disclose")(tip_disclose_command)
    return app

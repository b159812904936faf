"""`foedus audit confirm`: evidence of two roots that rests on ML-DSA-44 lines."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from node.reporting import CouldNot, JsonOption, reporting

CHAIN_ID_BYTES = 32
UNPINNED = ("  as the file itself says: compare this with a chain id that you had before",)


def confirm_command(
    file: Annotated[Path, typer.Argument(help="An evidence file of kind two-roots.")],
    *,
    ledger: Annotated[
        str | None,
        typer.Option(
            "--chain-id",
            help="SHA-256 of the founding document in hexadecimal, which you had before.",
            metavar="HEX",
            show_default=False,
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Confirm evidence of two roots, with the ML-DSA-44 lines that `foedus-verify` cannot check.

    Says of whom it is shown by lines of either kind, by Ed25519 alone, and by ML-DSA-44 alone: once Ed25519 is broken, only the
    last ones are. Whoever trusts no software of ours reads the last with any library that has ML-DSA-44; the message is that of
    C2SP tlog-cosignature, type 0x06. Other kinds of evidence have no such lines, since by ML-DSA-44 states cosign checkpoints
    and sign nothing else: `foedus-verify evidence` confirms those.

    Exit status: 0 shown of all whom the file accuses, 1 not of all, 2 could not be checked.

    For example:

      foedus audit confirm evidence-1-two-roots.json --chain-id 5f0c...
    """
    from node.audit.confirm import EVIDENCE_BYTES_MAX, confirm

    with reporting(json_output) as report:
        found = confirm(_read(file, EVIDENCE_BYTES_MAX + 1), _pin(ledger))
        lines = [
            f"ledger {found.chain_id}, {found.origin}",
            *(UNPINNED if ledger is None else ()),
            f"two checkpoints, of sizes {found.sizes[0]} and {found.sizes[1]}",
            f"shown of: {_names(found.shown_of)}",
            f"by Ed25519 lines alone: {_names(found.by_ed25519_alone)}",
            f"by ML-DSA-44 lines alone: {_names(found.by_second_alone)}",
        ]
        report.show({**asdict(found), "holds": found.holds}, lines)
        if not found.holds:
            report.answer_is_no(f"it accuses {_names(found.accused)}")


def _names(states: tuple[str, ...]) -> str:
    return ", ".join(states) or "nobody"


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit)


def _pin(text: str | None) -> bytes | None:
    """Raises CouldNot."""
    if text is None:
        return None
    try:
        pinned = bytes.fromhex(text)
    except ValueError as err:
        raise CouldNot(f"--chain-id {text:.70}: {err}") from err
    if len(pinned) != CHAIN_ID_BYTES:
        raise CouldNot(f"--chain-id {text:.70}: want {2 * CHAIN_ID_BYTES} hexadecimal digits")
    return pinned

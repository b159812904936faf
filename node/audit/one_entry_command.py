"""`foedus audit entry`: the verdict on one entry under the rule then in force."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from node.audit.archive_command import genesis_bytes
from node.audit.diff_command import GenesisOption
from node.ledger.questions.moment import INDEX_MAX, told_time
from node.reporting import CouldNot, JsonOption, reporting

HASH_CHARS: Final = 64


def entry_command(
    entry: Annotated[
        str, typer.Argument(metavar="INDEX|HASH", help="Its index in the log, or its SHA-256.")
    ],
    *,
    source: Annotated[
        Path,
        typer.Option("--from", help="An archive, or a node's home or data folder.", metavar="DIR"),
    ],
    genesis: GenesisOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say what the law made of one entry, and by which rule: members, policy and key then in force, accepted or refused and why.

    Offline. The law is run again up to the commit that holds the entry, every signature before it is checked, and the cosigned
    checkpoint that the answer stands on is shown, with the proof that the entry is under it.

    Exit status: 0 accepted, or a record that the law made; 1 refused by the law; 2 not certified by this copy.

    For example:

      foedus audit entry 1200 --from archive-us --genesis genesis.cbor

      foedus audit entry 5f0c...e1 --from ke-home --json
    """
    from node.audit.one_entry import judge_entry

    with reporting(json_output) as report:
        pinned = None if genesis is None else genesis_bytes(genesis)
        made = judge_entry(source, pinned, _wanted(entry), report.note)
        report.show(made, _text(made))
        if made["form"] == "entry" and made["verdict"] != "accepted":
            report.answer_is_no(f"refused: {made['verdict']}")


def _wanted(text: str) -> int | bytes:
    """Raises CouldNot."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(INDEX_MAX)):
        return int(text)
    try:
        digest = bytes.fromhex(text) if len(text) == HASH_CHARS else b""
    except ValueError:
        digest = b""
    if not digest:
        raise CouldNot(
            f"{text[:80]!r}: want an entry's index, or its SHA-256 of {HASH_CHARS} hex digits"
        )
    return digest


def _text(made: dict[str, Any]) -> list[str]:
    from node.audit.absence import stand_lines

    rule = made["rule"]
    bound = [state for state, status in rule["members"].items() if status != "LEFT"]
    lines = [f"entry {made['index']}, {made['sha256']}"]
    if made["form"] == "entry":
        why = f": {made['why']}" if made["why"] else ""
        before = (
            ""
            if made["key_in_force_before"]
            else ", which came into the register in this very commit"
        )
        lines += [
            f"verdict: {made['verdict']}{why}",
            f"{made['subject']} by {made['author']} #{made['seq']} ({made['role']} of {made['state']})",
            f"included {told_time('at', made['at_s'])}",
            f"signed with key {made['kid']}{before}",
        ]
        lines += [f"gave entry {one['index']}: {one['type']}" for one in made["gave"]]
    else:
        said = {"record": "a record that the law made", "founding": "a record of the founding"}
        lines.append(f"{said[made['form']]}: {made['says']['type']}")
    lines.append(
        f"in force then: law {rule['law_version']}, policy {rule['policy_version']}, epoch {rule['epoch']}, {len(bound)} members"
        f" ({', '.join(bound)}), k={rule['k']}, f={rule['f']}, trigger {rule['trigger']}"
    )
    return lines + stand_lines(made["stands_on"])

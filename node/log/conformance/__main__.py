"""Entry script: judge conformance files for the public formats, one JSON line a case.

    python -m node.log.conformance FILE...

A line is {"file", "case", "pass", "note"}. Exit status 1 if any case fails, 2 if a file cannot be read or is of no known
shape. Files are told apart by their fields, not by name, so that further files of the same shape are judged as well. A section
that nothing here reads is a failing case: silence would look like a pass. Imported by nobody (RULINGS R70): it is the one
place where this room meets node/signing, so it is a package of its own: a module for each kind of file, and here the table of
shapes.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from node.log.conformance.cases import Case, Failed, Json
from node.log.conformance.cosignatures import cosignature_cases, finality_cases, policy_cases
from node.log.conformance.notes import checkpoint_cases, note_cases
from node.log.conformance.signatures import edge_cases, speccheck_cases, wycheproof_cases
from node.log.conformance.statements import cose_cases
from node.log.conformance.tile_files import tessera_cases, tile_cases
from node.log.conformance.trees import merkle_cases, upstream_proof_cases
from node.log.conformance.witnesses import proof_cases, witness_cases


def cases_of(data: Json) -> Iterator[Case]:
    """The cases of a file, told by its fields. Raises Failed for a file of no known shape."""
    if not isinstance(data, dict):
        raise Failed("not a JSON object")
    first = next(iter(data.get("cases") or [{}]))
    first = first if isinstance(first, dict) else {}
    shapes: list[tuple[bool, Callable[[Json], Iterator[Case]], str]] = [
        (
            "ct_reference" in data or "generated" in data,
            merkle_cases,
            "ct_reference generated",
        ),
        ("leafIdx" in first or "wantErr" in first, upstream_proof_cases, "cases"),
        (
            "paths" in data or "geometry" in data or "bundle_accept" in data,
            tile_cases,
            "paths paths_reject geometry size_ bundle_accept bundle_reject max_entry",
        ),
        (
            "checkpoints_by_size" in data,
            tessera_cases,
            "entries_utf8 checkpoints_by_size resources_base64",
        ),
        ("steps" in data, witness_cases, "witness steps"),
        ("variants" in data, cose_cases, "variants reject_for_ accept_surprise"),
        ("predicates" in first, edge_cases, "cases versions libraries_ pynacl_"),
        ("pub_key" in first, speccheck_cases, "cases"),
        ("groups" in data, wycheproof_cases, "groups notes"),
        ("policy" in data and "cases" in data, finality_cases, "cases equivocation"),
        (
            "log_vkey" in data and ("accept" in data or "reject_parse" in data),
            proof_cases,
            "accept reject_parse reject_verify",
        ),
        (
            "vkeys_accept" in data or "expect" in first,
            note_cases,
            "skey_to_sign vkeys_accept vkeys_reject cases",
        ),
        (
            "own" in data or "accept_surprises" in data,
            cosignature_cases,
            "known_answer_sigsum spec_example_message timestamp_only own reject accept_surprises",
        ),
        (_lists_field(data, "policy"), policy_cases, "accept reject"),
        (_lists_field(data, "text"), checkpoint_cases, "accept reject"),
    ]
    for fits, cases, sections in shapes:
        if fits:
            yield from cases(data)
            yield from _unread(data, tuple(sections.split()))
            return
    raise Failed(f"no known shape: fields {sorted(data)}")


def _unread(data: Json, sections: tuple[str, ...]) -> Iterator[Case]:
    """A failing case for each section that nothing here judges: silence would look like a pass."""
    families = tuple(section for section in sections if section.endswith("_"))
    for name, value in data.items():
        read = name in sections or (families and name.startswith(families))
        if isinstance(value, list | dict) and not read:
            yield Case(name=name, judge=lambda n=name: _not_understood(n))  # type: ignore[misc]


def _not_understood(name: str) -> None:
    raise Failed(f"section {name!r} is of no known shape")


def _lists_field(data: Json, field: str) -> bool:
    listed = [*data.get("accept", []), *data.get("reject", [])]
    return bool(listed) and all(isinstance(case, dict) and field in case for case in listed)


def judge_file(path: str) -> bool:
    """Prints a line for each case; True if all hold. Raises OSError, ValueError, Failed if the file cannot be read."""
    held = True
    for case in cases_of(json.loads(Path(path).read_text(encoding="utf-8"))):
        why = ""
        try:
            case.judge()
        except Exception as err:  # noqa: BLE001 - one broken case must not hide the others
            why = f"{type(err).__name__}: {err}"
        held = held and not why
        line = {"file": path, "case": case.name, "pass": not why, "note": why}
        print(json.dumps(line, ensure_ascii=False))
    return held


def main(paths: Sequence[str]) -> int:
    if not paths:
        print("usage: python -m node.log.conformance FILE...", file=sys.stderr)
        return 2
    status = 0
    for path in paths:
        try:
            if not judge_file(path):
                status = max(status, 1)
        except (OSError, ValueError, LookupError, TypeError, Failed) as err:
            print(f"{path}: cannot be judged: {type(err).__name__}: {err}", file=sys.stderr)
            status = 2
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The evidence file: everything another auditor needs to see the same, as one JSON document.

It holds the whole report and, for each finding, the bytes found and expected in full and the signed notes or signatures that show
who said what. Who reads it checks those against the genesis named by its chain id, not against this file's words.
"""

import json
from pathlib import Path
from typing import Any, Final

from node.audit.findings import AuditReport, Finding

VERSION: Final = 1
NUMBER_MAX: Final = 10_000


def evidence_view(report: AuditReport) -> dict[str, Any]:
    """The document."""
    view = report.as_json()
    view["evidence"] = VERSION
    view["findings"] = [_finding(finding) for finding in report.findings]
    view["misdeeds"] = [_finding(finding) for finding in report.misdeeds]
    return view


def _finding(finding: Finding) -> dict[str, Any]:
    view = finding.as_json()
    if finding.byte_range is not None:
        view["found"] = finding.byte_range.found.hex()
        view["expected"] = finding.byte_range.expected.hex()
    view["proof"] = dict(finding.proof)
    return view


def write_evidence(report: AuditReport, path: Path | None) -> Path:
    """Write it to `path`, or to a new file in the working folder. Raises OSError, FileExistsError among them."""
    data = json.dumps(evidence_view(report), indent=1, ensure_ascii=False) + "\n"
    if path is not None:
        with path.open("x", encoding="utf-8") as file:
            file.write(data)
        return path
    return write_numbered(Path(), f"foedus-evidence-{report.chain_id[:8]}", data)


def write_numbered(folder: Path, stem: str, data: str) -> Path:
    """A new file `stem`-1.json or the first number that is free. Raises OSError, FileExistsError among them."""
    for number in range(1, NUMBER_MAX):
        path = folder / f"{stem}-{number}.json"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(data)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{NUMBER_MAX} files {stem}-….json stand in {folder}: name another place")

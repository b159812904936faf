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
    for number in range(1, NUMBER_MAX):
        name = Path(f"foedus-evidence-{report.chain_id[:8]}-{number}.json")
        try:
            with name.open("x", encoding="utf-8") as file:
                file.write(data)
        except FileExistsError:
            continue
        return name
    raise FileExistsError(f"{NUMBER_MAX} evidence files stand here already: name one by --evidence")

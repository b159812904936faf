"""The audit's answer as one page for people who are no engineers: what was checked, how far, what failed, who signed what.

One file, no script, nothing fetched, drawn in SVG: it can be printed and kept. The same report gives the same bytes: no time of
day, no path but those that were named.
"""

from html import escape
from typing import Final

from node.audit.findings import AuditReport, Depth, Finding, SourceReport, Verdict

SHOWN_MAX: Final = 200
MEANING: Final = {
    Depth.PARSE: "All parts are there and readable",
    Depth.STRUCTURE: "All entries lead to one root, the log's fingerprint",
    Depth.CERTIFICATES: "The founders signed, and a quorum of states signed that root",
    Depth.SIGNATURES: "Every entry and every block is signed by whom it names",
    Depth.ORDER: "The order of entries is the one that the states' own blocks give",
    Depth.LAW: "Every decision and finding follows from the entries by the treaty's rules",
    Depth.STORE: "The node's own database holds nothing else",
    Depth.COMPARE: "The copies agree, byte by byte",
}
VERDICTS: Final = {
    Verdict.CONSISTENT: ("good", "Nothing is wrong with this history, as far as it was looked at."),
    Verdict.INCONSISTENT: ("bad", "Something is wrong. What, and where, stands below."),
    Verdict.UNCHECKED: (
        "open",
        "Nothing could be shown: no copy has a whole tree and a signed root.",
    ),
}
STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{border:1px solid #ccc;padding:.35rem .6rem;text-align:left;vertical-align:top}
.good{color:#186a3b}.bad{color:#a93226}.open{color:#7d6608}code{font-size:.85em;word-break:break-all}
@media print{body{margin:0}}
"""


CLOSING: Final = (
    "<h2>How to check this yourself</h2><p>Run <code>foedus audit</code> on the same copies: it writes the same page,"
    " byte for byte. Evidence files are confirmed by <code>foedus-verify</code>, two short files that can be read in an"
    " hour.</p></html>\n"
)


def html_report(report: AuditReport) -> bytes:
    """The page."""
    tone, sentence = VERDICTS[report.verdict]
    drill = "<p class=open>This is a drill: its ledger is nobody's.</p>" if report.drill else ""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Audit of the ledger</title>",
        f"<style>{STYLE}</style><h1>Audit of {escape(report.origin or 'a ledger')}</h1>{drill}",
        f"<p class={tone}><strong>{escape(sentence)}</strong></p>",
        f"<p>Ledger <code>{escape(report.chain_id)}</code>. Compare this number with one that you have from elsewhere.</p>",
        _cosigners(report),
        *(_source(source) for source in report.sources),
        _findings("What is wrong", report.findings, "Nothing was found."),
        _findings(
            "Who signed against the rules",
            report.misdeeds,
            "Nobody was seen to have signed two things of which an honest party signs one.",
        ),
        CLOSING,
    ]
    return "\n".join(part for part in parts if part).encode()


def _cosigners(report: AuditReport) -> str:
    """A box for each member: filled if its signature over a final root was seen."""
    members = report.members
    if not members:
        return ""
    boxes = []
    for number, state in enumerate(members):
        column, row = number % 20, number // 20
        seen = state in report.cosigned_by
        fill, ink = ("#186a3b", "#fff") if seen else ("#eee", "#777")
        boxes.append(
            f'<rect x="{column * 48}" y="{row * 34}" width="44" height="28" rx="4" fill="{fill}"/>'
            f'<text x="{column * 48 + 22}" y="{row * 34 + 19}" text-anchor="middle" font-size="13" fill="{ink}">'
            f"{escape(state[:5])}</text>"
        )
    height = 34 * (-(-len(members) // 20))
    signed = len(report.cosigned_by)
    return (
        f"<h2>Who signed</h2><svg role=img viewBox='0 0 960 {height}' width=100%>{''.join(boxes)}</svg>"
        f"<p>{signed} of {len(members)} states signed the root that is shown here; {report.quorum} make it final.</p>"
    )


def _source(source: SourceReport) -> str:
    rows = []
    for depth in Depth:
        checked = source.checked[depth]
        tone, mark = ("good", "checked") if checked.done else ("open", "not checked")
        rows.append(
            f"<tr><td>{escape(MEANING[depth])}<td class={tone}>{mark}<td>{escape(checked.how_far)}"
        )
    return (
        f"<h2>{escape(source.name)}</h2><p>{escape(source.kind)} at <code>{escape(source.where)}</code></p>{_bar(source)}"
        f"<table><tr><th>Question<th>Answer<th>How far{''.join(rows)}</table>"
    )


def _bar(source: SourceReport) -> str:
    """The log as a bar: final, then what is not final yet; under it how far the law was run again."""
    if not source.size:
        return ""
    final = 900 * min(source.final_size, source.size) // source.size
    law = 900 * min(source.entries_replayed, source.size) // source.size
    return (
        "<svg role=img viewBox='0 0 960 62' width=100%>"
        "<rect x='0' y='4' width='900' height='18' fill='#f5cba7'/>"
        f"<rect x='0' y='4' width='{final}' height='18' fill='#186a3b'/>"
        "<rect x='0' y='28' width='900' height='8' fill='#eee'/>"
        f"<rect x='0' y='28' width='{law}' height='8' fill='#2471a3'/>"
        f"<text x='0' y='56' font-size='13'>{source.size} entries, {source.final_size} of them final (green);"
        f" rules run again over {source.entries_replayed} (blue)</text></svg>"
    )


def _findings(title: str, findings: tuple[Finding, ...], none: str) -> str:
    if not findings:
        return f"<h2>{escape(title)}</h2><p class=good>{escape(none)}</p>"
    rows = [
        f"<tr><td>{escape(finding.source)}<td>{_place(finding)}<td>{escape(finding.what)}"
        f"<td>{escape(', '.join(finding.accused) or '-')}<td>{escape(', '.join(finding.proven_by) or '-')}"
        for finding in findings[:SHOWN_MAX]
    ]
    more = len(findings) - SHOWN_MAX
    rest = f"<p>... and {more} more, in the evidence file.</p>" if more > 0 else ""
    return (
        f"<h2>{escape(title)}</h2><table><tr><th>Copy<th>Place<th>What<th>Shown by the own signature of"
        f"<th>What should stand there is signed by{''.join(rows)}</table>{rest}"
    )


def _place(finding: Finding) -> str:
    parts = []
    if finding.entry is not None:
        parts.append(f"entry {finding.entry}")
    if finding.entries is not None:
        parts.append(f"entries {finding.entries[0]} to {finding.entries[1]}")
    if finding.byte_range is not None:
        parts.append(str(finding.byte_range))
    if finding.file is not None:
        parts.append(f"file <code>{escape(finding.file)}</code>")
    return ", ".join(parts) or "-"

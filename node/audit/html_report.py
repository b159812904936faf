"""The audit's answer as one page for people who are no engineers: what was checked, how far, what failed, who signed what.

One file, no script, nothing fetched, drawn in SVG: it can be printed and kept. The same report gives the same bytes: no time of
day but the signers' own, no path but those that were named. Colours only repeat what a word says.
"""

from collections.abc import Mapping
from html import escape as escape_markup
from typing import Final

from node.audit.findings import AuditReport, Depth, Finding, SourceReport, Verdict
from node.ledger.questions.moment import time_text
from node.reporting import plain

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
dt{font-weight:600}dd{margin:0 0 .4rem 1.5rem}
.good{color:#186a3b}.bad{color:#a93226}.open{color:#7d6608}code{font-size:.85em;word-break:break-all}
@media print{body{margin:0}}
"""


MISDEEDS: Final = "The history stands, but somebody signed against the rules: see below."
WORDS: Final = (
    ("entry", "one statement, decision or finding; entries are numbered from 0 and never change"),
    (
        "root",
        "a fingerprint of all entries up to a number: any changed, lost or added entry gives another one",
    ),
    (
        "final",
        "so many states signed the root that two different ones cannot both be, unless more than a third lie",
    ),
    ("commit", "the step at which the states fixed the order of some entries"),
    ("block", "what one state's node proposed in one round, signed by it"),
    ("copy", "a node's database, an archive of plain files, or what a running node shows"),
)
CLOSING: Final = (
    "<h2>Words</h2><dl>" + "".join(f"<dt>{word}<dd>{meaning}" for word, meaning in WORDS) + "</dl>"
    "<h2>How to check this yourself</h2><p>Run <code>foedus audit</code> on the same copies: it writes the same page,"
    " byte for byte. Where a state is named, a file beside the evidence shows its own signatures; it is confirmed by"
    " <code>foedus-verify evidence</code>, two short programs that can be read in an hour and need none of this one.</p></html>\n"
)


def escape(text: str) -> str:
    """A stranger's words as words: no markup, and nothing that turns a line round."""
    return escape_markup(plain(text))


def html_report(report: AuditReport) -> bytes:
    """The page."""
    tone, sentence = VERDICTS[report.verdict]
    if report.misdeeds and report.verdict is Verdict.CONSISTENT:
        tone, sentence = "bad", MISDEEDS
    drill = "<p class=open>This is a drill: its ledger is nobody's.</p>" if report.drill else ""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Audit of the ledger</title>",
        f"<style>{STYLE}</style><h1>Audit of {escape(report.origin or 'a ledger')}</h1>{drill}",
        f"<p class={tone}><strong>{escape(sentence)}</strong></p>",
        _summary(report),
        _trust(report),
        _cosigners(report),
        *(_source(source, report.wrong(source.name)) for source in report.sources),
        _unread(report),
        _findings("What is wrong", report.findings, "Nothing was found."),
        _findings(
            "Who signed against the rules",
            report.misdeeds,
            "Nobody was seen to have signed two things of which an honest party signs one.",
        ),
        CLOSING,
    ]
    return "\n".join(part for part in parts if part).encode()


def _summary(report: AuditReport) -> str:
    """To which index, of when, and how far the rules were run again: of the copy that goes furthest."""
    copies = len(report.sources)
    looked = f"{copies} {'copy was' if copies == 1 else 'copies were'} looked at."
    furthest = max(report.sources, key=lambda source: source.final_size, default=None)
    if furthest is None or not furthest.final_size:
        return f"<p>{looked} None shows a root that is final.</p>"
    when = "" if furthest.final_at_s is None else f", signed about {time_text(furthest.final_at_s)}"
    again = report.entries_replayed
    rules = (
        f"The treaty's rules were run again over entries 0 to {again - 1}."
        if again
        else "The treaty's rules were not run again."
    )
    return (
        f"<p>{looked} The history is final up to entry {furthest.final_size - 1}{escape(when)}; its root is"
        f" <code>{escape(furthest.final_root)}</code>. {rules}</p>"
    )


def _trust(report: AuditReport) -> str:
    whence = (
        "All was judged by the founding document that the auditor named."
        if report.pinned
        else "<strong>All was judged by the founding document that lies in the copies themselves:</strong> whoever made them"
        " could have founded a ledger of his own."
    )
    return (
        f"<p>Ledger <code>{escape(report.chain_id)}</code>. {whence} Compare this number with one that you have from"
        " elsewhere.</p>"
    )


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
        f"<h2>Who signed</h2><svg role=img aria-label='{signed} of {len(members)} states signed' viewBox='0 0 960 {height}'"
        f" width=100%>{''.join(boxes)}</svg><p>{signed} of {len(members)} states signed the newest final root; {report.quorum}"
        f" make it final.{_not_seen(report)}</p>"
    )


def _not_seen(report: AuditReport) -> str:
    missing = [state for state in report.members if state not in report.cosigned_by]
    return f" No signature was seen of {escape(', '.join(missing))}." if missing else ""


def _source(source: SourceReport, wrong: Mapping[Depth, int]) -> str:
    rows = []
    for depth in Depth:
        checked = source.checked[depth]
        tone, mark = ("good", "yes") if checked.done else ("open", "not checked")
        if wrong.get(depth):
            tone, mark = "bad", f"<strong>no</strong>, {wrong[depth]} found wrong"
        rows.append(
            f"<tr><td>{escape(MEANING[depth])}<td class={tone}>{mark}<td>{escape(checked.how_far)}"
        )
    return (
        f"<h2>{escape(source.name)}</h2><p>{escape(source.kind)} at <code>{escape(source.where)}</code></p>{_bar(source)}"
        f"<table><tr><th>Question<th>Answer<th>How far{''.join(rows)}</table>"
    )


def _unread(report: AuditReport) -> str:
    if not report.unread:
        return ""
    rows = "".join(f"<li>{escape(why)}" for _, why in report.unread)
    told = "This says nothing of anybody: who does not answer may be cut off."
    return f"<h2>What could not be read</h2><ul>{rows}</ul><p>{told}</p>"


def _bar(source: SourceReport) -> str:
    """The log as a bar: final, then what is not final yet; under it how far the law was run again."""
    if not source.size:
        return ""
    final = 900 * min(source.final_size, source.size) // source.size
    law = 900 * min(source.entries_replayed, source.size) // source.size
    label = f"{source.final_size} of {source.size} entries are final"
    return (
        f"<svg role=img aria-label='{label}' viewBox='0 0 960 62' width=100%>"
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
        f"<h2>{escape(title)}</h2><table><tr><th>Copy<th>Place<th>What<th>Whose own signature shows it"
        f"<th>Who signed what should stand there{''.join(rows)}</table>{rest}"
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

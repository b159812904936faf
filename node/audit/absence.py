"""That somebody filed nothing for a period, or filed late: a statement that stands on a certified log, and its honest bounds.

    claim       US, kind usage, about op0/dc1, period [s, e), deadline d
    log         every entry up to a cosigned size, its last commit at or after d        else: undecided
    entries     those of US and of the parties under it, of that kind and subject, that the law accepted
    verdict     filed     the period is covered by entries included up to d
                partly    some of it is
                late      none is, but an entry for it came after d
                absent    none came at all

Nobody is accused whose report is there, nor where the ledger itself stood still (RULINGS R34: d moves as the law's own deadlines
do), nor of what the treaty did not make it owe by d (`owed`): whoever asks may name any period and any deadline; nor a state of
whose node no block was ordered from the time on when the report could be filed till d: it was down or shut out, and perhaps its
author with it. Absence stands then all the same, and the statement says both.

The bytes of a statement follow from the log up to its size alone: `check` makes it again from another copy and compares. Beside
it stand what a copy may have more or less of: cosignatures, and checkpoints before and after; and the genesis with links to later
policies, so that `foedus-verify evidence` confirms without a copy what a file alone can show: how far the log goes, and where the
chain of each author stands there.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from consensus.codec import MalformedBlock, decode_commit_record
from node.audit.owed import Owed, owed
from node.audit.source import CannotAudit, Lost
from node.audit.travel import Journey, Place, journey
from node.ledger.plan import MS_PER_S, AppendPlan
from node.ledger.policy_chain import encode_links
from node.ledger.questions.moment import SECOND_MAX, Moment, time_text
from node.ledger.reader import Malformed, read_entry
from node.treaty import outage
from node.treaty.book import Book
from node.treaty.filing import PERIOD_AHEAD_S
from node.treaty.parsing import KIND_NAMES

FORMAT: Final = "foedus/absence/1"
OF_ONE_COPY: Final = (
    "stands_on",
    "seen",
    "genesis",
    "policies",
)  # what copies may differ in; the ledger is in stands_on
SHOWN_OF_STAND: Final = ("chain_id", "commit", "time_s", "size", "root", "state_digest")
FILED_MAX: Final = 10_000
AUTHORS_MAX: Final = 1_000
DUTY_CHECKS: Final = ("C02", "C14", "C28")  # findings that something is not there or overdue
TOLD_EVERY: Final = 100_000  # commits looked at for a node's blocks, between two words on how far

KINDS: Final = tuple(KIND_NAMES.values())

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is asked. Ledger seconds, unix UTC."""

    who: str  # a state, with all parties under it; or one party
    kind: str  # of statement or motion; empty: any
    about: str  # what it speaks of, as the register names it; empty: anything
    start_s: int  # of the period, inclusive
    end_s: int  # exclusive
    by_s: int  # in time up to and including this second

    def __post_init__(self) -> None:
        if self.kind and self.kind not in KINDS:
            raise CannotAudit(f"kind {self.kind!r:.80}: want one of {', '.join(KINDS)}")
        if not 0 <= self.start_s < self.end_s:
            raise CannotAudit(f"period [{self.start_s}, {self.end_s}): it must end after it begins")
        if max(self.end_s, self.by_s) > SECOND_MAX:
            raise CannotAudit(
                f"period end {self.end_s}, deadline {self.by_s}: at most {SECOND_MAX}, {time_text(SECOND_MAX)}"
            )
        if self.by_s < self.start_s:
            raise CannotAudit(f"deadline {self.by_s}: before the period begins at {self.start_s}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """An entry of the claim's kind and subject for its period."""

    index: int
    entry: str  # hash in hex
    author: str
    seq: int
    kind: str
    period: tuple[int, int] | None
    at_s: int  # ledger second of its commit
    code: str  # empty: accepted


@dataclass(slots=True, kw_only=True)
class _Watched:
    """What a run through the log has shown so far."""

    claim: Claim
    filed: list[Filed] = field(default_factory=list)
    refused: list[Filed] = field(default_factory=list)

    def look(self, plan: AppendPlan, book: Book) -> None:
        claim = self.claim
        for appended in plan.leaves:
            facts = appended.facts
            if (
                facts is None
                or claim.kind not in {"", facts.kind}
                or not _is_of(book, facts.author, claim.who)
            ):
                continue
            accepted = not facts.code
            if accepted and claim.about and claim.about not in facts.topic.split(":")[1:]:
                continue
            period = _period(appended.leaf, facts.entry_hash)
            if not _is_for(claim, period, facts.time_s):
                continue
            found = self.filed if accepted else self.refused
            if len(found) >= FILED_MAX:
                raise CannotAudit(
                    f"more than {FILED_MAX} entries for this claim: narrow it by kind, subject or period"
                )
            found.append(
                Filed(
                    index=facts.leaf,
                    entry=facts.entry_hash.hex(),
                    author=facts.author,
                    seq=facts.seq,
                    kind=facts.kind,
                    period=period,
                    at_s=facts.time_s,
                    code=facts.code,
                )
            )


def _is_of(book: Book, author: str, who: str) -> bool:
    party = book.state.parties.get(author)
    return author == who or (party is not None and party.state == who)


def _state_of(book: Book, who: str) -> str:
    party = book.state.parties.get(who)
    return who if party is None else party.state


def _period(raw: bytes, entry_hash: bytes) -> tuple[int, int] | None:
    entry = read_entry(raw, entry_hash)
    return None if isinstance(entry, Malformed) else entry.parsed.period


def _is_for(claim: Claim, period: tuple[int, int] | None, at_s: int) -> bool:
    """A period that overlaps; of an entry without one, its commit from the period's begin on."""
    if period is None:
        return at_s >= claim.start_s
    return period[0] < claim.end_s and period[1] > claim.start_s


def state_absence(
    path: Path, pinned: bytes | None, claim: Claim, moment: Moment, note: Note
) -> dict[str, Any]:
    """The statement, as of `moment`, else as of the end of what is certified. Raises CannotAudit."""
    watched = _Watched(claim=claim)
    with journey(path, pinned, note, watched.look) as going:
        return _statement(going, going.to(moment), claim, watched)


def check_absence(
    path: Path, pinned: bytes | None, statement: Mapping[str, Any], note: Note
) -> list[str]:
    """Make a statement again from this copy: which fields differ; empty if it holds. Raises CannotAudit if it cannot tell."""
    claim, size = _claimed(statement)
    again = state_absence(path, pinned, claim, Moment(index=size - 1), note)
    names = dict.fromkeys([*again, *statement])
    differing = [
        name for name in names if name not in OF_ONE_COPY and again.get(name) != statement.get(name)
    ]
    stand, told = again["stands_on"], statement["stands_on"]
    return differing + [
        f"stands_on.{name}" for name in SHOWN_OF_STAND if stand[name] != told.get(name)
    ]


def _claimed(statement: Mapping[str, Any]) -> tuple[Claim, int]:
    """Of a statement from outside. Raises CannotAudit naming the field."""
    if statement.get("format") != FORMAT:
        raise CannotAudit(f"format {statement.get('format')!r:.40}: this program reads {FORMAT!r}")
    match statement:
        case {
            "claim": {
                "who": str(who),
                "kind": str(kind),
                "about": str(about),
                "start_s": int(start_s),
                "end_s": int(end_s),
                "by_s": int(by_s),
            },
            "stands_on": {"size": int(size)},
        } if size > 0:
            claim = Claim(who=who, kind=kind, about=about, start_s=start_s, end_s=end_s, by_s=by_s)
            return claim, size
        case _:
            raise CannotAudit(
                "claim, stands_on: want who, kind, about, start_s, end_s, by_s; and size"
            )


def _statement(going: Journey, place: Place, claim: Claim, watched: _Watched) -> dict[str, Any]:
    book = place.sight.book
    authors = sorted(name for name in book.state.parties if _is_of(book, name, claim.who))
    if not authors:
        raise CannotAudit(f"{claim.who}: no state or party of this ledger then")
    if len(authors) > AUTHORS_MAX:
        raise CannotAudit(f"{claim.who}: more than {AUTHORS_MAX} parties: name one of them")
    due_s = outage.later(book, claim.start_s, claim.by_s)
    in_time = [filed for filed in watched.filed if filed.at_s <= due_s]
    uncovered = _uncovered(claim, in_time)
    verdict = _verdict(watched.filed, in_time, uncovered, ended=place.stand.time_s >= due_s)
    state = _state_of(book, claim.who)
    node = _node(going, claim, due_s, state)
    overdue: list[Owed] = []
    if verdict not in {"filed", "undecided"}:
        found = place.sight.records("finding")
        overdue = owed(book, found, claim, state, uncovered, due_s)
    why_not = _why_not_accused(verdict, node, overdue)
    return {
        "format": FORMAT,
        "claim": asdict(claim),
        "verdict": verdict,
        "what": _told(claim, verdict, due_s, place, watched.filed),
        "accuses": not why_not,
        "why_not": why_not,
        "due_s": due_s,
        "owed": [one.as_json() for one in overdue],
        "outages": [
            {"since": gap.since, "until": gap.until, "moved": gap.moved}
            for _, gap in sorted(book.state.gaps.items())
            if claim.start_s < gap.until and due_s >= gap.since
        ],
        "authors": authors,
        "filed": [_shown(filed, due_s) for filed in watched.filed],
        "refused": [_shown(filed, due_s) for filed in watched.refused],
        "uncovered": [list(span) for span in uncovered],
        "chains": {author: _chain(going, book, author) for author in authors},
        "node": node,
        "findings": _findings(place, book, claim),
        "seen": _seen(going, watched.filed),
        "stands_on": place.stands_on,
        "genesis": base64.b64encode(going.document).decode(),
        "policies": json.loads(encode_links(going.links))["links"],
        "bounds": _bounds(place, claim, due_s),
    }


def _uncovered(claim: Claim, in_time: list[Filed]) -> list[tuple[int, int]]:
    """What of the period no entry in time speaks for; one without a period speaks for all of it."""
    if any(filed.period is None for filed in in_time):
        return []
    found, at = [], claim.start_s
    for start, end in sorted(filed.period for filed in in_time if filed.period is not None):
        if start > at:
            found.append((at, start))
        at = max(at, end)
    if at < claim.end_s:
        found.append((at, claim.end_s))
    return found


def _verdict(
    filed: list[Filed], in_time: list[Filed], uncovered: list[tuple[int, int]], *, ended: bool
) -> str:
    if not uncovered:
        return "filed"
    if not ended:
        return "undecided"
    if in_time:
        return "partly"
    return "late" if filed else "absent"


def _why_not_accused(verdict: str, node: Mapping[str, Any], overdue: list[Owed]) -> str:
    if verdict == "filed":
        return "the report is there, and in time"
    if verdict == "undecided":
        return "the certified log ends before the deadline"
    if node["validator"] and node["whole"] and node["first_s"] is None:
        return "no block of its node was ordered while it could file: the node was down or shut out, and perhaps the author"
    if not overdue:
        return "nothing that the treaty makes it owe was due by then: period and deadline are the asker's own"
    return ""


def _told(claim: Claim, verdict: str, due_s: int, place: Place, filed: list[Filed]) -> str:
    what = claim.kind or "entry"
    about = f" about {claim.about}" if claim.about else ""
    period = f"for {time_text(claim.start_s)} to {time_text(claim.end_s)}"
    whole = f"in the log up to entry {place.stand.size - 1} of {time_text(place.stand.time_s)}"
    deadline = f"by {time_text(due_s)}"
    match verdict:
        case "absent":
            return f"{claim.who} filed no {what}{about} {period} {deadline}, nor after: there is none {whole}"
        case "late":
            first = min(filed, key=lambda one: one.index)
            return (
                f"{claim.who} filed no {what}{about} {period} {deadline}: the first {whole} is entry {first.index}, of"
                f" {time_text(first.at_s)}"
            )
        case "partly":
            return f"{claim.who} filed {what}{about} {deadline} for a part only of the time {period[4:]}"
        case "undecided":
            return f"whether {claim.who} files {what}{about} {period} {deadline} is not decided {whole}"
        case _:
            return f"{claim.who} filed {what}{about} {period} {deadline}"


def _shown(filed: Filed, due_s: int) -> dict[str, Any]:
    shown = asdict(filed)
    shown["period"] = None if filed.period is None else list(filed.period)
    return {**shown, "in_time": filed.at_s <= due_s}


def _chain(going: Journey, book: Book, author: str) -> dict[str, Any]:
    """Where the author's own chain stands: so many entries, no more. Proven by the state digest in the last commit record."""
    row = book.state.chains.get(author)
    proof = going.prove(f"chain/{author}".encode())
    return {
        "seq": 0 if row is None else row.seq,
        "entry": None if row is None else row.entry_hash.hex(),
        "pairs": [[key.hex(), value.hex()] for key, value in proof.pairs],
        "path": [part.hex() for part in proof.path],
    }


def _findings(place: Place, book: Book, claim: Claim) -> list[dict[str, Any]]:
    """What the law itself has found missing or overdue since the period began."""
    state = _state_of(book, claim.who)
    return [
        {
            "index": index,
            "finding": record["finding"],
            "severity": record["severity"],
            "at": record["at"],
        }
        for index, record in place.sight.records("finding")
        if record["check"] in DUTY_CHECKS
        and record["subject"] == state
        and record["at"] >= claim.start_s
        and claim.about in {"", record["about"]}
    ]


def _seen(going: Journey, filed: list[Filed]) -> dict[str, Any]:
    """By members' own clocks: the last checkpoint without the first entry, the first one with it. Of this copy's checkpoints."""
    first = min((one.index for one in filed), default=None)
    without = [j for j in going.finals if first is None or j.size <= first]
    with_it = [] if first is None else [j for j in going.finals if j.size > first]
    return {
        "without": None
        if not without
        else {"size": without[-1].size, "cosigned_s": without[-1].median_s},
        "with": None
        if not with_it
        else {"size": with_it[0].size, "cosigned_s": with_it[0].median_s},
    }


def _bounds(place: Place, claim: Claim, due_s: int) -> list[str]:
    moved = due_s - claim.by_s
    return [
        f"the log is whole up to entry {place.stand.size - 1}: every entry below a root that a quorum cosigned was read",
        "times are ledger times of commits; by members' own clocks see `seen` and `stands_on.cosigned_s`",
        "said is that nothing was included, not why: `foedus audit --acknowledgement` shows what a node took and withheld",
        "entries that the law refused are no filings; they are listed",
        *(
            [f"the ledger stood still: the deadline moved by {moved} s (RULINGS R34)"]
            if moved
            else []
        ),
    ]


def stand_lines(stands_on: Mapping[str, Any]) -> list[str]:
    """For people: what a statement says that it stands on."""
    signers = ", ".join(stands_on["cosigned_by"])
    at = time_text(stands_on["time_s"])
    return [
        f"stands on entry {stands_on['size'] - 1}, commit {stands_on['commit']} of {at}, root {stands_on['root']}",
        f"under the checkpoint of size {stands_on['checkpoint_size']}, cosigned by {signers}",
    ]


# --- whether the state's node took part ----------------------------------------------------------


def _node(going: Journey, claim: Claim, due_s: int, state: str) -> dict[str, Any]:
    """The first and last ordered block of the state's node between when the report could first be filed and the deadline.

    `whole`: from either end every commit was looked at up to one with such a block, however many there are: one record at a time
    is held. It is false where this copy shows no order, or has lost a part of it.
    """
    since = min(max(claim.start_s, claim.end_s - PERIOD_AHEAD_S), due_s)
    found: dict[str, Any] = {"validator": False, "whole": False, "first_s": None, "last_s": None}
    seats = {epoch.number: epoch.index_of(state) for epoch in going.trust.epochs}
    last = going.source.last_commit
    if not last or all(index is None for index in seats.values()):
        return found
    found["validator"] = True
    try:
        first = _first_commit(going, last, since)
        after = _first_commit(going, last, due_s + 1)
        seen = _seen_at(going, seats, range(first, after))
        found["first_s"] = seen
        if seen is not None:  # else there is no last one either
            found["last_s"] = _seen_at(going, seats, range(after - 1, first - 1, -1))
        found["whole"] = True
    except (Lost, MalformedBlock):
        pass
    return found


def _first_commit(going: Journey, last: int, since_s: int) -> int:
    """The first commit at or after a second; last + 1 if there is none. Raises Lost, MalformedBlock."""
    low, high = 1, last + 1
    while low < high:
        middle = (low + high) // 2
        record = decode_commit_record(going.source.commit_record(middle))
        if record.commit.time_ms < since_s * MS_PER_S:
            low = middle + 1
        else:
            high = middle
    return low


def _seen_at(going: Journey, seats: Mapping[int, int | None], commits: range) -> int | None:
    for looked, index in enumerate(commits, start=1):
        if looked % TOLD_EVERY == 0:
            going.tell(f"looked for blocks of that node in {looked} of {len(commits)} commits")
        commit = decode_commit_record(going.source.commit_record(index)).commit
        seat = seats.get(commit.epoch)
        if seat is not None and any(ref.author == seat for ref in commit.blocks):
            return commit.time_ms // MS_PER_S
    return None

"""INSPECT: a challenge inspection of a facility, or of a place that an evidence note names (MODEL 4; LAW K11, K13, K37, K43).

Filed by any one state with evidence, though not against itself, or by the secretariat. It goes ahead unless
three quarters stop it within twelve hours ("red light"). Access is due 24 hours later (C28).
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.duties import fulfil, open_access
from node.treaty.entries import Entry, EntryFacts
from node.treaty.filing import require_past, require_role
from node.treaty.inspections import ask_for_team
from node.treaty.motions.kind import (
    MotionKind,
    acts_if,
    always,
    cases_in,
    entries_in,
    is_broad,
    named_in,
    one_subject,
    subject_states,
)
from node.treaty.policy import DAY
from node.treaty.rows import NEVER
from node.treaty.rows.motions import Inspection, Motion

QUOTA_WINDOW_S: Final = 365 * DAY
_EVIDENCE: Final = "note:evidence:"
_TIP: Final = "tip:open:"


def _file(book: Book, entry: Entry, _body: pb.Inspect) -> Accepted:
    subjects = subject_states(book, entry)
    role = require_role(book, entry, "state", "secretariat")
    author = entry.parsed.author
    if role == "state" and author in subjects:
        raise Refused(Code.FILER, f"{author} may not request an inspection of itself")
    subject = one_subject(subjects)
    facts = entries_in(book, entry)
    site = _site(facts)
    if role == "state" and site.startswith("facility:") and _others(book, entry) < 1:
        raise Refused(Code.EVIDENCE, "a state shows evidence beside the facility")
    free = role == "secretariat" or is_broad(book, entry)
    if not free:
        _require_quota(book, author, subject)
    require_past(book, entry)
    open_motion(
        book,
        entry.name,
        "INSPECT",
        about=site.partition(":")[2],
        subjects=subjects,
        rule="STOP",
        default="goes_ahead",
        closes_after_s=book.value("inspect_close"),
    )
    row = Inspection(
        requester=author,
        subject=subject,
        site=site.partition(":")[2],
        filed_at=book.now,
        free=int(free),
        closed_at=NEVER,
        stopped=0,
        cited=(),
    )
    book.state.inspections.put(entry.name, row)
    for one in facts:
        if one.topic.startswith(
            _TIP
        ):  # open:STATE:report: what a credible tip asks for is under way
            fulfil(book, f"tip:{one.topic.rpartition(':')[2]}")
    return Accepted(f"INSPECT:{entry.name}")


def _site(facts: list[EntryFacts]) -> str:
    """What is to be inspected: the one facility, or else the first note or opened tip that names a state. Refuses EVIDENCE."""
    sites = [f"facility:{name}" for name in named_in(facts, "facility")]
    if not sites:
        noted = [
            facts
            for facts in facts
            if (facts.topic.startswith(_EVIDENCE) and facts.topic != _EVIDENCE)
            or facts.topic.startswith(_TIP)
        ]
        sites = [f"note:{facts.entry_hash.hex()}" for facts in noted[:1]]
    if len(sites) != 1:
        raise Refused(Code.EVIDENCE, f"refs name {len(sites)} sites, not one")
    return sites[0]


def _others(book: Book, entry: Entry) -> int:
    facilities = [facts for facts in entries_in(book, entry) if facts.topic.startswith("facility:")]
    return len(entries_in(book, entry)) + len(cases_in(book, entry)) - len(facilities)


def _require_quota(book: Book, requester: str, subject: str) -> None:
    """LAW K13, over the last 365 days. Refuses QUOTA."""
    since = book.now - QUOTA_WINDOW_S
    recent = [
        (motion, row)
        for motion, row in book.state.inspections.items()
        if row.filed_at > since and not row.free
    ]
    inspected = sum(row.subject == subject for _, row in recent)
    if inspected >= book.value("challenge_quota_state"):
        raise Refused(Code.QUOTA, f"{inspected} inspections of {subject} within a year")
    requested = sum(
        row.requester == requester and not _was_right(book, motion, row) for motion, row in recent
    )
    if requested >= book.value("challenge_quota_requester"):
        raise Refused(Code.QUOTA, f"{requester} requested {requested} within a year in vain")


def _was_right(book: Book, motion: str, row: Inspection) -> bool:
    """Whether an upheld case rests on this inspection, or on access to it being denied."""
    names = (*row.cited, f"C28:{row.subject}:{motion}")
    cases = [book.state.cases[name] for name in names if name in book.state.cases]
    return any(case.result == "UPHELD" for case in cases)


def note_cited(book: Book, entry: Entry, case: str) -> None:
    """A case cites inspections among its refs: it says whether the request was right."""
    for mandate in named_in(entries_in(book, entry), "inspection"):
        row = book.state.inspections.get(mandate)
        if row is not None:
            book.state.inspections.put(mandate, row._replace(cited=(*row.cited, case)))


def _effect(book: Book, motion_id: str, _motion: Motion, outcome: str) -> None:
    row = book.state.inspections[motion_id]
    stopped = outcome == "stopped"
    book.state.inspections.put(motion_id, row._replace(closed_at=book.now, stopped=int(stopped)))
    if not stopped:
        open_access(book, motion_id, row.site, row.subject)
        ask_for_team(book, motion_id)


KIND: Final[MotionKind] = MotionKind(
    form=Form(),
    file=_file,
    outcomes=always("goes_ahead", "stopped"),
    force=acts_if("goes_ahead"),
    effect=_effect,
)

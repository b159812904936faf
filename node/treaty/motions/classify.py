"""CLASSIFY: keep a publication restricted. Filed by a state; unless a majority agrees in 30 days, it is released (MODEL 4)."""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.motions.kind import MotionKind, acts_if, always, entries_in, subject_states


def _file(book: Book, entry: Entry, _body: pb.Classify) -> Accepted:
    subjects = subject_states(book, entry)
    require_role(book, entry, "state")
    if subjects:
        raise Refused(Code.SUBJECTS, f"refs lead to {subjects}")
    papers = [
        facts.entry_hash.hex()
        for facts in entries_in(book, entry)
        if facts.topic.startswith("note:publication:")
    ]
    if len(papers) != 1:
        raise Refused(Code.EVIDENCE, f"refs name {len(papers)} publications, not one")
    require_past(book, entry)
    open_motion(
        book,
        entry.name,
        "CLASSIFY",
        about=papers[0],
        subjects=(),
        rule="MAJ",
        default="released",
        closes_after_s=book.value("classify_close"),
    )
    return Accepted(f"CLASSIFY:{entry.name}")


KIND: Final[MotionKind] = MotionKind(
    form=Form(), file=_file, outcomes=always("released", "restricted"), force=acts_if("restricted")
)

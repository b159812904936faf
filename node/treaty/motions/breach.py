"""BREACH: a state is accused (MODEL 4, 9; LAW K15).

On a Finding it opens by itself and stands unless two thirds set it aside (`cases`). Without one, filed by
a state or the secretariat, a majority must uphold it. The accused has no vote, and no verdict comes
before its reply or the end of its time to reply.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import cases, lives, remedies
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.motions.inspect_site import note_cited
from node.treaty.motions.kind import MotionKind, never_acts, one_subject, subject_states
from node.treaty.rows.motions import Motion


def _file(book: Book, entry: Entry, _body: pb.Breach) -> Accepted:
    subjects = subject_states(book, entry)
    require_role(book, entry, "state", "secretariat")
    subject = one_subject(subjects)
    require_past(book, entry)
    cases.open_case_without_finding(book, entry.name, subject)
    note_cited(book, entry, entry.name)
    return Accepted(f"BREACH:{entry.name}")


def _outcomes(motion_id: str, motion: Motion) -> tuple[str, ...]:
    return ("not_upheld", "upheld") if motion.case == motion_id else ("upheld", "set_aside")


def _effect(book: Book, _motion_id: str, motion: Motion, outcome: str) -> None:
    cases.decide(book, motion.case, outcome)
    if outcome == "upheld":
        remedies.upheld(book, motion.case)
    if outcome == "set_aside":
        lives.end_halts_of(book, motion.case)


KIND: Final[MotionKind] = MotionKind(
    form=Form(), file=_file, outcomes=_outcomes, force=never_acts, effect=_effect
)

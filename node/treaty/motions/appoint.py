"""APPOINT: inspectors, evaluators, officers; a standard, or one more dangerous capability.

Filed by a state or the secretariat; a majority within 14 days, else no change.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.motions.kind import MotionKind, acts_if, always, subject_states
from node.treaty.state import Appointment, Motion, Standard

_APPOINTMENTS: Final = {
    pb.APPOINTMENT_TYPE_INSPECTOR: "inspector",
    pb.APPOINTMENT_TYPE_EVALUATOR: "evaluator",
    pb.APPOINTMENT_TYPE_OFFICER: "officer",
    pb.APPOINTMENT_TYPE_STANDARD: "standard",
    pb.APPOINTMENT_TYPE_CAPABILITY: "capability",
}


def _file(book: Book, entry: Entry, body: pb.Appoint) -> Accepted:
    subject_states(book, entry)  # refs must exist
    what = _APPOINTMENTS[body.what]
    if what in {"inspector", "evaluator"} and body.name not in book.state.parties:
        raise Refused(Code.UNKNOWN_REF, f"no party {body.name}")
    require_role(book, entry, "state", "secretariat")
    require_past(book, entry)
    open_motion(
        book,
        entry.name,
        "APPOINT",
        about=f"{what}/{body.name}",
        subjects=(),
        rule="MAJ",
        default="no_change",
        closes_after_s=book.value("appoint_close"),
    )
    return Accepted(f"APPOINT:{entry.name}")


def _effect(book: Book, motion_id: str, motion: Motion, outcome: str) -> None:
    if outcome != "appointed":
        return
    book.state.appointments.put(motion.about, Appointment(motion_id))
    if motion.about.startswith("standard/") and not book.is_first_law:
        book.state.standards.put(motion_id, Standard(motion.about.removeprefix("standard/")))


KIND: Final = MotionKind(
    form=Form(enums=("what",), names=("name",)),
    file=_file,
    outcomes=always("no_change", "appointed"),
    force=acts_if("appointed"),
    effect=_effect,
)

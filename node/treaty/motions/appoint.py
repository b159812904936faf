"""APPOINT: inspectors, evaluators, officers; a standard, one more dangerous capability, one more listed state (MODEL 4, 7).

Filed by a state or the secretariat; a majority within 14 days, else no change. Taking a capability off the list loosens:
three states file it, three quarters within 60 days, in force 90 days after, never while a case of severity 4 that names a
run is open (M40). A state that the genesis does not list may accede once three quarters admitted it (MODEL 7).
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import amendments, capabilities
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import RANK_LAPSE, Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.motions.kind import Force, MotionKind, always, require_states, subject_states
from node.treaty.rows import NEVER
from node.treaty.rows.motions import Motion, Removal, Standard
from node.treaty.rows.parties import Appointment

LOOSENING_STATES_MIN: Final = 3
_APPOINTMENTS: Final = {
    pb.APPOINTMENT_TYPE_INSPECTOR: "inspector",
    pb.APPOINTMENT_TYPE_EVALUATOR: "evaluator",
    pb.APPOINTMENT_TYPE_OFFICER: "officer",
    pb.APPOINTMENT_TYPE_STANDARD: "standard",
    pb.APPOINTMENT_TYPE_CAPABILITY: "capability",
    pb.APPOINTMENT_TYPE_STATE: "state",
}


def _file(book: Book, entry: Entry, body: pb.Appoint) -> Accepted:
    subject_states(book, entry)  # refs must exist
    what = _APPOINTMENTS[body.what]
    if what in {"inspector", "evaluator"} and body.name not in book.state.parties:
        raise Refused(Code.UNKNOWN_REF, f"no party {body.name}")
    if what == "state" and (book.is_listed(body.name) or body.name in book.state.parties):
        raise Refused(Code.REPEATED, f"{body.name} is on the list of states, or another party's id")
    if body.remove:
        _require_removable(book, entry, what, body.name)
    require_role(book, entry, "state", "secretariat")
    require_past(book, entry)
    if body.remove:
        book.state.removals.put(entry.name, Removal(body.name, NEVER))
    open_motion(
        book,
        entry.name,
        "APPOINT",
        about=f"{what}/{body.name}",
        subjects=(),
        rule="HIGH" if body.remove or what == "state" else "MAJ",
        default="no_change",
        closes_after_s=book.value("loosen_close" if body.remove else "appoint_close"),
    )
    return Accepted(f"APPOINT:{entry.name}")


def _require_removable(book: Book, entry: Entry, what: str, name: str) -> None:
    """Refuses SCHEMA, UNKNOWN_REF, FILER, SIGNERS, SEV4_OPEN."""
    if what != "capability":
        raise Refused(Code.SCHEMA, f"APPOINT.remove: is for capabilities, not for {what}")
    if name not in capabilities.capabilities(book):
        raise Refused(Code.UNKNOWN_REF, f"no capability {name} is listed")
    require_role(book, entry, "state")
    require_states(book, entry, LOOSENING_STATES_MIN)
    if amendments.bars_loosening(book):
        raise Refused(Code.SEV4_OPEN, "a case of severity 4 that names a run is open")


def _barrier(book: Book, motion_id: str, _motion: Motion) -> str:
    if motion_id in book.state.removals and amendments.bars_loosening(book):
        return Code.SEV4_OPEN.value
    return ""


def _force(book: Book, motion: Motion, outcome: str) -> Force:
    if outcome != "appointed":
        return Force(None)
    removes = motion.rule == "HIGH" and not motion.about.startswith("state/")
    return Force(book.now + book.value("loosen_wait") if removes else book.now)


def _decided_removal(book: Book, motion_id: str, row: Removal, *, adopted: bool) -> None:
    if not adopted:
        book.state.removals.drop(motion_id)
        return
    due = book.now + book.value("loosen_wait")
    book.state.removals.put(motion_id, row._replace(in_force_at=due))
    book.schedule(due, RANK_LAPSE, "unlist", motion_id)


def unlist(book: Book, motion_id: str) -> None:
    """The clock looks whether a capability comes off the list; a case of severity 4 keeps it on for good (I8)."""
    row = book.state.removals.get(motion_id)
    if row is None or row.in_force_at == NEVER:
        return
    if book.now < row.in_force_at:
        book.schedule(row.in_force_at, RANK_LAPSE, "unlist", motion_id)
        return
    book.state.removals.drop(motion_id)
    if not amendments.bars_loosening(book):
        capabilities.remove(book, row.name, motion_id)


def reschedule(book: Book) -> None:
    """After a restart: capabilities that are to come off the list."""
    for motion_id, row in book.state.removals.items():
        if row.in_force_at != NEVER:
            book.schedule(row.in_force_at, RANK_LAPSE, "unlist", motion_id)


def _effect(book: Book, motion_id: str, motion: Motion, outcome: str) -> None:
    removal = book.state.removals.get(motion_id)
    if removal is not None:
        _decided_removal(book, motion_id, removal, adopted=outcome == "appointed")
        return
    if outcome != "appointed":
        return
    if motion.about.startswith(capabilities.PREFIX) and not book.is_first_law:
        capabilities.add(book, motion.about.removeprefix(capabilities.PREFIX), motion_id)
        return
    book.state.appointments.put(motion.about, Appointment(motion_id))
    if motion.about.startswith("standard/") and not book.is_first_law:
        book.state.standards.put(motion_id, Standard(motion.about.removeprefix("standard/")))


KIND: Final[MotionKind] = MotionKind(
    form=Form(enums=("what",), names=("name",), hashes=("text_hash",)),
    file=_file,
    outcomes=always("no_change", "appointed"),
    barrier=_barrier,
    force=_force,
    effect=_effect,
)

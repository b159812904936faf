"""CHIPTYPE: approve a type of chip, so that it may be made, moved and counted (MODEL 4; M54; LAW K11, K31, K52).

Filed by the source or operator that described it, with its state. A panel; nobody acts: not approved.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import chips, hardware
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.motions.kind import (
    MotionKind,
    acts_if,
    always,
    entries_in,
    named_in,
    require_few_panels,
    require_rested,
    rest,
    subject_states,
)
from node.treaty.rows.motions import Motion


def _file(book: Book, entry: Entry, _body: pb.ChipTypeMotion) -> Accepted:
    subjects = subject_states(book, entry)
    require_role(book, entry, "source", "operator")
    author = entry.parsed.author
    applicant = book.state_of(author)
    if applicant not in entry.endorsers:
        raise Refused(Code.COUNTERSIGN, f"{applicant} has not endorsed this motion")
    named = named_in(entries_in(book, entry), "chip_type")
    for chip_type in named:
        if book.state.chip_types[chip_type].author != author:
            raise Refused(
                Code.STANDING, f"{chip_type} is {book.state.chip_types[chip_type].author}'s"
            )
    if set(subjects) - {applicant}:
        raise Refused(Code.SUBJECTS, f"refs lead to {subjects}, not to {applicant} alone")
    if len(named) != 1:
        raise Refused(Code.EVIDENCE, f"refs name {len(named)} chip types, not one")
    chip_type = named[0]
    hardware.require_approvable(book, chip_type)
    require_few_panels(book, applicant)
    is_open = any(
        motion.kind == "CHIPTYPE" and motion.about == chip_type
        for motion in book.state.motions.values()
    )
    if book.state.chip_types[chip_type].approved or is_open:
        raise Refused(Code.REPEATED, f"{chip_type} is approved, or before a panel already")
    require_rested(book, _rest_key(chip_type), book.value("train_refile"))
    require_past(book, entry)
    open_motion(
        book,
        entry.name,
        "CHIPTYPE",
        about=chip_type,
        subjects=(applicant,),
        rule="PANEL",
        default="not_approved",
        closes_after_s=book.value("chiptype_close"),
    )
    return Accepted(f"CHIPTYPE:{entry.name}")


def _rest_key(chip_type: str) -> str:
    return f"CHIPTYPE/{chip_type}"


def _effect(book: Book, _motion_id: str, motion: Motion, outcome: str) -> None:
    if outcome == "approved":
        chips.approve(book, motion.about)
    else:
        rest(book, _rest_key(motion.about), book.now)


KIND: Final[MotionKind] = MotionKind(
    form=Form(),
    file=_file,
    outcomes=always("not_approved", "approved"),
    force=acts_if("approved"),
    effect=_effect,
)

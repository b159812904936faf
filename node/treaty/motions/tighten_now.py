"""TIGHTEN_NOW: scale one parameter towards safety at once, for 30 days; a majority keeps it (MODEL 4; LAW K9, K35, K49).

Filed by `trigger` states or the secretariat. It lapses unless kept, and a kept one ends when an AMEND of that
parameter, filed after it was kept, enters force.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import amendments
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import RANK_LAPSE, Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.motions.amend import known_param, require_not_entrenched, require_within_limits
from node.treaty.motions.kind import (
    Force,
    MotionKind,
    always,
    is_broad,
    require_rested,
    require_trigger,
    rest,
    subject_states,
)
from node.treaty.policy import safer
from node.treaty.rows import NEVER
from node.treaty.rows.motions import Motion, Tightening

SCALE_BP: Final = 10_000


def _file(book: Book, entry: Entry, body: pb.TightenNow) -> Accepted:
    subject_states(book, entry)  # refs must exist
    name = body.param
    if require_role(book, entry, "state", "secretariat") == "state":
        require_trigger(book, entry)
    require_not_entrenched(name)
    known_param(book, name)
    present = book.value(name)
    value = present * body.scale_bp // SCALE_BP
    require_within_limits(book, name, ((0, value),))
    if value == present or safer(name, value, present) != value:
        raise Refused(Code.NOT_TIGHTENING, f"{name} would go from {present} to {value}")
    if not is_broad(book, entry):
        require_rested(book, _rest_key(name), book.value("emergency_rest"))
    require_past(book, entry)
    begin(book, entry.name, name, value)
    return Accepted(f"TIGHTEN_NOW:{entry.name}")


def begin(book: Book, motion_id: str, name: str, value: int) -> None:
    """It acts from now on, and states vote whether it stays."""
    until = book.now + book.value("tighten_now_close")
    open_motion(
        book,
        motion_id,
        "TIGHTEN_NOW",
        about=name,
        subjects=(),
        rule="MAJ",
        default="lapsed",
        closes_after_s=book.value("tighten_now_close"),
    )
    row = Tightening(param=name, value=value, filed_at=book.now, until=until, closed_at=NEVER)
    book.state.tightenings.put(motion_id, row)
    book.schedule(until, RANK_LAPSE, "untighten", motion_id)
    amendments.changed(book, name)
    amendments.show(book, motion_id, name, "IN_FORCE")


def has_rested(book: Book, name: str) -> bool:
    """Whether no TIGHTEN_NOW of this parameter ended too recently for another (LAW K49)."""
    row = book.state.rests.get(_rest_key(name))
    return row is None or book.now >= row.since + book.value("emergency_rest")


def _rest_key(param: str) -> str:
    return f"TIGHTEN_NOW/{param}"


def _force(book: Book, motion: Motion, outcome: str) -> Force:
    # An outage moves the vote's deadline (RULINGS R34); it acts until the vote is over.
    until = max(motion.filed_at + book.value("tighten_now_close"), book.now)
    return Force(motion.filed_at, None if outcome == "kept" else until)


def _effect(book: Book, motion_id: str, motion: Motion, outcome: str) -> None:
    row = book.state.tightenings[motion_id]
    if outcome == "kept":
        book.state.tightenings.put(motion_id, row._replace(until=NEVER, closed_at=book.now))
        amendments.drop_loosenings(book, row.param, motion.order)
        amendments.changed(book, row.param)
        amendments.show(book, motion_id, row.param, "KEPT")
        return
    rest(book, _rest_key(row.param), row.until)
    book.state.tightenings.put(motion_id, row._replace(closed_at=book.now))
    end(book, motion_id)


def end(book: Book, motion_id: str) -> None:
    """The clock looks whether one that nobody kept is over, even if its vote closed early."""
    row = book.state.tightenings.get(motion_id)
    if row is None or row.until == NEVER or row.closed_at == NEVER or book.now < row.until:
        if row is not None and book.now < row.until:
            book.schedule(row.until, RANK_LAPSE, "untighten", motion_id)
        return
    book.state.tightenings.drop(motion_id)
    amendments.changed(book, row.param)
    amendments.show(book, motion_id, row.param, "LAPSED")


KIND: Final[MotionKind] = MotionKind(
    form=Form(required=("param", "scale_bp"), integers=("scale_bp",), texts=("param",)),
    file=_file,
    outcomes=always("lapsed", "kept"),
    force=_force,
    effect=_effect,
)

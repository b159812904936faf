"""HALT: stop a run, or all runs of a facility, at once (MODEL 4; LAW K8, K11, K49).

Filed by `trigger` states, or by one inspector whom the run's approval assigned to it. It acts from its
inclusion for 72 hours; a majority keeps it for 30 days, two thirds lift it, and without either it lapses.
One evaluator's score above the cap opens the same by itself; a Finding of severity 4 opens one (`lives`)
that stays unless two thirds lift it.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import lives
from node.treaty.ballots import open_motion
from node.treaty.bodies import Form
from node.treaty.book import RANK_LAPSE, Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import require_past, require_role
from node.treaty.motions.kind import (
    Force,
    MotionKind,
    entries_in,
    is_broad,
    named_in,
    one_subject,
    require_rested,
    require_trigger,
    rest,
    signing_states,
    subject_states,
)
from node.treaty.rows import NEVER
from node.treaty.rows.motions import Halting, Motion
from node.treaty.rules import trigger_of


def _file(book: Book, entry: Entry, _body: pb.Halt) -> Accepted:
    subjects = subject_states(book, entry)
    role = require_role(book, entry, "state", "inspector")
    facts = entries_in(book, entry)
    named = [("run", name) for name in named_in(facts, "run")]
    named += [("facility", name) for name in named_in(facts, "facility")]
    if role == "state":
        require_trigger(book, entry)
    elif len(signing_states(book, entry)) < trigger_of(book.membership()):
        _require_assigned(book, entry, named)
    one_subject(subjects)
    if len(named) != 1:
        raise Refused(Code.EVIDENCE, f"refs name {len(named)} runs and facilities, not one")
    what, name = named[0]
    if not is_broad(book, entry):
        require_rested(book, _rest_key(what, name), book.value("emergency_rest"))
    require_past(book, entry)
    _open(book, entry.name, what, name, subjects)
    return Accepted(f"HALT:{entry.name}")


def _open(book: Book, motion_id: str, what: str, name: str, subjects: tuple[str, ...]) -> None:
    open_motion(
        book,
        motion_id,
        "HALT",
        about=name,
        subjects=subjects,
        rule="MAJ",
        default="lapsed",
        closes_after_s=book.value("halt_vote"),
    )
    motion = book.state.motions[motion_id]
    row = Halting(
        run=name if what == "run" else "",
        facility=name if what == "facility" else "",
        until=book.now + book.value("halt_vote"),
        lift=book.threshold("SUP", len(motion.eligible), motion.k),
    )
    book.state.halts.put(motion_id, row)
    for run in [name] if what == "run" else sorted(book.runs_at.get(name, ())):
        lives.hold(book, run, motion_id)


def halt_for_score(book: Book, run: str, entry_name: str) -> None:
    """A lone evaluator finds a started run above the cap: it halts for 72 hours (LAW K47).

    Not again while such a halt acts or rests (K49), so one evaluator cannot hold a run for ever.
    """
    life = book.state.lives[run]
    if life.started_at == NEVER or life.ended_at != NEVER or life.halts:
        return
    row = book.state.rests.get(_rest_key("run", run))
    if row is not None and book.now < row.since + book.value("emergency_rest"):
        return
    _open(book, f"HALT:{entry_name}", "run", run, (book.state.plans[run].state,))


def _require_assigned(book: Book, entry: Entry, named: list[tuple[str, str]]) -> None:
    """An inspector alone halts only a run that it watches by the run's approval."""
    inspector = entry.parsed.author
    runs = [book.state.lives[name] for what, name in named if what == "run"]
    if not any(life.approved and inspector in life.inspectors for life in runs):
        raise Refused(Code.STANDING, f"{inspector} is assigned to no run that the refs name")


def _rest_key(what: str, name: str) -> str:
    return f"HALT/{what}:{name}"


def is_filed(motion: Motion) -> bool:
    """Whether somebody filed it: that of a Finding is decided by SUP."""
    return motion.rule == "MAJ"


def _outcomes(_motion_id: str, motion: Motion) -> tuple[str, ...]:
    return ("lapsed", "kept", "lifted") if is_filed(motion) else ("stays", "lifted")


def _force(book: Book, motion: Motion, outcome: str) -> Force:
    match outcome:
        case "kept":
            return Force(motion.filed_at, motion.filed_at + book.value("halt_kept"))
        case "lapsed":
            return Force(motion.filed_at, book.now)
        case _:
            return Force(motion.filed_at)


def _effect(book: Book, motion_id: str, motion: Motion, outcome: str) -> None:
    if not is_filed(motion):
        if outcome == "lifted":
            lives.lift(book, motion.about, motion_id)
        return
    row = book.state.halts[motion_id]
    if outcome == "kept":
        until = motion.filed_at + book.value("halt_kept")
        book.state.halts.put(motion_id, row._replace(until=until))
        book.schedule(until, RANK_LAPSE, "unhalt", motion_id)
        return
    what = ("run", row.run) if row.run else ("facility", row.facility)
    rest(book, _rest_key(*what), book.now)
    _release(book, motion_id, row)


def end(book: Book, motion_id: str) -> None:
    """The clock looks whether a kept halt is over."""
    row = book.state.halts.get(motion_id)
    if row is None or motion_id in book.state.motions:
        return
    if book.now < row.until:
        book.schedule(row.until, RANK_LAPSE, "unhalt", motion_id)
        return
    _release(book, motion_id, row)


def _release(book: Book, motion_id: str, row: Halting) -> None:
    book.state.halts.drop(motion_id)
    for run in [row.run] if row.run else sorted(book.runs_at.get(row.facility, ())):
        lives.lift(book, run, motion_id)


def reschedule(book: Book) -> None:
    """After a restart: the ends of kept halts."""
    for motion_id, row in book.state.halts.items():
        book.schedule(row.until, RANK_LAPSE, "unhalt", motion_id)


KIND: Final[MotionKind] = MotionKind(
    form=Form(), file=_file, outcomes=_outcomes, force=_force, effect=_effect
)

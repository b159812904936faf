"""The kinds of motion in force, one module each (MODEL 4).

Each says who files, on what conditions, who votes by which rule, what happens if nobody acts, and what
follows. A new kind is a module here, a row in `KINDS`, and its form.
"""

from collections.abc import Callable
from typing import Any, Final

from node.treaty import amendments
from node.treaty.ballots import close_motion, result_of
from node.treaty.book import Accepted, Book
from node.treaty.entries import Entry
from node.treaty.motions import (
    amend,
    appeal,
    appoint,
    breach,
    chiptype,
    classify,
    deploy,
    exempt,
    halt,
    inspect_site,
    suspend,
    tighten_now,
    train,
)
from node.treaty.motions.kind import MotionKind
from node.treaty.rows.motions import Motion
from node.treaty.rules import DEFAULT

KINDS: Final[dict[str, MotionKind]] = {
    "TRAIN": train.KIND,
    "BREACH": breach.KIND,
    "APPOINT": appoint.KIND,
    "CLASSIFY": classify.KIND,
    "AMEND": amend.KIND,
    "TIGHTEN_NOW": tighten_now.KIND,
    "HALT": halt.KIND,
    "INSPECT": inspect_site.KIND,
    "APPEAL": appeal.KIND,
    "SUSPEND": suspend.KIND,
    "EXEMPT": exempt.EXEMPT,
    "CLASS": exempt.CLASS,
    "CHIPTYPE": chiptype.KIND,
    "DEPLOY": deploy.KIND,
}
FILERS: Final[dict[str, Callable[[Book, Entry, Any], Accepted]]] = {
    name: kind.file for name, kind in KINDS.items()
}
# What the clock looks at on their behalf: the name of the look, and who looks.
CLOCK: Final[dict[str, Callable[[Book, str], None]]] = {
    "amend": amendments.enter_force,
    "untighten": tighten_now.end,
    "unhalt": halt.end,
    "unsuspend": suspend.end,
    "unlist": appoint.unlist,
}


def close(book: Book, motion_id: str, motion: Motion) -> None:
    """Close a motion now and let its outcome take effect."""
    kind = KINDS[motion.kind]
    outcomes = kind.outcomes(motion_id, motion)
    barrier = kind.barrier(book, motion_id, motion)
    outcome = outcomes[DEFAULT if barrier else result_of(book, motion_id, motion)]
    force = kind.force(book, motion, outcome)
    close_motion(
        book,
        motion_id,
        motion,
        outcome,
        in_force_at=force.in_force_at,
        until=force.until,
        barrier=barrier,
    )
    kind.effect(book, motion_id, motion, outcome)


def reschedule(book: Book) -> None:
    """After a restart: the policy as motions left it, and all that the clock must look at."""
    amendments.reschedule(book)
    halt.reschedule(book)
    suspend.reschedule(book)
    appoint.reschedule(book)

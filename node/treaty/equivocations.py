"""A validator that signed two blocks for one round: C29 about its state (CHECKS C29, LAW K48; record 0138).

The engine has verified the proof; the law takes one per state and epoch, as consensus keeps one (SPEC 12), so that neither a
second proof nor the same one in another block adds anything. The effect is a case like any other: nothing that a block of that
state brings is judged differently for it.
"""

from hashlib import sha256
from typing import Final

from node.treaty import cases
from node.treaty.book import Book
from node.treaty.derived import Equivocation

SEVERITY: Final = 4  # K48: of a state


def accuse(book: Book, state: str, epoch: int, round_: int, proof: bytes) -> None:
    """The first proof against this state in this epoch: its record, then the Finding that rests on the proof's SHA-256."""
    about = f"epoch{epoch}"
    finding = f"C29:{state}:{about}"
    if finding in book.state.cases:
        return
    book.emit(
        Equivocation(
            state=state, epoch=epoch, round=round_, proof=proof, finding=finding, at=book.now
        )
    )
    cases.raise_finding(
        book,
        "C29",
        state,
        about,
        severity=SEVERITY,
        size=0,
        numbers=(("epoch", epoch), ("round", round_)),
        inputs=(sha256(proof).digest(),),
        actor=state,
    )

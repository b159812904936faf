"""What a kind of statement is: its form, who takes it, what it speaks of, and its class (MODEL 3, 6).

Each kind is one module of `statements`, which ends in its `KIND`; a new one is such a module, its row in `statements.KINDS`,
its message in `content.proto`, and a table in `state.py` if it is to be remembered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book
from node.treaty.entries import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`take` says who may sign it, when it is valid and what follows; it refuses before it changes anything."""

    form: Form
    take: Callable[[Book, Entry, Any], Accepted]
    speaks_of: str = ""  # the field that stands in the header's `sub`; else it speaks of its author (RULINGS R13)
    needs_period: bool = False  # its numbers mean nothing without the time they cover
    classes: str = "RP"  # the classes it may have, its default first (MODEL 6): P, R, S

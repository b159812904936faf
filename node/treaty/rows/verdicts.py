"""Findings, cases and tips."""

from typing import NamedTuple


class Case(NamedTuple):
    """Key: case id, which is the finding's id or that of a BREACH without one."""

    check: str
    subject: str
    about: str
    severity: int
    size: int  # what grew when the act grew: to tell a new event from the same one (LAW K38)
    actor: str  # who did it, where one subject state has many (equivocations)
    status: str
    result: str
    reply_due: int
    motion: str


class Latest(NamedTuple):
    """Key: CHECK:SUBJECT:ABOUT. The newest finding under that name."""

    finding: str
    number: int


class Basis(NamedTuple):
    """Key: entry hash in hex. A finding that rests on that entry."""

    finding: str


class Provisional(NamedTuple):
    """Key: case id. It was raised before the treaty entered into force."""

    at: int


class TipReport(NamedTuple):
    """Key: entry hash of a sealed tip in hex."""

    author: str  # who passed it on
    commitment: bytes
    threshold: int
    at: int
    assessed: tuple[tuple[str, int], ...]  # (state, 1 credible), sorted
    credible: int
    subject: str  # once opened


class Remedy(NamedTuple):
    """Key: case id. What an upheld case asks of its subject (MODEL 9)."""

    due: int
    done: bytes  # the entry by which inspectors confirm it; empty: not yet


class Confirmed(NamedTuple):
    """Key: case id. States whose inspectors have confirmed its remedy, while they are not enough."""

    states: tuple[str, ...]


class Explanation(NamedTuple):
    """Key: case id. A reply to a case below severity 3, before a panel (MODEL 9)."""

    panel: tuple[str, ...]  # in draw order; empty until it is drawn
    accepted: tuple[str, ...]  # states whom it satisfies, sorted

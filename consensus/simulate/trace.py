"""One line per event and per effect, in one spelling: what two runs of one seed must agree on, byte for byte."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum

from consensus.events import Effect, Event
from consensus.types import Block, CommitRecord, Ref, VerifiedBlock

Write = Callable[[str], None]


class Trace:
    """Writes the history of a whole cluster: `time node <event` and `time node >effect`."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def step(self, at_ms: int, node: int, event: Event, effects: list[Effect]) -> None:
        self._write(f"{at_ms} {node} <{spell(event)}")
        for effect in effects:
            self._write(f"{at_ms} {node} >{spell(effect)}")

    def note(self, at_ms: int, node: int, what: str) -> None:
        self._write(f"{at_ms} {node} !{what}")


def spell(value: object) -> str:
    """A value as text. Blocks by name with the whole digest: it covers all that a block says."""
    match value:
        case VerifiedBlock():
            return spell(value.block.ref)
        case Block():
            return spell(value.ref)
        case Ref():
            return f"{value.round}.{value.author}.{value.digest.hex()}"
        case CommitRecord():
            commit = value.commit
            deciders = ",".join(map(spell, value.deciders))
            return f"commit {commit.index} {commit.digest.hex()} by {deciders}"
        case Enum():
            return value.name
        case bytes():
            return value.hex()
        case tuple():
            return "(" + " ".join(map(spell, value)) + ")"
        case bool() | int() | str() | None:
            return repr(value)
        case _ if is_dataclass(value):
            parts = [f"{each.name}={spell(getattr(value, each.name))}" for each in fields(value)]
            return f"{type(value).__name__} " + " ".join(parts)
        case _:
            raise TypeError(f"{type(value).__name__}: no spelling; a set has no order")

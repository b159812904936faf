"""One hand-made mistake: a piece of text in one file, and what stands there instead."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    file: str  # below its room's folder
    old: str
    new: str
    room: str = "consensus"

"""The seeds that once found a mistake: `kept_seeds.txt` beside this file."""

from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("kept_seeds.txt")
KINDS: Final = ("core", "driver")


def kept(kind: str) -> list[int]:
    """In the order in which they were found. Raises ValueError naming a line that is none."""
    seeds: list[int] = []
    for number, line in enumerate(FILE.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) < 2 or words[0] not in KINDS:
            raise ValueError(f"{FILE.name}:{number}: {line!r}: want `core` or `driver` and a seed")
        if words[0] == kind:
            seeds.append(int(words[1], 0))
    return list(dict.fromkeys(seeds))


def keep(kind: str, seed: int, why: str) -> None:
    """Add a seed, unless it is there."""
    if seed not in kept(kind):
        with FILE.open("a", encoding="utf-8") as file:
            file.write(f"{kind:8} {seed:#x}   {' '.join(why.split())[:160]}\n")

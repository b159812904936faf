"""Chance, outages and counters."""

from typing import NamedTuple


class Anchor(NamedTuple):
    """Key: state. The end of its hash chain: `tip` is the link of `round`, and the next round's is one link on."""

    tip: bytes
    round: int


class Round(NamedTuple):
    """Key: "open". The round of the beacon that is under way."""

    number: int
    due: int  # a link is in time up to and including this second
    expected: tuple[str, ...]  # states that anchored before it opened, sorted
    needed: int  # reveals without which it gives nothing


class Reveal(NamedTuple):
    """Key: state. What it revealed in the open round."""

    value: bytes


class Draw(NamedTuple):
    """Key: what/name. A draw that waits for this round."""

    round: int


class Gap(NamedTuple):
    """Key: its number, eight digits. The ledger stood still between these seconds (RULINGS R34)."""

    since: int
    until: int
    moved: int  # seconds that deadlines open then have moved


class Counter(NamedTuple):
    """Key: name of a counter."""

    value: int

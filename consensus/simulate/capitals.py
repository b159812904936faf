"""Where states are, how long a message between them takes, and the least that four hops cost.

`capitals.csv`: the 193 members and two observers of the United Nations with their seat of government and its place to a hundredth
of a degree: facts, read from the countryinfo package (MIT) and corrected where it was wrong. It takes no side in any dispute.

    one-way ms = 5 + 1.8 x distance / (200 km/ms)

200 km/ms is light in glass; 1.8 is by how much cables are longer than the great circle and routes than cables; 5 ms are both
ends. Against 14,121 measured pairs of cities (WonderNetwork, 2018) the median round trip is within a few per cent of it, above
2,000 km; one pair in ten takes twice as long (tests/simulation/test_wan.py).
"""

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

EARTH_RADIUS_KM: Final = 6_371.0
GLASS_KM_PER_MS: Final = 200.0
STRETCH: Final = 1.8
ACCESS_MS: Final = 5.0
Matrix = tuple[tuple[float, ...], ...]  # [from][to] -> one-way ms, 0 on the diagonal


@dataclass(frozen=True, slots=True)
class Capital:
    state: str  # ISO 3166 alpha-2
    name: str
    latitude: float
    longitude: float


@cache
def capitals() -> tuple[Capital, ...]:
    """All 195, by state."""
    path = Path(__file__).with_name("capitals.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            Capital(row["state"], row["capital"], float(row["latitude"]), float(row["longitude"]))
            for row in csv.DictReader(file)
        )


def some(count: int) -> tuple[Capital, ...]:
    """`count` states drawn by hash, so that no one chose them; the fewer are among the more."""
    ranked = sorted(
        capitals(), key=lambda each: hashlib.sha256(f"capital {each.state}".encode()).digest()
    )
    return tuple(ranked[:count])


def distance_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Along the great circle, of (latitude, longitude) in degrees."""
    lat_a, lon_a, lat_b, lon_b = map(math.radians, (*a, *b))
    half = (
        math.sin((lat_b - lat_a) / 2) ** 2
        + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, half)))


def one_way_ms(a: tuple[float, float], b: tuple[float, float]) -> float:
    return ACCESS_MS + STRETCH * distance_km(a, b) / GLASS_KM_PER_MS


def matrix_of(places: Sequence[Capital]) -> Matrix:
    spots = [(place.latitude, place.longitude) for place in places]
    return tuple(
        tuple(0.0 if at == to else one_way_ms(a, b) for to, b in enumerate(spots))
        for at, a in enumerate(spots)
    )


def median_link_ms(matrix: Matrix) -> float:
    """One message delay: the middle of all links between two members."""
    links = sorted(ms for at, row in enumerate(matrix) for to, ms in enumerate(row) if at != to)
    return links[len(links) // 2]


def four_hops_ms(matrix: Matrix, alive: Sequence[int], quorum: int, leaders: int = 16) -> float:
    """The least for a block of one member to be ordered there, if nobody ever waited: the middle over members and leaders.

    Its block goes to a leader, the leader's to all, a quorum of their votes to all, and a quorum of their certificates back.
    Of the living members every so many is taken as leader, `leaders` in all.
    """
    step = max(1, len(alive) // leaders)
    found: list[float] = []
    for leader in alive[::step]:
        voted = [matrix[leader][voter] for voter in alive]
        certified = [_quorum_at(voted, matrix, alive, to, quorum) for to in alive]
        for author in alive:
            back = _quorum_at(certified, matrix, alive, author, quorum)
            found.append(matrix[author][leader] + back)
    return sorted(found)[len(found) // 2]


def _quorum_at(
    sent: Sequence[float], matrix: Matrix, alive: Sequence[int], to: int, quorum: int
) -> float:
    """When the `quorum`-th of the messages that `alive` sent at these times is at `to`."""
    return sorted(at + matrix[source][to] for source, at in zip(alive, sent, strict=True))[
        quorum - 1
    ]

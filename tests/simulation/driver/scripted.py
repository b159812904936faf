"""A regime without any fault, for tests that put one in by hand."""

from consensus.types import Parameters
from tests.simulation.driver.regime import Change, Client, Regime, What
from tests.simulation.driver.wires import Weather


def calm(
    entries_every_ms: int = 20,
    *,
    size: int = 4,
    storm_ms: int = 2_500,
    changes: tuple[Change, ...] = (),
) -> Regime:
    weather = Weather(delay_min_ms=1, delay_max_ms=20)
    seats = size + sum(change.what is What.JOINS for change in changes)
    return Regime(
        seed=0,
        size=size,
        liars=(),
        pace=Parameters(delta_ms=100, min_round_delay_ms=100),
        weather=weather,
        healed=weather,
        storm_ms=storm_ms,
        cuts=(),
        resets=(),
        crashes=(),
        fills=(),
        drifts_ppm=(0,) * seats,
        skews_ms=(0,) * seats,
        jumps=(),
        slow=(),
        clients=(Client(author=0, home=0, every_ms=entries_every_ms),),
        changes=changes,
    )

"""What the meters show: in the units of the law, and possible."""

import pytest

from node.cli.demo import cast
from node.cli.demo.metering import Site, value_of
from node.intake.reading import Kind
from node.treaty.chips import CHIP_TYPES
from node.treaty.statements.usage import UTILISATION_MAX_BP


@pytest.mark.parametrize("state", cast.STATES)
def test_no_site_does_more_than_its_chips_can_or_draws_more_than_it_may(state: str) -> None:
    figures = cast.facilities()[state]
    site = Site(state=state, operator="o", facility="f", figures=figures, anchor_s=0)
    hour_s = 3600
    work = value_of(Kind.PFLOP, site, hour_s)
    possible = site.chips * CHIP_TYPES["H100"][1] * hour_s * UTILISATION_MAX_BP // 10**10
    assert 0 < work < possible, "C07 would find it"
    assert value_of(Kind.POWER, site, 0) < figures.power_w
    # An hour's energy is the mean power: the two meters agree.
    assert value_of(Kind.ENERGY, site, hour_s) == value_of(Kind.POWER, site, 0)
    assert value_of(Kind.ENERGY, site, 0) == value_of(Kind.PFLOP, site, 0) == 0


def test_each_state_has_a_facility_of_its_own_country() -> None:
    assert {state: one.country for state, one in cast.facilities().items()} == {
        state: state for state in cast.STATES
    }

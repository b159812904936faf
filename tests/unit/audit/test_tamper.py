"""A small sample of the tamper campaign, with a seed of its own; `python -m tests.tamper` runs thousands."""

import time
from pathlib import Path

from tests.tamper.__main__ import with_older
from tests.tamper.campaign import Campaign
from tests.unit.audit.conftest import World

TAMPERS = 120
SECONDS = 60.0
SEED = 2_026


def test_a_sample_of_the_campaign(world: World, tmp_path: Path) -> None:
    campaign = Campaign(with_older(world, tmp_path / "early"), tmp_path, SEED)
    outcome = campaign.run(TAMPERS, time.monotonic() + SECONDS)
    assert outcome.good, (outcome.missed, outcome.blamed, outcome.placeless)
    assert outcome.tampers > TAMPERS // 2
    assert outcome.found_at["parse"] > 0
    assert outcome.found_at["certificates"] > 0
    assert outcome.liars_named == outcome.kinds["collude"] > 0


def test_the_campaign_sees_a_blind_audit(world: World, tmp_path: Path) -> None:
    """An audit that looks at nothing but the manifests would miss what a careful forger does: the campaign says so."""
    campaign = Campaign(with_older(world, tmp_path / "early"), tmp_path, SEED)
    campaign.depths = campaign.depths[:1]
    outcome = campaign.run(40, time.monotonic() + SECONDS)
    assert outcome.missed

"""A small sample of the tamper campaign, with a seed of its own; `python -m tests.tamper` runs thousands."""

import time
from pathlib import Path

from node.audit.findings import Depth
from tests.tamper.campaign import Campaign
from tests.tamper.world import World

TAMPERS = 60
SECONDS = 60.0
SEED = 2_026


def test_a_sample_of_the_campaign(epochs: World, tmp_path: Path) -> None:
    campaign = Campaign([epochs], tmp_path, SEED)
    outcome = campaign.run(TAMPERS, time.monotonic() + SECONDS)
    assert outcome.good, outcome
    assert outcome.tampers > TAMPERS // 2
    assert outcome.found_at["parse"] > 0
    assert outcome.found_at["certificates"] > 0
    assert outcome.liars_named == outcome.provable > 0


def test_the_campaign_sees_a_blind_audit(epochs: World, tmp_path: Path) -> None:
    """An audit that looks at nothing but the manifests would miss what a careful forger does: the campaign says so."""
    campaign = Campaign([epochs], tmp_path, SEED)
    campaign.only = Depth.PARSE
    outcome = campaign.run(30, time.monotonic() + SECONDS)
    assert outcome.missed

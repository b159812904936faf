"""A small sample of the tamper campaign, with a seed of its own; `python -m tests.tamper` runs thousands."""

import time
from pathlib import Path

import pytest

from node.audit.findings import Depth
from tests.tamper import campaign as campaign_module
from tests.tamper.campaign import Campaign, Outcome
from tests.tamper.world import World

TAMPERS = 60
SECONDS = 60.0
SEED = 2_026


def test_a_sample_of_the_campaign(epochs: World, tmp_path: Path) -> None:
    campaign = Campaign([epochs], tmp_path, SEED)
    outcome = campaign.run(TAMPERS, time.monotonic() + SECONDS)
    assert outcome.good, outcome
    assert outcome.tampers == TAMPERS
    assert outcome.found_at["parse"] > 0
    assert outcome.found_at["certificates"] > 0
    assert outcome.liars_named == outcome.provable > 0
    assert outcome.evidence > 0


def test_the_campaign_sees_a_blind_audit_and_a_late_one(
    epochs: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An audit that looks at nothing but the manifests would miss what a careful forger does; and where that is where all must be
    found, what is found deeper is told as late."""
    campaign = Campaign([epochs], tmp_path, SEED)
    campaign.only = Depth.PARSE
    assert campaign.run(20, time.monotonic() + SECONDS).missed
    campaign.only = None
    campaign.outcome = Outcome()
    monkeypatch.setattr(campaign_module, "of_archive", lambda *_, **__: Depth.PARSE)
    outcome = campaign.run(20, time.monotonic() + SECONDS)
    assert outcome.late
    assert not outcome.missed

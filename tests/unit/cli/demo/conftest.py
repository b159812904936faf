"""The court in which the cast is heard, with a store on the disk."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.cli.demo import cast as story
from node.cli.demo.cast import STATES, Party
from node.cli.founding import combine, propose, sign_proposal
from node.ledger.genesis import chain_id
from node.ledger.ledger import Ledger
from node.signing.keys import generate_agency_keys
from node.signing.verify import VerifyPool
from node.storage.store import Store
from tests.unit.cli.demo.court import Court, cheap_home


@pytest.fixture
async def court(tmp_path: Path) -> AsyncIterator[Court]:
    homes = [cheap_home(tmp_path / state, state, 9000 + 10 * at) for at, state in enumerate(STATES)]
    parties = [
        Party(id=name, role=role, state=state, keys=generate_agency_keys(name, with_vote=False))
        for name, (role, state) in story.party_roles().items()
    ]
    proposal = propose([home.declaration for home in homes], story.terms(parties, story.DEADLINE_S))
    document = combine([sign_proposal(proposal, home.node_keys) for home in homes])
    with Store.open(tmp_path / "store") as store, VerifyPool(threads=1) as pool:
        ledger = await Ledger.open(store, document, pool)
        yield Court(
            store=store, ledger=ledger, cast=story.cast_of(homes, parties, chain_id(document))
        )

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.api.serving import Serving, serve
from tests.unit.ledger.founding import Founding, found


@pytest.fixture(scope="session")
def founding() -> Founding:
    return found(4, 2)


@pytest.fixture
async def serving(founding: Founding, tmp_path: Path) -> AsyncIterator[Serving]:
    running = await serve(founding, tmp_path)
    yield running
    await running.close()

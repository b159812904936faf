"""The forger of step 5: one entry changes and nothing else, so that only an audit can find it."""

from pathlib import Path

import pytest

from node.cli.demo.cast import ACCUSED, PARTS
from node.cli.demo.erasure import BLAMED, forge
from node.cli.demo.show import StoryBroke
from node.ledger.records import decode_record
from node.storage.keys import COLUMN_FAMILIES
from node.storage.store import Store
from tests.unit.cli.demo.court import CASE, LAB, Court


async def _store_with_finding(court: Court) -> tuple[Path, int]:
    await court.run_the_parts()
    await court.take(*(court.cast.progress(ACCUSED, LAB, part) for part in PARTS))
    (index,) = [
        index
        for index in court.ledger.list_indexes(kind="finding", subject=ACCUSED)
        if decode_record(court.ledger.entry(index).leaf)["finding"] == CASE
    ]
    return court.close(), index


async def test_one_entry_says_something_else_and_every_other_row_is_the_same(court: Court) -> None:
    path, index = await _store_with_finding(court)
    with Store.open(path) as store:
        before = {family: dict(store.rows(family)) for family in COLUMN_FAMILIES}
    forgery = forge(path, index, ACCUSED, BLAMED)
    with Store.open(path) as store:
        after = {family: dict(store.rows(family)) for family in COLUMN_FAMILIES}
    changed = [
        (family, key)
        for family in COLUMN_FAMILIES
        for key in before[family].keys() | after[family].keys()
        if before[family].get(key) != after[family].get(key)
    ]
    assert changed == [("log", index.to_bytes(8, "big"))]
    old, new = (rows["log"][changed[0][1]] for rows in (before, after))
    assert decode_record(new)["subject"] == BLAMED
    assert old[forgery.first : forgery.last + 1] == ACCUSED.encode()
    assert new[forgery.first : forgery.last + 1] == BLAMED.encode()
    assert (
        old[: forgery.first] + old[forgery.last + 1 :]
        == new[: forgery.first] + new[forgery.last + 1 :]
    )


async def test_another_entry_is_not_taken_for_the_finding(court: Court) -> None:
    path, index = await _store_with_finding(court)
    with pytest.raises(StoryBroke, match="is about"):
        forge(path, index, "GB", BLAMED)

"""Entries for people."""

import json

import pytest

from node.ledger.errors import MalformedRecord
from node.ledger.view import entry_view, leaf_view
from node.signing.statements import entry_hash
from tests.unit.ledger.founding import found


def test_an_entry_shows_author_kind_body_and_endorsers() -> None:
    founding = found(4, 1)
    author = founding.author(0)
    entry = author.facility("dc1", founding.agencies[0])
    view = leaf_view(4, entry)
    assert view["leaf"] == 4
    assert (view["form"], view["hash"]) == ("entry", entry_hash(entry).hex())
    assert (view["author"], view["seq"], view["kind"]) == ("op0", 1, "facility")
    assert (view["subject"], view["class"], view["endorsers"]) == ("facility/dc1", "R", ["BR"])
    assert view["body"] == {"facility": "dc1", "capacity_mh": 1000, "mem_gb": 80}
    energy = entry_view(author.energy(5))
    assert energy["body"]["point"] == "METER_POINT_SITE"
    assert energy["period"][1] - energy["period"][0] == 600
    assert json.loads(json.dumps(view)) == view


def test_bytes_that_are_no_entry_are_refused() -> None:
    with pytest.raises(MalformedRecord, match="entry: cose"):
        entry_view(b"\xd2nothing")

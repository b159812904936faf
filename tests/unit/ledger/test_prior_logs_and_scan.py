"""A state that began alone brings its log along (M03), and the scanner of a log (M53)."""

from pathlib import Path
from typing import Any

import pytest

from foedus.v1 import content_pb2 as pb
from node.ledger import records
from node.ledger.questions.answer import ask
from node.ledger.questions.scan import look_at
from node.ledger.questions.sight import Sight
from node.ledger.reader import ReadEntry, read_entry
from node.log.merkle import leaf_hash, verify_inclusion
from node.signing.statements import entry_hash
from tests.unit.ledger.founding import Author, found
from tests.unit.ledger.running import Running, start


def note(author: Author, confidentiality: Any = pb.CONFIDENTIALITY_PUBLIC, **fields: Any) -> bytes:
    content = pb.Content(
        ver=1,
        ledger=author.ledger,
        author=author.keys.author_id,
        confidentiality=confidentiality,
        note=pb.Note(**fields),
    )
    subject = fields.get("about") or author.keys.author_id
    return author.sign(content.SerializeToString(), kind="note", subject=subject)


def scanned(running: Running) -> dict[str, dict[str, Any]]:
    ledger = running.ledger
    sight = Sight(law=ledger.law, size=ledger.size, state_digest=bytes(32), leaves=ledger)
    return {row["key"]: row for row in ask(sight, "scan")["rows"]}


@pytest.mark.measure("M03")
async def test_a_log_kept_alone_is_provable_after_joining(tmp_path: Path) -> None:
    """One node, a hundred entries; then five states, who learn its root: each of the hundred is proved to them."""
    alone = found(1, 0, law_version=2)
    solo = await start(alone, tmp_path / "solo")
    state = alone.state_author(0)
    said = [
        note(state, type=pb.NOTE_TYPE_EVIDENCE, hash=number.to_bytes(32, "big"))
        for number in range(100)
    ]
    for first in range(0, 100, 25):
        await solo.commit(*said[first : first + 25])
    assert all(judged.code == "" for applied in solo.applied for judged in applied.plan.judged)
    size, root = solo.ledger.size, solo.ledger.root
    places = [solo.ledger.entries(0, size).index(entry) for entry in said]
    proofs = [solo.ledger.inclusion_proof(place, size) for place in places]
    solo.close()

    many = found(5, 1, law_version=2)
    joined = await start(many, tmp_path / "many")
    declared = note(
        many.state_author(0),
        type=pb.NOTE_TYPE_PRIOR_LOG,
        about=alone.genesis.origin,
        hash=root,
        size=size,
    )
    applied = await joined.commit(declared)
    assert [judged.code for judged in applied.plan.judged] == [""]
    index = joined.ledger.find(entry_hash(declared))
    assert index is not None
    (leaf,) = joined.ledger.entries(index, 1)
    entry = read_entry(leaf, bytes(32))
    assert isinstance(entry, ReadEntry)
    told = entry.parsed.body
    for place, proof, leaf in zip(places, proofs, said, strict=True):
        assert verify_inclusion(leaf_hash(leaf), place, told.size, proof, told.hash)
    assert not verify_inclusion(leaf_hash(said[1]), places[0], told.size, proofs[0], told.hash)
    kinds = [record["type"] for record in joined.records()]
    assert "finding" not in kinds  # nothing from before the treaty is judged
    assert "case" not in kinds
    joined.close()


@pytest.mark.measure("M53")
async def test_the_scanner_finds_what_is_secret_in_plain(tmp_path: Path) -> None:
    founding = found(5, 1, law_version=2)
    running = await start(founding, tmp_path)
    state = founding.state_author(0)
    secret = pb.CONFIDENTIALITY_SECRET
    await running.commit(
        note(state, type=pb.NOTE_TYPE_EVIDENCE, hash=b"h" * 32),
        note(state, secret, type=pb.NOTE_TYPE_EVIDENCE, hash=b"s" * 32),
    )
    clean = scanned(running)
    assert list(clean) == ["log"]
    assert (clean["log"]["secret"], clean["log"]["wrong"]) == (1, 0)
    assert clean["log"]["entries"] + clean["log"]["records"] == running.ledger.size
    leaf = note(state, secret, type=pb.NOTE_TYPE_MEETING, about="what nobody may read")
    assert look_at(leaf) == (True, "class S in plain: note.about")
    assert look_at(leaf + bytes(70_000))[1].startswith("7")
    assert not any(map(records.is_record, (leaf,)))
    running.close()

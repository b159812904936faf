"""Equivocation on the ledger, audited: by blocks, by the log alone, and what lies about it look like."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from consensus.types import CommitIndex
from node.audit.audit import audit_sources
from node.audit.export import export_home
from node.audit.findings import Depth, Verdict
from node.ledger import records
from node.storage import keys
from node.storage.store import Store
from tests.unit.audit.history import MEMBERS, Weave, clone, database, delete, live, weave
from tests.unit.audit.test_forgeries import accused, audit, changed, leaf_of, rewrite
from tests.unit.ledger.founding import found


@pytest.fixture(scope="module")
def made() -> Weave:
    """GB signs two blocks for round 9; BR and KE carry the proof in round 11."""
    founding = found(MEMBERS, 2, law_version=2)
    return weave(founding=founding, equivocate=True, accused_by={0: True, 3: True})


@pytest.fixture(scope="module")
def home(made: Weave, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(live(made, tmp_path_factory.mktemp("evidence") / "CN", "CN"))


def records_of(home: Path, kind: str) -> list[dict[str, Any]]:
    with Store.open(database(home), read_only=True) as store:
        leaves = store.entries(0, store.log_size())
    found_ = [records.decode_record(leaf) for leaf in leaves if records.is_record(leaf)]
    return [record for record in found_ if record["type"] == kind]


def without_order(home: Path, to: Path) -> Path:
    """The same home with its first commit record lost, so that only the log is left to go by."""
    copy = clone(home, to)
    delete(copy, "commits", keys.u64(CommitIndex(1)))
    return copy


def test_blocks_give_the_finding_that_the_log_has(home: Path, tmp_path: Path) -> None:
    (record,) = records_of(home, "equivocation")
    assert (record["state"], record["round"], len(record["proof"])) == ("GB", 9, 202)
    (finding,) = [one for one in records_of(home, "finding") if one["check"] == "C29"]
    assert (finding["finding"], finding["severity"]) == ("C29:GB:epoch0", 4)
    exported = export_home(home, tmp_path / "out")
    for source in (home, exported.folder):
        report = audit_sources([str(source)])
        assert (report.verdict, [str(f) for f in report.findings]) == (Verdict.CONSISTENT, [])
        assert report.roots_equal
        assert [misdeed.accused for misdeed in report.misdeeds] == [("GB",)]


def test_the_log_alone_gives_it_too(home: Path, tmp_path: Path) -> None:
    report = audit(without_order(home, tmp_path / "CN"))
    (source,) = report.sources
    assert source.checked[Depth.LAW].done
    assert "by the log itself" in source.checked[Depth.LAW].how_far
    assert {finding.depth for finding in report.findings} <= {Depth.ORDER, Depth.STORE}
    # No block of it is needed: who lied is named, with the two signatures.
    (misdeed,) = report.misdeeds
    assert (misdeed.accused, misdeed.depth) == (("GB",), Depth.LAW)
    assert misdeed.proof["kind"] == "two-blocks"


def test_a_record_that_no_key_signed_is_found_without_the_blocks(
    made: Weave, home: Path, tmp_path: Path
) -> None:
    copy = clone(home, tmp_path / "CN")
    index, leaf = leaf_of(copy, "equivocation")
    proof = bytearray(records.decode_record(leaf)["proof"])
    proof[60] ^= 1
    rewrite(made, copy, {index: changed(leaf, proof=bytes(proof))}, range(5))
    report = audit(without_order(copy, tmp_path / "other"))
    assert any(
        "equivocation record against GB that its keys did not sign" in finding.what
        for finding in report.findings
        if finding.depth is Depth.LAW
    ), report.findings


def test_a_record_whose_fields_differ_from_its_proof_is_found(
    made: Weave, home: Path, tmp_path: Path
) -> None:
    copy = clone(home, tmp_path / "CN")
    index, leaf = leaf_of(copy, "equivocation")
    rewrite(made, copy, {index: changed(leaf, state="US")}, range(5))
    for one in (copy, without_order(copy, tmp_path / "other")):
        report = audit(one)
        assert index in [f.entry for f in report.findings if f.depth is Depth.LAW]


def test_a_record_struck_from_the_log_is_missed(home: Path, made: Weave, tmp_path: Path) -> None:
    """Whoever hides it needs a quorum for the root without it, and the blocks still say so."""
    copy = clone(home, tmp_path / "CN")
    index, leaf = leaf_of(copy, "equivocation")
    _, other = leaf_of(copy, "rejected")
    rewrite(made, copy, {index: other}, range(5))
    assert index in [f.entry for f in audit(copy).findings]
    assert leaf != other


def test_a_committed_block_with_a_proof_of_nothing_accuses_its_author(tmp_path: Path) -> None:
    founding = found(MEMBERS, 2, law_version=2)
    made = weave(founding=founding, equivocate=True, accused_by={0: False})
    report = audit(asyncio.run(live(made, tmp_path / "CN", "CN")))
    assert accused(report) == {"BR"}
    assert any("carries a proof against GB" in finding.what for finding in report.findings)

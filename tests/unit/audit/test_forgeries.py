"""Lies that are signed: who cosigned two roots is named by their own lines, and nobody else is."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from node.audit.audit import audit_sources
from node.audit.findings import AuditReport, Depth, Verdict
from node.ledger import records
from node.ledger.cosigned import encode_cosigned
from node.log import cbor, merkle
from node.log.merkle import EMPTY_TREE
from node.storage import keys
from node.storage.store import Store
from tests.unit.audit.conftest import World
from tests.unit.audit.history import Weave, change, clone, database, lines, live, put


@pytest.fixture
def home(world: World, tmp_path: Path) -> Path:
    return clone(world.homes["CN"], tmp_path / "CN")


def rewrite(made: Weave, home: Path, leaves: dict[int, bytes], members: Sequence[int]) -> None:
    """Put other leaves in the log, make the whole tree fit, and let these members cosign it anew: a whole forged history."""
    with Store.open(database(home), read_only=True) as store:
        size = store.log_size()
        held = store.entries(0, size)
        old = [key for key, _ in store.rows("cosignatures")]
    rows: list[tuple[str, bytes, bytes | None]] = [("cosignatures", key, None) for key in old]
    for index, leaf in leaves.items():
        held[index] = leaf
        rows.append(("log", keys.u64(index), leaf))
    grown = merkle.append(EMPTY_TREE, merkle.leaf_hashes(held))
    for run in grown.runs:
        for index, digest in enumerate(run.hashes, start=run.first):
            rows.append(("hashes", keys.node_hash(run.level, index), digest))
    for line in lines(made.founding, size, grown.tree.root(), list(members)):
        rows.append(("cosignatures", keys.cosignature(size, line.member), encode_cosigned(line)))
    change(home, rows)
    (home / "data" / "cosign").unlink()


def leaf_of(home: Path, kind: str) -> tuple[int, bytes]:
    with Store.open(database(home), read_only=True) as store:
        for index in range(3, store.log_size()):
            leaf = store.entry(index)
            if records.is_record(leaf) and records.decode_record(leaf)["type"] == kind:
                return index, leaf
    raise AssertionError(f"no {kind} record")


def audit(*sources: Path) -> AuditReport:
    report = audit_sources([str(source) for source in sources])
    assert report.verdict is Verdict.INCONSISTENT
    return report


def accused(report: AuditReport) -> set[str]:
    return {state for finding in report.findings for state in finding.accused}


def changed(leaf: bytes, **fields: Any) -> bytes:
    return cbor.encode({**records.decode_record(leaf), **fields})


def test_a_record_that_the_law_does_not_give_though_all_cosigned_it(
    world: World, home: Path
) -> None:
    """A decision bent by everybody: tree, root and cosignatures fit, and the law alone says no (DESIGN 6 f)."""
    index, leaf = leaf_of(home, "rejected")
    rewrite(world.weave, home, {index: changed(leaf, code="LATE")}, range(5))
    report = audit(home)
    assert report.sources[0].checked[Depth.STRUCTURE].done
    (found,) = [finding for finding in report.findings if finding.entry is not None]
    assert (found.depth, found.entry) == (Depth.LAW, index)
    assert "the law gives other bytes than these, which BR, CN, GB, KE, US cosigned" in found.what
    assert accused(report) == set()  # it may be a fault of a program (R39)
    assert not report.roots_equal


@pytest.mark.parametrize(
    ("field", "value"),
    [("state_digest", bytes(32)), ("time_ms", 1_700_000_000_001), ("order_digest", b"\x01" * 32)],
)
def test_a_commit_record_with_another_field(
    world: World, home: Path, field: str, value: object
) -> None:
    index, leaf = leaf_of(home, "commit")
    rewrite(world.weave, home, {index: changed(leaf, **{field: value})}, range(5))
    report = audit(home)
    assert [f.entry for f in report.findings if f.entry is not None] == [index]


def test_two_entries_that_changed_places_in_a_forged_tree(world: World, home: Path) -> None:
    with Store.open(database(home), read_only=True) as store:
        pair = next(
            index
            for index in range(3, store.log_size())
            if not records.is_record(store.entry(index))
            and not records.is_record(store.entry(index + 1))
        )
        one, two = store.entries(pair, 2)
    rewrite(world.weave, home, {pair: two, pair + 1: one}, range(5))
    report = audit(home)
    assert [f.entry for f in report.findings if f.entry is not None] == [pair, pair + 1]


def test_two_roots_accuse_who_signed_both_and_nobody_else(world: World, home: Path) -> None:
    """BR, CN, GB and KE sign a second history; US does not. Each of the four is shown by two lines of its own."""
    index, leaf = leaf_of(home, "rejected")
    rewrite(world.weave, home, {index: changed(leaf, code="LATE")}, range(4))
    report = audit(home, world.exports["US"])
    assert accused(report) == {"BR", "CN", "GB", "KE"}
    proofs = [finding.proof for finding in report.findings if finding.accused]
    assert all(proof["first"] != proof["second"] for proof in proofs)
    assert all(finding.source != "export-US" for finding in report.findings)


def test_a_certificate_of_the_history_that_was_there_before(world: World, home: Path) -> None:
    """The log was rewritten and cosigned anew, one older certificate lies there still: place, both roots and signers are told."""
    with Store.open(database(home), read_only=True) as store:
        size = store.log_size() - 1
        root = merkle.append(EMPTY_TREE, merkle.leaf_hashes(store.entries(0, size))).tree.root()
    index, leaf = leaf_of(home, "rejected")
    rewrite(world.weave, home, {index: changed(leaf, code="LATE")}, range(5))
    change(
        home,
        [
            ("cosignatures", keys.cosignature(size, line.member), encode_cosigned(line))
            for line in lines(world.weave.founding, size, root, [1, 2, 3, 4])
        ],
    )
    report = audit(home)
    (found,) = [each for each in report.findings if f"the first {size} entries" in each.what]
    assert found.depth is Depth.CERTIFICATES
    assert found.what.endswith(f"cosigned is {root.hex()}")
    assert found.proven_by == ("CN", "GB", "KE", "US")


def test_a_forgery_that_too_few_signed_accuses_them_too(world: World, home: Path) -> None:
    """Two members cannot make it final; their second line is evidence all the same."""
    index, leaf = leaf_of(home, "rejected")
    rewrite(world.weave, home, {index: changed(leaf, code="LATE")}, range(2))
    report = audit(home, world.exports["US"])
    assert accused(report) == {"BR", "CN"}
    assert any("make a quorum" in finding.what for finding in report.findings)


def test_two_roots_at_two_sizes(world: World, tmp_path: Path) -> None:
    """An early checkpoint that the later log does not continue: shown by the later log's root at that size."""
    early = asyncio.run(live(world.weave, tmp_path / "CN", "CN", commits=6))
    index, leaf = leaf_of(early, "commit")
    rewrite(world.weave, early, {index: changed(leaf, state_digest=bytes(32))}, [1, 3])
    report = audit(early, world.exports["US"])
    assert report.sources[0].size < report.sources[1].size
    assert accused(report) == {"CN", "KE"}


def test_a_line_of_one_key_under_another_name_accuses_nobody(world: World, home: Path) -> None:
    """A forger without US's key writes a line in its name: it does not verify, and US is not to blame."""
    index, leaf = leaf_of(home, "rejected")
    rewrite(world.weave, home, {index: changed(leaf, code="LATE")}, [1])
    with Store.open(database(home), read_only=True) as store:
        size = store.log_size()
        (_, row) = store.cosignatures(size)[0]
    put(home, "cosignatures", keys.cosignature(size, 4), b"\x00\x04" + row[2:])
    report = audit(home, world.exports["CN"])
    assert accused(report) == {"CN"}
    assert any("line of US is not by its cosigner" in finding.what for finding in report.findings)


def test_two_honest_copies_of_different_length_accuse_nobody(world: World, tmp_path: Path) -> None:
    early = asyncio.run(live(world.weave, tmp_path / "CN", "CN", commits=6))
    report = audit_sources([str(early), str(world.exports["US"])])
    assert report.verdict is Verdict.CONSISTENT
    assert not report.findings

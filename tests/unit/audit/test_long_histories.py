"""What only long histories need: processes that hash and check signatures, an index on the disk, made small here."""

from pathlib import Path

import pytest

from node.audit import copies, swift
from node.audit.audit import audit_sources
from node.audit.bench import synthetic
from node.audit.bench.limit import of_all_cores, of_one_core
from node.audit.bench.transfer import DISK_SHARE, transfer
from node.audit.facts import SpilledFacts
from node.audit.findings import Depth, Verdict
from node.audit.source import CannotAudit
from node.ledger.plan import MemoryFacts
from node.signing.keys import Role, SigningKey
from node.treaty.entries import EntryFacts
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, flip
from tests.unit.audit.test_altered_archives import reseal

ENTRIES = 4_000


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> synthetic.History:
    return synthetic.make(tmp_path_factory.mktemp("long"), ENTRIES, lambda _: None)


def test_the_history_made_for_the_bench_is_consistent(
    history: synthetic.History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over processes, and with an index that goes to the disk after a few hundred entries."""
    monkeypatch.setattr(copies, "WORTH_PROCESSES", 0)
    monkeypatch.setattr(swift, "ALONE_MAX", 0)
    monkeypatch.setattr(SpilledFacts.__init__, "__defaults__", (500,))
    report = audit_sources([str(history.folder)], depth=Depth.LAW, processes=2)
    assert report.verdict is Verdict.CONSISTENT, [str(finding) for finding in report.findings]
    assert report.entries_replayed == history.size >= ENTRIES
    signatures = report.sources[0].checked[Depth.SIGNATURES].how_far
    # Each entry's own, and an endorsement for each declaration.
    assert signatures.startswith(f"{history.signed_entries + synthetic.AUTHORS} of entries")


def test_a_bad_signature_is_found_over_processes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weave holds an entry with a bad signature, dropped by all: a replay that took it would part from the log."""
    monkeypatch.setattr(copies, "WORTH_PROCESSES", 0)
    report = audit_sources([str(world.exports["CN"])], depth=Depth.LAW, processes=2)
    assert report.verdict is Verdict.CONSISTENT
    assert report.sources[0].checked[Depth.LAW].done


@pytest.mark.parametrize("part", ["tile/entries", "tile/0", "tile/1"])
def test_what_the_fast_way_refuses_the_slow_one_names(
    history: synthetic.History, tmp_path: Path, part: str
) -> None:
    archive = clone(history.folder, tmp_path / "archive")
    path = min(p for p in (archive / part).rglob("*") if p.is_file())
    path.write_bytes(flip(path.read_bytes(), 40))
    reseal(archive)
    report = audit_sources([str(archive)], depth=Depth.STRUCTURE, processes=1)
    assert report.verdict is Verdict.INCONSISTENT
    assert any(finding.depth is Depth.STRUCTURE for finding in report.findings)


def test_an_index_on_the_disk_answers_as_one_in_memory() -> None:
    facts = [
        EntryFacts(
            entry_hash=number.to_bytes(32, "big"),
            leaf=number,
            author=f"op{number % 3}",
            seq=number // 6,  # each seq is used twice: the first counts
            kind="energy",
            topic="",
            code="EQUIVOCATION" if number % 6 >= 3 else "",
            content_hash=(1000 + number).to_bytes(32, "big"),
            time_s=number,
        )
        for number in range(60)
    ]
    memory = MemoryFacts()
    with SpilledFacts(memory_max=7) as spilled:
        for one in facts:
            memory.add(one)
            spilled.add(one)
            for asked in facts:
                assert spilled.get(asked.entry_hash) == memory.get(asked.entry_hash)
                assert spilled.by_content(asked.content_hash) == memory.by_content(
                    asked.content_hash
                )
                assert spilled.at_seq(asked.author, asked.seq) == memory.at_seq(
                    asked.author, asked.seq
                )


def test_a_history_goes_into_a_store_and_out_of_it(
    history: synthetic.History, tmp_path: Path
) -> None:
    found = transfer(history, tmp_path)
    assert found.entries == history.size
    assert found.imported.bytes == found.exported.bytes > 100 * history.size
    shown = found.as_json()
    for way in ("import", "export"):
        assert shown[way]["entries_per_second"] > 0
        fast = shown[way]["mib_per_second"] >= DISK_SHARE * shown["disk_mib_per_second"]
        assert shown[way]["limited_by"] == ("the disk" if fast else "one core")
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_the_signature_limit_is_measured_with_good_signatures_only() -> None:
    """On one core, and on two at once: the bar that a full replay is held to."""
    key = SigningKey.from_seed(Role.AUTHOR, bytes(32))
    good = (key.public, b"a message", key.sign(b"a message"))
    bad = (key.public, b"another", good[2])
    assert of_one_core([good] * 50, turns=1) > 0
    assert of_all_cores([good] * 50, 2, turns=1, seconds=0.05) > 0
    with pytest.raises(CannotAudit, match="1 of 51"):
        of_one_core([*[good] * 50, bad], turns=1)
    with pytest.raises(CannotAudit, match=r"\[1\]"):
        of_all_cores([bad], 1, turns=1, seconds=0.05)

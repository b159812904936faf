"""What the campaign with many tiles, other ledgers and depths fixed beforehand once missed, a case of each kind (record 0218)."""

import json
import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from node.audit.archive import MANIFEST, encode_manifest
from node.audit.audit import audit_sources
from node.audit.findings import AuditReport, Depth, Findings, Verdict
from node.audit.opening import open_source
from node.audit.order import OrderReplay
from node.audit.source import database_file
from node.ledger.epochs import Epoch, next_epoch
from node.ledger.records import decode_record
from node.ledger.seats import member_in
from node.signing.keys import generate_agency_keys
from node.signing.verify import VerifyPool
from tests.tamper.archives import ArchiveTampers
from tests.tamper.colluders import Colluders
from tests.tamper.folder import Folder
from tests.tamper.foreign import ForeignTampers
from tests.tamper.world import World
from tests.unit.audit.history import clone, database
from tests.unit.audit.test_altered_archives import reseal
from tests.unit.ledger.founding import Author
from tests.unit.ledger.joining import declares, rotated

SEED = 218


@pytest.fixture
def folder(epochs: World, tmp_path: Path) -> Folder:
    return Folder(clone(epochs.archives["CN"], tmp_path / "archive"))


@pytest.fixture
def pool() -> Iterator[VerifyPool]:
    with VerifyPool(threads=0) as made:
        yield made


def audit(folder: Folder, depth: Depth, pinned: bytes | None = None) -> AuditReport:
    reseal(folder.path)
    return audit_sources([str(folder.path)], pinned=pinned, depth=depth, threads=0, processes=1)


def accused(report: AuditReport) -> set[str]:
    return {state for f in (*report.findings, *report.misdeeds) for state in f.accused}


def test_a_genesis_of_the_same_name(epochs: World, folder: Folder) -> None:
    """Origin, members and keys are the same: good cosignatures stand under it. The log itself says which genesis it has."""
    other = epochs.namesakes[0]
    folder.write("genesis.cbor", other)
    fields = json.loads(folder.whole[MANIFEST])
    folder.write(MANIFEST, encode_manifest({**fields, "chain_id": sha256(other).hexdigest()}))
    report = audit(folder, Depth.STRUCTURE)
    assert [(f.entry, f.depth) for f in report.findings] == [(0, Depth.STRUCTURE)]
    assert accused(report) == set()


def test_commits_beyond_the_log(epochs: World, tmp_path: Path) -> None:
    """An older archive whole, with the commits and blocks that a newer one has: nobody looked behind the last commit."""
    folder = Folder(clone(epochs.archives["third"], tmp_path / "stitched"))
    newer = Folder(epochs.archives["CN"])
    for name in newer.names:
        if name.startswith(("commits/", "blocks/", "signatures/0")):
            folder.write(name, newer.whole[name])
    report = audit(folder, Depth.ORDER)
    assert any("commit records from 1 on: want" in finding.what for finding in report.findings)
    # And with a manifest that counts them: the log ends with another one.
    fields = json.loads(folder.read(MANIFEST))
    fields["commits"] = json.loads(newer.whole[MANIFEST])["commits"]
    folder.write(MANIFEST, encode_manifest(fields))
    assert [f.depth for f in audit(folder, Depth.STRUCTURE).findings] == [Depth.STRUCTURE]


def test_a_seat_that_no_node_takes_seats_nobody(epochs: World, folder: Folder) -> None:
    """Keys of small order, or one key in two roles: the second ended the audit by an error that nobody caught."""
    draw = random.Random(SEED)
    tampers = ArchiveTampers(epochs, folder, (), draw)
    colluders = Colluders(epochs, folder, tampers, draw)
    for _ in range(3):
        done = colluders.weak_seat()
        report = audit(folder, Depth.CERTIFICATES, epochs.weave.founding.document)
        assert any("no node takes that seat of US" in f.what for f in report.findings)
        assert accused(report) <= done.liars
        folder.restore()


def test_a_committee_that_was_made_up_makes_no_block_a_lie(epochs: World, pool: VerifyPool) -> None:
    """With one member more the same keys validate, yet round 0 has other names: each first block looks invalid."""
    before, true = epochs.epochs[:2]
    ends = decode_record(epochs.leaves[true.after_size - 1])
    ledger = epochs.weave.founding.chain_id
    thief = Author(generate_agency_keys("ZZ", seed=bytes(32)), ledger)
    keys = rotated("ZZ", 7)
    guest = member_in(epochs.genesis, "ZZ", declares(thief, keys), 1)
    _, made_up = next_epoch(
        before,
        (*true.members, guest),
        last_commit=ends["index"],
        last_digest=ends["order_digest"],
        last_time_ms=ends["time_ms"],
        last_size=true.after_size,
        record_leaf=true.after_size - 2,
    )

    def told(certified: int, *epochs_: Epoch) -> Findings:
        source = open_source(str(epochs.archives["CN"]), epochs.genesis, b"")
        findings = Findings("copy")
        order = OrderReplay(source, epochs_, pool, findings, certified=certified)
        list(order.commits(true.after_commit + 1))
        return findings

    (finding,) = told(1, before, made_up).all()
    assert "is invalid" in finding.what
    assert finding.accused == ()
    assert told(1, before, true).all() == []


def test_other_spellings_of_a_signature_and_a_second_good_one(
    epochs: World, folder: Folder
) -> None:
    """S + L and a neutral R are no signatures; another nonce gives a good one, and the block is the same block (RULINGS R56)."""
    draw = random.Random(SEED)
    tampers = ArchiveTampers(epochs, folder, (), draw)
    foreign = ForeignTampers(epochs, folder, tampers, epochs.others, (), draw)
    document = epochs.weave.founding.document
    for _ in range(4):
        foreign.malleable()
        report = audit(folder, Depth.SIGNATURES, document)
        assert report.verdict is Verdict.INCONSISTENT
        assert accused(report) == set()
        folder.restore()
    for _ in range(2):
        foreign.spelt_otherwise()
        report = audit(folder, Depth.ORDER, document)
        assert report.verdict is Verdict.CONSISTENT
        assert accused(report) == set()
        folder.restore()


def test_a_home_put_back_whole_is_an_earlier_copy_and_its_own_line_tells(epochs: World) -> None:
    """Sign state and all: alone it stands, as a backup does; beside a peer's copy the report says that its node went further."""
    document = epochs.weave.founding.document
    copies = [str(epochs.older), str(epochs.archives["US"])]
    alone, beside = (
        audit_sources(sources, pinned=document, threads=0, processes=1)
        for sources in (copies[:1], copies)
    )
    assert (alone.verdict, accused(alone)) == (Verdict.CONSISTENT, set())
    assert (beside.verdict, accused(beside)) == (Verdict.CONSISTENT, set())
    told = [report.checked[Depth.COMPARE].how_far for report in beside.sources]
    assert f"CN has cosigned {epochs.size} entries" in told[0]
    assert "put back" not in told[1]


def test_the_file_that_the_database_doubts_is_named() -> None:
    told = "/n/rocksdb: scanning authors stopped: Corruption: Mismatch in unique ID on table file 10. Expected: {2,7}"
    assert database_file(told) == "000010.sst"
    assert database_file("Corruption: block checksum mismatch in /n/000012.sst") == "000012.sst"
    assert database_file("nothing named") is None


def test_a_log_that_the_database_cannot_read_is_named(epochs: World, tmp_path: Path) -> None:
    """RocksDB says that something is corrupt as it opens, and not where."""
    home = clone(epochs.homes["CN"], tmp_path / "CN")
    (database(home) / "000077.log").write_bytes((database(home) / "LOG").read_bytes())
    report = audit_sources([str(home)], depth=Depth.PARSE, threads=0, processes=1)
    assert report.verdict is Verdict.INCONSISTENT
    assert any("000077.log" in (finding.file or "") for finding in report.findings)

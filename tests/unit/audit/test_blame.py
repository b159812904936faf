"""Blame: what the audit names is written to files that a stranger's program confirms, and nobody honest can be put into one."""

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import foedus_verify as fv
from node.audit.audit import audit_sources
from node.audit.blame import evidence_documents
from node.audit.findings import AuditReport, Depth, Finding, Verdict
from node.audit.html_report import html_report
from node.audit.source import CannotAudit
from node.audit.withheld import Running
from node.cli.main import build_app
from node.ledger.questions.moment import time_text
from node.ledger.records import decode_record
from node.log import merkle
from node.log.tiles import TILE_WIDTH, cut_tile, encode_bundle, paths
from node.signing.acknowledgement import Acknowledgement, sign_acknowledgement
from node.signing.statements import entry_hash
from node.storage.store import Store
from tests.tamper.world import World as EpochWorld
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, database, live, weave
from tests.unit.audit.test_forgeries import changed, leaf_of, rewrite

SEED = 31
FLIPS = 150


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def confirmed(path: Path, world: World, *words: str | Path) -> int:
    pinned = world.weave.founding.chain_id.hex()
    return fv.main(["evidence", str(path), "--chain-id", pinned, *map(str, words)])


def save(document: dict[str, Any], path: Path) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture
def forged(world: World, tmp_path: Path) -> Path:
    """A second history that BR, CN, GB and KE have signed; US has not."""
    home = clone(world.homes["CN"], tmp_path / "CN")
    index, leaf = leaf_of(home, "rejected")
    rewrite(world.weave, home, {index: changed(leaf, code="LATE")}, range(4))
    return home


def test_two_roots_are_confirmed_by_the_outsiders_program(
    world: World, forged: Path, tmp_path: Path
) -> None:
    evidence = tmp_path / "evidence.json"
    made = run("audit", forged, world.exports["US"], "--evidence", evidence, "--json")
    assert made.exit_code == 1
    (path,) = [Path(name) for name in json.loads(made.stdout)["blame"]]
    assert path.name == "evidence-1-two-roots.json"
    document = json.loads(path.read_bytes())
    assert document["accused"] == ["BR", "CN", "GB", "KE"]
    assert confirmed(path, world) == 0
    assert fv.main(["evidence", str(path), "--chain-id", "00" * 32]) == 1
    twice = {**document, "second": document["first"]}
    assert confirmed(save(twice, tmp_path / "twice"), world) == 1, "one root is no two"
    document["accused"].append("US")
    assert confirmed(save(document, tmp_path / "us"), world) == 1, "US signed one of them alone"
    document["accused"] = []
    assert confirmed(save(document, tmp_path / "nobody"), world) == 2


def test_two_roots_at_two_sizes(world: World, tmp_path: Path) -> None:
    early = asyncio.run(live(world.weave, tmp_path / "CN", "CN", commits=6))
    index, leaf = leaf_of(early, "commit")
    rewrite(world.weave, early, {index: changed(leaf, state_digest=bytes(32))}, [1, 3])
    report = audit_sources([str(early), str(world.exports["US"])])
    (document,) = evidence_documents(report, report.genesis)
    assert document["accused"] == ["CN", "KE"]
    assert confirmed(save(document, tmp_path / "one"), world) == 0
    first = fv.parse_checkpoint(fv.parse_note(document["first"].encode())[0])[2]
    honest = {**document, "prefix_root": first.hex()}
    assert confirmed(save(honest, tmp_path / "two"), world) == 1, "no proof leads there"
    del document["prefix_proof"]
    assert confirmed(save(document, tmp_path / "three"), world) == 2


def test_two_blocks_of_one_round(tmp_path: Path, world: World) -> None:
    made = weave(equivocate=True, founding=world.weave.founding)
    report = audit_sources([str(asyncio.run(live(made, tmp_path / "CN", "CN")))])
    (document,) = evidence_documents(report, report.genesis)
    assert (document["kind"], document["accused"]) == ("two-blocks", ["GB"])
    assert confirmed(save(document, tmp_path / "one"), world) == 0
    twice = {**document, "digest2": document["digest1"], "signature2": document["signature1"]}
    assert confirmed(save(twice, tmp_path / "two"), world) == 1, "one block is no two"
    assert confirmed(save({**document, "author": 0}, tmp_path / "three"), world) == 1
    assert confirmed(save({**document, "author": 77}, tmp_path / "four"), world) == 2


def test_no_flip_makes_evidence_against_anybody_else(
    world: World, forged: Path, tmp_path: Path
) -> None:
    report = audit_sources([str(forged), str(world.exports["US"])])
    (document,) = evidence_documents(report, report.genesis)
    data = json.dumps(document).encode()
    draw = random.Random(SEED)
    path = tmp_path / "evidence"
    for _ in range(FLIPS):
        at = draw.randrange(len(data))
        altered = bytearray(data)
        altered[at] ^= 1 << draw.randrange(7)
        path.write_bytes(altered)
        if confirmed(path, world) == 0:
            said = json.loads(altered)
            assert set(said["accused"]) <= {"BR", "CN", "GB", "KE"}


# --- promises ------------------------------------------------------------------------------------

DUE_MS = 100_000  # after the founding: with a minute to keep a promise in, the history runs on for long enough past that


def promise(world: EpochWorld, state: str, entry: bytes, after_ms: int = DUE_MS) -> bytes:
    founding = world.weave.founding
    said = Acknowledgement(
        chain_id=founding.chain_id,
        entry_hash=entry_hash(entry),
        node=state,
        inclusion_by_ms=founding.genesis.time_ms + after_ms,
    )
    return sign_acknowledgement(founding.nodes[founding.genesis.member_index(state)].log, said)


def judged(world: EpochWorld, data: bytes, copy: Path | None = None) -> AuditReport:
    report = audit_sources([str(copy or world.homes["CN"])], acknowledgements=[("one", data)])
    assert report.verdict is Verdict.CONSISTENT
    return report


def verified(world: EpochWorld, path: Path, *words: str | Path) -> int:
    pinned = world.weave.founding.chain_id.hex()
    return fv.main(["evidence", str(path), "--chain-id", pinned, "--json", *map(str, words)])


def never_filed(world: EpochWorld) -> bytes:
    return world.weave.founding.author(1).energy(4242)


def test_a_withheld_entry_is_proven_beside_an_archive(
    epochs: EpochWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept_back = promise(epochs, "DE", never_filed(epochs))
    report = judged(epochs, kept_back)
    (misdeed,) = report.misdeeds
    assert misdeed.accused == ("DE",)
    (document,) = evidence_documents(report, report.genesis)
    path = save(document, tmp_path / "one")
    assert verified(epochs, path, "--archive", epochs.archives["US"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert "no rule dropped" in shown["not_shown"], "what only a replay tells"
    assert verified(epochs, path) == 2, "what a log does not hold, an archive shows"
    data = tmp_path / "promise"
    data.write_bytes(kept_back)
    evidence = tmp_path / "e.json"
    made = run("audit", epochs.archives["CN"], "--acknowledgement", data, "--evidence", evidence)
    assert made.exit_code == 0, "the history stands"
    assert (tmp_path / "e-1-withheld.json").is_file()


def test_a_kept_promise_accuses_nobody(epochs: EpochWorld, tmp_path: Path) -> None:
    """In the log; dropped by a rule for all to see; or not due yet."""
    entries = epochs.weave.entries
    ordered = [entry for batch in epochs.weave.batches for entry in batch.entries]
    with Store.open(database(epochs.homes["CN"]), read_only=True) as store:
        dropped = [entry for entry in ordered if store.facts(entry_hash(entry)) is None]
    assert dropped, "the history holds entries that no rule lets in"
    for data in (
        promise(epochs, "DE", entries[0]),
        promise(epochs, "DE", dropped[0]),
        promise(epochs, "DE", never_filed(epochs), 10**9),
    ):
        assert judged(epochs, data).misdeeds == ()
    # And a file that claims it all the same is not confirmed.
    report = judged(epochs, promise(epochs, "DE", never_filed(epochs)))
    (document,) = evidence_documents(report, report.genesis)
    document["acknowledgement"] = promise(epochs, "DE", entries[0]).hex()
    path = save(document, tmp_path / "kept")
    assert verified(epochs, path, "--archive", epochs.archives["US"]) == 1
    # Nor over an archive from which the entry was taken, with tiles to fit; nor under a record that no log has.
    folder = clone(epochs.archives["US"], tmp_path / "without it")
    leaves = [b"another" if leaf == entries[0] else leaf for leaf in epochs.leaves[: epochs.size]]
    assert leaves.count(b"another") == 1
    tree = merkle.MemoryHashes()
    tree.append(merkle.leaf_hashes(leaves))
    for tile in paths(epochs.size):
        first = TILE_WIDTH * tile.index
        is_bundle = tile.level is None
        data = encode_bundle(leaves[first : first + tile.width]) if is_bundle else b""
        (folder / str(tile)).write_bytes(data or cut_tile(tile, tree.read))
    assert verified(epochs, path, "--archive", folder) == 1
    document["acknowledgement"] = promise(epochs, "DE", never_filed(epochs)).hex()
    path = save(document, tmp_path / "withheld")
    assert verified(epochs, path, "--archive", epochs.archives["US"]) == 0
    document["commit_record"] = changed(
        bytes.fromhex(document["commit_record"]), state_digest=bytes(32)
    ).hex()
    path = save(document, tmp_path / "another record")
    assert verified(epochs, path, "--archive", epochs.archives["US"]) == 1


def test_an_entry_that_came_late_was_withheld_till_then(epochs: EpochWorld, tmp_path: Path) -> None:
    """The promise ran out, the log ran on for as long again, and then it came: the evidence ends before it (record 0209)."""
    *_, entry = (leaf for leaf in epochs.leaves if leaf in epochs.weave.entries)
    index = epochs.leaves.index(entry)
    report = judged(epochs, promise(epochs, "DE", entry, 1_000))
    (misdeed,) = report.misdeeds
    assert misdeed.accused == ("DE",)
    assert f"came as number {index}: late" in misdeed.what
    (document,) = evidence_documents(report, report.genesis)
    assert document["index"] < index
    path = save(document, tmp_path / "late")
    assert verified(epochs, path, "--archive", epochs.archives["US"]) == 0
    tree = merkle.MemoryHashes()
    tree.append(merkle.leaf_hashes(epochs.leaves))
    last = len(epochs.leaves) - 1
    document |= {
        "commit_record": epochs.leaves[last].hex(),
        "index": last,
        "proof": [part.hex() for part in merkle.inclusion_proof(last, last + 1, tree.read)],
    }
    path = save(document, tmp_path / "in the log by then")
    assert verified(epochs, path, "--archive", epochs.archives["US"]) == 1


def test_an_early_copy_accuses_nobody(epochs: EpochWorld, tmp_path: Path) -> None:
    """The log is past the time that was promised, and has hardly run since: the entry may stand in the next commit."""
    early = epochs.archives["first"]
    size = json.loads((early / "manifest.json").read_bytes())["size"]
    last = decode_record(epochs.leaves[size - 1])
    overdue = last["time_ms"] - epochs.genesis.time_ms - 30_000
    data = promise(epochs, "DE", never_filed(epochs), overdue)
    assert judged(epochs, data, early).misdeeds == ()
    # The later copy shows that it was withheld; a file over the early one is not confirmed.
    report = judged(epochs, data)
    (document,) = evidence_documents(report, report.genesis)
    tree = merkle.MemoryHashes()
    tree.append(merkle.leaf_hashes(epochs.leaves[:size]))
    document |= {
        "checkpoint": (early / "checkpoint").read_text(encoding="utf-8"),
        "commit_record": epochs.leaves[size - 1].hex(),
        "index": size - 1,
        "proof": [part.hex() for part in merkle.inclusion_proof(size - 1, size, tree.read)],
    }
    path = save(document, tmp_path / "early")
    assert verified(epochs, path, "--archive", early) == 1


def test_a_log_that_stood_still_has_not_run() -> None:
    """Promised for 130 s, halted from 100 s to an hour later: what came first after it is no breach (record 0217)."""
    running = Running(inclusion_s=60)
    for second in (0, 50, 100, 3_700):
        running.commit_record(1_000 * second, second)
    assert running.since(130_000) == 6_000, "a gap counts for a tenth of what promises last"
    assert running.since(3_699_000) == 1_000
    assert running.since(3_700_000) == 0
    for second in range(3_705, 3_760, 5):
        running.commit_record(1_000 * second, second)
    assert running.since(130_000) == 61_000
    assert running.since(20_000) == 3 * 6_000 + 55_000
    assert Running(inclusion_s=60).since(0) == 0
    assert running.broken_at(130_000, None) == 3_755
    assert running.broken_at(130_000, 3_754) is None, "56 s: it came before it was overdue"
    assert running.broken_at(130_000, 3_756) == 3_755
    assert running.broken_at(130_000, 0) is None


def test_a_promise_by_a_stranger_is_none(world: World) -> None:
    founding = world.weave.founding
    said = Acknowledgement(
        chain_id=founding.chain_id, entry_hash=bytes(32), node="KE", inclusion_by_ms=1
    )
    forged = sign_acknowledgement(founding.nodes[0].log, said)
    for data in (forged, b"garbage"):
        with pytest.raises(CannotAudit):
            audit_sources([str(world.exports["CN"])], acknowledgements=[("one", data)])


# --- the page ------------------------------------------------------------------------------------


def test_the_page_is_the_same_for_the_same_copies(
    world: World, forged: Path, tmp_path: Path
) -> None:
    pages = []
    for name in ("a", "b"):
        made = run(
            *("audit", forged, world.exports["US"], "--html", tmp_path / name),
            *("--evidence", tmp_path / f"{name}.json"),
        )
        assert made.exit_code == 1
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    page = pages[0].decode()
    for said in ("Something is wrong", "cosigned root", "BR, CN, GB, KE", "<svg", "not checked"):
        assert said in page or said == "not checked"
    assert "<strong>no</strong>, " in page  # said at the question itself, not only in the list
    assert "in the copies themselves" in page
    for option in ("--html", "--evidence"):  # before the work, not after it
        again = run("audit", world.homes["US"], "--against", "no-such-copy", option, tmp_path / "a")
        assert again.exit_code == 2, "a page is never overwritten"
        assert "never overwritten" in again.stderr


def test_a_disk_that_refuses_swallows_no_finding(
    world: World, forged: Path, tmp_path: Path
) -> None:
    """An auditor may stand in a folder that cannot be written: the air-gapped disk itself."""
    blocked = tmp_path / "a file"
    blocked.write_bytes(b"")
    where = ("--evidence", blocked / "evidence.json", "--html", blocked / "page.html")
    said = run("audit", forged, world.exports["US"], *where)
    assert said.exit_code == 1
    assert "verdict: inconsistent" in said.stdout
    assert said.stderr.count("could not be written") == 2
    shown = json.loads(run("audit", forged, world.exports["US"], *where, "--json").stdout)
    assert len(shown["unwritten"]) == 2
    assert shown["findings"]
    good = run("audit", world.exports["US"], *where)
    assert good.exit_code == 2, "the page that was asked for is not there"
    assert "verdict: consistent" in good.stdout


def test_the_page_of_a_good_history_and_names_of_strangers(world: World) -> None:
    home = world.homes["US"]
    report = audit_sources([str(home)], pinned=world.weave.founding.document)
    page = html_report(report).decode()
    assert "Nothing is wrong" in page
    assert "<strong>no</strong>" not in page
    assert "that the auditor named" in page
    (source,) = report.sources
    size, when = source.final_size, source.final_at_s
    assert when is not None
    assert f"final up to entry {size - 1}, signed about {time_text(when)}" in page
    assert f"<code>{source.final_root}</code>" in page
    assert report.as_json()["genesis_named"] is True
    assert not any(one["wrong"] for one in report.as_json()["sources"][0]["checked"].values())
    bad = Finding(depth=Depth.LAW, source="US", what="<b>\u202e", accused=("CN",))
    misdeed = html_report(replace(report, misdeeds=(bad,))).decode()
    assert "The history stands, but" in misdeed
    assert "<b>" not in misdeed
    assert "\u202e" not in misdeed
    assert "Nobody was seen" in page
    assert f"{world.exported['US'].size} entries" in page
    assert "<script" not in page

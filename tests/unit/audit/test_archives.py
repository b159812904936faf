"""Archives out of a store and into one: interrupted and taken up again, imported, and gone on from."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from consensus.codec import encode_block, encode_commit_record
from node.audit.audit import audit_sources
from node.audit.export import export_home
from node.audit.findings import Depth, Verdict
from node.audit.importing import import_archive
from node.audit.source import CannotAudit
from node.cli.main import build_app
from node.ledger.cosigned import encode_cosigned
from node.log import merkle
from node.log.note import parse_note
from node.log.policy import evaluate, parse_policy
from node.signing.verify import verify_ed25519
from node.storage import keys
from node.storage.errors import StoreLocked
from node.storage.sign_state import SignState
from node.storage.store import Store
from tests.unit.audit.conftest import World
from tests.unit.audit.history import MEMBERS, clone, database, flip, furnish, lines, live
from tests.unit.ledger.running import Running, start

ROOT = Path(__file__).resolve().parents[3]

# A process that kills itself, as a power cut would, when its progress has ticked so often.
KILLED = """
import os, signal, sys
from pathlib import Path
from node.audit import archive, archive_files, export

for module in (archive, archive_files, export):
    module.COMMITS_PER_FILE = int(sys.argv[4])
left = int(sys.argv[3])

class Cut:
    def start(self, what, total):
        def tick(steps):
            global left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return tick

made = export.export_home(Path(sys.argv[1]), Path(sys.argv[2]), progress=Cut())
print(made.reused, made.manifest_digest)
"""


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def killed_after(
    ticks: int, home: Path, out: Path, commits: int = 256
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(home), str(out), str(ticks), str(commits)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_export_killed_twice_goes_on_and_ends_the_same(world: World, tmp_path: Path) -> None:
    home, out = world.homes["CN"], tmp_path / "out"
    whole = killed_after(0, home, tmp_path / "whole", 2)
    assert whole.returncode == 0, whole.stderr
    for ticks in (3, 5):
        assert killed_after(ticks, home, out, 2).returncode == -signal.SIGKILL
        assert not out.exists()
    journal = tmp_path / ".out.partial" / "journal"
    with journal.open("ab") as file:
        file.write(b"0123 torn")  # the line that a power cut leaves
    last = killed_after(0, home, out, 2)
    assert last.returncode == 0, last.stderr
    assert int(last.stdout.split()[0]) >= 8
    assert files(out) == files(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_a_file_that_was_torn_or_altered_meanwhile_is_written_again(
    world: World, tmp_path: Path
) -> None:
    home, out = world.homes["CN"], tmp_path / "out"
    assert killed_after(2, home, out).returncode == -signal.SIGKILL
    for name in ("blocks/0000000001.blocks", "signatures/0000000001.deciders"):
        path = tmp_path / ".out.partial" / "files" / name
        path.write_bytes(flip(path.read_bytes(), 7))
    assert killed_after(0, home, out).returncode == 0
    assert files(out) == files(world.exports["CN"])


def test_an_interrupted_export_keeps_its_checkpoint(world: World, tmp_path: Path) -> None:
    """The node has come further since: what was begun is finished, and something else is refused with a way out."""
    early = asyncio.run(live(world.weave, tmp_path / "early", "CN", commits=5))
    out = tmp_path / "out"
    assert killed_after(2, early, out).returncode == -signal.SIGKILL
    with pytest.raises(CannotAudit, match="interrupted export of"):
        export_home(early, out, size=_sizes(early)[0])
    shutil.rmtree(early / "data")
    shutil.copytree(world.homes["CN"] / "data", early / "data")
    journal = tmp_path / ".out.partial" / "journal"
    begun = json.loads(journal.read_bytes().split(b"\n")[0])["size"]
    _certify_again(world, early, begun)
    made = export_home(early, out)
    assert made.size == begun < world.exported["CN"].size
    assert audit_sources([str(out)]).verdict is Verdict.CONSISTENT


def _certify_again(world: World, home: Path, size: int) -> None:
    """Certificates are thinned out (R43); this one was kept."""
    with Store.open(database(home)) as store:
        root = merkle.load(size, store.hash).root()
        rows = lines(world.weave.founding, size, root, list(range(MEMBERS)))
        store.put_cosignatures([(size, line.member, encode_cosigned(line)) for line in rows])


def _sizes(home: Path) -> list[int]:
    with Store.open(database(home), read_only=True) as store:
        return store.cosigned_sizes(0, 1 << 40, 100)


def test_two_exports_of_one_folder_at_once(world: World, tmp_path: Path) -> None:
    class Second:
        """Begins a second export as soon as the first has the journal."""

        def start(self, what: str, total: int | None) -> Callable[[int], None]:
            with pytest.raises(CannotAudit, match="another process writes there"):
                export_home(world.homes["CN"], tmp_path / "out")
            return lambda _: None

    export_home(world.homes["CN"], tmp_path / "out", progress=Second())


def test_the_checkpoint_of_an_archive_is_a_note_where_clients_look(world: World) -> None:
    note = parse_note((world.exports["CN"] / "checkpoint").read_bytes())
    assert [len(line.signature) for line in note.lines] == [64, *[72] * MEMBERS]
    # Other people's tools want a log's line: this one is a checkpoint to whoever has the policy (FORMATS 7).
    policy = parse_policy((world.exports["CN"] / "policy").read_bytes())
    assert evaluate(policy, bytes(note), verify_ed25519).satisfied
    assert note.text.split(b"\n")[1] == b"%d" % world.exported["CN"].size


# --- verify --------------------------------------------------------------------------------------


def test_verify_says_how_deep_it_looked(world: World) -> None:
    made = run("archive", "verify", world.exports["CN"], "--json")
    assert made.exit_code == 0, made.output
    checked: dict[str, Any] = json.loads(made.stdout)["sources"][0]["checked"]
    assert {d for d, s in checked.items() if s["done"]} == {"parse", "structure", "certificates"}
    assert checked["law"]["how_far"] == "not asked for"
    made = run("archive", "verify", world.exports["CN"], "--depth", "order", "--json")
    checked = json.loads(made.stdout)["sources"][0]["checked"]
    assert checked["order"]["how_far"] == f"{world.exported['CN'].commits} commits"
    assert not checked["law"]["done"]
    assert "verdict: consistent" in run("archive", "verify", world.exports["CN"]).stdout


def test_verify_says_no(world: World, tmp_path: Path) -> None:
    archive = clone(world.exports["CN"], tmp_path / "archive")
    path = archive / "blocks" / "0000000001.blocks"
    path.write_bytes(flip(path.read_bytes(), 99))
    made = run("archive", "verify", archive, "--genesis", archive / "genesis.cbor")
    assert made.exit_code == 1
    assert "altered: its SHA-256 is not the manifest's" in made.stdout
    assert run("archive", "verify", tmp_path).exit_code == 2


# --- import --------------------------------------------------------------------------------------


@pytest.fixture
def fresh(world: World, tmp_path: Path) -> Path:
    """A home of KE without data."""
    furnish(world.weave, tmp_path / "KE", "KE")
    return tmp_path / "KE"


def test_an_imported_store_is_what_the_node_would_have_written(world: World, fresh: Path) -> None:
    """Row by row what an audit expects; and of the same bytes as a store that lived through it, up to what is final."""
    made = run("archive", "import", world.exports["CN"], "--home", fresh, "--json")
    assert made.exit_code == 0, made.output
    shown = json.loads(made.stdout)
    assert (shown["size"], shown["root"]) == (world.exported["CN"].size, world.exported["CN"].root)
    report = audit_sources([str(fresh), str(world.homes["US"])])
    assert report.verdict is Verdict.CONSISTENT, [str(finding) for finding in report.findings]
    assert report.sources[0].checked[Depth.STORE].done
    with (
        Store.open(database(fresh), read_only=True) as ours,
        Store.open(database(world.homes["US"]), read_only=True) as theirs,
    ):
        for family in ("log", "hashes", "index", "sequence", "contents", "facets", "state"):
            assert list(ours.rows(family)) == list(theirs.rows(family)), family


async def _go_on(world: World, home: Path, own: int) -> Running:
    """The node of this home, after the commits that the archive does not hold."""
    node = await start(world.weave.founding, home / "data", own=own)
    blocks = world.weave.blocks
    node.store.put_blocks([(block.ref, encode_block(block)) for block in blocks])
    for record in world.weave.records[node.ledger.last_commit :]:
        node.now_ms = record.commit.time_ms
        await node.ledger.apply(world.weave.batch(record), encode_commit_record(record))
    return node


@pytest.fixture
def early_archive(world: World, tmp_path: Path) -> Path:
    home = world.homes["CN"]
    return export_home(home, tmp_path / "early", size=_sizes(home)[0]).folder


async def test_a_node_goes_on_from_an_archive(
    world: World, fresh: Path, early_archive: Path
) -> None:
    import_archive(early_archive, fresh)
    node = await _go_on(world, fresh, 3)
    try:
        assert node.ledger.root.hex() == world.exported["CN"].root
    finally:
        node.close()
    assert audit_sources([str(fresh)], depth=Depth.LAW).verdict is Verdict.CONSISTENT


async def test_a_restored_cosigner_is_silent_until_past_what_its_peers_saw(
    world: World, fresh: Path, early_archive: Path
) -> None:
    """It had signed further than the archive reaches: nothing leaves before the others have gone on beyond that without it."""
    import_archive(early_archive, fresh)
    node = await _go_on(world, fresh, 3)
    cosigning = asyncio.create_task(node.finality.run())
    try:
        size, root, founding = node.ledger.size, node.ledger.root, world.weave.founding
        (own,) = lines(founding, size, root, [3])
        node.finality.add(own)  # a peer shows what this cosigner signed in its former life
        await _settled(node)
        assert node.sign_state.cosign() is None
        for line in lines(founding, size, root, [0, 1, 2]):
            node.finality.add(line)
        await _settled(node)
        assert node.finality.final_size == size
        assert node.sign_state.cosign() is None, "at the size that its peers have seen"
        node.now_ms += 1000
        entry = founding.author(0).energy(77)
        await node.commit(entry)
        assert node.ledger.size > size
        await _until(lambda: node.sign_state.cosign() is not None)
        signed = node.sign_state.cosign()
        assert signed is not None
        assert signed.size == node.ledger.size
    finally:
        cosigning.cancel()
        await asyncio.gather(cosigning, return_exceptions=True)
        node.close()


async def test_without_word_from_others_a_restored_cosigner_stays_silent(
    world: World, fresh: Path, early_archive: Path
) -> None:
    import_archive(early_archive, fresh)
    node = await _go_on(world, fresh, 3)
    cosigning = asyncio.create_task(node.finality.run())
    try:
        for number in range(3):
            await node.commit(world.weave.founding.author(1).energy(500 + number))
        await _settled(node)
        assert node.sign_state.cosign() is None
    finally:
        cosigning.cancel()
        await asyncio.gather(cosigning, return_exceptions=True)
        node.close()


async def test_a_home_that_kept_its_sign_state_is_not_marked(
    world: World, tmp_path: Path, early_archive: Path
) -> None:
    """What it signed last is known: the store may stand below it only until it has caught up (R31)."""
    home = clone(world.homes["CN"], tmp_path / "CN")
    shutil.rmtree(database(home))
    import_archive(early_archive, home)
    with Store.open(database(home), read_only=True) as store:
        assert store.meta(keys.META_RESTORED) is None
        assert store.meta(keys.META_REBUILD) is not None
    node = await _go_on(world, home, 1)
    try:
        assert node.ledger.root.hex() == world.exported["CN"].root
    finally:
        node.close()


async def _settled(node: Running) -> None:
    """Everything that the cosigner had to do is done: its queue is empty and nothing is on its way to the disk."""
    await _until(lambda: node.finality.is_idle)
    await asyncio.sleep(0)


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def test_what_cannot_be_imported(world: World, fresh: Path, tmp_path: Path) -> None:
    archive = clone(world.exports["CN"], tmp_path / "archive")
    with pytest.raises(CannotAudit, match="a store stands there already"):
        import_archive(archive, clone(world.homes["US"], tmp_path / "US"))
    with pytest.raises(CannotAudit, match="no archive"):
        import_archive(world.homes["US"], fresh)
    held = SignState(fresh / "data")
    with pytest.raises(StoreLocked):
        import_archive(archive, fresh)
    held.close()
    path = archive / "signatures" / "0000000001.blocks"
    path.write_bytes(flip(path.read_bytes(), 64 * 3 + 9))
    with pytest.raises(CannotAudit, match="nothing was imported"):
        import_archive(archive, fresh)
    assert not database(fresh).exists()


def test_a_forgery_with_fitting_manifests_is_not_imported(
    world: World, fresh: Path, tmp_path: Path
) -> None:
    """The files agree with each other; the block's author did not sign."""
    from tests.unit.audit.test_altered_archives import reseal

    archive = clone(world.exports["CN"], tmp_path / "archive")
    path = archive / "signatures" / "0000000001.blocks"
    path.write_bytes(flip(path.read_bytes(), 64 * 3 + 9))
    reseal(archive)
    with pytest.raises(CannotAudit, match="is not signed by"):
        import_archive(archive, fresh)
    assert not database(fresh).exists()

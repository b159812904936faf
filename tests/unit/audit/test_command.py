"""`foedus audit` and `foedus archive`: exit status, JSON, evidence; and a running node's URL."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from node.audit.audit import audit_sources
from node.audit.findings import Depth, Verdict
from node.audit.source import CannotAudit
from node.cli.main import build_app
from node.signing.transport import TransportIdentity, generate_transport
from node.storage import keys
from tests.unit.api.serving import free_port
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, flip, get, put


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def test_consistent_is_0(world: World) -> None:
    made = run("audit", world.homes["CN"], world.exports["US"], "--json")
    assert made.exit_code == 0, made.output
    found = json.loads(made.stdout)
    assert (found["verdict"], found["roots_equal"]) == ("consistent", True)
    assert found["entries_replayed"] == world.exported["CN"].size
    assert found["cosigned_by"] == ["BR", "CN", "GB", "KE", "US"]
    assert (found["findings"], found["evidence"]) == ([], None)


def test_inconsistent_is_1_with_evidence(world: World, tmp_path: Path) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    leaf = get(home, "log", keys.u64(9))
    put(home, "log", keys.u64(9), flip(leaf, 25))
    evidence = tmp_path / "evidence.json"
    words = ("audit", home, "--against", world.homes["US"], "--evidence", evidence)
    made = run(*words, "--json")
    assert made.exit_code == 1
    found = json.loads(made.stdout)
    assert (found["verdict"], found["evidence"]) == ("inconsistent", str(evidence))
    (one,) = [finding for finding in found["findings"] if finding["entry"] == 9]
    assert (one["source"], one["bytes"]) == ("CN", [25, 25])
    written = json.loads(evidence.read_text(encoding="utf-8"))
    (shown,) = [finding for finding in written["findings"] if finding["entry"] == 9]
    assert shown["found"] == flip(leaf, 25)[25:26].hex()
    assert shown["expected"] == leaf[25:26].hex()
    again = run(*words)
    assert again.exit_code == 2, "evidence is never overwritten"


def test_people_read_what_was_checked_and_what_is_wrong(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = clone(world.homes["CN"], tmp_path / "CN")
    put(home, "log", keys.u64(9), flip(get(home, "log", keys.u64(9)), 25))
    made = run("audit", home)
    assert made.exit_code == 1
    assert "WRONG  CN: entry 9, byte 25: altered" in made.stdout
    assert "cosigned by 5 of 5 (quorum 4): BR, CN, GB, KE, US" in made.stdout
    assert "verdict: inconsistent" in made.stdout
    (evidence,) = tmp_path.glob("foedus-evidence-*.json")
    assert evidence.name in made.stderr


def test_could_not_check_is_2(world: World, tmp_path: Path) -> None:
    for words in (
        (tmp_path,),
        (world.exports["CN"], "--genesis", tmp_path / "none.cbor"),
        (world.exports["CN"], "--genesis", world.homes["CN"] / "genesis.cbor", "--home", tmp_path),
        ("https://127.0.0.1:1", "--genesis", world.homes["CN"] / "genesis.cbor"),
    ):
        made = run("audit", *words, "--json")
        assert made.exit_code == 2, words
        assert json.loads(made.stdout)["error"]


def test_an_export_by_the_command(world: World, tmp_path: Path) -> None:
    made = run("archive", "export", "--home", world.homes["CN"], tmp_path / "out", "--json")
    assert made.exit_code == 0, made.output
    shown = json.loads(made.stdout)
    assert shown["manifest_sha256"] == world.exported["US"].manifest_digest
    again = run("archive", "export", "--home", world.homes["CN"], tmp_path / "out")
    assert again.exit_code == 2
    assert "never overwritten" in again.stderr


# --- a node's URL --------------------------------------------------------------------------------


class _Files(SimpleHTTPRequestHandler):
    """An archive served as a node serves its log: tiles, bundles, and the signed note."""

    protocol_version = "HTTP/1.1"

    def translate_path(self, path: str) -> str:
        moved = "/checkpoint" if path == "/checkpoint.full" else path
        return super().translate_path(moved)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(folder: Path, identity: TransportIdentity, tmp_path: Path) -> Iterator[str]:
    """The URL of an HTTPS server on a free port of this machine."""
    pem = tmp_path / "identity.pem"
    pem.write_bytes(identity.private_key_pem + identity.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder))) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def identity_of(world: World, state: str) -> TransportIdentity:
    founding = world.weave.founding
    return founding.nodes[founding.genesis.member_index(state)].transport


def test_a_running_node_by_its_url(world: World, tmp_path: Path) -> None:
    pinned = world.weave.founding.document
    with serving(world.exports["US"], identity_of(world, "US"), tmp_path) as url:
        report = audit_sources([url], pinned=pinned)
    assert report.verdict is Verdict.CONSISTENT, [str(finding) for finding in report.findings]
    (source,) = report.sources
    assert (source.name, source.kind) == ("US", "web")
    assert source.checked[Depth.LAW].done
    assert not source.checked[Depth.ORDER].done
    assert source.replayed_root == source.root == world.exported["US"].root


def test_an_altered_home_beside_a_running_node(world: World, tmp_path: Path) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    put(home, "log", keys.u64(9), flip(get(home, "log", keys.u64(9)), 25))
    with serving(world.exports["US"], identity_of(world, "US"), tmp_path) as url:
        report = audit_sources([str(home), url])
    places = [(f.source, f.entry, f.byte_range.first) for f in report.findings if f.byte_range]
    assert places == [("CN", 9, 25)]


def test_what_a_running_node_alters_is_named(world: World, tmp_path: Path) -> None:
    folder = clone(world.exports["US"], tmp_path / "served")
    path = folder / "tile" / "entries" / f"000.p/{world.exported['US'].size}"
    data = path.read_bytes()
    path.write_bytes(flip(data, data.index(world.weave.entries[0]) + 30))
    with serving(folder, identity_of(world, "US"), tmp_path) as url:
        report = audit_sources([str(world.homes["CN"]), url])
    places = [(f.source, f.byte_range.first) for f in report.findings if f.byte_range]
    assert places == [("US", 30)]
    assert not any(finding.accused for finding in report.findings)


def test_a_node_that_is_down_does_not_end_the_audit(world: World, tmp_path: Path) -> None:
    """One of many sources: told, accused of nothing, and no reason to say nothing of the others."""
    genesis = tmp_path / "genesis.cbor"
    genesis.write_bytes(world.weave.founding.document)
    dead = f"https://127.0.0.1:{free_port()}"
    altered = clone(world.exports["US"], tmp_path / "altered")
    (bundle,) = (altered / "tile" / "entries").glob("000*/*")
    bundle.write_bytes(flip(bundle.read_bytes(), 700))
    pinned = ("--genesis", genesis, "--evidence", tmp_path / "evidence.json")
    for name, where in (("source", (dead,)), ("beside", ("--against", dead))):
        page = tmp_path / name
        said = run("audit", world.exports["US"], *where, *pinned, "--html", page)
        assert said.exit_code == 2, "not all that was named was checked"
        assert "verdict: consistent" in said.stdout
        assert f"NOT READ  {dead}" in said.stdout
        assert "could not be read" in page.read_text()
    wrong = run("audit", altered, dead, *pinned, "--json")
    assert wrong.exit_code == 1
    shown = json.loads(wrong.stdout)
    assert [one["source"] for one in shown["unread"]] == [dead]
    assert not shown["misdeeds"]
    alone = run("audit", dead, "--genesis", genesis)
    assert alone.exit_code == 2
    assert "refused" in alone.stderr


def test_a_server_with_another_certificate_is_no_member(world: World, tmp_path: Path) -> None:
    stranger = generate_transport("US")
    with (
        serving(world.exports["US"], stranger, tmp_path) as url,
        pytest.raises(CannotAudit, match="certificate"),
    ):
        audit_sources([url], pinned=world.weave.founding.document)

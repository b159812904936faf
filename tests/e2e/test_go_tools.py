"""A running node read and witnessed by tools that nobody here wrote: Go's golang.org/x/mod/sumdb/{note,tlog}."""

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from foedus.v1 import client_pb2 as pb
from node.log.checkpoint import Checkpoint
from node.log.cosignature import open_checkpoint
from node.log.note import Note, parse_note, signature_line
from node.signing.checkpoints import cosigner_vkey, log_vkey
from node.signing.keys import generate_node_keys
from node.signing.statements import entry_hash
from node.signing.transport import server_name
from node.signing.verify import verify_ed25519
from tests.e2e.cluster import Cluster, Home, found_cluster
from tests.e2e.statements import Outbox

GOPATH = Path("/usr/share/gocode")
GO = "/usr/bin/go" if Path("/usr/bin/go").exists() else shutil.which("go")
MISSING = (
    "Go and its x/mod: apt-get install --no-install-recommends golang-go golang-golang-x-mod-dev"
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        GO is None or not (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir(), reason=MISSING
    ),
]


@pytest.fixture(scope="module")
def gocheck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checker, built offline from Debian's packages."""
    assert GO is not None
    folder = tmp_path_factory.mktemp("gocheck")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GOCACHE": str(folder / "cache"),
        "GOPATH": str(GOPATH),
        "GO111MODULE": "off",
        "GOFLAGS": "-p=2",
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
    }
    binary = folder / "gocheck"
    source = Path(__file__).parent / "gocheck" / "main.go"
    subprocess.run([GO, "build", "-o", str(binary), str(source)], check=True, env=environ)
    return binary


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Cluster]:
    cluster = found_cluster(tmp_path, states=("KE",), operators=1)
    cluster.module = "tests.e2e.lone_node"
    with cluster:
        yield cluster


def check(binary: Path, lone: Cluster, home: Home, old: str, *, vkey: str = "") -> str:
    """Its output, the newest checkpoint. Raises CalledProcessError with what it found wrong."""
    certificate = home.folder / "certificate.pem"
    certificate.write_bytes(home.keys.transport.certificate_pem)
    key = vkey or str(log_vkey(lone.genesis.origin, home.keys.log.public))
    base = f"https://{home.http}"
    done = subprocess.run(
        [str(binary), base, str(certificate), server_name("KE"), key, old],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


async def grow(lone: Cluster, entries: list[bytes]) -> None:
    async with lone.client("KE") as node:
        answer = await node.SubmitMany(pb.SubmitManyRequest(entries=entries), timeout=20)
        assert all(result.HasField("taken") for result in answer.results)
    hashes = [entry_hash(entry) for entry in entries]
    await lone.until(lambda: lone.all_final(hashes), "all final")

    async def is_shown() -> bool:
        size = (await lone.status("KE")).final_size
        _, note = await lone.https_get("KE", "/checkpoint")
        return note.split(b"\n")[1] == b"%d" % size

    await lone.until(is_shown, "the checkpoint, which is renewed once a second")


async def test_go_reads_the_log_and_proves_it(lone: Cluster, gocheck: Path, tmp_path: Path) -> None:
    home = lone.homes["KE"]
    lone.start("KE")
    await lone.wait_ready()
    outbox = Outbox(keys=lone.operators[0], ledger=lone.chain_id)
    await grow(lone, [outbox.facility("dc1", countersigned_by=home.agency)])
    first = check(gocheck, lone, home, "-")
    old = tmp_path / "old"
    old.write_text(first, encoding="utf-8")
    await grow(lone, [outbox.energy(number) for number in range(300)])
    newest = check(gocheck, lone, home, str(old))
    assert int(newest.split("\n")[1]) > 300 > int(first.split("\n")[1])
    stranger = generate_node_keys("KE", seed=b"\x09" * 32).log.public
    for bad in (str(log_vkey(lone.genesis.origin, stranger)), "nonsense"):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            check(gocheck, lone, home, "-", vkey=bad)
        assert "checkpoint:" in caught.value.stderr or "vkey:" in caught.value.stderr
    forked = tmp_path / "forked"
    text = Checkpoint(origin=lone.genesis.origin, size=2, root=bytes(32)).text()
    line = home.keys.log.sign(text)
    vkey = log_vkey(lone.genesis.origin, home.keys.log.public)
    forked.write_bytes(bytes(Note(text=text, lines=(signature_line(vkey, line),))))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        check(gocheck, lone, home, str(forked))
    assert "does not extend 2" in caught.value.stderr


async def test_a_witness_client_gets_the_line_made_already(lone: Cluster) -> None:
    """RULINGS R40: a request for our own origin never causes a signature; what was cosigned is shown."""
    home = lone.homes["KE"]
    lone.start("KE")
    await lone.wait_ready()
    outbox = Outbox(keys=lone.operators[0], ledger=lone.chain_id)
    await grow(lone, [outbox.facility("dc1", countersigned_by=home.agency)])
    status, lean = await lone.https_get("KE", "/checkpoint")
    assert status == 200
    note = parse_note(lean)
    origin = lone.genesis.origin
    cosigner = cosigner_vkey(origin, "KE", home.keys.cosigner.public)
    request = b"old 0\n\n" + bytes(Note(text=note.text, lines=note.lines[:1]))
    trust = ssl.create_default_context(cadata=home.keys.transport.certificate_pem.decode())
    async with httpx.AsyncClient(verify=trust) as client:
        answer = await client.post(
            f"https://{home.http}/witness/add-checkpoint",
            content=request,
            extensions={"sni_hostname": server_name("KE")},
        )
    assert answer.status_code == 200, answer.text
    cosigned = note.text + b"\n" + answer.content
    opened = open_checkpoint(cosigned, [cosigner], verify_ed25519)
    assert opened.signers == (cosigner,)

"""A node witnesses for a client that nobody here wrote: transparency-dev/witness. Another opens what was signed (record 0197).

Their sources come from the Go module cache, with the hashes of go.sum; where they are not there, nothing is fetched, and this
skips. `cd tests/e2e/witnesscheck; GOFLAGS=-mod=readonly go build -o /dev/null .` puts them there.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from node.log.checkpoint import Checkpoint
from node.log.note import Note, parse_note
from node.signing.checkpoints import (
    cosignature_line,
    cosigner_vkey,
    log_vkey,
    mldsa_cosigner_vkey,
    sign_log_line,
    sign_mldsa_cosignature,
    witness_vkey,
)
from node.signing.keys import generate_node_keys
from node.signing.transport import server_name
from tests.e2e.cluster import found_cluster
from tests.e2e.statements import Outbox
from tests.e2e.test_go_tools import grow

pytestmark = pytest.mark.e2e
FOLDER = Path(__file__).parent / "witnesscheck"
GO = shutil.which("go")
MISSING = (
    "Go 1.25 or later, and in its module cache what tests/e2e/witnesscheck/go.sum lists:"
    " GOFLAGS=-mod=readonly go build -o /dev/null . in that folder"
)
OTHER = "other.example/log"


@pytest.fixture(scope="module")
def witnesscheck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GO is None:
        pytest.skip(MISSING)
    binary = tmp_path_factory.mktemp("witnesscheck") / "witnesscheck"
    environ = {
        **os.environ,
        "GOPROXY": "off",
        "GOFLAGS": "-mod=readonly -p=2",
        "GOTOOLCHAIN": "local",
    }
    built = subprocess.run(
        [GO, "build", "-o", binary, "."],
        cwd=FOLDER,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        pytest.skip(f"{MISSING} ({built.stderr.strip()[-200:]})")
    return binary


def ran(binary: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [binary, *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )


async def test_an_independent_client_is_cosigned(witnesscheck: Path, tmp_path: Path) -> None:
    """Our own log's line that was made already (RULINGS R40), and a cosignature for somebody else's log."""
    other = generate_node_keys("US", seed=b"\x07" * 32)
    logs = tmp_path / "logs"
    logs.write_text(f"log {log_vkey(OTHER, other.log.public)}\nquorum none\n", encoding="utf-8")
    cluster = found_cluster(tmp_path / "cluster", states=("KE",), operators=1)
    cluster.module = "tests.e2e.lone_node"
    with cluster:
        home = cluster.homes["KE"]
        settings = home.folder / "foedus.toml"
        text = settings.read_text(encoding="utf-8")
        assert 'logs = ""' in text
        settings.write_text(text.replace('logs = ""', f'logs = "{logs}"'), encoding="utf-8")
        cluster.start("KE")
        await cluster.wait_ready()
        outbox = Outbox(keys=cluster.operators[0], ledger=cluster.chain_id)
        await grow(cluster, [outbox.facility("dc1", countersigned_by=home.agency)])
        own = parse_note((await cluster.https_get("KE", "/checkpoint"))[1])
        origin = cluster.genesis.origin
        certificate = home.folder / "certificate.pem"
        certificate.write_bytes(home.keys.transport.certificate_pem)
        server = (f"https://{home.http}/witness", certificate, server_name("KE"))
        note = tmp_path / "note"
        note.write_bytes(bytes(Note(text=own.text, lines=own.lines[:1])))
        vkey = cosigner_vkey(origin, "KE", home.keys.cosigner.public)
        done = ran(witnesscheck, "ask", *server, note, vkey)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"cosigned by {vkey.name} at ")
        foreign = Checkpoint(origin=OTHER, size=5, root=b"r" * 32)
        note.write_bytes(
            bytes(Note(text=foreign.text(), lines=(sign_log_line(other.log, foreign),)))
        )
        assert home.keys.witness is not None
        witness = witness_vkey(origin, "KE", home.keys.witness.public)
        done = ran(witnesscheck, "ask", *server, note, witness)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"cosigned by {witness.name} at ")
        done = ran(witnesscheck, "ask", *server, note, witness)
        assert done.returncode == 1
        assert "the witness has 5" in done.stderr, "asked from nothing once more"


def test_their_verifier_opens_our_ml_dsa_lines(witnesscheck: Path, tmp_path: Path) -> None:
    keys = generate_node_keys("US", seed=b"\x07" * 32, with_mldsa=True)
    assert keys.cosigner_pq is not None
    checkpoint = Checkpoint(origin=OTHER, size=5, root=b"r" * 32)
    vkey = mldsa_cosigner_vkey(OTHER, "US", keys.cosigner_pq.public)
    made = sign_mldsa_cosignature(keys.cosigner_pq, "US", checkpoint, 1_700_000_000)
    note = tmp_path / "note"
    note.write_bytes(bytes(Note(text=checkpoint.text(), lines=(cosignature_line(vkey, made),))))
    done = ran(witnesscheck, "open", note, vkey)
    assert done.stdout == f"cosigned by {vkey.name} at 1700000000\n", done.stderr
    note.write_bytes(note.read_bytes().replace(b"\n5\n", b"\n6\n"))
    assert ran(witnesscheck, "open", note, vkey).returncode == 1

"""A ledger and a witness outside it, as processes: asked, shown in receipts, and what it holds against a rewritten history."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli.receipts import verify_receipt
from node.ledger.trust import trust_policy
from node.log.policy import PolicyWitness, parse_policy, with_outside
from node.signing.checkpoints import log_vkey, witness_vkey
from tests.e2e.cluster import PYTHON_PATH, ROOT, Cluster, found_cluster
from tests.e2e.statements import Outbox
from tests.e2e.test_go_tools import grow

pytestmark = pytest.mark.e2e
OUTSIDE = "igo.example/log"


def cli(*words: object, status: int = 0) -> str:
    """What one `foedus` command says."""
    done = subprocess.run(
        [sys.executable, "-m", "node.cli.main", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def set_witness(cluster: Cluster, state: str, name: str, text: str) -> None:
    """A setting of the table [witness] that names a file of this text."""
    folder = cluster.homes[state].folder
    (folder / name).write_text(f"{text}\nquorum none\n", encoding="utf-8")
    path = folder / "foedus.toml"
    settings = path.read_text(encoding="utf-8")
    assert f'\n{name} = ""' in settings
    path.write_text(settings.replace(f'\n{name} = ""', f'\n{name} = "{name}"'), encoding="utf-8")


def read(path: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found


async def witnessed(cluster: Cluster) -> bool:
    return (await cluster.https_get("KE", "/checkpoint.witnessed"))[0] == 200


async def test_states_that_rewrite_their_history_together_are_caught(tmp_path: Path) -> None:
    """One member is all members: nothing inside this ledger can tell, whatever its quorum signs."""
    theirs = found_cluster(tmp_path / "igo", states=("FR",), operators=0, origin=OUTSIDE)
    ours = found_cluster(tmp_path / "ours", states=("KE",), operators=1)
    theirs.module = ours.module = "tests.e2e.lone_node"
    home, witness = ours.homes["KE"], theirs.homes["FR"]
    assert witness.keys.witness is not None
    vkey = witness_vkey(OUTSIDE, "FR", witness.keys.witness.public)
    url = f"https://{witness.http}/witness"
    log = log_vkey(ours.genesis.origin, home.keys.log.public)
    set_witness(theirs, "FR", "logs", f"log {log}")
    set_witness(ours, "KE", "ask", f"witness igo {vkey} {url}")
    policy, receipt = tmp_path / "outside.policy", tmp_path / "3.tlog-proof"
    asked = PolicyWitness(name="igo", key=vkey)
    policy.write_bytes(with_outside(trust_policy(ours.genesis), [asked], 1))
    with theirs, ours:
        theirs.start("FR")
        ours.start("KE")
        await theirs.wait_ready()
        await ours.wait_ready()
        outbox = Outbox(keys=ours.operators[0], ledger=ours.chain_id)
        facility = outbox.facility("dc1", countersigned_by=home.agency)
        await grow(ours, [facility, outbox.energy(1)])
        ours.stop("KE")
        shutil.rmtree(home.folder / "data" / "outside")  # else the first round's is shown at once
        ours.start("KE")
        await ours.wait_ready()
        await ours.until(lambda: witnessed(ours), "a checkpoint is witnessed")
        words = ("--witnessed", 1, "--policy", policy, "--out", receipt)
        cli("receipt", "get", 3, "--home", home.folder, *words)
        watch: list[object] = ["monitor", f"https://{home.http}", "--once", "--json"]
        watch += ["--genesis", home.folder / "genesis.cbor", "--witness", f"{vkey}@{url}"]
        watch += ["--evidence", tmp_path]
        assert json.loads(cli(*watch))["witnesses"][0]["trouble"] == ""

        ours.stop("KE")
        shutil.rmtree(home.folder / "data")
        ours.start("KE")
        await ours.wait_ready()
        again = Outbox(keys=ours.operators[0], ledger=ours.chain_id)
        rewritten = [again.facility("dc2", countersigned_by=home.agency)]
        await grow(ours, [*rewritten, *(again.energy(n, facility="dc2") for n in range(2, 9))])
        look = json.loads(cli(*watch, status=1))
        assert look["witnesses"][0]["log_keys_of"] == ["KE"]
        (path,) = look["evidence"]
        assert read(path)["witness"] == str(vkey)
    proven = verify_receipt(receipt.read_bytes(), parse_policy(policy.read_bytes()))
    assert (proven.proven, proven.witnesses) == (True, ("KE", "igo")), "what was proven stands"

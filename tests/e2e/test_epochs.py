"""Five states, five processes; a sixth joins, one leaves, one changes its keys, one is away through both changes (SPEC 14)."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

import foedus_verify
from foedus.v1 import client_pb2 as pb
from node.audit.audit import audit_sources
from node.audit.findings import Depth
from node.cli.statements import content_bytes, parse_draft
from node.log.note import parse_note
from node.signing.acknowledgement import verify_acknowledgement
from node.signing.keys import AgencyKeys
from node.signing.keystore import read_node_keys
from node.signing.statements import entry_hash, sign_endorsement
from tests.e2e.cluster import (
    PASSPHRASE,
    PYTHON_PATH,
    ROOT,
    Cluster,
    Home,
    add_home,
    found_cluster,
)
from tests.e2e.statements import Outbox

pytestmark = pytest.mark.e2e
CHANGE_S = 90.0


def cli(*words: object) -> dict[str, Any]:
    """One `foedus` command; what it says as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "node.cli.main", *map(str, words), "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


class World:
    """The cluster, and what its states sign."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.outboxes = {
            home.state: Outbox(keys=home.agency, ledger=cluster.chain_id)
            for home in cluster.homes.values()
        }
        self.operator = Outbox(keys=cluster.operators[0], ledger=cluster.chain_id)

    def agency(self, state: str) -> AgencyKeys:
        return self.cluster.homes[state].agency

    def filed(
        self, author: str, draft: Path, *endorsers: str, fields: dict[str, Any] | None = None
    ) -> bytes:
        """The entry that this draft becomes, with `fields` set in its body."""
        document = json.loads(draft.read_text(encoding="utf-8"))
        document["body"] |= fields or {}
        parsed = parse_draft(json.dumps(document).encode())
        content = content_bytes(parsed, ledger=self.cluster.chain_id, author=author)
        subject = document["body"].get("party", author)
        endorsements = tuple(
            sign_endorsement(
                self.agency(state).author,
                endorser=state,
                kind=parsed.kind,
                subject=subject,
                content=content,
            )
            for state in endorsers
        )
        return self.outboxes[author].sign(content, parsed.kind, subject, endorsements=endorsements)

    async def final(self, entry: bytes, *states: str, through: str = "US") -> None:
        """At these nodes, or at all that run."""
        async with self.cluster.client(through) as node:
            await node.Submit(pb.SubmitRequest(entry=entry), timeout=10)
        digest = entry_hash(entry)
        await self.cluster.until(
            lambda: self.cluster.all_final([digest], *states), "final everywhere", CHANGE_S
        )

    async def epoch(self, number: int, *states: str) -> None:
        for state in states:
            home = self.cluster.homes[state]
            await self.cluster.until(
                lambda: epoch_of(home) >= number,  # noqa: B023 # awaited in the turn
                f"epoch {number} at {state}",
                CHANGE_S,
            )


def epoch_of(home: Home) -> int:
    """The newest epoch that this node's running process has told of."""
    begun = [line for line in home.log_lines() if line.get("event") == "epoch begun"]
    return max((int(line["epoch"]) for line in begun), default=0)


async def test_a_sixth_joins_one_leaves_one_changes_keys_one_returns(tmp_path: Path) -> None:
    founded = found_cluster(tmp_path, policy={"epoch_min_s": 2, "withdrawal_s": 2}, may_join=["DE"])
    with founded as cluster:
        cluster.start_all()
        await cluster.wait_ready(seconds=CHANGE_S)
        home = add_home(cluster, tmp_path / "DE", "DE")
        world = World(cluster)
        await world.final(world.operator.facility("dc1", countersigned_by=world.agency("US")))
        cluster.stop("KE")
        await _join(world, home)
        await world.epoch(1, "US", "CN", "GB", "BR", "DE")
        await world.final(world.operator.energy(1), through="DE")
        await _change_keys_and_leave(world)
        await world.epoch(2, "US", "CN", "BR", "DE")
        brazil = cluster.homes["BR"]  # whose clients are shown its new certificate from now on
        brazil.keys = read_node_keys(brazil.folder / "keys" / "node-2.key", PASSPHRASE)
        await world.final(world.operator.energy(2), "US", "CN", "BR", "DE")
        cluster.start("KE")
        await cluster.wait_ready("KE", seconds=CHANGE_S)
        assert epoch_of(cluster.homes["KE"]) == 0
        await world.epoch(2, "KE")
        members = ("US", "CN", "BR", "DE", "KE")
        await world.final(world.operator.energy(3), *members, through="KE")
        await cluster.until(lambda: cluster.one_root(*members), "one root", CHANGE_S)

        async def britain_has_left() -> bool:
            return (await cluster.status("US")).members == len(members)

        await cluster.until(britain_has_left, "five members, Britain not among them", CHANGE_S)
        await _promised(world, world.operator.energy(4))
        await world.final(world.operator.energy(5), *members)
        await asyncio.to_thread(_receipts, cluster, tmp_path)
        await asyncio.to_thread(_asked_and_watched, cluster, tmp_path)
        await cluster.until(
            lambda: _brazil_signed_twice(world), "ML-DSA line", CHANGE_S, every_s=1.0
        )
        statuses = await cluster.statuses(*members)
        assert not any(status.alarms for status in statuses.values())
        assert set(cluster.stop_all().values()) == {0}
        await _audited(cluster)
        await asyncio.to_thread(_archived, cluster, tmp_path)
        await _begun_anew_from_the_archive(world, tmp_path / "archive", *members)


async def _join(world: World, home: Home) -> None:
    """By the way that `foedus node seat --help` describes."""
    written = cli("node", "seat", "--home", home.folder)["drafts"]
    await world.final(world.filed("US", Path(written["identity"]), "CN", "GB"))
    accede = world.filed(
        "DE", Path(written["accede"]), "US", "GB", fields={"attested_by": ["US", "GB"]}
    )
    await world.final(accede)
    await world.final(world.filed("DE", Path(written["seat"])))
    world.cluster.start("DE")
    await world.cluster.wait_ready("DE", seconds=CHANGE_S)


async def _change_keys_and_leave(world: World) -> None:
    """Brazil declares new keys and restarts once, to have them at hand; Britain gives notice. Both wait for the epoch's end."""
    cluster = world.cluster
    brazil = cluster.homes["BR"]
    written = cli(
        *("node", "seat", "--home", brazil.folder),
        *("--new-keys", brazil.folder / "keys" / "node-2.key", "--ml-dsa"),
    )
    settings = brazil.folder / "foedus.toml"
    text = settings.read_text(encoding="utf-8")
    assert 'later_keys = ""' in text
    settings.write_text(
        text.replace('later_keys = ""', 'later_keys = "keys/node-2.key"'), encoding="utf-8"
    )
    cluster.stop("BR")
    cluster.start("BR")
    await cluster.wait_ready("BR", seconds=CHANGE_S)
    await world.final(world.filed("BR", Path(written["drafts"]["seat"])), through="BR")
    notice = brazil.folder / "notice.json"
    notice.write_text(
        json.dumps({"kind": "instrument", "class": "P", "body": {"type": "withdraw"}}),
        encoding="utf-8",
    )
    async with cluster.client("US") as node:
        await node.Submit(pb.SubmitRequest(entry=world.filed("GB", notice)), timeout=10)


def _receipts(cluster: Cluster, folder: Path) -> None:
    """A receipt of the newest epoch is good by the genesis and the policies that follow from it, and not by the genesis alone."""
    us = cluster.homes["US"].folder
    receipt, policies = folder / "5.tlog-proof", folder / "policies.json"
    assert cli("receipt", "get", 5, "--home", us, "--out", receipt)["proven"]
    assert cli("receipt", "policies", policies, "--home", us)["epochs"] >= 3
    offline = ("receipt", "verify", receipt, "--genesis", us / "genesis.cbor")
    assert cli(*offline, "--policies", policies)["proven"]
    with pytest.raises(AssertionError, match="not to be trusted"):
        cli(*offline)


def _asked_and_watched(cluster: Cluster, folder: Path) -> None:
    """By names that the genesis does not know, and under certificates and keys that it does not know."""
    us = cluster.homes["US"].folder
    for state in ("DE", "BR"):
        receipt = folder / f"{state}.tlog-proof"
        asked = ("receipt", "get", 5, "--home", us, "--node", state, "--out", receipt)
        assert cli(*asked)["proven"]
    watched = cli("monitor", "--genesis", us / "genesis.cbor", "--once")
    assert {node["state"] for node in watched["nodes"]} == {"US", "CN", "BR", "DE", "KE"}
    assert watched["believed"] == 5, watched
    assert watched["split"] == []


async def _promised(world: World, entry: bytes) -> None:
    """Brazil signs what it promises with the log key of its seat in force."""
    async with world.cluster.client("BR") as node:
        taken = await node.Submit(pb.SubmitRequest(entry=entry), timeout=10)
    keys = world.cluster.homes["BR"].keys
    assert verify_acknowledgement(taken.acknowledgement, keys.log.public) is not None


async def _brazil_signed_twice(world: World) -> bool:
    """Another node shows the second line that Brazil's new seat makes of the first entry of ten seconds."""
    status, body = await world.cluster.https_get("US", "/checkpoint.ml-dsa")
    if status != HTTPStatus.OK:
        async with world.cluster.client("US") as node:
            entry = world.operator.energy(7)
            await node.Submit(pb.SubmitRequest(entry=entry), timeout=10)
        return False
    note = parse_note(body)
    assert [line.name[-5:] for line in note.lines if len(line.signature) == 2428] == ["BR/pq"]
    return True


def _archived(cluster: Cluster, folder: Path) -> None:
    """By the node that joined later; from the genesis alone, by this software and by the outsider's."""
    archive = folder / "archive"
    cli("archive", "export", archive, "--home", cluster.homes["DE"].folder)
    genesis = cluster.homes["US"].folder / "genesis.cbor"
    cli("archive", "verify", archive, "--genesis", genesis)
    pinned = cluster.chain_id.hex()
    assert foedus_verify.main(["archive", str(archive), "--chain-id", pinned]) == 0
    bare = shutil.copytree(archive, folder / "bare")
    (bare / "signatures" / "policies.json").unlink()
    assert foedus_verify.main(["archive", str(bare), "--chain-id", pinned]) == 1


async def _begun_anew_from_the_archive(world: World, archive: Path, *members: str) -> None:
    """China's store is lost, its sign state is not: the real node starts on what an import made, and goes on with the others."""
    cluster = world.cluster
    china = cluster.homes["CN"]
    shutil.rmtree(china.folder / "data" / "rocksdb")
    made = await asyncio.to_thread(cli, "archive", "import", archive, "--home", china.folder)
    assert made["size"] > 0
    for state in members:
        cluster.start(state)
    await cluster.wait_ready(*members, seconds=CHANGE_S)
    first = next(line for line in china.log_lines() if line.get("event") == "ledger opened")
    assert int(first["size"]) >= made["size"], "not an empty store"
    await world.final(world.operator.energy(6), *members, through="CN")
    await cluster.until(lambda: cluster.one_root(*members), "one root", CHANGE_S)


async def _audited(cluster: Cluster) -> None:
    """Everything again from the genesis alone, at full depth, over all six homes."""
    homes = [str(home.folder) for home in cluster.homes.values()]
    report = await asyncio.to_thread(audit_sources, homes, pinned=cluster.document)
    assert report.findings == (), [str(finding) for finding in report.findings]
    assert set(report.members) == {"US", "CN", "BR", "DE", "KE"}
    for source in report.sources:
        wanted = (Depth.CERTIFICATES, Depth.ORDER, Depth.LAW, Depth.STORE)
        assert all(source.checked[depth].done for depth in wanted), source

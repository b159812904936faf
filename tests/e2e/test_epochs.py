"""Five states, five processes; a sixth joins, one leaves, one changes its keys, one is away through both changes (SPEC 14)."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foedus.v1 import client_pb2 as pb
from node.audit.audit import audit_sources
from node.audit.findings import Depth
from node.cli.statements import content_bytes, parse_draft
from node.signing.keys import AgencyKeys
from node.signing.statements import entry_hash, sign_endorsement
from tests.e2e.cluster import PYTHON_PATH, ROOT, Cluster, Home, add_home, found_cluster
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
        await world.final(world.operator.energy(4), *members)
        await asyncio.to_thread(_receipts, cluster, tmp_path)
        statuses = await cluster.statuses(*members)
        assert not any(status.alarms for status in statuses.values())
        assert set(cluster.stop_all().values()) == {0}
        await _audited(cluster)


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
        *("--new-keys", brazil.folder / "keys" / "node-2.key"),
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
    receipt, policies = folder / "5.tlog-proof", folder / "policies.pb"
    assert cli("receipt", "get", 5, "--home", us, "--out", receipt)["proven"]
    assert cli("receipt", "policies", policies, "--home", us)["epochs"] >= 3
    offline = ("receipt", "verify", receipt, "--genesis", us / "genesis.cbor")
    assert cli(*offline, "--policies", policies)["proven"]
    with pytest.raises(AssertionError, match="not to be trusted"):
        cli(*offline)


async def _audited(cluster: Cluster) -> None:
    """Everything again from the genesis alone, at full depth, over all six homes."""
    homes = [str(home.folder) for home in cluster.homes.values()]
    report = await asyncio.to_thread(audit_sources, homes, pinned=cluster.document)
    assert report.findings == (), [str(finding) for finding in report.findings]
    assert set(report.members) == {"US", "CN", "BR", "DE", "KE"}
    for source in report.sources:
        wanted = (Depth.CERTIFICATES, Depth.ORDER, Depth.LAW, Depth.STORE)
        assert all(source.checked[depth].done for depth in wanted), source

"""A node that signs two blocks for one round, among three that do not: a finding on every honest ledger, and in every audit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consensus.types import Millis
from foedus.v1 import client_pb2 as pb
from node.ledger.epochs import founding_epoch
from node.ledger.evidence import evidence_in, proof_checks
from node.ledger.genesis import parse_genesis
from node.ledger.records import decode_record
from node.signing.statements import entry_hash
from node.signing.verify import VerifyPool
from tests.e2e.cluster import Cluster, found_cluster
from tests.e2e.statements import Outbox
from tests.e2e.test_audit import foedus, texts

pytestmark = pytest.mark.e2e

LIAR = "GB"
HONEST = ("US", "CN", "KE")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with found_cluster(tmp_path, states=("US", "CN", LIAR, "KE")) as founded:
        for state in HONEST:
            founded.start(state)
        founded.module = "tests.e2e.lying_node"
        founded.start(LIAR)
        founded.module = "node.main"
        yield founded


async def finding_at(cluster: Cluster, state: str) -> tuple[bytes, dict[str, Any]] | None:
    """The equivocation record's leaf and the finding, as this node's clients read them; None: not yet."""
    async with cluster.client(state) as node:
        found = await node.List(pb.ListRequest(kind="equivocation", subject=LIAR), timeout=10)
        if not found.entries:
            return None
        findings = await node.List(pb.ListRequest(kind="finding", subject=LIAR), timeout=10)
    (record,) = found.entries
    (finding,) = findings.entries
    return record.leaf, decode_record(finding.leaf)


async def test_a_real_equivocation_is_a_finding_everywhere(
    cluster: Cluster, tmp_path: Path
) -> None:
    await cluster.wait_ready()
    outbox = Outbox(keys=cluster.operators[0], ledger=cluster.chain_id)
    hashes = []
    for number in range(12):  # payload keeps the rounds going
        entry = outbox.energy(number)
        async with cluster.client(HONEST[number % len(HONEST)]) as node:
            await node.Submit(pb.SubmitRequest(entry=entry), timeout=10)
        hashes.append(entry_hash(entry))

    seen: dict[str, tuple[bytes, dict[str, Any]]] = {}

    async def everywhere() -> bool:
        for state in HONEST:
            found = await finding_at(cluster, state)
            if found is not None:
                seen[state] = found
        return len(seen) == len(HONEST)

    await cluster.until(everywhere, "the finding on every honest node", 60)
    leaves = {leaf for leaf, _ in seen.values()}
    assert len(leaves) == 1, "one record, the same bytes on every node"
    finding = seen["US"][1]
    assert (finding["finding"], finding["severity"]) == (f"C29:{LIAR}:epoch0", 4)

    # The liar's other duties go on, and so does everybody's ledger: the effect is a case.
    await cluster.until(lambda: cluster.all_final(hashes, *HONEST), "all final", 60)
    status, answer = foedus(
        *("log", "list", "--kind", "finding", "--subject", LIAR),
        *("--home", cluster.homes["KE"].folder),
    )
    assert (status, json.dumps(answer).count(f"C29:{LIAR}:epoch0") > 0) == (0, True), answer
    for state in HONEST:
        alarms = (await cluster.status(state)).alarms
        assert any(alarm.startswith(f"{LIAR} signed two different blocks") for alarm in alarms)

    # Seen by every honest node, of every member: who leads, how long blocks take, and who lied.
    _, shown = foedus("status", "--home", cluster.homes["KE"].folder)
    by_state = {node["state"]: node for node in shown["nodes"]}
    for state in HONEST:
        figures = {one["state"]: one for one in by_state[state]["figures"]}
        assert [one for one, seen_ in figures.items() if seen_["equivocated_round"]] == [LIAR]
        assert all(one["leads_committed"] and one["ordered_max_ms"] for one in figures.values())
        assert by_state[state]["signing"]["state"] == "signing"
        assert by_state[state]["quorum_index"] >= by_state[state]["commit"] - 5 > 0

    # The record alone, with the genesis: no block, no node.
    genesis = parse_genesis(cluster.document)
    record = decode_record(leaves.pop())
    states = [member.state for member in genesis.members]
    evidence = evidence_in(record, states)
    assert (evidence.state, len(evidence.proof)) == (LIAR, 202)
    keys = [member.block_key for member in genesis.members]
    with VerifyPool(threads=1) as pool:
        committee = founding_epoch(genesis, cluster.document).committee
        assert committee.genesis_time_ms == Millis(genesis.time_ms)
        assert all(pool.verify_now(proof_checks(evidence.proof, committee, keys)))

    assert {cluster.stop(state) for state in HONEST} == {0}
    cluster.stop(LIAR)
    homes = [cluster.homes[state].folder for state in ("US", "KE")]
    status, found = foedus("audit", *homes, "--evidence", tmp_path / "evidence.json")
    assert (status, found["verdict"], found["roots_equal"]) == (0, "consistent", True), texts(found)
    assert {tuple(misdeed["accused"]) for misdeed in found["misdeeds"]} == {(LIAR,)}

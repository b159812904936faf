"""Real engines over real TLS go from epoch to epoch: one joins, one changes keys, one comes back after two changes (SPEC 14)."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from node.audit.audit import audit_sources
from node.audit.findings import Depth
from node.ledger.policy_chain import BrokenChain, follow, links_of
from node.ledger.trust import trust_policy
from node.log.policy import evaluate
from node.signing.verify import verify_ed25519
from tests.e2e.cluster import free_ports
from tests.unit.engine.nodes import Seated, founded, seated_node
from tests.unit.ledger.founding import Author, Founding
from tests.unit.ledger.joining import accedes, declares, new_state, registers, rotated
from tests.unit.network.members import until

DEADLINE_S = 60
JOINS = "DE"
NODE, AGENCY = new_state(JOINS)


async def all_final(nodes: list[Seated], entry: bytes) -> None:
    """The entry is handed to the last of these nodes, and final on every one."""
    place = await nodes[-1].running.admission.submit(entry)
    for node in nodes:
        await until(partial(is_final, node, place.entry_hash), "final everywhere", DEADLINE_S)


def is_final(node: Seated, entry_hash: bytes) -> bool:
    leaf = node.running.ledger.find(entry_hash)
    return leaf is not None and node.running.finality.final_size > leaf


def ends_certified(node: Seated) -> bool:
    """Each epoch's last checkpoint is certified by its own members (R43, R44)."""
    return node.running.finality.uncertified_end() is None


async def epoch_reached(nodes: list[Seated], number: int) -> None:
    for node in nodes:
        await until(lambda: node.epoch >= number, f"epoch {number}", DEADLINE_S)  # noqa: B023


def _policies(founding: Founding, node: Seated) -> None:
    """From the genesis' trust policy to the newest one, by what a node hands out; nothing else is believed."""
    ledger, finality = node.running.ledger, node.running.finality
    genesis_policy = trust_policy(founding.genesis)
    links = links_of(ledger, finality)
    policies = follow(genesis_policy, links)
    newest = finality.full_note()
    assert newest is not None
    note = bytes(newest)
    assert evaluate(policies.of_note(note), note, verify_ed25519).satisfied
    assert not evaluate(policies.held[0][1], note, verify_ed25519).satisfied
    assert [size for size, _ in policies.held] == [epoch.after_size for epoch in ledger.epochs]
    first, second = links
    at = first.proof.index(b"hashes") if b"hashes" in first.proof else 40
    flipped = first.proof[:at] + bytes((first.proof[at] ^ 1,)) + first.proof[at + 1 :]
    for bad in (
        [second],
        [second, first],
        [replace(first, policy=second.policy), second],
        [replace(first, policy=genesis_policy)],
        [replace(first, proof=flipped)],
        [first, first],
        [first, replace(second, policy=second.policy + b"# more\n")],
    ):
        with pytest.raises(BrokenChain, match="policy of epoch"):
            follow(genesis_policy, bad)


async def test_members_join_change_keys_and_come_back(tmp_path: Path) -> None:
    ports = free_ports(5)
    founding: Founding = founded(ports[:4], law_version=2, policy={"epoch_min_s": 1})
    endpoints = [f"127.0.0.1:{port}" for port in ports]
    away = founding.genesis.member_index("KE")
    changing = founding.genesis.member_index("BR")
    new_keys = rotated("BR")
    async with AsyncExitStack() as stack:
        nodes: list[Seated] = []
        for own in range(4):
            if own != away:
                later = (new_keys,) if own == changing else ()
                nodes.append(
                    await stack.enter_async_context(
                        seated_node(
                            founding, tmp_path / str(own), endpoints[own], own=own, later_keys=later
                        )
                    )
                )
        async with seated_node(founding, tmp_path / str(away), endpoints[away], own=away) as kenya:
            sponsor, joining = founding.state_author(1), Author(AGENCY, founding.chain_id)
            registering = registers(sponsor, AGENCY, founding.agencies[1:3])
            await all_final([*nodes, kenya], registering)
        # One of four is away from now on; a fifth state joins.
        for entry in (
            declares(joining, NODE, port=ports[4]),
            accedes(joining, founding.agencies[1:3]),
        ):
            await all_final(nodes, entry)
        newcomer = await stack.enter_async_context(
            seated_node(founding, tmp_path / JOINS, endpoints[4], own=None, later_keys=(NODE,))
        )
        nodes.append(newcomer)
        await epoch_reached(nodes, 1)
        await until(lambda: newcomer.engine.own_round() > 0, "the newcomer proposes", DEADLINE_S)
        operator = founding.author()
        await all_final(nodes, operator.facility("dc1", founding.agencies[0]))
        # One of five is still away; another changes all its keys.
        brazil = founding.state_author(changing)
        await all_final(nodes, declares(brazil, new_keys, port=ports[changing]))
        await epoch_reached(nodes, 2)
        changed = nodes[0].running.ledger.epoch.members[0]
        assert (changed.state, changed.block_key) == ("BR", new_keys.block.public)
        await all_final(nodes, operator.energy(1))
        # Who was away comes back through both changes, and validates again.
        async with seated_node(founding, tmp_path / str(away), endpoints[away], own=away) as kenya:
            assert kenya.epoch == 0
            await epoch_reached([kenya], 2)
            await until(lambda: kenya.engine.own_round() > 0, "it proposes again", DEADLINE_S)
            await all_final([*nodes, kenya], operator.energy(2))
            # Whoever moved on before it had an epoch's last certificate pulls it, once a second (decision 0176).
            for node in (*nodes, kenya):
                await until(partial(ends_certified, node), "each epoch's end certified", DEADLINE_S)
            assert kenya.paced == [4, 5, 5], "each epoch's own number of validators"
            for node in nodes:
                ledger, other = node.running.ledger, kenya.running.ledger
                size = min(ledger.size, other.size)
                assert ledger.root_at(size) == other.root_at(size)
                assert not node.running.finality.alarm
                assert not node.engine.alarms()
                assert all(epoch.last_size is not None for epoch in ledger.epochs[:-1])
        _policies(founding, nodes[0])
    # Every copy, from the founding on, is right by the genesis alone.
    homes = [tmp_path / str(own) for own in range(4)] + [tmp_path / JOINS]
    report = await asyncio.to_thread(
        audit_sources, [str(home) for home in homes], pinned=founding.document
    )
    assert report.findings == (), [str(finding) for finding in report.findings]
    assert len(report.members) == 5
    for source in report.sources:
        for depth in (Depth.SIGNATURES, Depth.ORDER, Depth.LAW, Depth.STORE, Depth.CERTIFICATES):
            assert source.checked[depth].done, (source.name, depth, source.checked[depth].how_far)
        assert "3 epochs" in source.checked[Depth.CERTIFICATES].how_far

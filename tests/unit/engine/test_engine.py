"""The driver over a real store and real sockets: order and durability of effects, restart, peers that mean harm."""

import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.codec import decode_block, decode_commit_record
from consensus.types import Digest, Ref, Round, ValidatorIndex
from node.ledger.cosigned import Added, encode_cosigned
from node.network import wire
from node.storage.epoch_blocks import EpochBlocks
from node.storage.errors import WriteFailed
from node.storage.sign_state import SignState
from node.storage.store import Store
from node.telemetry import resident_bytes
from tests.e2e.cluster import free_ports
from tests.unit.engine.nodes import (
    Node,
    block_of,
    data_of,
    engine_node,
    founded,
    proof_against,
)
from tests.unit.ledger.founding import Founding
from tests.unit.network.members import hostile_server, until

MIB = 1024 * 1024


def alone() -> Founding:
    return founded(free_ports(1))


# --- one member ----------------------------------------------------------------------------------


@pytest.mark.measure("M03")
async def test_one_member_alone_orders_what_it_is_given(tmp_path: Path) -> None:
    founding = alone()
    author, agency = founding.author(), founding.agencies[0]
    async with engine_node(founding, tmp_path) as node:
        entries = [author.facility("dc1", agency), *(author.energy(wh) for wh in range(5))]
        for entry in entries:
            await node.running.admission.submit(entry)
        ledger = node.running.ledger
        await until(lambda: ledger.list_indexes(author="op0", limit=9)[5:], "all six are logged")
        assert [ledger.entry(index).leaf for index in ledger.list_indexes(author="op0")] == entries
        await until(lambda: node.running.finality.final_size == ledger.size, "final")
        record = decode_commit_record(node.running.store.commit_record(ledger.last_commit) or b"")
        assert record.commit.index == ledger.last_commit
        assert node.engine.own_round() > 0
        assert not node.engine.alarms()


async def test_an_own_block_is_durable_before_it_is_stored_or_served(tmp_path: Path) -> None:
    founding = alone()
    async with engine_node(founding, tmp_path) as node:
        await until(lambda: node.engine.own_round() >= 4, "four rounds")
        done = list(node.disk.done)
    saved = [what for what, _ in done if what in ("save", "put")]
    assert saved[:4] == ["save", "put", "save", "put"]
    for place, (what, ref) in enumerate(done):
        if what != "put":
            continue
        # Everything before it was flushed, then the sign state was written, then it went into the store.
        assert done[place - 1] == ("save", ref.round)
        assert ("durable", None) in done[:place]
        flushed = max(at for at in range(place) if done[at][0] == "durable")
        assert not any(done[at][0] == "put" for at in range(flushed, place))


async def test_a_sign_state_that_cannot_be_written_ends_the_engine_and_nothing_leaves(
    tmp_path: Path,
) -> None:
    founding = alone()

    async def attempt() -> None:
        fault = WriteFailed("broken on purpose")
        async with engine_node(founding, tmp_path, broken=fault) as node:
            await until(node.task.done, "the engine ends")
            assert not any(what == "put" for what, _ in node.disk.done)

    with pytest.raises(BaseExceptionGroup) as ended:
        await attempt()
    assert ended.group_contains(WriteFailed, match="broken on purpose")
    with SignState(tmp_path) as state, Store.open(tmp_path / "rocksdb") as store:
        assert state.block() is None
        assert store.newest_block_of(0) is None


async def test_a_restart_goes_on_where_it_stopped_and_signs_no_round_twice(tmp_path: Path) -> None:
    founding = alone()
    author, agency = founding.author(), founding.agencies[0]
    logged: list[bytes] = []
    saved: list[int] = []
    for turn in range(3):
        async with engine_node(founding, tmp_path) as node:
            ledger = node.running.ledger
            entry = author.energy(turn) if logged else author.facility("dc1", agency)
            logged.append(entry)
            await node.running.admission.submit(entry)
            await until(lambda: len(ledger.list_indexes(author="op0")) == len(logged), "logged")  # noqa: B023 # awaited in the turn
            saved += [round_ for what, round_ in node.disk.done if what == "save"]
            assert [ledger.entry(i).leaf for i in ledger.list_indexes(author="op0")] == logged
    assert saved == sorted(set(saved))


async def test_a_block_that_only_the_sign_state_kept_is_put_back(tmp_path: Path) -> None:
    """As after a power loss that took the unflushed end of the store."""
    founding = alone()
    async with engine_node(founding, tmp_path) as node:
        await until(lambda: node.engine.own_round() >= 3, "three rounds")
    with SignState(tmp_path) as state, Store.open(tmp_path / "rocksdb") as store:
        signed = state.block()
        assert signed is not None
        # The engine may have been ended between its two writes; a start would put that block back first.
        ref = Ref(Round(signed.round), ValidatorIndex(0), Digest(signed.digest))
        EpochBlocks(store).put_blocks([(ref, signed.block)])
        following = block_of(
            founding,
            0,
            round_=signed.round + 1,
            parents=(ref,),
        ).block
        lost = replace(signed, round=following.ref.round, digest=following.ref.digest)
        state.save_block(replace(lost, block=data_of(following)))
    async with engine_node(founding, tmp_path) as node:
        store = node.running.store
        await until(lambda: store.block(following.ref), "put back")
        await until(lambda: node.engine.own_round() > following.ref.round, "goes on")
        after = [
            block
            for _, data in store.blocks_in_rounds(1, 1 << 31, 1 << 30)
            if (block := decode_block(data)).ref.round == following.ref.round
        ]
        assert [block.ref for block in after] == [following.ref]


async def test_a_loop_that_is_held_up_is_seen_by_the_core_s_timers(tmp_path: Path) -> None:
    """What a full processor does, done by hand; then the node is late, and says so, until its timers are good again (0180)."""

    def shown(node: Node, name: str) -> float:
        value = node.metrics.registry.get_sample_value(name)
        assert value is not None, name
        return value

    async with engine_node(alone(), tmp_path) as node:
        await until(lambda: node.engine.own_round() >= 3, "three rounds")
        # A machine that is busy with other things is late at once.
        await until(lambda: shown(node, "foedus_flood_allowance_units") == 64, "in time at first")

        def held_up() -> bool:
            time.sleep(0.03)  # on purpose: it is the loop that must stand still
            return shown(node, "foedus_timers_late_seconds") > 0.01

        await until(held_up, "it is late")
        await until(
            lambda: shown(node, "foedus_timers_late_seconds") < 0.01, "and in time again", 30
        )


# --- several members -----------------------------------------------------------------------------


async def test_four_members_agree_and_make_it_final(tmp_path: Path) -> None:
    founding = founded(free_ports(4))
    author, agency = founding.author(), founding.agencies[0]
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(engine_node(founding, tmp_path / str(own), own=own))
            for own in range(4)
        ]
        await nodes[0].running.admission.submit(author.facility("dc1", agency))
        for wh in range(4):
            await nodes[0].running.admission.submit(author.energy(wh))

        def is_final(node: Node) -> bool:
            ledger, finality = node.running.ledger, node.running.finality
            return (
                len(ledger.list_indexes(author="op0")) == 5 and finality.final_size == ledger.size
            )

        await until(lambda: all(map(is_final, nodes)), "five entries final on all four", 30)
        roots = {(node.running.ledger.size, node.running.ledger.root) for node in nodes}
        assert len(roots) == 1
        for node in nodes:
            assert all(peer.is_read and peer.reads_us for peer in node.engine.peers())
            assert all(peer.last_round > 0 for peer in node.engine.peers())


# --- a member that means harm --------------------------------------------------------------------


def hostile_setting() -> tuple[Founding, int]:
    ports = free_ports(4)
    return founded(ports), ports[1]


async def test_bad_blocks_are_charged_and_the_good_one_after_them_is_taken(tmp_path: Path) -> None:
    founding, port = hostile_setting()
    good = block_of(founding, 1, payload=(b"not an entry, and that is the law's to say",))
    unsigned = replace(good.block, signature=bytes(64))
    by_other_role = block_of(
        founding, 1, key=replace(founding.nodes[1].log, role=founding.nodes[1].block.role)
    )
    frames = [
        wire.bundle_frame([data_of(unsigned)]),
        wire.bundle_frame([data_of(by_other_role)]),
        wire.bundle_frame([data_of(good)[:-70]]),
        wire.bundle_frame([data_of(good)]),
    ]
    state = founding.nodes[1].state
    identity = founding.nodes[1].transport
    async with (
        hostile_server(port, frames, identity=identity),
        engine_node(founding, tmp_path) as node,
    ):
        store = node.running.store
        await until(lambda: store.block(good.block.ref), "the good block is stored")
        assert store.block(good.block.ref) == data_of(good)
        assert store.block(by_other_role.block.ref) is None
        assert node.counted("foedus_peer_charged", state=state) == 3
        assert not node.task.done()


async def test_a_replayed_block_costs_no_memory_and_no_charge(tmp_path: Path) -> None:
    founding, port = hostile_setting()
    good = block_of(founding, 1, payload=(bytes(60_000), bytes(60_000)))
    last = block_of(founding, 2)
    frames = [wire.bundle_frame([data_of(good)])] * 300 + [wire.bundle_frame([data_of(last)])]
    async with (
        hostile_server(port, frames, identity=founding.nodes[1].transport),
        engine_node(founding, tmp_path) as node,
    ):
        before = resident_bytes()
        await until(lambda: node.running.store.block(last.block.ref), "the end of the replay")
        assert resident_bytes() - before < 32 * MIB  # 36 MB were sent
        assert node.counted("foedus_peer_charged", state=founding.nodes[1].state) == 0


async def test_two_blocks_of_one_round_are_reported(tmp_path: Path) -> None:
    founding, port = hostile_setting()
    one, two = block_of(founding, 1, payload=(b"one",)), block_of(founding, 1, payload=(b"two",))
    # The second reaches us because a block of another member refers to it.
    on_two = block_of(
        founding,
        2,
        round_=2,
        parents=[
            block_of(founding, 2).block.ref,
            two.block.ref,
            block_of(founding, 3).block.ref,
        ],
    )
    helpers = [data_of(block_of(founding, author)) for author in (2, 3)]
    frames = [
        wire.bundle_frame([data_of(one)]),
        wire.bundle_frame([*helpers, data_of(two), data_of(on_two)]),
    ]
    async with (
        hostile_server(port, frames, identity=founding.nodes[1].transport),
        engine_node(founding, tmp_path) as node,
    ):
        state = founding.nodes[1].state
        await until(lambda: node.counted("foedus_equivocations", state=state) == 1, "accused")
        assert not node.task.done()
        said = node.engine.alarms()
        assert said == [
            f"{state} signed two different blocks for round 1: proof kept and passed on"
        ]
    # Nobody shows the blocks again: what was kept is enough.
    async with engine_node(founding, tmp_path) as node:
        assert node.engine.alarms() == said
        assert node.counted("foedus_equivocations", state=state) == 1


async def test_a_proof_in_a_block_is_believed_and_one_that_proves_nothing_is_charged(
    tmp_path: Path,
) -> None:
    founding, port = hostile_setting()
    proof = proof_against(founding, 3)
    frames = [
        wire.bundle_frame(
            [data_of(block_of(founding, 1, evidence=(replace(proof, signature1=bytes(64)),)))]
        ),
        wire.bundle_frame([data_of(block_of(founding, 1, evidence=(proof,)))]),
    ]
    liar, accused = founding.nodes[1].state, founding.nodes[3].state
    async with (
        hostile_server(port, frames, identity=founding.nodes[1].transport),
        engine_node(founding, tmp_path) as node,
    ):
        await until(lambda: node.counted("foedus_equivocations", state=accused) == 1, "accused")
        assert node.counted("foedus_peer_charged", state=liar) == 1


async def test_rounds_invented_far_ahead_are_neither_stored_nor_kept(tmp_path: Path) -> None:
    founding, port = hostile_setting()
    frames = []
    for number in range(400):
        round_ = 1_000 + number
        parents = [
            Ref(Round(round_ - 1), ValidatorIndex(author), Digest(bytes([author]) * 32))
            for author in (1, 0, 2, 3)
        ]
        block = block_of(founding, 1, round_=round_, parents=parents, payload=(bytes(60_000),))
        frames.append(wire.bundle_frame([data_of(block)]))
    marker = block_of(founding, 2)
    frames.append(wire.bundle_frame([data_of(marker)]))
    async with (
        hostile_server(port, frames, identity=founding.nodes[1].transport),
        engine_node(founding, tmp_path) as node,
    ):
        before = resident_bytes()
        await until(lambda: node.running.store.block(marker.block.ref), "the marker", 20)
        assert len(node.running.store.blocks_in_rounds(2, 5_000, 1 << 30)) == 0
        assert resident_bytes() - before < 64 * MIB
        assert not node.task.done()


async def test_forged_cosignatures_are_charged(tmp_path: Path) -> None:
    founding, port = hostile_setting()
    alone_ = alone()
    async with engine_node(alone_, tmp_path / "other") as other:
        await until(lambda: other.running.finality.newest_own() is not None, "a line of another")
        line = other.running.finality.newest_own()
        assert line is not None
    frames = [
        wire.cosigned_frame([encode_cosigned(replace(line, member=1))]),
        wire.cosigned_frame([b"no line"]),
    ]
    state = founding.nodes[1].state
    async with (
        hostile_server(port, frames, identity=founding.nodes[1].transport),
        engine_node(founding, tmp_path / "own") as node,
    ):
        await until(lambda: node.counted("foedus_peer_charged", state=state) == 2, "both charged")
        assert node.running.finality.add(replace(line, member=1)) is Added.REFUSED
        assert not node.engine.alarms()

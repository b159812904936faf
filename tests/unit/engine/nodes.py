"""Engines over real stores, ledgers and sockets, founded for a test; and a FAKE disk that tells in which order it was used."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from consensus.codec import encode_block, make_header
from consensus.committee import Committee
from consensus.events import Propose
from consensus.pace import LOCAL_PACE
from consensus.types import (
    Block,
    Digest,
    EquivocationProof,
    Millis,
    Parameters,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)
from node.engine.dag import DagEngine
from node.engine.epochs import Epochs
from node.engine.parts import EngineParts
from node.ledger.epochs import founding_epoch
from node.ledger.genesis import encode_genesis
from node.signing.blocks import sign_block
from node.signing.keys import NodeKeys, SigningKey
from node.storage.sign_state import BlockSigned
from node.telemetry import Metrics
from tests.unit.ledger.founding import Founding, found, sign_by_all
from tests.unit.ledger.running import Running, start

FAST = replace(LOCAL_PACE, min_round_delay_ms=10, idle_delay_ms=100, history_delay_ms=50)


def founded(
    ports: Sequence[int], *, law_version: int = 1, policy: dict[str, int] | None = None
) -> Founding:
    """One member for each port."""
    founding = found(len(ports), law_version=law_version, policy=policy)
    members = tuple(
        replace(member, peer_endpoint=f"127.0.0.1:{port}")
        for member, port in zip(founding.genesis.members, ports, strict=True)
    )
    genesis = sign_by_all(replace(founding.genesis, members=members, signatures={}), founding.nodes)
    return Founding(
        genesis, encode_genesis(genesis), founding.nodes, founding.agencies, founding.operators
    )


@dataclass
class Disk:
    """A FAKE over a node's store and sign state: does what they do, notes the order, and can be broken on purpose."""

    running: Running
    done: list[tuple[str, Any]] = field(default_factory=list)
    broken: Exception | None = None  # raised instead of saving the sign state

    def store(self) -> Any:
        return _Spy(self.running.store, self._on_store)

    def sign_state(self) -> Any:
        return _Spy(self.running.sign_state, self._on_sign_state)

    def _on_store(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "put_blocks":
            self.done += [("put", ref) for ref, _ in arguments[0]]
        elif name == "durable":
            self.done.append(("durable", None))

    def _on_sign_state(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "save_block":
            if self.broken is not None:
                raise self.broken
            signed: BlockSigned = arguments[0]
            self.done.append(("save", signed.round))


class _Spy:
    def __init__(self, real: object, told: Callable[[str, tuple[Any, ...]], None]) -> None:
        self._real = real
        self._told = told

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            self._told(name, arguments)
            return value(*arguments, **named)

        return call


@dataclass
class Node:
    """One engine with what is around it."""

    engine: DagEngine
    running: Running
    disk: Disk
    metrics: Metrics
    task: asyncio.Task[None]

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"{name}_total", labels) or 0.0


@asynccontextmanager
async def engine_node(
    founding: Founding,
    folder: Path,
    *,
    own: int = 0,
    broken: Exception | None = None,
    pace: Parameters = FAST,
    listen: str = "",
) -> AsyncIterator[Node]:
    """Member `own`'s engine, at `listen` or where the genesis says, running. What ended it is raised at the end."""
    running = await start(founding, folder, own=own)
    disk, metrics = Disk(running, broken=broken), Metrics()
    endpoint = founding.genesis.members[own].peer_endpoint
    engine = DagEngine(
        EngineParts(
            genesis=founding.genesis,
            chain_id=founding.chain_id,
            keys=founding.nodes[own],
            listen_peer=listen or endpoint,
            pace=lambda _: pace,
            store=cast(Any, disk.store()),
            sign_state=cast(Any, disk.sign_state()),
            pool=running.pool,
            ledger=running.ledger,
            mempool=running.mempool,
            finality=running.finality,
            metrics=metrics,
        )
    )
    running.finality.on_line(engine.send)
    await engine.start()
    task = asyncio.get_running_loop().create_task(_run(engine, running))
    try:
        yield Node(engine, running, disk, metrics, task)
    finally:
        task.cancel()
        await asyncio.wait((task,))
        await engine.stop()
        running.close()
    if not task.cancelled() and (fault := task.exception()) is not None:
        raise fault


@dataclass
class Seated:
    """A node that goes from epoch to epoch."""

    engine: Epochs
    running: Running
    metrics: Metrics
    paced: list[int]  # for how many validators a pace was asked, epoch by epoch

    @property
    def epoch(self) -> int:
        return self.running.ledger.epoch.number


@asynccontextmanager
async def seated_node(
    founding: Founding,
    folder: Path,
    endpoint: str,
    *,
    own: int | None,
    later_keys: tuple[NodeKeys, ...] = (),
) -> AsyncIterator[Seated]:
    """The node of a founder, or of a state that joins by the first of `later_keys`, through as many epochs as come."""
    running = await start(founding, folder, own=own, later_keys=later_keys)
    metrics = Metrics()
    paced: list[int] = []

    def pace(validators: int) -> Parameters:
        paced.append(validators)
        return FAST

    engine = Epochs(
        EngineParts(
            genesis=founding.genesis,
            chain_id=founding.chain_id,
            keys=later_keys[0] if own is None else founding.nodes[own],
            later_keys=later_keys,
            listen_peer=endpoint,
            pace=pace,
            store=running.store,
            sign_state=running.sign_state,
            pool=running.pool,
            ledger=running.ledger,
            mempool=running.mempool,
            finality=running.finality,
            metrics=metrics,
        )
    )
    running.finality.on_line(engine.send)
    await engine.start()
    task = asyncio.get_running_loop().create_task(_run(engine, running))
    try:
        yield Seated(engine, running, metrics, paced)
    finally:
        task.cancel()
        await asyncio.wait((task,))
        await engine.stop()
        running.close()
    if not task.cancelled() and (fault := task.exception()) is not None:
        raise fault


async def _run(engine: DagEngine | Epochs, running: Running) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.finality.run())
        tasks.create_task(engine.run())


# --- blocks of other members ---------------------------------------------------------------------


def committee(founding: Founding) -> Committee:
    return founding_epoch(founding.genesis, founding.document).committee


def block_of(
    founding: Founding,
    author: int,
    *,
    round_: int = 1,
    parents: Sequence[Ref] | None = None,
    payload: tuple[bytes, ...] = (),
    key: SigningKey | None = None,
    chain_id: bytes | None = None,
    named: int | None = None,
    evidence: tuple[EquivocationProof, ...] = (),
) -> VerifiedBlock:
    """A block that this member signs: by default valid, on the genesis blocks."""
    genesis = committee(founding).genesis
    if parents is None:
        others = [ref for ref in genesis if ref.author != author]
        parents = (genesis[author % len(genesis)], *others)
    wanted = Propose(
        round=Round(round_),
        parents=tuple(parents),
        time_ms=Millis(founding.genesis.time_ms + round_),
        flags=0,
        commit_votes=(),
        evidence=evidence,
    )
    header = make_header(
        chain_id=Digest(founding.chain_id if chain_id is None else chain_id),
        epoch=0,
        author=ValidatorIndex(author if named is None else named),
        wanted=wanted,
        payload=payload,
    )
    return sign_block(key or founding.nodes[author].block, header, payload)


def proof_against(founding: Founding, author: int, *, round_: int = 1) -> EquivocationProof:
    """Two blocks that this member signed for one round."""
    halves = [
        block_of(founding, author, round_=round_, payload=(payload,)).block
        for payload in (b"one", b"two")
    ]
    first, second = sorted(halves, key=lambda half: half.ref)
    return EquivocationProof(
        epoch=0,
        round=Round(round_),
        author=ValidatorIndex(author),
        digest1=first.ref.digest,
        signature1=first.signature,
        digest2=second.ref.digest,
        signature2=second.signature,
    )


def data_of(block: VerifiedBlock | Block) -> bytes:
    return encode_block(block.block if isinstance(block, VerifiedBlock) else block)

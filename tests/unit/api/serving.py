"""A node's faces over a real ledger on a disk, without an engine: commits and peers' cosignatures are made by hand."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from foedus.v1 import client_pb2 as pb
from foedus.v1 import client_pb2_grpc as rpc
from node.api.node import PeerStanding, ServedNode
from node.api.refusals import REFUSAL_KEY
from node.api.server import ClientServer
from node.engine.figures import EngineFigures, MemberFigures, QueueDepth
from node.ledger.append import StoreFacts
from node.ledger.cosigned import Added, Cosigned
from node.log.checkpoint import Checkpoint
from node.settings import LimitSettings
from node.signing.checkpoints import sign_cosignature
from node.signing.transport import server_name
from node.telemetry import Metrics
from tests.unit.ledger.founding import Founding
from tests.unit.ledger.running import Running, start

VERSION = "test"
FIGURES = EngineFigures(
    signing="signing",
    answers=2,
    answers_needed=2,
    quorum_index=9,
    commit_lag=3,
    quorum_round=31,
    members=(
        MemberFigures(state="BR", round=31, commit_index=6, leads_committed=4, leads_skipped=1),
        MemberFigures(state="CN", ordered_p50_ms=80, ordered_max_ms=200, equivocated_round=7),
    ),
    refused={"signature": 2},
    queues=(QueueDepth(name="core inbox", held=1, limit=512, unit="events"),),
)


@dataclass
class Serving:
    """One member's ledger, its client server and a channel to it."""

    running: Running
    node: ServedNode
    server: ClientServer
    port: int
    metrics: Metrics
    fatal: list[BaseException] = field(default_factory=list)
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    @property
    def founding(self) -> Founding:
        return self.running.founding

    def channel(self, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        """A connection of its own, trusting nothing but the registered certificate."""
        credentials = grpc.ssl_channel_credentials(self.founding.nodes[0].transport.certificate_pem)
        state = self.founding.nodes[0].state
        channel = grpc.aio.secure_channel(
            f"127.0.0.1:{self.port}",
            credentials,
            options=[
                ("grpc.ssl_target_name_override", server_name(state)),
                ("grpc.use_local_subchannel_pool", 1),
                *options,
            ],
        )
        self.channels.append(channel)
        return channel

    def client(self) -> "rpc.LedgerServiceAsyncStub":
        return rpc.LedgerServiceStub(self.channel())

    async def commit(self, *entries: bytes) -> None:
        await self.running.commit(*entries)

    async def finalise(self) -> None:
        """A quorum of members cosigns the log as it is."""
        ledger, finality = self.running.ledger, self.running.finality
        checkpoint = Checkpoint(origin=ledger.genesis.origin, size=ledger.size, root=ledger.root)
        for member, keys in enumerate(self.founding.nodes[: finality.quorum]):
            made = sign_cosignature(keys.cosigner, checkpoint, 1_700_000_000)
            line = Cosigned(
                member=member,
                size=ledger.size,
                root=ledger.root,
                timestamp=made.timestamp,
                signature=made.signature,
            )
            assert finality.add(line) in (Added.HELD, Added.KNOWN)
        assert finality.final_size == ledger.size

    async def close(self) -> None:
        for channel in self.channels:
            await channel.close()
        await self.server.stop()
        self.running.close()


async def serve(
    founding: Founding, folder: Path, *, limits: LimitSettings | None = None
) -> Serving:
    running = await start(founding, folder)
    fatal: list[BaseException] = []
    node = ServedNode(
        state=founding.nodes[0].state,
        version=VERSION,
        ledger=running.ledger,
        finality=running.finality,
        admission=running.admission,
        facts=StoreFacts(running.store),
        pool=running.pool,
        log_keys=lambda: (founding.nodes[0].log,),
        clock_s=lambda: running.now_ms // 1000,
        uptime_s=lambda: 5,
        own_round=lambda: 7,
        peers=lambda: [
            PeerStanding(
                state="CN",
                endpoint="127.0.0.1:9",
                connected_in=True,
                connected_out=False,
                last_round=6,
                last_cosigned_size=2,
            )
        ],
        alarms=lambda: [running.finality.alarm] if running.finality.alarm else [],
        figures=lambda: FIGURES,
    )
    metrics = Metrics("BR")
    server = ClientServer(
        node,
        f"127.0.0.1:{free_port()}",
        founding.nodes[0].transport,
        limits or LimitSettings(),
        metrics,
        fatal.append,
    )
    port = await server.start()
    return Serving(
        running=running, node=node, server=server, port=port, metrics=metrics, fatal=fatal
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def refusal_of(err: grpc.aio.AioRpcError) -> pb.Refusal:
    """The details in the trailing metadata of a refused call."""
    for key, value in err.trailing_metadata() or ():
        if key == REFUSAL_KEY:
            assert isinstance(value, bytes)
            return pb.Refusal.FromString(value)
    raise AssertionError(f"no {REFUSAL_KEY} in {err}")

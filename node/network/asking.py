"""One member asks others for a few rows, without an engine: for a node that is stopped and lacks them.

    with PeerCaller(peer, identity, chain_id) as caller:
        caller.blocks([ref], epoch=0)          as far as the peer holds them
        caller.commit(7, epoch=0)              the record, and names of the blocks that decided it

Nothing in an answer is verified here but its form. Blocking calls; a peer that is over its budget for us is asked again a little
later, a few times.
"""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc

from consensus.codec import MalformedBlock, decode_commit_record, peek_ref
from consensus.types import CommitIndex, CommitRecord, Ref
from node.network import wire
from node.network.certificates import channel_credentials, channel_options
from node.network.link import Peer
from node.network.service import SERVICE
from node.network.wire import Chain, MalformedMessage
from node.signing.transport import TransportIdentity

ANSWER_S: Final = 10.0
TRIES_MAX: Final = 6
PAUSE_S: Final = 0.25  # doubled each time: some 8 s in all

Answer = TypeVar("Answer")


class NoAnswer(Exception):
    """The peer is not there, refuses, or answers what is no answer: says which."""


class PeerCaller:
    """One member's node, dialled with this node's own certificate."""

    def __init__(self, peer: Peer, identity: TransportIdentity, chain_id: bytes) -> None:
        self.state = peer.certificate.state
        self.endpoint = peer.endpoint
        self._chain_id = chain_id
        self._channel: Any = grpc.secure_channel(
            peer.endpoint,
            channel_credentials(identity, peer.certificate),
            options=[
                *channel_options(peer.certificate),
                ("grpc.max_receive_message_length", wire.MESSAGE_BYTES_MAX),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )

    def blocks(self, refs: Sequence[Ref], epoch: int) -> dict[Ref, bytes]:
        """Those of these blocks that the peer holds and one answer has room for. Raises NoAnswer."""
        request = wire.FetchListed(self._chain(epoch), tuple(refs))
        answer = self._ask("FetchListed", wire.write_listed(request), wire.read_listed_answer)
        try:
            return {peek_ref(data): data for data in answer}
        except MalformedBlock as err:
            raise NoAnswer(f"{self.state}: {err}") from err

    def commit(self, index: int, epoch: int) -> CommitRecord | None:
        """The record of this commit with its deciders; None: the peer has no such commit in this epoch. Raises NoAnswer."""
        wanted = wire.FetchCommits(self._chain(epoch), CommitIndex(index), CommitIndex(index))
        found = self._ask("FetchCommits", wire.write_commits(wanted), wire.read_commits_answer)
        if not found.commits:
            return None
        below = wire.FetchBelow(self._chain(epoch), CommitIndex(index - 1))
        evidence = self._ask("FetchBelow", wire.write_below(below), wire.read_below_answer)
        try:
            record = decode_commit_record(found.commits[0])
            deciders = [
                tuple(sorted(map(peek_ref, blocks)))
                for which, blocks in evidence.commits
                if which == index
            ]
        except MalformedBlock as err:
            raise NoAnswer(f"{self.state}: {err}") from err
        return CommitRecord(
            commit=record.commit,
            deciders=deciders[0] if deciders else (),
            closed_by=record.closed_by,
        )

    def _chain(self, epoch: int) -> Chain:
        return Chain(self._chain_id, epoch)

    def _ask(self, method: str, request: bytes, read: Callable[[bytes], Answer]) -> Answer:
        pause = PAUSE_S
        call = self._channel.unary_unary(f"/{SERVICE}/{method}")
        for again in range(TRIES_MAX):
            try:
                return read(call(request, timeout=ANSWER_S))
            except MalformedMessage as err:
                raise NoAnswer(f"{self.state}: {method}: {err}") from err
            except grpc.RpcError as err:
                status: Any = err  # what a blocking call raises is a grpc.Call as well, which its class does not say
                exhausted = status.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                if not exhausted or again == TRIES_MAX - 1:
                    why = f"{status.code().name}: {status.details()}"
                    raise NoAnswer(f"{self.state} at {self.endpoint}: {method}: {why}") from err
            time.sleep(pause)
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

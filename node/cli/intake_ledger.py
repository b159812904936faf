"""What the gateway asks of others, in the command's own means: outboxes in files, nodes over gRPC (see node.intake.chains)."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from foedus.v1 import client_pb2 as pb
from node.cli.author import Author
from node.cli.client import LedgerClient
from node.cli.errors import BadAnswer, ClientError, CouldNot, OutboxBusy, Refused
from node.cli.nodes import Nodes
from node.cli.outbox import FileOutbox, Tip, parsed_entry
from node.cli.receipts import UntrustedReceipt, verify_receipt
from node.intake.chains import (
    ChainBusy,
    ChainTip,
    EntryRefused,
    Final,
    LedgerTip,
    NodeUnavailable,
)
from node.ledger.policy_chain import BrokenChain, Link, Policies, follow
from node.log.errors import MalformedInput
from node.signing.keys import AgencyKeys
from node.signing.statements import entry_hash


class OutboxChain:
    """One author's outbox, held."""

    def __init__(self, box: FileOutbox, author: Author) -> None:
        self._box = box
        self._author = author

    @property
    def tip(self) -> ChainTip:
        return ChainTip(seq=self._box.tip.seq, entry_hash=self._box.tip.entry_hash)

    def sign(self, content: bytes) -> bytes:
        return self._author.seal(content, (), self._box.tip).entry

    def record(self, entry: bytes) -> None:
        self._box.record(entry, endorsed_content=None)

    def adopt(self, tip: ChainTip) -> None:
        self._box.adopt(Tip(seq=tip.seq, entry_hash=tip.entry_hash))

    def kept(self, first_seq: int) -> dict[int, bytes]:
        return {parsed_entry(entry).seq: entry for entry in self._box.waiting(first_seq)}

    def forget_final(self, seq: int) -> None:
        self._box.forget_final(seq)


class OutboxChains:
    """The outboxes of these authors on one ledger, as `foedus submit` uses them."""

    def __init__(self, folder: Path, *, ledger: bytes, keys: Mapping[str, AgencyKeys]) -> None:
        self._folder = folder
        self._ledger = ledger
        self._keys = dict(keys)

    @contextmanager
    def open(self, author: str) -> Iterator[OutboxChain]:
        """Raises ChainBusy, OutboxDamaged, OSError."""
        try:
            box = FileOutbox(self._folder, ledger=self._ledger, author=author)
        except OutboxBusy as err:
            raise ChainBusy(str(err)) from err
        with box:
            yield OutboxChain(box, Author(self._keys[author], ledger=self._ledger, outbox=box))


class NodesAccess:
    """The ledger through several nodes: the next is asked when one is down, more of them when one is deaf (RULINGS R59)."""

    def __init__(
        self,
        nodes: Nodes,
        trust_policy: bytes,
        *,
        next_after_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = nodes
        self._trust_policy = trust_policy
        self._policies = Policies.founding(trust_policy)
        self._next_after_s = next_after_s
        self._clock = clock
        # Since when each entry waits. As many as the gateway signs ahead; they go when final.
        self._given_at: dict[bytes, float] = {}

    async def submit(self, entry: bytes) -> None:
        wanted = self._nodes.enough if self._is_late(entry_hash(entry)) else 1
        self._given_at.setdefault(entry_hash(entry), self._clock())
        try:
            await self._nodes.give(entry, wanted=wanted)
        except ClientError as err:
            raise _translated(err) from err

    async def tip(self, author: str) -> LedgerTip:
        try:
            tip = await self._nodes.first(lambda client: client.tip(author))
        except ClientError as err:
            raise _translated(err) from err
        return LedgerTip(
            logged=ChainTip(seq=tip.seq, entry_hash=tip.entry_hash),
            pending=ChainTip(seq=tip.pending_seq, entry_hash=tip.pending_hash),
        )

    async def final(self, entry: bytes) -> Final | None:
        """By the first node that answers; by any, once the entry is late: the first may be the one that hides it."""
        digest = entry_hash(entry)
        everyone = self._is_late(digest)
        answers = 0
        failure: ClientError | None = None
        dropped = ""
        for client in self._nodes.clients:
            try:
                progress = await client.progress(digest)
                if progress.state == pb.ENTRY_STATE_FINAL:
                    index = await self._proven(client, entry)
                    self._given_at.pop(digest, None)
                    return Final(index=index, code=progress.code)
            except ClientError as err:
                failure = err
                continue
            answers += 1
            if progress.state == pb.ENTRY_STATE_DROPPED:
                dropped = progress.code
            if not everyone:
                break
        if dropped:
            raise EntryRefused(dropped, f"a commit left entry {digest.hex()} out: {dropped}")
        if not answers and failure is not None:
            raise _translated(failure) from failure
        return None

    async def used(self, author: str, seq: int, entry_hash: bytes) -> bool | None:
        try:
            client = await self._nodes.first_reachable()
            if (await client.tip(author)).seq < seq:
                return None
            return (await client.progress(entry_hash)).is_integrated
        except ClientError as err:
            raise _translated(err) from err

    async def _newer(self, client: LedgerClient) -> Policies:
        """Raises ClientError."""
        answer = await client.genesis()
        links = [Link(proof=link.proof, policy=link.policy) for link in answer.policies]
        try:
            return follow(self._trust_policy, links)
        except (BrokenChain, MalformedInput) as err:
            raise BadAnswer(client.state, f"its trust policies do not hold: {err}") from err

    async def _proven(self, client: LedgerClient, entry: bytes) -> int:
        """The entry's index by a receipt over our own bytes, not by a node's word. Raises ClientError."""
        given = await client.receipt(entry_hash(entry))
        try:
            try:
                verdict = verify_receipt(given.proof, self._policies, entry)
            except UntrustedReceipt:  # the members may have changed meanwhile
                self._policies = await self._newer(client)
                verdict = verify_receipt(given.proof, self._policies, entry)
        except (CouldNot, MalformedInput) as err:
            raise BadAnswer(client.state, f"it says final, but: {err}") from err
        if not verdict.proven:
            raise BadAnswer(
                client.state, f"it says final, but its receipt does not prove it: {verdict.why}"
            )
        return verdict.index

    def _is_late(self, digest: bytes) -> bool:
        given_at = self._given_at.get(digest)
        return given_at is not None and self._clock() - given_at >= self._next_after_s


def _translated(err: ClientError) -> EntryRefused | NodeUnavailable:
    if isinstance(err, Refused):
        return EntryRefused(err.code, str(err))
    return NodeUnavailable(str(err))

"""One member through the epochs: a core, a store and peers for each, one law and one mempool (`node.engine.epochs`).

    core of epoch 3 ──── its last commit is executed ────► core of epoch 4, beside it ────► core of epoch 3 ends
                                                            a quorum of epoch 4 was seen

What an epoch leaves behind goes on answering. Who has no seat in an epoch looks on, by a core that signs nothing. The law lags
behind the order by a time that is drawn for each commit; after a crash it is computed again from what the disk has.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, Protocol

from consensus.codec import decode_commit_record
from consensus.committee import Committee
from consensus.epoch import ends_epoch
from consensus.events import (
    BlocksReceived,
    CommitDecided,
    CommitsApplied,
    EpochClosing,
    Event,
    Propose,
)
from consensus.simulate.checkers import Violation
from consensus.simulate.desk import Request
from consensus.simulate.law import JOINS, LEAVES, Law
from consensus.simulate.node import HonestNode
from consensus.types import Block, CommitRecord, Ref
from consensus.validity import InvalidBlock, check_block


class TermNode(HonestNode):
    """A member's part in one epoch. `receive` judges what is pushed, as the driver does before the core sees it."""

    def __init__(self, *, member: "Member", gc_depth: int, **rest: Any) -> None:
        super().__init__(gc_depth=gc_depth, mempool=member.mempool, **rest)
        self.member = member
        self.retired = False
        self.over = False  # the law has executed the last commit of this epoch
        self.told_closing = False
        self.refused = 0  # blocks pushed that are not valid here
        self._depth = gc_depth
        self._valid: dict[Ref, bool] = {}
        self._voided: dict[Ref, None] = {}
        self._executes_at = 0

    def receive(self, event: Event) -> None:
        if isinstance(event, BlocksReceived) and self.up:
            good = tuple(each for each in event.blocks if self._is_valid(each.block))
            self.refused += len(event.blocks) - len(good)
            if not good:
                return
            event = BlocksReceived(event.sender, good)
        super().receive(event)

    def _is_valid(self, block: Block) -> bool:
        known = self._valid.get(block.ref)
        if known is None:
            try:
                check_block(block, self.committee, gc_depth=self._depth)
                known = True
            except InvalidBlock:
                known = False
            self._valid[block.ref] = known
        return known

    def serve(self, request: Request, asker: int, reply: Callable[[Event], None]) -> None:
        if self.up or (self.retired and self.member.up):
            reply(self._desk.answer(request))

    def payload(self, wanted: Propose) -> tuple[bytes, ...]:
        return () if self.over else super().payload(wanted)

    def written(self, effect: CommitDecided) -> None:
        lag_ms = self.member.lag_ms()
        self._executes_at = max(self._executes_at, self._clock.now_ms + lag_ms)
        self.later(
            self._executes_at - self._clock.now_ms,
            partial(self.member.executes, self, effect.record),
        )

    def void(self, ref: Ref) -> None:
        if ref not in self._voided:
            self._voided[ref] = None
            super().void(ref)

    def void_all(self) -> None:
        """The epoch is over: own blocks that no commit of it has will never be committed."""
        if not self.over:
            return
        committed = {ref for record in self.records() for ref in record.commit.blocks}
        for blocks in self._mint.rounds.values():
            for block in blocks:
                own = block.ref.author == self.index and self.store.has(block.ref)
                if own and block.ref not in committed:
                    self.void(block.ref)

    @property
    def committee(self) -> Committee:
        return self._mint.committee

    def records(self) -> list[CommitRecord]:
        """On the disk, ascending."""
        first, last = self.committee.previous_index + 1, self.store.last_commit_index()
        found = map(self.store.commit_record, range(first, last + 1))
        return [decode_commit_record(data) for data in found if data is not None]

    def transactions(self, record: CommitRecord) -> list[bytes]:
        blocks = [self._mint.verified[ref].block for ref in record.commit.blocks]
        return [each for block in blocks for each in block.payload]

    def has_seen_a_quorum(self) -> bool:
        committee = self.committee
        seen = [self.store.newest_block_of(author) for author in range(committee.size)]
        return sum(each is not None for each in seen) >= committee.quorum

    def crash(self) -> None:
        super().crash()
        self.member.crashed()

    def retire(self) -> None:
        """Nobody needs it live any more: from now on it answers from its store."""
        self.retired = True
        self.void_all()
        if self.up:
            self.store.sync()
            self.end()


class Home(Protocol):
    """Where members live."""

    def next_node(self, node: TermNode, record: CommitRecord, seats: Sequence[int]) -> TermNode:
        """The member's part in the epoch that follows; these seats validate in it."""
        ...

    def begun(self, node: TermNode) -> None:
        """It runs: who can be reached is to be told."""
        ...

    def fell(self, member: "Member") -> None: ...


class Member:
    """See the module's text."""

    def __init__(
        self, seat: int, founders: Sequence[int], home: Home, rng: Random, law_lag_ms: int
    ) -> None:
        self.seat = seat
        self.mempool: deque[bytes] = deque()
        self.nodes: list[TermNode] = []  # one for each epoch that it has begun
        self.up = False
        self.law = Law(founders)
        self._founders = tuple(founders)
        self._home = home
        self._rng = rng
        self._law_lag_ms = law_lag_ms
        self._submitted = 0
        self.down_ms = 0

    @property
    def newest(self) -> TermNode:
        return self.nodes[-1]

    def lag_ms(self) -> int:
        return self._rng.randint(0, self._law_lag_ms)

    def submit(self) -> None:
        """A client hands it one transaction."""
        self._submitted += 1
        self.hand_in(b"%d/%d" % (self.seat, self._submitted))

    def hand_in(self, transaction: bytes) -> None:
        """A change of members waits behind nothing: in a node's payload authors take turns (node/ledger/turns)."""
        if transaction.startswith((JOINS, LEAVES)):
            self.mempool.appendleft(transaction)
        else:
            self.mempool.append(transaction)
        if self.up:
            self.newest.tell_pending()

    # From epoch to epoch

    def begin(self, node: TermNode) -> None:
        """For the first time."""
        self.up = True
        for old in self.nodes[:-1]:
            if not old.retired:
                old.retire()
        self.nodes.append(node)
        node.start()
        self._home.begun(node)

    def executes(self, node: TermNode, record: CommitRecord) -> None:
        """Its law has come to this commit."""
        self.law.execute(node.transactions(record))
        node.receive(CommitsApplied(record.commit.index))
        if ends_epoch(record, node.committee):
            self._end(node, record)
        else:
            self._tell_closing(node)

    def _tell_closing(self, node: TermNode) -> None:
        if self.law.closing is not None and not node.told_closing:
            node.told_closing = True
            node.receive(EpochClosing())

    def _end(self, node: TermNode, record: CommitRecord) -> None:
        if self.law.closing is None:
            raise Violation(
                f"seat {self.seat}: commit {record.commit.index} ends an epoch that its law has not closed"
            )
        node.over = True
        node.store.sync()  # before anything of the next epoch rests on it
        node.void_all()
        following = self._home.next_node(node, record, self.law.end_epoch())
        self.begin(following)

    def see_off(self) -> None:
        """End the epoch before, if nobody needs it."""
        old = self.nodes[-2] if self.up and len(self.nodes) > 1 else None
        if old is not None and not old.retired and self.newest.has_seen_a_quorum():
            old.retire()

    # The machine

    def crash(self) -> None:
        """All of it, at once."""
        if self.newest.up:
            self.newest.crash()

    def crashed(self) -> None:
        """One of its cores met a crash point: the others go with it."""
        if not self.up:
            return
        self.up = False
        for node in self.nodes:
            if node.up:
                node.crash()
        self._home.fell(self)

    def restart(self) -> None:
        """From what the disks have kept."""
        self.up = True
        self.law = Law(self._founders)
        last: CommitRecord | None = None
        for node in self.nodes:
            last = None
            for record in node.records():
                self.law.execute(node.transactions(record))
                if ends_epoch(record, node.committee):
                    last = record
                    if node is not self.newest:
                        self.law.end_epoch()
        for node in self.nodes[-2:]:
            if not node.retired:
                node.told_closing = False
                node.start()
                self._home.begun(node)
        if last is not None and self.newest.up:
            self._end(self.newest, last)
        elif self.newest.up:
            self._tell_closing(self.newest)

    def off(self) -> None:
        """For good."""
        self.up = False
        for node in self.nodes:
            node.retired = True
            if node.up:
                node.end()

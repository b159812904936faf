"""Validator 0 of four as its core, its store and its clock, and a script of what the three others say."""

from collections.abc import Iterable
from typing import TypeVar

from consensus.codec import encode_block, encode_commit_record
from consensus.core import Core
from consensus.events import (
    Alarm,
    BlockProposed,
    BlocksReceived,
    CommitDecided,
    Effect,
    Event,
    NewestAnswered,
    PayloadPending,
    PeerConnected,
    PersistOwnBlock,
    Propose,
    SendNewest,
    StoreBlocks,
    TimerFired,
    Trouble,
)
from consensus.serving import recover
from consensus.types import Block, Millis, Parameters, Recovered, Ref, ValidatorIndex, VerifiedBlock
from tests.unit.consensus.blocks import History, block, committee_of

FOUR = committee_of(4)
OWN = ValidatorIndex(0)
OTHERS = (1, 2, 3)
PARAMETERS = Parameters(delta_ms=500, min_round_delay_ms=100, idle_delay_ms=30_000)
START = 1_700_000_100_000
T = 1_000
NOTHING = Recovered()
E = TypeVar("E", bound=Effect)


class Member:
    """Validator 0: its core, its store, the clock, and everything it ever wanted done."""

    def __init__(
        self, recovered: Recovered = NOTHING, *, now: int = START, gc_depth: int = 128
    ) -> None:
        self.now = now
        self.core = Core(
            committee=FOUR,
            own=OWN,
            parameters=PARAMETERS,
            recovered=recovered,
            gc_depth=gc_depth,
        )
        self.history: list[Effect] = []
        self.blocks: dict[Ref, Block] = {kept.block.ref: kept.block for kept in recovered.blocks}
        self.first = self._note(self.core.start(Millis(now)))

    def _note(self, effects: list[Effect]) -> list[Effect]:
        self.history += effects
        for effect in effects:
            if isinstance(effect, StoreBlocks):
                self.blocks |= {made.ref: made for made in effect.blocks}
            elif isinstance(effect, PersistOwnBlock):
                self.blocks[effect.block.ref] = effect.block
        return effects

    def step(self, event: Event, after_ms: int = 0) -> list[Effect]:
        self.now += after_ms
        return self._note(self.core.step(Millis(self.now), event))

    def connect(self, peers: Iterable[int] = OTHERS) -> list[Effect]:
        return [e for peer in peers for e in self.step(PeerConnected(ValidatorIndex(peer)))]

    def ready(self) -> "Member":
        """All connected, with something to order; all said that they hold no block of ours."""
        self.step(PayloadPending(pending=True))
        for question in only(SendNewest, self.connect()):
            self.newest(question, None)
        return self

    def newest(self, question: SendNewest, made: Block | None) -> list[Effect]:
        shown = None if made is None else VerifiedBlock(made)
        return self.step(NewestAnswered(peer=question.peer, request=question.request, block=shown))

    def receive(self, *blocks: Block, sender: int | None = None, after_ms: int = 0) -> list[Effect]:
        giver = blocks[0].ref.author if sender is None else sender
        return self.step(
            BlocksReceived(ValidatorIndex(giver), tuple(map(VerifiedBlock, blocks))), after_ms
        )

    def propose(self, wanted: Propose, payload: tuple[bytes, ...] = (b"entry",)) -> list[Effect]:
        return self.step(BlockProposed(VerifiedBlock(answer_to(wanted, payload))))

    def tick(self, after_ms: int) -> list[Effect]:
        return self.step(TimerFired(), after_ms)


def answer_to(wanted: Propose, payload: tuple[bytes, ...] = (b"entry",)) -> Block:
    return block(
        FOUR,
        OWN,
        wanted.round,
        wanted.parents,
        payload=payload,
        time_ms=wanted.time_ms,
        commit_votes=wanted.commit_votes,
        evidence=wanted.evidence,
        flags=wanted.flags,
    )


def only(kind: type[E], effects: Iterable[Effect]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def troubles(effects: Iterable[Effect]) -> list[Trouble]:
    return [alarm.trouble for alarm in only(Alarm, effects)]


def run_rounds(member: Member, last: int, *, first: int = 1) -> History:
    """Rounds with all four: the member makes its block when it may, the others then theirs. Returns all blocks."""
    history = History(committee=FOUR)
    history.blocks += sorted(member.blocks.values(), key=lambda made: made.ref)
    for _ in range(first, last + 1):
        wanted = only(Propose, member.tick(PARAMETERS.min_round_delay_ms))
        assert len(wanted) == 1, (
            f"after round {history.blocks[-1].ref.round if history.blocks else 0}"
        )
        member.propose(wanted[0])
        history.blocks.append(answer_to(wanted[0]))
        for author in OTHERS:
            member.receive(history.draw(author, wanted[0].round))
    return history


def stored(member: Member) -> Recovered:
    """What a restart finds, of a store that kept everything."""
    return recover(StoreOf(member), newest_own(member))


class StoreOf:
    """A BlockReader over what a member had stored."""

    def __init__(self, member: Member) -> None:
        self.blocks = {name: encode_block(made) for name, made in member.blocks.items()}
        self.records = [
            encode_commit_record(each.record) for each in only(CommitDecided, member.history)
        ]

    def block(self, name: Ref, /) -> bytes | None:
        return self.blocks.get(name)

    def blocks_in_rounds(
        self, first: int, last: int, limit_bytes: int, /
    ) -> list[tuple[Ref, bytes]]:
        return [
            (name, self.blocks[name]) for name in sorted(self.blocks) if first <= name.round <= last
        ]

    def newest_block_of(self, author: int, /) -> tuple[Ref, bytes] | None:
        names = [name for name in self.blocks if name.author == author]
        return (max(names), self.blocks[max(names)]) if names else None

    def commit_record(self, index: int, /) -> bytes | None:
        return self.records[index - 1] if 1 <= index <= len(self.records) else None

    def last_commit_index(self) -> int:
        return len(self.records)


def newest_own(member: Member) -> VerifiedBlock:
    return VerifiedBlock(
        max(only(PersistOwnBlock, member.history), key=lambda e: e.block.ref).block
    )

"""One real core of a large committee, fed with blocks that the other members might have made: what a member costs.

195 cores in one process would cost 195 times as much. This one sees what a member of that committee sees: every round, a
block of each living member, each referring to all of the round before. Its questions are not answered, as nothing is missing.
Measured, once those crashed are known to be silent: processor time of `Core.step` a round, bytes pushed a round, the time to
decide one slot, memory.
"""

import gc
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from consensus.codec import assemble_block, encode_block, make_header
from consensus.committee import Committee
from consensus.core import Core
from consensus.events import (
    BlockProposed,
    BlocksReceived,
    CommitDecided,
    Effect,
    Event,
    NewestAnswered,
    PeerConnected,
    Propose,
    SendBlocks,
    SendNewest,
    SetTimer,
    TimerFired,
)
from consensus.silence import GRACE_TIMEOUTS
from consensus.types import (
    GC_DEPTH,
    Digest,
    Millis,
    Parameters,
    Recovered,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)

GENESIS_MS: Final = 1_790_000_000_000
OWN: Final = ValidatorIndex(0)
ROUND_MS: Final = 1_000
PAGE_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one member."""

    rounds: int  # measured
    cpu_ms_per_round: float  # of Core.step
    bytes_per_round: int  # blocks pushed, encoded
    decide_slot_ms: float  # the longest of the rounds measured; a step that decides several slots counts by slot
    memory_mib: float  # of the core at full depth, extrapolated from its growth a round
    commits: int


class Feeder:
    """See the module's text. A round takes a second, and a timeout more if its leader is crashed and not known to be silent."""

    def __init__(self, size: int, alive: Sequence[int], parameters: Parameters) -> None:
        assert OWN in alive, f"member {OWN} is the one measured"
        self.committee = Committee.found(
            chain_id=Digest(bytes(32)),
            block_keys=[index.to_bytes(32, "big") for index in range(size)],
            genesis_time_ms=Millis(GENESIS_MS),
        )
        self.core = Core(
            committee=self.committee, own=OWN, parameters=parameters, recovered=Recovered()
        )
        self._others = [ValidatorIndex(index) for index in alive if index != OWN]
        self._timeout_ms = parameters.delta_ms * parameters.timeout_deltas
        self.now = Millis(GENESIS_MS)
        self._timer: Millis | None = None
        self._parents: list[Ref] = list(self.committee.genesis)
        self._own: Ref | None = None
        self._sizes: dict[Ref, int] = {}  # of blocks that may still be pushed
        self.rounds = 0  # played
        self.silent_from = Millis(GENESIS_MS)  # from here on nobody waits for those crashed
        self.cpu_ns = 0
        self.slot_ns = 0  # the longest step that ordered a commit, by the slots that it decided
        self._led = Round(0)  # the last slot decided
        self.pushed = 0
        self.commits = 0

    def start(self) -> None:
        self._carry_out(self.core.start(self.now))
        for peer in self._others:
            self._step(PeerConnected(peer))
        self._until(Millis(self.now + ROUND_MS))

    def play(self, round_: int) -> None:
        """One round: everybody else's block of it, spread over half a round."""
        begin = self.now
        self.rounds = round_
        made: list[Ref] = [] if self._own is None else [self._own]
        gap_us = 500 * ROUND_MS // len(self._others)
        for place, author in enumerate(self._others):
            block = self._block(author, round_)
            made.append(block.block.ref)
            self._until(Millis(begin + place * gap_us // 1_000))
            self._step(BlocksReceived(author, (block,)))
        leader = self.committee.leader(Round(round_))
        crashed = leader != OWN and leader not in self._others
        if round_ == 1:
            self.silent_from = Millis(begin + ROUND_MS + GRACE_TIMEOUTS * self._timeout_ms)
        waits = crashed and begin < self.silent_from
        self._until(Millis(begin + ROUND_MS + (self._timeout_ms if waits else 0)))
        for ref in [ref for ref in self._sizes if ref.round < round_ - 4]:
            del self._sizes[ref]
        self._parents = sorted(dict.fromkeys(made), key=lambda ref: ref.author)

    def _block(self, author: ValidatorIndex, round_: int) -> VerifiedBlock:
        own = next((ref for ref in self._parents if ref.author == author), None)
        assert own is not None, f"member {author} made no block of round {round_ - 1}"
        wanted = Propose(
            round=Round(round_),
            parents=(own, *(ref for ref in self._parents if ref.author != author)),
            time_ms=self.now,
            flags=0,
            commit_votes=(),
        )
        return self._made(author, wanted, (f"{author} {round_}".encode(),))

    def _made(
        self, author: ValidatorIndex, wanted: Propose, payload: tuple[bytes, ...]
    ) -> VerifiedBlock:
        committee = self.committee
        header = make_header(
            chain_id=committee.chain_id,
            epoch=committee.epoch,
            author=author,
            wanted=wanted,
            payload=payload,
        )
        block = assemble_block(header, payload, bytes(64))
        self._sizes[block.ref] = len(encode_block(block))
        return VerifiedBlock(block)

    def _until(self, now: Millis) -> None:
        while self._timer is not None and self._timer <= now:
            self.now, self._timer = max(self.now, self._timer), None
            self._step(TimerFired())
        self.now = max(self.now, now)

    def _step(self, event: Event) -> None:
        begin = time.process_time_ns()
        effects = self.core.step(self.now, event)
        spent = time.process_time_ns() - begin
        self.cpu_ns += spent
        led = [
            effect.record.commit.leader.round
            for effect in effects
            if isinstance(effect, CommitDecided)
        ]
        if led:  # after leaders that are down several slots are decided at once
            self.slot_ns = max(self.slot_ns, spent // (led[-1] - self._led))
            self._led = led[-1]
        self._carry_out(effects)

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Propose():
                    block = self._made(OWN, effect, (f"{OWN} {effect.round}".encode(),))
                    self._own = block.block.ref
                    self._step(BlockProposed(block))
                case SendNewest():
                    self._step(NewestAnswered(peer=effect.peer, request=effect.request, block=None))
                case SetTimer():
                    self._timer = effect.at_ms
                case SendBlocks():
                    self.pushed += sum(self._sizes.get(ref, 0) for ref in effect.blocks)
                case CommitDecided():
                    self.commits += 1
                case _:
                    pass


def cost_alone(
    size: int, alive: Sequence[int], parameters: Parameters, *, rounds: int = 12
) -> Cost:
    """`cost_of` in a process of its own: memory that another run left behind would hide this one's growth."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(cost_of, size, alive, parameters, rounds=rounds).result()


def cost_of(
    size: int, alive: Sequence[int], parameters: Parameters, *, rounds: int = 12, warm_up: int = 4
) -> Cost:
    """Of one member of `size`, of whom `alive` speak."""
    feeder = Feeder(size, alive, parameters)
    feeder.start()
    while feeder.rounds < warm_up or feeder.now < feeder.silent_from:
        feeder.play(feeder.rounds + 1)
    before = _resident_bytes()
    cpu, pushed = feeder.cpu_ns, feeder.pushed
    feeder.slot_ns = 0
    for round_ in range(feeder.rounds + 1, feeder.rounds + rounds + 1):
        feeder.play(round_)
    grown = max(0, _resident_bytes() - before)
    return Cost(
        rounds=rounds,
        cpu_ms_per_round=(feeder.cpu_ns - cpu) / 1e6 / rounds,
        bytes_per_round=(feeder.pushed - pushed) // rounds,
        decide_slot_ms=feeder.slot_ns / 1e6,
        memory_mib=grown / rounds * GC_DEPTH / (1 << 20),
        commits=feeder.commits,
    )


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE_BYTES

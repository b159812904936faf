"""States at their capitals: how long until an entry is ordered, and what that costs a member.

Three instruments, and each figure says which it is from:

    cores      every member runs the shipping core, in virtual time over the links of `capitals`
    schedule   the same rules as arithmetic on arrival times, for committees whose cores would take hours
               (tests/simulation/test_wan.py holds it against cores)
    fed core   one shipping core fed with the blocks of the others (`fed`): processor time, bytes, memory

Latency runs from a member's block to its order at that member. An entry waits half a round before, on average, for the block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from consensus.committee import Committee, quorum_of
from consensus.events import CommitDecided
from consensus.silence import GRACE_TIMEOUTS
from consensus.simulate.capitals import Matrix
from consensus.simulate.cluster import Cluster
from consensus.simulate.network import Weather
from consensus.simulate.node import Machinery
from consensus.simulate.regime import Regime
from consensus.types import GC_DEPTH, Block, Parameters, Ref, Round

SUBMIT_EVERY_MS: Final = 50  # by each core, so that no round is put off for want of work
WARM_UP_ROUNDS: Final = 4
TAIL_ROUNDS: Final = 12  # so that the last measured blocks are ordered too
DEPTH: Final = 6  # rounds below a leader in which its commit is looked for
NEVER: Final = float("inf")
VIRTUAL_MS_MAX: Final = 3_600_000
LeaderOf = Callable[[int], int]


def crashed_of(size: int, count: int) -> tuple[int, ...]:
    """`count` members, spread evenly, never member 0."""
    return tuple((turn + 1) * size // (count + 1) for turn in range(count))


# --- cores --------------------------------------------------------------------------------------------------------------


class WanCluster(Cluster):
    """Every living member a core; links as the matrix says, nothing lost."""

    def __init__(
        self,
        matrix: Matrix,
        crashed: Sequence[int],
        parameters: Parameters,
        rounds: int,
        *,
        first: int = WARM_UP_ROUNDS,
    ) -> None:
        """Measures `rounds` from the round `first` on."""
        size = len(matrix)
        super().__init__(_regime(size, tuple(crashed), parameters))
        for source in range(size):
            for target in range(size):
                self.network.slow([(source, target)], round(matrix[source][target]))
        self._window = range(first, first + rounds)
        self._made_ms: dict[Ref, int] = {}
        self._reached: dict[int, int] = {}  # node -> round of the last leader it committed
        self.latencies: list[float] = []

    def measure(self) -> list[float]:
        """Of all blocks of the rounds measured, in ms."""
        self.storm()
        beyond = self._window[-1] + DEPTH

        def done() -> bool:
            return len(self._reached) == len(self.nodes) and min(self._reached.values()) >= beyond

        assert self.clock.run(VIRTUAL_MS_MAX, done), f"commits in an hour: {self._reached}"
        # A member skips rounds that were decided without it; more than a few would be a finding.
        wanted = len(self.nodes) * len(self._window)
        assert 10 * len(self.latencies) >= 9 * wanted, f"{len(self.latencies)} of {wanted} ordered"
        return sorted(self.latencies)

    def persisted(self, node: int, block: Block) -> None:
        super().persisted(node, block)
        self._made_ms[block.ref] = self.clock.now_ms

    def decided(self, node: int, effect: CommitDecided) -> None:
        super().decided(node, effect)
        self._reached[node] = effect.record.commit.leader.round
        for block in effect.blocks:
            if block.ref.author == node and block.ref.round in self._window:
                self.latencies.append(self.clock.now_ms - self._made_ms[block.ref])


def _regime(size: int, crashed: tuple[int, ...], parameters: Parameters) -> Regime:
    alive = tuple(index for index in range(size) if index not in crashed)
    return Regime(
        seed=size,
        size=size,
        byzantine=crashed,
        strategies=("silent",) * len(crashed),
        liars_answer=False,
        parameters=parameters,
        gc_depth=GC_DEPTH,
        machinery=(Machinery(request_timeout_ms=parameters.request_timeout_ms),) * size,
        weather=Weather(delay_min_ms=0, delay_max_ms=0),
        healed=Weather(delay_min_ms=0, delay_max_ms=0),
        storm_ms=1,
        cuts=(),
        crashes=(),
        submitters=alive,
        submit_every_ms=SUBMIT_EVERY_MS,
        healed_submitters=alive[:1],
    )


# --- schedule -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Made:
    """The blocks of one round, by author."""

    at: dict[int, float]
    parents: dict[int, int]  # mask of authors of the round before
    late: dict[
        int, int
    ]  # mask of authors of the round before that, whose later block was not there
    votes: int = 0  # mask of those that refer to the leader of the round before
    certifies: int = 0  # mask of those that certify the leader of two rounds before


class Schedule:
    """A1, A2, L1, L2, C1 to C3 and the commit rule as arithmetic; nobody lies, nothing is lost."""

    def __init__(
        self,
        matrix: Matrix,
        crashed: Sequence[int],
        parameters: Parameters,
        leader: LeaderOf,
        rounds: int,
    ) -> None:
        size = len(matrix)
        self._matrix = matrix
        self._quorum = quorum_of(size)
        self._alive = [index for index in range(size) if index not in crashed]
        self._parameters = parameters
        self._leader = leader
        self._rounds = rounds
        genesis = (1 << size) - 1
        self._silent_at: dict[int, float] = {}  # when those crashed are waited for no more
        self._made = [_Made(dict.fromkeys(range(size), 0.0), {}, {}, votes=genesis)]
        self.round_ms = 0.0
        self.first = 0  # round measured

    def measure(self, *, settled: bool = False) -> list[float]:
        """As `WanCluster.measure`. `settled`: from when everybody knows that those crashed are silent."""
        self._play(WARM_UP_ROUNDS)
        while settled and min(self._made[-1].at.values()) < max(self._silent_at.values()):
            self._play(1)
        first = self.first = len(self._made) - 1
        last = first + self._rounds
        self._play(self._rounds + TAIL_ROUNDS)
        at = [sum(made.at.values()) / len(made.at) for made in self._made]
        self.round_ms = (at[last] - at[first]) / self._rounds
        return sorted(self._latencies(range(first, last)))

    def _play(self, rounds: int) -> None:
        for _ in range(rounds):
            self._made.append(self._make(len(self._made)))

    def _arrivals(self, made: _Made, to: int) -> dict[int, float]:
        return {author: at + self._matrix[author][to] for author, at in made.at.items()}

    def _nth(self, times: Sequence[float]) -> float:
        """When a quorum of these has come; never, if they are too few."""
        return sorted(times)[self._quorum - 1] if len(times) >= self._quorum else NEVER

    def _make(self, round_: int) -> _Made:
        before = self._made[round_ - 1]
        here = {to: self._arrivals(before, to) for to in self._alive}
        entered: dict[int, float] = {}
        alone: dict[int, float] = {}  # when C1 or C2 would let it
        timeout = self._parameters.delta_ms * self._parameters.timeout_deltas
        for to in self._alive:
            times = here[to]
            entered[to] = max(before.at[to], self._nth(list(times.values())))
            if round_ == 2:  # of round 1 those crashed showed no block
                self._silent_at[to] = entered[to] + GRACE_TIMEOUTS * timeout
            ready = max(
                entered[to] + self._parameters.min_round_delay_ms,
                self._leader_at(round_, times, to),
                self._votes_at(round_, before, times),
            )
            alone[to] = min(ready, entered[to] + timeout)
        at = dict(alone)
        for _ in range(3):  # C3 pulls some along, and these others
            now = _Made(at, {}, {})
            at = {
                to: min(
                    alone[to], max(entered[to], self._nth(list(self._arrivals(now, to).values())))
                )
                for to in self._alive
            }
        return self._refer(round_, before, here, at)

    def _leader_at(self, round_: int, times: dict[int, float], to: int) -> float:
        """L1: the leader's block is here, or it is silent."""
        if round_ == 1:
            return 0.0
        return times.get(self._leader(round_ - 1), self._silent_at.get(to, NEVER))

    def _votes_at(self, round_: int, before: _Made, times: dict[int, float]) -> float:
        """L2: a quorum of votes, or the skip pattern."""
        if round_ <= 2:
            return 0.0
        votes = [at for author, at in times.items() if before.votes >> author & 1]
        blames = [at for author, at in times.items() if not before.votes >> author & 1]
        return min(self._nth(votes), self._nth(blames))

    def _refer(
        self,
        round_: int,
        before: _Made,
        here: dict[int, dict[int, float]],
        at: dict[int, float],
    ) -> _Made:
        made = _Made(at, {}, {})
        older = self._made[round_ - 2] if round_ >= 2 else None
        for to in self._alive:
            parents = sum(1 << author for author, came in here[to].items() if came <= at[to])
            made.parents[to] = parents
            made.late[to] = 0
            if older is not None and parents.bit_count() < len(before.at):
                came = self._arrivals(older, to)
                found = sum(1 << author for author, when in came.items() if when <= at[to])
                made.late[to] = found & ~parents
            made.votes |= (parents >> self._leader(round_ - 1) & 1) << to
            certifies = (parents & before.votes).bit_count() >= self._quorum
            made.certifies |= certifies << to
        return made

    # Order

    def _latencies(self, window: range) -> list[float]:
        made = self._made
        decided = self._decided()
        ordered: dict[tuple[int, int], int] = {}  # (round, author) -> the slot that ordered it
        for slot, (commits, _) in enumerate(decided, 1):
            if commits:
                for depth, mask in enumerate(self._history(slot)):
                    for author in made[max(slot - depth, 0)].at:
                        if mask >> author & 1:
                            ordered.setdefault((slot - depth, author), slot)
        at_slot: dict[int, list[float]] = {}
        for to in self._alive:
            latest, times = 0.0, []
            for _, when in decided:
                latest = max(latest, when[to])
                times.append(latest)
            at_slot[to] = times
        return [
            at_slot[author][ordered[round_, author] - 1] - made[round_].at[author]
            for round_ in window
            for author in self._alive
        ]

    def _decided(self) -> list[tuple[bool, dict[int, float]]]:
        """Of each slot from 1 on: whether it is committed, and when each member knows."""
        found: list[tuple[bool, dict[int, float]]] = []
        for slot in range(len(self._made) - 3, 0, -1):
            votes, certs = self._made[slot + 1], self._made[slot + 2]
            leader = self._leader(slot)
            commits = certs.certifies.bit_count() > 0
            when: dict[int, float] = {}
            for to in self._alive:
                yes = [
                    at
                    for who, at in self._arrivals(certs, to).items()
                    if certs.certifies >> who & 1
                ]
                no = [
                    at
                    for who, at in self._arrivals(votes, to).items()
                    if not votes.votes >> who & 1
                ]
                skipped = (
                    self._nth(no)
                    if leader in self._made[slot].at
                    else self._nth(list(self._arrivals(votes, to).values()))
                )
                when[to] = min(self._nth(yes), skipped)
                if when[to] == NEVER and len(found) >= 3:
                    when[to] = found[-3][1][to]  # by its anchor, three slots on
            found.append((commits, when))
        found.reverse()
        return found

    def _history(self, slot: int) -> list[int]:
        """Masks of authors in the history of the leader's block of `slot`, by rounds below it."""
        masks = [1 << self._leader(slot)]
        for depth in range(1, min(DEPTH, slot - 1) + 1):
            above = self._made[slot - depth + 1]
            mask = masks[-1]  # everybody's blocks are a chain
            for author, parents in above.parents.items():
                if masks[-1] >> author & 1:
                    mask |= parents
            if depth >= 2:
                for author, late in self._made[slot - depth + 2].late.items():
                    if masks[-2] >> author & 1:
                        mask |= late
            masks.append(mask)
        return masks


def scheduled(
    matrix: Matrix,
    crashed: Sequence[int],
    parameters: Parameters,
    committee: Committee,
    rounds: int,
) -> Schedule:
    def leader(round_: int) -> int:
        return committee.leader(Round(round_))

    return Schedule(matrix, crashed, parameters, leader, rounds)

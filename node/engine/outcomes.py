"""What became of each leader slot, and how long each member's blocks take to be ordered: told from commits, outside the core.

A commit says more than its order. Slots between the commit before and this one were skipped; its `deciders` are the blocks that
decided all of them (consensus.commit_rule.deciders), and their rounds tell how:

    slot r skipped directly      a quorum of blocks of round r+1, without the leader among their parents
    slot r committed directly    a quorum of blocks of round r+2, certificates
    neither among the deciders   indirectly, by the anchor: the deciders from round r+3 on lead to it
    no deciders at all           the commit was taken over on a quorum's certificate (SPEC 11): how is not known here

So a skipped leader is counted against its member whoever asks, and blocks of one member that take longer than the others' show
that somebody keeps them out.
"""

import json
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from typing import Any, Final

from consensus.committee import Committee
from consensus.events import CommitDecided
from consensus.types import Block, CommitIndex, CommitRecord, Ref, Round, ValidatorIndex
from node.engine.figures import MemberFigures
from node.telemetry import Metrics

RECENT: Final = 64  # blocks of each member whose time to order is remembered for `figures_of`
SEEN_MAX: Final = 16_384  # blocks that wait to be ordered; at 195 members some 84 rounds of them
SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
MIB: Final = 1024 * 1024
TAIL_BYTES: Final = MIB  # longer than any line


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One leader slot. `commit` is the commit that made it known."""

    round: Round
    author: ValidatorIndex
    block: Ref | None  # None: skipped
    direct: bool
    commit: CommitIndex
    deciders: tuple[Ref, ...]
    certified: bool = False

    @property
    def decision(self) -> str:
        return "skip" if self.block is None else "commit"

    @property
    def how(self) -> str:
        if self.certified:
            return "certified"
        return "direct" if self.direct else "indirect"


def outcomes_of(
    committee: Committee,
    after: Round,
    record: CommitRecord,
    block_of: Callable[[Ref], Block | None],
) -> list[Outcome]:
    """Every slot above `after`, the leader round of the commit before, up to this commit's own; ascending by round."""
    commit = record.commit
    by_round: dict[int, list[Ref]] = {}
    for ref in record.deciders:
        by_round.setdefault(ref.round, []).append(ref)
    found: list[Outcome] = []
    for number in range(after + 1, commit.leader.round + 1):
        round_ = Round(number)
        is_commit = number == commit.leader.round
        named = by_round.get(number + (2 if is_commit else 1), [])
        direct = len(named) >= committee.quorum
        if is_commit and direct and not _is_sure(found, number):
            direct = _certify(committee, commit.leader, named, block_of)
        later = [ref for ref in record.deciders if ref.round >= number + 3]
        found.append(
            Outcome(
                round=round_,
                author=commit.leader.author if is_commit else committee.leader(round_),
                block=commit.leader if is_commit else None,
                direct=direct,
                commit=commit.index,
                deciders=tuple(named if direct else later),
                certified=not record.deciders,
            )
        )
    return found


def _is_sure(skipped: Sequence[Outcome], leader_round: int) -> bool:
    """Whether blocks two rounds above the leader can only be its certificates.

    A slot two rounds below that was skipped indirectly may hang on the slot behind the leader, whose blames have that round too.
    """
    return all(slot.direct for slot in skipped if slot.round == leader_round - 2)


def _certify(
    committee: Committee,
    leader: Ref,
    refs: Iterable[Ref],
    block_of: Callable[[Ref], Block | None],
) -> bool:
    """SPEC 6.2: whether a quorum of authors among these have a quorum of parents that vote for the leader."""
    votes: dict[Ref, bool] = {}
    certifiers: set[ValidatorIndex] = set()
    for ref in refs:
        block = block_of(ref)
        if block is None:
            continue
        voters: set[ValidatorIndex] = set()
        for parent in block.header.parents:
            if parent.round != leader.round + 1:
                continue
            if parent not in votes:
                held = block_of(parent)
                votes[parent] = held is not None and leader in held.header.parents
            if votes[parent]:
                voters.add(parent.author)
        if len(voters) >= committee.quorum:
            certifiers.add(ref.author)
    return len(certifiers) >= committee.quorum


class DecisionLog:
    """Leader decisions as JSON lines, for a second implementation to check. Raises OSError where the file cannot be written.

    One line a slot, ascending, with slot (round), leader (state), member (index), decision (commit, skip), how (direct, indirect,
    certified), block (digest in hex or null), commit (index), deciders ([round, member, digest in hex], ...). After a restart the
    newest slots may come again. A file of `bytes_max` becomes FILE.1, which replaces the one before.
    """

    def __init__(self, path: Path, states: Sequence[str], bytes_max: int = 64 * MIB) -> None:
        self._path = path
        self._states = states
        self._bytes_max = bytes_max
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BufferedWriter = path.open("ab")
        _cut_torn_line(path)

    def write(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self._file.write(json.dumps(self._line(outcome)).encode() + b"\n")
        self._file.flush()
        if self._file.tell() >= self._bytes_max:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("ab")

    def close(self) -> None:
        self._file.close()

    def _line(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "slot": outcome.round,
            "leader": self._states[outcome.author],
            "member": outcome.author,
            "decision": outcome.decision,
            "how": outcome.how,
            "block": None if outcome.block is None else outcome.block.digest.hex(),
            "commit": outcome.commit,
            "deciders": [[ref.round, ref.author, ref.digest.hex()] for ref in outcome.deciders],
        }


def _cut_torn_line(path: Path) -> None:
    """A process that was killed, or a full disk, may leave half a line at the end."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - TAIL_BYTES)
        file.seek(start)
        file.truncate(start + file.read().rfind(b"\n") + 1)


class Outcomes:
    """Told of blocks seen and of commits, in order; keeps the metrics and the decision log."""

    def __init__(
        self,
        *,
        committee: Committee,
        states: Sequence[str],
        metrics: Metrics,
        block_of: Callable[[Ref], Block | None],
        log: DecisionLog | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._committee = committee
        self._states = states
        self._block_of = block_of
        self._log = log
        self._clock = clock
        self._after = Round(0)
        self._seen: OrderedDict[Ref, float] = OrderedDict()
        self._ordered_round = [Round(0)] * committee.size
        self._leads = [[0, 0] for _ in states]  # committed, skipped
        self._took: list[deque[float]] = [deque(maxlen=RECENT) for _ in states]  # seconds
        self._leaders = metrics.counter(
            "foedus_leader_slots",
            "Leader slots decided, by the leader's state, decision (commit, skip) and how (direct, indirect, certified).",
            ("state", "decision", "how"),
        )
        self._ordered = metrics.histogram(
            "foedus_block_ordered_seconds",
            "From when a member's block was first seen here (the own one: made) until it was ordered.",
            ("state",),
            SECONDS,
        )
        newest = metrics.gauge(
            "foedus_ordered_round",
            "Round of the newest block of a member that is ordered.",
            ("state",),
        )
        self._newest = [newest.labels(state) for state in states]

    def restored(self, last: CommitRecord | None) -> None:
        """The newest commit that was here before the start."""
        self._after = Round(0) if last is None else last.commit.leader.round

    def saw(self, refs: Iterable[Ref]) -> None:
        """Blocks that are here now; only the first time of each counts."""
        now = self._clock()
        for ref in refs:
            if ref.round > self._ordered_round[ref.author]:
                self._seen.setdefault(ref, now)
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)

    def committed(self, decided: CommitDecided) -> None:
        """Raises OSError from the decision log."""
        found = outcomes_of(self._committee, self._after, decided.record, self._block_of)
        self._after = decided.record.commit.leader.round
        for outcome in found:
            state = self._states[outcome.author]
            self._leaders.labels(state, outcome.decision, outcome.how).inc()
            self._leads[outcome.author][outcome.block is None] += 1
        now = self._clock()
        for ref in decided.record.commit.blocks:
            seen = self._seen.pop(ref, None)
            if seen is not None:
                self._ordered.labels(self._states[ref.author]).observe(now - seen)
                self._took[ref.author].append(now - seen)
            if ref.round > self._ordered_round[ref.author]:
                self._ordered_round[ref.author] = ref.round
                self._newest[ref.author].set(ref.round)
        if self._log is not None:
            self._log.write(found)

    def figures_of(self, member: int) -> MemberFigures:
        """What commits told of this member; the other fields are not known here."""
        committed, skipped = self._leads[member]
        took = sorted(self._took[member])
        return MemberFigures(
            state=self._states[member],
            leads_committed=committed,
            leads_skipped=skipped,
            ordered_round=self._ordered_round[member],
            ordered_p50_ms=round(1000 * took[len(took) // 2]) if took else 0,
            ordered_max_ms=round(1000 * took[-1]) if took else 0,
        )

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

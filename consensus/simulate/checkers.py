"""What must hold at every moment of a run, judged from outside.

Nothing here calls the code under test: orders, medians, floors and digests are computed again, the plain way, from the
blocks themselves. A checker that shared code with the core would share its mistakes. Of `consensus.types` it reads values.

    one history         every commit an honest node decides is the one that any other decided under that index, also after a
                        restart: logs are prefixes of one another, a decision never changes
    right history       the first time a commit is seen: leader of its round, order, floor, time, digest and chain as SPEC 8
                        says; no block committed twice; the leader is certified by some block (SPEC 6.2)
    one signature       an honest node's blocks that were stored or shown: one per round
    no false alarm      no honest node is accused or rejected, and nobody sees more than f faults
    bounded tables      what a core holds keeps below a bound of its committee, not of its age
"""

import hashlib
import struct
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from consensus.events import Accuse, Alarm, CommitDecided, Reject, Trouble
from consensus.types import Block, Commit, Ref


class Violation(AssertionError):
    """A run broke a promise of the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What every checker may take as given about a cluster."""

    size: int
    byzantine: frozenset[int]
    chain_id: bytes
    epoch: int
    committee_hash: bytes
    genesis_time_ms: int
    gc_depth: int
    leaders: tuple[int, ...]  # of round r: leaders[r mod n]
    # The last commit of the epoch before this one.
    previous_index: int = 0
    previous_digest: bytes = bytes(32)
    previous_time_ms: int = 0

    @property
    def quorum(self) -> int:
        return self.size - (self.size - 1) // 3


class History:
    """The one log of all honest nodes, and how far each is in it."""

    def __init__(self, facts: Facts, made: Mapping[int, Sequence[Block]]) -> None:
        self._facts = facts
        self._made = made  # all blocks of the run, by round
        self._leaders = facts.leaders
        self.commits: list[Commit] = []
        self.heights: dict[int, int] = {}  # node -> last commit index it decided
        self._blocks: dict[Ref, Block] = {}  # committed
        self.included: dict[int, int] = {}  # author -> highest round committed

    def restarted(self, node: int, height: int) -> None:
        """`node` goes on from what its store kept; it may decide the lost ones again."""
        if height > self.heights.get(node, self._facts.previous_index):
            raise Violation(f"node {node}: restarts at commit {height}, never decided")
        self.heights[node] = height

    def committed(self, node: int, effect: CommitDecided) -> None:
        commit = effect.record.commit
        height = self.heights.get(node, self._facts.previous_index)
        if commit.index != height + 1:
            raise Violation(f"node {node}: commit {commit.index} after commit {height}")
        if tuple(block.ref for block in effect.blocks) != commit.blocks:
            raise Violation(f"node {node}: commit {commit.index} hands on other blocks than named")
        at = commit.index - self._facts.previous_index - 1
        if at >= len(self.commits):
            self._first_seen(commit, effect.blocks)
            self.commits.append(commit)
        elif commit != self.commits[at]:
            known = self.commits[at]
            raise Violation(
                f"node {node}: commit {commit.index} is {_name(commit.leader)} with "
                f"{len(commit.blocks)} blocks, elsewhere {_name(known.leader)} with {len(known.blocks)}"
            )
        self.heights[node] = commit.index

    def _first_seen(self, commit: Commit, blocks: Sequence[Block]) -> None:
        before = self.commits[-1] if self.commits else None
        where = f"commit {commit.index} ({_name(commit.leader)})"
        if commit.prev_digest != (before.digest if before else self._facts.previous_digest):
            raise Violation(f"{where}: does not chain to the commit before")
        if before is not None and commit.leader.round <= before.leader.round:
            raise Violation(f"{where}: not above leader {_name(before.leader)}")
        if commit.leader.author != self._leaders[commit.leader.round % self._facts.size]:
            raise Violation(f"{where}: its author does not lead that round")
        if commit.digest != digest_of(commit, self._facts):
            raise Violation(f"{where}: its digest does not cover its fields")
        self._certified(commit, where)
        floor = max(0, before.leader.round - self._facts.gc_depth) if before else 0
        expected = self._history_of(commit.leader, floor)
        if list(commit.blocks) != expected:
            raise Violation(
                f"{where}: blocks {_names(commit.blocks)}, its history above round {floor} is "
                f"{_names(expected)}"
            )
        for block in blocks:
            self._blocks[block.ref] = block
            author = block.ref.author
            self.included[author] = max(self.included.get(author, 0), block.ref.round)
        self._timed(commit, before, where)

    def _history_of(self, leader: Ref, floor: int) -> list[Ref]:
        found: dict[Ref, None] = {}
        waiting = [leader]
        while waiting:
            ref = waiting.pop()
            if ref in found or ref in self._blocks or ref.round <= floor or ref.round == 0:
                continue
            found[ref] = None
            waiting.extend(self._made_block(ref).header.parents)
        return sorted(found, key=lambda ref: (ref.round, ref.author, ref.digest))

    def _made_block(self, ref: Ref) -> Block:
        for block in self._made.get(ref.round, ()):
            if block.ref == ref:
                return block
        raise Violation(f"{_name(ref)}: part of a history, but nobody made it")

    def _timed(self, commit: Commit, before: Commit | None, where: str) -> None:
        leader = self._made_block(commit.leader)
        times = sorted(
            self._made_block(parent).header.time_ms if parent.round else self._facts.genesis_time_ms
            for parent in leader.header.parents
            if parent.round == commit.leader.round - 1
        )
        median = next(time for at, time in enumerate(times, 1) if 2 * at > len(times))
        least = before.time_ms if before else self._facts.previous_time_ms
        if commit.time_ms != max(median, least):
            raise Violation(
                f"{where}: time {commit.time_ms}, median {median} after {least} of {times}"
            )

    def _certified(self, commit: Commit, where: str) -> None:
        """However a leader was decided, some block certifies it (SPEC 6.3, 6.4)."""
        if self.certifiers(commit.leader) < 1:
            raise Violation(f"{where}: no block certifies it")

    def certifiers(self, leader: Ref) -> int:
        """Authors with a block, known to anybody at all, that certifies `leader`."""
        voters = {
            block.ref: block.ref.author
            for block in self._made.get(leader.round + 1, ())
            if leader in block.header.parents
        }
        return len(
            {
                block.ref.author
                for block in self._made.get(leader.round + 2, ())
                if len({voters[parent] for parent in block.header.parents if parent in voters})
                >= self._facts.quorum
            }
        )

    def skips_were_right(self) -> None:
        """No slot that the log passed over could have been committed directly by anybody."""
        led = {int(commit.leader.round): commit.leader for commit in self.commits}
        top = self.commits[-1].leader.round if self.commits else 0
        for round_ in range(1, top):
            leader = self._leaders[round_ % self._facts.size]
            for block in self._made.get(round_, ()):
                if block.ref.author != leader or led.get(round_) == block.ref:
                    continue
                count = self.certifiers(block.ref)
                if count >= self._facts.quorum:
                    raise Violation(f"{_name(block.ref)}: {count} certify it, the log passed over")


class Conduct:
    """What honest nodes sign and say of one another."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._signed: dict[tuple[int, int], Ref] = {}
        self.accused: set[int] = set()
        self.contradictions = 0

    def signed(self, node: int, ref: Ref) -> bool:
        """`node` keeps or shows this block of its own; whether for the first time."""
        if ref.author != node:
            raise Violation(f"node {node}: signs {_name(ref)}, another's")
        known = self._signed.setdefault((node, ref.round), ref)
        if known != ref:
            raise Violation(f"node {node}: signed both {_name(known)} and {_name(ref)}")
        return known is ref

    def said(self, node: int, effect: Reject | Accuse | Alarm) -> None:
        match effect:
            case Reject():
                if effect.peer not in self._facts.byzantine:
                    raise Violation(
                        f"node {node}: rejects honest {effect.peer}: {effect.fault.name}, {effect.detail}"
                    )
            case Accuse():
                proof = effect.proof
                if proof.author not in self._facts.byzantine or proof.digest1 == proof.digest2:
                    raise Violation(f"node {node}: accuses {proof.author} of round {proof.round}")
                self.accused.add(proof.author)
            case Alarm():
                liars = bool(self._facts.byzantine)
                if effect.trouble is not Trouble.VOTE_CONTRADICTS or not liars:
                    raise Violation(f"node {node}: {effect.trouble.name}: {effect.detail}")
                self.contradictions += 1


# --- the tables of a core -----------------------------------------------------------------------------------------------


def table_sizes(thing: object, name: str = "core", depth: int = 6) -> dict[str, int]:
    """How many items each container holds that is reachable through attributes of objects of the room `consensus`.

    By attribute name, nested containers added up: a table of lists counts the lists' items.
    """
    sizes: dict[str, int] = {}
    for attribute, value in _attributes(thing):
        path = f"{name}.{attribute}"
        if isinstance(value, dict | list | set | frozenset | deque):
            sizes[path] = _count(value)
            inner = value.values() if isinstance(value, dict) else value
            for each in inner:
                if depth and _ours(each):
                    for key, size in table_sizes(each, path, depth - 1).items():
                        sizes[key] = sizes.get(key, 0) + size
        elif depth and _ours(value):
            sizes.update(table_sizes(value, path, depth - 1))
    return sizes


def _attributes(thing: object) -> Iterable[tuple[str, object]]:
    names = dict.fromkeys(getattr(thing, "__dict__", ()))
    for kind in type(thing).__mro__:
        slots = getattr(kind, "__slots__", ())
        names.update(dict.fromkeys((slots,) if isinstance(slots, str) else slots))
    for name in names:
        if hasattr(thing, name):
            yield name, getattr(thing, name)


def _ours(value: object) -> bool:
    """Objects that hold state; frozen values (blocks, events) are counted where they are kept, not walked."""
    kind = type(value)
    frozen = getattr(getattr(kind, "__dataclass_params__", None), "frozen", False)
    return kind.__module__.startswith("consensus.") and not frozen and not isinstance(value, tuple)


def _count(container: Iterable[object]) -> int:
    items = list(container.values() if isinstance(container, dict) else container)
    nested = [each for each in items if isinstance(each, dict | list | set)]
    return len(items) - len(nested) + sum(_count(each) + 1 for each in nested)


# --- the rules again, the plain way -------------------------------------------------------------------------------------


def leader_order(seed: bytes, size: int) -> tuple[int, ...]:
    """RULINGS R11, R7."""
    return tuple(
        sorted(range(size), key=lambda index: _hash("leader/1", seed + index.to_bytes(2, "big")))
    )


def digest_of(commit: Commit, facts: Facts) -> bytes:
    """RULINGS R21, R8."""
    parts = [struct.pack(">IQ", facts.epoch, commit.index), commit.prev_digest, _ref(commit.leader)]
    parts += [struct.pack(">I", len(commit.blocks)), *map(_ref, commit.blocks)]
    parts += [struct.pack(">Q", commit.time_ms), facts.committee_hash]
    return _hash("commit/1", b"".join(parts))


def _ref(ref: Ref) -> bytes:
    return struct.pack(">IH", ref.round, ref.author) + ref.digest


def _hash(label: str, message: bytes) -> bytes:
    return hashlib.sha256(bytes([len(label)]) + label.encode() + message).digest()


def _name(ref: Ref) -> str:
    return f"{ref.round}.{ref.author}.{ref.digest.hex()[:8]}"


def _names(refs: Sequence[Ref]) -> str:
    return "[" + " ".join(map(_name, refs)) + "]"

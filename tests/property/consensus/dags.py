"""Random histories that some run could have left: valid blocks, at most f equivocators, and what different members saw of them.

One generator, two sources of chance: a seeded one for many large histories, and Hypothesis's for few small ones that shrink.
Every block obeys SPEC 3. Nothing else is assumed of anybody, so links are missing, late and split far more than honest members
would have it; only *honest* members make one block a round.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, TypeVar

from hypothesis import strategies as st

from consensus.committee import Committee
from consensus.types import Block, Ref
from tests.property.consensus.naive import Name, Node
from tests.unit.consensus.blocks import GENESIS_MS, block, committee_of

T = TypeVar("T")


class Chance(Protocol):
    def number(self, low: int, high: int) -> int:
        """From `low` to `high`, both included. Low is plain: small histories come from low numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Seeded:
    random: Random

    def number(self, low: int, high: int) -> int:
        return self.random.randint(low, high)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Hypothesis decides."""

    draw: st.DrawFn

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a round goes wrong; of a hundred."""

    silence: int  # a member makes no block in a round (as long as a quorum does)
    loss: int  # a link to the round before is left out (as long as a quorum is linked)
    leader_loss: int  # and the same for the link to that round's leader
    slow_loss: int  # and for the link to a member that is slow for the whole history
    late: int  # what is left out is linked at an older round instead


GOOD = Habits(silence=0, loss=0, leader_loss=0, slow_loss=0, late=0)


@dataclass(kw_only=True)
class Dag:
    """All blocks ever made, every parent before its child."""

    committee: Committee
    equivocators: frozenset[int]
    slow: int  # what it alone knows is the test of SPEC 6.4: nothing outside an anchor's history may count
    habits: Habits  # of the present round
    blocks: list[Block] = field(default_factory=list)
    variants: dict[tuple[int, int], list[Ref]] = field(default_factory=dict)  # by (round, author)

    def linkable(self, round_: int, author: int) -> Sequence[Ref]:
        if round_ == 0:
            return [self.committee.genesis[author]]
        return self.variants.get((round_, author), [])

    def newest(self, below: int, author: int) -> int:
        """The last round before `below` with a block of this author."""
        return next(r for r in range(below - 1, -1, -1) if self.linkable(r, author))


def random_dag(chance: Chance, *, sizes: tuple[int, int], rounds: tuple[int, int]) -> Dag:
    # Few members often: there one block more or less decides.
    size = min(chance.number(*sizes), chance.number(*sizes))
    committee = committee_of(size)
    cheats = chance.number(0, committee.faults)
    dag = Dag(
        committee=committee,
        # Anybody may cheat; which ones matters, as leaders take turns.
        equivocators=frozenset(shuffled(chance, range(size))[:cheats]),
        slow=chance.number(0, size - 1),
        habits=GOOD,
    )
    bad = Habits(
        silence=pick(chance, (0, 10, 40)),
        loss=pick(chance, (0, 15, 50, 90)),
        leader_loss=pick(chance, (0, 15, 30, 50, 70)),
        slow_loss=pick(chance, (0, 50, 90)),
        late=pick(chance, (0, 30)),
    )
    # Bad patches between good ones: an indirect decision needs a slot in doubt and then an anchor that is not.
    patches = pick(chance, (20, 50, 100))
    for round_ in range(1, chance.number(*rounds) + 1):
        dag.habits = bad if happens(chance, patches) else GOOD
        silent = [a for a in range(size) if happens(chance, dag.habits.silence)]
        silent = shuffled(chance, silent)[: committee.faults]
        for author in range(size):
            if author not in silent:
                add_blocks(chance, dag, author, round_)
    return dag


def add_blocks(chance: Chance, dag: Dag, author: int, round_: int) -> None:
    count = chance.number(1, 3) if author in dag.equivocators else 1
    for variant in range(count):
        made = block(
            dag.committee,
            author,
            round_,
            random_parents(chance, dag, author, round_),
            payload=(b"%d" % variant,),
            time_ms=GENESIS_MS + 1_000 * round_ + chance.number(0, 3_000),
        )
        dag.blocks.append(made)
        dag.variants.setdefault((round_, author), []).append(made.ref)


def random_parents(chance: Chance, dag: Dag, author: int, round_: int) -> tuple[Ref, ...]:
    """SPEC 3.2 to 3.4: own block first, then at most one a member, ascending; a quorum of them of the round before."""
    below = round_ - 1
    own = pick(chance, dag.linkable(dag.newest(round_, author), author))
    present = [a for a in range(dag.committee.size) if a != author and dag.linkable(below, a)]
    leader = dag.committee.leaders[below % dag.committee.size]
    losses = {dag.slow: dag.habits.slow_loss, leader: dag.habits.leader_loss}
    kept = [a for a in present if not happens(chance, losses.get(a, dag.habits.loss))]
    # Who is left out is taken back in until there is a quorum; these two last, as their absence is the interesting case.
    needed = dag.committee.quorum - (1 if own.round == below else 0)
    for a in [*(a for a in shuffled(chance, present) if a not in losses), leader, dag.slow]:
        if len(kept) < needed and a in present and a not in kept:
            kept.append(a)
    links = {a: pick(chance, dag.linkable(below, a)) for a in kept}
    for a in range(dag.committee.size):
        if a != author and a not in links and round_ > 1 and happens(chance, dag.habits.late):
            links[a] = pick(chance, dag.linkable(dag.newest(below, a), a))
    return (own, *(links[a] for a in sorted(links)))


def random_view(chance: Chance, dag: Dag) -> list[Block]:
    """What one member may know: some blocks and all below them, in an order in which they may have come."""
    by_ref = {made.ref: made for made in dag.blocks}
    share = pick(chance, (100, 90, 60, 30))
    tips = [made.ref for made in dag.blocks if happens(chance, share)]
    known = closure(by_ref, tips)
    order: list[Block] = []
    arrived: set[Ref] = set()
    # Each pass takes what can be taken and puts some of it off: orders differ within a few rounds, as they do in life.
    waiting = [made for made in dag.blocks if made.ref in known]
    while waiting:
        rest = []
        for made in waiting:
            ready = all(p.round == 0 or p in arrived for p in made.header.parents)
            if ready and (made is waiting[0] or not happens(chance, 20)):
                order.append(made)
                arrived.add(made.ref)
            else:
                rest.append(made)
        waiting = rest
    return order


def closure(by_ref: Mapping[Ref, Block], tips: Iterable[Ref]) -> set[Ref]:
    known: set[Ref] = set()
    waiting = list(tips)
    while waiting:
        at = waiting.pop()
        if at.round > 0 and at not in known:
            known.add(at)
            waiting.extend(by_ref[at].header.parents)
    return known


def naive_view(blocks: Iterable[Block]) -> dict[Name, Node]:
    return {
        Name(*made.ref): Node(
            name=Name(*made.ref),
            parents=tuple(Name(*parent) for parent in made.header.parents),
            time_ms=made.header.time_ms,
        )
        for made in blocks
    }


def happens(chance: Chance, of_a_hundred: int) -> bool:
    """Never asks when the answer is known: fewer numbers, better shrinking."""
    if of_a_hundred in (0, 100):
        return of_a_hundred == 100
    return chance.number(0, 99) >= 100 - of_a_hundred


def pick(chance: Chance, choices: Sequence[T]) -> T:
    return choices[0] if len(choices) == 1 else choices[chance.number(0, len(choices) - 1)]


def shuffled(chance: Chance, items: Iterable[T]) -> list[T]:
    rest = list(items)
    return [
        rest.pop(chance.number(0, len(rest) - 1) if len(rest) > 1 else 0) for _ in range(len(rest))
    ]


@st.composite
def small_dags(draw: st.DrawFn) -> tuple[Dag, list[list[Block]]]:
    """A history of at most 7 members and 8 rounds, and two views of it."""
    chance = Drawn(draw)
    dag = random_dag(chance, sizes=(4, 7), rounds=(3, 8))
    return dag, [random_view(chance, dag) for _ in range(2)]

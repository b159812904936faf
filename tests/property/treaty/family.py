"""What all state machines over the treaty share: votes, contradictions, restarts, stillstands, time, and talk of any kind."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from foedus.v1 import content_pb2 as pb
from tests.property.treaty.invariants import Watch
from tests.property.treaty.naive import DAY, HOUR
from tests.property.treaty.world import World

CHOICES = st.sampled_from((pb.CHOICE_YES, pb.CHOICE_YES, pb.CHOICE_NO, pb.CHOICE_ABSTAIN))
PICK = st.integers(0, 1 << 16)
PARAMS = st.sampled_from(("t1_flop", "t1_params", "oversight_bp", "frontier_flop", "meeting"))
RUNS = st.sampled_from(("r0", "r1", "r2"))
OPERATOR = st.sampled_from(("acme", "acme", "beta", "gamma"))
SITES = st.sampled_from(("dc0", "dc1"))
PRESENCE = st.sampled_from((pb.PRESENCE_ABSENT,) * 4 + (pb.PRESENCE_PRESENT, pb.PRESENCE_UNKNOWN))


class Family(RuleBasedStateMachine):
    """What every family shares."""

    anchored = False
    members_max = 40

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None

    @initialize(
        members=st.sampled_from((4, 5, 6, 7, 9, 13, 21, 40)),
        hostile=st.integers(0, 9),
        turn=st.integers(0, 39),
    )
    def found(self, members: int, hostile: int, turn: int) -> None:
        members = min(members, self.members_max)
        self.world = World(members, hostile, turn, anchored=self.anchored)
        self.watch = Watch(self.world)
        self.prepare(self.world)
        self.watch.look()

    def prepare(self, world: World) -> None:
        """What the family's histories begin with."""

    def state(self, pick: int) -> str:
        assert self.world is not None
        return self.world.states[pick % len(self.world.states)]

    def of(self, things: list[Any], pick: int) -> Any:
        return things[pick % len(things)] if things else None

    @rule(
        seconds=st.sampled_from(
            (1, 60, HOUR, HOUR, 12 * HOUR, DAY, 4 * DAY, 8 * DAY, 31 * DAY, 91 * DAY)
        )
    )
    def time_passes(self, seconds: int) -> None:
        assert self.world is not None
        self.world.pass_time(seconds)
        self.watch.look()

    @rule()
    def something_falls_due(self) -> None:
        assert self.world is not None
        due = self.world.law.next_due_s
        if due is not None:
            self.world.pass_time(max(0, due - self.world.law.book.now))
            self.watch.look()

    @rule(motion=st.integers(0, 5), choice=CHOICES)
    def a_motion_is_seen_through(self, motion: int, choice: Any) -> None:
        """All honest states vote alike, the hostile the other way, and its time goes by."""
        assert self.world is not None
        name = self.of(self.world.open_motions(), motion)
        if name is None:
            return
        other = pb.CHOICE_NO if choice == pb.CHOICE_YES else pb.CHOICE_YES
        self.world.poll(name, other, tuple(sorted(self.world.hostile)))
        self.world.poll(name, choice, self.world.honest)
        row = self.world.law.book.state.motions.get(name)
        if row is not None:
            self.world.pass_time(row.closes_at - self.world.law.book.now)
        self.watch.look()

    @rule(pick=PICK, motion=st.integers(0, 3), choice=CHOICES)
    def one_votes(self, pick: int, motion: int, choice: Any) -> None:
        assert self.world is not None
        name = self.of(self.world.open_motions(), motion)
        if name is not None:
            self.world.poll(name, choice, (self.state(pick),))
            self.watch.look()

    @rule(motion=st.integers(0, 5), choice=CHOICES, spared=st.integers(0, 3))
    def the_honest_vote(self, motion: int, choice: Any, spared: int) -> None:
        """All of them but a few."""
        assert self.world is not None
        name = self.of(self.world.open_motions(), motion)
        if name is not None:
            self.world.poll(name, choice, self.world.honest[spared if spared > 1 else 0 :])
            self.watch.look()

    @rule(motion=st.integers(0, 5), choice=CHOICES)
    def the_hostile_vote(self, motion: int, choice: Any) -> None:
        assert self.world is not None
        name = self.of(self.world.open_motions(), motion)
        if name is not None:
            self.world.poll(name, choice, tuple(sorted(self.world.hostile)))
            self.watch.look()

    @rule(pick=PICK, one=st.integers(0, 3), other=st.integers(0, 3))
    def a_state_contradicts_itself(self, pick: int, one: int, other: int) -> None:
        assert self.world is not None
        motions = self.world.open_motions()
        if motions and pick % 4 == 0:
            names = [self.of(motions, one), self.of(motions, other)]
            hostile = sorted(self.world.hostile) or [self.state(pick)]
            self.world.contradict(
                hostile[pick % len(hostile)], names, [pb.CHOICE_NO, pb.CHOICE_YES]
            )
            self.watch.look()

    @rule()
    def a_node_restarts(self) -> None:
        assert self.world is not None
        self.world.restart()

    @rule(seconds=st.sampled_from((300, 601, 2 * HOUR, 3 * DAY, 40 * DAY)), pick=PICK)
    def the_ledger_stands_still(self, seconds: int, pick: int) -> None:
        assert self.world is not None
        if pick % 4 == 0:
            self.world.stop(seconds)
            self.watch.look()

    @rule(seed=st.integers(0, 1 << 32), times=st.integers(1, 8))
    def anything_is_said(self, seed: int, times: int) -> None:
        assert self.world is not None
        for number in range(times):
            self.world.babble(seed + number)
        self.watch.look()

    @rule(pick=PICK)
    def cases_are_answered(self, pick: int) -> None:
        assert self.world is not None
        cases = sorted(
            (name, row.subject)
            for name, row in self.world.law.book.state.cases.items()
            if row.status == "RAISED"
        )
        found = self.of(cases, pick)
        if found is not None:
            note = pb.Note(type=pb.NOTE_TYPE_REPLY, about=found[0])
            self.world.say(found[1] if pick % 3 else self.state(pick), note)
            self.watch.look()

    def teardown(self) -> None:
        if self.world is not None:
            self.watch.finish()

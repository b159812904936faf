"""State machine of what follows a case, a sale, an end: explanations, remedies, changed owners, sealed models, leaving."""

from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import rule

from foedus.v1 import content_pb2 as pb
from tests.property.treaty.family import PICK, Family
from tests.property.treaty.naive import DAY
from tests.property.treaty.world import World

_ROLES: Final = {
    "operator": pb.PARTY_ROLE_OPERATOR,
    "evaluator": pb.PARTY_ROLE_EVALUATOR,
    "inspector": pb.PARTY_ROLE_INSPECTOR,
}


class Aftermath(Family):
    """Small sites whose reports are impossible, runs of two developers, and states that accuse."""

    anchored = True
    members_max = 13

    def prepare(self, world: World) -> None:
        for operator in ("acme", "beta"):
            world.own(operator, pb.Facility(facility="dc0", capacity_mh=1, mem_gb=1))
            for run in ("r0", "r1"):
                body = pb.Run(
                    run=run,
                    phase=pb.RUN_PHASE_PLAN,
                    model=run,
                    params_total=1,
                    pflop_plan=10**6,
                    code_hash=bytes(32) if run == "r0" else b"c" * 32,
                )
                world.own(operator, body)
                world.own(operator, pb.Run(run=run, phase=pb.RUN_PHASE_START))

    @rule(pick=PICK)
    def an_impossible_report(self, pick: int) -> None:
        assert self.world is not None
        now = self.world.law.book.now
        body = pb.Usage(
            facility="dc0",
            chip_type="H100",
            chips_on=1,
            chip_seconds=1,
            pflop_total=10**9,
            by_class=[pb.NamedAmount(name="infer", amount=10**9)],
        )
        self.world.own(("acme", "beta")[pick % 2], body, period=(now - 1 - pick % 900, now))
        self.watch.look()

    @rule(pick=PICK, many=st.integers(1, 13))
    def states_are_satisfied(self, pick: int, many: int) -> None:
        assert self.world is not None
        name = self.of(sorted(self.world.law.book.state.explanations), pick)
        if name is not None:
            note = pb.Note(type=pb.NOTE_TYPE_EXPLAINED, about=name)
            for state in self.world.states[:many]:
                self.world.say(state, note, period=(0, 1 + len(self.world.entries)))
            self.watch.look()

    @rule(pick=PICK, many=st.integers(3, 13))
    def a_report_is_explained(self, pick: int, many: int) -> None:
        """Reported, answered, drawn for, and heard by as many as that."""
        assert self.world is not None
        self.an_impossible_report(pick)
        for name, row in sorted(self.world.law.book.state.cases.items()):
            if row.status == "RAISED":
                self.world.say(row.subject, pb.Note(type=pb.NOTE_TYPE_REPLY, about=name))
        self.links_are_revealed(0)
        for number in range(len(self.world.law.book.state.explanations)):
            self.states_are_satisfied(number, many)

    @rule(pick=PICK)
    def a_case_is_upheld(self, pick: int) -> None:
        assert self.world is not None
        note = pb.Note(type=pb.NOTE_TYPE_EVIDENCE, about=self.state(pick), hash=bytes(32))
        author = self.state(pick + 1)
        self.world.say(author, note, period=(0, 1 + len(self.world.entries)))
        refs = self.world.known("note:evidence:")[-1:]
        period = (0, 1 + len(self.world.entries))
        self.world.say(author, pb.Breach(), refs=tuple(refs), period=period)
        for motion in self.world.open_motions()[:1]:
            self.world.poll(motion, pb.CHOICE_YES, self.world.states)
        self.world.pass_time(22 * DAY)
        self.watch.look()

    @rule(pick=PICK)
    def inspectors_confirm(self, pick: int) -> None:
        assert self.world is not None
        name = self.of(sorted(self.world.law.book.state.remedies), pick)
        if name is not None:
            note = pb.Note(type=pb.NOTE_TYPE_REMEDY, about=name, hash=bytes(32))
            pairs = (("insp-gb", "insp-ke"), ("insp-ke", "insp-cn"), ("insp-us", "insp-gb"))
            author, other = pairs[pick % 3]
            self.world.say(author, note, by=(other,), period=(0, 1 + len(self.world.entries)))
            self.watch.look()

    @rule(pick=PICK, owner=PICK, none=st.booleans())
    def owners_change(self, pick: int, owner: int, none: bool) -> None:
        assert self.world is not None
        parties = self.world.law.book.state.parties
        sold = self.of([name for name in sorted(parties) if parties[name].role in _ROLES], pick)
        buyer = self.of([name for name in sorted(parties) if parties[name].role in _ROLES], owner)
        row = parties[sold]
        body = pb.Identity(
            party=sold, role=_ROLES[row.role], state=row.state, owners=[] if none else [buyer]
        )
        self.world.say(row.state, body, period=(0, 1 + len(self.world.entries)))
        self.watch.look()

    @rule(pick=PICK, done=st.sampled_from((10**6, 6 * 10**8)), ends=st.booleans())
    def work_is_reported(self, pick: int, done: int, ends: bool) -> None:
        assert self.world is not None
        phase = pb.RUN_PHASE_END if ends else pb.RUN_PHASE_PROGRESS
        body = pb.Run(run=f"r{pick % 2}", phase=phase, pflop_done=done)
        operator = ("acme", "beta")[pick // 2 % 2]
        self.world.own(operator, body, period=(0, 1 + len(self.world.entries)))
        self.watch.look()

    @rule(pick=PICK)
    def a_model_is_sealed_or_evaluated(self, pick: int) -> None:
        assert self.world is not None
        operator, run = ("acme", "beta")[pick % 2], f"r{pick // 2 % 2}"
        if pick % 3:
            evaluator = ("eval-gb", "eval-ke", "eval-cn")[pick % 3]
            self.world.evaluate(f"{operator}/{run}", evaluator, 7_000, pb.PRESENCE_ABSENT)
        else:
            note = pb.Note(type=pb.NOTE_TYPE_SEAL, about=run, hash=bytes(32))
            self.world.own(operator, note, period=(0, 1 + len(self.world.entries)))
        self.watch.look()

    @rule(pick=PICK)
    def a_state_leaves(self, pick: int) -> None:
        assert self.world is not None
        if pick % 5 == 0:
            state = ("US", "CN")[pick % 2]
            body = pb.Instrument(type=pb.INSTRUMENT_TYPE_WITHDRAW)
            self.world.say(state, body, period=(0, 1 + len(self.world.entries)))
            self.world.pass_time(366 * DAY if pick % 2 else DAY)
            self.watch.look()

    @rule(silent=st.integers(0, 3))
    def links_are_revealed(self, silent: int) -> None:
        assert self.world is not None
        for state in self.world.states[silent:]:
            self.world.reveal(state)
        self.watch.look()

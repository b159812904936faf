"""State machines over random histories: one a family of rules, all watched for every invariant (MODEL 12).

Members 4 to 40, hostile ones up to k. Each machine mixes what its family may say, sensible often enough to get far, with what all
share: votes of single states and of all honest ones, contradictions, restarts, stillstands, and time.

    python -m tests.property.treaty.machines --budget 600 [--seed 1] [--family Governance]

hunts that many seconds with fresh seeds, and prints a history that breaks an invariant, shrunk.
"""

import argparse
import random
import sys
import time
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

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


class Governance(Family):
    """Policy, emergencies, verdicts, suspensions, appointments, inspections."""

    def prepare(self, world: World) -> None:
        site = pb.Facility(facility="dc0", capacity_mh=1, mem_gb=1)
        world.own("acme", site)
        for run in ("r0", "r1"):
            body = pb.Run(
                run=run,
                phase=pb.RUN_PHASE_PLAN,
                model=run,
                params_total=1,
                pflop_plan=1_000,
                sites=["dc0"],
            )
            world.own("acme", body)
            world.own("acme", pb.Run(run=run, phase=pb.RUN_PHASE_START))

    def signed(self, pick: int, count: int) -> tuple[str, tuple[str, ...]]:
        assert self.world is not None
        author = self.state(pick)
        return author, self.world.by_many(author, count)

    def file(self, pick: int, body: Any, count: int, refs: tuple[bytes, ...] = ()) -> None:
        """Filed by a state with `count` others. Equal contents of two filings differ in their period."""
        assert self.world is not None
        author, others = self.signed(pick, count)
        period = (0, 1 + len(self.world.entries))
        self.world.say(author, body, by=others, refs=refs, period=period)
        self.watch.look()

    @rule(
        pick=PICK, param=PARAMS, tenths=st.sampled_from((5, 9, 10, 11, 12)), count=st.integers(0, 3)
    )
    def amend(self, pick: int, param: str, tenths: int, count: int) -> None:
        assert self.world is not None
        value = self.world.law.book.value(param) * tenths // 10
        self.file(pick, pb.Amend(param=param, value=value), count)

    @rule(
        pick=PICK,
        param=PARAMS,
        tenths=st.sampled_from((9, 10, 11)),
        days=st.sampled_from((5, 100, 400)),
    )
    def amend_by_schedule(self, pick: int, param: str, tenths: int, days: int) -> None:
        assert self.world is not None
        now, value = self.world.law.book.now, self.world.law.book.value(param)
        points = [
            pb.SchedulePoint(t_from=now, value=value),
            pb.SchedulePoint(t_from=now + days * DAY, value=value * tenths // 10),
        ]
        self.file(pick, pb.Amend(param=param, schedule=points), 2)

    @rule(pick=PICK, param=PARAMS, per=st.sampled_from((0, 100, 200, 300)))
    def amend_by_generator(self, pick: int, param: str, per: int) -> None:
        assert self.world is not None
        now, value = self.world.law.book.now, self.world.law.book.value(param)
        form = pb.Generator(
            t0=now,
            v0=value,
            step=0,
            mul_ppm=1_000_000 - per,
            every_s=30 * DAY,
            clamp_lo=0,
            clamp_hi=value,
        )
        self.file(pick, pb.Amend(param=param, generator=form), 2)

    @rule(pick=PICK, param=PARAMS, days=st.sampled_from((0, 30, 91)), grave=st.booleans())
    def a_loosening_goes_its_way(self, pick: int, param: str, days: int, grave: bool) -> None:
        """By a tenth, wanted by all, and some time after it; perhaps a run does meanwhile what it may not."""
        assert self.world is not None
        value = self.world.law.book.value(param)
        tenths = 9 if param == "oversight_bp" else 11
        self.file(pick, pb.Amend(param=param, value=value * tenths // 10), 2)
        for name in self.world.open_motions()[:1]:
            self.world.poll(name, pb.CHOICE_YES, self.world.states)
        if grave:
            self.world.pass_time(80 * DAY)
            self.progress(2 * 10**8, "r0")
            days = 11
        self.world.pass_time(days * DAY)
        self.watch.look()

    @rule(pick=PICK, name=st.sampled_from(("MAJ", "SUP", "HIGH", "STOP")), num=st.integers(1, 5))
    def amend_the_rules(self, pick: int, name: str, num: int) -> None:
        self.file(pick, pb.Amend(rule=name, num=num, den=6), 2)

    @rule(
        pick=PICK, param=PARAMS, scale=st.sampled_from((5_000, 9_000, 12_000)), wait=st.booleans()
    )
    def tighten_now(self, pick: int, param: str, scale: int, wait: bool) -> None:
        self.file(pick, pb.TightenNow(param=param, scale_bp=scale), 1)
        if wait:
            assert self.world is not None
            self.world.pass_time(31 * DAY)
            self.watch.look()

    @rule(pick=PICK)
    def halt(self, pick: int) -> None:
        assert self.world is not None
        found = self.of(self.world.known("run:", "facility:"), pick)
        if found is not None:
            self.file(pick, pb.Halt(), pick % 4, (found,))

    @rule(pick=PICK)
    def inspect(self, pick: int) -> None:
        assert self.world is not None
        evidence = self.of(self.world.known("note:evidence:"), pick)
        site = self.of(self.world.known("facility:"), pick)
        refs = tuple(one for one in (site, evidence) if one is not None)
        self.file(pick, pb.Inspect(), pick % 2 * 12, refs)

    @rule(pick=PICK, secret=st.booleans())
    def evidence(self, pick: int, secret: bool) -> None:
        assert self.world is not None
        note = pb.Note(type=pb.NOTE_TYPE_EVIDENCE, hash=pick.to_bytes(32, "big"))
        if secret:
            self.world.say(self.state(pick), note, confidentiality=pb.CONFIDENTIALITY_SECRET)
        else:
            note.about = self.state(pick // 7)
            self.world.say(self.state(pick), note)
        self.watch.look()

    @rule(pick=PICK)
    def accuse(self, pick: int) -> None:
        assert self.world is not None
        found = self.of(self.world.known("note:evidence:", "run:"), pick)
        if found is not None:
            self.file(pick, pb.Breach(), 0, (found,))

    @rule(pick=PICK)
    def suspend(self, pick: int) -> None:
        """On all upheld cases of one state."""
        assert self.world is not None
        cases = self.world.law.book.state.cases
        subjects = sorted({row.subject for row in cases.values() if row.result == "UPHELD"})
        subject = self.of([one for one in subjects if one != "SEC"], pick)
        if subject is None:
            return
        from node.treaty.book import derived_ref

        refs = tuple(
            bytes.fromhex(name) if len(name) == 64 else derived_ref(name)
            for name, row in sorted(cases.items())
            if row.subject == subject
            and row.result == "UPHELD"
            and row.status in {"UPHELD", "FINAL"}
        )
        self.file(pick, pb.Suspend(), 2, refs[:9])

    @rule(pick=PICK)
    def appeal(self, pick: int) -> None:
        assert self.world is not None
        cases = sorted(
            (name, row.subject)
            for name, row in self.world.law.book.state.cases.items()
            if row.status in {"UPHELD", "FINAL"} and row.subject != "SEC"
        )
        found = self.of(cases, pick)
        evidence = self.of(self.world.known("note:evidence:")[-3:], pick)
        if found is None or evidence is None:
            return
        from node.treaty.book import derived_ref

        name, subject = found
        case = bytes.fromhex(name) if len(name) == 64 else derived_ref(name)
        self.world.say(
            subject, pb.Appeal(), refs=(case, evidence), period=(0, 1 + len(self.world.entries))
        )
        self.watch.look()

    @rule(
        pick=PICK,
        what=st.sampled_from((pb.APPOINTMENT_TYPE_STANDARD, pb.APPOINTMENT_TYPE_CAPABILITY)),
    )
    def appoint(self, pick: int, what: Any) -> None:
        self.file(pick, pb.Appoint(what=what, name=f"n{pick % 5}"), 0)

    @rule(pick=PICK)
    def classify(self, pick: int) -> None:
        assert self.world is not None
        paper = self.of(self.world.known("note:publication:"), pick)
        if paper is None:
            self.world.say(
                "acme", pb.Note(type=pb.NOTE_TYPE_PUBLICATION, hash=pick.to_bytes(32, "big"))
            )
        else:
            self.file(pick, pb.Classify(), 0, (paper,))

    @rule(done=st.sampled_from((900, 40_000, 2 * 10**8)), run=RUNS)
    def progress(self, done: int, run: str) -> None:
        assert self.world is not None
        body = pb.Run(run=run, phase=pb.RUN_PHASE_PROGRESS, pflop_done=done)
        self.world.own("acme", body, period=(0, 1 + len(self.world.entries)))
        self.watch.look()


class Trainings(Family):
    """Runs and models: plans, approvals by panel and plenary, exemptions, evaluations, deployment."""

    anchored = True
    members_max = 13

    def prepare(self, world: World) -> None:
        for operator, size in (("acme", 10), ("beta", 10**7), ("gamma", 10**8)):
            body = pb.Run(
                run="r9", phase=pb.RUN_PHASE_PLAN, model="r9-model", params_total=1, pflop_plan=size
            )
            world.own(operator, body)

    @rule(
        operator=OPERATOR,
        run=RUNS,
        size=st.sampled_from((10, 10**7, 10**8)),
        parent=RUNS,
        joined=st.booleans(),
    )
    def plan(self, operator: str, run: str, size: int, parent: str, joined: bool) -> None:
        assert self.world is not None
        parents = [parent] if joined and parent != run else []
        body = pb.Run(
            run=run, phase=pb.RUN_PHASE_PLAN, model=f"{run}-model", params_total=1, pflop_plan=size,
            parents=parents,
        )  # fmt: skip
        self.world.own(operator, body)
        self.watch.look()

    def planned(self, pick: int) -> tuple[str, str, bytes] | None:
        """(operator, run, hash of its plan)."""
        assert self.world is not None
        plans = sorted(self.world.law.book.state.plans.items())
        found = self.of(plans, pick)
        return None if found is None else (found[1].operator, found[0], found[1].entry)

    @rule(
        pick=PICK,
        inspectors=st.sampled_from((("insp-gb", "insp-ke"), ("insp-gb", "insp-cn"), ("insp-gb",))),
    )
    def train(self, pick: int, inspectors: tuple[str, ...]) -> None:
        assert self.world is not None
        found = self.planned(pick)
        if found is not None:
            operator, _, plan = found
            parts = {"refs": (plan,), "period": (0, 1 + len(self.world.entries))}
            body = pb.Train(inspectors=inspectors)
            if pick % 5:
                self.world.own(operator, body, **parts)
            else:
                self.world.say(operator, body, **parts)  # without its state
            self.watch.look()

    @rule(
        pick=PICK,
        phase=st.sampled_from((pb.RUN_PHASE_START, pb.RUN_PHASE_PROGRESS, pb.RUN_PHASE_END)),
    )
    def report(self, pick: int, phase: Any) -> None:
        assert self.world is not None
        found = self.planned(pick)
        if found is not None:
            operator, run, _ = found
            body = pb.Run(run=run.partition("/")[2], phase=phase)
            if phase != pb.RUN_PHASE_START:
                planned = self.world.law.book.state.plans[run].pflop_plan
                body.pflop_done = planned * (1 if pick % 4 else 20)
                body.oversight_pflop = planned
            self.world.own(operator, body, period=(0, 1 + len(self.world.entries)))
            self.watch.look()

    @rule(pick=PICK, score=st.sampled_from((7_000, 8_000, 9_000)), presence=PRESENCE)
    def evaluate(self, pick: int, score: int, presence: Any) -> None:
        assert self.world is not None
        found = self.planned(pick)
        if found is not None:
            evaluator = ("eval-gb", "eval-ke", "eval-cn")[pick % 3]
            self.world.evaluate(found[1], evaluator, score, presence)
            self.watch.look()

    @rule(pick=PICK, far=st.integers(1, 9))
    def see_through(self, pick: int, far: int) -> None:
        """A run on its best way, some steps further: approved, started, ended, evaluated, deployed."""
        for number in range(far):
            self._further(pick + 65_536 * number)
            self.watch.look()

    def _further(self, pick: int) -> None:
        assert self.world is not None
        found = self.planned(pick % 65_536)
        if found is None:
            return
        operator, run, plan = found
        life = self.world.law.book.state.lives[run]
        bare = run.partition("/")[2]
        period = (0, 1 + len(self.world.entries))
        match life.status:
            case "PLANNED" | "REFUSED" if life.tier:
                inspectors = (
                    ["insp-gb", "insp-cn"] if operator == "gamma" else ["insp-gb", "insp-ke"]
                )
                self.world.own(
                    operator, pb.Train(inspectors=inspectors), refs=(plan,), period=period
                )
            case "PLANNED" | "APPROVED":
                self.world.own(operator, pb.Run(run=bare, phase=pb.RUN_PHASE_START), period=period)
            case "RUNNING":
                size = self.world.law.book.state.plans[run].pflop_plan
                end = pb.Run(
                    run=bare, phase=pb.RUN_PHASE_END, pflop_done=size, oversight_pflop=size
                )
                self.world.own(operator, end, period=period)
            case "ENDED":
                for evaluator in ("eval-gb", "eval-ke", "eval-cn"):
                    self.world.evaluate(run, evaluator, 7_000, pb.PRESENCE_ABSENT)
            case "SUBMITTED" | "DEPLOY_SUBMITTED":
                for state in self.world.states:
                    self.world.reveal(state)
                for name in self.world.open_motions():
                    if self.world.law.book.state.motions[name].about == run:
                        self.world.poll(name, pb.CHOICE_YES, self.world.states)
                self.world.pass_time(8 * DAY)
            case "EVALUATED" | "DEPLOY_REFUSED":
                self._deploy(pick, operator, run, plan)
            case _:
                pass

    @rule(pick=PICK)
    def deploy(self, pick: int) -> None:
        assert self.world is not None
        found = self.planned(pick)
        if found is not None:
            self._deploy(pick, *found)
            self.watch.look()

    def _deploy(self, pick: int, operator: str, run: str, plan: bytes) -> None:
        assert self.world is not None
        rows = self.world.law.book.state.evaluations.get(
            f"{operator}/{run.partition('/')[2]}-model"
        )
        evals = [row[2] for row in rows.rows] if rows is not None else []
        stewards = self.world.states[: 5 if pick % 6 else 4]
        refs = (plan, *(one for one in evals if isinstance(one, bytes)))
        body = pb.Deploy(cap_ver=1, mode="weights", stewards=stewards)
        self.world.own(
            operator,
            body,
            refs=refs if pick % 5 else refs[:2],
            period=(0, 1 + len(self.world.entries)),
        )

    @rule(pick=PICK)
    def review(self, pick: int) -> None:
        assert self.world is not None
        found = self.planned(pick)
        if found is not None:
            self.world.say("eval-gb", pb.Note(type=pb.NOTE_TYPE_REVIEW, about=found[1]))
            self.watch.look()

    @rule(pick=PICK, general=st.booleans(), named=st.booleans())
    def exempt(self, pick: int, general: bool, named: bool) -> None:
        assert self.world is not None
        found = self.planned(pick)
        period = (0, 1 + len(self.world.entries))
        if found is None or not named:
            body: Any = pb.ClassMotion(domain=f"d{pick % 3}", general_output=general)
            self.world.own("acme", body, period=period)
        else:
            operator, run, plan = found
            reviews = self.world.known(f"note:review:{run}")[:1]
            body = pb.Exempt(domain="weather", general_output=general)
            self.world.own(operator, body, refs=(plan, *reviews), period=period)
        self.watch.look()

    @rule(pick=PICK)
    def chip_type(self, pick: int) -> None:
        assert self.world is not None
        described = self.of(self.world.known("chip_type:"), pick)
        if described is None:
            self.world.say(
                "acme", pb.ChipType(chip_type=f"NX{pick % 3}", mh=3_000, peak_any=6_000_000)
            )
        else:
            period = (0, 1 + len(self.world.entries))
            self.world.own("acme", pb.ChipTypeMotion(), refs=(described,), period=period)
        self.watch.look()

    @rule(pick=PICK)
    def call_up(self, pick: int) -> None:
        assert self.world is not None
        name = self.of(self.world.open_motions(), pick)
        if name is not None:
            author = self.state(pick)
            note = pb.Note(type=pb.NOTE_TYPE_CALLUP, about=name)
            self.world.say(author, note, by=self.world.by_many(author, pick % 3))
            self.watch.look()

    @rule(hostile=st.booleans())
    def links_are_revealed(self, hostile: bool) -> None:
        assert self.world is not None
        for state in self.world.states if hostile else self.world.honest:
            self.world.reveal(state)
        self.watch.look()


class Sites(Family):
    """Facilities, reports, counts, custody, corrections: findings of every severity and what follows."""

    members_max = 9

    def prepare(self, world: World) -> None:
        for operator in ("acme", "beta"):
            world.own(operator, pb.Facility(facility="dc0", capacity_mh=20_000, mem_gb=1))

    @rule(operator=OPERATOR, site=SITES, size=st.sampled_from((1, 20_000)))
    def facility(self, operator: str, site: str, size: int) -> None:
        assert self.world is not None
        self.world.own(operator, pb.Facility(facility=site, capacity_mh=size, mem_gb=1))
        self.watch.look()

    @rule(operator=OPERATOR, site=SITES, good=st.booleans())
    def usage(self, operator: str, site: str, good: bool) -> None:
        assert self.world is not None
        row = self.world.law.book.state.facilities.get(f"{operator}/{site}")
        if row is None:
            return
        start = (
            row.covered_at + row.due_slot * row.slot if row.slot else self.world.law.book.now - 60
        )
        body = pb.Usage(
            facility=site,
            chip_type="H100",
            chips_on=1,
            chip_seconds=1,
            pflop_total=0 if good else 10**9,
        )
        self.world.say(operator, body, period=(start, start + (row.slot or 60)))
        self.watch.look()

    @rule(
        operator=OPERATOR, site=SITES, count=st.sampled_from((0, 50, 200)), root=st.integers(0, 2)
    )
    def count(self, operator: str, site: str, count: int, root: int) -> None:
        assert self.world is not None
        body = pb.Inventory(
            facility=site, chip_type="H100", count=count, serial_root=bytes([root]) * 32
        )
        self.world.own(operator, body, period=(0, 1 + len(self.world.entries)))
        self.watch.look()

    @rule(
        operator=OPERATOR, site=SITES, kind=st.sampled_from(list(pb.CustodyType.values())[1:]),
        count=st.sampled_from((5, 100)), other=OPERATOR, pick=PICK,
    )  # fmt: skip
    def custody(
        self, operator: str, site: str, kind: Any, count: int, other: str, pick: int
    ) -> None:
        assert self.world is not None
        body = pb.Custody(
            type=kind, chip_type="H100", count=count, serial_root=bytes([pick % 3]) * 32,
            origin=f"{operator}/{site}", destination=f"{other}/dc0", emergency=pick % 4 == 0,
        )  # fmt: skip
        notices = sorted(self.world.law.book.state.notices)
        if notices and kind == pb.CUSTODY_TYPE_OUT:
            body.notice_of = bytes.fromhex(self.of(notices, pick))
        self.world.say(operator, body)
        self.watch.look()

    @rule(pick=PICK)
    def correct(self, pick: int) -> None:
        """Of an entry that a finding rests on, if there is one."""
        assert self.world is not None
        based = sorted(self.world.law.book.state.basis)
        entry = self.of(based, pick)
        facts = self.world.index.get(bytes.fromhex(entry)) if entry else None
        if facts is not None:
            note = pb.Note(type=pb.NOTE_TYPE_CORRECTION, corrects=facts.entry_hash)
            self.world.say(facts.author, note)
            self.watch.look()

    @rule(pick=PICK)
    def challenge(self, pick: int) -> None:
        assert self.world is not None
        site = self.of(self.world.known("facility:"), pick)
        if site is None:
            return
        author = self.state(pick)
        self.world.say(author, pb.Note(type=pb.NOTE_TYPE_EVIDENCE, hash=pick.to_bytes(32, "big")))
        refs = (site, self.world.entries[-1].entry_hash)
        self.world.say(author, pb.Inspect(), refs=refs)
        self.watch.look()

    @rule(pick=PICK, denied=st.booleans())
    def visit(self, pick: int, denied: bool) -> None:
        assert self.world is not None
        found = self.of(sorted(self.world.law.book.state.access.items()), pick)
        if found is not None:
            motion, row = found
            body = pb.Inspection(
                type=pb.INSPECTION_TYPE_CHALLENGE,
                site=row.site,
                mandate=motion,
                denied_s=900 * denied,
            )
            first, second = ("insp-gb", "insp-ke") if pick % 2 else ("insp-ke", "insp-gb")
            self.world.say(first, body, by=(second,))
            self.watch.look()

    @rule(pick=PICK)
    def meeting(self, pick: int) -> None:
        assert self.world is not None
        self.world.say("SEC", pb.Note(type=pb.NOTE_TYPE_MEETING, hash=pick.to_bytes(32, "big")))
        self.watch.look()


class Membership(Family):
    """States that join, leave, contradict themselves and are suspended; panels and their beacon beside it."""

    anchored = True
    members_max = 13

    def prepare(self, world: World) -> None:
        keys = [
            pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=key_bytes("FR", "author")),
            pb.PublicKey(purpose=pb.KEY_PURPOSE_VOTE, ed25519=key_bytes("FR", "vote")),
        ]
        body = pb.Identity(party="FR", role=pb.PARTY_ROLE_STATE, state="FR", keys=keys)
        world.say("US", body, by=world.by_many("US", 3))

    @rule(attesting=st.integers(0, 4))
    def join(self, attesting: int) -> None:
        assert self.world is not None
        others = self.world.states[:attesting]
        body = pb.Instrument(type=pb.INSTRUMENT_TYPE_ACCEDE, attested_by=others)
        self.world.say("FR", body, by=others, period=(0, 1 + len(self.world.entries)))
        self.watch.look()

    @rule(pick=PICK)
    def withdraw(self, pick: int) -> None:
        assert self.world is not None
        if pick % 3 == 0:
            state = (*self.world.states, "FR")[pick % (len(self.world.states) + 1)]
            body = pb.Instrument(type=pb.INSTRUMENT_TYPE_WITHDRAW)
            self.world.say(state, body, period=(0, 1 + len(self.world.entries)))
            self.watch.look()

    @rule(pick=PICK)
    def two_things_at_once(self, pick: int) -> None:
        """A state says two things under one seq: C29 of severity 4, on which it may be suspended."""
        assert self.world is not None
        state = self.state(pick)
        seq, prev = self.world.law.author_tip(state)
        for number in (1, 2):
            note = pb.Note(type=pb.NOTE_TYPE_EVIDENCE, hash=bytes([number]) * 32)
            self.world.say(state, note, seq=seq, prev=prev)
        self.watch.look()

    @rule(pick=PICK, many=st.integers(1, 3))
    def contradictions_are_punished(self, pick: int, many: int) -> None:
        """Several states say two things at once, nobody sets it aside, and all want them suspended."""
        assert self.world is not None
        for number in range(many):
            self.two_things_at_once(pick + number)
        self.world.pass_time(22 * DAY)
        self.suspend(2)
        for name in self.world.open_motions():
            self.world.poll(name, pb.CHOICE_YES, self.world.states)
        self.world.pass_time(31 * DAY)
        self.watch.look()

    @rule(pick=PICK)
    def suspend(self, pick: int) -> None:
        """On the upheld cases of severity 4, of several states one after another, and all want it."""
        assert self.world is not None
        from node.treaty.book import derived_ref

        cases = sorted(self.world.law.book.state.cases.items())
        grave = {
            row.subject: name for name, row in cases if row.result == "UPHELD" and row.severity == 4
        }
        for subject, name in sorted(grave.items())[: 1 + pick % 3]:
            author = next(one for one in self.world.states if one != subject)
            others = tuple(one for one in self.world.by_many(author, 4) if one != subject)
            period = (0, 1 + len(self.world.entries))
            self.world.say(
                author, pb.Suspend(), by=others, refs=(derived_ref(name),), period=period
            )
        self.watch.look()

    @rule(pick=PICK)
    def all_agree(self, pick: int) -> None:
        assert self.world is not None
        for name in self.world.open_motions()[: 1 + pick % 3]:
            self.world.poll(name, pb.CHOICE_YES, self.world.states)
        self.watch.look()

    @rule(pick=PICK)
    def panel(self, pick: int) -> None:
        assert self.world is not None
        body = pb.ClassMotion(domain=f"d{pick % 9}", general_output=False)
        self.world.own("acme", body, period=(0, 1 + len(self.world.entries)))
        self.watch.look()

    @rule(silent=st.integers(0, 3))
    def links_are_revealed(self, silent: int) -> None:
        assert self.world is not None
        for state in self.world.states[silent:]:
            self.world.reveal(state)
        self.watch.look()


def key_bytes(party: str, purpose: str) -> bytes:
    from tests.unit.treaty.court import key_of

    return key_of(party, purpose)


FAMILIES: Final[dict[str, type[Family]]] = {
    one.__name__: one for one in (Governance, Trainings, Sites, Membership)
}


def run(
    family: type[Family], *, examples: int, steps: int, seed: int | None, shrink: bool = False
) -> None:
    """Raises Broken, or whatever else a history brought about. Without a seed always the same histories."""
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, database=None, phases=phases,
        derandomize=seed is None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
        print_blob=False,
    )  # fmt: skip
    # A class of its own for each run: the decorator marks it.
    machine = type(family.__name__, (family,), {})
    if seed is not None:
        machine = with_seed(seed)(machine)
    run_state_machine_as_test(machine, settings=chosen)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--budget", type=int, required=True, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--family", choices=sorted(FAMILIES), default=None)
    given = parser.parse_args(arguments)
    ends = time.monotonic() + given.budget
    seeds = random.Random(given.seed)
    chosen = [FAMILIES[given.family]] if given.family else list(FAMILIES.values())
    histories = 0
    while time.monotonic() < ends:
        for family in chosen:
            seed = seeds.randrange(1 << 32)
            print(f"{family.__name__} seed {seed}: {histories} histories so far", file=sys.stderr)
            run(family, examples=20, steps=60, seed=seed, shrink=True)
            histories += 20
    print(f"{histories} histories, no invariant broken")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

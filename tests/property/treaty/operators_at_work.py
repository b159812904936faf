"""State machines of what operators do: training and deployment, sites and their chips."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from foedus.v1 import content_pb2 as pb
from tests.property.treaty.family import (
    OPERATOR,
    PICK,
    PRESENCE,
    RUNS,
    SITES,
    Family,
)
from tests.property.treaty.naive import DAY
from tests.property.treaty.world import World


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
                body = pb.Train(inspectors=inspectors)
                if pick % 3:
                    body.until = self.world.law.book.now + 20 * DAY  # over while it still trains
                self.world.own(operator, body, refs=(plan,), period=period)
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

    @rule(operator=OPERATOR, pick=PICK)
    def a_meeting_in_time(self, operator: str, pick: int) -> None:
        """Without it the secretariat would owe one by the second at which a new site's silence is found."""
        assert self.world is not None
        self.world.pass_time(10 * DAY)
        self.meeting(pick)
        self.world.pass_time(68 * DAY)
        site = f"site{len(self.world.entries)}"
        self.world.own(operator, pb.Facility(facility=site, capacity_mh=20_000, mem_gb=1))
        self.world.pass_time(
            15 * DAY
        )  # two slots of a small site and a second, but no 91 days since
        self.watch.look()

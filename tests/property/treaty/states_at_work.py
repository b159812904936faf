"""State machines of what states do: governance, and who belongs."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from foedus.v1 import content_pb2 as pb
from node.treaty.book import derived_ref
from tests.property.treaty.family import (
    PARAMS,
    PICK,
    RUNS,
    Family,
)
from tests.property.treaty.naive import DAY
from tests.property.treaty.world import World
from tests.unit.treaty.court import key_of


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


class Membership(Family):
    """States that join, leave, contradict themselves and are suspended; panels and their beacon beside it."""

    anchored = True
    members_max = 13

    def prepare(self, world: World) -> None:
        keys = [
            pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=key_of("FR", "author")),
            pb.PublicKey(purpose=pb.KEY_PURPOSE_VOTE, ed25519=key_of("FR", "vote")),
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

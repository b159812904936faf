"""The treaty's invariants (MODEL 12) as a watch over a world: it looks after every step, and once more at the end.

Each is judged from what the law shows (records, rows, the answers to entries) against what was said, by rules written here. A
breach raises `Broken` with the invariant's number. Not here: I2 is shown where roots are cosigned and audited; I13 by
test_scale.py; I14 by the tests of tips.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from foedus.v1 import content_pb2 as pb
from node.ledger.records import NONCE_BYTES, encode_derived
from node.log.merkle import root_of_entries
from node.treaty.derived import (
    Beacon,
    CaseStep,
    Decision,
    Derived,
    Drawn,
    Finding,
    MotionOpened,
    PolicyStep,
    Rejected,
    RunStep,
    Uncountersigned,
    VetoCheck,
)
from node.treaty.entries import Entry
from node.treaty.policy import PARAMS
from tests.property.treaty.naive import DAY, bound, redrawn, result_of, trigger, winner
from tests.property.treaty.world import CAPABILITIES, Step, World, digest_of

NAMES_RUN: Final = ("C14", "C15")  # checks whose findings of severity 4 name runs
UNDECIDED: Final = frozenset({"RAISED", "REPLIED", "SILENT", "APPEALED"})
# Outcomes that permit something, and those in which a majority's safe act comes to nothing (MODEL 4).
UNSAFE: Final = frozenset({"approved", "granted", "set_aside", "overturned", "stopped"})
IDLE: Final = frozenset({"lapsed", "unchanged", "no_change", "released", "lifted", "not_upheld"})


class Broken(AssertionError):
    """An invariant does not hold. `name`: which."""

    def __init__(self, name: str, what: object) -> None:
        super().__init__(f"{name}: {what}")
        self.name = name


class Watch:
    """Call `look` after every step, `finish` once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.steps = 0  # of the tape seen
        self.opened: dict[str, MotionOpened] = {}
        self.decided: dict[str, Decision] = {}
        self.cases: dict[str, CaseStep] = {}
        self.raised: dict[str, CaseStep] = {}
        self.replied_at: dict[str, int] = {}
        self.severity: dict[str, int] = {}
        self.statuses: dict[str, str] = {}  # of runs
        self.values = {name: param.default for name, param in PARAMS.items()}
        self.beacons: dict[int, bytes] = {}
        self.moved = 0  # seconds, by outages
        self.leaves: list[bytes] = []
        self.roots: list[tuple[int, bytes]] = []
        self.facts: dict[bytes, object] = {}
        self.looks = 0
        self.snapshots: dict[int, bytes] = {}  # steps of the tape -> state digest

    def look(self) -> None:
        for step in self.world.tape[self.steps :]:
            self._step(step)
        self.steps = len(self.world.tape)
        self.looks += 1
        if self.looks % 16 == 0 and len(self.snapshots) < 3:
            self.snapshots[self.steps] = digest_of(self.world.save())
        self._compare_with_the_naive_reader()
        for check in _AFTER_EACH:
            check(self)

    def _step(self, step: Step) -> None:
        if step.entry is not None and step.outcome is not None:
            self._entry(step.entry, step)
        ending = {
            (one.param, one.at)
            for one in step.derived
            if isinstance(one, PolicyStep) and one.event in {"LAPSED", "ENDED"}
        }
        for record in step.derived:
            self._record(record, ending)
            self.leaves.append(encode_derived(record, bytes(NONCE_BYTES)))

    def _entry(self, entry: Entry, step: Step) -> None:
        assert step.outcome is not None
        if step.outcome.facts is not None:
            self.leaves.append(entry.entry_hash)
            self.facts[entry.entry_hash] = step.outcome.facts
            if len(self.leaves) % 7 == 0:
                self.roots.append((len(self.leaves), root_of_entries(self.leaves)))
        code = step.outcome.code
        body = entry.parsed.body
        if isinstance(body, pb.Instrument) and body.type == pb.INSTRUMENT_TYPE_ACCEDE:
            self._accession(entry, body, None if code is None else code.value)

    def _record(self, record: Derived, ending: set[tuple[str, int]]) -> None:
        match record:
            case MotionOpened():
                self.opened[record.motion] = record
                if set(record.subjects) & set(record.eligible):
                    raise Broken("I6", record)
                if record.kind == "AMEND":
                    self._direction(record)
            case Decision():
                self.decided[record.motion] = record
                self._decision(record)
            case CaseStep():
                self._case_step(record)
            case RunStep():
                before = self.statuses.get(record.run, "")
                self.statuses[record.run] = record.status
                if record.status == "RUNNING" and before not in {"RUNNING", "HALTED"}:
                    self._may_run(record)
                if record.status == "DEPLOYED" and before != "DEPLOYED":
                    self._may_deploy(record)
            case PolicyStep() if not record.param.startswith("rule/"):
                self._policy_step(record, ending)
            case Beacon():
                if record.beacon:
                    self.beacons[record.round] = record.beacon
            case Drawn(what="panel"):
                self._panel(record)
            case VetoCheck():
                if bool(record.veto_possible) != (record.members < 5):
                    raise Broken("I16", record)
            case _:
                pass

    # --- I4, I5: decisions --------------------------------------------------------------------------

    def _compare_with_the_naive_reader(self) -> None:
        naive = self.world.naive
        if self.world.disagreements:
            raise Broken("naive", self.world.disagreements)
        for motion, decision in self.decided.items():
            expected, seen = naive.decided.get(motion), result_of(decision)
            if expected == seen:
                continue
            if expected is not None and expected[:-1] == seen[:-1]:
                raise Broken("I5", f"{motion}: one state could change it: {seen.could_change}")
            raise Broken("naive", f"{decision.kind} {motion}: {seen}, naively {expected}")
        for motion in naive.decided.keys() - self.decided.keys():
            late = self.opened[motion].kind
            raise Broken("I4", f"{late} {motion} is open, and was over at {naive.decided[motion]}")

    def _decision(self, decision: Decision) -> None:
        if set(decision.subjects) & {state for state, _ in decision.votes} or set(
            decision.subjects
        ) & set(decision.eligible):
            raise Broken("I6", decision)
        self._flips(decision)
        if decision.kind == "BREACH":
            self._heard(decision)
        self._unanimous(decision)

    def _flips(self, decision: Decision) -> None:
        """I5: an unsafe outcome is never of k states' making, and one vote changes only what the record says it could."""
        if decision.outcome in UNSAFE and decision.rule != "PANEL":
            k = bound(self.world.naive.total())
            if decision.yes <= k:
                raise Broken("I5", f"{decision.yes} states made it {decision.outcome}: {decision}")
        if decision.reason or decision.kind == "HALT":  # the naive reader knows what lifts a halt
            return
        held = {name: getattr(decision, name) for name in ("yes", "no", "abstain", "absent")}
        ends = {winner(decision.rule, decision.threshold, 0, decision.yes, decision.no)}
        for name, number in held.items():
            for other in ("yes", "no", "abstain"):
                if number:
                    yes = decision.yes + (other == "yes") - (name == "yes")
                    no = decision.no + (other == "no") - (name == "no")
                    ends.add(winner(decision.rule, decision.threshold, 0, yes, no))
        if (len(ends) > 1) != bool(decision.one_state_could_change):
            raise Broken("I5", f"one vote leads to {ends}: {decision}")

    def _unanimous(self, decision: Decision) -> None:
        """I4, I5: what all honest eligible states wanted came, whatever the hostile did (k-veto-freedom, MODEL 7)."""
        if decision.reason or decision.rule == "PANEL" or len(decision.eligible) < 4:
            return
        hostile = self.world.hostile & set(decision.eligible)
        votes = dict(decision.votes)
        wanted = {votes.get(state, "") for state in decision.eligible if state not in hostile}
        if len(hostile) > bound(len(decision.eligible)) or not wanted:
            return
        amended = decision.rule in self.world.naive.shares
        if (
            decision.rule == "MAJ"
            and not amended
            and wanted == {"yes"}
            and decision.outcome in IDLE
        ):
            raise Broken("I4", f"{sorted(hostile)} stopped {decision}")
        if wanted <= {"no", ""} and decision.outcome in UNSAFE:
            raise Broken("I5", f"{sorted(hostile)} alone made it {decision}")

    def _heard(self, decision: Decision) -> None:
        """I11: no verdict before the reply, or the end of its time."""
        raised = self.raised[decision.about]
        in_time = raised.reply_due + self.moved_since(raised.at)
        replied = self.replied_at.get(decision.about)
        if replied is None and decision.closed_at <= in_time:
            raise Broken("I11", f"decided at {decision.closed_at}, reply due {in_time}: {decision}")

    def moved_since(self, at: int) -> int:
        gaps = [step for step in self.world.tape if step.what == "still" and step.since >= at]
        return sum(max(0, step.until - step.since - 600) for step in gaps)

    def _case_step(self, step: CaseStep) -> None:
        self.cases[step.case] = step
        if step.status == "RAISED":
            self.raised[step.case] = step
            self.replied_at.pop(step.case, None)
        if step.status == "REPLIED":
            self.replied_at[step.case] = step.at
        if step.severity < self.severity.get(step.case, 0):
            raise Broken("I19", f"{step} was of severity {self.severity[step.case]}")
        self.severity[step.case] = step.severity

    # --- I7: runs -----------------------------------------------------------------------------------

    def approvals(self, run: str, kinds: set[str]) -> list[Decision]:
        return [
            one
            for one in self.decided.values()
            if one.about == run and one.kind in kinds and one.outcome in {"approved", "granted"}
        ]

    def _filed(self, motion: str) -> Entry:
        return next(one for one in self.world.entries if one.name == motion)

    def _may_run(self, step: RunStep) -> None:
        """I7: tier 0, or an approval of this tier with all that it asks for, still valid."""
        if step.tier == 0:
            return
        rules = {"PANEL": 1, "SUP": 2, "HIGH": 3}
        for decision in self.approvals(step.run, {"TRAIN", "EXEMPT"}):
            entry = self._filed(decision.motion)
            opened = self.opened[decision.motion]
            operator = step.run.partition("/")[0]
            state = self.world.law.book.state_of(operator)
            asked = rules[opened.rule]
            if entry.parsed.author not in {operator, "SEC"} or (
                entry.parsed.author == operator and state not in entry.endorsers
            ):
                continue
            if (
                decision.until is None
                or step.at >= decision.until
                or decision.yes < decision.threshold
            ):
                continue
            if step.tier == 1 or self._train_evidence(entry, step.tier, state, asked):
                return
        if step.tier == 1 and self.is_licensed(step.run, step.at):
            return
        raise Broken("I7", f"{step} without approval")

    def is_licensed(self, run: str, at: int) -> bool:
        """A plan may claim a class that a CLASS motion licensed (M21)."""
        for entry in self.world.entries:
            body = entry.parsed.body
            if (
                isinstance(body, pb.Run)
                and f"{entry.parsed.author}/{body.run}" == run
                and body.licence
            ):
                decision = self.decided.get(body.licence)
                until = decision.until if decision is not None else None
                if decision is not None and decision.outcome == "granted" and until is not None:
                    return at < until
        return False

    def _train_evidence(self, entry: Entry, tier: int, state: str, asked: int) -> bool:
        body = entry.parsed.body
        if not isinstance(body, pb.Train) or asked < tier:
            return False
        states = {self.world.law.book.state_of(name) for name in body.inspectors}
        return len(states) >= 2 and state not in states

    def _may_deploy(self, step: RunStep) -> None:
        """I7: ended, evaluated by two states, no capability present, stewards, two thirds, no open sev-4 case."""
        for decision in self.approvals(step.run, {"DEPLOY"}):
            if decision.closed_at != step.at:
                continue
            entry = self._filed(decision.motion)
            shown = [one for one in self.world.entries if one.entry_hash in entry.parsed.refs]
            evals = [one for one in shown if one.parsed.kind == "eval"]
            for name in CAPABILITIES:
                states = {
                    self.world.law.book.state_of(one.parsed.author)
                    for one in evals
                    if (name, pb.PRESENCE_ABSENT)
                    in {(each.capability, each.presence) for each in one.parsed.body.capabilities}
                }
                if len(states) < 2:
                    raise Broken("I7", f"{name} absent by {states}: {step}")
            ended = [
                one
                for one in self.world.entries
                if isinstance(one.parsed.body, pb.Run)
                and one.parsed.body.phase == pb.RUN_PHASE_END
                and f"{one.parsed.author}/{one.parsed.body.run}" == step.run
            ]
            enough = -(-2 * len(decision.eligible) // 3)
            if not ended or len(set(entry.parsed.body.stewards)) < 5 or decision.yes < enough:
                raise Broken("I7", f"{len(ended)} ends, {decision}")
            mandates = [one for one in self.world.entries if isinstance(one.parsed.body, pb.Vote)]
            if not all(
                one.parsed.body.mandate_ref
                for one in mandates
                if one.parsed.body.motion == decision.motion and self._counts(one)
            ):
                raise Broken("I7", f"a vote without mandate counts in {decision}")
            self._no_grave_case(step)
            return
        raise Broken("I7", f"{step} without DEPLOY")

    def _counts(self, entry: Entry) -> bool:
        facts = self.world.index.get(entry.entry_hash)
        return facts is not None and not facts.code

    def _no_grave_case(self, step: RunStep) -> None:
        for case, last in self.cases.items():
            names = case.startswith(NAMES_RUN) and (f":{step.run}" in case)
            if (
                names
                and last.severity >= 4
                and (last.status in UNDECIDED or last.result == "UPHELD")
            ):
                raise Broken("I7", f"{last}: {step}")

    # --- I8, I9, I12: the policy --------------------------------------------------------------------

    def _policy_step(self, step: PolicyStep, ending: set[tuple[str, int]]) -> None:
        before, self.values[step.param] = self.values[step.param], step.value
        worse = (
            step.value > before if PARAMS[step.param].safe_dir == "lower" else step.value < before
        )
        if not worse or (step.param, step.at) in ending:
            return
        decision = self.decided.get(step.motion)
        if step.event != "IN_FORCE" or decision is None or decision.rule != "HIGH":
            raise Broken("I8", f"{step} made {before} looser: {decision}")
        if step.at < decision.closed_at + 90 * DAY:
            raise Broken("I8", f"in force {step.at - decision.closed_at} s after the close: {step}")
        for case, last in self.cases.items():
            if last.severity >= 4 and case.startswith(NAMES_RUN) and last.status in UNDECIDED:
                raise Broken("I8", f"{last}: {step}")

    def _direction(self, opened: MotionOpened) -> None:
        """I12: at every point of the future as safe or safer: a tightening; else a loosening."""
        entry = self._filed_now(opened.motion)
        body = entry.parsed.body
        state = self.world.law.book.state
        if opened.about.startswith("rule/") or body.HasField("generator"):
            return
        if any(row.param == opened.about for row in state.tightenings.values()):
            return  # `policy_value` shows temporary ones too, which do not count
        points = [(point.t_from, point.value) for point in body.schedule] or [(0, body.value)]
        pending = [
            row.in_force_at for row in state.amendments.values() if row.param == opened.about
        ]
        known = [at for row in state.courses.values() for at, _ in row.segments]
        looser = False
        end = opened.at + 36_525 * DAY  # generators here only fall, so that their end says it
        for at in {opened.at, end, *(at for at, _ in points), *pending, *known}:
            if at < opened.at:
                continue
            spoken = [value for t_from, value in points if t_from <= max(at, opened.at)]
            if not spoken:
                continue  # it says nothing yet, and what stands goes on
            now = self.world.law.policy_value(opened.about, at)
            lower = PARAMS[opened.about].safe_dir == "lower"
            looser |= spoken[-1] > now if lower else spoken[-1] < now
        if looser != (opened.rule == "HIGH"):
            raise Broken("I12", f"{opened}: {body}")

    def _filed_now(self, motion: str) -> Entry:
        for step in reversed(self.world.tape):
            entry: Entry | None = step.entry
            if entry is not None and entry.name == motion:
                return entry
        raise AssertionError(motion)

    # --- I15, I18 -----------------------------------------------------------------------------------

    def _accession(self, entry: Entry, body: pb.Instrument, code: str | None) -> None:
        """I15: with so many attestations nobody can refuse it."""
        members = self.world.naive.members
        author = entry.parsed.author
        joins = code is None
        others = {state for state in entry.endorsers if members.get(state, "LEFT") != "LEFT"}
        others -= {author} if joins else set()
        known = sum(
            status != "LEFT" for state, status in members.items() if state != author or not joins
        )
        enough = len(others & set(body.attested_by)) >= min(trigger(known), known)
        outside = author not in members or joins
        if (
            enough
            and outside
            and code not in {None, "SEQ_GAP", "DUPLICATE", "EQUIVOCATION", "PERIOD"}
        ):
            raise Broken("I15", f"{author} was refused: {code}")

    def _panel(self, record: Drawn) -> None:
        """I18: no subject, no two seats of one state, and anybody draws the same again."""
        opened = self.opened[record.draw]
        if not record.drawn:
            return
        drawn = set(record.drawn)
        if len(drawn) != len(record.drawn) or drawn & set(opened.subjects):
            raise Broken("I18", record)
        if list(record.drawn) != redrawn(self.beacons[record.round], record.draw, opened.eligible):
            raise Broken("I18", f"not what the beacon draws: {record}")

    # --- at the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """What only a whole history shows: I1, I2, I3, I10, I20."""
        self.look()
        for size, root in self.roots:
            if root_of_entries(self.leaves[:size]) != root:
                raise Broken("I1", f"the root at {size} changed")
        for entry_hash, facts in self.facts.items():
            if self.world.index.get(entry_hash) != facts:
                raise Broken("I1", f"{entry_hash.hex()} is not what was appended")
        self.snapshots[len(self.world.tape)] = digest_of(self.world.save())
        self._replay()
        self._secrets_do_not_matter()
        self._without_the_secretariat()

    def _replay(self) -> None:
        """I3: the same calls give the same answers, and the same state at every snapshot, restarts or not."""
        stops = tuple(self.snapshots)
        _, said, digests = self.world.replayed(restart_every=5, stops=stops)
        for number, (step, derived) in enumerate(zip(self.world.tape, said, strict=True)):
            if step.derived != derived:
                raise Broken("I3", f"step {number}: {step.derived} and {derived}")
        if digests != self.snapshots:
            raise Broken("I3", "the state differs from its replay")

    def _without_the_secretariat(self) -> None:
        """I20: had it never met, nothing would be missing but its own notices and findings."""
        tape = [step for step in self.world.tape if not _is_meeting(step)]
        others = [step.entry for step in tape if step.entry is not None]
        missing = [
            one.entry.entry_hash for one in self.world.tape if _is_meeting(one) and one.entry
        ]
        spoken_of = any(
            one in entry.parsed.refs or one in entry.parsed.body.SerializeToString()
            for entry in others
            for one in missing
        )
        # What else the secretariat says would hang on entries that are not there; what speaks of them, too.
        if not missing or spoken_of or any(entry.parsed.author == "SEC" for entry in others):
            return
        _, said, _ = self.world.replayed(tape=tape)
        seen = [_facts_of(one) for one in self.world.record if not _of_secretariat(one)]
        left = [_facts_of(one) for derived in said for one in derived if not _of_secretariat(one)]
        if seen != left:
            raise Broken("I20", "without meetings other things came about")

    def _secrets_do_not_matter(self) -> None:
        """I10: with every secret text replaced, the law finds the same."""
        swapped = swap_secrets(self.world)
        if swapped is not None and swapped != [
            one for one in self.world.record if isinstance(one, Finding)
        ]:
            raise Broken("I10", "a finding reads what is secret")


def _is_meeting(step: Step) -> bool:
    body = step.entry.parsed.body if step.entry is not None else None
    return isinstance(body, pb.Note) and body.type == pb.NOTE_TYPE_MEETING


def _of_secretariat(record: Derived) -> bool:
    return isinstance(record, Finding | CaseStep) and record.subject == "SEC"


def _facts_of(record: Derived) -> Derived:
    """A record without its place in the log, which an entry less moves."""
    return replace(record, index=0) if isinstance(record, Rejected | Uncountersigned) else record


def swap_secrets(world: World) -> list[Finding] | None:
    """The findings of the same history with other bytes in every note of class S; None if it has none."""
    secret = [
        entry
        for entry in world.entries
        if entry.parsed.confidentiality == pb.CONFIDENTIALITY_SECRET
    ]
    if not secret:
        return None
    swapped = {}
    for entry in secret:
        body = pb.Note()
        body.CopyFrom(entry.parsed.body)
        body.hash = hashlib.sha256(entry.parsed.body.hash).digest()
        swapped[entry.entry_hash] = entry._replace(parsed=entry.parsed._replace(body=body))
    tape = [
        step
        if step.entry is None
        else step._replace(entry=swapped.get(step.entry.entry_hash, step.entry))
        for step in world.tape
    ]
    _, said, _ = world.replayed(tape=tape)
    return [one for derived in said for one in derived if isinstance(one, Finding)]


# --- rows, after each step ------------------------------------------------------------------------------


def _deadlines(watch: Watch) -> None:
    """I4: nothing is open beyond its time."""
    now = watch.world.law.book.now
    for name, row in watch.world.law.book.state.motions.items():
        if row.closes_at <= now:
            raise Broken("I4", f"{name} is open at {now}, and was to close at {row.closes_at}")


def _approvals_last(watch: Watch) -> None:
    """I7: what runs above tier 0 has an approval, or a class licence, that is not over."""
    now = watch.world.law.book.now
    for run, life in watch.world.law.book.state.lives.items():
        if life.status != "RUNNING" or not life.tier:
            continue
        ends = [one.until for one in watch.approvals(run, {"TRAIN", "EXEMPT"})]
        lasts = any(until is not None and now < until for until in ends)
        if not lasts and not watch.is_licensed(run, now):
            raise Broken(
                "I7", f"{run} of tier {life.tier} runs at {now}, approvals ended at {ends}"
            )


def _emergencies(watch: Watch) -> None:
    """I9: 72 hours for a halt, 30 days for a tightening, unless a majority kept it."""
    book = watch.world.law.book
    for name, row in book.state.halts.items():
        filed = watch.opened[name].at
        kept = name in watch.decided and watch.decided[name].outcome == "kept"
        limit = (30 if kept else 3) * DAY + watch.moved_since(filed)
        if book.now >= filed + limit:
            raise Broken("I9", f"HALT {name} of {filed} still acts at {book.now}: {row}")
    for run, life in book.state.lives.items():
        acting = set(book.state.halts)
        for name in life.halts:
            by_finding = name.startswith("HALT:C")
            if not by_finding and name not in acting:
                raise Broken("I9", f"{run} is halted by {name}, which is over")
    for name, tightening in book.state.tightenings.items():
        filed = watch.opened[name].at
        kept = name in watch.decided and watch.decided[name].outcome == "kept"
        if not kept and book.now >= filed + 30 * DAY + watch.moved_since(filed):
            raise Broken("I9", f"TIGHTEN_NOW {name} still acts: {tightening}")


def _suspensions(watch: Watch) -> None:
    """I17."""
    members = watch.world.law.members()
    suspended = [state for state, status in members.items() if status == "SUSPENDED"]
    total = sum(status != "LEFT" for status in members.values())
    if len(suspended) > bound(total):
        raise Broken("I17", f"{suspended} of {total} are suspended")


def _cases_stay(watch: Watch) -> None:
    """I19: whoever corrects what, every case is still there."""
    rows = watch.world.law.book.state.cases
    for case, severity in watch.severity.items():
        if case not in rows or rows[case].severity < severity:
            raise Broken("I19", f"{case} of severity {severity} is {rows.get(case)}")


_AFTER_EACH: Final[tuple[Callable[[Watch], None], ...]] = (
    _deadlines,
    _approvals_last,
    _emergencies,
    _suspensions,
    _cases_stay,
)

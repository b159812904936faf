"""A second evaluation of votes and deadlines, written from the treaty's model alone, slow and plain.

It shares no code with the law beyond the types of entries and records. It is told what happens, in the order of the log:
that time passed, that an entry was taken or refused, that the law opened a motion or found something. From that it works out by
itself who may vote, by which rule and threshold, which votes count, when each motion closes, how, and whether one state could
have changed it; `Naive.decided` holds its decisions for comparison with the law's.

Taken from the records, since they are not its subject: which findings are raised, which motion is opened on what, who was drawn
(`redrawn` says that apart), whether a motion failed a condition that is judged again at the close, and shares that an
amendment of the rule table set.
"""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from foedus.v1 import content_pb2 as pb
from node.treaty.derived import (
    CaseStep,
    Decision,
    Derived,
    Drawn,
    MotionOpened,
    Outage,
    PolicyStep,
)
from node.treaty.entries import Entry

HOUR: Final = 3_600
DAY: Final = 24 * HOUR
CHOICES: Final = {pb.CHOICE_YES: "yes", pb.CHOICE_NO: "no", pb.CHOICE_ABSTAIN: "abstain"}
# MODEL 4: how long each kind is open. TRAIN, HALT and AMEND have two times each.
DEADLINES: Final = {
    "TRAIN": 30 * DAY, "DEPLOY": 30 * DAY, "EXEMPT": 30 * DAY, "CLASS": 30 * DAY, "BREACH": 21 * DAY,
    "INSPECT": 12 * HOUR, "TIGHTEN_NOW": 30 * DAY, "APPEAL": 30 * DAY, "APPOINT": 14 * DAY,
    "CHIPTYPE": 30 * DAY, "CLASSIFY": 30 * DAY, "SUSPEND": 30 * DAY,
}  # fmt: skip
# MODEL 4: the outcome if nobody acts, and the one that yes-votes lead to.
OUTCOMES: Final = {
    "TRAIN": ("not_approved", "approved"), "DEPLOY": ("not_approved", "approved"),
    "EXEMPT": ("not_granted", "granted"), "CLASS": ("not_granted", "granted"),
    "INSPECT": ("goes_ahead", "stopped"), "AMEND": ("unchanged", "adopted"),
    "TIGHTEN_NOW": ("lapsed", "kept"), "APPEAL": ("upheld", "overturned"),
    "APPOINT": ("no_change", "appointed"), "CHIPTYPE": ("not_approved", "approved"),
    "CLASSIFY": ("released", "restricted"), "SUSPEND": ("no_change", "suspended"),
}  # fmt: skip
SHARES: Final = {"MAJ": (1, 3), "SUP": (2, 3), "HIGH": (3, 4), "STOP": (3, 4), "PANEL": (2, 3)}
REPLY_S: Final = 5 * DAY
CALLUP_S: Final = 7 * DAY
OUTAGE_S: Final = 600
JUDGED_AGAIN: Final = frozenset({"TRAIN", "DEPLOY", "EXEMPT", "AMEND", "SUSPEND"})


def rounded_up(share: tuple[int, int], of: int) -> int:
    num, den = share
    return (num * of + den - 1) // den


def bound(members: int) -> int:
    """k of `members` (LAW K3)."""
    faulty = (members - 1) // 3
    return min(max(1, (members - 1) // 4), faulty)


def trigger(members: int) -> int:
    return max(2, (members + 19) // 20)


def winner(rule: str, threshold: int, lift: int, yes: int, no: int) -> int:
    """0: the default stands. 1: yes wins. 2: a halt is lifted."""
    if lift and no >= lift:
        return 2
    if yes < threshold or (rule == "MAJ" and yes <= no):
        return 0
    return 1


@lru_cache(maxsize=4_096)
def possible_ends(
    had: tuple[int, int, int], voters: int, k: int, rule: str, threshold: int, lift: int
) -> frozenset[int]:
    """Every end that is still possible: the silent vote in any way, and k of those who voted change in any way.

    `had`: votes of yes, no, abstain. Silent states fill up what grows; what shrinks, so many have changed.
    """
    ends = set()
    for yes in range(voters + 1):
        for no in range(voters - yes + 1):
            final = (yes, no, voters - yes - no)
            changes = [max(0, before - after) for before, after in zip(had, final, strict=True)]
            if sum(changes) <= k:
                ends.add(winner(rule, threshold, lift, yes, no))
    return frozenset(ends)


@dataclass
class Open:
    """A motion that is open, as the naive reader has it."""

    motion: str
    kind: str
    rule: str
    threshold: int
    lift: int
    k: int
    trigger: int
    eligible: frozenset[str]
    subjects: frozenset[str]
    filed_at: int
    closes_at: int
    not_before: int = 0  # no early close before
    drawn: frozenset[str] | None = None  # of a panel; None until it is drawn
    case: str = ""
    votes: dict[str, str] = field(default_factory=dict)
    barred: set[str] = field(default_factory=set)
    callers: set[str] = field(default_factory=set)

    def voters(self) -> frozenset[str]:
        if self.rule != "PANEL":
            return self.eligible
        return self.drawn or frozenset()

    def count(self, choice: str) -> int:
        return sum(vote == choice for vote in self.votes.values())


class Result(NamedTuple):
    """What is compared with the law's Decision."""

    outcome: str
    rule: str
    threshold: int
    yes: int
    no: int
    abstain: int
    absent: int
    closed_at: int
    could_change: int


def result_of(decision: Decision) -> Result:
    """The law's Decision in the same form."""
    return Result(
        decision.outcome,
        decision.rule,
        decision.threshold,
        decision.yes,
        decision.no,
        decision.abstain,
        decision.absent,
        decision.closed_at,
        decision.one_state_could_change,
    )


class Naive:
    """See the file's head. `now` is ledger time in seconds."""

    def __init__(self, now: int, members: tuple[str, ...]) -> None:
        self.now = now
        self.members = dict.fromkeys(members, "MEMBER")
        self.withdrawn: dict[str, int] = {}
        self.suspended: dict[str, int] = {}
        self.open: dict[str, Open] = {}
        self.decided: dict[str, Result] = {}
        self.reply_due: dict[str, int] = {}  # of cases RAISED
        self.heard: set[str] = set()  # cases REPLIED or SILENT
        self.shares: dict[str, tuple[int, int]] = {}
        self.seqs: dict[
            tuple[str, int], tuple[bytes, str]
        ] = {}  # what each author said under each seq
        self.barriers: dict[str, str] = {}  # motion -> the law's reason for the default

    def standing(self) -> frozenset[str]:
        return frozenset(
            state for state, status in self.members.items() if status in {"MEMBER", "WITHDRAWING"}
        )

    def total(self) -> int:
        return sum(status != "LEFT" for status in self.members.values())

    def threshold(self, rule: str, voters: int, k: int) -> int:
        floor = 1 if rule == "PANEL" else max(1, k + 1)
        own = rounded_up(SHARES[rule], voters)
        asked = rounded_up(self.shares.get(rule, SHARES[rule]), voters)
        return max(floor, own if asked >= voters else asked)

    # --- what happens -------------------------------------------------------------------------------

    def stood_still(self, outage: Outage) -> None:
        """Votes and replies get back what the ledger took from them (RULINGS R34)."""
        assert outage.moved == outage.until - outage.since - OUTAGE_S
        for motion in self.open.values():
            motion.closes_at += outage.moved
        for case in self.reply_due:
            self.reply_due[case] += outage.moved

    def pass_time(self, until: int, barriers: dict[str, str]) -> None:
        """Go to `until`, second by second where something falls due; `barriers` as the law gave them."""
        self.barriers |= barriers
        while (due := self._next_due()) <= until:
            self.now = max(due, self.now)
            self._at_this_second()
        self.now = until

    def _next_due(self) -> int:
        times = [motion.closes_at for motion in self.open.values()]
        times += [due + 1 for due in self.reply_due.values()]
        times += [one.not_before for one in self.open.values() if one.not_before > self.now]
        times += [at + 365 * DAY for at in self.withdrawn.values()]
        times += list(self.suspended.values())
        return min(times, default=1 << 60)

    def _at_this_second(self) -> None:
        for motion in [one for one in self.open.values() if one.closes_at <= self.now]:
            self._close(motion)
            self._early()
        for state in [one for one, at in self.suspended.items() if at <= self.now]:
            del self.suspended[state]
            self.members[state] = "WITHDRAWING" if state in self.withdrawn else "MEMBER"
        for state in [one for one, at in self.withdrawn.items() if at + 365 * DAY <= self.now]:
            del self.withdrawn[state]
            self.suspended.pop(state, None)
            self.members[state] = "LEFT"
        for case in [one for one, due in self.reply_due.items() if due < self.now]:
            del self.reply_due[case]
            self.heard.add(case)
        self._early()

    def take(self, entry: Entry, code: str | None, records: tuple[Derived, ...]) -> str | None:
        """An entry came, the law said `code` (None: taken) and derived `records`. Returns the code of a vote as read here."""
        self.barriers |= {
            one.motion: one.reason for one in records if isinstance(one, Decision) and one.reason
        }
        parsed = entry.parsed
        verdict = code
        if code not in {"SCHEMA", "UNKNOWN_AUTHOR", "SEQ_GAP", "DUPLICATE", "COUNTERSIGN"}:
            earlier = self.seqs.setdefault((parsed.author, parsed.seq), (entry.entry_hash, ""))
            if code == "EQUIVOCATION":
                self._equivocation(parsed.author, earlier[1], parsed.kind, parsed.body)
            elif parsed.kind == "vote":
                self.seqs[parsed.author, parsed.seq] = (entry.entry_hash, parsed.body.motion)
                # Mandates, periods and refs are the law's to judge: such a vote is not taken here either.
                if code not in {"MANDATE", "PERIOD"} and not (
                    code == "UNKNOWN_REF" and (parsed.refs or parsed.body.mandate_ref)
                ):
                    verdict = self._vote(parsed.author, parsed.body)
            elif code is None:
                self._statement(parsed.author, parsed.kind, parsed.body, entry.endorsers)
        self._records(records)
        self._early()
        return verdict

    def _vote(self, state: str, body: pb.Vote) -> str | None:
        motion = self.open.get(body.motion)
        if motion is None:
            return "CLOSED" if body.motion in self.decided else "UNKNOWN_REF"
        if state not in motion.voters() or state in motion.barred:
            return "NOT_ELIGIBLE"
        motion.votes[state] = CHOICES[body.choice]
        return None

    def _equivocation(self, state: str, earlier: str, kind: str, body: pb.Vote) -> None:
        if kind != "vote" or not earlier:
            return
        for name in (earlier, body.motion):
            motion = self.open.get(name)
            if motion is not None and state in (motion.drawn or motion.eligible):
                motion.votes.pop(state, None)
                motion.barred.add(state)

    def _statement(self, author: str, kind: str, body: object, signers: tuple[str, ...]) -> None:
        if isinstance(body, pb.Instrument):
            if body.type in {pb.INSTRUMENT_TYPE_ACCEDE, pb.INSTRUMENT_TYPE_RATIFY}:
                self.members[author] = "MEMBER"
            elif body.type == pb.INSTRUMENT_TYPE_WITHDRAW:
                self.withdrawn[author] = self.now
                if self.members[author] == "MEMBER":
                    self.members[author] = "WITHDRAWING"
        elif isinstance(body, pb.Note) and body.type == pb.NOTE_TYPE_CALLUP:
            self._call_up(body.about, {author, *signers})

    def _call_up(self, name: str, callers: set[str]) -> None:
        motion = self.open.get(name)
        if motion is None or motion.rule != "PANEL" or self.now >= motion.filed_at + CALLUP_S:
            return
        motion.callers |= {one for one in callers if self.members.get(one, "LEFT") != "LEFT"}
        if motion.callers & motion.subjects or len(motion.callers) >= motion.trigger:
            self._plenary(motion)

    def _plenary(self, motion: Open) -> None:
        motion.rule, motion.not_before = "SUP", 0
        motion.threshold = self.threshold("SUP", len(motion.eligible), motion.k)

    def _records(self, records: tuple[Derived, ...]) -> None:
        for record in records:
            match record:
                case MotionOpened():
                    self._opened(record)
                case CaseStep(status="RAISED"):
                    self.heard.discard(record.case)
                    self.reply_due[record.case] = record.at + REPLY_S
                case CaseStep(status="REPLIED"):  # by an entry
                    self.reply_due.pop(record.case, None)
                    self.heard.add(record.case)
                case Drawn(what="panel"):
                    motion = self.open.get(record.draw)
                    if motion is not None and motion.rule == "PANEL" and record.drawn:
                        motion.drawn = frozenset(record.drawn)
                        motion.barred &= motion.drawn
                    elif motion is not None and motion.rule == "PANEL":
                        self._plenary(motion)
                case PolicyStep(event="IN_FORCE") if record.param.startswith("rule/"):
                    self.shares[record.param.removeprefix("rule/")] = (record.value, record.per)
                case _:
                    pass

    def advance(self, until: int, records: tuple[Derived, ...]) -> None:
        """The law's clock went to `until` and derived these; each is dated at its own second."""
        barriers = {
            one.motion: one.reason for one in records if isinstance(one, Decision) and one.reason
        }
        for record in records:
            if isinstance(record, MotionOpened | CaseStep | Drawn | PolicyStep):
                self.pass_time(record.at, barriers)
                self._records((record,))
                self._early()
        self.pass_time(until, barriers)

    def _opened(self, record: MotionOpened) -> None:
        """Everything that is fixed at filing, worked out again."""
        by_finding = record.motion.startswith(("BREACH:", "HALT:C"))
        kind, rule = record.kind, record.rule
        k = bound(self.total())
        eligible = self.standing() - set(record.subjects)
        seats = min(15, len(eligible)) if rule == "PANEL" else len(eligible)
        deadline = DEADLINES.get(kind, 0)
        if kind == "HALT":
            deadline = 30 * DAY if by_finding else 72 * HOUR
        elif kind == "AMEND":
            deadline = 60 * DAY if rule == "HIGH" else 14 * DAY
        elif kind == "TRAIN" and rule == "HIGH":
            deadline = 60 * DAY
        lift = self.threshold("SUP", len(eligible), k) if kind == "HALT" and rule == "MAJ" else 0
        self.open[record.motion] = Open(
            motion=record.motion,
            kind=kind,
            rule=rule,
            threshold=self.threshold(rule, seats, k),
            lift=lift,
            k=k,
            trigger=trigger(self.total()),
            eligible=eligible,
            subjects=frozenset(record.subjects),
            filed_at=record.at,
            closes_at=record.at + deadline,
            not_before=record.at + CALLUP_S if rule == "PANEL" else 0,
            case=record.about if kind == "BREACH" else "",
        )

    # --- how it ends --------------------------------------------------------------------------------

    def _early(self) -> None:
        """LAW K5, by trying every count that could still come to be."""
        again = True
        while again:
            again = False
            for motion in list(self.open.values()):
                if self._may_close(motion) and self._settled(motion):
                    self._close(motion)
                    again = True

    def _may_close(self, motion: Open) -> bool:
        if self.now < motion.not_before or (motion.rule == "PANEL" and motion.drawn is None):
            return False
        return not motion.case or motion.case in self.heard

    def _settled(self, motion: Open) -> bool:
        had = (motion.count("yes"), motion.count("no"), motion.count("abstain"))
        voters = len(motion.voters()) - len(motion.barred & motion.voters())
        ends = possible_ends(had, voters, motion.k, motion.rule, motion.threshold, motion.lift)
        never_early = motion.kind == "HALT" and motion.rule == "MAJ" and ends == {0}
        return len(ends) == 1 and not never_early

    def _close(self, motion: Open) -> None:
        del self.open[motion.motion]
        yes, no, abstain = motion.count("yes"), motion.count("no"), motion.count("abstain")
        absent = len(motion.voters()) - yes - no - abstain
        end = winner(motion.rule, motion.threshold, motion.lift, yes, no)
        changes = self._could_change(motion, end)
        if motion.motion in self.barriers:
            assert motion.kind in JUDGED_AGAIN, motion
            end, changes = 0, False
        outcome = self._outcomes(motion)[end]
        self.decided[motion.motion] = Result(
            outcome, motion.rule, motion.threshold, yes, no, abstain, absent, self.now, int(changes)
        )
        if outcome == "suspended":
            (state,) = motion.subjects
            self.members[state] = "SUSPENDED"
            self.suspended[state] = self.now + 180 * DAY

    def _outcomes(self, motion: Open) -> tuple[str, ...]:
        if motion.kind == "HALT":
            return ("lapsed", "kept", "lifted") if motion.rule == "MAJ" else ("stays", "lifted")
        if motion.kind == "BREACH":
            own = motion.case == motion.motion
            return ("not_upheld", "upheld") if own else ("upheld", "set_aside")
        return OUTCOMES[motion.kind]

    def _could_change(self, motion: Open, end: int) -> bool:
        """Every eligible state in turn answers otherwise, absentees and equivocators too."""
        for state in motion.voters():
            for choice in ("yes", "no", "abstain"):
                votes = motion.votes | {state: choice}
                yes = sum(vote == "yes" for vote in votes.values())
                no = sum(vote == "no" for vote in votes.values())
                if winner(motion.rule, motion.threshold, motion.lift, yes, no) != end:
                    return True
        return False


def redrawn(beacon: bytes, motion: str, eligible: tuple[str, ...]) -> list[str]:
    """LAW section 3 written again: the seats of a panel."""
    seed = hashlib.sha256(beacon + motion.encode()).digest()
    stream = iter(
        byte
        for block in range(4_096)
        for byte in hashlib.sha256(seed + block.to_bytes(4, "big")).digest()
    )
    left = sorted(eligible)
    seats: list[str] = []
    while left and len(seats) < 15:
        count = len(left)
        size = 0 if count == 1 else 1  # up to 256 states
        while True:
            value = next(stream) if size else 0
            if value < 256**size - 256**size % count:
                break
        seats.append(left.pop(value % count))
    return seats

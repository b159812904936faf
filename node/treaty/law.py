"""The law as a state machine: entries and time in, decisions, findings and case steps out.

    law = Law.at_genesis(facts, index)           once, or Law.restore(facts, index, state rows)
    for each committed batch:
        law.stood_still(second of the commit before, second of this one)
        law.advance(floor(time_ms / 1000))       clock effects, each dated at its due second
        law.accuse(state, ...)                   for each state that the commit's blocks prove to have signed twice
        for each entry, in order:
            key = law.resolve_key(author, kid)   the ledger verifies signatures with it
            law.apply(entry)                     accepted, rejected or dropped, and what follows
        law.drain_changes()                      rows for the store and the state digest

Within one second the clock goes first, then entries (LAW K1, RULINGS R24); after each of both, every
motion that it touched is looked at for an early close (K5). Nothing here can be stopped by a state:
all deadlines are ledger time, and every one has a default.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from node.treaty import (
    amendments,
    ballots,
    beacon,
    cases,
    consent,
    duties,
    entry_into_force,
    epochs,
    equivocations,
    evaluators,
    explanations,
    inspections,
    lives,
    motions,
    outage,
    register,
    reports,
    runs,
    statements,
    teachers,
)
from node.treaty.book import (
    RANK_DUTY,
    RANK_LAPSE,
    RANK_MOTION,
    RANK_SILENT,
    Accepted,
    Book,
    Chance,
    Refused,
    derived_ref,
)
from node.treaty.checks import budget, sampling
from node.treaty.codes import DROPPED, Code
from node.treaty.derived import Derived, Rejected, Uncountersigned, VetoCheck
from node.treaty.earlier_laws import NEWEST, was_unknown
from node.treaty.entries import NO_PREVIOUS, Entry, EntryFacts, EntryIndex
from node.treaty.genesis import LAW_VERSIONS, GenesisFacts, is_in_force
from node.treaty.rehearsal import Rehearsal
from node.treaty.rows import NEVER
from node.treaty.rows.parties import Chain, Seat
from node.treaty.tables import WouldChange
from node.treaty.veto import veto_check

_RULES: Final[dict[str, Callable[[Book, Entry, Any], Accepted]]] = {
    name: kind.take for name, kind in statements.KINDS.items()
} | motions.FILERS
# What follows from a draw whose round is over, by what is drawn.
_DRAWS: Final[dict[str, Callable[[Book, Chance], None]]] = {
    ballots.PANEL: ballots.seat_panel,
    inspections.TEAM: inspections.draw_team,
    sampling.SITES: sampling.draw_sites,
    inspections.WATCH: inspections.draw_watch,
    evaluators.EXAMINER: evaluators.draw_examiner,
    explanations.PANEL: explanations.draw_panel,
}
_CLOCK: Final = motions.CLOCK | statements.CLOCK


class RegisteredKey(NamedTuple):
    """A key in force now."""

    public_key: bytes  # Ed25519, 32 bytes
    purpose: str  # "author" or "vote"


class Outcome(NamedTuple):
    """What became of one entry.

    Append the entry exactly if `facts` is given; then append `derived` after it, in order (a
    rejected entry's first is its Rejected). Without facts the code is one of `codes.DROPPED`.
    """

    code: Code | None  # None: accepted
    why: str  # for a person; empty if accepted
    facts: EntryFacts | None  # the row the ledger keeps for it
    derived: tuple[Derived, ...]
    uncountersigned: bool = False


class Law:
    """Equal genesis and equal calls give equal outcomes, records and state."""

    def __init__(self, book: Book) -> None:
        self._book = book
        law_version = book.genesis.law_version
        self._rules = {
            kind: rule for kind, rule in _RULES.items() if is_in_force(kind, law_version)
        }

    @classmethod
    def at_genesis(cls, genesis: GenesisFacts, index: EntryIndex) -> "Law":
        """The law before its first commit; its first `advance` yields the VetoCheck.

        Raises InvalidPolicy, or ValueError naming what is wrong with the members or parties.
        """
        if genesis.law_version not in LAW_VERSIONS:
            raise ValueError(f"law_version={genesis.law_version}: known are laws {LAW_VERSIONS}")
        unlisted = [
            member.state for member in genesis.members if member.state not in genesis.states
        ]
        if unlisted:
            raise ValueError(f"members {unlisted} are not on the genesis list of states")
        book = Book(genesis, index)
        register.found(book)
        amendments.watch_thresholds(book)
        sampling.schedule(book)
        return cls(book)

    @classmethod
    def restore(
        cls, genesis: GenesisFacts, index: EntryIndex, items: Iterable[tuple[bytes, bytes]]
    ) -> "Law":
        """The law whose drained changes add up to `items`, in any order.

        Raises DamagedRow. The first call must be `resume` with the time of the last commit.
        """
        book = Book(genesis, index)
        book.state.load(items)
        _reindex(book)
        return cls(book)

    def advance(self, time_s: int) -> tuple[Derived, ...]:
        """All clock effects due up to `time_s`, each dated at its due second (RULINGS R24).

        With nothing due nothing changes. Time never runs backwards: the ledger's clock is monotone.
        """
        book = self._book
        assert time_s >= book.now, f"ledger time ran backwards: {book.now} -> {time_s}"
        self._settle()
        while (due := book.pop_due(time_s)) is not None:
            at_s, what, name = due
            book.now = max(at_s, book.now)
            self._clock_effect(what, name)
            self._settle()
        book.now = time_s
        return self._derived()

    def accuse(self, state: str, *, epoch: int, round_: int, proof: bytes) -> tuple[Derived, ...]:
        """A committed block brought a verified proof that this state's node signed two blocks for one round.

        Before the entries of its commit, after `advance`. Nothing under law 1, or if that state and epoch have their case.
        """
        if not self._book.is_first_law:
            equivocations.accuse(self._book, state, epoch, round_, proof)
            self._settle()
        return self._derived()

    def stood_still(self, since_s: int, until_s: int) -> tuple[Derived, ...]:
        """Two successive commits came at these seconds: more than an outage apart, open deadlines move (RULINGS R34).

        To be called before `advance(until_s)`, with the law's clock at `since_s` or earlier.
        """
        assert self._book.now <= since_s <= until_s, f"{self._book.now}, {since_s} -> {until_s}"
        outage.stood_still(self._book, since_s, until_s)
        return self._derived()

    def resume(self, time_s: int) -> tuple[Derived, ...]:
        """After `restore`: the clock stands where the last commit left it.

        What fell due before that second was derived then, so nothing comes of this. What the last commit's entries made due in
        that very second waits for the next commit, as it did before the restart.
        """
        late = self.advance(time_s - 1) if time_s > self._book.now else ()
        self._book.now = time_s
        return late

    def _clock_effect(self, what: str, name: str) -> None:
        book = self._book
        match what:
            case "close":
                motion = book.state.motions.get(name)
                if motion is not None and book.now < motion.closes_at:  # an outage moved it
                    book.schedule(motion.closes_at, RANK_MOTION, "close", name, motion.order)
                elif motion is not None:
                    motions.close(book, name, motion)
            case "early":
                book.to_judge[name] = None
            case "until":
                runs.approval_ends(book, name)
            case "leave":
                register.leave(book, name)
                epochs.consider(book)
            case "epoch":
                epochs.close(book)
            case "eif":
                entry_into_force.consider(book)
            case "silent":
                cases.fall_silent(book, name)
            case "slot":
                reports.slot_due(book, name)
            case "duty":
                duties.duty_due(book, name)
            case "access":
                duties.access_due(book, name)
            case "progress":
                budget.progress_due(book, name)
            case "beacon":
                beacon.round_due(book)
            case "veto":
                register.show_veto_check(book)
            case "covered":
                amendments.thresholds_due(book)
            case _:
                _CLOCK[what](book, name)

    def _settle(self) -> None:
        """Draw what a round was awaited for; close every motion whose outcome nothing can change any more (LAW K5)."""
        book = self._book
        while book.to_draw or book.to_judge:
            if book.to_draw:
                chance = book.to_draw.pop(0)
                _DRAWS[chance.what](book, chance)
                continue
            name = next(iter(book.to_judge))
            del book.to_judge[name]
            motion = book.state.motions.get(name)
            if motion is not None and ballots.may_close_early(book, name, motion):
                motions.close(book, name, motion)
            if book.case_moved and not book.to_judge:
                book.case_moved = False
                amendments.reconsider(book)

    def _derived(self) -> tuple[Derived, ...]:
        derived = tuple(self._book.derived)
        self._book.derived.clear()
        return derived

    def apply(self, entry: Entry) -> Outcome:
        """Judge one entry at the second of the last `advance`, and early closes after it."""
        book = self._book
        parsed = entry.parsed
        code, why = self._chain_verdict(entry)
        if code is Code.EQUIVOCATION:
            return self._equivocation(entry, why)
        if code is not None:
            return Outcome(code=code, why=why, facts=None, derived=())
        accepted: Accepted | None = None
        try:
            accepted = self._rule_on(book, entry)
        except Refused as refusal:
            code, why = refusal.code, refusal.why
        if code in DROPPED:
            assert not book.derived, f"a dropped entry left {book.derived}"
            return Outcome(code=code, why=why, facts=None, derived=())
        book.state.chains.put(parsed.author, Chain(parsed.seq, entry.entry_hash))
        if accepted is None:
            assert code is not None, "an entry neither accepted nor refused"
            return self._rejected(entry, code, why)
        if accepted.uncountersigned:
            self._note_uncountersigned(entry)
        elif entry.endorsers and book.state.namings:
            consent.endorsed(book, entry)
        if book.to_judge or book.to_draw:
            self._settle()
        facts = _facts(book, entry, accepted.topic, "")
        derived = self._derived() if book.derived else ()
        return Outcome(None, "", facts, derived, accepted.uncountersigned)

    def _rule_on(self, book: Book, entry: Entry) -> Accepted:
        """Its kind's own rule. Raises Refused."""
        parsed = entry.parsed
        rule = self._rules.get(parsed.kind)
        if rule is None or parsed.kind not in motions.FILERS:  # filers resolve refs themselves
            for ref in parsed.refs:
                book.referred(ref)
        if rule is None:
            # The schema knows the kind, so old and new software agree on its form; no role may
            # write it yet. It stays on the log, which shows that somebody tried.
            why = f"{parsed.kind} is not in force under law {book.genesis.law_version}"
            raise Refused(Code.FILER, why)
        return rule(book, entry, parsed.body)

    def check(self, entry: Entry) -> tuple[Code | None, str]:
        """The code that `apply` would give this entry now, with the reason; changes nothing (`rehearsal`)."""
        code, why = self._chain_verdict(entry)
        if code is not None:
            return code, why
        try:
            self._rule_on(Rehearsal(self._book), entry)
        except Refused as refusal:
            return refusal.code, refusal.why
        except WouldChange:
            pass  # the rule had nothing against it
        return None, ""

    def _note_uncountersigned(self, entry: Entry) -> None:
        book, parsed = self._book, entry.parsed
        name = f"{parsed.author}/{parsed.content_hash.hex()}"
        offered_at = book.state.offers[name].at
        book.state.offers.drop(name)
        book.emit(
            Uncountersigned(
                entry=entry.entry_hash,
                index=entry.leaf,
                state=book.state_of(parsed.author),
                at=book.now,
                offered_at=None if book.is_first_law else offered_at,
            )
        )

    def _chain_verdict(self, entry: Entry) -> tuple[Code | None, str]:
        """The first of SCHEMA, UNKNOWN_AUTHOR, SEQ_GAP, DUPLICATE, EQUIVOCATION that applies."""
        book = self._book
        parsed = entry.parsed
        if parsed.ledger != book.genesis.chain_id:
            return Code.SCHEMA, "signed for another ledger"
        if book.law < NEWEST and (unknown := was_unknown(parsed, book.law)):
            return Code.SCHEMA, unknown
        key = register.key_in_force(book, parsed.author, entry.kid)
        wanted = register.VOTE if parsed.kind == "vote" else register.AUTHOR
        if key is None or key.purpose != wanted:
            return Code.UNKNOWN_AUTHOR, f"{parsed.author} has no such {wanted} key"
        seq, prev = self.author_tip(parsed.author)
        if parsed.seq > seq:
            return Code.SEQ_GAP, f"seq {parsed.seq}, and {seq} is next"
        if parsed.seq == seq:
            if parsed.prev != prev:
                return Code.SEQ_GAP, f"prev is not the entry with seq {seq - 1}"
            if parsed.endorsements and book.index.by_content(parsed.content_hash) is not None:
                return Code.DUPLICATE, "this endorsed content is already on the ledger"
            return None, ""
        earlier = book.index.at_seq(parsed.author, parsed.seq)
        assert earlier is not None, f"the index lost {parsed.author}'s entry {parsed.seq}"
        if earlier.content_hash == parsed.content_hash:
            return Code.DUPLICATE, f"the content of seq {parsed.seq} again"
        if book.index.get(entry.entry_hash) is not None:
            return Code.DUPLICATE, "this equivocation is already recorded"
        return Code.EQUIVOCATION, f"seq {parsed.seq} was used for another content"

    def _equivocation(self, entry: Entry, why: str) -> Outcome:
        """Two contents under one seq: recorded, no effect, C29; two votes bar the voter (LAW K16)."""
        book = self._book
        parsed = entry.parsed
        earlier = book.index.at_seq(parsed.author, parsed.seq)
        assert earlier is not None, "judged an equivocation without its first entry"
        if parsed.kind == "vote" and earlier.kind == "vote":
            for motion in (earlier.topic.removeprefix("vote:"), parsed.body.motion):
                ballots.bar(book, motion, parsed.author)
        party = book.state.parties[parsed.author]
        cases.raise_finding(
            book,
            "C29",
            party.state,
            f"seq{parsed.seq}",
            severity=4 if party.role == "state" else 2,  # K48
            size=0,
            inputs=(earlier.entry_hash, entry.entry_hash),
            actor=parsed.author,
        )
        self._settle()
        return self._rejected(entry, Code.EQUIVOCATION, why)

    def _rejected(self, entry: Entry, code: Code, why: str) -> Outcome:
        book = self._book
        self._settle()
        rejected = Rejected(
            entry=entry.entry_hash, index=entry.leaf, code=code.value, why=why, at=book.now
        )
        return Outcome(
            code=code,
            why=why,
            facts=_facts(book, entry, _topic_refused(book, entry), code.value),
            derived=(book.stamped(rejected), *self._derived()),
        )

    @property
    def next_due_s(self) -> int | None:
        """The second of the next clock effect, or None. It may prove to be a mere look at the clock."""
        return self._book.next_due()

    def drain_changes(self) -> dict[bytes, bytes | None]:
        """State rows that changed since the last call: key -> value, None = gone (RULINGS R20)."""
        return self._book.state.drain_changes()

    def resolve_key(self, author: str, kid: bytes) -> RegisteredKey | None:
        """The key in force now with this id (RULINGS R71), or None (code UNKNOWN_AUTHOR)."""
        row = register.key_in_force(self._book, author, kid)
        return RegisteredKey(row.public_key, row.purpose) if row else None

    def author_tip(self, author: str) -> tuple[int, bytes]:
        """(next seq, prev) for the author's next entry."""
        chain = self._book.state.chains.get(author)
        return (chain.seq + 1, chain.entry_hash) if chain else (1, NO_PREVIOUS)

    def veto_check(self) -> VetoCheck:
        """MODEL 7 for the present membership."""
        return veto_check(self._book.membership(), self._book.now, self._book.shares())

    def in_force_since(self) -> int | None:
        """The second since which the treaty is in force; None while it is provisional (MODEL 7)."""
        return entry_into_force.in_force_since(self._book)

    @property
    def epoch(self) -> int:
        """The number of the epoch in force (SPEC 14)."""
        return epochs.number_of(self._book)

    @property
    def is_closing(self) -> bool:
        """Whether the next committee is fixed: the engine is to end the epoch."""
        return epochs.is_closing(self._book)

    def committee(self) -> Mapping[str, int]:
        """State -> number of its seat, in validator order; 0 is a founder's, which the genesis document has."""
        return epochs.committee(self._book)

    def seat(self, state: str, number: int) -> Seat:
        """A seat declared since the founding. Raises KeyError."""
        return self._book.state.seats[epochs.seat_name(state, number)]

    def second_key(self, state: str, number: int) -> bytes:
        """The ML-DSA-44 cosigner key of a seat declared since the founding; empty: it has none."""
        row = self._book.state.second_keys.get(epochs.seat_name(state, number))
        return b"" if row is None else row.public_key

    def seat_leaf(self, state: str, number: int) -> int:
        """The entry that declared a seat; 0, the leaf that names the genesis, for a founder's first. Raises KeyError."""
        return self.seat(state, number).leaf if number else 0

    def declared_seats(self) -> Mapping[str, int]:
        """Bound states -> number of their newest seat, whether or not they validate yet; ascending."""
        return epochs.declared_seats(self._book)

    def end_epoch(self) -> None:
        """The engine's last commit of its epoch is done; the next committee is in force. Only while `is_closing`."""
        epochs.end_epoch(self._book)

    @property
    def book(self) -> Book:
        """The open book, for views. Read it; only the law writes."""
        return self._book

    def policy_value(self, param: str, at_s: int) -> int:
        """The value of a parameter at a ledger second, as far as it is known now. Raises KeyError."""
        return amendments.foreseen(self._book, param, at_s)

    def members(self) -> Mapping[str, str]:
        """State -> MEMBER, SUSPENDED, WITHDRAWING or LEFT, in ascending order."""
        return {state: row.status for state, row in sorted(self._book.state.members.items())}


def _topic_refused(book: Book, entry: Entry) -> str:
    """A vote names its motion even if it is refused: contradicting it costs the vote there (LAW K16)."""
    if entry.parsed.kind == "vote" and not book.is_first_law:
        return f"vote:{entry.parsed.body.motion}"
    return ""


def _facts(book: Book, entry: Entry, topic: str, code: str) -> EntryFacts:
    parsed = entry.parsed
    return EntryFacts(  # in the order of its fields: names cost a third of it
        entry.entry_hash,
        entry.leaf,
        parsed.author,
        parsed.seq,
        parsed.kind,
        topic,
        code,
        parsed.content_hash,
        book.now,
    )


def _reindex(book: Book) -> None:
    """Rebuild from the rows all that follows from them."""
    state = book.state
    for run, plan in sorted(state.plans.items()):
        book.index_plan(run, plan, lives.done_of(state.lives[run]))
    teachers.reindex(book)
    for name in state.cases:
        book.by_ref[derived_ref(name)] = name
    motions.reschedule(book)
    beacon.schedule(book)
    register.schedule_veto_check(book)
    epochs.schedule(book)
    entry_into_force.schedule_slow_door(book)
    for name, motion in state.motions.items():
        book.schedule(motion.closes_at, RANK_MOTION, "close", name, motion.order)
        book.schedule(motion.early_from, RANK_MOTION, "early", name)
    for name, case in state.cases.items():
        if case.status == "RAISED":
            book.schedule(case.reply_due + 1, RANK_SILENT, "silent", name)
    for run, life in state.lives.items():
        if life.until != NEVER:
            book.schedule(life.until, RANK_LAPSE, "until", run)
        if life.status == "RUNNING" and life.tier >= lives.TIER_WITH_OVERSIGHT:
            book.schedule(life.last_at + 1, RANK_DUTY, "progress", run)
    for state_code, member in state.members.items():
        if member.status == "WITHDRAWING":
            due = member.since + register.withdrawal_s(book)
            book.schedule(due, RANK_LAPSE, "leave", state_code)
    for state_code, suspended in state.suspensions.items():
        if suspended.status == "WITHDRAWING":
            due = suspended.since + register.withdrawal_s(book)
            book.schedule(due, RANK_LAPSE, "leave", state_code)
    for name, facility in state.facilities.items():
        if facility.slot:
            due = facility.covered_at + facility.due_slot * facility.slot
            book.schedule(due, RANK_DUTY, "slot", name)
    for what in state.duties:
        duties.schedule_duty(book, what)
    for name, access in state.access.items():
        duties.schedule_access(book, name, access)
    statements.reschedule(book)
    amendments.watch_thresholds(book)

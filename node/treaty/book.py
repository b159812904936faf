"""The open book: state, policy, time and what has been derived so far in this call.

Every rule takes the book as its first argument, reads rows, puts rows, and emits derived values.
Besides the rows there are indexes over them (what is due when, who descends from whom): they are
rebuilt by `reindex`, so a restored book is the same book.
"""

import hashlib
import heapq
from typing import Final, NamedTuple

from node.treaty.codes import Code
from node.treaty.derived import RECORD_MAX, RECORD_MAX_LAW_1, Derived, capped
from node.treaty.entries import EntryFacts, EntryIndex
from node.treaty.genesis import GenesisFacts
from node.treaty.policy import Policy, parse_policy
from node.treaty.rows.clock import Counter
from node.treaty.rows.runs import Plan
from node.treaty.rows.sites import Lot, Stock
from node.treaty.rows.verdicts import Case
from node.treaty.rules import effective_share, threshold_of
from node.treaty.state import State

# Order of clock effects within one second (LAW K1).
RANK_VETO_CHECK: Final = 0
RANK_MOTION: Final = 1
RANK_LAPSE: Final = 2
RANK_SILENT: Final = 3
RANK_DUTY: Final = 4
POLICY_VERSION: Final = "policy_version"  # counter
VETO_CHECK_DUE: Final = "veto_check_due"  # counter: a veto check is pending since then


class Accepted(NamedTuple):
    """What a rule says of an entry that it took."""

    topic: str  # EntryFacts.topic
    uncountersigned: bool = False


class Refused(Exception):
    """The rule that an entry broke. Raised by rules before they change anything."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


def derived_ref(name: str) -> bytes:
    """How `refs` name a finding, a case or a motion that opened by itself: SHA-256 of its id."""
    return hashlib.sha256(name.encode()).digest()


class Chance(NamedTuple):
    """What came of a draw that `beacon.ask` asked for."""

    what: str
    name: str
    round: int  # 0: no round was needed, or none could be held
    value: bytes | None  # None: too few members anchor or revealed


class Group:
    """Runs that C15 looks at together, and the PFLOP they have done: an upper bound of what counts."""

    __slots__ = ("done", "runs")

    def __init__(self, *runs: str) -> None:
        self.runs = list(runs)
        self.done = 0


class Book:
    """See the file's head. `due` is a heap of (second, rank, order, what, name), some stale."""

    def __init__(self, genesis: GenesisFacts, index: EntryIndex) -> None:
        self.genesis = genesis
        self.law = genesis.law_version
        self.founding_policy = parse_policy(genesis.policy, drill=genesis.drill, law=self.law)
        self.policy: Policy = self.founding_policy  # as motions left it
        self.index = index
        self.state = State()
        self.now = genesis.time_s
        self.derived: list[Derived] = []
        self.case_moved = False  # a case entered a status: what waits for it may look again
        self.to_draw: list[Chance] = []  # draws whose round is over
        self.to_judge: dict[str, None] = {}  # motions whose early close may have come
        self.due: list[tuple[int, int, int, str, str]] = []
        self.pending: dict[tuple[str, str], int] = {}
        self.by_ref: dict[bytes, str] = {}  # derived_ref -> case id
        self.runs_at: dict[str, list[str]] = {}  # facility -> runs that list it among their sites
        self.stocks_at: dict[str, list[str]] = {}  # facility -> keys of its stocks, in any order
        self.on_way: dict[
            tuple[bytes, str, str], list[str]
        ] = {}  # root, ends -> lots, oldest first
        self.children: dict[str, list[str]] = {}  # run -> runs that name it as parent
        self.groups: dict[str, Group] = {}  # C15 group by its key
        self.groups_of: dict[str, list[str]] = {}  # run -> the keys of its groups
        self.component: dict[str, Group] = {}  # run -> its lineage group, shared by all its runs

    @property
    def is_first_law(self) -> bool:
        """Whether this ledger lives under law 1: then what later laws brought stays silent (record 0120)."""
        return self.law == 1

    def value(self, param: str) -> int:
        """The present value of a policy parameter."""
        return self.policy.value(param, self.now)

    def threshold(self, rule: str, voters: int, k: int) -> int:
        """The yes-votes that a rule asks now, amendments of the rule table included."""
        share = self.state.shares.get(rule)
        return threshold_of(rule, voters, k, (share.num, share.den) if share else None)

    def share(self, rule: str, voters: int) -> tuple[int, int]:
        """The share of so many voters that a rule asks now: the treaty's own, or as a motion amended it."""
        row = self.state.shares.get(rule)
        return effective_share(rule, voters, (row.num, row.den) if row else None)

    def shares(self) -> dict[str, tuple[int, int]]:
        """The amended rows of the rule table."""
        return {rule: (row.num, row.den) for rule, row in self.state.shares.items()}

    def ask_veto_check(self) -> None:
        """Membership or rule table changed: what one state can block is computed anew (MODEL 7)."""
        self.state.counters.put(VETO_CHECK_DUE, Counter(self.now))
        self.schedule(self.now, RANK_VETO_CHECK, "veto", "")

    def emit(self, value: Derived) -> None:
        """Yield a derived value; a number beyond what records hold says "at least so much" (record 0153)."""
        self.derived.append(self.stamped(value))

    def stamped(self, value: Derived) -> Derived:
        """As `emit` yields it: from law 2 on with law and policy version."""
        if self.is_first_law:
            return capped(value, RECORD_MAX_LAW_1)
        return capped(value, RECORD_MAX, law=self.law, policy=self.policy_version)

    @property
    def policy_version(self) -> int:
        """1 at the founding, and one more each time a motion's change begins or ends to act."""
        row = self.state.counters.get(POLICY_VERSION)
        return row.value if row is not None else 1

    def policy_moved(self) -> None:
        """A motion's change of a parameter or of the rule table begins or ends to act."""
        if not self.is_first_law:
            self.state.counters.put(POLICY_VERSION, Counter(self.policy_version + 1))

    def schedule(self, at_s: int, rank: int, what: str, name: str, order: int = 0) -> None:
        """Have the clock look at `what` of `name` at `at_s`.

        At most one look per (what, name) is pending, the earliest: its handler finds out whether the
        time has really come and else schedules again, so the queue never outgrows the rows.
        """
        pending = self.pending.get((what, name))
        if pending is None or at_s < pending:
            self.pending[what, name] = at_s
            heapq.heappush(self.due, (at_s, rank, order, what, name))

    def pop_due(self, until_s: int) -> tuple[int, str, str] | None:
        """The next (second, what, name) due at or before `until_s`, or None."""
        while self.due and self.due[0][0] <= until_s:
            at_s, _, _, what, name = heapq.heappop(self.due)
            if self.pending.get((what, name)) == at_s:
                del self.pending[what, name]
                return at_s, what, name
        return None

    def next_due(self) -> int | None:
        """The second of the next look, stale ones thrown away."""
        while self.due and self.pending.get(self.due[0][3:]) != self.due[0][0]:
            heapq.heappop(self.due)
        return self.due[0][0] if self.due else None

    def count(self, name: str) -> int:
        """The next number of a counter, from 1."""
        row = self.state.counters.get(name)
        value = row.value + 1 if row else 1
        self.state.counters.put(name, Counter(value))
        return value

    def draws_for(self, param: str) -> bool:
        """Whether lots are drawn for what this parameter governs.

        Scenarios give a beacon to all draws from the start and name who is drawn themselves, unless their policy names
        the parameter.
        """
        return not self.is_first_law and (
            self.genesis.beacon is None or param in self.founding_policy.schedules
        )

    def is_listed(self, state: str) -> bool:
        """Whether a state may be bound: on the genesis list, or admitted to it by three quarters (MODEL 7)."""
        return state in self.genesis.states or f"state/{state}" in self.state.appointments

    def qualified(self, author: str, name: str) -> str:
        """The id that `author` means by `name` (LAW K53)."""
        if not self.genesis.qualified_ids or "/" in name:
            return name
        return f"{author}/{name}"

    def put_case(self, name: str, row: Case) -> None:
        if name not in self.state.cases:
            self.by_ref[derived_ref(name)] = name
        self.state.cases.put(name, row)

    def put_stock(self, facility: str, key: str, row: Stock) -> None:
        """A count of one chip type at a site."""
        is_new = key not in self.state.stocks
        self.state.stocks.put(key, row)  # first: `Law.check` stops here
        if is_new:
            self.stocks_at.setdefault(facility, []).append(key)

    def put_lot(self, name: str, row: Lot) -> None:
        """A new lot is on its way."""
        self.state.lots.put(name, row)
        self.index_lot(name, row)

    def index_lot(self, name: str, row: Lot) -> None:
        """Enter a lot not arrived into the index by what an `in` says; lots come in the order of the log."""
        way = row.serial_root, row.origin, row.destination
        self.on_way.setdefault(way, []).append(name)

    def take_oldest_lot(self, serial_root: bytes, origin: str, destination: str) -> str | None:
        """The id of the lot that has been on this way the longest; it is so no more."""
        way = serial_root, origin, destination
        lots = self.on_way.get(way)
        if not lots:
            return None
        name = lots.pop(0)
        if not lots:
            del self.on_way[way]
        return name

    def index_plan(self, run: str, plan: Plan, done: int) -> None:
        """Enter a run into the indexes of lineage and of C15's groups."""
        for parent in plan.parents:
            self.children.setdefault(parent, []).append(run)
        for site in plan.sites:
            self.runs_at.setdefault(site, []).append(run)
        merged = self.component.setdefault(run, Group(run))
        merged.done += done
        for parent in plan.joined:  # in any order: a restored book reads plans by name
            other = self.component.setdefault(parent, Group(parent))
            if other is not merged:
                small, large = sorted((merged, other), key=lambda group: len(group.runs))
                large.runs.extend(small.runs)
                large.done += small.done
                for member in small.runs:
                    self.component[member] = large
                merged = large
        self.groups_of[run] = []
        self.join_groups(run, plan, done)

    def join_groups(self, run: str, plan: Plan, done: int) -> None:
        """Enter a run into C15's groups that it is not in yet: of its owners, its code, its data."""
        keys = [f"owner:{owner}" for owner in self.owners_of_run(run, plan)]
        if plan.code_hash:
            keys.append(f"code:{plan.code_hash.hex()}")
        if plan.doc_root:
            keys.append(f"data:{plan.doc_root.hex()}")
        known = set(self.groups_of[run])
        self.groups_of[run] = keys
        for key in keys:
            if key in known:
                continue
            group = self.groups.get(key)
            if group is None:
                group = self.groups[key] = Group()
            group.runs.append(run)
            group.done += done

    def owners_of_run(self, run: str, plan: Plan) -> list[str]:
        """The ultimate owners that its operator has, or has had since the plan, sorted."""
        row = self.state.owning.get(run)
        return list(row.owners) if row is not None else self.ultimate_owners(plan.operator)

    def add_done(self, run: str, gained: int) -> None:
        """A run's work grew: so did its groups'."""
        self.component[run].done += gained
        for key in self.groups_of[run]:
            self.groups[key].done += gained

    def owner_closure(self, party: str, *, since: int | None = None) -> set[str]:
        """The party and all its direct and indirect owners, with `since` also those it has had from that second on."""
        seen = {party}
        ahead = [party]
        while ahead:
            name = ahead.pop()
            row = self.state.parties.get(name)
            past = self.state.owned.get(name) if since is not None else None
            owners = list(row.owners) if row else []
            if past is not None and since is not None:
                owners += [owner for owner, until in past.past if until > since]
            for owner in owners:
                if owner not in seen:
                    seen.add(owner)
                    ahead.append(owner)
        return seen

    def ultimate_owners(self, party: str) -> list[str]:
        """Those of the owner closure whom nobody owns, sorted."""
        rows = {owner: self.state.parties.get(owner) for owner in self.owner_closure(party)}
        return sorted(owner for owner, row in rows.items() if row is None or not row.owners)

    def referred(self, ref: bytes) -> EntryFacts | str:
        """What a ref leads to: an accepted entry, or a case id. Raises Refused UNKNOWN_REF."""
        facts = self.index.get(ref)
        if facts is not None and not facts.code:
            if facts.kind == "BREACH" and not self.is_first_law:
                return facts.topic.removeprefix("BREACH:")  # its case bears the motion's id
            return facts
        case = self.by_ref.get(ref)
        if case is None:
            raise Refused(Code.UNKNOWN_REF, f"{ref.hex()} is no accepted entry and no case")
        return case

    def state_of(self, party: str) -> str:
        """The controlling state of a registered party; SEC for the secretariat."""
        return self.state.parties[party].state

    def standing(self) -> list[str]:
        """States in good standing, sorted: they vote unless recused."""
        return sorted(
            state
            for state, member in self.state.members.items()
            if member.status in {"MEMBER", "WITHDRAWING"}
        )

    def membership(self) -> int:
        """N: members, suspended and withdrawing states (LAW K3)."""
        return sum(member.status != "LEFT" for _, member in self.state.members.items())

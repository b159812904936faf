"""What the law yields: frozen values that `node/ledger` writes into the log as records.

Their fields are consensus (RULINGS R72): every node must compute the same values, and a changed
field is a new `law_version`. All are integers, text, bytes or tuples of these; `None` only where
said, and in fields that law 2 brought, which have a default: a record of law 1 leaves them out.
Seconds are ledger seconds. Tuples are sorted unless a docstring says otherwise. A case, a finding, a
run and a facility are named by text ids; a filed motion by the hex of its entry hash.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeAlias

RECORD_MAX: Final = (1 << 53) - 1  # MODEL 2: every integer is exact in JSON readers
RECORD_MAX_LAW_1: Final = (1 << 64) - 1  # what law 1 left to the encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Under which law and which policy a value was derived; from law 2 on, filled in as it is emitted.

    The policy's version counts from 1 each time a motion's change of a parameter, or of the rule table, begins or ends to act;
    what the policy says at a second follows from genesis and the `policy` records up to that version.
    """

    law: int | None = None
    policy: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Record):
    """An appended entry that broke a rule; it used its `seq` (but for EQUIVOCATION) and does nothing."""

    entry: bytes  # SHA-256 of the entry
    index: int  # its leaf
    code: str  # a codes.Code
    why: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncountersigned(Record):
    """An accepted statement that its author's state has not endorsed, long enough after its offer."""

    entry: bytes
    index: int
    state: str  # who withheld
    at: int
    offered_at: int | None = None  # when the author first showed it (RULINGS R15)


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionOpened(Record):
    """A motion and what was fixed when it was filed (LAW K3)."""

    motion: str
    kind: str  # TRAIN, BREACH
    about: str  # run, finding or case the motion is about
    subjects: tuple[str, ...]  # recused states
    rule: str  # MAJ, SUP, HIGH, PANEL, STOP
    threshold: int
    eligible: tuple[str, ...]
    panel: tuple[str, ...]  # in draw order; empty for a plenary motion
    default: str  # the outcome if nobody acts
    closes_at: int
    at: int
    share: tuple[int, int] | None = (
        None  # the rule's share of yes-votes, as numerator and denominator
    )
    k: int | None = None  # how many hostile states the threshold withstands


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Record):
    """The outcome of a motion (LAW section 3). yes + no + abstain + absent = voters."""

    motion: str
    kind: str
    about: str
    outcome: str
    rule: str
    threshold: int
    yes: int
    no: int
    abstain: int
    absent: int
    eligible: tuple[str, ...]
    panel: tuple[str, ...]  # in draw order
    votes: tuple[tuple[str, str], ...]  # (state, yes | no | abstain)
    subjects: tuple[str, ...]
    filed_at: int
    closed_at: int
    in_force_at: int | None
    until: int | None  # an approval lapses at this second
    one_state_could_change: int  # 0 or 1
    reason: str  # "" or why the default stands against the votes (LAW K41)
    share: tuple[int, int] | None = None  # as the motion was filed, or called up
    k: int | None = None
    policy_filed: int | None = None  # the version that fixed rule and threshold
    ballots: tuple[bytes, ...] | None = None  # the entries of `votes`, in their order


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivocation(Record):
    """A state's node signed two blocks for one round, and a committed block brought the proof (law 2 on, record 0138)."""

    state: str
    epoch: int
    round: int
    proof: bytes  # as blocks carry it: whoever has the state's block key can verify it alone
    finding: str  # the Finding that follows
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Record):
    """A check's output, new or risen in severity."""

    finding: str  # CHECK:SUBJECT:ABOUT, with #2, #3 ... when repeated later
    check: str
    subject: str  # a state, or SEC
    about: str
    severity: int  # 0 to 4
    numbers: tuple[tuple[str, int], ...]  # what the formula compared, by name
    inputs: tuple[bytes, ...]  # hashes of the entries it rests on
    at: int
    formula: str | None = None  # id and version, with what it asks (`grounds`)
    asks: str | None = None
    limits: tuple[tuple[str, int], ...] | None = (
        None  # policy parameters that it reads, as they were
    )
    level: int | None = None  # 1 use, 2 deployment, 3 training, 4 hardware and algorithms
    clears: str | None = None  # what would clear it


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingEnded(Record):
    """A warning (C04w) is over; no other finding ever ends."""

    finding: str
    entry: bytes  # what ended it
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseStep(Record):
    """A case entered a status."""

    case: str
    status: (
        str  # RAISED, REPLIED, SILENT, UPHELD, SET_ASIDE, NOT_UPHELD, APPEALED, FINAL, EXPLAINED
    )
    subject: str
    severity: int
    result: str | None  # UPHELD, SET_ASIDE, NOT_UPHELD once decided
    entry: bytes  # the reply; empty where time or a decision caused the step
    reply_due: int  # the reply is in time up to and including this second
    at: int
    motion: str | None = None  # its BREACH; empty below severity 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep(Record):
    """A run entered a status or a tier."""

    run: str
    status: str  # as MODEL 9 names them: PLANNED to DEPLOYED, WITHDRAWN, SEALED
    tier: int
    lineage_pflop: int
    gates: tuple[str, ...]  # which gates put it in this tier
    at: int
    plan: bytes | None = None  # the entry that declared it
    own_pflop: int | None = None
    limits: tuple[tuple[str, int], ...] | None = None  # the thresholds that bind it
    motion: str | None = None  # the last one that asked for its approval; empty: none


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStep(Record):
    """A motion's hold on a policy parameter, or on a row of the rule table, began or ended."""

    motion: str
    param: str  # or rule/NAME
    event: str  # IN_FORCE, WAITING, DROPPED, KEPT, LAPSED, ENDED
    value: int  # the parameter's value now; of a rule the numerator of its share
    per: int  # 1; of a rule the denominator
    reason: str  # why it waits or was dropped, else empty
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VetoCheck(Record):
    """What one state can block with this membership (MODEL 7). Recorded at genesis and on change.

    Each of the eight counts is the largest k for which that rule is k-veto-free, with all members
    eligible or with one recused.
    """

    members: int
    k: int
    f: int
    trigger: int  # MODEL's q
    quorum: int
    veto_possible: int  # 0 or 1: shown as "provisional: veto possible"
    all_maj: int
    all_sup: int
    all_high: int
    all_stop: int
    one_recused_maj: int
    one_recused_sup: int
    one_recused_high: int
    one_recused_stop: int
    at: int
    shares: tuple[tuple[str, int, int], ...] | None = (
        None  # rows of the rule table that motions amended
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOpened(Record):
    """A round of the beacon opened: who is to reveal a link, and until when (RULINGS R63)."""

    round: int
    expected: tuple[str, ...]
    due: int  # in time up to and including this second
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon(Record):
    """A round of the beacon is over: SHA-256 of the revealed links in this order, if they are enough."""

    round: int
    beacon: bytes  # 32 bytes; empty if fewer than `needed` revealed
    needed: int  # k+1
    revealed: tuple[tuple[str, bytes], ...]  # (state, link)
    silent: tuple[str, ...]  # expected, and skipped
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn(Record):
    """What a round drew: `drawn` of `population`, in draw order; nobody if the round gave no beacon."""

    draw: str  # what it is for: a motion's id, for example
    what: str  # panel, team, ...
    round: int
    population: tuple[str, ...]
    drawn: tuple[str, ...]
    at: int
    beacon: bytes | None = (
        None  # what it was drawn by, so that it can be drawn again; empty: nothing
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage(Record):
    """The ledger stood still between two commits, and open deadlines moved (RULINGS R34)."""

    since: int  # the commit before
    until: int  # the commit after
    moved: int  # seconds
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NamingStep(Record):
    """What came of naming an owner abroad, or a party for a state that did not register it (law 3, record 0240)."""

    party: str
    owner: str  # named as its owner; empty: its state is named to answer for it
    state: str  # whose word is asked: the owner's state, or the party's
    event: str  # NAMED, CONSENTED, ATTESTED, SILENT, OBJECTED, WITHDRAWN, VOID
    named_by: bytes  # the statement that names
    entry: bytes  # what this event follows from; empty: the clock
    due: int  # an objection is in time up to and including this second
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryIntoForce(Record):
    """The treaty is in force from here on; what came before was provisional (MODEL 7)."""

    door: str  # fast: the named states are bound; slow: 180 days, with enough of the world
    members: tuple[str, ...]
    five_since: int
    capacity_bp: int  # the members' share of the world's capacity, and of its chip-making
    fab_bp: int
    at: int


Derived: TypeAlias = (
    Rejected
    | Uncountersigned
    | MotionOpened
    | Decision
    | Equivocation
    | Finding
    | FindingEnded
    | CaseStep
    | RunStep
    | PolicyStep
    | VetoCheck
    | RoundOpened
    | Beacon
    | Drawn
    | Outage
    | NamingStep
    | EntryIntoForce
)


def capped(value: Derived, most: int, **filled: int) -> Derived:
    """`value` with every number beyond +-`most` put at that limit, and the fields of Record `filled` in.

    Sums of what states said know no bound; records do.
    """
    changes: dict[str, Any] = dict(filled)
    for field in fields(value):
        name, held = field.name, getattr(value, field.name)
        if type(held) is int:
            if held > most:
                changes[name] = most
        elif name == "numbers" and any(abs(number) > most for _, number in held):
            changes[name] = tuple((what, min(max(number, -most), most)) for what, number in held)
    return replace(value, **changes) if changes else value

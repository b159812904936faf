"""Motions, what they decided, and the policy as they left it."""

from typing import NamedTuple

from node.treaty.codec import Value


class Motion(NamedTuple):
    """Key: motion id. An open motion; what is above `votes` was fixed at filing (LAW K3)."""

    kind: str
    order: int
    about: str
    subjects: tuple[str, ...]
    rule: str
    threshold: int
    k: int
    eligible: tuple[str, ...]
    panel: tuple[str, ...]
    filed_at: int
    closes_at: int
    early_from: int  # no early close before this second
    case: str
    tier: int
    until: int
    inspectors: tuple[str, ...]
    mandate: int  # 1: votes need an own mandate note
    votes: tuple[tuple[str, str], ...]  # sorted by state
    barred: tuple[str, ...]  # equivocators, sorted
    trigger: int  # how many states may call a panel motion to the plenary
    callers: tuple[str, ...]  # who has asked for that, sorted


class Ground(NamedTuple):
    """Key: motion id. Of an open motion what its Decision will tell beside the tally."""

    policy: int  # the version that fixed rule and threshold
    num: int  # the rule's share of yes-votes
    den: int
    ballots: tuple[tuple[str, bytes], ...]  # (state, entry of its last vote), sorted


class Closed(NamedTuple):
    """Key: motion id."""

    kind: str
    outcome: str
    closed_at: int


class Course(NamedTuple):
    """Key: parameter. Its schedule once an AMEND entered force, as pairs (second, value or generator's numbers)."""

    segments: tuple[tuple[int, Value], ...]


class Share(NamedTuple):
    """Key: rule. What an AMEND of the rule table made of its share of yes-votes."""

    num: int
    den: int


class Amendment(NamedTuple):
    """Key: motion id. An AMEND that is open, or adopted and not yet in force."""

    order: int
    param: str  # or rule/NAME
    loosens: int
    shape: tuple[tuple[int, Value], ...]  # as Course.segments; of a rule ((num, den),)
    filed_at: int
    in_force_at: int  # NEVER while it is open
    waits: int  # 1: a case of severity 4 keeps it from entering force


class Tightening(NamedTuple):
    """Key: motion id. A TIGHTEN_NOW in effect."""

    param: str
    value: int
    filed_at: int
    until: int  # NEVER: kept, until an AMEND filed after `closed_at` enters force
    closed_at: int  # NEVER while it is open


class Halting(NamedTuple):
    """Key: motion id. A filed HALT in effect."""

    run: str  # or empty
    facility: str  # or empty: then it halts all runs there
    until: int
    lift: int  # no-votes that end it at once, fixed at filing (LAW K3, K8)


class Standard(NamedTuple):
    """Key: id of the APPOINT motion that adopted it, as criteria for the horizon name it (LAW K42)."""

    name: str


class Removal(NamedTuple):
    """Key: motion id. A capability that was voted off the list, till it is off."""

    name: str
    in_force_at: int


class Rest(NamedTuple):
    """Key: kind/what. The last such act ended without success: another must wait (LAW K49, K52)."""

    since: int


class Walks(NamedTuple):
    """Key: a state. How many of its amendments of a daily course were judged on the newest day it filed one."""

    day: int  # ledger seconds div 86,400
    judged: int


class Inspection(NamedTuple):
    """Key: motion id. An INSPECT that was filed, for the quotas and for C28."""

    requester: str
    subject: str
    site: str  # facility, or the hash in hex of an evidence note
    filed_at: int
    free: int  # 1: counts for no quota
    closed_at: int  # NEVER while it is open
    stopped: int
    cited: tuple[str, ...]  # cases of which an inspection under it is evidence

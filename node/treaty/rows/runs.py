"""Training runs and models: plans, lives, data, evaluations, deployments, harm."""

from typing import NamedTuple

from node.treaty.codec import Value


class Plan(NamedTuple):
    """Key: run id. What was declared; never changes."""

    entry: bytes
    operator: str
    state: str
    model: str
    params_total: int
    pflop_plan: int
    parents: tuple[str, ...]
    joined: tuple[str, ...]  # parents whose work joins this run's C15 group (LAW K33)
    forecast_bp: int
    code_hash: bytes
    doc_root: bytes
    sites: tuple[str, ...]
    gates: tuple[int, ...]  # tiers.Gates when the plan was included


class Life(NamedTuple):
    """Key: run id. What became of it."""

    status: str
    tier: int
    gates: tuple[str, ...]  # which gates decided the tier
    own: int  # PFLOP: the greater of plan and done until the end, then done (LAW K17)
    lineage: int  # PFLOP: own work and that of all distinct ancestors
    approved: int  # tier of the valid approval; 0 = none
    until: int  # the approval ends at this second, or NEVER
    motion: str  # the open TRAIN, else the last one
    inspectors: tuple[str, ...]
    limits: tuple[int, ...]  # tiers.Gates frozen at start; empty before
    reported: int  # last pflop_done
    used: int  # PFLOP of all usage shares
    started_at: int  # or NEVER, as the next two
    last_at: int  # last run entry
    ended_at: int
    refused_at: int
    halted_done: int  # done at the first report after a halt; -1 = none yet
    halts: tuple[str, ...]  # HALT motions in effect, sorted


class Model(NamedTuple):
    """Key: model id, declared once."""

    run: str


class Evaluations(NamedTuple):
    """Key: model id. The last evaluation of each evaluator, sorted by evaluator."""

    rows: tuple[tuple[Value, ...], ...]  # evaluations.Evaluation each


class Work(NamedTuple):
    """Key: run id. What C26 compares at its end; tokens -1 = not said."""

    params_active: int
    tokens: int  # the last said


class Manifest(NamedTuple):
    """Key: run id. The data it says it was trained on."""

    entry: bytes
    tokens: int  # over all licence classes
    doc_root: bytes
    documents: int


class Claim(NamedTuple):
    """Key: entry hash of a rights_claim in hex."""

    run: str
    document: bytes
    claimant: str
    due: int  # answered in time up to and including this second
    answered: int  # 0 or 1


class Denial(NamedTuple):
    """Key: run id, ':', document hash in hex. The developer proved that this document is not among its data."""

    entry: bytes


class Licence(NamedTuple):
    """Key: id of a CLASS motion that was granted."""

    operator: str  # empty: any operator
    domain: str
    until: int


class Release(NamedTuple):
    """Key: model id. A deployment that was approved."""

    run: str
    motion: str
    mode: str
    sites: tuple[str, ...]  # empty: any
    stewards: tuple[str, ...]  # states that hold the weights' shares
    threshold: int  # so many of them can join the weights
    shown: tuple[str, ...]  # stewards that confirmed their share
    asked_at: int  # evaluations from here on fulfil the present duty


class Incidents(NamedTuple):
    """Key: model id. The last entries that report harm done with it, and how many there were."""

    entries: tuple[bytes, ...]
    total: int
    worst: int


class Named(NamedTuple):
    """Key: run. Cases of severity 4 that name it."""

    cases: tuple[str, ...]


class Deployment(NamedTuple):
    """Key: id of a DEPLOY motion that is open or was approved."""

    shown: tuple[bytes, ...]  # its refs: which evaluations it shows
    cap_ver: int
    stewards: tuple[str, ...]  # states
    mode: str
    sites: tuple[str, ...]  # empty: anywhere


class Owning(NamedTuple):
    """Key: run. All ultimate owners its operator has had since the plan, where they changed (C15)."""

    owners: tuple[str, ...]


class Purpose(NamedTuple):
    """Key: run. What its plan says it is for, if it says so."""

    name: str


class SafetyCase(NamedTuple):
    """Key: run. The newest argument that it is safe, and the adopted standard that it answers to (M17)."""

    entry: bytes
    standard: str  # motion that adopted it
    at: int


class Examiner(NamedTuple):
    """Key: run. The evaluator that was drawn for it; till `due` no deployment goes without its word (M39)."""

    evaluator: str
    due: int


class Sealed(NamedTuple):
    """Key: run. Its weights are put away for good (MODEL 9)."""

    entry: bytes
    at: int


class Benchmarks(NamedTuple):
    """Key: run. Which benchmark its forecast is of, and the caps of versions that had one of their own (record 0241)."""

    forecast: int  # version; 0 = not said
    has_forecast: int  # 0 or 1: a plan that forecasts nothing is held to nothing (C25)
    planned: tuple[tuple[int, int], ...]  # (version, cap) when the plan was included
    frozen: tuple[tuple[int, int], ...]  # at the start


class Teachers(NamedTuple):
    """Key: run. Runs of the models whose output it learns from: (run, share of its lineage in bp, first entry that says so)."""

    rows: tuple[tuple[Value, ...], ...]

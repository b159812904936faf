"""The JSON of the rehearsal. Each part is filled by the step that measured it; none has a value before."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    decision: str
    yes: int
    no: int
    absent: int
    receipt_verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalWithSilence:
    decision: str
    yes: int
    no: int
    absent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VetoAttempt:
    voted: bool  # the accused's vote is on the ledger, recorded and not counted
    node_stopped: bool
    blocked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    check: str
    subject: str
    case: str
    veto_attempt: VetoAttempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    node: str
    detected: bool
    named: str  # node, entry and byte range, as the audit names them
    restored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    entries_replayed: int
    roots_equal: bool
    verdict: str


@dataclass(kw_only=True)
class Outcome:
    """What came out so far."""

    states: int | None = None
    processes: int | None = None
    entries_final: int | None = None
    log_size: int | None = None
    root: str | None = None
    approval: Approval | None = None
    approval_with_silence: ApprovalWithSilence | None = None
    violation: Violation | None = None
    erasure: Erasure | None = None
    audit: Audit | None = None
    seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Every part; null for what the story did not reach."""
        return asdict(self)

    @property
    def is_whole(self) -> bool:
        return all(value is not None for value in self.as_json().values())

"""How an engine stands, as figures: what an operator compares between nodes, and by which censorship or overload shows.

All are of this node alone and since its start. Another engine than the DAG fills what it has and leaves the rest at zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFigures:
    """One member, the own one included, as seen from here."""

    state: str
    round: int = 0  # newest block of it here
    commit_index: int = 0  # highest commit that it says it has reached
    leads_committed: int = 0  # leader slots of it that were committed, and that were skipped
    leads_skipped: int = 0
    ordered_round: int = 0  # newest block of it that is ordered
    ordered_p50_ms: int = 0  # of its newest blocks: from first seen here (own: made) until ordered
    ordered_max_ms: int = 0
    equivocated_round: int | None = None  # it signed two blocks for this round


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """One queue of bounded size."""

    name: str
    held: int
    limit: int
    unit: str  # "events", "bytes", "blocks", "commits", "entries", "refs"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """See the module's text."""

    signing: str = ""  # in words; "signing" where nothing is in doubt
    sign_state_lost: bool = False
    answers: int = 0  # while something is in doubt: other members' answers had, and needed to sign
    answers_needed: int = 0
    may_confirm_loss: bool = False  # one answer is missing: an operator's word would do
    quorum_index: int = 0  # highest commit that a quorum says it has reached
    commit_lag: int = 0  # of these, not applied here
    quorum_round: int = 0  # newest round of which a quorum's blocks are here
    members: tuple[MemberFigures, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)  # bundles and answers, by reason
    queues: tuple[QueueDepth, ...] = ()

"""From a question's name to a page of its answer, and the bytes that say it."""

import json
from collections.abc import Callable
from typing import Any, Final

from node.ledger.questions import labels, log_views, measures, scan, state_views
from node.ledger.questions.sight import Sight
from node.ledger.questions.state_views import Rows

ROWS_MAX: Final = 1_000  # of one page
ABOUT_CHARS_MAX: Final = 256

QUESTIONS: Final[dict[str, Callable[[Sight, str], Rows]]] = {
    "status": state_views.status,
    "members": state_views.members,
    "obligations": state_views.obligations,
    "facilities": state_views.facilities,
    "chips": state_views.chips,
    "runs": state_views.training_runs,
    "lineage": state_views.lineage,
    "motions": state_views.motions,
    "decisions": log_views.decisions,
    "cases": log_views.cases,
    "findings": log_views.findings,
    "inspections": state_views.inspections,
    "veto": state_views.veto,
    "policy": state_views.policy,
    "state": state_views.rows_of_state,
    "diff": state_views.diff,
    "breakout": state_views.breakout,
    "membership": state_views.coverage,
    "labels": labels.labels,
    "dossier": log_views.dossier,
    "levels": measures.levels,
    "places": measures.places,
    "makers": measures.makers,
    "firmware": measures.firmware,
    "remedies": measures.remedies,
    "papers": measures.papers,
    "scan": scan.scan,
    "knew": log_views.knew,
}


def ask(
    sight: Sight, question: str, *, about: str = "", after: str = "", limit: int = ROWS_MAX
) -> dict[str, Any]:
    """One page: rows in ascending order of keys, those behind `after`, at most `limit`. Raises KeyError: no such question."""
    found = sorted(
        (item for item in QUESTIONS[question](sight, about) if item[0] > after),
        key=lambda item: item[0],
    )
    page = found[: min(limit, ROWS_MAX)]
    return {
        "question": question,
        "about": about,
        "size": sight.size,
        "time_s": sight.now,
        "state_digest": sight.state_digest.hex(),
        "rows": [{"key": key, **row} for key, row in page],
        "next_after": page[-1][0] if len(found) > len(page) else None,
    }


def as_bytes(page: dict[str, Any]) -> bytes:
    """JSON in one spelling: sorted keys, no spaces, ASCII."""
    return json.dumps(page, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()

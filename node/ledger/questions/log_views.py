"""Questions that need the log's derived records beside the law's rows: decisions, cases and their age, dossiers, equal access."""

from typing import Any, Final

from node.ledger.questions.sight import Sight
from node.ledger.questions.state_views import Rows, plain
from node.treaty.scores import evaluations_of

_SHOWN_OF_A_DECISION: Final = (
    *("kind", "about", "outcome", "rule", "threshold", "yes", "no", "abstain", "absent"),
    *("eligible", "panel", "votes", "subjects", "filed_at", "closed_at", "in_force_at", "until"),
    "reason",
)


def decisions(sight: Sight, about: str) -> Rows:
    """Decided motions: rule, votes, margin, and whether one state's vote could have changed it. `about`: a kind."""
    for index, record in sight.records("decision"):
        if not about or record["kind"] == about:
            yield record["motion"], {"index": index, **_decision(record)}


def _decision(record: Any) -> dict[str, Any]:
    shown = {name: plain(record[name]) for name in _SHOWN_OF_A_DECISION}
    return {
        **shown,
        "margin": record["yes"] - record["threshold"],
        "one_state_could_change": bool(record["one_state_could_change"]),
    }


def cases(sight: Sight, about: str) -> Rows:
    """Cases with severity, age, reply and result. `about`: the subject state, `open`, or a case's id."""
    raised: dict[str, int] = {}
    replies: dict[str, str] = {}
    for _, record in sight.records("case"):
        name = record["case"]
        if record["status"] == "RAISED":
            raised[name] = record["at"]
        elif record["status"] == "REPLIED":
            replies[name] = record["entry"].hex()
    for name, case in sight.book.state.cases.items():
        is_open = not case.result
        if about and about not in {case.subject, name} and not (about == "open" and is_open):
            continue
        since = raised.get(name)
        yield (
            name,
            {
                "check": case.check,
                "subject": case.subject,
                "about": case.about,
                "severity": case.severity,
                "status": case.status,
                "result": case.result or None,
                "raised_at": since,
                "age_s": None if since is None else sight.now - since,
                "reply": replies.get(name),
                "reply_due": case.reply_due,
                "motion": case.motion or None,
            },
        )


def findings(sight: Sight, about: str) -> Rows:
    """What the checks found, each time: numbers compared and how grave. `about`: the subject state, or a check as `C02`."""
    for index, record in sight.records("finding"):
        if not about or about in {record["subject"], record["check"]}:
            shown = {name: record[name] for name in ("check", "subject", "about", "severity", "at")}
            numbers = {str(name): value for name, value in record["numbers"]}
            yield f"{record['finding']}@{index:010d}", {"index": index, **shown, "numbers": numbers}


def dossier(sight: Sight, about: str) -> Rows:
    """All that the ledger holds about one model, for who must judge a harm done with it. `about`: the model's id."""
    state = sight.book.state
    model = state.models.get(about)
    if model is None:
        return
    run = model.run
    plan, life = state.plans[run], state.lives[run]
    yield (
        "model",
        {
            "run": run,
            "developer": plan.operator,
            "state": plan.state,
            "owners": sorted(sight.book.ultimate_owners(plan.operator)),
            "plan": plan.entry.hex(),
            "status": life.status,
            "tier": life.tier,
            "lineage_pflop": life.lineage,
            "parents": list(plan.parents),
        },
    )
    for one in evaluations_of(sight.book, about):
        yield (
            f"evaluation:{one.evaluator}",
            {
                "entry": one.entry.hex(),
                "state": one.state,
                "score_bp": one.score_bp,
                "capabilities": dict(one.capabilities),
                "at": one.at,
            },
        )
    for name, case in state.cases.items():
        if case.about in {run, about} or name in _named(sight, run):
            shown = {"severity": case.severity, "status": case.status, "result": case.result}
            yield f"case:{name}", {**shown, "check": case.check, "subject": case.subject}
    for index, record in sight.records("decision"):
        if record["about"] in {run, about}:
            yield f"decision:{record['motion']}", {"index": index, **_decision(record)}
    release = state.releases.get(about)
    if release is not None:
        shown = {"motion": release.motion, "mode": release.mode, "sites": list(release.sites)}
        yield "release", {**shown, "stewards": list(release.stewards)}
    incidents = state.incidents.get(about)
    if incidents is not None:
        shown_entries = [entry.hex() for entry in incidents.entries]
        yield (
            "incidents",
            {"entries": shown_entries, "total": incidents.total, "worst": incidents.worst},
        )


def _named(sight: Sight, run: str) -> tuple[str, ...]:
    row = sight.book.state.named.get(run)
    return () if row is None else row.cases


def knew(sight: Sight, about: str) -> Rows:
    """What a state could read at this index: the same entries as every other member. `about`: the state.

    With a receipt of the last of these entries under `size` this proves equal access: the log under one root is all there is.
    """
    member = sight.book.state.members.get(about)
    yield (
        about or "members",
        {
            "status": "OUTSIDE" if member is None else member.status,
            "since": None if member is None else member.since,
            "reads": "P and R" if member is not None else "P",
            "entries": sight.size,
            "state_digest": sight.state_digest.hex(),
        },
    )

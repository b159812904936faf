"""Questions about single measures: levels of protection, regions, makers, firmware, remedies, and papers of states."""

from typing import Any, Final

from node.ledger.questions.sight import Sight
from node.ledger.questions.state_views import Rows, obligations
from node.treaty import consent, duties, lives
from node.treaty.checks import choke
from node.treaty.consent import claims_of
from node.treaty.grounds import DEPLOYMENT, GROUNDS, HARDWARE, LEVELS, TRAINING, USE
from node.treaty.rows.verdicts import Case
from node.treaty.teachers import teachers_of

_OF_CHIPS: Final = frozenset({"final", "removal"})  # duties about a site
_LEVEL_OF: Final = {"report": TRAINING, "progress": TRAINING, "access": TRAINING}


def levels(sight: Sight, about: str) -> Rows:
    """Obligations and open cases of each state by level: use, deployment, training, hardware and algorithms. `about`: a state.

    No level stands in for another: a model with perfect evaluations may still come from a training that nobody approved.
    """
    book = sight.book
    found = {
        (state, level): {"due": 0, "overdue": 0, "open_cases": 0, "incidents": 0}
        for state in {*book.state.members, duties.SECRETARIAT}
        for level in LEVELS
        if not about or state == about
    }

    def count(state: str, level: int, what: str, number: int = 1) -> None:
        if (state, level) in found:
            found[state, level][what] += number

    for _, row in obligations(sight, about):
        level = _LEVEL_OF.get(row["what"], duties.level_of(row["what"]))
        count(row["state"], level, "overdue" if row["overdue"] else "due")
    for case in book.state.cases.values():
        if not case.result:
            count(case.subject, _level_of_case(sight, case), "open_cases")
    for model, incidents in book.state.incidents.items():
        plan = book.state.plans[book.state.models[model].run]
        count(plan.state, USE, "incidents", incidents.total)
    for (state, level), row in found.items():
        yield f"{state}/{level}", {"state": state, "level": LEVELS[level], **row}


def _level_of_case(sight: Sight, case: Case) -> int:
    """Its check's own; of a duty overdue that of what the duty was about (`duties`)."""
    if case.check != "C28":
        ground = GROUNDS.get(case.check)
        return ground.level if ground is not None else TRAINING
    if case.about in sight.book.state.models:
        return DEPLOYMENT
    told, _, rest = case.about.partition(":")
    if case.about in sight.book.state.facilities or (rest and told in _OF_CHIPS):
        return HARDWARE
    return TRAINING


def places(sight: Sight, about: str) -> Rows:
    """Where capacity and developers are: shares in bp by state and, where they are told, by region. `about`: a place, as US."""
    state = sight.book.state
    capacity: dict[str, int] = {}
    work: dict[str, int] = {}
    for name, site in state.facilities.items():
        for place in _above(state.places[name].path if name in state.places else site.state):
            capacity[place] = capacity.get(place, 0) + site.capacity_mh
    for run, plan in state.plans.items():
        told = state.places.get(plan.operator)
        for place in _above(told.path if told else plan.state):
            work[place] = work.get(place, 0) + lives.done_of(state.lives[run])
    whole_mh = sum(site.capacity_mh for site in state.facilities.values())
    whole_pflop = sum(map(lives.done_of, state.lives.values()))
    for place in {*capacity, *work}:
        if not about or place == about or place.startswith(f"{about}/"):
            mh, pflop = capacity.get(place, 0), work.get(place, 0)
            shares = {"capacity_bp": _bp(mh, whole_mh), "developers_bp": _bp(pflop, whole_pflop)}
            yield place, {"capacity_mh": mh, "pflop_done": pflop, **shares}


def _above(path: str) -> list[str]:
    """A place and all that it lies in: US/CA is in US."""
    parts = path.split("/")
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def _bp(part: int, whole: int) -> int:
    return 10_000 * part // whole if whole else 0


def makers(sight: Sight, about: str) -> Rows:
    """Who makes what every frontier chip needs, with shares over the last four quarters. `about`: a step, as litho_tool."""
    quarter = (sight.now - sight.book.genesis.time_s) // choke.QUARTER_S
    for step in sorted(choke.STEPS):
        if about and step != about:
            continue
        made = choke.shares(sight.book, step, quarter + 1)
        whole = sum(made.values())
        for maker, pieces in made.items():
            row = {"step": step, "pieces": pieces, "share_bp": _bp(pieces, whole)}
            yield f"{step}/{maker}", row


def firmware(sight: Sight, about: str) -> Rows:
    """Firmware that groups of chips report, by state, and keys made before witnesses. `about`: a state, or a chip type."""
    state = sight.book.state
    groups: dict[tuple[str, str], int] = {}
    for device, meters in state.meters.items():
        owner = state.parties[device].state
        for row in meters.groups:
            told = row[4]
            assert isinstance(told, bytes), f"firmware of {device}: {told!r}"
            key = owner, told.hex()
            groups[key] = groups.get(key, 0) + 1
    totals: dict[str, int] = {}
    for (owner, _), number in groups.items():
        totals[owner] = totals.get(owner, 0) + number
    for (owner, told_hex), number in groups.items():
        if not about or owner == about:
            share = {"groups": number, "share_bp": _bp(number, totals[owner])}
            yield f"{owner}/{told_hex}", {"state": owner, "firmware": told_hex, **share}
    for chip_type, row in state.ceremonies.items():
        if not about or chip_type == about:
            shown = {"entry": row.entry.hex(), "key_hash": row.key_hash.hex()}
            yield f"key/{chip_type}", {**shown, "witnesses": list(row.states)}


def remedies(sight: Sight, about: str) -> Rows:
    """What upheld cases ask of their subjects, until when, and whether inspectors confirmed it. `about`: a state, or `open`."""
    state = sight.book.state
    for name, row in state.remedies.items():
        subject = state.cases[name].subject
        if about and about != subject and not (about == "open" and not row.done):
            continue
        overdue = not row.done and sight.now > row.due
        confirmed = row.done.hex() or None
        yield name, {"subject": subject, "due": row.due, "confirmed": confirmed, "overdue": overdue}


def papers(sight: Sight, about: str) -> Rows:
    """Earlier logs, sealed models, safety cases, doubted keys, former and claimed owners, teachers. `about`: a sort of these."""
    state = sight.book.state
    found: dict[str, dict[str, dict[str, Any]]] = {
        "prior_log": {
            name: {"entry": row.entry.hex(), "root": row.root.hex(), "size": row.size}
            for name, row in state.prior_logs.items()
        },
        "sealed": {
            run: {"entry": row.entry.hex(), "at": row.at} for run, row in state.sealed.items()
        },
        "safety_case": {
            run: {"entry": row.entry.hex(), "standard": row.standard, "at": row.at}
            for run, row in state.safety_cases.items()
        },
        "suspect": {
            party: {"spans": [list(span) for span in row.spans]}
            for party, row in state.suspects.items()
        },
        "former_owners": {
            party: {"past": [list(one) for one in row.past]} for party, row in state.owned.items()
        },
        "claimed": {
            party: {
                "owners": sorted(consent.claimed_owners(sight.book, party)),
                "its_state_answers": consent.is_heard(sight.book, party),
                "objected": [one.owner for one in claims_of(sight.book, party) if one.objected],
            }
            for party in state.namings
        },
        "teachers": {
            run: {"of": [[one.run, one.share_bp] for one in teachers_of(sight.book, run)]}
            for run in state.teachers
        },
    }
    for sort, rows in found.items():
        if not about or sort == about:
            for name, row in rows.items():
                yield f"{sort}/{name}", {"sort": sort, **row}

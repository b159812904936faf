"""Questions that the law's rows answer alone. Each yields (key, row) in any order; `about` narrows, empty means all."""

import functools
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from node.ledger.questions.sight import Sight
from node.treaty import duties, lives, reports, runs, tiers
from node.treaty.chips import CHIP_TYPES
from node.treaty.policy import FOLLOWS, PARAMS, moves_next, params_of
from node.treaty.rows import NEVER
from node.treaty.rows.sites import Stock
from node.treaty.rules import SHARES, f_of, k_of, trigger_of
from node.treaty.teachers import teachers_of

Rows = Iterator[tuple[str, dict[str, Any]]]

H100_GFLOPS: Final = 989_000  # one H100-equivalent, bf16 (MODEL 2)
UTILISATION_BP: Final = (
    4_000  # what training makes of it, as the significant quantity counts (CHECKS 3)
)
DAY: Final = 86_400


def obligations(sight: Sight, about: str) -> Rows:
    """What each state owes and until when: reports, counts and other duties, progress, replies, access. `about`: a state."""
    for key, row in _owed(sight):
        if not about or row["state"] == about:
            yield key, {**row, "overdue": sight.now > row["due"]}


def _owed(sight: Sight) -> Rows:
    book = sight.book
    for name, site in book.state.facilities.items():
        if site.slot:
            due = reports.slot_deadline(book, site, site.due_slot)
            row = {"state": site.state, "what": "report", "about": name, "due": due}
            yield f"report:{name}", {**row, "missed": site.missed}
    for what, duty in book.state.duties.items():
        subject, told = duties.who_and_what(book, what)
        yield f"duty:{what}", {"state": subject, "what": told[0], "about": told[1], "due": duty.due}
    for run, life in book.state.lives.items():
        if life.status == "RUNNING" and life.tier >= 2:
            due = lives.progress_deadline(book, life)
            state = book.state.plans[run].state
            yield f"progress:{run}", {"state": state, "what": "progress", "about": run, "due": due}
    for name, case in book.state.cases.items():
        if case.status == "RAISED":
            row = {"state": case.subject, "what": "reply", "about": name, "due": case.reply_due}
            yield f"reply:{name}", row
    for motion, access in book.state.access.items():
        if not access.granted and not access.judged:
            row = {"state": access.subject, "what": "access", "about": access.site}
            yield f"access:{motion}", {**row, "due": access.due}


def members(sight: Sight, about: str) -> Rows:
    """Who is bound since when. `about`: a state."""
    for state, member in sight.book.state.members.items():
        if not about or state == about:
            yield state, {"status": member.status, "since": member.since}


def status(sight: Sight, _about: str) -> Rows:
    """The treaty: in force or provisional, how many members, and what they can withstand."""
    count = sight.book.membership()
    yield (
        "treaty",
        {
            "in_force_since": sight.law.in_force_since(),
            "members": count,
            "good_standing": len(sight.book.standing()),
            "k": k_of(count),
            "f": f_of(count),
            "trigger": trigger_of(count),
            "law_version": sight.book.genesis.law_version,
        },
    )


def facilities(sight: Sight, about: str) -> Rows:
    """Declared sites. `about`: a state."""
    for name, site in sight.book.state.facilities.items():
        if not about or site.state == about:
            yield (
                name,
                {
                    "state": site.state,
                    "operator": site.operator,
                    "capacity_mh": site.capacity_mh,
                    "mem_gb": site.mem_gb,
                    "covered_at": site.covered_at if site.slot else None,
                    "slot_s": site.slot or None,
                    "missed_slots": site.missed,
                },
            )


def chips(sight: Sight, about: str) -> Rows:
    """Chips by site and type: the last count, what moved since, and the balance. `about`: a state."""
    state = sight.book.state
    for key, stock in state.stocks.items():
        site, _, chip_type = key.partition(":")
        owner = state.facilities[site].state
        if not about or owner == about:
            yield (
                key,
                {
                    "state": owner,
                    "facility": site,
                    "chip_type": chip_type,
                    "counted": stock.chips,
                    "came": stock.came,
                    "went": stock.went,
                    "destroyed": stock.destroyed,
                    "found": stock.found,
                    "lost": stock.lost,
                    "balance": _balance(stock),
                    "mh": _mh(sight, chip_type) * max(0, _balance(stock)),
                },
            )


def _balance(stock: Stock) -> int:
    return stock.chips + stock.came + stock.found - stock.went - stock.destroyed - stock.lost


def _mh(sight: Sight, chip_type: str) -> int:
    known = CHIP_TYPES.get(chip_type)
    if known is not None:
        return known[0]
    row = sight.book.state.chip_types.get(chip_type)
    return 0 if row is None else row.mh


def training_runs(sight: Sight, about: str) -> Rows:
    """Runs with tier and headroom to the thresholds that bind them. `about`: a tier, or a state."""
    for run, life in sight.book.state.lives.items():
        plan = sight.book.state.plans[run]
        if about and about not in {str(life.tier), plan.state}:
            continue
        gates = runs.gates_of(sight.book, run)
        yield (
            run,
            {
                "state": plan.state,
                "operator": plan.operator,
                "model": plan.model,
                "status": life.status,
                "tier": life.tier,
                "gates": list(life.gates),
                "approved_tier": life.approved,
                "until": None if life.until == NEVER else life.until,
                "plan_pflop": plan.pflop_plan,
                "done_pflop": lives.done_of(life),
                "lineage_pflop": life.lineage,
                "headroom": _headroom(gates, plan.params_total, life.own, life.lineage),
            },
        )


def _headroom(gates: tiers.Gates, params: int, own: int, lineage: int) -> dict[str, int]:
    """What is left below each threshold; negative beyond it."""
    return {
        "t1_flop": gates.t1_flop - own,
        "frontier_flop": gates.frontier_flop - lineage,
        "horizon_flop": gates.horizon_flop - lineage,
        "param_cap": gates.param_cap - params,
    }


def lineage(sight: Sight, about: str) -> Rows:
    """All runs that one run descends or learns from, or that do so from it, with cumulative PFLOP. `about`: the run."""
    taught = functools.partial(teachers_of, sight.book)
    plans, lives = sight.book.state.plans, sight.book.state.lives
    if about not in plans:
        return
    found = {about: 0}

    def sources(run: str) -> list[str]:
        return [*plans[run].parents, *(one.run for one in taught(run))]

    for step, following in ((-1, sources), (1, _children(sight))):
        ahead = [(about, 0)]
        while ahead:
            run, depth = ahead.pop()
            for other in following(run):
                if other not in found:
                    found[other] = depth + step
                    ahead.append((other, depth + step))
    for run, generation in found.items():
        yield (
            run,
            {
                "generation": generation,  # below 0 ancestors, above 0 descendants
                "parents": list(plans[run].parents),
                "teachers": [[one.run, one.share_bp] for one in taught(run)],
                "state": plans[run].state,
                "status": lives[run].status,
                "tier": lives[run].tier,
                "own_pflop": lives[run].own,
                "lineage_pflop": lives[run].lineage,
            },
        )


def _children(sight: Sight) -> Any:
    return lambda run: sight.book.children.get(run, ())


def motions(sight: Sight, about: str) -> Rows:
    """Motions that are open, with the votes so far. `about`: a kind."""
    for name, motion in sight.book.state.motions.items():
        if not about or motion.kind == about:
            yield (
                name,
                {
                    "kind": motion.kind,
                    "about": motion.about,
                    "subjects": list(motion.subjects),
                    "rule": motion.rule,
                    "threshold": motion.threshold,
                    "eligible": list(motion.eligible),
                    "panel": list(motion.panel),
                    "votes": [list(vote) for vote in motion.votes],
                    "filed_at": motion.filed_at,
                    "closes_at": motion.closes_at,
                },
            )


def inspections(sight: Sight, about: str) -> Rows:
    """Challenge inspections: asked for, gone ahead, access had or not. `about`: the inspected state."""
    for motion, row in sight.book.state.inspections.items():
        if about and row.subject != about:
            continue
        access = sight.book.state.access.get(motion)
        yield (
            motion,
            {
                "requester": row.requester,
                "subject": row.subject,
                "site": row.site,
                "filed_at": row.filed_at,
                "closed_at": None if row.closed_at == NEVER else row.closed_at,
                "stopped": bool(row.stopped),
                "access_due": None if access is None else access.due,
                "access_granted": access is not None and bool(access.granted),
                "denied": 0 if access is None else len(access.denied),
            },
        )


def veto(sight: Sight, _about: str) -> Rows:
    """What one state can block with this membership: for each rule the most blockers it withstands."""
    yield "veto_check", asdict(sight.law.veto_check())


def diff(sight: Sight, about: str) -> Rows:
    """Policy in force against the proposal's defaults. `about`: `all`, or a parameter; else only what differs."""
    book = sight.book
    for name, param in params_of(book.law).items():
        value = book.value(name)
        follows = name in FOLLOWS and name not in book.policy.schedules
        if about not in {"all", name} and (value == param.default or follows):
            continue
        if value == param.default:
            direction = "same"
        else:
            safer = (value < param.default) == (param.safe_dir == "lower")
            direction = "safer" if safer else "looser"
        yield (
            name,
            {
                "unit": param.unit,
                "proposed": param.default,
                "founded": book.founding_policy.value(name, sight.now),
                "in_force": value,
                "direction": direction,
            },
        )


def policy(sight: Sight, about: str) -> Rows:
    """Every parameter in force, its limits and its next change; the voting rules' shares. `about`: a parameter, or rule/NAME."""
    book = sight.book
    for name, param in params_of(book.law).items():
        if about in {"", name}:
            yield (
                name,
                {
                    "value": book.value(name),
                    "unit": param.unit,
                    "safe_dir": param.safe_dir,
                    "hard_min": param.drill_min if book.genesis.drill else param.hard_min,
                    "hard_max": param.hard_max,
                    "moves_next_s": moves_next(book.policy, name, sight.now),
                    "windows": [[*window] for window in book.policy.windows.get(name, ())],
                },
            )
    amended = book.shares()
    for rule, share in SHARES.items():
        if about in {"", f"rule/{rule}"}:
            num, den = amended.get(rule, share)
            yield f"rule/{rule}", {"num": num, "den": den, "amended": rule in amended}


def rows_of_state(sight: Sight, about: str) -> Rows:
    """What the state digest is over: how many rows each table has. `about`: a table; then its rows, field by field."""
    counts: dict[str, int] = {}
    for name, key, row in sight.book.state.rows():
        if not about:
            counts[name] = counts.get(name, 0) + 1
        elif name == about:
            yield key, {field: plain(value) for field, value in row._asdict().items()}
    for name, count in counts.items():
        yield name, {"rows": count}


def plain(value: Any) -> Any:
    """A row's value as JSON has it: bytes in hex, tuples as lists."""
    if isinstance(value, bytes):
        return value.hex()
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def breakout(sight: Sight, about: str) -> Rows:
    """Days to one significant quantity (the frontier's PFLOP) at 40 % of H100 bf16, for the capacity that could do it.

    Unaccounted: chips said lost and chips missing on their way. Declared: all sites. `about`: a further upper bound in mH.
    """
    quantity = PARAMS["frontier_flop"].default
    state = sight.book.state
    lost = sum(
        stock.lost * _mh(sight, key.partition(":")[2]) for key, stock in state.stocks.items()
    )
    missing = sum(max(0, lot.missing) * lot.mh for lot in state.lots.values())
    bounds = {
        "unaccounted": lost + missing,
        "declared": sum(site.capacity_mh for site in state.facilities.values()),
    }
    if about.isascii() and about.isdigit():
        bounds["presumed"] = int(about[:16])
    for name, mh in bounds.items():
        yield name, {"mh": mh, "quantity_pflop": quantity, "days": days_to(quantity, mh)}


def days_to(quantity_pflop: int, mh: int) -> int | None:
    """Whole days, rounded down; None without capacity. One H100-equivalent takes 29,257 for 10^9 PFLOP."""
    if mh <= 0:
        return None
    # PFLOP -> GFLOP is 10^6; mH -> H100 is 10^-3; bp is 10^-4.
    return quantity_pflop * 10**6 * 10**3 * 10**4 // (mh * H100_GFLOPS * UTILISATION_BP * DAY)


def coverage(sight: Sight, about: str) -> Rows:
    """States in, and their share of declared capacity in bp of all that is declared. `about`: a state."""
    book = sight.book
    capacity: dict[str, int] = {}
    sites: dict[str, int] = {}
    for site in book.state.facilities.values():
        capacity[site.state] = capacity.get(site.state, 0) + site.capacity_mh
        sites[site.state] = sites.get(site.state, 0) + 1
    total = sum(capacity.values())
    for state in {*book.genesis.states, *book.state.members, *capacity}:
        if about and state != about:
            continue
        member = book.state.members.get(state)
        yield (
            state,
            {
                "status": "OUTSIDE" if member is None else member.status,
                "facilities": sites.get(state, 0),
                "capacity_mh": capacity.get(state, 0),
                "capacity_bp": capacity.get(state, 0) * 10_000 // total if total else 0,
                "world_mh": book.genesis.world_capacity_mh.get(state),
                "world_fab": book.genesis.world_fab.get(state),
            },
        )

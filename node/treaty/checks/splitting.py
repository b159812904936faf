"""C15: one training cut into parts, each below the frontier (LAW K25)."""

from node.treaty.book import Book, Group
from node.treaty.cases import raise_finding
from node.treaty.consent import is_heard
from node.treaty.lives import HALT_SEVERITY, done_of, halt
from node.treaty.rows import NEVER


def look_for_splitting(book: Book, run: str) -> None:
    """C15 over every group this run belongs to: lineage, ultimate owners, code, data (LAW K25).

    A group counts its started runs whose last entry lies within `lineage_window` and whose own
    lineage stays below the frontier (what is above it had to be approved as such). Two or more that
    together reach the frontier are a finding against each state with such a run.
    """
    frontier = book.value("frontier_flop")
    lineage = book.component[run]
    counted = _counted(book, lineage, frontier)
    if _reach(book, counted, frontier):
        _splitting(book, f"lineage:{min(lineage.runs)}", 4, counted, frontier)
    for key in book.groups_of[run]:
        group = book.groups[key]
        if group.done < frontier:
            continue  # not even with the runs that do not count: nearly always
        counted = _counted(book, group, frontier)
        if not _reach(book, counted, frontier):
            continue
        if key.startswith("owner:"):
            severity = 3 if _second_key_reaches(book, counted, frontier) else 2
            _splitting(book, key, severity, counted, frontier)
        elif not _one_owner(book, counted):  # else the owner's own group says it
            _splitting(book, key, 2, counted, frontier)


def _counted(book: Book, group: Group, frontier: int) -> list[str]:
    if group.done < frontier or len(group.runs) < 2:
        return []
    since = book.now - book.value("lineage_window")
    lives = book.state.lives
    return sorted(
        run
        for run in group.runs
        if lives[run].started_at != NEVER
        and lives[run].last_at >= since
        and lives[run].lineage < frontier
    )


def _reach(book: Book, runs: list[str], frontier: int) -> bool:
    return len(runs) >= 2 and sum(done_of(book.state.lives[run]) for run in runs) >= frontier


def _second_key_reaches(book: Book, runs: list[str], frontier: int) -> bool:
    keyed: dict[bytes, list[str]] = {}
    for run in runs:
        plan = book.state.plans[run]
        for key in {plan.code_hash, plan.doc_root} - {b""}:
            keyed.setdefault(key, []).append(run)
    return any(_reach(book, sharing, frontier) for sharing in keyed.values())


def _one_owner(book: Book, runs: list[str]) -> bool:
    owners = [set(book.owners_of_run(run, book.state.plans[run])) for run in runs]
    return bool(set.intersection(*owners))


def _splitting(book: Book, about: str, severity: int, runs: list[str], frontier: int) -> None:
    plans = [book.state.plans[run] for run in runs]
    total = sum(done_of(book.state.lives[run]) for run in runs)
    for state in sorted({plan.state for plan in plans}):
        # Parties for which a state has not been heard make a group no graver for it, and hide none (record 0240).
        operators = {plan.operator for plan in plans if plan.state == state}
        unheard = {operator for operator in operators if not is_heard(book, operator)}
        heard = [run for run in runs if book.state.plans[run].operator not in unheard]
        shown = heard if unheard and _reach(book, heard, frontier) else runs
        finding = raise_finding(
            book,
            "C15",
            state,
            about,
            severity=severity,
            size=total,
            numbers=(("done_pflop", total), ("frontier_flop", frontier), ("runs", len(runs))),
            inputs=tuple(book.state.plans[run].entry for run in shown),
        )
        if finding and book.state.cases[finding].severity == HALT_SEVERITY == severity:
            own = [run for run in runs if book.state.plans[run].state == state]
            halt(book, finding, own, one_run=False)

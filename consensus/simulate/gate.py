"""`python -m consensus.simulate veto`: all trials of `veto` and `censorship`, as tables that need no reader of code.

Exit status: 0 no veto, no fork, no censorship found; 1 found, with the trials; 2 could not be run.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from consensus.simulate import censorship, veto
from consensus.simulate.censorship import Plot, argued_bound
from consensus.simulate.checkers import Violation
from consensus.simulate.cluster import MakeCore, shipping_core
from consensus.simulate.console import Parser, Progress, text_table
from consensus.simulate.veto import Behaviour, Trial, Verdict, faults_of

Item = TypeVar("Item")
Found = TypeVar("Found")
Row = dict[str, Any]

ASSUMED: Final = (
    (
        "Simulated: the protocol code that ships runs at every member that keeps to the rules, in virtual time, in one process;"
        " its ledger, disks, sockets and signatures are not part of this."
    ),
    (
        f"Messages between members that are not cut off take 1 to {veto.DELTA_MS} ms and all arrive (delta ="
        f" {veto.DELTA_MS} ms). A real network may lose and delay more for a while; then the others go on when it is better."
    ),
    (
        "Liars see every message at once and act together, but cannot forge another's signature. They follow"
        f" {len(veto.LIES)} written strategies ({', '.join(veto.LIES)}); worse ones may exist."
    ),
    (
        "Sets: every member alone; every set of f and of f + 1 members for up to"
        f" {veto.ALL_SETS_UP_TO} members (above that, {veto.SOME_SETS} of either, spread evenly); under --quick three sets of"
        " each kind. One drawing of delays for each trial: a trial that holds is evidence, not proof."
    ),
    (
        "Censorship: f colluders never refer to the victim's blocks, and lead in time, or not at all, or show their own blocks"
        " to f + 1 only; half of the time the victim's links take all of delta. Colluders and victims are drawn."
    ),
    (
        "Rounds are counted from the block that carries an entry to the round in which the last of the others orders it: at most"
        " f + 12, as consensus/simulate/censorship.py argues. A veto is an entry that is not ordered"
        f" {veto.WAIT_DELTAS} deltas later, or after more than {veto.ROUNDS_MAX} rounds."
    ),
)


def main(arguments: Sequence[str]) -> int:
    args = _parser().parse_args(arguments)
    try:
        document = examine(args.members, quick=args.quick, jobs=args.jobs)
    except Violation as violation:
        # In the trials of censorship; those of the veto keep theirs.
        notes = "; ".join(getattr(violation, "__notes__", ()))
        found = f"{violation} {notes}"
        print(json.dumps({"findings": [found]}) if args.json else f"FOUND: {found}")
        return 1
    print(json.dumps(document) if args.json else as_text(document))
    return 1 if document["findings"] else 0


def _parser() -> Parser:
    parser = Parser(prog="foedus simulate veto")
    parser.add_argument("--members", type=_sizes, default=list(veto.SIZES), metavar="4-10")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    parser.add_argument("--json", action="store_true")
    return parser


def _sizes(text: str) -> list[int]:
    """`7`, `4-10` or `4,7,10`. Raises ArgumentTypeError: argparse says it."""
    sizes: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        if not low.isdigit() or (high and not high.isdigit()):
            raise argparse.ArgumentTypeError(f"{text!r}: numbers as 7, 4-10 or 4,7,10")
        sizes += range(int(low), int(high or low) + 1)
    least, most = veto.SIZES[0], veto.SIZES[-1]
    if not sizes or min(sizes) < least or max(sizes) > most:
        raise argparse.ArgumentTypeError(f"{text!r}: from {least} to {most} members")
    return sorted(dict.fromkeys(sizes))


def examine(
    sizes: Sequence[int],
    *,
    quick: bool,
    jobs: int = 1,
    make: MakeCore = shipping_core,
) -> Row:
    """Every trial of these sizes. Under `jobs` > 1 they run in so many processes; the document is the same."""
    trials = list(veto.trials(sizes, quick=quick))
    plots = list(censorship.plots(sizes, quick=quick))
    with _mapping(jobs) as over:
        verdicts = list(
            _watched(
                over(partial(_try, make), enumerate(trials)), trials, "no veto", Trial.describe
            )
        )
        measured = list(
            _watched(
                over(partial(_measure, make), enumerate(plots)), plots, "censorship", _describe_plot
            )
        )
    return {
        "quick": quick,
        "no_veto": _rows(verdicts, tolerated=True),
        "beyond": _rows(verdicts, tolerated=False),
        "censorship": [_censored(size, plots, measured) for size in sizes],
        "findings": [*_findings(verdicts), *_late(plots, measured)],
        "forks_beyond_the_promise": [
            f"{verdict.trial.describe()}: {verdict.forked}"
            for verdict in verdicts
            if verdict.forked and not verdict.trial.fork_is_excluded
        ],
        "assumed": list(ASSUMED),
    }


def _try(make: MakeCore, numbered: tuple[int, Trial]) -> Verdict:
    seed, trial = numbered
    return veto.run(trial, seed, make)


def _measure(make: MakeCore, numbered: tuple[int, Plot]) -> list[int | None]:
    seed, plot = numbered
    return censorship.measure(plot, seed, make)


def _describe_plot(plot: Plot) -> str:
    slow = ", whose links are slow" if plot.victim_is_slow else ""
    return f"n={plot.size}: members {', '.join(map(str, plot.colluders))} {plot.way.value}, {plot.victim}{slow}"


Mapped = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


@contextmanager
def _mapping(jobs: int) -> Iterator[Mapped]:
    if jobs <= 1:
        yield map
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield pool.map


def _watched(
    results: Iterator[Found],
    items: Sequence[Item],
    what: str,
    describe: Callable[[Item], str],
) -> Iterator[Found]:
    progress = Progress(len(items), what)
    for number, (item, result) in enumerate(zip(items, results, strict=True), 1):
        progress.at(number, describe(item))
        yield result
    progress.end()


# --- what was found -----------------------------------------------------------------------------------------------------


def _rows(verdicts: Sequence[Verdict], *, tolerated: bool) -> list[Row]:
    """One for each n, number of members and behaviour."""
    groups: dict[tuple[int, int, Behaviour], list[Verdict]] = {}
    for verdict in verdicts:
        trial = verdict.trial
        if trial.is_tolerated is tolerated:
            key = (trial.size, len(trial.members), trial.behaviour)
            groups.setdefault(key, []).append(verdict)
    return [_row(*key, group) for key, group in groups.items()]


def _row(size: int, count: int, behaviour: Behaviour, group: Sequence[Verdict]) -> Row:
    return {
        "members": size,
        "tolerated": faults_of(size),
        "misbehaving": count,
        "behaviour": behaviour.value,
        "sets": len({verdict.trial.members for verdict in group}),
        "trials": len(group),
        "entries_given": sum(verdict.given for verdict in group),
        "entries_ordered": sum(verdict.ordered for verdict in group),
        "worst_rounds": max(verdict.rounds_worst for verdict in group),
        "worst_deltas": max(verdict.deltas_worst for verdict in group),
        "vetoes": sum(bool(verdict.vetoed) for verdict in group),
        "stopped": sum(verdict.ordered < verdict.given for verdict in group),
        "forks": sum(bool(verdict.forked) for verdict in group),
        "fork_excluded": all(verdict.trial.fork_is_excluded for verdict in group),
        "noticed": sum(bool(verdict.noticed) for verdict in group),
    }


def _findings(verdicts: Sequence[Verdict]) -> list[str]:
    return [
        f"{verdict.trial.describe()}: {verdict.forked or verdict.vetoed}"
        for verdict in verdicts
        if verdict.is_finding
    ]


def _late(plots: Sequence[Plot], measured: Sequence[Sequence[int | None]]) -> list[str]:
    found: list[str] = []
    for plot, rounds in zip(plots, measured, strict=True):
        never = rounds.count(None)
        longest = max((each for each in rounds if each is not None), default=0)
        if never:
            found.append(f"{_describe_plot(plot)}: {never} of {len(rounds)} entries not ordered")
        elif longest > argued_bound(plot.size):
            found.append(f"{_describe_plot(plot)}: {longest} rounds")
    return found


def _censored(
    size: int, plots: Sequence[Plot], measured: Sequence[Sequence[int | None]]
) -> dict[str, Any]:
    mine = [rounds for plot, rounds in zip(plots, measured, strict=True) if plot.size == size]
    done = sorted(each for rounds in mine for each in rounds if each is not None)
    return {
        "members": size,
        "colluders": faults_of(size),
        "plots": len(mine),
        "entries_given": sum(map(len, mine)),
        "entries_ordered": len(done),
        "rounds_mean": round(sum(done) / len(done), 2) if done else None,
        "rounds_p50": _rank(done, 50),
        "rounds_p99": _rank(done, 99),
        "rounds_max": done[-1] if done else None,
        "rounds_argued": argued_bound(size),
        "distribution": {str(rounds): count for rounds, count in sorted(Counter(done).items())},
    }


def _rank(ascending: Sequence[int], percent: int) -> int | None:
    """Nearest rank."""
    return ascending[-(-percent * len(ascending) // 100) - 1] if ascending else None


# --- for people ---------------------------------------------------------------------------------------------------------


def as_text(document: Mapping[str, Any]) -> str:
    parts = [
        _verdict(document),
        "1. Can any member, or any tolerated number of them (f), stop the others?\n"
        "   Entries handed to all the others must be ordered at all the others.\n\n"
        + text_table(
            ("members", "f", "misbehave", "how", "sets", "trials", "entries given", "ordered",
             "worst: rounds", "deltas", "vetoes", "forks"),
            [
                (row["members"], row["tolerated"], row["misbehaving"], row["behaviour"], row["sets"],
                 row["trials"], row["entries_given"], row["entries_ordered"], row["worst_rounds"],
                 row["worst_deltas"], row["vetoes"], row["forks"])
                for row in document["no_veto"]
            ],
        ),
    ]  # fmt: skip
    if document["beyond"]:
        parts.append(
            "2. One member more than tolerated (f + 1). They can stop the log; it must stay one log.\n"
            "   Where n = 3f + 1 and f + 1 members sign two histories, no protocol of this kind excludes a fork;\n"
            "   they are then convicted by their own signatures.\n\n"
            + text_table(
                ("members", "misbehave", "how", "sets", "trials", "log went on", "log stopped", "liars noticed",
                 "forks", "forks excluded"),
                [
                    (row["members"], row["misbehaving"], row["behaviour"], row["sets"], row["trials"],
                     row["trials"] - row["stopped"], row["stopped"], row["noticed"], row["forks"],
                     "yes" if row["fork_excluded"] else "no")
                    for row in document["beyond"]
                ],
            )
        )  # fmt: skip
    parts.append(
        "3. Censorship: an entry handed to one member whose blocks f colluders never refer to. Rounds until all have it.\n\n"
        + text_table(
            ("members", "colluders", "plots", "entries given", "ordered", "rounds: mean", "p50", "p99", "max",
             "argued bound"),
            [
                (row["members"], row["colluders"], row["plots"], row["entries_given"], row["entries_ordered"],
                 row["rounds_mean"], row["rounds_p50"], row["rounds_p99"], row["rounds_max"], row["rounds_argued"])
                for row in document["censorship"]
            ],
        )
    )  # fmt: skip
    parts.append("What was assumed\n" + "\n".join(f"  - {each}" for each in document["assumed"]))
    return "\n\n".join(parts)


def _verdict(document: Mapping[str, Any]) -> str:
    findings = document["findings"]
    if findings:
        return (
            f"FOUND: {len(findings)} trials in which members stopped, split or censored the others:\n"
            + "\n".join(f"  - {each}" for each in findings)
        )
    trials = sum(row["trials"] for row in document["no_veto"])
    given = sum(row["entries_given"] for row in document["no_veto"])
    text = (
        f"No veto found: in {trials:,} trials with up to f members misbehaving, all {given:,} entries handed to the others were"
        " ordered at all of them, in one log."
    )
    beyond = document["forks_beyond_the_promise"]
    if beyond:
        text += (
            f"\nBeyond the promise: in {len(beyond)} trials f + 1 liars of n = 3f + 1 members split the log:\n"
            + "\n".join(f"  - {each}" for each in beyond)
        )
    return text

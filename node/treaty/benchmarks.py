"""Which cap of which benchmark holds for a run: gate G3 of Tier 3, where benchmarks are replaced (M20; record 0241).

Version N of the benchmark has the cap `bench_cap_N`, N from 1 to 8; a version that nobody set a cap for shares `bench_cap`,
so that a score on a benchmark of somebody's own choice hides nothing. A cap for a version from 2 on needs a benchmark: an
adopted standard `benchmark-N`. Replacing one takes two amendments: a cap for the new version, and the old one's cap raised out
of reach; each is a tightening or a loosening by its own numbers. Like other thresholds the caps of a run are the safer of plan
and present until its start, and frozen from then on (LAW K36).
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.book import Book, Refused
from node.treaty.codes import Code
from node.treaty.policy import BENCHMARKS_MAX
from node.treaty.rows.runs import Benchmarks, Plan
from node.treaty.scores import evaluations_of, is_over_cap
from node.treaty.tiers import Gates

SINCE_LAW: Final = 3
PREFIX: Final = "bench_cap_"
UNSAID: Final = 0  # a forecast that names no version
TREATYS_OWN: Final = 1  # the version that the treaty itself names: it needs no further standard


def require_defined(book: Book, param: str) -> None:
    """Refuses CRITERIA: a cap for a version that no adopted standard defines."""
    if not param.startswith(PREFIX):
        return
    version = param.removeprefix(PREFIX)
    standard = f"standard/benchmark-{version}"
    if version != str(TREATYS_OWN) and standard not in book.state.appointments:
        raise Refused(Code.CRITERIA, f"no {standard} is adopted: {param} would be a cap of nothing")


def planned(book: Book, run: str, body: pb.Run) -> None:
    """A plan was taken: which benchmark it forecasts, and the caps of now."""
    if book.law < SINCE_LAW:
        return
    caps = _own_caps(book)
    if caps or body.bench_ver or body.HasField("forecast_bp"):
        row = Benchmarks(body.bench_ver, int(body.HasField("forecast_bp")), caps, ())
        book.state.benchmarks.put(run, row)


def started(book: Book, run: str, plan: Plan) -> None:
    """The run starts: its caps are frozen."""
    row = book.state.benchmarks.get(run)
    if row is None and not _own_caps(book):
        return
    versions = range(1, BENCHMARKS_MAX + 1)
    frozen = tuple((version, _before_start(book, row, plan, version)) for version in versions)
    row = row or Benchmarks(UNSAID, 0, (), ())
    book.state.benchmarks.put(run, row._replace(frozen=frozen))


def cap_of(book: Book, run: str, gates: Gates, version: int) -> int:
    """The cap, in bp, that binds a run's scores on this version of the benchmark."""
    if book.law < SINCE_LAW:
        return gates.bench_cap
    row = book.state.benchmarks.get(run)
    if book.state.lives[run].limits:
        return dict(row.frozen).get(version, gates.bench_cap) if row else gates.bench_cap
    return _before_start(book, row, book.state.plans[run], version)


def _before_start(book: Book, row: Benchmarks | None, plan: Plan, version: int) -> int:
    """The safer of what held at the plan and what holds now."""
    then = dict(row.planned) if row is not None else {}
    return min(then.get(version, Gates._make(plan.gates).bench_cap), _now(book, version))


def _now(book: Book, version: int) -> int:
    known = 1 <= version <= BENCHMARKS_MAX
    return book.value(f"{PREFIX}{version}" if known else "bench_cap")


def _own_caps(book: Book) -> tuple[tuple[int, int], ...]:
    """The versions whose cap is not `bench_cap`'s own, with their caps of now."""
    policy = book.policy
    versions = [
        version
        for version in range(1, BENCHMARKS_MAX + 1)
        if f"{PREFIX}{version}" in policy.schedules or policy.windows.get(f"{PREFIX}{version}")
    ]
    return tuple((version, _now(book, version)) for version in versions)


def forecast_cap(book: Book, run: str, gates: Gates) -> int:
    """The cap that a forecast is held against; one that names no version, against the lowest of all."""
    if book.law < SINCE_LAW:
        return gates.bench_cap
    row = book.state.benchmarks.get(run)
    if row is not None and row.forecast != UNSAID:
        return cap_of(book, run, gates, row.forecast)
    return min(cap_of(book, run, gates, version) for version in range(BENCHMARKS_MAX + 1))


def own_limits(book: Book, run: str) -> tuple[tuple[str, int], ...]:
    """What a record of the run says beside the common cap: caps of versions that have one of their own."""
    row = book.state.benchmarks.get(run)
    if row is None:
        return ()
    return tuple((f"{PREFIX}{version}", cap) for version, cap in row.frozen or row.planned)


def over_cap_states(book: Book, run: str, gates: Gates) -> list[str]:
    """States whose evaluators last found the run's model over the cap of the benchmark they used, sorted."""
    found = evaluations_of(book, book.state.plans[run].model)
    return sorted(
        {
            one.state
            for one in found
            if is_over_cap(one.score_bp, one.items, cap_of(book, run, gates, one.bench_ver))
        }
    )

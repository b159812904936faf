"""`usage`: a facility's work in one period, with C07, too much of it (MODEL 3, kind 8; LAW K20, K23, K32)."""

from typing import Any, Final, NamedTuple

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import INTEGER_LIMIT, TEXT_LIMIT, Form, is_reference
from node.treaty.book import Accepted, Book, Refused
from node.treaty.cases import raise_finding
from node.treaty.checks import counters, deployment
from node.treaty.chips import Chip, approved_chip
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.filing import require_past, require_role
from node.treaty.kinds import Kind
from node.treaty.lessons import known_teachers, learn, require_room
from node.treaty.reports import cover, report_slot
from node.treaty.rows.sites import Facility
from node.treaty.runs import add_usage

# C07: the share of the best peak rate that no training exceeds, in bp (CHECKS 1: u_max at 8 bit).
UTILISATION_MAX_BP: Final = 5_000


def take_usage(book: Book, entry: Entry, body: pb.Usage) -> Accepted:
    """A facility's work in one period."""
    parsed = entry.parsed
    name = book.qualified(parsed.author, body.facility)
    row = book.state.facilities.get(name)
    if row is None:
        raise Refused(Code.UNKNOWN_REF, f"no facility {name}")
    runs = [(book.qualified(parsed.author, share.run), share.pflop) for share in body.runs]
    plans = [book.state.plans.get(run) for run, _ in runs]
    for (run, _), plan in zip(runs, plans, strict=True):
        if plan is None:
            raise Refused(Code.UNKNOWN_REF, f"no run {run}")
    lessons = _lessons(book, parsed.author, body) if body.served else []
    require_role(book, entry, "operator")
    if row.operator != parsed.author:
        raise Refused(Code.STANDING, f"{name} is {row.operator}'s")
    for (run, _), plan in zip(runs, plans, strict=True):
        if plan is not None and plan.operator != parsed.author and name not in plan.sites:
            raise Refused(Code.STANDING, f"{run} is not {parsed.author}'s and does not list {name}")
    for lesson in lessons:
        _require_lesson(book, parsed.author, name, lesson)
    chip = approved_chip(book, parsed.author, body.chip_type)
    assert parsed.period is not None, "parse_entry let a usage without a period through"
    start, end = parsed.period
    require_past(book, entry)
    if row.slot and end > row.covered_at:
        row = report_slot(book, name, row, start, end)
    row = cover(book, name, row, max(row.capacity_mh, body.chips_on * chip.mh))
    _check_possible(book, entry, body, name, row, chip)
    for run, pflop in runs:
        add_usage(book, run, pflop, start, entry.entry_hash)
    counters.by_operator(book, name, row, (start, end), body.pflop_total, body.chips_on)
    if body.served:
        _serve(book, entry, body, name, row, lessons)
    return Accepted(f"usage:{name}")


class Lesson(NamedTuple):
    """Work of a model whose output trains a run."""

    teacher: str  # run that trained the model
    run: str
    pflop: int


def _lessons(book: Book, author: str, body: pb.Usage) -> list[Lesson]:
    """What served as a teacher. Refuses UNKNOWN_REF."""
    found = []
    for one in body.served:
        if one.run:
            (teacher,) = known_teachers(book, author, [one.model])
            run = book.qualified(author, one.run)
            if run not in book.state.plans:
                raise Refused(Code.UNKNOWN_REF, f"no run {run}")
            found.append(Lesson(teacher, run, one.pflop))
    return found


def _require_lesson(book: Book, author: str, site: str, lesson: Lesson) -> None:
    """As for `runs` (LAW K32): own runs, or those whose plan lists the site. Refuses STANDING, HARD_LIMIT."""
    plan = book.state.plans[lesson.run]
    if plan.operator != author and site not in plan.sites:
        raise Refused(Code.STANDING, f"{lesson.run} is not {author}'s and does not list {site}")
    require_room(book, lesson.run, [lesson.teacher])


def _serve(
    book: Book, entry: Entry, body: pb.Usage, name: str, row: Facility, lessons: list[Lesson]
) -> None:
    """Models at work: for others (C27), or to teach a run, whose work that is (record 0242)."""
    assert entry.parsed.period is not None, "parse_entry let a usage without a period through"
    for lesson in lessons:
        add_usage(book, lesson.run, lesson.pflop, entry.parsed.period[0], entry.entry_hash)
        learn(book, lesson.run, [lesson.teacher], entry.entry_hash)
    plans = book.state.plans
    own = {  # a developer's model at work for its own run serves nobody else
        (plans[lesson.teacher].model, lesson.run)
        for lesson in lessons
        if plans[lesson.teacher].operator == plans[lesson.run].operator
    }
    author = entry.parsed.author
    served = [
        (book.qualified(author, one.model), one.mode, one.pflop)
        for one in body.served
        if not one.run
        or (book.qualified(author, one.model), book.qualified(author, one.run)) not in own
    ]
    deployment.serves(book, entry.entry_hash, name, row, served)


def _check_possible(
    book: Book, entry: Entry, body: pb.Usage, name: str, row: Facility, chip: Chip
) -> None:
    """C07: no more work and no more seconds than the chips can give, and the classes add up (K23).

    A report that breaks this stays on the log and is evidence: a Finding, not a rejection.
    PFLOP * 10^6 = GFLOP, and bp * 10^4: hence the factor 10^10. What the last count showed goes before what is said.
    """
    assert entry.parsed.period is not None, "parse_entry let a usage without a period through"
    start, end = entry.parsed.period
    seconds = end - start
    stock = book.state.stocks.get(f"{name}:{chip.name}")
    chips = body.chips_on if stock is None else stock.chips
    possible = chips * chip.peak_any * seconds * UTILISATION_MAX_BP
    by_class = sum([item.amount for item in body.by_class])
    if (
        body.pflop_total * 10**10 <= possible
        and body.chip_seconds <= chips * seconds
        and by_class == body.pflop_total
    ):
        return
    raise_finding(
        book,
        "C07",
        row.state,
        entry.name,
        severity=2,
        size=0,
        numbers=(
            ("by_class_pflop", by_class),
            ("chip_seconds", body.chip_seconds),
            ("chips", chips),
            ("pflop_possible", possible // 10**10),
            ("pflop_total", body.pflop_total),
            ("seconds", seconds),
        ),
        inputs=(entry.entry_hash,),
    )


USAGE_CLASSES: Final = frozenset({"pretrain", "posttrain", "infer", "sim", "other", "idle"})


def _usage_amounts(body: Any) -> None:
    seen = set()
    for item in body.by_class:
        if item.name not in USAGE_CLASSES or item.name in seen:
            raise MalformedContent("usage.by_class", f"{item.name[:80]!r} unknown or twice")
        seen.add(item.name)
        if not item.HasField("amount") or item.amount >= INTEGER_LIMIT:
            raise MalformedContent("usage.by_class", f"no amount below 2^53 for {item.name}")
    for service in body.served:
        if not is_reference(service.model) or len(service.mode) > TEXT_LIMIT:
            raise MalformedContent("usage.served", f"{service.model[:80]!r} is no model")
        if not service.HasField("pflop") or service.pflop >= INTEGER_LIMIT:
            raise MalformedContent("usage.served", f"no pflop below 2^53 for {service.model}")
        if service.HasField("run") and not is_reference(service.run):
            raise MalformedContent("usage.served", f"{service.run[:80]!r} is no run")
    runs = set()
    for share in body.runs:
        if not is_reference(share.run) or share.run in runs:
            raise MalformedContent("usage.runs", f"{share.run[:80]!r} is no run, or twice")
        runs.add(share.run)
        if not share.HasField("pflop") or share.pflop >= INTEGER_LIMIT:
            raise MalformedContent("usage.runs", f"no pflop below 2^53 for {share.run}")


KIND: Final[Kind] = Kind(
    form=Form(
        required=("chip_type", "facility", "chips_on", "chip_seconds", "pflop_total"),
        integers=("chips_on", "chip_seconds", "pflop_total"),
        references=("chip_type", "facility"),
        lists=("by_class", "runs", "served"),
        extra=(_usage_amounts,),
    ),
    take=take_usage,
    speaks_of="facility",
    needs_period=True,
)

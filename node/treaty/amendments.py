"""The policy as motions leave it: what is in force, what is known to come, and entry into force (LAW K9, K10, K34, K35, K50).

The rows say everything: `courses` hold the schedules that amendments made, `amendments` those that are
open or still to come, `tightenings` each TIGHTEN_NOW in effect. `book.policy` follows from them. A
kept TIGHTEN_NOW counts as part of the present function, so no majority undoes it as a "tightening".
"""

from collections.abc import Iterable
from typing import Final

from node.treaty import reports, runs
from node.treaty.book import RANK_LAPSE, Book
from node.treaty.cases import UNDECIDED
from node.treaty.courses import (
    HORIZON_S,
    STEP_WINDOW_S,
    Steps,
    first_leap,
    held_safe,
    never_looser,
    overlaid,
    steps_of,
)
from node.treaty.derived import PolicyStep
from node.treaty.policy import (
    FOLLOWS,
    INTEGER_MAX,
    Generator,
    Policy,
    Schedule,
    Window,
    moves_next,
)
from node.treaty.rows import NEVER
from node.treaty.rows.motions import Amendment, Course, Share
from node.treaty.rules import SHARES, k_of
from node.treaty.tiers import Gates
from node.treaty.veto import first_weakness

RULE_PREFIX: Final = "rule/"
BARRING_SEVERITY: Final = 4
# Closed by a sev-4 case that is neither decided nor final (LAW K10).
_PENDING_CASE: Final = UNDECIDED | {"APPEALED"}
# A change of direction needs both criteria instead of small steps (LAW K10).
COVERING: Final = ("ccc_mh", "ccc_mem")  # what decides which sites are covered
WITHOUT_STEPS: Final = "horizon_open"


def packed(schedule: Schedule) -> tuple[tuple[int, int | tuple[int, ...]], ...]:
    """A schedule as a row holds it: a generator is its seven numbers."""
    return tuple(
        (t_from, element if isinstance(element, int) else _numbers(element))
        for t_from, element in schedule
    )


def _numbers(generator: Generator) -> tuple[int, ...]:
    return (
        generator.t0,
        generator.v0,
        generator.step,
        generator.mul_ppm,
        generator.every_s,
        *generator.clamp,
    )


def unpacked(shape: Iterable[tuple[int, object]]) -> Schedule:
    """The schedule that `packed` packed."""
    schedule: list[tuple[int, int | Generator]] = []
    for t_from, element in shape:
        if isinstance(element, int):
            schedule.append((t_from, element))
            continue
        assert isinstance(element, tuple), f"a schedule's element {element!r}"
        t0, v0, step, mul_ppm, every_s, low, high = element
        generator = Generator(
            t0=t0, v0=v0, step=step, mul_ppm=mul_ppm, every_s=every_s, clamp=(low, high)
        )
        schedule.append((t_from, generator))
    return tuple(schedule)


def in_force(book: Book, param: str) -> Schedule:
    """The schedule that speaks now, without any TIGHTEN_NOW."""
    own = _own(book, param)
    if own is not None:
        return own
    return in_force(book, FOLLOWS[param]) if param in FOLLOWS else ()


def _own(book: Book, param: str) -> "Schedule | None":
    """What a motion or genesis set for this very parameter; None: nothing."""
    row = book.state.courses.get(param)
    if row is not None:
        return unpacked(row.segments)
    return book.founding_policy.schedules.get(param)


def known(
    book: Book, param: str, *, without: str = "", extra: tuple[int, Schedule] | None = None
) -> Schedule:
    """The schedule in force with all adopted changes to come, each from its second on, and `extra` as one of them.

    Those that wait have no second, and are left out.
    """
    coming = [
        (row.in_force_at, row.order, unpacked(row.shape))
        for motion, row in book.state.amendments.items()
        if row.param == param and row.in_force_at != NEVER and not row.waits and motion != without
    ]
    if extra is not None:
        coming.append((extra[0], INTEGER_MAX, extra[1]))
    own = _own(book, param)
    if own is None and param in FOLLOWS:
        own = known(book, FOLLOWS[param], without=without)
    schedule = own or ()
    for from_s, _, shape in sorted(coming, key=lambda change: change[:2]):
        schedule = overlaid(schedule, from_s, shape)
    return schedule


def _kept(book: Book, param: str, ended: tuple[int, int] | None) -> tuple[Window, ...]:
    """The kept TIGHTEN_NOW as windows. `ended` = (filed at, from): an AMEND that ends those closed before its filing."""
    windows = []
    if param in FOLLOWS and _own(book, param) is None:
        until = INTEGER_MAX if ended is None else ended[1]  # from then on it follows no more
        followed = _kept(book, FOLLOWS[param], None)
        windows += [one._replace(end=min(one.end, until)) for one in followed if one.start < until]
    for row in book.state.tightenings.values():
        if row.param != param or row.until != NEVER:
            continue
        ends = [
            other.in_force_at
            for other in book.state.amendments.values()
            if other.param == param
            and other.in_force_at != NEVER
            and not other.waits
            and other.filed_at >= row.closed_at
        ]
        if ended is not None and ended[0] >= row.closed_at:
            ends.append(ended[1])
        windows.append(Window(row.filed_at, min(ends, default=INTEGER_MAX), row.value))
    return tuple(windows)


def foreseen(book: Book, param: str, at_s: int) -> int:
    """A parameter's value at any second, as far as it is known now."""
    follows = param in FOLLOWS and _own(book, param) is None
    bound_by = {param, FOLLOWS[param]} if follows else {param}
    temporary = tuple(
        Window(row.filed_at, row.until, row.value)
        for row in book.state.tightenings.values()
        if row.param in bound_by and row.until != NEVER
    )
    windows = (*_kept(book, param, None), *temporary)
    return Policy(schedules={param: known(book, param)}, windows={param: windows}).value(
        param, at_s
    )


def steps_now(book: Book, param: str, start: int, *, without: str = "") -> Steps:
    """The present function from `start` on: what is in force and to come, kept TIGHTEN_NOW included."""
    steps = steps_of(param, known(book, param, without=without), start, book.now + HORIZON_S)
    return held_safe(param, steps, _kept(book, param, None))


def steps_with(
    book: Book, param: str, start: int, from_s: int, shape: Schedule, filed_at: int, without: str
) -> Steps:
    """The function with one change more, from `from_s` on."""
    schedule = known(book, param, without=without, extra=(from_s, shape))
    steps = steps_of(param, schedule, start, book.now + HORIZON_S)
    return held_safe(param, steps, _kept(book, param, (filed_at, from_s)))


def loosens(book: Book, param: str, shape: Schedule) -> bool:
    """Whether a change filed now is looser than the present function anywhere (LAW K10): mixed is loosen.

    It is compared as if it spoke from now on and stood over all that is to come.
    """
    old = steps_now(book, param, book.now)
    new = steps_of(
        param, overlaid(known(book, param), book.now, shape), book.now, book.now + HORIZON_S
    )
    return not never_looser(param, old, new)


def leap(
    book: Book, param: str, from_s: int, shape: Schedule, filed_at: int, without: str = ""
) -> str | None:
    """Why a loosening in force from `from_s` on would be more than one step at a time, or None."""
    if param == WITHOUT_STEPS:
        return None
    start = min(book.now, from_s - STEP_WINDOW_S)
    steps = steps_with(book, param, start, from_s, shape, filed_at, without)
    return first_leap(param, steps, from_s)


def bars_loosening(book: Book) -> str | None:
    """A case of severity 4 that names a run and is not decided for good, or None (LAW K10, K50)."""
    for row in book.state.named.values():
        for name in row.cases:
            if book.state.cases[name].status in _PENDING_CASE:
                return name
    return None


def weakness_of(book: Book, rule: str, num: int, den: int) -> str | None:
    """Why a new share for `rule` would give a block or weaken the treaty, or None (LAW K10, K51: VETO)."""
    own_num, own_den = SHARES[rule]
    if num * own_den < own_num * den:
        return f"{rule} at {num}/{den} would fall below the treaty's {own_num}/{own_den}"
    standing = book.standing()
    weak = first_weakness(
        len(standing) - 1, k_of(book.membership()), book.shares() | {rule: (num, den)}
    )
    return weak.told(standing) if weak else None


def adopt(book: Book, motion: str, row: Amendment) -> None:
    """The motion won: it enters force after its wait."""
    wait = book.value("loosen_wait" if row.loosens else "amend_wait")
    book.state.amendments.put(motion, row._replace(in_force_at=book.now + wait))
    book.schedule(book.now + wait, RANK_LAPSE, "amend", motion)
    if not row.loosens:
        drop_loosenings(book, row.param, row.order)


def drop_loosenings(book: Book, param: str, order: int) -> None:
    """LAW K34: a tightening stands over every loosening still to come that was filed before it."""
    for motion, row in sorted(book.state.amendments.items()):
        if row.param == param and row.loosens and row.in_force_at != NEVER and row.order < order:
            _drop(book, motion, row, "a later tightening")


def _drop(book: Book, motion: str, row: Amendment, reason: str) -> None:
    book.state.amendments.drop(motion)
    show(book, motion, row.param, "DROPPED", reason)


def show(book: Book, motion: str, param: str, event: str, reason: str = "") -> None:
    """Record what became of a motion's hold on the policy."""
    value, per = 0, 1
    if param.startswith(RULE_PREFIX):
        rule = param.removeprefix(RULE_PREFIX)
        value, per = book.shares().get(rule, SHARES[rule])
    else:
        value = book.value(param)
    book.emit(
        PolicyStep(
            motion=motion,
            param=param,
            event=event,
            value=value,
            per=per,
            reason=reason,
            at=book.now,
        )
    )


def enter_force(book: Book, motion: str) -> None:
    """The clock looks at an adopted amendment: it enters force, waits, or is dropped."""
    row = book.state.amendments.get(motion)
    if row is None or row.in_force_at == NEVER:
        return
    if book.now < row.in_force_at:
        book.schedule(row.in_force_at, RANK_LAPSE, "amend", motion)
        return
    case = bars_loosening(book) if row.loosens else None
    if case is not None:
        _wait(book, motion, row, case)
        return
    reason = _barrier(book, motion, row)
    if reason is not None:
        _drop(book, motion, row, reason)
        return
    book.state.amendments.drop(motion)
    if row.param.startswith(RULE_PREFIX):
        num, den = row.shape[0]
        assert isinstance(den, int), f"a share's denominator {den!r}"
        book.policy_moved()
        book.state.shares.put(row.param.removeprefix(RULE_PREFIX), Share(num, den))
        show(book, motion, row.param, "IN_FORCE")
        book.ask_veto_check()
        return
    schedule = overlaid(in_force(book, row.param), book.now, unpacked(row.shape))
    spoken = [t_from for t_from, _ in schedule if t_from <= book.now - STEP_WINDOW_S]
    kept = tuple(one for one in schedule if one[0] >= max(spoken, default=0))
    book.state.courses.put(row.param, Course(packed(kept)))
    for other, window in sorted(book.state.tightenings.items()):
        if window.param == row.param and window.until == NEVER and row.filed_at >= window.closed_at:
            book.state.tightenings.drop(other)
            changed(book, row.param)
            show(book, other, row.param, "ENDED")
    changed(book, row.param)
    show(book, motion, row.param, "IN_FORCE")


def _wait(book: Book, motion: str, row: Amendment, case: str) -> None:
    """LAW K50: a loosening waits for the end of a case of severity 4, but not for ever."""
    end = row.in_force_at + book.value("loosen_patience")
    if book.now >= end:
        _drop(book, motion, row, f"{case} is still open")
        return
    if not row.waits:
        book.state.amendments.put(motion, row._replace(waits=1))
        show(book, motion, row.param, "WAITING", case)
    book.schedule(end, RANK_LAPSE, "amend", motion)


def _barrier(book: Book, motion: str, row: Amendment) -> str | None:
    """What is judged again at entry into force (LAW K10, K34), or None."""
    if row.param.startswith(RULE_PREFIX):
        num, den = row.shape[0]
        assert isinstance(den, int), f"a share's denominator {den!r}"
        return weakness_of(book, row.param.removeprefix(RULE_PREFIX), num, den)
    shape = unpacked(row.shape)
    if row.loosens:
        return leap(book, row.param, book.now, shape, row.filed_at, motion)
    old = steps_now(book, row.param, book.now, without=motion)
    new = steps_with(book, row.param, book.now, book.now, shape, row.filed_at, motion)
    return None if never_looser(row.param, old, new) else "no longer a tightening"


def reconsider(book: Book) -> None:
    """A case moved: perhaps a loosening need not wait any longer."""
    for motion, row in sorted(book.state.amendments.items()):
        if row.waits:
            enter_force(book, motion)


def changed(book: Book, param: str) -> None:
    """A parameter's schedule or its TIGHTEN_NOW changed: `book.policy` follows, and runs not yet started."""
    book.policy_moved()
    refresh(book, param)
    if param in COVERING:
        watch_thresholds(book)
        reports.thresholds_moved(book)
    if param in Gates._fields or param in FOLLOWS:
        for run, life in sorted(book.state.lives.items()):
            if life.started_at == NEVER:
                runs.weigh(book, run)


def watch_thresholds(book: Book) -> None:
    """Have the clock look when a schedule next moves a threshold of covered sites (LAW K36)."""
    if book.is_first_law:
        return
    ahead = [moves_next(book.policy, param, book.now) for param in COVERING]
    due = min((at for at in ahead if at is not None), default=None)
    if due is not None:
        book.schedule(due, RANK_LAPSE, "covered", "")


def thresholds_due(book: Book) -> None:
    """The clock looks which sites are covered by the thresholds of now."""
    reports.thresholds_moved(book)
    watch_thresholds(book)


def refresh(book: Book, param: str) -> None:
    """Make `book.policy` say what the rows say of one parameter *now*.

    A TIGHTEN_NOW ends when the clock drops its row: in its last second motions close first, and those that
    close before its own must not see it gone (LAW K1).
    """
    windows = tuple(
        Window(row.filed_at, INTEGER_MAX, row.value)
        for _, row in sorted(book.state.tightenings.items())
        if row.param == param
    )
    policy = book.policy
    own = _own(book, param)
    schedules = dict(policy.schedules)
    if own is not None or param not in FOLLOWS:
        schedules[param] = own or ()
    book.policy = Policy(schedules=schedules, windows={**policy.windows, param: windows})


def reschedule(book: Book) -> None:
    """After a restart: the policy, and what the clock must look at."""
    touched = {row.param for row in book.state.tightenings.values()}
    for param in sorted({*touched, *book.state.courses}):
        refresh(book, param)
    for motion, row in book.state.amendments.items():
        if row.in_force_at != NEVER:
            wait = book.value("loosen_patience") if row.waits else 0
            book.schedule(row.in_force_at + wait, RANK_LAPSE, "amend", motion)
    for motion, window in book.state.tightenings.items():
        if window.until != NEVER:
            book.schedule(window.until, RANK_LAPSE, "untighten", motion)

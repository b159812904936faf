"""Schedules as step functions of time: overlaid, compared, and limited in their steps (LAW K10).

A `Steps` list holds (second, value) in rising order, each value as of its second, the first at the
start of the span looked at. A span is at most `HORIZON_S` long and a generator moves at most daily,
so a list is at most some 37,000 long for each generator in the schedule.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, TypeAlias

from node.treaty.policy import (
    DAY,
    GENERATOR_STEPS_MAX,
    PARAMS,
    Generator,
    Schedule,
    Window,
    safer,
)

HORIZON_S: Final = 36_525 * DAY
STEP_WINDOW_S: Final = 30 * DAY  # MODEL 4: one step of at most a tenth in this time
Steps: TypeAlias = "list[tuple[int, int]]"


def overlaid(schedule: Schedule, from_s: int, shape: Schedule) -> Schedule:
    """`schedule` until `shape` speaks: from its first second on, and not before `from_s`."""
    start = max(from_s, shape[0][0])
    kept = tuple(segment for segment in schedule if segment[0] < start)
    now = [element for t_from, element in shape if t_from <= start]
    ahead = tuple(segment for segment in shape if segment[0] > start)
    return (*kept, (start, now[-1]), *ahead)


def steps_of(name: str, schedule: Schedule, start: int, end: int) -> Steps:
    """The values of parameter `name` on [start, end]."""
    segments: list[tuple[int, int | Generator]] = [(start, PARAMS[name].default)]
    for t_from, element in schedule:
        if t_from <= start:
            segments = [(start, element)]
        elif t_from <= end:
            segments.append((t_from, element))
    steps: Steps = []
    for number, (t_from, element) in enumerate(segments):
        until = segments[number + 1][0] - 1 if number + 1 < len(segments) else end
        moves = (
            [(t_from, element)]
            if isinstance(element, int)
            else list(_moves(element, t_from, until))
        )
        for at_s, value in moves:
            if not steps or steps[-1][1] != value:
                steps.append((at_s, value))
    return steps


def _moves(generator: Generator, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A generator's value at `start` and each move up to `end`, in one walk."""
    low, high = generator.clamp
    value = generator.value(start)
    yield start, value
    number = max(start - generator.t0, 0) // generator.every_s + 1
    while number <= GENERATOR_STEPS_MAX:
        at_s = generator.t0 + number * generator.every_s
        following = min(max(value * generator.mul_ppm // 1_000_000 + generator.step, low), high)
        if at_s > end or following == value:
            return
        value = following
        yield at_s, value
        number += 1


def held_safe(name: str, steps: Steps, windows: tuple[Window, ...]) -> Steps:
    """The steps under these windows: within each the safer of its value and the schedule's."""
    if not windows:
        return steps
    first = steps[0][0]
    bounds = {max(bound, first) for window in windows for bound in window[:2]}
    points = sorted({at_s for at_s, _ in steps} | bounds)
    held: Steps = []
    for at_s in points:
        value = value_at(steps, at_s)
        for window in windows:
            if window.start <= at_s < window.end:
                value = safer(name, value, window.value)
        held.append((at_s, value))
    return held


def value_at(steps: Steps, at_s: int) -> int:
    """The value at a second, which is not before the first step."""
    return steps[bisect_right(steps, at_s, key=lambda step: step[0]) - 1][1]


def never_looser(name: str, old: Steps, new: Steps) -> bool:
    """Whether `new` is as safe as `old` or safer at every change point of both: a tightening."""
    points = sorted({at_s for at_s, _ in old} | {at_s for at_s, _ in new})
    before = after = 0
    for at_s in points:
        while before + 1 < len(old) and old[before + 1][0] <= at_s:
            before += 1
        while after + 1 < len(new) and new[after + 1][0] <= at_s:
            after += 1
        if safer(name, old[before][1], new[after][1]) != new[after][1]:
            return False
    return True


def first_leap(name: str, steps: Steps, from_s: int) -> str | None:
    """The first change point from `from_s` on that is looser by more than a tenth than 30 days before.

    `steps` must begin at `from_s - STEP_WINDOW_S` or earlier. Returns what is too much, or None.
    """
    trailing = 0
    for at_s, value in steps:
        if at_s < from_s:
            continue
        while trailing + 1 < len(steps) and steps[trailing + 1][0] <= at_s - STEP_WINDOW_S:
            trailing += 1
        before = steps[trailing][1]
        if safer(name, before, value) != value and 10 * abs(value - before) > before:
            return f"{name} would go from {before} to {value} within 30 days of {at_s}"
    return None

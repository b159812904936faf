"""Schedules as step functions: walked at once, against asking second by second."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from node.treaty.courses import (
    STEP_WINDOW_S,
    Steps,
    first_leap,
    held_safe,
    never_looser,
    overlaid,
    steps_of,
    value_at,
)
from node.treaty.policy import DAY, Generator, Policy, Schedule, Window, safer

NAMES = ("t1_flop", "oversight_bp")  # one is safer lower, one higher
STEP_VALUES = st.integers(0, 400) | st.sampled_from([89, 90, 91, 109, 110, 111, 112])

generators = st.builds(
    Generator,
    t0=st.integers(0, 20 * DAY),
    v0=st.integers(0, 3_000),
    step=st.integers(-40, 40),
    mul_ppm=st.integers(900_000, 1_100_000),
    every_s=st.integers(DAY, 9 * DAY),
    clamp=st.tuples(st.integers(0, 500), st.integers(500, 4_000)),
)
shapes = st.lists(
    st.tuples(st.integers(0, 60 * DAY), st.integers(0, 3_000) | generators),
    min_size=1,
    max_size=4,
    unique_by=lambda segment: segment[0],
).map(lambda segments: tuple(sorted(segments, key=lambda one: one[0])))


def asked(name: str, schedule: Schedule, at_s: int) -> int:
    return Policy(schedules={name: schedule}).value(name, at_s)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(NAMES), shapes, st.integers(0, 40 * DAY), st.data())
def test_steps_say_what_the_policy_says(
    name: str, schedule: Schedule, start: int, data: st.DataObject
) -> None:
    end = start + 60 * DAY
    steps = steps_of(name, schedule, start, end)
    assert steps[0][0] == start
    assert all(one[0] < other[0] and one[1] != other[1] for one, other in itertools.pairwise(steps))
    for at_s in [*data.draw(st.lists(st.integers(start, end), max_size=20)), start, end]:
        assert value_at(steps, at_s) == asked(name, schedule, at_s)
    for at_s, value in steps:  # exact to the second
        assert asked(name, schedule, at_s) == value
        assert at_s == start or asked(name, schedule, at_s - 1) != value


@settings(max_examples=200, deadline=None)
@given(shapes, shapes, st.integers(0, 40 * DAY), st.integers(0, 100 * DAY))
def test_an_overlay_speaks_from_its_first_second_and_not_before_its_time(
    schedule: Schedule, shape: Schedule, from_s: int, at_s: int
) -> None:
    both = overlaid(schedule, from_s, shape)
    speaks = at_s >= max(from_s, shape[0][0])
    assert asked("t1_flop", both, at_s) == asked("t1_flop", shape if speaks else schedule, at_s)
    assert all(one[0] < other[0] for one, other in itertools.pairwise(both))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(NAMES), shapes, st.integers(0, 9 * DAY), st.integers(0, 60 * DAY), st.data())
def test_windows_and_comparisons_agree_with_every_change_point(
    name: str, schedule: Schedule, start: int, length: int, data: st.DataObject
) -> None:
    window = Window(start, start + length, data.draw(st.integers(0, 3_000)))
    end = 60 * DAY
    old = steps_of(name, schedule, 0, end)
    held = held_safe(name, old, (window,))
    policy = Policy(schedules={name: schedule}, windows={name: (window,)})
    for at_s in data.draw(st.lists(st.integers(0, end), max_size=20)):
        assert value_at(held, at_s) == policy.value(name, at_s)
    assert never_looser(name, old, held)
    points = {at_s for at_s, _ in (*old, *held)}
    equal = all(value_at(old, at_s) == value_at(held, at_s) for at_s in points)
    assert never_looser(name, held, old) == equal


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.integers(1, 90), STEP_VALUES), max_size=8),
    st.integers(30, 60),
)
def test_a_leap_is_a_tenth_looser_than_thirty_days_before(
    name: str, moves: list[tuple[int, int]], first_day: int
) -> None:
    days = dict(moves)
    steps: Steps = [(0, 100), *((day * DAY, value) for day, value in sorted(days.items()))]
    from_s = first_day * DAY
    expected = None
    for at_s, value in steps:
        if at_s < from_s:
            continue
        before = value_at(steps, at_s - STEP_WINDOW_S)
        loosened = value - before if name == "t1_flop" else before - value
        assert (loosened > 0) == (safer(name, before, value) != value)
        if loosened * 10 > before:
            expected = at_s
            break
    found = first_leap(name, steps, from_s)
    assert (found is not None) == (expected is not None)
    assert found is None or f"within 30 days of {expected}" in found

"""The policy object: every number the law reads, with its unit, safe direction and hard limits.

Defaults are the treaty's own figures (MODEL 8, LAW section 5): 10^9 and 10^12 parameters; 10^22, 10^24
and 10^25 FLOP, written in PFLOP; 8600 bp on the benchmark. A value at time t is the last element of
the schedule with t_from <= t, or what a generator yields. Integers only; durations in seconds.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

INTEGER_MAX: Final = (1 << 53) - 1
DAY: Final = 86_400
# A generator moves at most once a day, so this is a century; then its value stands still. Without
# a limit, asking for the value at a far second would cost as many steps as there are days till then.
GENERATOR_STEPS_MAX: Final = 36_525


class InvalidPolicy(ValueError):
    """A policy that a genesis may not hold; the message names parameter, value and limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One parameter. `safe_dir` says which way is the safer: "lower" or "higher"."""

    name: str
    unit: str
    safe_dir: str
    default: int
    hard_min: int = 0
    hard_max: int = INTEGER_MAX
    drill_min: int = 0  # the hard_min that stands in a drill (RULINGS R69)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """v0, then every `every_s` seconds v <- floor(v * mul_ppm / 10^6) + step, kept within clamp."""

    t0: int
    v0: int
    step: int
    mul_ppm: int
    every_s: int
    clamp: tuple[int, int]

    def value(self, at_s: int) -> int:
        low, high = self.clamp
        value = min(max(self.v0, low), high)
        for _ in range(min(max(at_s - self.t0, 0) // self.every_s, GENERATOR_STEPS_MAX)):
            following = min(max(value * self.mul_ppm // 1_000_000 + self.step, low), high)
            if following == value:  # a fixed point: it never moves again
                break
            value = following
        return value


Schedule: TypeAlias = "tuple[tuple[int, int], ...] | Generator"


def _lower(name: str, unit: str, default: int, **limits: int) -> Param:
    return Param(name=name, unit=unit, safe_dir="lower", default=default, **limits)


def _higher(name: str, unit: str, default: int, **limits: int) -> Param:
    return Param(name=name, unit=unit, safe_dir="higher", default=default, **limits)


def _duration(
    name: str, default: int, hard_min: int, *, safe_dir: str = "lower", hard_max: int = INTEGER_MAX
) -> Param:
    return Param(
        name=name,
        unit="s",
        safe_dir=safe_dir,
        default=default,
        hard_min=hard_min,
        hard_max=hard_max,
        drill_min=1,
    )


PARAMS: Final[dict[str, Param]] = {
    param.name: param
    for param in (
        # Gates of the tiers
        _lower("t1_params", "parameters", 10**9),
        _lower("t1_flop", "PFLOP", 10**7),
        _lower("frontier_flop", "PFLOP", 10**9),
        _lower("posttrain_flop", "PFLOP", 10**8),
        _lower("horizon_flop", "PFLOP", 10**10),
        _lower("param_cap", "parameters", 10**12),
        _lower("bench_cap", "bp", 8_600, hard_max=10_000),
        _lower("horizon_open", "0 or 1", 0, hard_max=1),
        # Which facilities are covered
        _lower("ccc_mh", "mH", 16_000),
        _lower("ccc_mem", "GB", 1_280),
        # Reporting and other duties
        _duration("slot_l", 3_600, 300),
        _duration("slot_m", DAY, 300),
        _duration("slot_s", 7 * DAY, 300),
        _duration("timeliness_l", DAY, 300),
        _duration("timeliness_m", 7 * DAY, 300),
        _duration("timeliness_s", 30 * DAY, 300),
        _duration("census", 120 * DAY, 7 * DAY),
        _duration("inventory", 90 * DAY, 7 * DAY),
        _duration("access", DAY, 21_600),
        _duration("meeting", 91 * DAY, 7 * DAY),
        _duration("notice", 14 * DAY, 1, safe_dir="higher", hard_max=90 * DAY),
        _duration("lineage_window", 47_347_200, 1, safe_dir="higher"),  # 548 d
        _higher("oversight_bp", "bp", 300, hard_max=10_000),
        _higher("challenge_quota_state", "per 365 d", 20),
        _higher("challenge_quota_requester", "per 365 d", 4),
        # Deadlines of motions and cases (MODEL 4); the hard minimum keeps time to be heard
        _duration("train_close", 30 * DAY, DAY),
        _duration("train_t3_close", 60 * DAY, DAY),
        _duration("train_valid", 365 * DAY, DAY),
        _duration("train_refile", 30 * DAY, DAY, safe_dir="higher"),
        _duration("appoint_close", 14 * DAY, DAY),
        _duration("classify_close", 30 * DAY, DAY),
        _duration("breach_close", 21 * DAY, 6 * DAY),
        _duration("halt_close", 30 * DAY, DAY),
        _duration("reply", 5 * DAY, DAY, safe_dir="higher"),
        _duration("callup", 7 * DAY, DAY, safe_dir="higher"),
        _duration("offer_wait", 3 * DAY, 3_600),
        _duration("progress", DAY, 300),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All parameters' schedules. Only what a genesis overrides is held; the rest are defaults."""

    schedules: Mapping[str, Schedule]

    def value(self, name: str, at_s: int) -> int:
        """The value of parameter `name` at ledger second `at_s`. Raises KeyError: no such parameter."""
        schedule = self.schedules.get(name)
        if schedule is None:
            return PARAMS[name].default
        if isinstance(schedule, Generator):
            return schedule.value(at_s)
        value = PARAMS[name].default  # a schedule speaks from its first t_from (LAW K10)
        for t_from, element in schedule:
            if t_from > at_s:
                break
            value = element
        return value


def safer(name: str, one: int, other: int) -> int:
    """The safer of two values of parameter `name`."""
    return min(one, other) if PARAMS[name].safe_dir == "lower" else max(one, other)


def parse_policy(overrides: Mapping[str, object], *, drill: bool) -> Policy:
    """A genesis' policy map in, the policy out. Raises InvalidPolicy.

    Each override is an integer, a list of [t_from, value] with rising t_from, or a map with exactly
    t0, v0, step, mul_ppm, every_s and clamp. Every value must lie within the hard limits.
    """
    schedules: dict[str, Schedule] = {}
    for name in sorted(overrides):
        param = PARAMS.get(name)
        if param is None:
            raise InvalidPolicy(f"policy.{name}: no such parameter")
        schedule = _schedule(name, overrides[name])
        low = param.drill_min if drill else param.hard_min
        if isinstance(schedule, Generator):
            values: tuple[int, ...] = schedule.clamp
        else:
            values = tuple(value for _, value in schedule)
        for value in values:
            if not low <= value <= param.hard_max:
                raise InvalidPolicy(
                    f"policy.{name}={value}: must be from {low} to {param.hard_max} {param.unit}"
                )
        schedules[name] = schedule
    return Policy(schedules=schedules)


def _schedule(name: str, form: object) -> Schedule:
    if _is_integer(form):
        return ((0, _integer(name, form)),)
    if isinstance(form, list | tuple):
        points = []
        for point in form:
            if not isinstance(point, list | tuple) or len(point) != 2:
                raise InvalidPolicy(f"policy.{name}: {point!r} is not [t_from, value]")
            points.append((_integer(name, point[0]), _integer(name, point[1])))
        if not points or any(one[0] >= other[0] for one, other in itertools.pairwise(points)):
            raise InvalidPolicy(f"policy.{name}: an empty schedule, or t_from does not rise")
        return tuple(points)
    if isinstance(form, Mapping):
        return _generator(name, form)
    raise InvalidPolicy(f"policy.{name}: {form!r} is no integer, schedule or generator")


def _generator(name: str, form: Mapping[object, object]) -> Generator:
    expected = {"t0", "v0", "step", "mul_ppm", "every_s", "clamp"}
    if set(form) != expected:
        raise InvalidPolicy(f"policy.{name}: a generator has exactly {sorted(expected)}")
    clamp = form["clamp"]
    if not isinstance(clamp, list | tuple) or len(clamp) != 2:
        raise InvalidPolicy(f"policy.{name}.clamp: {clamp!r} is not [lowest, highest]")
    step = form["step"]
    if not isinstance(step, int) or isinstance(step, bool) or abs(step) > INTEGER_MAX:
        raise InvalidPolicy(f"policy.{name}.step: {step!r} is no integer within 2^53")
    generator = Generator(
        t0=_integer(name, form["t0"]),
        v0=_integer(name, form["v0"]),
        step=step,
        mul_ppm=_integer(name, form["mul_ppm"]),
        every_s=_integer(name, form["every_s"]),
        clamp=(_integer(name, clamp[0]), _integer(name, clamp[1])),
    )
    if generator.every_s < DAY:
        raise InvalidPolicy(f"policy.{name}.every_s={generator.every_s}: at least {DAY} s")
    if generator.clamp[0] > generator.clamp[1]:
        raise InvalidPolicy(f"policy.{name}.clamp: {clamp!r} is empty")
    return generator


def _is_integer(form: object) -> bool:
    return isinstance(form, int) and not isinstance(form, bool)


def _integer(name: str, form: object) -> int:
    if not isinstance(form, int) or isinstance(form, bool) or not 0 <= form <= INTEGER_MAX:
        raise InvalidPolicy(f"policy.{name}: {form!r} is no integer from 0 to 2^53 - 1")
    return form

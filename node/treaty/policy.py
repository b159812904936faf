"""The policy object: every number the law reads, with its unit, safe direction and hard limits.

Defaults are the treaty's own figures (MODEL 8, LAW section 5): 10^9 and 10^12 parameters; 10^22, 10^24
and 10^25 FLOP, written in PFLOP; 8600 bp on the benchmark. A value at time t is the last element of
the schedule with t_from <= t, or what a generator yields. Integers only; durations in seconds.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

INTEGER_MAX: Final = (1 << 53) - 1
DAY: Final = 86_400
# A generator moves at most once a day, so this is a century; then its value stands still. Without
# a limit, asking for the value at a far second would cost as many steps as there are days till then.
GENERATOR_STEPS_MAX: Final = 36_525
NEWEST_LAW: Final = 3  # a policy that nobody says the law of is read under this one


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


# From each second on what follows, up to the next: a number, or a generator. Before the first, the default.
Schedule: TypeAlias = "tuple[tuple[int, int | Generator], ...]"


class Window(NamedTuple):
    """A TIGHTEN_NOW in effect on [start, end): the safer of `value` and the schedule holds (LAW K9)."""

    start: int
    end: int
    value: int


def _lower(name: str, unit: str, default: int, **limits: int) -> Param:
    return Param(name=name, unit=unit, safe_dir="lower", default=default, **limits)


def _fixed(name: str, default: int, *, safe_dir: str = "lower") -> Param:
    """A time that the treaty fixes: no motion moves it, only a drill shortens it (RULINGS R69)."""
    return _duration(name, default, default, safe_dir=safe_dir, hard_max=default)


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


BENCHMARKS_MAX: Final = 8  # versions that may have caps of their own; all others share `bench_cap`
# What law 3 brought. Earlier laws know no such names: their genesis and their motions refuse them.
_LAW_3: Final = (
    # Who is named abroad has so long to say no (record 0240); more time to be heard is the safer way.
    _duration("consent", 30 * DAY, DAY, safe_dir="higher", hard_max=90 * DAY),
    # Of a benchmark version with a cap of its own; unless set it is what `bench_cap` is (M20, record 0241).
    *(
        _lower(f"bench_cap_{version}", "bp", 8_600, hard_max=10_000)
        for version in range(1, BENCHMARKS_MAX + 1)
    ),
    _higher("teacher_bp", "bp", 10_000, hard_max=10_000),  # of a teacher's lineage (M19, E35)
    # Checks that compare what sources and sensors say (records 0243, 0244)
    _lower("fab_tol", "bp", 200, hard_max=10_000),  # C05
    _lower("customs_tol", "bp", 100, hard_max=10_000),  # C06
    _lower("thermal_tol", "bp", 3_000, hard_max=10_000),  # C23
    _lower("forecast_tol", "bp", 300, hard_max=10_000),  # C25
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
        _duration("transit", 14 * DAY, 14 * DAY, hard_max=14 * DAY),  # C04: a lot has arrived
        _duration("transit_missing", 30 * DAY, 30 * DAY, hard_max=30 * DAY),
        _duration("lineage_window", 47_347_200, 1, safe_dir="higher"),  # 548 d
        _higher("oversight_bp", "bp", 300, hard_max=10_000),
        _higher("challenge_quota_state", "per 365 d", 20),
        _higher("challenge_quota_requester", "per 365 d", 4),
        # Routine inspections by lot (C19)
        _duration("routine", 365 * DAY, 30 * DAY),
        _duration("routine_draw", 30 * DAY, DAY),
        _duration("routine_due", 14 * DAY, DAY),
        _duration("reeval", 180 * DAY, 7 * DAY),  # a deployed model is evaluated again (M38)
        _duration("reeval_now", 30 * DAY, DAY),  # ... after something new was learnt (M40, M50)
        _duration("rights", 30 * DAY, DAY),  # a rights claim is answered (M44)
        _duration("steward_share", 30 * DAY, DAY),  # a steward confirms its share (M37)
        _duration("tip_response", 3 * DAY, DAY),  # a credible tip leads to an inspection (M25)
        _lower("danger_cap", "tokens", INTEGER_MAX),  # of dangerous kinds in one run's data (X15)
        _lower("unlicensed_bp", "bp", 0, hard_max=10_000),  # of a run's tokens (M44)
        _higher("tip_quota", "per day and relay", 16, hard_min=1),
        _duration("owner_memory", 365 * DAY, 30 * DAY, safe_dir="higher"),  # former owners (M39)
        _duration("examiner", 30 * DAY, DAY, safe_dir="higher"),  # for the evaluator by lot (M39)
        _higher(
            "safety_case", "0 or 1", 1, hard_min=1, hard_max=1
        ),  # TRAIN of Tier 3 shows one (M17)
        _duration("remedy", 30 * DAY, DAY),  # what an upheld case asks is done (MODEL 9)
        # Cost (M46 to M48): whole USD
        _higher("cost_floor", "USD", 1_000_000),
        _higher("readiness_floor", "USD", 10_000),
        _duration("review", 30 * DAY, DAY),
        _higher("choke_floor", "bp", 5_000, hard_max=10_000),  # of one maker per step (M34)
        # Modules that are off by default (M49 to M56)
        _higher("publication_module", "0 or 1", 0, hard_max=1),
        _higher("hardware_module", "0 or 1", 0, hard_max=1),
        _lower("chip_peak_cap", "GFLOP/s", INTEGER_MAX),
        _lower("chip_mem_cap", "GB", INTEGER_MAX),
        _lower("chip_link_cap", "Gbit/s", INTEGER_MAX),
        _lower("chip_per_w_cap", "GFLOP/s per W", INTEGER_MAX),
        _lower("production_cap", "mH per year", INTEGER_MAX),
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
        _duration("beacon", 3_600, 60, hard_max=7_200),  # a round of reveals (RULINGS R63)
        # Times that MODEL 4 sets for what states file: what must lapse does, whoever has a majority
        _fixed("amend_close", 14 * DAY),
        _fixed("amend_wait", 7 * DAY),
        _fixed("loosen_close", 60 * DAY),
        _fixed("loosen_wait", 90 * DAY, safe_dir="higher"),
        _fixed("loosen_patience", 180 * DAY),
        _fixed("tighten_now_close", 30 * DAY),
        _fixed("halt_vote", 3 * DAY),
        _fixed("halt_kept", 30 * DAY),
        _fixed("emergency_rest", 30 * DAY, safe_dir="higher"),
        _fixed("inspect_close", DAY // 2),
        _fixed("appeal_file", 30 * DAY, safe_dir="higher"),
        _fixed("appeal_close", 30 * DAY),
        _fixed("suspend_close", 30 * DAY),
        _fixed("suspend_valid", 180 * DAY),
        _fixed("exempt_close", 30 * DAY),
        _fixed("exempt_valid", 365 * DAY),
        _fixed("chiptype_close", 30 * DAY),
        _fixed("deploy_close", 30 * DAY),
        _fixed("outage", 600),  # how long no commit may come before deadlines move (RULINGS R34)
        # Membership and epochs (MODEL 7; RULINGS R44, R48)
        _fixed("withdrawal_s", 365 * DAY, safe_dir="higher"),
        _fixed("epoch_min_s", 3_600, safe_dir="higher"),
        _fixed("key_overlap_s", 7 * DAY),
        *_LAW_3,
    )
}
SINCE_LAW_3: Final = frozenset(param.name for param in _LAW_3)
# A parameter that nobody has set is what another one is.
FOLLOWS: Final[dict[str, str]] = {
    f"bench_cap_{version}": "bench_cap" for version in range(1, BENCHMARKS_MAX + 1)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All parameters' schedules. Only what genesis or a motion set is held; the rest are defaults."""

    schedules: Mapping[str, Schedule]
    windows: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)

    def value(self, name: str, at_s: int) -> int:
        """The value of parameter `name` at ledger second `at_s`. Raises KeyError: no such parameter."""
        value = self.scheduled(name, at_s)
        for window in self.windows.get(name, ()):
            if window.start <= at_s < window.end:
                value = safer(name, value, window.value)
        return value

    def scheduled(self, name: str, at_s: int) -> int:
        """The value that the schedule alone gives. Raises KeyError."""
        schedule = self.schedules.get(name)
        if schedule is None:
            followed = FOLLOWS.get(name)
            return PARAMS[name].default if followed is None else self.value(followed, at_s)
        value: int | Generator = PARAMS[name].default  # it speaks from its first t_from (LAW K10)
        for t_from, element in schedule:
            if t_from > at_s:
                break
            value = element
        return value if isinstance(value, int) else value.value(at_s)


def safer(name: str, one: int, other: int) -> int:
    """The safer of two values of parameter `name`."""
    return min(one, other) if PARAMS[name].safe_dir == "lower" else max(one, other)


def moves_next(policy: Policy, name: str, after_s: int) -> int | None:
    """The first second after `after_s` at which the schedule of a parameter may give another value; None: never again."""
    times = []
    schedule = policy.schedules.get(name, ())
    for number, (t_from, element) in enumerate(schedule):
        if t_from > after_s:
            times.append(t_from)
        if isinstance(element, Generator):
            ends = schedule[number + 1][0] if number + 1 < len(schedule) else None
            step = _next_step(element, max(after_s, t_from))
            if step is not None and (ends is None or step < ends):
                times.append(step)
    return min(times, default=None)


def _next_step(generator: Generator, after_s: int) -> int | None:
    """The generator's next step after a second, unless it stands still by then."""
    done = max(after_s - generator.t0, -1) // generator.every_s if after_s >= generator.t0 else 0
    if done >= GENERATOR_STEPS_MAX:
        return None
    at_s = generator.t0 + (done + 1) * generator.every_s
    return at_s if generator.value(at_s) != generator.value(after_s) else None


def beyond_limits(param: Param, schedule: Schedule, *, drill: bool) -> str | None:
    """Which value of a schedule lies beyond the hard limits: "=value: must be ...", or None.

    Of a generator the clamp counts, the limits that it can never leave.
    """
    low = param.drill_min if drill else param.hard_min
    for _, element in schedule:
        for value in element.clamp if isinstance(element, Generator) else (element,):
            if not low <= value <= param.hard_max:
                return f"={value}: must be from {low} to {param.hard_max} {param.unit}"
    return None


def is_known(name: str, law: int) -> bool:
    """Whether that law reads a parameter of this name."""
    return name in PARAMS and (law > 2 or name not in SINCE_LAW_3)


def params_of(law: int) -> dict[str, Param]:
    """The parameters that a law reads."""
    return {name: param for name, param in PARAMS.items() if is_known(name, law)}


def parse_policy(overrides: Mapping[str, object], *, drill: bool, law: int = NEWEST_LAW) -> Policy:
    """A genesis' policy map in, the policy out. Raises InvalidPolicy.

    Each override is an integer, a list of [t_from, value] with rising t_from, or a map with exactly
    t0, v0, step, mul_ppm, every_s and clamp. Every value must lie within the hard limits.
    """
    schedules: dict[str, Schedule] = {}
    for name in sorted(overrides):
        param = PARAMS.get(name)
        if param is None or not is_known(name, law):
            raise InvalidPolicy(f"policy.{name}: no such parameter")
        schedule = _schedule(name, overrides[name])
        beyond = beyond_limits(param, schedule, drill=drill)
        if beyond is not None:
            raise InvalidPolicy(f"policy.{name}{beyond}")
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
        return ((0, _generator(name, form)),)
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

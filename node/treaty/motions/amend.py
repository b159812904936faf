"""AMEND: change a policy parameter, or a share of the rule table (MODEL 4, 8; LAW K10).

Tighten: any state or the secretariat; a majority; in force 7 days after the close. Loosen: three states;
three quarters; in force 90 days after, in steps of at most a tenth per 30 days, never while a case of
severity 4 that names a run is open. The direction is computed, pointwise over the whole future. A share
of the rule table may only rise, and only where no single state could then block. What is entrenched no
motion changes.
"""

import itertools
from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty import amendments, benchmarks
from node.treaty.ballots import open_motion
from node.treaty.bodies import INTEGER_LIMIT, Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.filing import require_past, require_role
from node.treaty.motions.kind import (
    Force,
    MotionKind,
    always,
    require_states,
    subject_states,
)
from node.treaty.policy import DAY, PARAMS, Generator, Schedule, beyond_limits, is_known
from node.treaty.rows import NEVER
from node.treaty.rows.motions import Amendment, Motion, Walks
from node.treaty.rules import SHARES

ENTRENCHED: Final = frozenset({"accession", "append_only", "right_of_reply", "equal_access"})
LOOSENING_STATES_MIN: Final = 3
WALKS_A_DAY_MAX: Final = 8  # amendments with daily steps judged for one filer in a ledger day


def _file(book: Book, entry: Entry, body: pb.Amend) -> Accepted:
    subject_states(book, entry)  # refs must exist; they recuse nobody, or filing would strip votes
    if book.law > 2:
        for ref in (body.safety_standard_ref, body.democratic_control_ref):
            if ref:
                book.referred(ref)
    require_role(book, entry, "state", "secretariat")
    name = body.param or body.rule
    require_not_entrenched(name)
    if body.HasField("rule"):
        param, row = f"{amendments.RULE_PREFIX}{name}", _rule_change(book, body)
    else:
        param, row = name, _value_change(book, entry.parsed.author, body)
    if row.loosens:
        require_role(book, entry, "state")
        require_states(book, entry, LOOSENING_STATES_MIN)
    if param == name:
        shape = amendments.unpacked(row.shape)
        require_within_limits(book, name, shape)
        benchmarks.require_defined(book, name)
    else:
        weak = amendments.weakness_of(book, name, body.num, body.den)
        if weak is not None:
            raise Refused(Code.VETO, weak)
    if row.loosens:
        _require_loosening(book, body, param, row)
    require_past(book, entry)
    open_motion(
        book,
        entry.name,
        "AMEND",
        about=param,
        subjects=(),
        rule="HIGH" if row.loosens else "MAJ",
        default="unchanged",
        closes_after_s=book.value("loosen_close" if row.loosens else "amend_close"),
    )
    order = book.state.motions[entry.name].order
    book.state.amendments.put(entry.name, row._replace(param=param, order=order))
    return Accepted(f"AMEND:{entry.name}")


def require_not_entrenched(name: str) -> None:
    """Refuses ENTRENCHED; SCHEMA for what is neither parameter nor rule."""
    if name in ENTRENCHED:
        raise Refused(Code.ENTRENCHED, f"no motion changes {name}: that takes a new treaty")


def known_param(book: Book, name: str) -> None:
    """Refuses SCHEMA."""
    if not is_known(name, book.law):
        raise Refused(Code.SCHEMA, f"{name[:80]!r} is no parameter")


def require_within_limits(book: Book, name: str, shape: Schedule) -> None:
    """Refuses HARD_LIMIT."""
    beyond = beyond_limits(PARAMS[name], shape, drill=book.genesis.drill)
    if beyond is not None:
        raise Refused(Code.HARD_LIMIT, f"{name}{beyond}")


def _rule_change(book: Book, body: pb.Amend) -> Amendment:
    if body.rule not in SHARES:
        raise Refused(Code.SCHEMA, f"{body.rule[:80]!r} is no rule: {', '.join(SHARES)}")
    return _row(book, ((body.num, body.den),), loosens=True)


def _value_change(book: Book, filer: str, body: pb.Amend) -> Amendment:
    known_param(book, body.param)
    shape = _shape(body)
    if any(
        isinstance(part, Generator) for _, part in (*shape, *amendments.known(book, body.param))
    ):
        _require_walks_left(book, filer)
    packed = amendments.packed(shape)
    return _row(book, packed, loosens=amendments.loosens(book, body.param, shape))


def _require_walks_left(book: Book, filer: str) -> None:
    """Refuses QUOTA: comparing a century of daily steps takes every node some 60 ms.

    A block full of such motions would hold all others up for two minutes: one state's veto by labour. So
    they are counted when they are judged, whatever the verdict, by ledger day.
    """
    day = book.now // DAY
    row = book.state.walks.get(filer)
    judged = row.judged if row is not None and row.day == day else 0
    if judged >= WALKS_A_DAY_MAX:
        raise Refused(
            Code.QUOTA, f"{filer} had {judged} amendments with daily steps judged on this day"
        )
    book.state.walks.put(filer, Walks(day, judged + 1))


def _row(
    book: Book, shape: tuple[tuple[int, int | tuple[int, ...]], ...], *, loosens: bool
) -> Amendment:
    return Amendment(
        order=0,
        param="",
        loosens=int(loosens),
        shape=shape,
        filed_at=book.now,
        in_force_at=NEVER,
        waits=0,
    )


def _shape(body: pb.Amend) -> Schedule:
    if body.HasField("value"):
        return ((0, body.value),)
    if body.schedule:
        return tuple((point.t_from, point.value) for point in body.schedule)
    form = body.generator
    generator = Generator(
        t0=form.t0,
        v0=form.v0,
        step=form.step,
        mul_ppm=form.mul_ppm,
        every_s=form.every_s,
        clamp=(form.clamp_lo, form.clamp_hi),
    )
    return ((0, generator),)


def _require_loosening(book: Book, body: pb.Amend, param: str, row: Amendment) -> None:
    if param == amendments.WITHOUT_STEPS:
        _require_criteria(book, body)
    case = amendments.bars_loosening(book)
    if case is not None:
        raise Refused(Code.SEV4_OPEN, f"{case} is not decided for good")
    leap = _leap(book, param, row)
    if leap is not None:
        raise Refused(Code.STEP_LIMIT, leap)


def _require_criteria(book: Book, body: pb.Amend) -> None:
    """LAW K42: two different adopted standards, of safety and of democratic control."""
    named = {
        _standard(book, body.safety_standard_ref),
        _standard(book, body.democratic_control_ref),
    }
    if "" in named or len(named) != 2:
        raise Refused(Code.CRITERIA, "two different adopted standards must be named")


def _standard(book: Book, ref: bytes) -> str:
    """The APPOINT motion that adopted the standard a ref names; empty if there is none."""
    facts = book.index.get(ref) if ref else None
    motion = facts.topic.removeprefix("APPOINT:") if facts is not None and not facts.code else ""
    return motion if motion in book.state.standards else ""


def _leap(book: Book, param: str, row: Amendment) -> str | None:
    if param.startswith(amendments.RULE_PREFIX):
        return None
    from_s = book.now + book.value("loosen_wait")
    return amendments.leap(book, param, from_s, amendments.unpacked(row.shape), row.filed_at)


def _barrier(book: Book, motion_id: str, _motion: Motion) -> str:
    """Judged again with the true date, if it would win."""
    row = book.state.amendments[motion_id]
    if not row.loosens:
        return ""
    if amendments.bars_loosening(book) is not None:
        return Code.SEV4_OPEN.value
    if row.param.startswith(amendments.RULE_PREFIX):
        num, den = row.shape[0]
        assert isinstance(den, int), f"a share's denominator {den!r}"
        weak = amendments.weakness_of(book, row.param.removeprefix("rule/"), num, den)
        return Code.VETO.value if weak else ""
    return Code.STEP_LIMIT.value if _leap(book, row.param, row) else ""


def _force(book: Book, motion: Motion, outcome: str) -> Force:
    if outcome != "adopted":
        return Force(None)
    return Force(book.now + book.value("amend_wait" if motion.rule == "MAJ" else "loosen_wait"))


def _effect(book: Book, motion_id: str, _motion: Motion, outcome: str) -> None:
    row = book.state.amendments[motion_id]
    if outcome == "adopted":
        amendments.adopt(book, motion_id, row)
    else:
        book.state.amendments.drop(motion_id)


GENERATOR_EVERY_MIN_S: Final = 86_400  # LAW section 5


_GENERATOR_FIELDS: Final = ("t0", "v0", "step", "mul_ppm", "every_s", "clamp_lo", "clamp_hi")


def _amend_shape(body: Any) -> None:
    values = [part for part in ("value", "generator", "rule") if body.HasField(part)]
    if len(values) + bool(body.schedule) != 1:
        raise MalformedContent("AMEND", "needs one of value, schedule, generator, rule")
    if body.HasField("rule"):
        if body.HasField("param") or not body.num or not body.den:
            raise MalformedContent("AMEND.rule", "goes with num and den from 1, without param")
    elif not body.HasField("param") or body.HasField("num") or body.HasField("den"):
        raise MalformedContent("AMEND.param", "missing, or with num and den, which a rule has")
    for point in body.schedule:
        if point.t_from >= INTEGER_LIMIT or point.value >= INTEGER_LIMIT:
            raise MalformedContent("AMEND.schedule", "not below 2^53")
    times = [point.t_from for point in body.schedule]
    if any(one >= other for one, other in itertools.pairwise(times)):
        raise MalformedContent("AMEND.schedule", "t_from does not rise")
    if body.HasField("generator"):
        _amend_generator(body.generator)


def _amend_generator(form: Any) -> None:
    numbers = (form.t0, form.v0, abs(form.step), form.mul_ppm, form.every_s, form.clamp_hi)
    if any(number >= INTEGER_LIMIT for number in numbers):
        raise MalformedContent("AMEND.generator", "not below 2^53")
    if any(not form.HasField(name) for name in _GENERATOR_FIELDS):
        raise MalformedContent("AMEND.generator", f"needs {', '.join(_GENERATOR_FIELDS)}")
    if form.every_s < GENERATOR_EVERY_MIN_S:
        raise MalformedContent("AMEND.generator", f"every_s below {GENERATOR_EVERY_MIN_S} s")
    if form.clamp_lo > form.clamp_hi:
        raise MalformedContent("AMEND.generator", "its clamp is empty")


KIND: Final[MotionKind] = MotionKind(
    form=Form(
        integers=("value", "num", "den"),
        texts=("param", "rule"),
        hashes=("safety_standard_ref", "democratic_control_ref"),
        lists=("schedule",),
        extra=(_amend_shape,),
    ),
    file=_file,
    outcomes=always("unchanged", "adopted"),
    barrier=_barrier,
    force=_force,
    effect=_effect,
)

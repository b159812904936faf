"""The form of every kind: which fields must be there, and within which bounds (code SCHEMA).

Protobuf has checked types and closed enums; here stands the rest of LAW section 2, as data: one
`Form` per kind. What a value means is judged later, against the register (`node/treaty/law.py`).
"""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from node.treaty.errors import MalformedContent

INTEGER_LIMIT: Final = 1 << 53  # MODEL 2: exact in JSON readers
LIST_LIMIT: Final = 64  # items in any list of one body: as many as MODEL 2 allows refs
HASH_BYTES: Final = 32
BASIS_POINTS: Final = 10_000
GENERATOR_EVERY_MIN_S: Final = 86_400  # LAW section 5
_GENERATOR_FIELDS: Final = ("t0", "v0", "step", "mul_ppm", "every_s", "clamp_lo", "clamp_hi")

# Names stand inside derived ids (C15:US:lineage:acme/base), so they hold neither ':' nor '#'.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?")
_TEXT_LIMIT: Final = 256

USAGE_CLASSES: Final = frozenset({"pretrain", "posttrain", "infer", "sim", "other", "idle"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a body must look like. Each tuple holds field names of its message."""

    required: tuple[str, ...] = ()
    enums: tuple[str, ...] = ()  # required, and not the UNSPECIFIED value
    integers: tuple[str, ...] = ()  # 0 <= n < 2^53
    basis_points: tuple[str, ...] = ()  # 0 to 10000
    names: tuple[str, ...] = ()  # declared here: [A-Za-z0-9._-], at most 64
    references: tuple[str, ...] = ()  # NAME or AUTHOR/NAME of something declared elsewhere
    texts: tuple[str, ...] = ()  # at most 256 characters
    hashes: tuple[str, ...] = ()  # 32 bytes if present
    lists: tuple[str, ...] = ()  # at most 64 items; text items are references
    extra: tuple[Callable[[Any], None], ...] = field(default=())  # what fits no column


def check_form(kind: str, body: Any) -> None:
    """Raise MalformedContent naming the first field of `body` that its form does not allow."""
    form = FORMS[kind]
    for name in form.required:
        if not body.HasField(name):
            raise MalformedContent(f"{kind}.{name}", "missing")
    for name in form.enums:
        if not getattr(body, name):
            raise MalformedContent(f"{kind}.{name}", "missing or unspecified")
    for name in form.integers:
        if getattr(body, name) >= INTEGER_LIMIT:
            raise MalformedContent(f"{kind}.{name}", f"{getattr(body, name)} is not below 2^53")
    for name in form.basis_points:
        if getattr(body, name) > BASIS_POINTS:
            raise MalformedContent(f"{kind}.{name}", f"{getattr(body, name)} is above 10000 bp")
    for name in form.names:
        if not _NAME.fullmatch(getattr(body, name)):
            raise MalformedContent(f"{kind}.{name}", f"{getattr(body, name)[:80]!r} is no name")
    for name in form.references:
        if body.HasField(name) and not _REFERENCE.fullmatch(getattr(body, name)):
            raise MalformedContent(f"{kind}.{name}", f"{getattr(body, name)[:80]!r} names nothing")
    for name in form.texts:
        if len(getattr(body, name)) > _TEXT_LIMIT:
            raise MalformedContent(f"{kind}.{name}", f"longer than {_TEXT_LIMIT} characters")
    for name in form.hashes:
        if body.HasField(name) and len(getattr(body, name)) != HASH_BYTES:
            raise MalformedContent(f"{kind}.{name}", f"{len(getattr(body, name))} bytes, not 32")
    for name in form.lists:
        _check_list(f"{kind}.{name}", getattr(body, name))
    for check in form.extra:
        check(body)


def _check_list(path: str, items: Any) -> None:
    if len(items) > LIST_LIMIT:
        raise MalformedContent(path, f"{len(items)} items, at most {LIST_LIMIT}")
    if not items or not isinstance(items[0], str):
        return
    for item in items:
        if not _REFERENCE.fullmatch(item):
            raise MalformedContent(path, f"{item[:80]!r} names nothing")
    if len(set(items)) != len(items):
        raise MalformedContent(path, "one item twice")


def is_name(text: str) -> bool:
    """Whether `text` may name a party, facility, run, model or chip type."""
    return _NAME.fullmatch(text) is not None


def _usage_amounts(body: Any) -> None:
    seen = set()
    for item in body.by_class:
        if item.name not in USAGE_CLASSES or item.name in seen:
            raise MalformedContent("usage.by_class", f"{item.name[:80]!r} unknown or twice")
        seen.add(item.name)
        if not item.HasField("amount") or item.amount >= INTEGER_LIMIT:
            raise MalformedContent("usage.by_class", f"no amount below 2^53 for {item.name}")
    runs = set()
    for share in body.runs:
        if not _REFERENCE.fullmatch(share.run) or share.run in runs:
            raise MalformedContent("usage.runs", f"{share.run[:80]!r} is no run, or twice")
        runs.add(share.run)
        if not share.HasField("pflop") or share.pflop >= INTEGER_LIMIT:
            raise MalformedContent("usage.runs", f"no pflop below 2^53 for {share.run}")


_PHASE_FIELDS: Final = {
    1: ("model", "params_total", "pflop_plan"),  # plan
    2: (),  # start
    3: ("pflop_done",),  # progress
    4: ("pflop_done",),  # end
}
_PHASE_ALLOWED: Final = {
    1: frozenset(
        [
            "run",
            "phase",
            "model",
            "params_total",
            "pflop_plan",
            "parents",
            "forecast_bp",
            "code_hash",
            "doc_root",
            "techniques",
            "sites",
        ]
    ),
    2: frozenset({"run", "phase"}),
    3: frozenset({"run", "phase", "pflop_done", "oversight_pflop", "code_hash"}),
    4: frozenset({"run", "phase", "pflop_done", "oversight_pflop", "code_hash"}),
}


def _run_phase(body: Any) -> None:
    for name in _PHASE_FIELDS[body.phase]:
        if not body.HasField(name):
            raise MalformedContent(f"run.{name}", "missing in this phase")
    for descriptor, _ in body.ListFields():
        if descriptor.name not in _PHASE_ALLOWED[body.phase]:
            raise MalformedContent(f"run.{descriptor.name}", "not allowed in this phase")
    if body.phase == 1 and not is_name(body.model):
        raise MalformedContent("run.model", f"{body.model[:80]!r} is no name")


_NOTE_NEEDS: Final = {1: "about", 2: "corrects", 6: "about", 7: "about", 9: "hash"}


def _note_type(body: Any) -> None:
    needed = _NOTE_NEEDS.get(body.type)
    if needed is not None and not body.HasField(needed):
        raise MalformedContent(f"note.{needed}", "missing in a note of this type")


def _identity_keys(body: Any) -> None:
    purposes = set()
    for key in body.keys:
        if not key.purpose or key.purpose in purposes:
            raise MalformedContent("identity.keys", "purpose missing, or twice")
        purposes.add(key.purpose)
        if len(key.ed25519) != HASH_BYTES:
            raise MalformedContent("identity.keys", f"{len(key.ed25519)} bytes, not 32")


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


def _eval_capabilities(body: Any) -> None:
    if any(not item.capability or not item.presence for item in body.capabilities):
        raise MalformedContent("eval.capabilities", "capability or presence missing")


FORMS: Final[dict[str, Form]] = {
    "identity": Form(
        enums=("role",), names=("party", "state"), lists=("keys", "owners"), extra=(_identity_keys,)
    ),
    "instrument": Form(enums=("type",), lists=("attested_by",), hashes=("text_hash",)),
    "facility": Form(
        required=("capacity_mh", "mem_gb"),
        integers=("capacity_mh", "mem_gb", "max_w"),
        names=("facility",),
        texts=("cell",),
    ),
    "usage": Form(
        required=("chip_type", "facility", "chips_on", "chip_seconds", "pflop_total"),
        integers=("chips_on", "chip_seconds", "pflop_total"),
        references=("chip_type", "facility"),
        lists=("by_class", "runs"),
        extra=(_usage_amounts,),
    ),
    "energy": Form(
        required=("facility", "wh"),
        integers=("wh", "peak_w", "min_w"),
        names=("meter",),
        references=("facility",),
        texts=("seal",),
    ),
    "run": Form(
        required=("run",),
        enums=("phase",),
        integers=("params_total", "pflop_plan", "pflop_done", "oversight_pflop"),
        basis_points=("forecast_bp",),
        references=("run",),
        hashes=("code_hash", "doc_root"),
        lists=("parents", "techniques", "sites"),
        extra=(_run_phase,),
    ),
    "note": Form(
        enums=("type",), texts=("about",), hashes=("corrects", "hash"), extra=(_note_type,)
    ),
    "chip_type": Form(
        required=("mh", "peak_any"), integers=("mh", "peak_any"), names=("chip_type",)
    ),
    "chip_batch": Form(
        required=("chip_type", "count", "serial_root"),
        integers=("count",),
        references=("chip_type",),
        hashes=("serial_root",),
    ),
    "custody": Form(
        required=("chip_type", "count", "serial_root"),
        enums=("type",),
        integers=("count",),
        references=("chip_type", "origin", "destination"),
        hashes=("serial_root", "notice_of"),
    ),
    "inventory": Form(
        required=("chip_type", "facility", "count", "serial_root"),
        integers=("count",),
        references=("chip_type", "facility"),
        hashes=("serial_root",),
    ),
    "eval": Form(
        required=("model", "bench_ver", "items", "score_bp"),
        integers=("bench_ver", "items"),
        basis_points=("score_bp",),
        references=("model",),
        lists=("capabilities",),
        extra=(_eval_capabilities,),
    ),
    "inspection": Form(
        required=("mandate",),
        enums=("type",),
        integers=("mismatches", "denied_s"),
        references=("site",),
        texts=("mandate",),
    ),
    "TRAIN": Form(integers=("until",), lists=("inspectors",)),
    "BREACH": Form(),
    "DEPLOY": Form(
        required=("cap_ver",), integers=("cap_ver",), texts=("mode",), lists=("stewards",)
    ),
    "EXEMPT": Form(required=("domain", "general_output"), texts=("domain",)),
    "CLASS": Form(required=("domain", "general_output"), texts=("domain",)),
    "HALT": Form(),
    "INSPECT": Form(),
    "AMEND": Form(
        integers=("value", "num", "den"),
        texts=("param", "rule"),
        hashes=("safety_standard_ref", "democratic_control_ref"),
        lists=("schedule",),
        extra=(_amend_shape,),
    ),
    "TIGHTEN_NOW": Form(required=("param", "scale_bp"), integers=("scale_bp",), texts=("param",)),
    "APPEAL": Form(),
    "APPOINT": Form(enums=("what",), names=("name",)),
    "CHIPTYPE": Form(),
    "CLASSIFY": Form(),
    "SUSPEND": Form(),
    "vote": Form(
        required=("motion",),
        enums=("choice",),
        texts=("motion",),
        hashes=("reason_hash", "mandate_ref"),
    ),
}

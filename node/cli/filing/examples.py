"""An example of every kind: a body that its form accepts, found by asking the form what is still missing.

    example("run", "progress") -> {"run": "name", "phase": "progress", "pflop_done": 1}

The form names the first field that it misses, so most bodies are found without knowing anything about the kind. Where a field
asks for more than a value of its type, `_HINTS` says what; a new kind needs a line there only then.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from foedus.v1 import content_pb2 as pb
from node.cli.errors import MalformedDraft
from node.cli.filing.schema import words_of
from node.cli.statements import Draft, content_bytes
from node.treaty import motions, statements
from node.treaty.bodies import Form
from node.treaty.kinds import Kind
from node.treaty.parsing import KIND_NAMES

LEDGER: Final = bytes(32)
AUTHOR: Final = "author"
PERIOD: Final = (1_767_225_600, 1_767_229_200)  # an hour, the first of 2026
HASH: Final = "00" * 32
_STEPS_MAX: Final = 40  # more than any message has fields

_ALTERNATIVES: Final = {kind: alternative for alternative, kind in KIND_NAMES.items()}
# What a form asks for beyond a value of the field's type: (kind, variant), or (kind, "") for all of them. A kind without a
# field that tells variants apart may have some here.
_HINTS: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("AMEND", "value"): {"param": "oversight_bp", "value": 400},
    ("AMEND", "schedule"): {
        "param": "frontier_flop",
        "schedule": [{"t_from": 1_800_000_000, "value": 900_000_000}],
    },
    ("AMEND", "generator"): {
        "param": "frontier_flop",
        "generator": {
            "t0": 1_800_000_000,
            "v0": 1_000_000_000,
            "step": 0,
            "mul_ppm": 997_157,
            "every_s": 86_400,
            "clamp_lo": 100_000_000,
            "clamp_hi": 1_000_000_000,
        },
    },
    ("AMEND", "rule"): {"rule": "SUP", "num": 7, "den": 10},
    ("chipmeter", ""): {"counter_start": 1, "counter_end": 2},
    # The form leaves the ends open; the rule wants the one that the type speaks of.
    ("custody", "notice"): {"origin": "name"},
    ("custody", "out"): {"origin": "name", "destination": "name", "notice_of": HASH},
    ("custody", "in"): {"origin": "name", "destination": "name"},
    ("custody", "destroy"): {"origin": "name"},
    ("custody", "loss"): {"origin": "name"},
    ("custody", "found"): {"destination": "name"},
    ("data", "manifest"): {"tokens": {"licensed": 1}},
    ("note", "reveal"): {"about": "1"},
    ("TIGHTEN_NOW", ""): {"param": "frontier_flop", "scale_bp": 5_000},
    ("tip", "report"): {"sealed": "00" * 1_064},
    ("usage", ""): {"by_class": {"pretrain": 1}},
}


def message_of(kind: str) -> Descriptor:
    """The message that holds the body of this kind."""
    found: Descriptor | None = pb.Content.DESCRIPTOR.fields_by_name[
        _ALTERNATIVES[kind]
    ].message_type
    assert found is not None, f"the body of {kind} is no message"
    return found


def form_of(kind: str) -> Form:
    statement: Kind | None = statements.KINDS.get(kind)
    return statement.form if statement is not None else motions.KINDS[kind].form


def classes_of(kind: str) -> str:
    """The classes it may have, its default first."""
    statement = statements.KINDS.get(kind)
    return statement.classes if statement is not None else "RP"


def needs_period(kind: str) -> bool:
    statement = statements.KINDS.get(kind)
    return statement is not None and statement.needs_period


def variants_of(kind: str) -> tuple[str, ...]:
    """The words that tell variants of a kind apart, such as a run's phases; empty if it has none."""
    field = variant_field(kind)
    if field is not None:
        return words_of(field)
    return tuple(variant for one, variant in _HINTS if one == kind and variant)


def variant_field(kind: str) -> FieldDescriptor | None:
    """The first enum that the form requires, but for a vote's choice, which changes no other field."""
    for name in form_of(kind).enums:
        field: FieldDescriptor = message_of(kind).fields_by_name[name]
        if kind != "vote" and not field.is_repeated:
            return field
    return None


def example(kind: str, variant: str = "") -> dict[str, Any]:
    """A body that the form accepts. Raises MalformedDraft if none was found: then `_HINTS` lacks a line."""
    field = variant_field(kind)
    form = form_of(kind)
    variants = variants_of(kind)
    variant = variant or (variants[0] if variants else "")
    hints = {**_HINTS.get((kind, ""), {}), **_HINTS.get((kind, variant), {})}
    message = message_of(kind)
    body: dict[str, Any] = {
        name: value_of(message.fields_by_name[name]) for name in (*form.required, *form.enums)
    }
    if field is not None:
        body[field.name] = variant
    body.update(hints)
    for _ in range(_STEPS_MAX):
        problem = refusal(kind, body)
        if problem is None:
            return body
        missing = _named(message, problem, body)
        if missing is None:
            raise problem
        body[missing.name] = value_of(missing)
    raise MalformedDraft(f"{kind} {variant}: no example after {_STEPS_MAX} fields")


def refusal(kind: str, body: Mapping[str, Any]) -> MalformedDraft | None:
    """What the form has against this body."""
    draft = Draft(
        kind=kind,
        body=body,
        period=PERIOD if needs_period(kind) else None,
        confidentiality=classes_of(kind)[0],
    )
    try:
        content_bytes(draft, ledger=LEDGER, author=AUTHOR)
    except MalformedDraft as err:
        return err
    return None


def optional_fields(kind: str, body: Mapping[str, Any]) -> Iterator[FieldDescriptor]:
    """Fields that this body may have besides, each by itself."""
    for field in message_of(kind).fields:
        if field.name not in body and refusal(kind, {**body, field.name: value_of(field)}) is None:
            yield field


def value_of(field: FieldDescriptor) -> Any:
    """A value of the field's type, the same every time."""
    one = _one(field)
    return [one] if field.is_repeated else one


def _one(field: FieldDescriptor) -> Any:
    if field.message_type is not None:
        return {part.name: value_of(part) for part in field.message_type.fields}
    if field.enum_type is not None:
        return words_of(field)[0]
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return "name"
        case FieldDescriptor.TYPE_BYTES:
            return HASH
        case FieldDescriptor.TYPE_BOOL:
            return False
    return 1


def _named(
    message: Descriptor, problem: MalformedDraft, body: Mapping[str, Any]
) -> FieldDescriptor | None:
    """The field that the form names and the body lacks: in its path, or in its words."""
    text = str(problem).partition("; fields of")[0]
    words = text.replace(".", " ").replace(",", " ").replace(":", " ").split()
    for word in words:
        field: FieldDescriptor | None = message.fields_by_name.get(word)
        if field is not None and field.name not in body:
            return field
    return None

"""The text of a template: a draft that the form accepts as it stands, each field with what it means and what it may be."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from node.cli.filing.examples import (
    PERIOD,
    classes_of,
    example,
    form_of,
    message_of,
    needs_period,
    optional_fields,
    value_of,
    variants_of,
)
from node.cli.filing.schema import about, comment_of, words_of

_CLASS_WORDS: Final = {"P": "P public", "R": "R restricted", "S": "S secret"}
_INTEGERS: Final = (
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_SINT64,
)


def toml_template(kind: str, variant: str = "") -> str:
    """A commented draft in TOML. Raises MalformedDraft if the kind has no example."""
    body = example(kind, variant)
    lines = [f"# {about(kind)}"]
    variants = variants_of(kind)
    if variants:
        lines.append(f"# Other variants: foedus template {kind} {'|'.join(variants)}")
    lines += [
        f"# Fill in, then: foedus file {kind} --from THIS.toml --check",
        "",
        f'kind = "{kind}"',
        *_head(kind),
        "",
        "[body]",
        *_fields(kind, body),
    ]
    return "\n".join(lines) + "\n"


def json_template(kind: str, variant: str = "") -> str:
    """The same draft in JSON, which has no comments. Raises MalformedDraft."""
    draft: dict[str, Any] = {"kind": kind, "class": classes_of(kind)[0]}
    if needs_period(kind):
        draft["period"] = list(PERIOD)
    return json.dumps({**draft, "refs": [], "body": example(kind, variant)}, indent=2) + "\n"


def _head(kind: str) -> Iterator[str]:
    classes = classes_of(kind)
    yield f'class = "{classes[0]}"  # {", ".join(_CLASS_WORDS[letter] for letter in classes)}'
    period = f"period = [{PERIOD[0]}, {PERIOD[1]}]"
    yield (
        f"{period}  # unix seconds UTC, start included, end not; not in the future"
        if needs_period(kind)
        else f"# {period}  # optional: unix seconds UTC, start included, end not"
    )
    yield "refs = []  # hashes in hex of entries spoken of, or SHA-256 of a finding's or case's id; at most 64"


def _fields(kind: str, body: Mapping[str, Any]) -> Iterator[str]:
    message = message_of(kind)
    for field in message.fields:
        if field.name in body:
            yield f"{field.name} = {_toml(body[field.name])}{_comment(kind, field)}"
    others = list(optional_fields(kind, body))
    if others:
        yield "# optional:"
    for field in others:
        yield f"# {field.name} = {_toml(value_of(field))}{_comment(kind, field)}"
    if not body and not others:
        yield "# no fields: what the motion is about follows from refs"


def _comment(kind: str, field: FieldDescriptor) -> str:
    told = [comment_of(message_of(kind), field.name), _allowed(kind, field)]
    text = "; ".join(part for part in told if part)
    return f"  # {text}" if text else ""


def _allowed(kind: str, field: FieldDescriptor) -> str:
    """What the form and the type allow, in words."""
    form = form_of(kind)
    if field.enum_type is not None:
        return f"one of {', '.join(words_of(field))}"
    if field.name in form.basis_points:
        return "0 to 10000 bp"
    if field.name in form.names:
        return "a name: letters, digits and ._-, at most 64"
    if field.name in form.references or (
        field.name in form.lists + form.counted and field.type == FieldDescriptor.TYPE_STRING
    ):
        return "NAME, or AUTHOR/NAME of another's"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "hex"
    if field.type in _INTEGERS and not field.is_repeated:
        return f"integer from {1 if field.name in form.positive else 0}, below 2^53"
    return ""


def _toml(value: Any) -> str:
    """One value on one line. Strings here hold nothing that the two notations escape differently."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)

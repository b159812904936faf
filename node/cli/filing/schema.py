"""What the schema says of each message and field: its comments, which the compiled form does not keep."""

import re
import sys
from functools import cache
from pathlib import Path
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from foedus.v1 import content_pb2
from node.treaty import motions, statements

_SCHEMA: Final = Path(content_pb2.__file__).with_name("content.proto")
_OPENS: Final = re.compile(r"message (\w+) \{")
_FIELD: Final = re.compile(r"\s+(?:repeated )?[\w.]+ (\w+) = \d+;(?: // (.*))?")


@cache
def field_comments() -> dict[tuple[str, str], str]:
    """(message, field) -> the comment behind it, for fields that have one."""
    found: dict[tuple[str, str], str] = {}
    message = ""
    for line in _SCHEMA.read_text(encoding="utf-8").splitlines():
        if opens := _OPENS.match(line):
            message = opens[1]
        elif (field := _FIELD.match(line)) and field[2]:
            found[message, field[1]] = field[2]
    return found


def comment_of(message: Descriptor, field: str) -> str:
    """What the schema says of a field; empty if nothing."""
    return field_comments().get((message.name, field), "")


def about(kind: str) -> str:
    """The first sentence of the module that holds the kind's rules, with its source in the model."""
    row = statements.KINDS.get(kind)
    rule = row.take if row is not None else motions.KINDS[kind].file
    text = (sys.modules[rule.__module__].__doc__ or "").strip().splitlines()
    return text[0] if text else kind


def words_of(field: FieldDescriptor) -> tuple[str, ...]:
    """The words that a draft may use for an enum field, in the schema's order; UNSPECIFIED says nothing and is left out."""
    enum = field.enum_type
    assert enum is not None, f"{field.full_name} is no enum"
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return tuple(value.name.removeprefix(prefix).lower() for value in enum.values if value.number)

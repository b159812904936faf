"""What the form of a kind says: which fields must be there, and within which bounds (code SCHEMA).

Protobuf has checked types and closed enums; a `Form` is the rest of LAW section 2, as data. Each kind's own stands in its
module (`statements`, `motions`). What a value means is judged later, against the register (`node/treaty/law.py`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from node.treaty.errors import MalformedContent

INTEGER_LIMIT: Final = 1 << 53  # MODEL 2: exact in JSON readers
LIST_LIMIT: Final = 64  # items in any list of one body: as many as MODEL 2 allows refs
HASH_BYTES: Final = 32
BASIS_POINTS: Final = 10_000

# Names stand inside derived ids (C15:US:lineage:acme/base), so they hold neither ':' nor '#'.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?")
NAME_LIMIT: Final = 64  # characters
TEXT_LIMIT: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a body must look like. Each tuple holds field names of its message."""

    required: tuple[str, ...] = ()
    enums: tuple[str, ...] = ()  # required, and not the UNSPECIFIED value
    integers: tuple[str, ...] = ()  # 0 <= n < 2^53
    positive: tuple[str, ...] = ()  # of these, from 1
    basis_points: tuple[str, ...] = ()  # 0 to 10000
    names: tuple[str, ...] = ()  # declared here: [A-Za-z0-9._-], at most 64
    references: tuple[str, ...] = ()  # NAME or AUTHOR/NAME of something declared elsewhere
    texts: tuple[str, ...] = ()  # at most 256 characters
    hashes: tuple[str, ...] = ()  # 32 bytes if present
    lists: tuple[str, ...] = ()  # at most 64 items; text items are references, none twice
    counted: tuple[
        str, ...
    ] = ()  # lists whose rule counts distinct names, so that one may stand twice
    extra: tuple[Callable[[Any], None], ...] = field(default=())  # what fits no column


def check_form(kind: str, form: Form, body: Any) -> None:
    """Raise MalformedContent naming the first field of `body` that its form does not allow."""
    for name in form.required:
        if not body.HasField(name):
            raise MalformedContent(f"{kind}.{name}", "missing")
    for name in form.enums:
        if not getattr(body, name):
            raise MalformedContent(f"{kind}.{name}", "missing or unspecified")
    for name in form.integers:
        if getattr(body, name) >= INTEGER_LIMIT:
            raise MalformedContent(f"{kind}.{name}", f"{getattr(body, name)} is not below 2^53")
    for name in form.positive:
        if not getattr(body, name):
            raise MalformedContent(f"{kind}.{name}", "0: must be at least 1")
    for name in form.basis_points:
        if getattr(body, name) > BASIS_POINTS:
            raise MalformedContent(f"{kind}.{name}", f"{getattr(body, name)} is above 10000 bp")
    for name in form.names:
        if not is_name(getattr(body, name)):
            raise MalformedContent(f"{kind}.{name}", f"{getattr(body, name)[:80]!r} is no name")
    for name in form.references:
        if body.HasField(name) and not is_reference(getattr(body, name)):
            raise MalformedContent(f"{kind}.{name}", f"{getattr(body, name)[:80]!r} names nothing")
    for name in form.texts:
        if len(getattr(body, name)) > TEXT_LIMIT:
            raise MalformedContent(f"{kind}.{name}", f"longer than {TEXT_LIMIT} characters")
    for name in form.hashes:
        if body.HasField(name) and len(getattr(body, name)) != HASH_BYTES:
            raise MalformedContent(f"{kind}.{name}", f"{len(getattr(body, name))} bytes, not 32")
    for name in form.lists:
        _check_list(f"{kind}.{name}", getattr(body, name))
    for name in form.counted:
        _check_list(f"{kind}.{name}", getattr(body, name), once=False)
    for check in form.extra:
        check(body)


def _check_list(path: str, items: Any, *, once: bool = True) -> None:
    if len(items) > LIST_LIMIT:
        raise MalformedContent(path, f"{len(items)} items, at most {LIST_LIMIT}")
    if not items or not isinstance(items[0], str):
        return
    for item in items:
        if not is_reference(item):
            raise MalformedContent(path, f"{item[:80]!r} names nothing")
    if once and len(set(items)) != len(items):
        raise MalformedContent(path, "one item twice")


def is_name(text: str) -> bool:
    """Whether `text` may name a party, facility, run, model or chip type."""
    return len(text) <= NAME_LIMIT and _is_name(text)


def is_reference(text: str) -> bool:
    """Whether `text` may speak of something declared: NAME or AUTHOR/NAME."""
    return len(text) <= 2 * NAME_LIMIT + 1 and _is_reference(text)


# Entries speak of the same few things. Only what is short enough to be a name is remembered: at most 2 MB.
@lru_cache(maxsize=8_192)
def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


@lru_cache(maxsize=8_192)
def _is_reference(text: str) -> bool:
    return _REFERENCE.fullmatch(text) is not None

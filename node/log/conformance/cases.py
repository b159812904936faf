"""What a conformance case is, and what the judges share."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from node.log import merkle

Json = Any
Judge = Callable[[], None]


class Failed(Exception):
    """The case does not hold; the message says what was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    judge: Judge  # raises if the case fails


def expect(seen: object, wanted: object, what: str) -> None:
    if seen != wanted:
        raise Failed(f"{what}: saw {seen!r}, wanted {wanted!r}"[:400])


def refused(
    errors: type[Exception] | tuple[type[Exception], ...], act: Callable[[], object]
) -> None:
    try:
        value = act()
    except errors:
        return
    raise Failed(f"accepted: {value!r}"[:400])


def octets(text: str) -> bytes:
    """The bytes a case means. A lone surrogate, which JSON can spell, becomes the bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogatepass")


def unhex(texts: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def unbase64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def generated_entry(index: int) -> bytes:
    return b"entry-%d" % index


def tree_of(entries: Sequence[bytes]) -> merkle.MemoryHashes:
    hashes = merkle.MemoryHashes()
    hashes.append(merkle.leaf_hashes(entries))
    return hashes

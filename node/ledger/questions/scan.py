"""A scanner of the log: nothing larger than its limit, and nothing secret in plain (M53; MODEL 2 and 6).

Content that law forbids to spread is never on the ledger, only its hash and a legal reference are. The scanner shows that it
could not be: entries are bounded, and an entry of class S says nothing but hashes, sealed bytes and ids.
"""

from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from node.ledger.questions.sight import PAGE, Sight
from node.ledger.questions.state_views import Rows
from node.ledger.reader import Malformed, read_entry
from node.ledger.records import is_record
from node.log.tiles import ENTRY_BYTES_MAX
from node.signing.statements import entry_hash
from node.treaty.bodies import is_reference

SECRET: Final = 3  # class S
# Of class S these bytes may be longer than a hash: they are ciphertext, or a share of its key in a sealed box.
_SEALED: Final = frozenset({"tip.sealed", "tip.box"})
_HASH_BYTES: Final = 32


def scan(sight: Sight, _about: str) -> Rows:
    """Whether any entry up to here is larger than allowed, or of class S and in plain. One row for each, and one for the log."""
    found = {"entries": 0, "records": 0, "secret": 0, "bytes_max": 0, "wrong": 0}
    for first in range(0, sight.size, PAGE):
        leaves = sight.leaves.entries(first, min(PAGE, sight.size - first))
        for index, leaf in enumerate(leaves, first):
            found["bytes_max"] = max(found["bytes_max"], len(leaf))
            if is_record(leaf):
                found["records"] += 1
                continue
            found["entries"] += 1
            secret, wrong = look_at(leaf)
            found["secret"] += secret
            if wrong:
                found["wrong"] += 1
                yield f"{index:012d}", {"index": index, "wrong": wrong}
    yield "log", found


def look_at(leaf: bytes) -> tuple[bool, str]:
    """(whether an entry is of class S, what is wrong with it or empty)."""
    if len(leaf) > ENTRY_BYTES_MAX:
        return False, f"{len(leaf)} bytes, at most {ENTRY_BYTES_MAX}"
    entry = read_entry(leaf, entry_hash(leaf))
    if isinstance(entry, Malformed):
        return False, f"{entry.field}: {entry.why}"
    parsed = entry.parsed
    if parsed.confidentiality != SECRET:
        return False, ""
    plain = sorted(_plain(parsed.kind, parsed.body))
    return True, f"class S in plain: {', '.join(plain)}" if plain else ""


def _plain(kind: str, body: Message) -> set[str]:
    """Fields of an entry of class S that say more than an id or a hash."""
    found: set[str] = set()
    for field, value in body.ListFields():
        name = f"{kind}.{field.name}"
        for item in value if field.is_repeated else (value,):
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                found |= _plain(kind, item)
            elif _says(field, name, item):
                found.add(name)
    return found


def _says(field: FieldDescriptor, name: str, value: Any) -> bool:
    if field.type == FieldDescriptor.TYPE_STRING:
        return not is_reference(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return name not in _SEALED and len(value) != _HASH_BYTES
    return False

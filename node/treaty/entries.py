"""Entries as values: what the law judges, and what the ledger keeps about each. `parsing` makes them."""

from typing import Any, Final, NamedTuple, Protocol

from node.treaty.bodies import HASH_BYTES

NO_PREVIOUS: Final = bytes(HASH_BYTES)  # `prev` of an author's first entry


class ParsedEntry(NamedTuple):
    """A well-formed payload; nobody has yet said who signed it. Shapes: hashes 32 bytes.

    A tuple, as the other values here, of which there are thousands a second: a frozen dataclass takes 3.5 us more to make.
    """

    seq: int  # from 1
    prev: bytes
    endorsements: tuple[bytes, ...]  # detached COSE_Sign1 each
    content_hash: bytes  # SHA-256 of the content bytes: what endorsements sign
    ledger: bytes
    author: str
    kind: str  # "energy", "TRAIN", "vote", ...
    refs: tuple[bytes, ...]
    period: tuple[int, int] | None  # [start, end) unix seconds
    confidentiality: int  # pb.Confidentiality
    body: Any  # the pb message of this kind: read only, form checked
    subject: str  # what the COSE header's `sub` must be: kind/subject id


class Entry(NamedTuple):
    """An entry whose signatures hold: what `Law.apply` takes. Built by `node/ledger` alone."""

    entry_hash: bytes  # SHA-256 of the COSE_Sign1 bytes as received
    name: str  # entry_hash in hex: how derived ids speak of it
    leaf: int  # its index in the log if it is appended
    kid: bytes  # 8 bytes: the author's key that signed
    parsed: ParsedEntry
    endorsers: tuple[str, ...]  # parties whose endorsement was verified: sorted, distinct


class EntryFacts(NamedTuple):
    """What the law must know for ever about an appended entry (RULINGS R29).

    The ledger stores it in the entry's index row (`codec.encode` takes it, `EntryFacts(*decode(b))`
    gives it back) and finds it by hash, by (author, seq) and, if accepted, by content hash.
    """

    entry_hash: bytes
    leaf: int  # its index in the log
    author: str
    seq: int
    kind: str
    topic: str  # what a reference to it leads to, e.g. "run:acme/r1"; law's own words
    code: str  # "" if accepted, else why it was rejected
    content_hash: bytes
    time_s: int  # ledger second of its commit


class EntryIndex(Protocol):
    """The ledger's index over all appended entries, those of the open batch included."""

    def get(self, entry_hash: bytes) -> EntryFacts | None:
        """The entry with this hash."""

    def at_seq(self, author: str, seq: int) -> EntryFacts | None:
        """The entry that used this author's `seq` (of two, the first)."""

    def by_content(self, content_hash: bytes) -> EntryFacts | None:
        """The accepted entry with this content."""

"""What the store is given and gives: values, one class for each kind of row that callers know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from node.log.merkle import HashRun
from node.storage.keys import Facet


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """Where the store stands after its last commit. All zero before genesis is written."""

    commit: int  # index of the last commit, engine numbering (genesis = 0)
    log_size: int  # entries in the log
    time_ms: int  # ledger time of the last commit
    state_keys: int  # keys of the state map
    state_digest: bytes  # 32 bytes, RULINGS R20


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """How one entry is found again, for ever (RULINGS R29). Derived records have facets only."""

    index: int
    entry_hash: bytes | None = None  # SHA-256 of the leaf bytes
    facts: bytes = b""  # what the law must know for ever about the entry, opaque here
    sequence: tuple[str, int] | None = None  # (author, seq), if this entry is the first to use it
    content_hash: bytes | None = None  # if the entry was accepted
    facets: tuple[tuple[Facet, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitWrite:
    """Everything one commit changes on disk. `entries[i]` gets index `tip.log_size - len(entries) + i`."""

    tip: Tip
    engine_record: bytes
    entries: Sequence[bytes] = ()
    hashes: Sequence[HashRun] = ()  # every complete node made, as `merkle.append` gives them
    state: Mapping[tuple[int, bytes], bytes | None] = field(
        default_factory=dict
    )  # (bucket, key); None deletes
    index_rows: Sequence[IndexRow] = ()
    dropped: bytes = b""  # counts carried to the next commit record, encoded by the ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRow:
    """One entry of the mempool as stored."""

    entry_hash: bytes
    arrival: int  # ascending per node; the order of proposing
    inclusion_by_ms: int  # what the acknowledgement promised; 0 while held
    held: bool
    entry: bytes

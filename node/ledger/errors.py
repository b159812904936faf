"""What the ledger can answer but yes, as one tree.

LedgerError
├── MalformedGenesis    not a founding document, or not signed by every member it lists
├── MalformedRecord     stored bytes are no record of records.cddl
├── Refused             this entry cannot be admitted as it is: says code, field, and what would have been right
├── Overloaded          a bound is reached: try again later
├── NotYet              asked about a size or index that does not exist yet
├── EpochForced         an epoch was ended that the law has not closed: more than f members signed against it
└── ReplayDiverged      the store and a replay of it disagree: the node must not go on signing
"""


class LedgerError(Exception):
    """Any answer of the ledger but yes."""


class MalformedGenesis(LedgerError, ValueError):
    """Names field and value, and the member whose part is wrong."""


class MalformedRecord(LedgerError, ValueError):
    """Stored bytes that are no record of `records.cddl`."""


class Refused(LedgerError):
    """The entry cannot be admitted as it is; the same bytes will not do better later."""

    def __init__(self, code: str, field: str, why: str) -> None:
        super().__init__(f"{code}: {field}: {why}")
        self.code = code  # a reason code of the law, or TOO_LARGE, SIGNATURE, LEDGER
        self.field = field  # dotted name inside the entry, for example "content.period"
        self.why = why  # what was seen, and what would have been right


class Overloaded(LedgerError):
    """A bound is reached: the whole mempool's, or this author's. Nothing was kept."""

    def __init__(self, why: str, retry_after_ms: int) -> None:
        super().__init__(f"{why}; try again in {retry_after_ms} ms")
        self.why = why
        self.retry_after_ms = retry_after_ms


class NotYet(LedgerError):
    """Asked about a size or an index that this log has not reached."""


class EpochForced(LedgerError):
    """More than f members closed an epoch against the law: the order is not to be trusted any more, and the node stops."""


class ReplayDiverged(LedgerError):
    """The stored history does not follow from itself: damaged disk or another version of the law."""

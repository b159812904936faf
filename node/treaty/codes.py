"""Why an entry is refused: the closed list of LAW section 3, in its order.

If several codes apply, the first in this order is the one recorded. The codes in `DROPPED` leave no
trace in the log but a count in the commit record (RULINGS R26); all others are appended with a
`Rejected` record and use the author's `seq`.
"""

from enum import StrEnum
from typing import Final


class Code(StrEnum):
    SCHEMA = "SCHEMA"
    UNKNOWN_AUTHOR = "UNKNOWN_AUTHOR"
    SEQ_GAP = "SEQ_GAP"
    DUPLICATE = "DUPLICATE"
    EQUIVOCATION = "EQUIVOCATION"
    UNKNOWN_REF = "UNKNOWN_REF"
    FILER = "FILER"
    SIGNERS = "SIGNERS"
    COUNTERSIGN = "COUNTERSIGN"
    ATTESTATION = "ATTESTATION"
    INSTRUMENT = "INSTRUMENT"
    STANDING = "STANDING"
    SUBJECTS = "SUBJECTS"
    ENTRENCHED = "ENTRENCHED"
    HARD_LIMIT = "HARD_LIMIT"
    VETO = "VETO"
    NOT_TIGHTENING = "NOT_TIGHTENING"
    CRITERIA = "CRITERIA"
    SEV4_OPEN = "SEV4_OPEN"
    STEP_LIMIT = "STEP_LIMIT"
    HORIZON = "HORIZON"
    EXEMPT_LIMIT = "EXEMPT_LIMIT"
    RUN_STATE = "RUN_STATE"
    NOT_APPROVED = "NOT_APPROVED"
    NOT_INDEPENDENT = "NOT_INDEPENDENT"
    INSPECTORS = "INSPECTORS"
    EVIDENCE = "EVIDENCE"
    EVALS = "EVALS"
    CAPABILITY = "CAPABILITY"
    STEWARDS = "STEWARDS"
    CASES = "CASES"
    SUSPEND_LIMIT = "SUSPEND_LIMIT"
    QUOTA = "QUOTA"
    LATE = "LATE"
    REPEATED = "REPEATED"
    NOTICE = "NOTICE"
    CHIPTYPE = "CHIPTYPE"
    PERIOD = "PERIOD"
    CLOSED = "CLOSED"
    NOT_ELIGIBLE = "NOT_ELIGIBLE"
    MANDATE = "MANDATE"


DROPPED: Final = frozenset(
    {Code.SCHEMA, Code.UNKNOWN_AUTHOR, Code.SEQ_GAP, Code.DUPLICATE, Code.COUNTERSIGN}
)

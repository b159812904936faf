"""Errors as clients see them: one status code, one sentence, and the same facts machine readable.

    Refused, Overloaded, NotYet     of the ledger          StoreDamaged     of the storage
    Unanswerable                    of this room: a request that cannot be answered as it is

Everything else that a handler raises is a fault of ours: `guard` lets it through to gRPC (UNKNOWN) or stops the node.
"""

from typing import Final

from grpc import StatusCode

from foedus.v1 import client_pb2 as pb
from node.ledger.errors import LedgerError, NotYet, Overloaded, Refused
from node.storage.errors import StoreDamaged

REFUSAL_KEY: Final = "foedus-refusal-bin"
VALUE_CHARS_MAX: Final = 120

_STATUS_OF_CODE: Final = {
    "UNKNOWN_AUTHOR": StatusCode.UNAUTHENTICATED,
    "SIGNATURE": StatusCode.UNAUTHENTICATED,
    "LEDGER": StatusCode.FAILED_PRECONDITION,
    "DUPLICATE": StatusCode.FAILED_PRECONDITION,
    "SEQ_GAP": StatusCode.FAILED_PRECONDITION,
    "CLOSING": StatusCode.UNAVAILABLE,
}


class Unanswerable(Exception):
    """A request that cannot be answered as it is. Names field and value, and what would have been right."""

    def __init__(
        self,
        status: StatusCode,
        code: str,
        why: str,
        *,
        field: str = "",
        value: object = "",
        retry_after_ms: int = 0,
    ) -> None:
        super().__init__(why)
        self.status = status
        self.code = code
        self.field = field
        self.value = shortened(value)
        self.why = why
        self.retry_after_ms = retry_after_ms


ANSWERS: Final = (Unanswerable, LedgerError, StoreDamaged)
"""What `answer_of` has an answer for."""


def bad_field(field: str, value: object, want: str) -> Unanswerable:
    """INVALID_ARGUMENT for a field of the request itself."""
    shown = shortened(value)
    return Unanswerable(
        StatusCode.INVALID_ARGUMENT,
        "REQUEST",
        f"{field}={shown}: want {want}",
        field=field,
        value=shown,
    )


def not_found(what: str, value: object) -> Unanswerable:
    return Unanswerable(
        StatusCode.NOT_FOUND, "NOT_FOUND", f"no {what} {shortened(value)} on this ledger"
    )


def restricted(what: str) -> Unanswerable:
    """PERMISSION_DENIED: what only members and accredited readers get (RULINGS R61)."""
    return Unanswerable(
        StatusCode.PERMISSION_DENIED,
        "RESTRICTED",
        f"{what}: this ledger's publication is `members`, and no member's, secretariat's, inspector's or evaluator's"
        " signature came with the request",
    )


def answer_of(err: Exception) -> tuple[StatusCode, pb.Refusal]:
    """The status and the details of one of `ANSWERS`."""
    match err:
        case Unanswerable():
            return err.status, pb.Refusal(
                code=err.code,
                field=err.field,
                value=err.value,
                why=err.why,
                retry_after_ms=err.retry_after_ms,
            )
        case Refused():
            value, _, _ = err.why.partition(":") if ": " in err.why else ("", "", "")
            status = _STATUS_OF_CODE.get(err.code, StatusCode.INVALID_ARGUMENT)
            return status, pb.Refusal(
                code=err.code, field=err.field, value=shortened(value), why=err.why
            )
        case Overloaded():
            return StatusCode.RESOURCE_EXHAUSTED, pb.Refusal(
                code="OVERLOADED", why=str(err), retry_after_ms=err.retry_after_ms
            )
        case NotYet():
            return StatusCode.OUT_OF_RANGE, pb.Refusal(code="NOT_YET", why=str(err))
        case StoreDamaged():
            why = f"this node's store is damaged: {err}. Ask another node"
            return StatusCode.DATA_LOSS, pb.Refusal(code="STORE_DAMAGED", why=why)
    return StatusCode.INTERNAL, pb.Refusal(code="INTERNAL", why=str(err))


def sentence(refusal: pb.Refusal) -> str:
    """What stands in the gRPC status message."""
    about = f"{refusal.field}: " if refusal.field and refusal.field not in refusal.why else ""
    return f"{refusal.code}: {about}{refusal.why}"


def shortened(value: object) -> str:
    """What was seen, on one line and short: a stranger chose it."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}..."

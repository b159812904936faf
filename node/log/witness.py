r"""Both sides of c2sp.org/tlog-witness, `POST <prefix>/add-checkpoint`, without HTTP, disk or key: its decision, and who asks it.

    body   "old " decimal "\n" *63( base64 hash "\n" ) "\n" checkpoint note
    200 cosign it   400 malformed, or old above the new size   403 no good line by a trusted log key   404 unknown origin
    409 old is not what we hold: body "<size>\n", text/x.tlog.size
    422 wrong empty root, needless proof, bad proof, or same size with another root

The checks run in the order of FORMATS 8. The caller makes looking up, deciding and persisting one atomic step, and lets
the cosignature leave only after the new size is durable. A checkpoint of our own ledger never causes a signature here
(RULINGS R40): a cosignature of ours says "executed and stored", which no request can.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from node.log.checkpoint import Checkpoint, parse_checkpoint
from node.log.cosignature import Verify, line_check
from node.log.errors import MalformedInput, MalformedNote, MalformedRequest, Untrusted, shown
from node.log.merkle import EMPTY_ROOT, verify_consistency
from node.log.note import (
    CheckLine,
    Note,
    SignatureLine,
    VerifierKey,
    open_note,
    parse_note,
    parse_note_for_witness,
)
from node.log.proof import parse_hash_line
from node.log.strict import base64_text, decimal

REQUEST_BYTES_MAX = 65_536
PROOF_LINES_MAX = 63
SIZE_CONTENT_TYPE = "text/x.tlog.size"
TEXT_CONTENT_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The newest checkpoint of one origin that this witness cosigned."""

    size: int
    root: bytes


NOTHING_HELD = Held(size=0, root=EMPTY_ROOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """A well-formed request."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to answer. With `cosign`: hold that checkpoint, cosign it, and only then answer 200 with the lines."""

    status: int
    body: bytes = b""
    content_type: str = TEXT_CONTENT_TYPE
    cosign: Checkpoint | None = None


def parse_request(body: bytes) -> AddCheckpoint:
    """Raises MalformedRequest."""
    if len(body) > REQUEST_BYTES_MAX:
        raise MalformedRequest(f"body of {len(body)} bytes: at most {REQUEST_BYTES_MAX}")
    front, empty_line, note_bytes = body.partition(b"\n\n")
    first, *proof_lines = front.decode("ascii", "replace").split("\n")
    old_size = decimal(first.removeprefix("old "))
    if not empty_line or old_size is None or not first.startswith("old "):
        raise MalformedRequest(
            f"first line {shown(first)}: want old and a decimal, then an empty line"
        )
    if len(proof_lines) > PROOF_LINES_MAX:
        raise MalformedRequest(f"{len(proof_lines)} proof lines: at most {PROOF_LINES_MAX}")
    try:
        proof = tuple(map(parse_hash_line, proof_lines))
        note = parse_note_for_witness(note_bytes)
        checkpoint = parse_checkpoint(note.text)
    except MalformedInput as err:
        raise MalformedRequest(str(err)) from None
    return AddCheckpoint(old_size=old_size, proof=proof, note=note, checkpoint=checkpoint)


def encode_request(old_size: int, proof: Sequence[bytes], note: Note) -> bytes:
    """The body that asks for a cosignature of `note`; `proof` leads to it from `old_size`, which the witness holds."""
    lines = [f"old {old_size}", *map(base64_text, proof), "", ""]
    return "\n".join(lines).encode() + bytes(note)


def held_size(body: bytes) -> int | None:
    """What the body of a 409 says that the witness holds; None: it says nothing of the kind."""
    return decimal(body.decode("ascii", "replace").removesuffix("\n"))


def witness_line(text: bytes, body: bytes, vkey: VerifierKey, check: CheckLine) -> SignatureLine:
    """The line of this witness over the checkpoint `text` among those of a 200's body; all of its lines must be good.

    Raises MalformedNote: these are no note lines; Untrusted: none is by this witness, or one is bad.
    """
    note = parse_note(text + b"\n" + body)
    if note.text != text:
        raise MalformedNote("an empty line among note lines")
    open_note(note, [vkey], check)
    labels = {(line.name, line.key_id): line for line in reversed(note.lines)}
    return labels[vkey.name, vkey.key_id]


def decide(
    body: bytes,
    *,
    logs: Mapping[str, Sequence[VerifierKey]],
    held: Mapping[str, Held],
    verify: Verify,
    verify_mldsa: Verify | None = None,
) -> Answer:
    """The answer of a witness that trusts these log keys (by origin) and has cosigned what is `held` (by origin)."""
    try:
        request = parse_request(body)
    except MalformedRequest as err:
        return _refusal(400, str(err))
    origin = request.checkpoint.origin
    if origin not in logs:
        return _refusal(404, f"origin {shown(origin)} is not known here")
    refusal = _check_request(request, logs[origin], verify, verify_mldsa)
    if refusal is not None:
        return refusal
    return _extend(request, held.get(origin, NOTHING_HELD))


def decide_own(
    body: bytes,
    *,
    log_keys: Sequence[VerifierKey],
    own_size: int,
    made: Callable[[int], tuple[bytes, bytes] | None],
    verify: Verify,
) -> Answer:
    """The answer for our own origin: never a new signature (RULINGS R40).

    `made(size)` gives the root and the note line that this node made for that size, if it still has them. `own_size` is the
    newest size that it cosigned.
    """
    try:
        request = parse_request(body)
    except MalformedRequest as err:
        return _refusal(400, str(err))
    refusal = _check_request(request, log_keys, verify, None)
    if refusal is not None:
        return refusal
    known = made(request.checkpoint.size)
    if known is None:
        return _conflict(own_size)
    root, line = known
    if root != request.checkpoint.root:
        return _refusal(422, f"another root at size {request.checkpoint.size}")
    return Answer(status=200, body=line)


def _check_request(
    request: AddCheckpoint,
    keys: Sequence[VerifierKey],
    verify: Verify,
    verify_mldsa: Verify | None,
) -> Answer | None:
    """The checks that need no state, in order; None if all pass."""
    try:
        open_note(request.note, keys, line_check(verify, verify_mldsa))
    except Untrusted as err:
        return _refusal(403, str(err))
    size = request.checkpoint.size
    if request.old_size > size:
        return _refusal(400, f"old size {request.old_size} above the checkpoint's {size}")
    return None


def _extend(request: AddCheckpoint, held: Held) -> Answer:
    checkpoint = request.checkpoint
    if request.old_size != held.size:
        return _conflict(held.size)
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        return _refusal(422, "size 0 with a root that is not the empty tree's")
    if checkpoint.size == held.size and checkpoint.root != held.root:
        return _refusal(422, f"another root at size {held.size}")
    if not verify_consistency(
        held.size, checkpoint.size, held.root, checkpoint.root, request.proof
    ):
        return _refusal(422, f"consistency proof from {held.size} does not verify")
    return Answer(status=200, cosign=checkpoint)


def _conflict(size: int) -> Answer:
    return Answer(status=409, body=b"%d\n" % size, content_type=SIZE_CONTENT_TYPE)


def _refusal(status: int, why: str) -> Answer:
    return Answer(status=status, body=f"{why}\n".encode("utf-8", "backslashreplace"))

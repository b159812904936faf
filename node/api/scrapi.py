"""The small SCITT surface: draft-ietf-scitt-scrapi over HTTP (FORMATS 9).

    GET  /.well-known/scitt-keys            this node's log keys, that of its seat in force first, as a COSE Key Set
    GET  /.well-known/scitt-keys/{kid}      one of them; kid in base64url without padding
    POST /entries                           a signed statement (COSE_Sign1, application/cose): 303 to its entry while it is on its
                                            way, 201 and the receipt if it is final already
    GET  /entries/{id}                      id = hex SHA-256 of the statement: 302 while it is on its way, 200 and the receipt

Receipts name their algorithm -19 (Ed25519, RFC 9864); `?alg=-8` asks for the older name EdDSA, which other people's verifiers
know better (record 0171). A receipt is one log's word; what makes an entry final is a quorum of cosignatures, which the
tlog-proof of `foedus receipt` carries. Ask a quorum of nodes for their receipts, or take that.

Errors are concise problem details (RFC 9290).
"""

import base64
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from grpc import StatusCode
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from node.api import receipts
from node.api.bodies import read_body
from node.api.node import ServedNode
from node.api.refusals import ANSWERS, answer_of
from node.ledger.ledger import Status
from node.log import cbor
from node.log.cose import ALG_ED25519, ALGS
from node.log.tiles import ENTRY_BYTES_MAX
from node.signing.keys import SigningKey
from node.storage.errors import WriteFailed

STATEMENT_TYPES: Final = frozenset({"application/cose", "application/scitt-statement+cose"})
RECEIPT_TYPE: Final = "application/scitt-receipt+cose"
CBOR_TYPE: Final = "application/cbor"
PROBLEM_TYPE: Final = "application/concise-problem-details+cbor"
RETRY_S: Final = 1
ID_CHARS: Final = 64
_OKP, _ED25519 = 1, 6  # COSE key type and curve (RFC 9053 section 7)
_KEY_TYPE, _KEY_ID, _ALG, _CURVE, _X = 1, 2, 3, -1, -2
_TITLE, _DETAIL = -1, -2

_ON_THE_WAY: Final = frozenset(
    {Status.HELD, Status.ACKNOWLEDGED, Status.SEQUENCED, Status.INTEGRATED}
)
_HTTP_OF: Final = {
    StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    StatusCode.UNAUTHENTICATED: HTTPStatus.FORBIDDEN,
    StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    StatusCode.FAILED_PRECONDITION: HTTPStatus.CONFLICT,
    StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


class ScrapiFace:
    """The HTTP handlers. `on_fatal` is told when the disk refuses: the node must stop."""

    def __init__(self, node: ServedNode, on_fatal: Callable[[BaseException], None]) -> None:
        self._node = node
        self._on_fatal = on_fatal

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/scitt-keys", self.keys),
            Route("/.well-known/scitt-keys/{kid}", self.key),
            Route("/entries", self.register, methods=["POST"]),
            Route("/entries/{entry_id}", self.entry),
        ]

    async def keys(self, request: Request) -> Response:
        del request
        return _cbor(HTTPStatus.OK, list(map(cose_key, self._node.log_keys())), CBOR_TYPE)

    async def key(self, request: Request) -> Response:
        wanted = request.path_params["kid"]
        held = {
            base64.urlsafe_b64encode(key.kid).decode().rstrip("="): key
            for key in self._node.log_keys()
        }
        if wanted not in held:
            return problem(
                HTTPStatus.NOT_FOUND,
                "No such key",
                f"kid {wanted[:64]!r}: see /.well-known/scitt-keys",
            )
        return _cbor(HTTPStatus.OK, cose_key(held[wanted]), CBOR_TYPE)

    async def register(self, request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in STATEMENT_TYPES:
            why = f"content-type {media_type[:64]!r}: want application/cose"
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Not a statement", why)
        try:
            statement = await read_body(request, ENTRY_BYTES_MAX)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        if statement is None:
            why = f"the statement has more than {ENTRY_BYTES_MAX} bytes"
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Payload too large", why)
        try:
            taken = await self._node.admission.submit(statement)
        except WriteFailed as err:
            self._on_fatal(err)
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Not taken",
                "this node's disk refuses: ask another node",
            )
        except ANSWERS as err:
            return _refused(err)
        return self._standing(request, taken.entry_hash, HTTPStatus.CREATED, HTTPStatus.SEE_OTHER)

    async def entry(self, request: Request) -> Response:
        text = request.path_params["entry_id"]
        try:
            entry_hash = bytes.fromhex(text) if len(text) == ID_CHARS else b""
        except ValueError:
            entry_hash = b""
        if not entry_hash:
            why = f"id {text[:80]!r}: want the hex SHA-256 of the statement, {ID_CHARS} characters"
            return problem(HTTPStatus.BAD_REQUEST, "Malformed id", why)
        return self._standing(request, entry_hash, HTTPStatus.OK, HTTPStatus.FOUND)

    def _standing(
        self, request: Request, entry_hash: bytes, done: HTTPStatus, waiting: HTTPStatus
    ) -> Response:
        """The receipt under status `done`, or where to ask again under `waiting`."""
        alg = request.query_params.get("alg", str(ALG_ED25519))
        if alg not in map(str, ALGS):
            want = " or ".join(map(str, ALGS))
            return problem(HTTPStatus.BAD_REQUEST, "Unknown alg", f"alg {alg[:16]!r}: want {want}")
        status = self._node.ledger.status_of(entry_hash)
        query = f"?{request.url.query}" if "alg" in request.query_params else ""
        location = {"location": f"/entries/{entry_hash.hex()}{query}"}
        if status.status in _ON_THE_WAY:
            headers = {**location, "retry-after": str(RETRY_S), "cache-control": "no-store"}
            return Response(status_code=waiting, headers=headers)
        if status.index is None:
            # Why a commit left an entry out is for its author, who asks the client service with its key.
            why = f"no statement {entry_hash.hex()} is in the log or on its way to it here"
            return problem(HTTPStatus.NOT_FOUND, "No such entry", why)
        try:
            receipt = receipts.receipt(
                self._node, status.index, cose=True, alg=int(alg)
            ).cose_receipts[0]
        except ANSWERS as err:
            return _refused(err)
        return Response(receipt, done, location, RECEIPT_TYPE)


def cose_key(key: SigningKey) -> dict[int, Any]:
    """A COSE_Key (RFC 9053 section 7.2): the public half of an Ed25519 key."""
    return {_KEY_TYPE: _OKP, _KEY_ID: key.kid, _ALG: ALG_ED25519, _CURVE: _ED25519, _X: key.public}


def problem(status: HTTPStatus, title: str, detail: str) -> Response:
    """RFC 9290."""
    return _cbor(status, {_TITLE: title, _DETAIL: detail}, PROBLEM_TYPE)


def _refused(err: Exception) -> Response:
    code, refusal = answer_of(err)
    status = _HTTP_OF.get(code, HTTPStatus.SERVICE_UNAVAILABLE)
    response = problem(status, refusal.code, refusal.why)
    if refusal.retry_after_ms:
        response.headers["retry-after"] = str(-(-refusal.retry_after_ms // 1000))
    return response


def _cbor(status: HTTPStatus, value: Any, media_type: str) -> Response:
    return Response(cbor.encode(value), status, {"cache-control": "no-store"}, media_type)

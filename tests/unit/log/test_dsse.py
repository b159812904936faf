import base64
import json

import pytest

from node.log import dsse
from node.log.errors import MalformedEnvelope
from node.signing.keys import Role
from node.signing.verify import verify_ed25519
from tests.unit.log import world

KEYS = [world.key(Role.AUTHOR, label) for label in ("one", "two", "three")]
BODY = b'{"power": "\xc3\xbf\xff?>"}'
TYPE = "application/vnd.example.report.v1+json"


def envelope(*signers: int, **changes: object) -> bytes:
    message = dsse.pre_authentication_encoding(TYPE, BODY)
    fields: dict[str, object] = {
        "payload": base64.b64encode(BODY).decode(),
        "payloadType": TYPE,
        "signatures": [
            {"keyid": "a hint", "sig": base64.urlsafe_b64encode(KEYS[n].sign(message)).decode()}
            for n in signers
        ],
    }
    return json.dumps(fields | changes).encode()


def test_pae_counts_bytes() -> None:
    assert dsse.pre_authentication_encoding("\u00e9", b"ab") == b"DSSEv1 2 \xc3\xa9 2 ab"


def test_a_threshold_counts_distinct_keys() -> None:
    public = [key.public for key in KEYS]
    parsed = dsse.parse_envelope(envelope(0, 0, 2))
    assert parsed.payload == BODY
    assert dsse.verify_envelope(parsed, public, verify_ed25519, threshold=2) == (
        public[0],
        public[2],
    )
    assert dsse.verify_envelope(parsed, public, verify_ed25519, threshold=3) == ()
    twice = dsse.parse_envelope(envelope(0, 0))
    assert dsse.verify_envelope(twice, [public[0]] * 2, verify_ed25519, threshold=2) == ()


def test_another_type_or_body_does_not_verify() -> None:
    public = [KEYS[0].public]
    for changed in ({"payloadType": "text/plain"}, {"payload": "AAAA"}):
        parsed = dsse.parse_envelope(envelope(0, **changed))
        assert dsse.verify_envelope(parsed, public, verify_ed25519) == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 5_000,
        envelope(),
        envelope(0, payload=5),
        envelope(0, payload="A"),
        envelope(0, payload="AAA\n"),
        envelope(0, payloadType=None),
        envelope(0, payloadType="\ud800"),
        envelope(0, signatures=[{}]),
        envelope(0, signatures=["AAAA"]),
        envelope(0, signatures=[{"sig": "*"}]),
        envelope(0, signatures=[{"sig": "AAAA"}] * 65),
        envelope(0).replace(b'"payload"', b'"payload": "AAAA", "payload"'),
        b'{"payload": NaN}',
        b" " * 65_536,
    ],
)
def test_what_is_no_envelope(data: bytes) -> None:
    with pytest.raises(MalformedEnvelope):
        dsse.parse_envelope(data)

"""Sealed documents and shares as files: JSON with bytes in hex, read strictly.

document   {"commitment", "sealed", "threshold", "shares": [{"recipient", "box"}, ...]}   may be public; also as `body` of a
tip's draft share      {"commitment", "recipient", "index", "share"}                                  its holder's secret
receipt    {"commitment", "salt"}                                                         its author's secret
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from node.cli.errors import CouldNot
from node.cli.founding import read_bounded
from node.cli.outbox import write_durably
from node.signing.keystore import SEALING, read_facts
from node.signing.sealing import Opened, Sealed, Share

FILE_BYTES_MAX: Final = 1 << 20
SECRET_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644


def recipients_of(texts: Sequence[str]) -> dict[str, bytes]:
    """NAME=KEY each, KEY in hex or a key file's name -> name and X25519 key. Raises CouldNot, SigningError."""
    made: dict[str, bytes] = {}
    for text in texts:
        name, equals, key = text.partition("=")
        if not equals or not name or name in made:
            raise CouldNot(f"--to {text!r}: want NAME=KEY, each name once")
        made[name] = _bytes_of(key) if _is_hex(key) else _public_in(Path(key))
    return made


def _is_hex(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)


def _public_in(path: Path) -> bytes:
    facts = read_facts(path)
    if facts.kind != SEALING:
        raise CouldNot(
            f"{path}: holds {facts.kind} keys: want a file of `foedus keys new --sealing`"
        )
    return facts.public[SEALING]


def document_fields(document: Sealed) -> dict[str, Any]:
    """A document as its file and a tip's body have it."""
    return {
        "commitment": document.commitment.hex(),
        "sealed": document.sealed.hex(),
        "threshold": document.threshold,
        "shares": [
            {"recipient": share.recipient, "box": share.box.hex()} for share in document.shares
        ],
    }


def read_document(path: Path) -> Sealed:
    """Raises CouldNot naming file and field, OSError."""
    fields = _read(path)
    body = fields.get("body", fields)
    match body:
        case {
            "commitment": str(commitment),
            "sealed": str(sealed),
            "threshold": int(threshold),
            "shares": list(rows),
        }:
            pass
        case _:
            raise CouldNot(
                f"{path}: want commitment, sealed, threshold and shares, or a tip with them"
            )
    shares = []
    for row in rows:
        match row:
            case {"recipient": str(recipient), "box": str(box)}:
                shares.append(Share(recipient=recipient, box=_bytes_of(box, f"{path}: box")))
            case _:
                raise CouldNot(f"{path}: a share has a recipient and a box")
    return Sealed(
        commitment=_bytes_of(commitment, f"{path}: commitment"),
        sealed=_bytes_of(sealed, f"{path}: sealed"),
        threshold=threshold,
        shares=tuple(shares),
    )


def write_share(path: Path, document: Sealed, recipient: str, index: int, share: bytes) -> None:
    fields = {
        "commitment": document.commitment.hex(),
        "recipient": recipient,
        "index": index,
        "share": share.hex(),
    }
    write_json(path, fields, mode=SECRET_MODE)


def read_shares(paths: Sequence[Path], document: Sealed) -> dict[int, bytes]:
    """Index -> share, all of this document. Raises CouldNot, OSError."""
    shares: dict[int, bytes] = {}
    for path in paths:
        match _read(path):
            case {"commitment": str(commitment), "index": int(index), "share": str(share)}:
                if commitment != document.commitment.hex():
                    raise CouldNot(f"{path}: a share of document {commitment}, not of this one")
                if index in shares:
                    raise CouldNot(f"{path}: share {index} is given twice")
                shares[index] = _bytes_of(share, f"{path}: share")
            case _:
                raise CouldNot(f"{path}: want commitment, index and share")
    return shares


def write_receipt(path: Path, document: Sealed, opened: Opened) -> None:
    fields = {"commitment": document.commitment.hex(), "salt": opened.salt.hex()}
    write_json(path, fields, mode=SECRET_MODE)


def read_receipt(path: Path) -> tuple[bytes, bytes]:
    """(commitment, salt). Raises CouldNot, OSError."""
    match _read(path):
        case {"commitment": str(commitment), "salt": str(salt)}:
            return _bytes_of(commitment, f"{path}: commitment"), _bytes_of(salt, f"{path}: salt")
    raise CouldNot(f"{path}: want commitment and salt")


def write_json(path: Path, fields: Mapping[str, Any], *, mode: int) -> None:
    """Raises CouldNot: the file exists; OSError."""
    if path.exists():
        raise CouldNot(f"{path}: exists already, and nothing is overwritten")
    write_durably(path, json.dumps(fields, indent=2).encode() + b"\n", mode=mode)


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(read_bounded(path, FILE_BYTES_MAX))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise CouldNot(f"{path}: not JSON") from None
    if not isinstance(fields, dict):
        raise CouldNot(f"{path}: not an object")
    return fields


def _bytes_of(text: str, what: str = "key") -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise CouldNot(f"{what}: not hex") from None

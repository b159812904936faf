"""CCF's Python replay of a synthetic CCF ledger: `python bench/ccf_replay.py FOLDER`, with an interpreter that has PyPI `ccf`.

The ledger is made first, outside the measured time: entries of about 410 bytes, one root signature for 2,800 of them, the longest
interval at which the tool was ever reported (its fastest setting). What is measured is what `ccf.ledger` itself offers: each
chunk's transactions through `LedgerValidator.add_transaction`. Prints one JSON object.
"""

import base64
import datetime as dt
import hashlib
import json
import shutil
import struct
import sys
import time
from pathlib import Path

import ccf.ledger
from ccf.merkletree import MerkleTree
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

TRANSACTIONS = 200_000
SIGNATURE_EVERY = 2_800
VALUE_BYTES = 260
NODE = "node0"


def entry(number: int, tables: dict[str, dict[bytes, bytes]]) -> bytes:
    """One ledger entry: header, GCM header, public domain with commit evidence and claims."""
    body = bytes([4]) + struct.pack("<q", number) + bytes(32) + bytes(32) + struct.pack("<q", 0)
    for name, records in tables.items():
        body += sized(name.encode()) + struct.pack("<q", 0) + struct.pack("<Q", 0)
        body += struct.pack("<Q", len(records))
        for key, value in records.items():
            body += sized(key) + sized(value)
        body += struct.pack("<Q", 0)
    gcm = bytes(16) + struct.pack("<Q", number) + struct.pack("<I", 2)
    whole = gcm + struct.pack("<Q", len(body)) + body
    return bytes([1, 0]) + len(whole).to_bytes(6, "little") + whole


def sized(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def digest(raw: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(raw).digest() + bytes(32) + bytes(32)).digest()


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=9000))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def make(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    key = ec.generate_private_key(ec.SECP384R1())
    pem = certificate(key).decode()
    tree = MerkleTree()
    tree.add_leaf(bytes(32), do_hash=False)
    first = 1
    chunk: list[bytes] = []
    for number in range(1, TRANSACTIONS + 1):
        if number == 1:
            info = json.dumps({"status": "Trusted", "cert": pem}).encode()
            tables = {"public:ccf.gov.nodes.info": {NODE.encode(): info}}
        elif number % SIGNATURE_EVERY == 0 or number == TRANSACTIONS:
            root = tree.get_merkle_root()
            signature = key.sign(root, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
            told = {
                "node": NODE,
                "seqno": number,
                "view": 2,
                "root": root.hex(),
                "sig": base64.b64encode(signature).decode(),
            }
            tables = {"public:ccf.internal.signatures": {bytes(8): json.dumps(told).encode()}}
        else:
            value = number.to_bytes(8, "big") * (VALUE_BYTES // 8)
            tables = {"public:app.reports": {b"op%02d" % (number % 64): value}}
        raw = entry(number, tables)
        tree.add_leaf(digest(raw), do_hash=False)
        chunk.append(raw)
        if "public:ccf.internal.signatures" in tables:
            write(folder / f"ledger_{first}-{number}.committed", chunk)
            first, chunk = number + 1, []


def write(path: Path, chunk: list[bytes]) -> None:
    positions, at = [], 8
    for raw in chunk:
        positions.append(at)
        at += len(raw)
    table = b"".join(position.to_bytes(4, "little") for position in positions)
    path.write_bytes(at.to_bytes(8, "little") + b"".join(chunk) + table)


def main() -> None:
    folder = Path(sys.argv[1])
    make(folder)
    started, cpu = time.perf_counter(), time.process_time()
    validator = ccf.ledger.LedgerValidator(accept_deprecated_entry_types=True)
    seen = 0
    for chunk in ccf.ledger.Ledger([str(folder)]):
        for transaction in chunk:
            validator.add_transaction(transaction)
            seen += 1
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert (seen, validator.signature_count) == (TRANSACTIONS, 1 + TRANSACTIONS // SIGNATURE_EVERY)
    size = sum(path.stat().st_size for path in folder.iterdir())
    shutil.rmtree(folder)
    print(
        json.dumps(
            {
                "entries": seen,
                "seconds": round(seconds, 3),
                "entries_per_second": round(seen / seconds),
                "entries_per_cpu_second": round(seen / cpu),
                "bytes_per_entry": round(size / seen),
                "signature_every": SIGNATURE_EVERY,
            }
        )
    )


if __name__ == "__main__":
    main()

r"""What this node has signed, in two small files beside the database, and the lock on the home folder.

`block` holds the newest own block, `cosign` the newest own cosignature; `block-odd` the newest of an epoch of odd number, for
both epochs are signed in while one gives way to the next (SPEC 14.5). Order of work: write the file (temporary name, fsync,
rename, fsync of the folder), and only then let the signed bytes leave. After a crash the same bytes are sent again. Both
lie outside the RocksDB folder, so a database put back from a copy is noticed (RULINGS R52, R53; SPEC 10).

Layouts, integers big-endian; the last 32 bytes of a file are the SHA-256 of all before them:

    block    "foedus/block/1\n" | u32 epoch | u32 round | digest 32 | u32 length | block bytes | checksum 32
    cosign   "foedus/cosign/1\n" | u64 size | root 32 | u64 timestamp | signature 64 | checksum 32

`loss-confirmed`, empty, is an operator's word beside them: see `confirm_loss`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from node.storage.errors import StoreDamaged, StoreLocked, WriteFailed
from node.storage.files import Files, OsFiles

BLOCK_MAGIC: Final = b"foedus/block/1\n"
LOSS_CONFIRMED: Final = "loss-confirmed"  # file of an operator's word; renamed to .taken once heard
COSIGN_MAGIC: Final = b"foedus/cosign/1\n"
DIGEST_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
COSIGN_BYTES: Final = len(COSIGN_MAGIC) + 8 + DIGEST_BYTES + 8 + SIGNATURE_BYTES + DIGEST_BYTES
BLOCK_FILE_BYTES_MAX: Final = 1024 * 1024  # a block is below 300 KB (SPEC 3.6, R12)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSigned:
    """The newest block that this node's block key signed."""

    epoch: int
    round: int
    digest: bytes  # 32 bytes
    block: bytes  # the very bytes to send again


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignSigned:
    """The newest checkpoint that this node's cosigner signed."""

    size: int
    root: bytes  # 32 bytes
    timestamp: int  # seconds, never below an earlier one (R6)
    signature: bytes  # 64 bytes, Ed25519


def encode_block(signed: BlockSigned) -> bytes:
    body = b"".join(
        (
            BLOCK_MAGIC,
            signed.epoch.to_bytes(4, "big"),
            signed.round.to_bytes(4, "big"),
            signed.digest,
            len(signed.block).to_bytes(4, "big"),
            signed.block,
        )
    )
    return body + hashlib.sha256(body).digest()


def parse_block(data: bytes) -> BlockSigned:
    """Raises StoreDamaged naming what is wrong."""
    body = _checked(data, BLOCK_MAGIC, "block")
    at = len(BLOCK_MAGIC)
    head = at + 4 + 4 + DIGEST_BYTES + 4
    if len(body) < head:
        raise StoreDamaged(f"sign state `block`: {len(body)} bytes, at least {head} expected")
    length = int.from_bytes(body[head - 4 : head], "big")
    if len(body) != head + length:
        raise StoreDamaged(f"sign state `block`: says {length} block bytes, has {len(body) - head}")
    return BlockSigned(
        epoch=int.from_bytes(body[at : at + 4], "big"),
        round=int.from_bytes(body[at + 4 : at + 8], "big"),
        digest=body[at + 8 : at + 8 + DIGEST_BYTES],
        block=body[head:],
    )


def encode_cosign(signed: CosignSigned) -> bytes:
    body = b"".join(
        (
            COSIGN_MAGIC,
            signed.size.to_bytes(8, "big"),
            signed.root,
            signed.timestamp.to_bytes(8, "big"),
            signed.signature,
        )
    )
    return body + hashlib.sha256(body).digest()


def parse_cosign(data: bytes) -> CosignSigned:
    """Raises StoreDamaged naming what is wrong."""
    body = _checked(data, COSIGN_MAGIC, "cosign")
    if len(data) != COSIGN_BYTES:
        raise StoreDamaged(f"sign state `cosign`: {len(data)} bytes, expected {COSIGN_BYTES}")
    at = len(COSIGN_MAGIC)
    return CosignSigned(
        size=int.from_bytes(body[at : at + 8], "big"),
        root=body[at + 8 : at + 40],
        timestamp=int.from_bytes(body[at + 40 : at + 48], "big"),
        signature=body[at + 48 :],
    )


def _checked(data: bytes, magic: bytes, name: str) -> bytes:
    if not data.startswith(magic):
        raise StoreDamaged(f"sign state `{name}`: does not begin with {magic!r}")
    body, checksum = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if len(body) < len(magic) or hashlib.sha256(body).digest() != checksum:
        raise StoreDamaged(f"sign state `{name}`: its checksum does not match its bytes")
    return body


def block_file(epoch: int) -> str:
    """Two files in turn: when an epoch begins, the one before the last is over, and its block may go."""
    return "block-odd" if epoch % 2 else "block"


class SignState:
    """Both files and the lock, for one process's whole life. Saves are synchronous: measured at 1,800 a second."""

    def __init__(self, folder: Path, files: Files | None = None) -> None:
        """Take the lock on `folder`, in `files` (the operating system's). Raises StoreLocked if another process holds it."""
        self._folder = folder
        self._files = files or OsFiles()
        try:
            self._release: Callable[[], None] | None = self._files.lock(folder)
        except OSError as err:
            raise StoreLocked(
                f"{folder}: another node process uses this folder; stop it first"
            ) from err

    def close(self) -> None:
        if self._release is not None:
            self._release()
            self._release = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def block(self, epoch: int = 0) -> BlockSigned | None:
        """None if this node never signed a block of this epoch here. Raises StoreDamaged."""
        data = self._load(block_file(epoch))
        signed = None if data is None else parse_block(data)
        return signed if signed is not None and signed.epoch == epoch else None

    def cosign(self) -> CosignSigned | None:
        """None if this node never cosigned here. Raises StoreDamaged."""
        data = self._load("cosign")
        return None if data is None else parse_cosign(data)

    def save_block(self, signed: BlockSigned) -> None:
        """On return the file is durable. Raises WriteFailed: then the block must not leave."""
        self._save(block_file(signed.epoch), encode_block(signed))

    def save_cosign(self, signed: CosignSigned) -> None:
        """On return the file is durable. Raises WriteFailed: then the line must not leave."""
        self._save("cosign", encode_cosign(signed))

    def take_loss_confirmed(self) -> bool:
        """True once for each `confirm_loss` in this folder: it is put aside, durably, before it is acted upon.

        Raises WriteFailed.
        """
        path = self._folder / LOSS_CONFIRMED
        try:
            self._files.rename(path, path.with_name(f"{LOSS_CONFIRMED}.taken"))
        except FileNotFoundError:
            return False
        except OSError as err:
            raise WriteFailed(f"{path}: {err}") from err
        return True

    def _load(self, name: str) -> bytes | None:
        path = self._folder / name
        try:
            data = self._files.read(path, BLOCK_FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as err:
            raise StoreDamaged(f"{path}: cannot be read: {err}") from err
        if len(data) > BLOCK_FILE_BYTES_MAX:
            raise StoreDamaged(f"{path}: longer than {BLOCK_FILE_BYTES_MAX} bytes")
        return data

    def _save(self, name: str, data: bytes) -> None:
        assert self._release is not None, "sign state used after close"
        temporary = self._folder / f"{name}.new"
        try:
            self._files.write(temporary, data)
            self._files.rename(temporary, self._folder / name)
        except OSError as err:
            raise WriteFailed(f"{self._folder / name}: {err}") from err


def confirm_loss(folder: Path, files: Files | None = None) -> None:
    """An operator's word to the node that runs in this folder: its sign state is lost, and who is silent stays so (SPEC 10).

    Whoever may write here could as well take the node's keys, so the folder's permissions are all the proof there need be. The
    node takes it only while its loss is open; one that lies here at a start is of an earlier loss and is put aside.

    Raises WriteFailed.
    """
    files = files or OsFiles()
    path = folder / LOSS_CONFIRMED
    try:
        files.write(path.with_name(f"{LOSS_CONFIRMED}.new"), b"")
        files.rename(path.with_name(f"{LOSS_CONFIRMED}.new"), path)
    except OSError as err:
        raise WriteFailed(f"{path}: {err}") from err

"""Every key and value layout of the database, byte by byte. Integers are big-endian, so keys sort by number.

Column family, key -> value:

    blocks        u32 round | u16 author | digest 32       -> block bytes (header, signature, payload)
    authors       u16 author | u32 round | digest 32       -> (empty): finds an author's newest block
    later_blocks  u32 epoch | as in blocks                 -> of the epochs from 1 on; rounds begin anew in each
    later_authors u32 epoch | as in authors                -> (empty)
    commits       u64 commit index                         -> the engine's own record, opaque here
    log           u64 entry index                          -> leaf bytes, exactly as hashed
    hashes        u8 level | u64 index                     -> node hash 32; level 0 = leaf hashes, level h covers 2^h leaves
    state         u16 bucket | key bytes                   -> value bytes (RULINGS R20)
    index         entry hash 32                            -> u64 commit index | facts, opaque here
    sequence      u8 length | author | u64 seq             -> entry hash 32 (of two, the first)
    contents      content hash 32                          -> entry hash 32 (accepted entries only)
    facets        u8 facet | u8 length | value | u64 entry -> (empty): author, kind, subject and case of each entry
    mempool       entry hash 32                            -> u64 arrival | u64 inclusion_by_ms | u8 held | entry bytes
    cosignatures  u64 size | u16 member                    -> opaque cosignature row; of a second line the member
                  | 0x8000; of this node's own log line | 0x4000, 64 bytes of signature
    meta          name                                     -> see `META_*`
"""

from enum import IntEnum
from functools import lru_cache
from typing import Final

COLUMN_FAMILIES: Final = (
    "blocks",
    "authors",
    "later_blocks",
    "later_authors",
    "commits",
    "log",
    "hashes",
    "state",
    "index",
    "sequence",
    "contents",
    "facets",
    "mempool",
    "cosignatures",
    "meta",
)

META_FORMAT: Final = b"format"  # ASCII decimal, STORE_FORMAT
META_GENESIS: Final = b"genesis"  # the genesis document, bytes as hashed
META_TIP: Final = b"tip"  # see `pack_tip`
META_DROPPED: Final = b"dropped"  # opaque to storage: counts carried to the next commit record
META_FINAL: Final = b"final"  # u64 size of the newest checkpoint known to be final
META_SECOND: Final = b"second"  # u64 largest size that second lines were put for
META_REBUILD: Final = (
    b"rebuild"  # u64: the size cosigned before this store was started anew from peers
)
META_RESTORED: Final = b"restored"  # (empty): made of an archive beside no sign state; inert once the cosigner has signed
META_EQUIVOCATION: Final = b"equivocation/"  # u32 epoch | u16 author: the proof kept against it
STORE_FORMAT: Final = b"1"

FACET_VALUE_BYTES_MAX: Final = 255


class Facet(IntEnum):
    """What `List` can filter by. Numbers are on disk: never reuse one."""

    AUTHOR = 1
    KIND = 2
    SUBJECT = 3
    CASE = 4


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def block_families(epoch: int) -> tuple[str, str]:
    """Where the blocks of this epoch are, and its authors' index. The founding epoch's have no epoch in their keys."""
    return ("later_blocks", "later_authors") if epoch else ("blocks", "authors")


def epoch_prefix(epoch: int) -> bytes:
    """What stands before the rest of a key in `block_families`."""
    return epoch.to_bytes(4, "big") if epoch else b""


def block(round_: int, author: int, digest: bytes, epoch: int = 0) -> bytes:
    return epoch_prefix(epoch) + round_.to_bytes(4, "big") + author.to_bytes(2, "big") + digest


def author_block(author: int, round_: int, digest: bytes, epoch: int = 0) -> bytes:
    return epoch_prefix(epoch) + author.to_bytes(2, "big") + round_.to_bytes(4, "big") + digest


BLOCK_KEY_BYTES: Final = 4 + 2 + 32


def split_block(key: bytes) -> tuple[int, int, int, bytes]:
    """(epoch, round, author, digest) of a `blocks` or a `later_blocks` key."""
    prefix, rest = key[:-BLOCK_KEY_BYTES], key[-BLOCK_KEY_BYTES:]
    epoch, round_ = int.from_bytes(prefix, "big"), int.from_bytes(rest[:4], "big")
    return epoch, round_, int.from_bytes(rest[4:6], "big"), rest[6:]


def node_hash(level: int, index: int) -> bytes:
    return bytes((level,)) + index.to_bytes(8, "big")


def state(bucket: int, key: bytes) -> bytes:
    return bucket.to_bytes(2, "big") + key


@lru_cache(maxsize=4096)
def facet_prefix(facet: Facet, value: bytes) -> bytes:
    """Raises ValueError if the value is longer than one length byte can say. Remembered: an author's are the same each time."""
    if len(value) > FACET_VALUE_BYTES_MAX:
        raise ValueError(f"facet value has {len(value)} bytes, at most {FACET_VALUE_BYTES_MAX}")
    return bytes((facet, len(value))) + value


def equivocation(epoch: int, author: int) -> bytes:
    """The name of a `meta` row."""
    return META_EQUIVOCATION + epoch.to_bytes(4, "big") + author.to_bytes(2, "big")


SECOND_LINE: Final = 0x8000  # a genesis lists at most 1,024 members
LOG_LINE: Final = 0x4000


def cosignature(size: int, member: int) -> bytes:
    return size.to_bytes(8, "big") + member.to_bytes(2, "big")


def sequence(author: str, seq: int) -> bytes:
    """Raises ValueError if the author's name is longer than one length byte can say."""
    name = author.encode()
    if len(name) > FACET_VALUE_BYTES_MAX:
        raise ValueError(f"author of {len(name)} bytes, at most {FACET_VALUE_BYTES_MAX}")
    return bytes((len(name),)) + name + seq.to_bytes(8, "big")


def pack_tip(
    commit: int, log_size: int, time_ms: int, state_keys: int, state_digest: bytes
) -> bytes:
    """Where the store stands: 4 x u64 (commit index, log size, ledger time, number of state keys), state digest 32."""
    return u64(commit) + u64(log_size) + u64(time_ms) + u64(state_keys) + state_digest


TIP_BYTES: Final = 64

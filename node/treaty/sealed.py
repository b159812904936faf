"""The form of sealed documents, as far as the ledger sees it (MODEL 6, class S): commitment, sizes, shares.

The law reads no secret. It knows the lengths of what is sealed, and when somebody opens it, that text and salt give the
commitment. Sealing and opening are `node/signing/sealing.py`'s.
"""

import hashlib
from typing import Final

SALT_BYTES: Final = 32
SEALED_OVERHEAD_BYTES: Final = 24 + 16  # nonce and tag
# Text is padded to one of few sizes, so that its length says little.
PADDED_SIZES: Final = (1_024, 4_096, 10_240)
SEALED_SIZES: Final = tuple(size + SEALED_OVERHEAD_BYTES for size in PADDED_SIZES)
BOX_BYTES: Final = 80  # a sealed box over a share of 32 bytes: a key of 32, a tag of 16
SHARES_MAX: Final = 32
_LABEL: Final = b"foedus/sealed/1"


def commitment_of(salt: bytes, text: bytes) -> bytes:
    """What a sealed document promises to be: SHA-256(label || salt of 32 bytes || text).

    The salt is random, so nobody finds out a short text by trying; its length is fixed, so no other split of the bytes fits.
    """
    assert len(salt) == SALT_BYTES, f"a salt of {len(salt)} bytes"
    return hashlib.sha256(_LABEL + salt + text).digest()

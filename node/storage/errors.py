"""What can go wrong with a node's disk, as one tree.

StorageError
├── StoreDamaged     bytes on disk are missing, unreadable or contradict each other: restore or rebuild
├── StoreLocked      another process holds this home folder
└── WriteFailed      the machine refused a write: the node must stop, for nothing may leave it any more
"""


class StorageError(Exception):
    """The store cannot do what was asked; the message says what to do about it."""


class StoreDamaged(StorageError):
    """Bytes on disk are missing, unreadable, or contradict what was promised to others."""


class StoreLocked(StorageError):
    """Another process uses this home folder: two nodes with the same keys would contradict each other."""


class WriteFailed(StorageError):
    """A write or flush failed. Whoever meets this must stop the process (DESIGN 3.6)."""

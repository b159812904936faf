"""A source by the name that an auditor gives it: a path, or the URL of a running node."""

from pathlib import Path

from node.audit.archive import ArchiveSource, is_archive
from node.audit.copies import Readable
from node.audit.source import CannotAudit
from node.audit.store_source import StoreSource, find_folders
from node.audit.web import WebSource
from node.ledger.genesis import Genesis


def open_source(target: str, genesis: Genesis, document: bytes) -> Readable:
    """Raises CannotAudit, BadSettings; Unopenable for a store of which nothing can be read."""
    if "://" in target:
        return WebSource.open(target, genesis, document)
    path = Path(target)
    if is_archive(path):
        return ArchiveSource.open(path)
    folders = find_folders(path)
    if folders is None:
        raise CannotAudit(
            f"{path}: neither a node's home or data folder nor an archive: want foedus.toml, a database or manifest.json"
        )
    return StoreSource.open(folders)

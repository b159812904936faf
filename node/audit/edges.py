"""The first and the last entry of a copy: which ledger's log it is, and which commit it ends with.

Cosignatures cover an origin and a root, and two ledgers could bear one name. The log itself says which genesis it stands on, in
its first entry (RULINGS R10); and an archive ends with a commit record, so what it holds of commits beyond is not of this log.
"""

from node.audit.archive import MANIFEST, ArchiveSource
from node.audit.findings import Depth, Findings
from node.audit.source import Lost, Source
from node.audit.structure import Structure
from node.ledger.errors import MalformedRecord
from node.ledger.records import COMMIT_TYPE, GENESIS_TYPE, decode_record


def check_first(
    source: Source, structure: Structure, chain_id: bytes, origin: str, findings: Findings
) -> None:
    """That it is the genesis record of this ledger. An entry that parted from its hash is the structure's to tell."""
    record = _record(source, structure, 0)
    if record is None:
        return
    said = (record.get("type"), record.get("chain_id"), record.get("origin"))
    if said != (GENESIS_TYPE, chain_id, origin):
        what = f"is not the genesis record of ledger {chain_id.hex()} {origin}"
        findings.add(Depth.STRUCTURE, what, entry=0)


def check_last(source: ArchiveSource, structure: Structure, findings: Findings) -> None:
    """That it is the record of the last commit that the manifest counts."""
    record = _record(source, structure, source.size - 1)
    if record is None:
        return
    closes = record.get("index") if record.get("type") == COMMIT_TYPE else None
    if closes != source.last_commit:
        what = f"{source.last_commit} commits are listed, and the last entry is"
        what += " no commit record" if closes is None else f" the record of commit {closes!r:.20}"
        findings.add(Depth.STRUCTURE, what, file=MANIFEST)


def _record(source: Source, structure: Structure, index: int) -> dict[str, object] | None:
    """The record at this place, empty if none is there; None if that is not to be told here."""
    if not source.shows_entries or index in structure.lost or index in structure.parted:
        return None
    try:
        return decode_record(source.entries(index, 1)[0])
    except MalformedRecord:
        return {}
    except Lost:
        return None

"""Entries that a node promised to include and did not: its signed acknowledgement against the log that went past its time (R58).

acknowledged at 12:00 by KE: in the log by 12:10      and the final log's last commit record says 12:15
no leaf, and no commit dropped it by a code of R26   -> KE withheld it, by its own signature
a leaf, or dropped by a code                         -> nothing to say
the log ends at 12:05                                -> nothing to say yet
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from node.audit.findings import WITHHELD, Depth, Findings
from node.audit.source import CannotAudit, Lost, Source
from node.audit.structure import prover_of_inclusion
from node.ledger.batch import Judged as Fate
from node.ledger.errors import MalformedRecord
from node.ledger.genesis import GenesisMember
from node.ledger.records import COMMIT_TYPE, decode_record
from node.log.errors import MalformedStatement
from node.signing.acknowledgement import Acknowledgement, parse_acknowledgement
from node.signing.verify import verify_ed25519

PROMISES_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """An acknowledgement by a member of this ledger: form and signature are good."""

    data: bytes
    said: Acknowledgement


def open_promises(
    files: Sequence[tuple[str, bytes]], members: Sequence[GenesisMember], chain_id: bytes
) -> tuple[Promise, ...]:
    """`files`: (name, bytes); `members`: of every epoch, for an old key's promise binds as well.

    Raises CannotAudit naming the file that is no acknowledgement by a member of this ledger.
    """
    if len(files) > PROMISES_MAX:
        raise CannotAudit(f"{len(files)} acknowledgements: at most {PROMISES_MAX} at once")
    found = []
    for name, data in files:
        try:
            parsed = parse_acknowledgement(data)
        except MalformedStatement as err:
            raise CannotAudit(f"{name}: {err}") from err
        said, statement = parsed.acknowledgement, parsed.statement
        keys = {member.log_key for member in members if member.state == said.node}
        message = statement.to_be_signed()
        is_its = any(verify_ed25519(key, message, statement.signature) for key in keys)
        if said.chain_id != chain_id or not is_its:
            raise CannotAudit(f"{name}: not signed by a member of this ledger")
        found.append(Promise(data=data, said=said))
    return tuple(found)


def judge_promises(
    promises: Sequence[Promise],
    source: Source,
    final_size: int,
    checkpoint: str,
    fates: Mapping[bytes, Fate],
    findings: Findings,
) -> None:
    """`fates`: what a whole replay of this source did with each entry that was asked about; `checkpoint`: its final note."""
    index = final_size - 1
    try:
        leaf = source.entries(index, 1)[0]
        record = decode_record(leaf)
        proof = prover_of_inclusion(source)(index, final_size)
    except (Lost, MalformedRecord):
        return  # the structure says what is wrong with it
    time_ms = record.get("time_ms")
    if record["type"] != COMMIT_TYPE or not isinstance(time_ms, int):
        return
    for promise in promises:
        said = promise.said
        if time_ms <= said.inclusion_by_ms or said.entry_hash in fates:
            continue
        findings.misdeed(
            Depth.LAW,
            f"{said.node} acknowledged entry {said.entry_hash.hex()} for ledger time {said.inclusion_by_ms} ms; the log is at"
            f" {time_ms} ms and holds no such entry, nor was it dropped",
            said.node,
            {
                "kind": WITHHELD,
                "acknowledgement": promise.data.hex(),
                "checkpoint": checkpoint,
                "commit_record": leaf.hex(),
                "index": str(index),
                "proof": " ".join(part.hex() for part in proof),
            },
        )

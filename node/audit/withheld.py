"""Entries that a node promised to include and did not: its signed acknowledgement against a log that ran on past its time (R58).

acknowledged at 12:00 by KE: in the log by 12:10      and the final log ran on until 12:20
no leaf, and no commit dropped it by a code of R26   -> KE withheld it, by its own signature
its leaf came after that                             -> KE withheld it till then: the entry is late (record 0209)
a leaf before, or dropped by a code before           -> nothing to say
the log ends at 12:15, or stood still from 12:05 on  -> nothing to say yet

A clock alone blames the honest: after a halt the first commit bears a time past the promise, and what a node had proposed before
the halt may stand in the next one. So the log must have run on for as long again as promises last, `inclusion_s`, and a gap
between two commit records counts for at most a tenth of that (record 0217).
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from node.audit.findings import WITHHELD, Depth, Findings
from node.audit.source import CannotAudit, Lost, Source
from node.audit.structure import prover_of_inclusion
from node.ledger.batch import Judged as Fate
from node.ledger.errors import MalformedRecord
from node.ledger.genesis import GenesisMember
from node.ledger.records import decode_record
from node.log.errors import MalformedStatement
from node.signing.acknowledgement import Acknowledgement, parse_acknowledgement
from node.signing.verify import verify_ed25519

PROMISES_MAX: Final = 10_000
GAP_SHARE: Final = (
    10  # of `inclusion_s`, one share at most is what a gap between commit records counts for
)


class Running:
    """How long the log has run since a time: told of each commit record in order, 24 bytes each."""

    def __init__(self, inclusion_s: int) -> None:
        self.enough_ms = 1000 * inclusion_s
        self._gap_ms = self.enough_ms // GAP_SHARE
        self._times = array("q")
        self._leaves = array("q")  # where in the log it stands
        self._counted = array("q")  # up to each: all gaps before it, each as far as it counts

    def commit_record(self, time_ms: int, leaf: int) -> None:
        """The next one; ledger time does not go back."""
        if self._times:
            gap = min(time_ms - self._times[-1], self._gap_ms)
            self._counted.append(self._counted[-1] + gap)
        else:
            self._counted.append(0)
        self._times.append(time_ms)
        self._leaves.append(leaf)

    def since(self, by_ms: int, records: int | None = None) -> int:
        """Milliseconds from then to the last commit record, or the last of the first `records`, as far as they count."""
        known = len(self._times) if records is None else records
        following = bisect_right(self._times, by_ms)
        if following >= known:
            return 0
        first = min(self._times[following] - by_ms, self._gap_ms)
        return first + self._counted[known - 1] - self._counted[following]

    def broken_at(self, by_ms: int, came_as: int | None) -> int | None:
        """The leaf of the last commit record before the entry `came_as` (None: it never came), if by then it was overdue."""
        known = len(self._times) if came_as is None else bisect_left(self._leaves, came_as)
        return self._leaves[known - 1] if self.since(by_ms, known) >= self.enough_ms else None


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
    running: Running,
    findings: Findings,
) -> None:
    """`fates`: what a whole replay of this source did first with each entry asked about; `checkpoint`: its final note.

    `running`: told of the commit records up to that one.
    """
    prove = prover_of_inclusion(source)
    for promise in promises:
        said, fate = promise.said, fates.get(promise.said.entry_hash)
        if fate is not None and fate.leaf is None:
            continue  # dropped by a rule, for all to see
        came_as = None if fate is None else fate.leaf
        index = running.broken_at(said.inclusion_by_ms, came_as)
        if index is None:
            continue
        try:
            leaf = source.entries(index, 1)[0]
            time_ms = decode_record(leaf)["time_ms"]
            proof = prove(index, final_size)
        except (Lost, MalformedRecord):
            return  # the structure says what is wrong with it
        what = "holds no such entry, nor was it dropped"
        if came_as is not None:
            what = f"held no such entry until it came as number {came_as}: late"
        findings.misdeed(
            Depth.LAW,
            f"{said.node} acknowledged entry {said.entry_hash.hex()} for ledger time {said.inclusion_by_ms} ms; the log at"
            f" {time_ms} ms {what}",
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

"""The second part of an archive beside what the first one leads to: nothing in it that its exporter did not need.

Two honest nodes may hold other lines, deciders and signatures (RULINGS R56), so no manifest fixes that part. Yet from the log and
the good lines there is one way to write each file: what differs was put there, or taken out, by somebody else.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from consensus.codec import MalformedBlock, decode_block, decode_commit_record
from consensus.types import Block, CommitIndex, EquivocationProof, Ref
from node.audit.archive import CHECKPOINT, POLICIES, UNDECIDED, ArchiveSource, read_file
from node.audit.certificates import Judged, links_of_copy
from node.audit.epochs import Trust
from node.audit.findings import Depth, Findings
from node.audit.order import OrderReplay
from node.audit.source import Lost
from node.ledger.policy_chain import FILE_BYTES_MAX, BrokenChain, Link, encode_links, parse_links
from node.log.note import NOTE_BYTES_MAX
from node.signing.verify import VerifyPool

SPARE_MAX: Final = 20  # blocks that nobody needs, of which each is told


def check_notes(
    source: ArchiveSource, trust: Trust, judged: Sequence[Judged], findings: Findings
) -> None:
    """The checkpoint and the policies, byte by byte against what their own good lines give."""
    for found in judged:
        if found.size != source.size:
            continue
        wrong = any(finding.depth is Depth.CERTIFICATES for finding in findings.all())
        try:
            held = read_file(source.path, CHECKPOINT, NOTE_BYTES_MAX)
        except Lost:
            return  # the files' own check says so
        if held != found.note(trust.at(found.size)).encode() and not wrong:
            what = "its lines are not each there once, in the order of the members"
            findings.add(Depth.CERTIFICATES, what, file=CHECKPOINT)
    _check_policies(source, trust, judged, findings)


def _check_policies(
    source: ArchiveSource, trust: Trust, judged: Sequence[Judged], findings: Findings
) -> None:
    """Each link is the one that this log and the lines under it give. The newest may be missing: nodes may lack their lines."""
    if not (source.path / POLICIES).exists():
        if len(trust.epochs) > 1:
            what = f"is missing, and the log has {len(trust.epochs)} epochs"
            findings.add(Depth.CERTIFICATES, what, file=POLICIES)
        return
    try:
        data = read_file(source.path, POLICIES, FILE_BYTES_MAX)
        links: list[Link] = parse_links(data)
    except (Lost, BrokenChain):
        return  # `ArchiveSource.read_certificates` says so
    made = links_of_copy(source, trust, judged)
    for number, link in enumerate(links, start=1):
        if number > len(made) or link != made[number - 1]:
            what = f"the link to epoch {number} is not the one that the log and the lines under it give"
            findings.add(Depth.CERTIFICATES, what, file=POLICIES)
            return
    if encode_links(links) != data:
        findings.add(
            Depth.CERTIFICATES,
            "not spelt as an archive spells it: one line, names sorted",
            file=POLICIES,
        )


class Undecided:
    """The blocks beside the committed ones: those, and only those, that deciders rest on."""

    def __init__(self, source: ArchiveSource, order: OrderReplay, pool: VerifyPool) -> None:
        """Listens to what `order` accepts from now on."""
        self._source = source
        self._order = order
        self._pool = pool
        self._committed: set[Ref] = set()  # of those that stand there
        try:
            self._names = frozenset(source.undecided())
        except Lost:
            self._names = frozenset()  # the files' own check says so
        self._spare = set(self._names)
        order.on_blocks = self._accepted

    def needed(self) -> tuple[Ref, ...] | None:
        """Those that were accepted so far, ascending; None if one of them was committed: that is a finding at the end."""
        return None if self._committed else tuple(sorted(self._names - self._spare))

    def take_up(self, needed: Iterable[Ref]) -> None:
        """What an earlier run found to be needed."""
        self._spare.difference_update(needed)

    def _accepted(self, blocks: Sequence[Block]) -> None:
        self._spare.difference_update([block.ref for block in blocks])

    def committed(self, refs: Iterable[Ref]) -> None:
        """Told of each commit's blocks."""
        if self._names:
            self._committed.update(self._names.intersection(refs))

    def finish(self, last: int, findings: Findings) -> None:
        """After the last commit, `last`."""
        for ref in sorted(self._committed)[:SPARE_MAX]:
            findings.add(
                Depth.ORDER, f"{_named(ref)} is committed, and stands here too", file=UNDECIDED
            )
        for ref in sorted(self._spare)[:SPARE_MAX]:
            findings.add(
                Depth.ORDER, f"{_named(ref)} is one that no decider rests on", file=UNDECIDED
            )
            self._is_a_second(ref, last, findings)
        beyond = max(0, len(self._spare) - SPARE_MAX)
        if beyond:
            what = f"and {beyond} blocks more that no decider rests on"
            findings.add(Depth.ORDER, what, file=UNDECIDED)

    def _is_a_second(self, ref: Ref, last: int, findings: Findings) -> None:
        """Its author may have signed it beside the one that is committed for its round."""
        try:
            second = decode_block(self._source.block(ref))
            first = self._slot_mate(second, last)
        except (Lost, MalformedBlock):
            return
        if first is None or not self._order.may_accuse(second):
            return
        checks = [self._order.signature_check(block) for block in (first, second)]
        if not all(self._pool.verify_now(checks)):
            return
        small, large = sorted((first, second), key=lambda block: block.ref.digest)
        proof = EquivocationProof(
            epoch=second.header.epoch,
            round=ref.round,
            author=ref.author,
            digest1=small.ref.digest,
            signature1=small.signature,
            digest2=large.ref.digest,
            signature2=large.signature,
        )
        findings.two_blocks(Depth.ORDER, self._order.author_of(second), proof)

    def _slot_mate(self, second: Block, last: int) -> Block | None:
        """Another block of the same epoch, round and author among the committed ones. Raises Lost, MalformedBlock."""
        for index in range(1, last + 1):
            commit = decode_commit_record(self._source.commit_record(CommitIndex(index))).commit
            if commit.epoch != second.header.epoch:
                continue
            for ref in commit.blocks:
                if ref[:2] == second.ref[:2] and ref != second.ref:
                    return decode_block(self._source.block(ref))
        return None


def _named(ref: Ref) -> str:
    return f"block {ref.round}/{ref.author} {ref.digest.hex()}"

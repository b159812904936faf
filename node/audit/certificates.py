"""Who signed what: the genesis, the checkpoints, and who signed two roots of one log."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from consensus.committee import quorum_of
from node.audit.epochs import Trust
from node.audit.findings import ML_DSA_LINES, TWO_ROOTS, Depth, Findings
from node.audit.source import Certificate, Lost, Source
from node.audit.structure import prover_of_inclusion
from node.ledger.cosigned import Cosigned
from node.ledger.genesis import Genesis
from node.ledger.policy_chain import Link
from node.log import merkle
from node.log.cosignature import Cosignature
from node.log.proof import ProofFile
from node.signing.checkpoints import verify_cosignature, verify_mldsa_cosignature
from node.signing.verify import verify_ed25519

RootAt = Callable[[int], bytes]
"""Root of a source's tree at a size. Raises Lost."""

Prove = Callable[[int, int], list[bytes]]
"""Consistency proof between two sizes of a source's tree. Raises Lost."""

Shown = tuple[str, Sequence["Judged"], RootAt, Prove]
"""A source's name, its checkpoints, and what its tree can show."""

UNKNOWN: Final = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A checkpoint after its lines were verified."""

    certificate: Certificate
    good: tuple[Cosigned, ...]  # ascending by member, each member once
    second: tuple[Cosigned, ...] = ()  # good ML-DSA-44 lines, likewise; nothing rests on them
    log_lines: tuple[tuple[int, bytes], ...] = ()  # good ones of log keys
    signers: tuple[str, ...]  # states of the good lines
    second_signers: tuple[str, ...] = ()  # of the second ones
    is_final: bool  # a quorum of members signed this root

    @property
    def size(self) -> int:
        return self.certificate.checkpoint.size

    @property
    def root(self) -> bytes:
        return self.certificate.checkpoint.root

    @property
    def median_s(self) -> int:
        """Of the good lines' own clocks: no f of a quorum can move it out of what honest members said (FORMATS 6)."""
        times = sorted(line.timestamp for line in self.good)
        return times[(len(times) - 1) // 2]

    def note(self, genesis: Genesis) -> str:
        """The signed note of the good lines alone: one bad line would spoil it for other readers."""
        good = replace(
            self.certificate, lines=self.good, second=self.second, log_lines=self.log_lines
        )
        return good.note(genesis).decode()


def judge(certificate: Certificate, genesis: Genesis, findings: Findings) -> Judged:
    """Verify every line. A bad or strange one is a finding about the copy: nobody signed it."""
    checkpoint = certificate.checkpoint
    what = f"checkpoint of size {checkpoint.size}"
    if checkpoint.origin != genesis.origin:
        findings.add(
            Depth.CERTIFICATES,
            f"{what}: origin {checkpoint.origin!r:.80}, the genesis says {genesis.origin!r}",
        )
    if checkpoint.extensions:
        findings.add(Depth.CERTIFICATES, f"{what}: has extension lines, and ours have none")
    for line in certificate.strange:
        findings.add(Depth.CERTIFICATES, f"{what}: a line of nobody: {line}")
    good: dict[int, Cosigned] = {}
    for cosigned in certificate.lines:
        member = genesis.members[cosigned.member]
        cosignature = Cosignature(timestamp=cosigned.timestamp, signature=cosigned.signature)
        if verify_cosignature(member.state, member.cosigner_key, checkpoint, cosignature) is None:
            findings.add(
                Depth.CERTIFICATES, f"{what}: the line of {member.state} is not by its cosigner"
            )
        elif cosigned.member in good:
            findings.add(Depth.CERTIFICATES, f"{what}: {member.state} stands there twice")
        else:
            good[cosigned.member] = cosigned
    log_lines: list[tuple[int, bytes]] = []
    for index, signature in certificate.log_lines:
        member = genesis.members[index]
        if (index, signature) in log_lines:
            findings.add(
                Depth.CERTIFICATES, f"{what}: the log line of {member.state} stands there twice"
            )
        elif verify_ed25519(member.log_key, checkpoint.text(), signature):
            log_lines.append((index, signature))
        else:
            findings.add(
                Depth.CERTIFICATES, f"{what}: the log line of {member.state} is not by its log key"
            )
    signers = tuple(genesis.members[index].state for index in sorted(good))
    second = _good_second(certificate, genesis, findings)
    return Judged(
        second=second,
        second_signers=tuple(genesis.members[line.member].state for line in second),
        log_lines=tuple(log_lines),
        certificate=certificate,
        good=tuple(good[index] for index in sorted(good)),
        signers=signers,
        is_final=len(good) >= quorum_of(len(genesis.members)),
    )


def _good_second(
    certificate: Certificate, genesis: Genesis, findings: Findings
) -> tuple[Cosigned, ...]:
    """The ML-DSA-44 lines that are their members'. Where this machine cannot tell, none are, and nothing is said."""
    checkpoint = certificate.checkpoint
    good: dict[int, Cosigned] = {}
    for line in certificate.second:
        member = genesis.members[line.member]
        made = Cosignature(timestamp=line.timestamp, signature=line.signature)
        verdict = verify_mldsa_cosignature(member.state, member.cosigner_pq_key, checkpoint, made)
        if verdict and line.member in good:
            what = f"a second line of {member.state} stands there twice"
            findings.add(Depth.CERTIFICATES, f"checkpoint of size {checkpoint.size}: {what}")
        elif verdict:
            good[line.member] = line
        elif verdict is False:
            what = f"the second line of {member.state} is not by its ML-DSA cosigner"
            findings.add(Depth.CERTIFICATES, f"checkpoint of size {checkpoint.size}: {what}")
    return tuple(good[index] for index in sorted(good))


def judge_source(source: Source, trust: Trust, root_at: RootAt, findings: Findings) -> list[Judged]:
    """All certificates of a source, ascending by size, each against the root of the source's own entries."""
    judged = [
        judge(certificate, trust.at(certificate.checkpoint.size), findings)
        for certificate in source.certificates
    ]
    parting: list[tuple[Judged, bytes]] = []
    for found in judged:
        if not found.is_final:
            members = trust.at(found.size).members
            quorum = quorum_of(len(members))
            names = ", ".join(found.signers) or "nobody"
            findings.add(
                Depth.CERTIFICATES,
                f"checkpoint of size {found.size}: cosigned by {names}, and {quorum} of"
                f" {len(members)} members make a quorum",
            )
        if found.size > source.size:
            findings.add(
                Depth.CERTIFICATES,
                f"{found.size} entries are cosigned, {source.size} are here: the end is lost, or was put back",
                proven_by=found.signers,
            )
            continue
        try:
            root = root_at(found.size)
        except Lost:
            continue  # the structure says what is lost
        if root != found.root:
            parting.append((found, root))
    if parting:
        # Once two logs have parted they differ at every later size: the first and the last one say it all.
        for found, root in dict.fromkeys((parting[0], parting[-1])):
            findings.add(
                Depth.CERTIFICATES,
                f"the first {found.size} entries lead to root {root.hex()}, cosigned is {found.root.hex()}",
                proven_by=found.signers,
                proof={"checkpoint": found.certificate.note(trust.at(found.size)).decode()},
            )
    return judged


def contradictions(trust: Trust, sources: Sequence[Shown], findings: Findings) -> None:
    """Members who cosigned two roots that no one log has both: two at one size, or a later one that does not continue it.

    Each pair of checkpoints is looked at once; the larger one's source shows the root that its log has at the smaller size, and
    that root counts only if the larger checkpoint is over the same tree.
    """
    seen: set[tuple[str, int, bytes]] = set()
    ends = {epoch.last_size for epoch in trust.epochs if epoch.last_size is not None}
    for (name, first), (other, second, root_at, prove) in _pairs(sources, ends):
        small, large = first, second
        if (small.size, small.root) > (large.size, large.root):
            continue  # the same pair from the other side
        try:
            same_size = small.size == large.size  # then no tree is asked: two roots are two roots
            at_small = large.root if same_size else root_at(small.size)
            is_its_own = same_size or root_at(large.size) == large.root
        except Lost:
            continue
        if at_small == small.root or not is_its_own:
            continue
        guilty = {
            state: lines
            for state, lines in _signed_both(small, large).items()
            if (state, small.size, small.root) not in seen
        }
        proof = _two_roots(trust, small, large, at_small, prove) if guilty else {}
        for state, lines in guilty.items():
            seen.add((state, small.size, small.root))
            findings.add(
                Depth.CERTIFICATES,
                f"{state} cosigned root {small.root.hex()} at size {small.size} (shown by {name}) and root"
                f" {large.root.hex()} at size {large.size} (shown by {other}), whose first {small.size} entries have root"
                f" {at_small.hex()}{f', {lines} lines being among these' if lines else ''}",
                accused=(state,),
                proof={**proof, "lines": lines} if lines else proof,
            )


def _signed_both(small: Judged, large: Judged) -> dict[str, str]:
    """Who signed both, and by which kind of line if not by Ed25519 in both. Either key says: the one tree I have seen."""
    early = {*small.signers, *small.second_signers}
    late = {*large.signers, *large.second_signers}
    by_first = {*small.signers}.intersection(large.signers)
    return {state: "" if state in by_first else ML_DSA_LINES for state in sorted(early & late)}


def _two_roots(
    trust: Trust, small: Judged, large: Judged, at_small: bytes, prove: Prove
) -> dict[str, str]:
    """What shows it to anybody: both notes, and for two sizes that the larger log has another root at the smaller one."""
    proof = {
        "kind": TWO_ROOTS,
        "first": small.note(trust.at(small.size)),
        "second": large.note(trust.at(large.size)),
    }
    if small.size < large.size:
        try:
            hashes = prove(small.size, large.size)
        except Lost:
            return proof
        if merkle.verify_consistency(small.size, large.size, at_small, large.root, hashes):
            proof["prefix_root"] = at_small.hex()
            proof["prefix_proof"] = " ".join(part.hex() for part in hashes)
    return proof


def _pairs(
    sources: Sequence[Shown], ends: Collection[int]
) -> Iterator[tuple[tuple[str, Judged], tuple[str, Judged, RootAt, Prove]]]:
    for name, judged, *_ in sources:
        for other, others, root_at, prove in sources:
            for first in judged:
                # Of one healthy source every certificate is compared with its own tree already: enough are the last one, and
                # the last one of each epoch that is over, some of whose members may have signed none after it.
                last = [judged for judged in others[:-1] if judged.size in ends] + [*others[-1:]]
                for second in last if name != other else others:
                    if first is not second:
                        yield (name, first), (other, second, root_at, prove)


def links_of_copy(source: Source, trust: Trust, judged: Sequence[Judged]) -> list[Link]:
    """From the genesis' policy to later ones, as far as this copy holds what the old members handed over with."""
    found: list[Link] = []
    for before, epoch in pairwise(trust.epochs):
        final = next((j for j in judged if j.size == epoch.after_size and j.is_final), None)
        at = epoch.record_leaf
        if final is None or at is None:
            break
        try:
            hashes = prover_of_inclusion(source)(at, epoch.after_size)
            record = source.entries(at, 1)[0]
        except Lost:
            break
        note = final.note(replace(trust.genesis, members=before.members))
        proof = ProofFile(index=at, hashes=tuple(hashes), note=note.encode(), extra=record)
        if proof.root_of(record) != final.root:
            break  # another log's checkpoint: it does not lead to this one's next members
        found.append(Link(proof=bytes(proof), policy=epoch.trust_policy(trust.genesis.origin)))
    return found


def believed(source: Source, trust: Trust, judged: Sequence[Judged]) -> Trust:
    """As far as each epoch's members certified its end: by later keys, which anybody may claim, nobody is accused."""
    if trust.policies is not None:
        return trust
    return replace(trust, epochs=trust.epochs[: 1 + len(links_of_copy(source, trust, judged))])

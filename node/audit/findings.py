"""What an audit says: how deep it looked, what it found, whose signature shows it, and the verdict.

    depth         question
    parse         are all parts there, and of their form?
    structure     do the entries lead, through the tree that is stored, to the root?
    certificates  did all founders sign the genesis, and a quorum the root?
    signatures    is every block, entry and endorsement signed by whom it names?
    order         does the commit rule, run again over the signed blocks, give this sequence?
    law           does the law, run over that sequence, give every leaf, the state and the root?
    store         is every other row of the node's store what the replay would have written?
    compare       do the sources agree, byte by byte?

Nobody is accused but by their own signature: `accused` names those who signed two things of which an honest party signs
one. Altered bytes accuse nobody: the finding names the copy they are in, and `proven_by` whose signatures say what stood there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from consensus.types import Digest, EquivocationProof, Round, ValidatorIndex
from node.ledger.policy_chain import Link

EXCERPT_BYTES: Final = 32
# What a `proof` shows, under "kind": evidence files are made of these (see `blame`).
ML_DSA_LINES: Final = (
    "ml-dsa-44"  # evidence that rests on second lines; the standard verifier has no ML-DSA
)
TWO_ROOTS: Final = "two-roots"
TWO_BLOCKS: Final = "two-blocks"
WITHHELD: Final = "withheld"
FINDINGS_MAX: Final = 1_000  # of one source: a store of zeros has no end of them


class Depth(Enum):
    """See the module's text."""

    PARSE = "parse"
    STRUCTURE = "structure"
    CERTIFICATES = "certificates"
    SIGNATURES = "signatures"
    ORDER = "order"
    LAW = "law"
    STORE = "store"
    COMPARE = "compare"


class Verdict(Enum):
    CONSISTENT = "consistent"
    INCONSISTENT = "inconsistent"
    UNCHECKED = "unchecked"  # nothing contradicts, but nothing could be shown either


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes `first` to `last`, both included, of what a finding is about; and what stands there against what should."""

    first: int
    last: int
    found: bytes
    expected: bytes

    def __str__(self) -> str:
        return (
            f"byte {self.first}" if self.first == self.last else f"bytes {self.first}-{self.last}"
        )


def differing(found: bytes, expected: bytes) -> ByteRange | None:
    """From the first byte that differs to the last, in `found`'s numbering; a missing or extra tail counts. None: equal."""
    if found == expected:
        return None
    shorter = min(len(found), len(expected))
    first = next((at for at in range(shorter) if found[at] != expected[at]), shorter)
    if len(found) != len(expected):
        last = max(len(found), len(expected)) - 1
    else:
        last = next(at for at in range(shorter - 1, -1, -1) if found[at] != expected[at])
    return ByteRange(
        first=first,
        last=last,
        found=found[first : last + 1],
        expected=expected[first : last + 1],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    depth: Depth
    source: str  # whose copy: `Source.name`
    what: str  # a sentence
    entry: int | None = None  # index in the log, if it is about one
    entries: tuple[int, int] | None = None  # or about first..last of them
    byte_range: ByteRange | None = None  # inside that entry
    file: str | None = None  # the file that holds it, or that cannot be read
    proven_by: tuple[str, ...] = ()  # states whose cosignatures say what should be there
    accused: tuple[str, ...] = ()  # states that signed two things of which an honest one signs one
    proof: Mapping[str, str] = field(
        default_factory=dict
    )  # what shows it, for the evidence file: hex or text

    def __str__(self) -> str:
        where = ""
        if self.entry is not None:
            where = f"entry {self.entry}"
            if self.byte_range is not None:
                where += f", {self.byte_range}"
            where += ": "
        elif self.entries is not None:
            where = f"entries {self.entries[0]}-{self.entries[1]}: "
        text = f"{self.source}: {where}{self.what}"
        if self.file is not None and self.file not in self.what:
            text += f" (file {self.file})"
        if self.proven_by:
            text += f"; what should stand there is cosigned by {', '.join(self.proven_by)}"
        if self.accused:
            text += f"; shown by the own signatures of {', '.join(self.accused)}"
        return text

    def as_json(self) -> dict[str, Any]:
        span = self.byte_range
        return {
            "depth": self.depth.value,
            "source": self.source,
            "what": self.what,
            "entry": self.entry,
            "entries": None if self.entries is None else list(self.entries),
            "bytes": None if span is None else [span.first, span.last],
            "found": None if span is None else span.found[:EXCERPT_BYTES].hex(),
            "expected": None if span is None else span.expected[:EXCERPT_BYTES].hex(),
            "file": self.file,
            "proven_by": list(self.proven_by),
            "accused": list(self.accused),
            "text": str(self),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One depth at one source: how far it was looked, or why not at all."""

    done: bool
    how_far: str  # "412 entries", or the reason

    def __str__(self) -> str:
        return self.how_far if self.done else f"not checked: {self.how_far}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What was looked at in one source."""

    name: str
    kind: str
    where: str
    size: int  # entries it holds
    root: str  # hex, over all of them, by the entries; empty if they do not lead to one
    final_size: int
    final_root: str  # hex, as cosigned
    final_at_s: int | None  # when, by the middle one of the cosigners' own clocks
    cosigned_by: tuple[str, ...]  # states whose cosignature over the final root is good
    checked: Mapping[Depth, Checked]
    entries_replayed: int
    commits_replayed: int
    replayed_root: str  # hex, after the last commit replayed; empty if the law was not run

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "where": self.where,
            "size": self.size,
            "root": self.root,
            "final_size": self.final_size,
            "final_root": self.final_root,
            "final_at_s": self.final_at_s,
            "cosigned_by": list(self.cosigned_by),
            "checked": {
                depth.value: {"done": state.done, "how_far": state.how_far}
                for depth, state in self.checked.items()
            },
            "entries_replayed": self.entries_replayed,
            "commits_replayed": self.commits_replayed,
            "replayed_root": self.replayed_root,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """The whole answer."""

    chain_id: str  # hex
    origin: str
    drill: bool
    members: tuple[str, ...]
    quorum: int
    sources: tuple[SourceReport, ...]
    findings: tuple[Finding, ...]
    misdeeds: tuple[
        Finding, ...
    ]  # signed by a member against the rules, without harm to the history
    genesis: bytes = field(default=b"", repr=False)  # the document that all was judged by
    # From there to later epochs, as far as a copy proves it; and the block keys of each epoch's committee
    links: tuple[Link, ...] = field(default=(), repr=False)
    block_keys: tuple[tuple[bytes, ...], ...] = field(default=(), repr=False)
    pinned: bool = False  # judged by a genesis that was named, not by the copies' own
    unread: tuple[tuple[str, str], ...] = ()  # (named source, why nothing of it could be had)

    def wrong(self, source: str) -> Mapping[Depth, int]:
        """Findings of one source, by depth: what was looked at there and is not right."""
        return Counter(finding.depth for finding in self.findings if finding.source == source)

    @property
    def verdict(self) -> Verdict:
        if self.findings:
            return Verdict.INCONSISTENT
        shown = any(
            report.checked[Depth.STRUCTURE].done and report.checked[Depth.CERTIFICATES].done
            for report in self.sources
        )
        return Verdict.CONSISTENT if shown else Verdict.UNCHECKED

    @property
    def entries_replayed(self) -> int:
        """Leaves that the law was run over, at the source where it got furthest."""
        return max((report.entries_replayed for report in self.sources), default=0)

    @property
    def roots_equal(self) -> bool:
        """Entries, replay and certificates show one root wherever two of them speak of one size, at least once."""
        roots: dict[int, set[str]] = {}
        for report in self.sources:
            if not report.root or not report.final_root:
                return False
            roots.setdefault(report.size, set()).add(report.root)
            roots.setdefault(report.final_size, set()).add(report.final_root)
            if report.replayed_root:
                roots.setdefault(report.entries_replayed, set()).add(report.replayed_root)
        at_odds = any(finding.depth is Depth.COMPARE for finding in self.findings)
        return bool(roots) and not at_odds and all(len(found) == 1 for found in roots.values())

    @property
    def cosigned_by(self) -> tuple[str, ...]:
        """Members whose good cosignature over a final root was seen at any source, in the order of the genesis."""
        seen = {state for report in self.sources for state in report.cosigned_by}
        return tuple(state for state in self.members if state in seen)

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict.value,
            "entries_replayed": self.entries_replayed,
            "roots_equal": self.roots_equal,
            "chain_id": self.chain_id,
            "origin": self.origin,
            "genesis_named": self.pinned,
            "drill": self.drill,
            "members": list(self.members),
            "quorum": self.quorum,
            "cosigned_by": list(self.cosigned_by),
            "sources": [self._source_json(report) for report in self.sources],
            "unread": [{"source": name, "why": why} for name, why in self.unread],
            "findings": [finding.as_json() for finding in self.findings],
            "misdeeds": [finding.as_json() for finding in self.misdeeds],
        }

    def _source_json(self, report: SourceReport) -> dict[str, Any]:
        view, wrong = report.as_json(), self.wrong(report.name)
        for depth in Depth:
            view["checked"][depth.value]["wrong"] = wrong.get(depth, 0)
        return view


class Findings:
    """Gathers findings of one source; beyond FINDINGS_MAX they are only counted."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._found: list[Finding] = []
        self._misdeeds: list[Finding] = []
        self._beyond = 0

    def __len__(self) -> int:
        return len(self._found) + self._beyond

    def copied(self) -> "Findings":
        """The same ones so far, to go back to."""
        made = Findings(self.source)
        made._found, made._misdeeds = list(self._found), list(self._misdeeds)
        made._beyond = self._beyond
        return made

    def add(self, depth: Depth, what: str, **details: Any) -> None:
        """`details` are the other fields of Finding."""
        if len(self._found) >= FINDINGS_MAX:
            self._beyond += 1
            return
        self._found.append(Finding(depth=depth, source=self.source, what=what, **details))

    def misdeed(self, depth: Depth, what: str, accused: str, proof: Mapping[str, str]) -> None:
        if len(self._misdeeds) < FINDINGS_MAX:
            self._misdeeds.append(
                Finding(depth=depth, source=self.source, what=what, accused=(accused,), proof=proof)
            )

    def two_blocks(self, depth: Depth, state: str, proof: EquivocationProof) -> None:
        """Signatures over two blocks of one round, both verified: from the blocks, or from a proof of them. Told once."""
        what = f"{state} signed two blocks for round {proof.round}"
        epoch = str(proof.epoch)
        if any(told.what == what and told.proof.get("epoch") == epoch for told in self._misdeeds):
            return
        shown = {
            "kind": TWO_BLOCKS,
            "epoch": epoch,
            "round": str(proof.round),
            "author": str(proof.author),
            "digest1": proof.digest1.hex(),
            "signature1": proof.signature1.hex(),
            "digest2": proof.digest2.hex(),
            "signature2": proof.signature2.hex(),
        }
        self.misdeed(depth, what, state, shown)

    def all(self) -> list[Finding]:
        """Those about entries first, by index; then the others in the order of finding."""
        found = sorted(self._found, key=_place)
        if self._beyond:
            found.append(
                Finding(
                    depth=Depth.PARSE,
                    source=self.source,
                    what=f"and {self._beyond} findings more of the same source",
                )
            )
        return found

    @property
    def misdeeds(self) -> Sequence[Finding]:
        return self._misdeeds


def two_blocks_of(misdeed: Finding) -> EquivocationProof | None:
    """The proof that `Findings.two_blocks` was told with; None: it is about something else."""
    shown = misdeed.proof
    if shown.get("kind") != TWO_BLOCKS:
        return None
    return EquivocationProof(
        epoch=int(shown["epoch"]),
        round=Round(int(shown["round"])),
        author=ValidatorIndex(int(shown["author"])),
        digest1=Digest(bytes.fromhex(shown["digest1"])),
        signature1=bytes.fromhex(shown["signature1"]),
        digest2=Digest(bytes.fromhex(shown["digest2"])),
        signature2=bytes.fromhex(shown["signature2"]),
    )


def _place(finding: Finding) -> tuple[bool, int]:
    if finding.entry is not None:
        return (False, finding.entry)
    return (False, finding.entries[0]) if finding.entries is not None else (True, 0)

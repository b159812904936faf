"""A copy of the history as of one moment: the records by the law run again, and the cosigned checkpoint that they stand on.

    with travel(Path("archive-us"), pinned=None, moment=Moment(index=1200), note=print) as there:
        there.sight            what every question of `node.ledger.questions` sees
        there.stand            the proof

Nothing of the copy is believed but what this chain leads to:

    genesis, signed by its founders
      -> members of each epoch                                   (`epochs.trust_of`)
      -> a checkpoint that a quorum of them cosigned             (`certificates.judge`)
      -> the root over the entries up to the moment              (consistency proof; the root is made of the law's own leaves)
      -> the state after each commit                             (the law, run again; every signature of an entry checked)

The smallest final checkpoint that covers the moment is taken. Where its members were seated only after the moment, the law is run
on to it, so that they are the ones whom the law seated.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

from consensus.committee import quorum_of
from node.audit.archive import ArchiveSource, is_archive
from node.audit.certificates import Judged, judge, links_of_copy
from node.audit.epochs import Trust, trust_of
from node.audit.facts import SpilledFacts
from node.audit.findings import Findings
from node.audit.source import CannotAudit, Lost
from node.audit.store_source import StoreSource, find_folders
from node.audit.structure import reader_of
from node.audit.worker import stopped_tidily
from node.ledger.epochs import epoch_of_size
from node.ledger.errors import LedgerError, MalformedGenesis
from node.ledger.genesis import chain_id, parse_genesis
from node.ledger.plan import MS_PER_S, AppendPlan
from node.ledger.policy_chain import Link
from node.ledger.questions.moment import THE_END, Moment, time_text
from node.ledger.questions.past import Past, RowProof
from node.ledger.questions.sight import Leaves, Sight
from node.ledger.reader import nothing_known
from node.ledger.records import TYPE_OF, decode_record
from node.log import merkle
from node.log.errors import MalformedInput
from node.treaty.book import Book

NOTE_EVERY_S: Final = 2.0

Note = Callable[[str], None]
Watch = Callable[[AppendPlan, Book], None]
"""A commit, and the law's book after it."""
Copied = ArchiveSource | StoreSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """What an answer stands on; hashes in hex."""

    chain_id: str
    origin: str
    drill: bool
    source: str
    kind: str
    commit: int  # the last one up to the moment
    time_s: int  # its ledger second
    size: int  # entries of the log after it
    root: str  # over these
    state_digest: str
    commit_record: str  # the last of these entries
    inclusion: tuple[str, ...]  # of the commit record in the checkpoint's tree
    consistency: tuple[str, ...]  # from `size` to the checkpoint
    checkpoint: str  # the signed note, good lines alone
    checkpoint_size: int
    checkpoint_root: str
    epoch: int  # whose members cosigned it
    cosigned_by: tuple[str, ...]
    members: int
    quorum: int
    cosigned_s: (
        int  # median of their timestamps: no f of them can move it out of what honest ones said
    )
    checked: tuple[str, ...]  # in words

    def as_json(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def told(self) -> list[str]:
        """For people."""
        signers = f"{len(self.cosigned_by)} of {self.members} members (quorum {self.quorum})"
        where = f"checkpoint of size {self.checkpoint_size}, cosigned about {time_text(self.cosigned_s)}"
        return [
            f"stands on entry {self.size - 1}, commit {self.commit} of {time_text(self.time_s)}, root {self.root}",
            f"under the {where} by {signers}: {', '.join(self.cosigned_by)}",
            *(f"checked: {what}" for what in self.checked),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The records at one moment, and the proof."""

    sight: Sight
    stand: Stand

    @property
    def stands_on(self) -> dict[str, Any]:
        return self.stand.as_json()

    @property
    def told(self) -> list[str]:
        return self.stand.told()


@contextmanager
def travel(path: Path, pinned: bytes | None, moment: Moment, note: Note) -> Iterator[Place]:
    """One moment of one copy. `pinned`: the genesis to judge by, else the copy's own. Raises CannotAudit."""
    with journey(path, pinned, note) as going:
        yield going.to(moment)


@contextmanager
def journey(
    path: Path, pinned: bytes | None, note: Note, watch: Watch | None = None
) -> Iterator["Journey"]:
    """A copy to go forward in, moment by moment. `watch` is told of each commit gone through. Raises CannotAudit."""
    source = open_copy(path)
    try:
        with stopped_tidily(), SpilledFacts() as facts:
            yield Journey(source, pinned, facts, note, watch)
    finally:
        source.close()


def open_copy(path: Path) -> Copied:
    """An archive, or a node's home, data folder or database. Raises CannotAudit."""
    if is_archive(path):
        return ArchiveSource.open(path)
    folders = find_folders(path)
    if folders is None:
        raise CannotAudit(
            f"{path}: neither an archive nor a node's home or data folder: want manifest.json, foedus.toml or a database"
        )
    return StoreSource.open(folders)


class Journey:
    """See the module's text. `source` is the copy, `final` its largest checkpoint with a quorum: nothing beyond is looked at."""

    def __init__(
        self,
        source: Copied,
        pinned: bytes | None,
        facts: SpilledFacts,
        note: Note,
        watch: Watch | None = None,
    ) -> None:
        """Raises CannotAudit."""
        self._watch = watch
        self.source = source
        self._note = note
        self._pinned = pinned is not None
        self._document = source.document if pinned is None else pinned
        if source.document != self._document:
            raise CannotAudit(
                f"{source.where}: is of ledger {chain_id(source.document).hex()}, not of {chain_id(self._document).hex()}"
            )
        try:
            self.genesis = parse_genesis(self._document)
        except MalformedGenesis as err:
            raise CannotAudit(f"{source.where}: its genesis document: {err}") from err
        findings = Findings(source.name)
        self.trust: Trust = trust_of(source, self.genesis, self._document, findings)
        self._refuse(findings)
        source.read_certificates(self.trust.at)
        self.finals = self._final_ones()
        self.final = self.finals[-1]
        self._leaves = _DerivedLeaves(source)
        self._facts = facts
        self._past = self._begin(self._on_plan)

    def to(self, moment: Moment) -> Place:
        """Go on to there. Raises CannotAudit: it lies behind, or beyond what is certified, or was not cosigned so."""
        end_s = self.end_s
        if moment.index is not None and moment.index >= self.final.size:
            raise CannotAudit(
                f"{self.source.where}: {self.final.size} entries are certified, index {moment.index} is none of them"
            )
        if moment.time_s is not None and moment.time_s > end_s:
            raise CannotAudit(
                f"{self.source.where}: its last certified commit is of {time_text(end_s)}, what came up to"
                f" {time_text(moment.time_s)} it does not hold"
            )
        past = self._past
        if not self.reaches(moment):
            raise CannotAudit(f"{self.source.where}: {self._behind()}")
        self._run(past, moment)
        return Place(
            sight=past.sight(self._leaves),
            stand=self._stand(past),
        )

    def _behind(self) -> str:
        """Why a moment cannot be reached."""
        past = self._past
        here = f"entry {past.size - 1}, {time_text(past.time_ms // MS_PER_S)}"
        if not past.commits:
            return f"entries 0 to {past.size - 1} are the founding, one commit: before {here}, there is nothing to be asked about"
        return f"that lies before {here}, which was gone past already"

    def before(self, index: int) -> Sight:
        """On to the last commit before the one that holds this entry. A founding entry: to the founding. Raises CannotAudit."""
        if index >= self.final.size:
            raise CannotAudit(
                f"{self.source.where}: {self.final.size} entries are certified, index {index} is none of them"
            )
        if index >= self._past.size:
            self._run(self._past, Moment(index=index - 1))
        return self._past.sight(self._leaves)

    def through(self, index: int) -> Place:
        """On through the commit that holds this entry, and the proof. Raises CannotAudit."""
        while self._past.size <= index and self._step(self._past, THE_END):
            pass
        return Place(sight=self._past.sight(self._leaves), stand=self._stand(self._past))

    def prove_entry(self, index: int, size: int) -> tuple[bytes, ...]:
        """That this entry is in the tree of a final checkpoint. Raises CannotAudit."""
        try:
            return tuple(merkle.inclusion_proof(index, size, reader_of(self.source)))
        except Lost as lost:
            raise CannotAudit(f"{self.source.where}: {lost.why}") from lost

    @property
    def document(self) -> bytes:
        """The genesis that the copy is judged by."""
        return self._document

    @property
    def links(self) -> list[Link]:
        """From the policy of the genesis to later ones, as far as the copy proves them."""
        return links_of_copy(self.source, self.trust, self.finals)

    def prove(self, key: bytes) -> RowProof:
        """The row of a key of the state map, or that there is none, where we stand."""
        return self._past.prove(key)

    @property
    def end_s(self) -> int:
        """The ledger second of the last certified commit, as its record says; the run shows whether that is so."""
        record = self._record(self.final.size)
        time_ms = record.get("time_ms")
        if not isinstance(time_ms, int):
            raise CannotAudit(f"{self.source.where}: entry {self.final.size - 1} closes no commit")
        return time_ms // MS_PER_S

    def tell(self, what: str) -> None:
        """How far a long piece of work is, for people."""
        self._note(f"{self.source.name}: {what}")

    def reaches(self, moment: Moment) -> bool:
        """Whether a moment is not behind us."""
        return moment.holds(self._past.size, self._past.time_ms)

    def certified_root_at(self, size: int) -> bytes:
        """By the copy's own hashes, which lead to its certified root. Raises CannotAudit."""
        read = reader_of(self.source)
        try:
            root = merkle.load(size, read).root()
            proof = merkle.consistency_proof(size, self.final.size, read)
        except Lost as lost:
            raise CannotAudit(f"{self.source.where}: {lost.why}") from lost
        if not merkle.verify_consistency(size, self.final.size, root, self.final.root, proof):
            raise CannotAudit(
                f"{self.source.where}: its hashes do not lead to the root cosigned at {self.final.size}"
            )
        return root

    def _record(self, size: int) -> dict[str, Any]:
        try:
            return decode_record(self._read(size - 1, 1)[0])
        except LedgerError as err:
            raise CannotAudit(f"{self.source.where}: entry {size - 1}: {err}") from err

    def _begin(self, on_plan: Callable[[AppendPlan], None]) -> Past:
        return Past(
            self.genesis,
            self._document,
            self._facts,
            self._read,
            self.final.size,
            known=nothing_known,
            on_plan=on_plan,
        )

    def _on_plan(self, plan: AppendPlan) -> None:
        self._facts.write(plan)
        self._leaves.take(plan)
        if self._watch is not None and plan.index:  # the founding commit holds no entries
            self._watch(plan, self._past.book)

    def _read(self, first: int, count: int) -> list[bytes]:
        try:
            return self.source.entries(first, count)
        except Lost as lost:
            raise CannotAudit(f"{self.source.where}: entries from {first} on: {lost.why}") from lost

    def _run(self, past: Past, moment: Moment) -> None:
        told = monotonic()
        while self._step(past, moment):
            if monotonic() - told > NOTE_EVERY_S:
                told = monotonic()
                self._note(f"{self.source.name}: replayed {past.size} of {self.final.size} entries")

    def _step(self, past: Past, moment: Moment) -> bool:
        try:
            return past.step(moment)
        except (LedgerError, MalformedInput) as err:
            raise CannotAudit(
                f"{self.source.where}: after entry {past.size - 1}: {err}. `foedus audit` says more"
            ) from err

    def _final_ones(self) -> list[Judged]:
        """Checkpoints within this copy that a quorum cosigned, ascending. Raises CannotAudit if there are none."""
        found = []
        for certificate in self.source.certificates:
            if certificate.checkpoint.size > self.source.size:
                continue
            ignored = Findings(
                self.source.name
            )  # lines that are bad; what counts are the good ones
            judged = judge(certificate, self.trust.at(certificate.checkpoint.size), ignored)
            if judged.is_final and certificate.checkpoint.origin == self.genesis.origin:
                found.append(judged)
        if not found:
            raise CannotAudit(
                f"{self.source.where}: no checkpoint with a quorum of good cosignatures: nothing in it is certified"
            )
        return sorted(found, key=lambda judged: judged.size)

    def _stand(self, past: Past) -> Stand:
        """Raises CannotAudit unless the entries run through lead to a cosigned root."""
        size = past.size
        final = next(judged for judged in self.finals if judged.size >= size)
        read = reader_of(self.source)
        try:
            consistency = merkle.consistency_proof(size, final.size, read)
            inclusion = merkle.inclusion_proof(size - 1, final.size, read)
        except Lost as lost:
            raise CannotAudit(f"{self.source.where}: {lost.why}") from lost
        record = self._read(size - 1, 1)[0]
        leads = merkle.verify_consistency(size, final.size, past.root, final.root, consistency)
        holds = merkle.verify_inclusion(
            merkle.leaf_hash(record), size - 1, final.size, inclusion, final.root
        )
        if not (leads and holds):
            raise CannotAudit(
                f"{self.source.where}: its first {size} entries do not lead to the root that {', '.join(final.signers)}"
                f" cosigned at size {final.size}. `foedus audit` says which is wrong"
            )
        epoch = epoch_of_size(self.trust.epochs, final.size)
        later = epoch.number != epoch_of_size(self.trust.epochs, size).number
        if later:
            self._run_on(final)
        trusted = "named" if self._pinned else "that this copy holds itself: compare the ledger id"
        cosigners = f"{len(final.good)} cosignatures, by members of epoch {epoch.number}"
        if later:
            cosigners += ", whom the law seated after this moment: it was run on to there"
        members = self.trust.at(final.size).members
        return Stand(
            chain_id=chain_id(self._document).hex(),
            origin=self.genesis.origin,
            drill=self.genesis.drill,
            source=self.source.name,
            kind=self.source.kind,
            commit=past.index,
            time_s=past.time_ms // MS_PER_S,
            size=size,
            root=past.root.hex(),
            state_digest=past.sight(self._leaves).state_digest.hex(),
            commit_record=record.hex(),
            inclusion=tuple(part.hex() for part in inclusion),
            consistency=tuple(part.hex() for part in consistency),
            checkpoint=final.note(self.trust.at(final.size)),
            checkpoint_size=final.size,
            checkpoint_root=final.root.hex(),
            epoch=epoch.number,
            cosigned_by=final.signers,
            members=len(members),
            quorum=quorum_of(len(members)),
            cosigned_s=final.median_s,
            checked=(
                f"the signatures of {len(self.genesis.members)} founders under the genesis {trusted}",
                cosigners,
                f"{past.commits} commits of the law run again, each to the state digest in its record",
                "every entry's signatures, under the keys in force then",
                "that the entries made so lead to the cosigned root, and the commit record among them",
            ),
        )

    def _run_on(self, final: Judged) -> None:
        """From the start to the checkpoint: whoever cosigned it was seated by the law. Raises CannotAudit."""
        with SpilledFacts() as facts:
            again = Past(
                self.genesis,
                self._document,
                facts,
                self._read,
                final.size,
                known=nothing_known,
                on_plan=facts.write,
            )
            self._run(again, Moment())
            if (again.size, again.root) != (final.size, final.root):
                raise CannotAudit(
                    f"{self.source.where}: the law gives another log than the one cosigned at size {final.size}"
                )

    def _refuse(self, findings: Findings) -> None:
        if len(findings):
            raise CannotAudit(f"{self.source.where}: {findings.all()[0].what}")


class _DerivedLeaves(Leaves):
    """Where derived records stand, by type, as the run came by them; entries are the copy's."""

    def __init__(self, source: Copied) -> None:
        self._source = source
        self._at: dict[str, list[int]] = {}

    def take(self, plan: AppendPlan) -> None:
        for index, appended in enumerate(plan.leaves, start=plan.first):
            if appended.derived is not None:
                self._at.setdefault(TYPE_OF[type(appended.derived)], []).append(index)

    def list_indexes(
        self, *, kind: str | None = None, first: int = 0, end: int | None = None, limit: int = 100
    ) -> list[int]:
        assert kind is not None, "questions ask for one type of record"
        found = self._at.get(kind, [])
        start = bisect_left(found, first)
        stop = len(found) if end is None else bisect_left(found, end)
        return found[start : min(stop, start + limit)]

    def entries(self, first: int, count: int) -> list[bytes]:
        try:
            return self._source.entries(first, count)
        except Lost as lost:
            raise CannotAudit(f"{self._source.where}: entry {first}: {lost.why}") from lost

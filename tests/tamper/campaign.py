"""A seeded campaign against what nodes keep: every tamper is found, its place is named, and nobody honest is blamed.

    python -m tests.tamper --tampers 10000 --seed 1 [--seconds 3600] [--json]

Targets are archives and homes of one history across three ends of epochs (`world`), some with commits that were taken over.
Tampers are by nobody in particular (`archives`, `stores`), or by up to f members of an epoch with all keys they ever had
(`colluders`). Half of those on archives are brought into line with the manifests, as a careful forger would.

Each is looked for at the cheapest depth first, then deeper: `found_at` counts which one saw it. `void`: no reader is given
another byte (RULINGS R55), or all that differs is what honest nodes may hold otherwise: a line of a certificate less while a
quorum stays, no ML-DSA line, other deciders that decide the same, or none of a commit that can be taken over, no newest
link of policies (R56, R43). Whoever has signed two things by keys in force is named once an honest copy stands
beside; `unnamed` is who is not.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from consensus.committee import quorum_of
from node.audit.archive import CHECKPOINT, MANIFEST, POLICIES, SIGNATURES_MANIFEST, UNDECIDED
from node.audit.audit import audit_sources
from node.audit.findings import AuditReport, Depth, Finding, Verdict
from node.audit.source import CannotAudit
from node.ledger.policy_chain import BrokenChain, parse_links
from node.log.errors import MalformedInput
from node.log.note import parse_note
from node.log.proof import parse_proof
from tests.tamper.archives import DECIDERS, ArchiveTampers, starts_of
from tests.tamper.colluders import Colluders
from tests.tamper.folder import Folder
from tests.tamper.places import has_place
from tests.tamper.stores import StoreTampers
from tests.tamper.world import World
from tests.unit.audit.history import clone
from tests.unit.audit.test_altered_archives import reseal

DEPTHS: Final = (Depth.PARSE, Depth.CERTIFICATES, Depth.ORDER, Depth.LAW)
STORE_SHARE: Final = 8  # one tamper of so many is on a store: opening a database takes long
COLLUDE_SHARE: Final = 5
MANIFESTS: Final = (MANIFEST, SIGNATURES_MANIFEST)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a campaign came to."""

    tampers: int = 0
    void: int = 0
    found_at: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)  # spent on each kind
    missed: list[str] = field(default_factory=list)
    blamed: list[str] = field(default_factory=list)  # where somebody honest was
    placeless: list[str] = field(default_factory=list)  # found, and nothing said where
    unnamed: list[str] = field(default_factory=list)  # liars whose signatures show it
    provable: int = 0
    liars_named: int = 0

    @property
    def good(self) -> bool:
        return not (self.missed or self.blamed or self.placeless or self.unnamed)


@dataclass(slots=True, kw_only=True)
class _Target:
    """An archive and what is done to it."""

    folder: Folder
    tampers: ArchiveTampers
    colluders: Colluders


class Campaign:
    """One world, tampered with again and again; after each tamper everything is put back."""

    def __init__(self, world: World, folder: Path, seed: int) -> None:
        self._world = world
        self._draw = random.Random(seed)
        self._pinned = world.weave.founding.document
        self._targets = [self._target(folder, name) for name in ("CN", "taken")]
        older = Folder(clone(world.older, folder / "older"))
        self._homes = []
        for name in ("CN", "taken"):
            home = Folder(clone(world.homes[name], folder / f"home-{name}"))
            self._homes.append((home, StoreTampers(world, home, older, self._draw)))
            home.restore()
        self.depths: tuple[Depth, ...] = DEPTHS
        self.outcome = Outcome()

    def _target(self, folder: Path, name: str) -> _Target:
        held = Folder(clone(self._world.archives[name], folder / f"archive-{name}"))
        older = [self._world.archives[age] for age in ("first", "third")]
        tampers = ArchiveTampers(self._world, held, older, self._draw)
        colluders = Colluders(self._world, held, tampers, self._draw)
        return _Target(folder=held, tampers=tampers, colluders=colluders)

    def run(self, tampers: int, until: float) -> Outcome:
        """So many, or as many as there is time for (`until`: by the monotonic clock)."""
        for number in range(tampers):
            started = time.monotonic()
            if started > until:
                break
            if number % STORE_SHARE == STORE_SHARE - 1:
                kind = self._tamper_store()
            elif number % COLLUDE_SHARE == COLLUDE_SHARE - 1:
                kind = self._collude()
            else:
                kind = self._tamper_archive()
            self.outcome.kinds[kind] += 1
            self.outcome.seconds[kind] += time.monotonic() - started  # type: ignore[assignment]
        return self.outcome

    # Archives

    def _tamper_archive(self) -> str:
        target = self._draw.choice(self._targets)
        tamper = self._draw.choice(target.tampers.all)
        kind = tamper.__name__
        what = tamper()
        if what is None:
            return kind
        sealed = self._draw.random() < 0.5 and self._manifests_stand(target.folder)
        if sealed:
            reseal(target.folder.path)
        name = f"{kind}{' sealed' if sealed else ''}: {what} ({target.folder.path.name})"
        if target.folder.held() == target.folder.whole:
            self.outcome.void += 1
        else:
            self._look(name, target.folder.path, lambda: self._is_honest(target.folder))
        target.folder.restore()
        return kind

    def _manifests_stand(self, folder: Folder) -> bool:
        """What was tampered with is not a manifest: else bringing it into line would undo it, or cannot be done."""
        held = folder.held()
        return all(held.get(name) == folder.whole[name] for name in MANIFESTS)

    def _collude(self) -> str:
        target = self._draw.choice(self._targets)
        collude = self._draw.choice(target.colluders.all)
        done = collude()
        reseal(target.folder.path)
        name = f"{collude.__name__}: {done.what} ({target.folder.path.name})"
        self._look(name, target.folder.path, lambda: False, done.liars)
        self._named(name, target.folder.path, done.liars, done.provable)
        target.folder.restore()
        return collude.__name__

    # Stores

    def _tamper_store(self) -> str:
        home, tampers = self._draw.choice(self._homes)
        tamper = self._draw.choice(tampers.all)
        done = tamper()
        name = f"store {tamper.__name__}: {done.what} ({home.path.name})"
        self._look(name, home.path, tampers.is_honest, done.liars, deepest=Depth.STORE)
        home.restore()
        return f"store {tamper.__name__}"

    # Looking for it

    def _look(
        self,
        name: str,
        source: Path,
        is_honest: Callable[[], bool],
        liars: frozenset[str] = frozenset(),
        deepest: Depth = Depth.LAW,
    ) -> None:
        """At one depth after another, until it is found."""
        self.outcome.tampers += 1
        # Of a store the deepest look comes third: it opens the database each time, and tells at what depth each thing was seen.
        depths = self.depths if deepest is Depth.LAW else (*self.depths[:2], deepest)
        for depth in depths:
            try:
                report = self._audit([source], depth)
            except CannotAudit:
                self.outcome.found_at["cannot be read at all"] += 1
                return
            except Exception as err:  # noqa: BLE001 - an audit that ends by an error has said nothing
                self.outcome.missed.append(f"{name}: {type(err).__name__} {err}")
                return
            self._judge_blame(name, report, liars)
            if report.verdict is Verdict.INCONSISTENT:
                self.outcome.found_at[_cheapest(report, depth).value] += 1
                if not all(finding.source and has_place(finding) for finding in report.findings):
                    self.outcome.placeless.append(name)
                return
        if is_honest():
            self.outcome.tampers -= 1
            self.outcome.void += 1
            return
        self.outcome.missed.append(name)

    def _audit(self, sources: list[Path], depth: Depth) -> AuditReport:
        return audit_sources(
            [str(source) for source in sources],
            pinned=self._pinned,
            depth=depth,
            threads=0,
            processes=1,
        )

    def _named(
        self, name: str, source: Path, liars: frozenset[str], provable: frozenset[str]
    ) -> None:
        """Beside an honest copy everybody is named whose signatures show it, and nobody who did nothing."""
        if not provable:
            return
        depth = Depth.ORDER if "block" in name else Depth.CERTIFICATES
        report = self._audit([source, self._world.archives["US"]], depth)
        self._judge_blame(f"{name}, beside an honest copy", report, liars)
        self.outcome.provable += 1
        if provable <= _accused(report):
            self.outcome.liars_named += 1
        else:
            self.outcome.unnamed.append(name)

    def _judge_blame(self, name: str, report: AuditReport, liars: frozenset[str]) -> None:
        honest = _accused(report) - liars
        if honest:
            self.outcome.blamed.append(f"{name}: {', '.join(sorted(honest))}")

    def _is_honest(self, folder: Folder) -> bool:
        """All that is missing is what honest nodes' archives may lack, beside what the manifest covers."""
        held, whole = folder.held(), folder.whole
        if set(held) != set(whole):
            return False
        changed = {name for name in held if held[name] != whole[name]} - {SIGNATURES_MANIFEST}
        judges: dict[str, Callable[[bytes, bytes], bool]] = {
            CHECKPOINT: self._lacks_lines,
            POLICIES: self._lacks_links,
            DECIDERS: _other_deciders,
            UNDECIDED: lambda _, __: DECIDERS in changed,
        }
        return all(name in judges and judges[name](held[name], whole[name]) for name in changed)

    def _lacks_lines(self, held: bytes, whole: bytes) -> bool:
        try:
            now, before = parse_note(held), parse_note(whole)
        except MalformedInput:
            return False
        kept = [line for line in before.lines if line in now.lines]
        size = int(before.text.split(b"\n")[1])
        epoch = self._world.epoch_at(size)
        cosigners = [f"{self._world.genesis.origin}/cosigner/{m.state}" for m in epoch.members]
        many = sum(line.name in cosigners for line in now.lines)
        return (
            now.text == before.text
            and list(now.lines) == kept
            and many >= quorum_of(len(epoch.members))
        )

    def _lacks_links(self, held: bytes, whole: bytes) -> bool:
        """The newest ones; or lines under one of them."""
        try:
            now, before = parse_links(held), parse_links(whole)
            for one, other in zip(now, before, strict=False):
                mine, theirs = parse_proof(one.proof), parse_proof(other.proof)
                if (mine.index, mine.hashes, mine.extra, one.policy) != (
                    *(theirs.index, theirs.hashes, theirs.extra),
                    other.policy,
                ) or not self._lacks_lines(mine.note, theirs.note):
                    return False
        except (BrokenChain, MalformedInput):
            return False
        return len(now) <= len(before)


def _other_deciders(held: bytes, whole: bytes) -> bool:
    """As many commits; the audit has shown that what is named decides them, or that later ones do."""
    return len(starts_of(held)) == len(starts_of(whole))


def _cheapest(report: AuditReport, looked: Depth) -> Depth:
    """Which of the depths that this look added has seen it first."""
    order = list(Depth)
    found = [finding.depth for finding in report.findings if finding.depth in order]
    return min((*found, looked), key=order.index)


def _accused(report: AuditReport) -> set[str]:
    found: tuple[Finding, ...] = (*report.findings, *report.misdeeds)
    return {state for finding in found for state in finding.accused}

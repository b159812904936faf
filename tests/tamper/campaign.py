"""A seeded campaign against what nodes keep: every tamper is found, its place is named, and nobody honest is blamed.

    python -m tests.tamper --tampers 10000 --seed 1 [--seconds 3600] [--json]

Targets are archives and homes of histories across three ends of epochs (`world`), some with commits that were taken over; one
history fits into a tile and a range of commits, one tamper in LONG_SHARE is on one that does not. Tampers are by nobody in
particular (`archives`, `tiles`, `foreign`, `stores`, `receipts`), or by up to f members of an epoch with all keys they ever
had (`colluders`). Half of those on archives are brought into line with the manifests, as a careful forger would.

At which depth each must be found is fixed before it is looked for (`depths`), and that is where the audit is run: `late` is what
only a deeper look finds; `found_at` counts the cheapest depth that saw anything. `void`: no reader is given another byte
(RULINGS R55), or all that differs is what honest nodes may hold otherwise: a line of a certificate less while a quorum
stays, no ML-DSA line, other deciders that decide the same, or none of a commit that can be taken over, no newest link of
policies, another good signature of a block (R56, R43): `alarms` is where that last one was held to be wrong. Whoever
has signed two things by keys in force is named once an honest copy stands beside, and `foedus-verify` confirms what is
written down against it: `unnamed` and `unconfirmed` are what is not so.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from node.audit.archive import (
    FORMAT,
    MANIFEST,
    MANIFEST_FIELDS,
    SIGNATURES_MANIFEST,
    parse_manifest,
)
from node.audit.audit import audit_sources
from node.audit.blame import evidence_documents
from node.audit.findings import ML_DSA_LINES, AuditReport, Depth, Finding, Verdict
from node.audit.source import CannotAudit, Lost
from tests.tamper.archives import ArchiveTampers, Tamper
from tests.tamper.colluders import Colluders
from tests.tamper.depths import Files, of_archive
from tests.tamper.folder import Folder
from tests.tamper.foreign import ForeignTampers
from tests.tamper.honesty import Honesty
from tests.tamper.outsider import believes, must_refuse, refuses
from tests.tamper.places import has_place
from tests.tamper.receipts import ReceiptTampers
from tests.tamper.stores import StoreTampers
from tests.tamper.tiles import TileTampers
from tests.tamper.world import OLDER, World
from tests.unit.audit.history import clone
from tests.unit.audit.test_altered_archives import reseal

STORE_SHARE: Final = 12  # one tamper of so many is on a store: opening a database takes long
COLLUDE_SHARE: Final = 5
RECEIPT_SHARE: Final = 19
OUTSIDER_SHARE: Final = 6  # of tampers with archives that `foedus-verify` must refuse
BESIDE_SHARE: Final = (
    25  # of tampers with archives: whom a copy beside makes the audit accuse is asked too
)
LONG_ONLY_SHARE: Final = 4  # of the tampers that the short history gives no occasion for
LONG_SHARE: Final = 20  # of archives and of stores: to read that history takes ten times as long


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a campaign came to."""

    tampers: int = 0
    void: int = 0
    found_at: Counter[str] = field(default_factory=Counter)
    expected_at: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)  # spent on each kind
    missed: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)  # found deeper than it must be
    alarms: list[str] = field(default_factory=list)  # honest, and held to be wrong
    blamed: list[str] = field(default_factory=list)  # where somebody honest was
    placeless: list[str] = field(default_factory=list)  # found, and nothing said where
    unnamed: list[str] = field(default_factory=list)  # liars whose signatures show it
    unconfirmed: list[str] = field(
        default_factory=list
    )  # evidence that the outsider's program refuses
    evidence: int = 0  # files of it that it confirms
    outsider: int = 0  # tampers with archives that `foedus-verify` must refuse, and was asked about
    beside: int = 0  # tampers by nobody that were looked at beside an honest copy too
    provable: int = 0
    liars_named: int = 0

    @property
    def good(self) -> bool:
        wrong = (self.missed, self.late, self.alarms, self.blamed, self.placeless)
        return not any((*wrong, self.unnamed, self.unconfirmed))


@dataclass(slots=True, kw_only=True)
class _Target:
    """An archive and what is done to it."""

    world: World
    folder: Folder
    tampers: tuple[Tamper, ...]
    colluders: Colluders
    receipts: ReceiptTampers
    references: tuple[Files, ...]  # what it may be taken for


@dataclass(slots=True, kw_only=True)
class _Home:
    """A store and what is done to it."""

    world: World
    folder: Folder
    tampers: StoreTampers


class Campaign:
    """Worlds, tampered with again and again; after each tamper everything is put back."""

    def __init__(self, worlds: Sequence[World], folder: Path, seed: int) -> None:
        """`worlds`: the short one first, then, if one is wanted, the long one."""
        self._draw = random.Random(seed)
        self._targets: list[list[_Target]] = []
        self._homes: list[list[_Home]] = []
        for world in worlds:
            within = folder / str(len(self._targets))
            self._targets.append([self._target(world, within, name) for name in ("CN", "taken")])
            self._homes.append(self._homes_of(world, within))
        self.only: Depth | None = None  # what is looked at, whatever must be found where
        self.outcome = Outcome()
        for targets, homes in zip(self._targets, self._homes, strict=True):
            for target in targets:
                self._must_stand(target.world, target.folder)
            for home in homes:
                self._must_stand(home.world, home.folder)

    def _must_stand(self, world: World, folder: Folder) -> None:
        """Else whatever is tampered with there would be found, by what was wrong before."""
        report = self._audit(world, [folder.path], Depth.STORE)
        found = [str(finding) for finding in report.findings]
        assert report.verdict is Verdict.CONSISTENT, f"before any tamper: {found}"
        folder.restore()

    def _target(self, world: World, folder: Path, name: str) -> _Target:
        draw = self._draw
        held = Folder(clone(world.archives[name], folder / f"archive-{name}"))
        older = [world.archives[age] for age in OLDER if age in world.archives]
        archive = ArchiveTampers(world, held, older, draw)
        tiles = TileTampers(held, world.size, older, draw)
        foreign = ForeignTampers(world, held, archive, world.others, older, draw)
        return _Target(
            world=world,
            folder=held,
            tampers=(*archive.all, *tiles.all, *foreign.all),
            colluders=Colluders(world, held, archive, draw),
            receipts=ReceiptTampers(world, held, draw),
            references=(held.whole, *(Folder(path).whole for path in older)),
        )

    def _homes_of(self, world: World, folder: Path) -> list[_Home]:
        older = Folder(clone(world.older, folder / "older"))
        other = Folder(world.homes["US"])
        made = []
        for name in ("CN", "taken"):
            home = Folder(clone(world.homes[name], folder / f"home-{name}"))
            tampers = StoreTampers(world, home, older, other, self._draw)
            made.append(_Home(world=world, folder=home, tampers=tampers))
            home.restore()
        return made

    def run(self, tampers: int, until: float) -> Outcome:
        """So many that are none of `void`, or as many as there is time for (`until`: by the monotonic clock)."""
        for number in count():
            started = time.monotonic()
            if started > until or self.outcome.tampers >= tampers:
                break
            if number % STORE_SHARE == STORE_SHARE - 1:
                kind = self._tamper_store()
            elif number % COLLUDE_SHARE == COLLUDE_SHARE - 1:
                kind = self._collude()
            elif number % RECEIPT_SHARE == RECEIPT_SHARE - 1:
                kind = self._tamper_receipt()
            else:
                kind = self._tamper_archive()
            self.outcome.kinds[kind] += 1
            self.outcome.seconds[kind] += time.monotonic() - started  # type: ignore[assignment]
        return self.outcome

    def _world(self) -> int:
        """Which one: mostly the short one."""
        return min(len(self._targets) - 1, int(self._draw.randrange(LONG_SHARE) == 0))

    # Archives

    def _tamper_archive(self) -> str:
        target = self._draw.choice(self._targets[self._world()])
        tamper = self._draw.choice(target.tampers)
        kind = tamper.__name__
        what = tamper()
        if what is None and self._draw.randrange(LONG_ONLY_SHARE) == 0:
            target = self._draw.choice(self._targets[-1])
            what = next(each for each in target.tampers if each.__name__ == kind)()
        if what is None:
            return kind
        sealed = self._draw.random() < 0.5 and self._manifests_stand(target.folder)
        if sealed:
            reseal(target.folder.path)
        name = f"{kind}{' sealed' if sealed else ''}: {what} ({target.folder.path})"
        held = target.folder.held()
        if held == target.folder.whole:
            self.outcome.void += 1
        elif sealed and kind == "spelt_otherwise":
            self._look_honest(name, target.world, target.folder.path)
        else:
            honesty = Honesty(target.world, target.folder.whole)
            depth = of_archive(
                held, target.references, sealed=sealed, excused=honesty.excused(held)
            )
            self._look(
                name, target.world, target.folder.path, depth, lambda: sealed and honesty.of(held)
            )
            asked = must_refuse(held, target.references, sealed=sealed)
            if asked and self._draw.randrange(OUTSIDER_SHARE) == 0:
                self.outcome.outsider += 1
                if believes(target.world, target.folder.path):
                    self.outcome.missed.append(f"{name}, by foedus-verify")
            if self._draw.randrange(BESIDE_SHARE) == 0:
                self._look_beside(name, target.world, target.folder.path)
        target.folder.restore()
        return kind

    def _manifests_stand(self, folder: Folder) -> bool:
        """They list what they did: else bringing them into line would undo what was tampered with, or cannot be done."""
        held = folder.held()
        if held.get(SIGNATURES_MANIFEST) != folder.whole[SIGNATURES_MANIFEST]:
            return False
        try:
            listed = parse_manifest(held[MANIFEST], FORMAT, MANIFEST_FIELDS).files
        except (KeyError, Lost):
            return False
        return listed == parse_manifest(folder.whole[MANIFEST], FORMAT, MANIFEST_FIELDS).files

    def _collude(self) -> str:
        target = self._draw.choice(self._targets[self._world()])
        collude = self._draw.choice(target.colluders.all)
        done = collude()
        reseal(target.folder.path)
        name = f"{collude.__name__}: {done.what} ({target.folder.path})"
        depth = done.depth or of_archive(target.folder.held(), target.references, sealed=True)
        self._look(name, target.world, target.folder.path, depth, lambda: False, done.liars)
        self._named(name, target.world, target.folder.path, done.liars, done.provable)
        target.folder.restore()
        return collude.__name__

    def _tamper_receipt(self) -> str:
        target = self._draw.choice(self._targets[self._world()])
        tamper = self._draw.choice((target.receipts.tlog, target.receipts.cose))
        judged = tamper()
        if judged.true:
            self.outcome.void += 1
        else:
            self.outcome.tampers += 1
            self.outcome.found_at["by the receipt's reader"] += 1 - bool(judged.believed_by)
            self.outcome.missed += [f"{judged.what}, by {who}" for who in judged.believed_by]
        return f"receipt {tamper.__name__}"

    # Stores

    def _tamper_store(self) -> str:
        home = self._draw.choice(self._homes[self._world()])
        tamper = self._draw.choice(home.tampers.all)
        done = tamper()
        name = f"store {tamper.__name__}: {done.what} ({home.folder.path})"
        self._look(
            *(name, home.world, home.folder.path, done.depth, home.tampers.is_honest, done.liars),
            deepest=Depth.STORE,
        )
        home.folder.restore()
        return f"store {tamper.__name__}"

    # Looking for it

    def _look(
        self,
        name: str,
        world: World,
        source: Path,
        expected: Depth,
        is_honest: Callable[[], bool],
        liars: frozenset[str] = frozenset(),
        deepest: Depth = Depth.LAW,
    ) -> None:
        """At the depth where it must be found; if it is not, as deep as one can."""
        self.outcome.tampers += 1
        depths = dict.fromkeys((self.only,) if self.only else (expected, deepest))
        for depth in depths:
            try:
                report = self._audit(world, [source], depth)
            except CannotAudit:
                self.outcome.found_at["cannot be read at all"] += 1
                self.outcome.expected_at[expected.value] += 1
                return
            except Exception as err:  # noqa: BLE001 - an audit that ends by an error has said nothing
                self.outcome.missed.append(f"{name}: {type(err).__name__} {err}")
                return
            self._judge_blame(name, report, liars)
            if report.verdict is Verdict.INCONSISTENT:
                self._found(name, report, depth, expected)
                return
        if is_honest():
            self.outcome.tampers -= 1
            self.outcome.void += 1
            return
        self.outcome.missed.append(name)

    def _found(self, name: str, report: AuditReport, depth: Depth, expected: Depth) -> None:
        self.outcome.expected_at[expected.value] += 1
        self.outcome.found_at[_cheapest(report, depth).value] += 1
        nowhere = [f for f in report.findings if not (f.source and has_place(f))]
        if nowhere:
            self.outcome.placeless.append(f"{name}: {nowhere[0]}")
        if depth is not expected and self.only is None:
            told = report.findings[0]
            self.outcome.late.append(f"{name}: not at {expected.value}, but {told.depth}: {told}")

    def _look_honest(self, name: str, world: World, source: Path) -> None:
        """What an honest node may hold is not held against it, and accuses nobody."""
        self.outcome.void += 1
        report = self._audit(world, [source], Depth.ORDER)
        self._judge_blame(name, report, frozenset())
        if report.verdict is not Verdict.CONSISTENT:
            self.outcome.alarms.append(name)

    def _look_beside(self, name: str, world: World, source: Path) -> None:
        """Two copies that differ accuse nobody, where nobody has signed both."""
        try:
            report = self._audit(world, [source, world.archives["US"]], Depth.ORDER)
        except CannotAudit:
            return  # of another ledger
        self.outcome.beside += 1
        self._judge_blame(f"{name}, beside an honest copy", report, frozenset())

    def _audit(self, world: World, sources: list[Path], depth: Depth) -> AuditReport:
        return audit_sources(
            [str(source) for source in sources],
            pinned=world.weave.founding.document,
            depth=depth,
            threads=0,
            processes=1,
        )

    def _named(
        self,
        name: str,
        world: World,
        source: Path,
        liars: frozenset[str],
        provable: frozenset[str],
    ) -> None:
        """Beside an honest copy everybody is named whose signatures show it, and nobody who did nothing."""
        if not provable:
            return
        depth = Depth.ORDER if "block" in name else Depth.CERTIFICATES
        report = self._audit(world, [source, world.archives["US"]], depth)
        self._judge_blame(f"{name}, beside an honest copy", report, liars)
        self._confirmed(name, report)
        self.outcome.provable += 1
        if provable <= _accused(report):
            self.outcome.liars_named += 1
        else:
            self.outcome.unnamed.append(name)

    def _confirmed(self, name: str, report: AuditReport) -> None:
        """What is written down against somebody is confirmed by the outsider's program; it has no ML-DSA-44."""
        for document in evidence_documents(report, report.genesis):
            if document.get("lines") == ML_DSA_LINES:
                continue
            why = refuses(document)
            if why:
                what = f"{name}: {document['kind']} against {document['accused']}: {why}"
                self.outcome.unconfirmed.append(what)
            else:
                self.outcome.evidence += 1

    def _judge_blame(self, name: str, report: AuditReport, liars: frozenset[str]) -> None:
        honest = _accused(report) - liars
        if honest:
            self.outcome.blamed.append(f"{name}: {', '.join(sorted(honest))}")


def _cheapest(report: AuditReport, looked: Depth) -> Depth:
    """Which of the depths that this look added has seen it first."""
    order = list(Depth)
    found = [finding.depth for finding in report.findings if finding.depth in order]
    return min((*found, looked), key=order.index)


def _accused(report: AuditReport) -> set[str]:
    found: tuple[Finding, ...] = (*report.findings, *report.misdeeds)
    return {state for finding in found for state in finding.accused}

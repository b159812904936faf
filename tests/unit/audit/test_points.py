"""A replay interrupted in the middle of a copy: it goes on from a point, and the report is the one of a run without interruption.

Points are made due after every commit, and each is set aside as it is written: so a run can be begun again from any of them.
"""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from consensus.codec import decode_commit_record
from consensus.types import CommitIndex, Digest
from node.audit import apart, points
from node.audit.archive import UNDECIDED, ArchiveSource, framed
from node.audit.audit import audit_sources
from node.audit.export import export_home
from node.audit.facts import SpilledFacts
from node.audit.findings import AuditReport, Depth, Verdict
from node.audit.order import OrderReplay
from node.audit.ordered import Ordered, OrderStand
from node.audit.points import Journal, Keeping, decode_point, encode_point, facts_before
from node.audit.source import CannotAudit
from node.ledger.plan import Appended, MemoryFacts
from node.storage.files import OsFiles
from node.treaty.entries import EntryFacts
from tests.tamper.world import World as EpochWorld
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, flip, live, weave
from tests.unit.audit.test_altered_archives import reseal

TAKEN_UP = re.compile(r"; up to entry \d+ in an earlier run")
SAMPLE = 4  # points of a history that a run is begun from


class Interrupted(BaseException):
    """As by a signal: nothing catches it on its way."""


@dataclass
class Desk:
    """The auditor's file, what is written beside it, and what he is told."""

    file: Path
    aside: Path
    kept: list[Path] = field(default_factory=list)  # the points set aside, in order
    notes: list[str] = field(default_factory=list)
    stop_after: int | None = None  # points of one run
    first: list[int] = field(default_factory=list)  # commits at which runs began

    def audit(self, archive: Path, depth: Depth = Depth.LAW) -> AuditReport:
        self.notes = []
        return audit_sources(
            [str(archive)], processes=1, depth=depth, resume=self.file, note=self.notes.append
        )

    def interrupted(self, archive: Path, after: int) -> None:
        """A run that ends when it has kept so many points."""
        self.stop_after = len(self.kept) + after
        with pytest.raises(Interrupted):
            self.audit(archive)
        self.stop_after = None

    @property
    def folder(self) -> Path:
        return self.file.with_name(self.file.name + ".points")

    def put_back(self, point: Path) -> None:
        """As an interruption right after this point would have left it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(point, self.folder)
        self.file.unlink(missing_ok=True)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path / "state", tmp_path / "aside")
    keep = Keeping._keep
    follow = OrderReplay.commits

    def kept(keeping: Keeping, *rest: object) -> None:
        keep(keeping, *rest)  # type: ignore[arg-type]
        aside = desk.aside / str(len(desk.kept))
        shutil.copytree(desk.folder, aside, ignore=shutil.ignore_patterns("lock"))
        desk.kept.append(aside)
        if len(desk.kept) == desk.stop_after:
            raise Interrupted

    def followed(order: OrderReplay, last: int) -> Iterator[Ordered]:
        desk.first.append(order.last + 1)
        return follow(order, last)

    monkeypatch.setattr(points, "EVERY_S", 0.0)
    monkeypatch.setattr(points, "COST_SHARE", 0)
    monkeypatch.setattr(Keeping, "_keep", kept)
    monkeypatch.setattr(OrderReplay, "commits", followed)
    return desk


def said(report: AuditReport) -> object:
    """The report, but for what it says about an earlier run."""
    text = json.dumps([report.as_json(), [finding.as_json() for finding in report.misdeeds]])
    return json.loads(TAKEN_UP.sub("", text))


def how_far(report: AuditReport) -> str:
    return report.sources[0].checked[Depth.LAW].how_far


def sample(kept: list[Path]) -> list[Path]:
    """The first, the last, and some between them."""
    return kept[:: max(1, len(kept) // SAMPLE)] + kept[-1:]


def commit_of(aside: Path) -> int:
    """Where a point set aside stands."""
    (path,) = aside.glob("*.point")
    return decode_point(path.read_bytes(), {}).order.index


# --- the same report -----------------------------------------------------------------------------


def test_from_any_point_the_report_is_the_same(world: World, desk: Desk) -> None:
    archive = world.exports["CN"]
    whole = desk.audit(archive)
    assert whole.verdict is Verdict.CONSISTENT
    assert len(desk.kept) > SAMPLE
    for point in sample(list(desk.kept)):
        desk.put_back(point)
        again = desk.audit(archive)
        assert said(again) == said(whole)
        assert TAKEN_UP.search(how_far(again))
        assert desk.first[-1] > 1
        assert desk.notes == []
    assert not desk.folder.exists(), "a copy that is done leaves no points"


@pytest.mark.parametrize("name", ["CN", "taken"])
def test_across_ends_of_epochs(epochs: EpochWorld, desk: Desk, name: str) -> None:
    """New members, double signers, commits taken over on a certificate, and an index that is asked for what came before."""
    archive = epochs.archives[name]
    whole = desk.audit(archive)
    by_commit = {commit_of(point): point for point in desk.kept}
    assert len(epochs.epochs) > 2
    for epoch in epochs.epochs[1:]:
        end = epoch.after_commit
        assert end in by_commit
        for commit in (end, min(at for at in by_commit if at > end)):
            desk.put_back(by_commit[commit])
            assert said(desk.audit(archive)) == said(whole)
            assert desk.notes == []
            assert desk.first[-1] == commit + 1


def test_who_signed_twice_is_named_again(world: World, desk: Desk, tmp_path: Path) -> None:
    made = weave(equivocate=True, founding=world.weave.founding)
    export_home(asyncio.run(live(made, tmp_path / "GB", "CN")), tmp_path / "archive")
    whole = desk.audit(tmp_path / "archive")
    assert [misdeed.accused for misdeed in whole.misdeeds] == [("GB",)]
    desk.put_back(desk.kept[-1])
    again = desk.audit(tmp_path / "archive")
    assert TAKEN_UP.search(how_far(again))
    assert again.misdeeds == whole.misdeeds
    assert said(again) == said(whole)


def test_interrupted_again_and_again(world: World, desk: Desk) -> None:
    archive = world.exports["CN"]
    whole = audit_sources([str(archive)], processes=1, depth=Depth.LAW)
    for after in (1, 2, 1, 3):
        desk.interrupted(archive, after)
    assert desk.first[1:] == sorted(desk.first[1:])
    assert said(desk.audit(archive)) == said(whole)


def test_in_processes_as_here(world: World, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two copies, each in a process of its own: one goes on from a point, and the other begins."""
    one, two = world.exports["CN"], world.exports["US"]
    whole = audit_sources([str(one), str(two)], processes=1, depth=Depth.LAW)
    desk.interrupted(one, 2)
    monkeypatch.setattr(apart, "WORTH_PROCESSES", 0)
    again = audit_sources([str(one), str(two)], processes=2, depth=Depth.LAW, resume=desk.file)
    assert said(again) == said(whole)
    assert [bool(TAKEN_UP.search(s.checked[Depth.LAW].how_far)) for s in again.sources] == [
        True,
        False,
    ]


def test_the_index_of_before_answers_as_one_in_memory(tmp_path: Path) -> None:
    facts = [
        EntryFacts(
            entry_hash=number.to_bytes(32, "big"),
            leaf=number,
            author=f"op{number % 3}",
            seq=number // 6,  # each seq is used twice: the first counts
            kind="energy",
            topic=f"energy:{number % 2}",
            code="EQUIVOCATION" if number % 6 >= 3 else "",
            content_hash=(1000 + number % 50).to_bytes(32, "big"),
            time_s=number,
        )
        for number in range(60)
    ]
    journal = Journal(tmp_path / "facts")
    journal.open()
    memory = MemoryFacts()
    for one in facts:
        memory.add(one)
    for first in range(0, 40, 8):
        journal.add(_Plan(facts[first : first + 8]))  # type: ignore[arg-type] # all that it asks for
    length, _ = journal.synced()
    journal.add(_Plan(facts[40:50]))  # type: ignore[arg-type] # past the point: written, and cut off again
    journal.synced()
    journal.close()
    with SpilledFacts(7, earlier=lambda: facts_before(journal.path, length)) as taken:
        for one in facts[40:]:
            taken.add(one)
        for asked in facts:
            assert taken.get(asked.entry_hash) == memory.get(asked.entry_hash)
            assert taken.by_content(asked.content_hash) == memory.by_content(asked.content_hash)
            assert taken.at_seq(asked.author, asked.seq) == memory.at_seq(asked.author, asked.seq)
        assert taken.get(bytes(31) + b"\xff") is None


class _Plan:
    """As much of a plan as the journal looks at."""

    def __init__(self, facts: list[EntryFacts]) -> None:
        self.leaves = [Appended(leaf=b"", facts=one) for one in facts]


# --- something is wrong --------------------------------------------------------------------------


def test_findings_after_the_point_are_those_of_a_whole_run(
    world: World, desk: Desk, tmp_path: Path
) -> None:
    """A block's signature near the end is another one. Whoever goes on finds it, and runs the copy from its start."""
    archive = clone(world.exports["CN"], tmp_path / "archive")
    (signatures,) = (archive / "signatures").glob("*.blocks")
    signatures.write_bytes(flip(signatures.read_bytes(), signatures.stat().st_size - 70))
    reseal(archive)
    whole = audit_sources([str(archive)], processes=1, depth=Depth.LAW)
    assert whole.verdict is Verdict.INCONSISTENT
    desk.interrupted(archive, 4)
    again = desk.audit(archive)
    assert again.as_json() == whole.as_json()
    assert desk.first[-1] == 1
    assert len(desk.notes) == 1
    assert "audited from its start: " in desk.notes[0]


def test_findings_at_the_end_are_those_of_a_whole_run(
    world: World, desk: Desk, tmp_path: Path
) -> None:
    """Nothing stops the order: a block of the last commit stands among those that no commit holds as well."""
    archive = clone(world.exports["CN"], tmp_path / "archive")
    source = ArchiveSource.open(archive)
    assert source.last_commit is not None
    last = decode_commit_record(source.commit_record(source.last_commit)).commit
    names = sorted([*source.undecided(), last.blocks[-1]])
    (archive / UNDECIDED).write_bytes(b"".join(framed(source.block(ref)) for ref in names))
    reseal(archive)
    whole = audit_sources([str(archive)], processes=1, depth=Depth.LAW)
    assert [finding.file for finding in whole.findings] == [UNDECIDED]
    desk.interrupted(archive, 4)
    assert desk.audit(archive).as_json() == whole.as_json()
    assert desk.first[-2] > desk.first[-1] == 1
    assert "something is wrong further on" in desk.notes[0]


def test_no_point_is_kept_after_a_finding(world: World, desk: Desk, tmp_path: Path) -> None:
    archive = clone(world.exports["CN"], tmp_path / "archive")
    (entries,) = (archive / "commits").glob("*.commits")
    whole = desk.audit(archive)
    assert whole.verdict is Verdict.CONSISTENT
    many, desk.kept = len(desk.kept), []
    desk.file.unlink()
    entries.write_bytes(flip(entries.read_bytes(), entries.stat().st_size // 2))
    reseal(archive)
    assert desk.audit(archive).verdict is Verdict.INCONSISTENT
    assert len(desk.kept) < many


# --- what is not taken up ------------------------------------------------------------------------


def test_damage_anywhere_is_not_taken_up(world: World, desk: Desk) -> None:
    """One byte of the point or of the index beside it, wherever; or a part of either missing."""
    desk.interrupted(world.exports["CN"], 5)
    (point,) = desk.folder.glob("*.point")
    base, of = point.with_suffix(""), good_for(point.read_bytes())
    notes: list[str] = []
    with Keeping(base, of, notes.append) as keeping:
        assert keeping.take() is not None
    assert notes == []
    tried = 0
    for path in (point, base.with_suffix(".facts")):
        data = path.read_bytes()
        damaged = [flip(data, at) for at in range(0, len(data), 101)]
        for bad in [*damaged, data[:-1], data[: len(data) // 2], b""]:
            path.write_bytes(bad)
            with Keeping(base, of, notes.append) as keeping:
                assert keeping.take() is None
            tried += 1
        path.write_bytes(data)
    assert len(notes) == tried > 20
    assert all("audited from its start" in note for note in notes)


def test_half_a_point_is_none(world: World, desk: Desk) -> None:
    """Killed while a point was written: the one before is whole, and what was appended since is cut off."""
    archive = world.exports["CN"]
    desk.interrupted(archive, 3)
    (point,) = desk.folder.glob("*.point")
    point.with_suffix(".new").write_bytes(point.read_bytes()[:77])
    with point.with_suffix(".facts").open("ab") as facts:
        facts.write(b"begun and not ended")
    assert desk.audit(archive).verdict is Verdict.CONSISTENT
    assert desk.first[-1] > 1
    assert desk.notes == []
    assert not desk.folder.exists()


def good_for(point: bytes) -> dict[str, str]:
    """What the heading of a point says."""
    start = len(points.FORMAT) + 4
    heading = point[start : start + int.from_bytes(point[start - 4 : start], "big")]
    of: dict[str, str] = json.loads(heading)["of"]
    return of


@pytest.mark.parametrize("part", ["program", "ledger", "depth", "copy"])
def test_what_is_of_something_else_begins_anew(world: World, desk: Desk, part: str) -> None:
    archive = world.exports["CN"]
    desk.interrupted(archive, 3)
    (path,) = desk.folder.glob("*.point")
    data = path.read_bytes()
    path.write_bytes(encode_point(decode_point(data, {}), {**good_for(data), part: "other"}))
    whole = desk.audit(archive)
    assert whole.verdict is Verdict.CONSISTENT
    assert desk.first[-1] == 1
    assert f"it is of another {part}: other, and this is" in desk.notes[0]


def test_another_copy_put_at_the_same_place(world: World, desk: Desk, tmp_path: Path) -> None:
    archive = clone(world.exports["CN"], tmp_path / "archive")
    desk.interrupted(archive, 3)
    shutil.rmtree(archive)
    clone(world.exports["US"], archive)
    assert desk.audit(archive).verdict is Verdict.CONSISTENT
    assert desk.first[-1] == 1
    assert "it is of another copy" in desk.notes[0]


def altered(point: points.Point, what: str) -> points.Point:
    """A point that somebody made with care, so that its digests are good."""
    order = point.order
    match what:
        case "row":
            (key, value), *rest = point.rows
            return replace(point, rows=((key, value + b"\0"), *rest))
        case "row missing":
            return replace(point, rows=point.rows[1:])
        case "entries":
            return replace(point, entries=point.entries - 1)
        case "beyond":
            return replace(point, entries=point.entries + 100_000)
        case "commit":
            return replace(point, order=replace(order, index=CommitIndex(order.index - 1)))
        case "block missing":
            return replace(point, order=replace(order, accepted=order.accepted[1:]))
        case "block twice":
            return replace(
                point, order=replace(order, accepted=(*order.accepted, order.accepted[0]))
            )
        case "unknown block":
            first = order.accepted[0]._replace(digest=Digest(bytes(32)))
            return replace(point, order=replace(order, accepted=(first, *order.accepted[1:])))
    raise AssertionError(what)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("row", "its state is not the one that was cosigned"),
        ("row missing", "its state is not the one that was cosigned"),
        ("entries", "is not the record of its commit"),
        ("beyond", "are cosigned"),
        ("commit", "is not the record of its commit"),
        ("block missing", "do not rest on one another"),
        ("block twice", "do not rest on one another"),
        ("unknown block", "is not as it was"),
    ],
)
def test_what_can_be_checked_is_checked(world: World, desk: Desk, what: str, why: str) -> None:
    """With good digests all the same: state, place and blocks are held against the cosigned log."""
    archive = world.exports["CN"]
    whole = audit_sources([str(archive)], processes=1, depth=Depth.LAW)
    desk.interrupted(archive, 5)
    (path,) = desk.folder.glob("*.point")
    data = path.read_bytes()
    path.write_bytes(encode_point(altered(decode_point(data, {}), what), good_for(data)))
    assert desk.audit(archive).as_json() == whole.as_json()
    assert desk.first[-1] == 1
    assert why in desk.notes[0]


@pytest.mark.parametrize(
    ("part", "at", "why"),
    [
        ("signatures/*.blocks", 64 * 3, "a block before commit"),
        ("commits/*.commits", 30, "is not the one that the log has"),
    ],
)
def test_a_copy_altered_since(
    world: World, desk: Desk, tmp_path: Path, part: str, at: int, why: str
) -> None:
    """With manifests and point made to fit: what is built on is read and checked again."""
    archive = clone(world.exports["CN"], tmp_path / "archive")
    desk.interrupted(archive, 5)
    (path,) = archive.glob(part)
    path.write_bytes(flip(path.read_bytes(), at))
    reseal(archive)
    desk.audit(archive)
    copy = desk.notes[0].rpartition(" ")[2]
    desk.put_back(desk.kept[4])
    (path,) = desk.folder.glob("*.point")
    data = path.read_bytes()
    path.write_bytes(encode_point(decode_point(data, {}), {**good_for(data), "copy": copy}))
    assert desk.audit(archive).verdict is Verdict.INCONSISTENT
    assert why in desk.notes[0]


def test_a_full_disk_ends_the_points_and_not_the_audit(
    world: World, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(files: OsFiles, path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(OsFiles, "write", full)
    assert desk.audit(world.exports["CN"]).verdict is Verdict.CONSISTENT
    points_end, nothing_kept = desk.notes
    assert "no points are kept any more: [Errno 28] No space left" in points_end
    assert "what was found is not kept: [Errno 28] No space left" in nothing_kept


def test_two_audits_do_not_share_a_file(world: World, desk: Desk) -> None:
    release = OsFiles().lock(desk.folder)
    with pytest.raises(CannotAudit, match="another audit uses it"):
        desk.audit(world.exports["CN"])
    release()


def test_points_come_seldom(tmp_path: Path) -> None:
    """Some time after the last one, and after the one before it as seen by the order."""
    now = [0.0]
    with Keeping(tmp_path / "x", {}, lambda _: None, every_s=0.5, clock=lambda: now[0]) as keeping:
        due = []
        keeping.begin()
        for seconds in (0.0, 0.4, 0.5, 0.6):
            now[0] = seconds
            due.append(keeping.is_due)
        assert due == [False, False, True, True]
        keeping.seen(OrderStand(index=CommitIndex(1), accepted=(), blocks=0, misdeeds=()), ())
        due = []
        for seconds in (0.7, 1.0, 1.1):
            now[0] = seconds
            due.append(keeping.is_due)
        assert due == [False, False, True]
        keeping.refuse("over")
        due.append(keeping.is_due)
        assert not due[-1]

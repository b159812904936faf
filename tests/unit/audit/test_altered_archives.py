"""Altered archives: no byte of one can change without a finding, whatever manifest is brought into line with it."""

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.codec import encode_commit_record
from node.audit.archive import (
    FORMAT,
    SIGNATURES_FORMAT,
    encode_manifest,
    is_beside,
    parse_manifest,
)
from node.audit.audit import audit_sources
from node.audit.findings import AuditReport, Depth, Verdict
from node.audit.source import CannotAudit
from node.audit.swift import file_digest
from node.ledger.cosigned import note_lines
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, flip, lines
from tests.unit.ledger.founding import found

FLIPS = 300
SEED = 20_261


@pytest.fixture
def export(world: World, tmp_path: Path) -> Path:
    return clone(world.exports["CN"], tmp_path / "export")


def audit(export: Path, *, pinned: bytes | None = None) -> AuditReport:
    report = audit_sources([str(export)], pinned=pinned)
    assert report.verdict is Verdict.INCONSISTENT
    assert all(not finding.accused for finding in report.findings)
    return report


def reseal(export: Path) -> None:
    """Bring both manifests into line with the files, as a careful forger would."""
    fields = parse_manifest(
        (export / "manifest.json").read_bytes(),
        FORMAT,
        frozenset({"chain_id", "origin", "size", "root", "commits", "commits_per_file"}),
    ).fields
    files = [p for p in sorted(export.rglob("*")) if p.is_file() and p.name != "manifest.json"]
    listed = {p.relative_to(export).as_posix(): list(file_digest(p)) for p in files}
    beside = {name: entry for name, entry in listed.items() if is_beside(name)}
    (export / "signatures" / "manifest.json").write_bytes(
        encode_manifest({"format": SIGNATURES_FORMAT, "files": beside})
    )
    fields["files"] = {name: entry for name, entry in listed.items() if not is_beside(name)}
    (export / "manifest.json").write_bytes(encode_manifest(fields))


def test_sealing_again_changes_nothing(export: Path) -> None:
    """The forger's tool itself leaves no trace: what the tests below find is the forgery."""
    before = (export / "manifest.json").read_bytes()
    reseal(export)
    assert (export / "manifest.json").read_bytes() == before
    assert audit_sources([str(export)]).verdict is Verdict.CONSISTENT


@pytest.mark.measure("X18")
def test_hundreds_of_flips_and_none_missed(world: World, export: Path) -> None:
    """One bit anywhere, a random one each time; every third time the manifests are brought into line with it.

    The genesis is pinned, as an auditor does it: a folder whose genesis no longer parses could not be judged by itself at all.
    """
    draw = random.Random(SEED)
    files = sorted(path for path in export.rglob("*") if path.is_file())
    weights = [path.stat().st_size for path in files]
    manifests = {p: p.read_bytes() for p in files if p.name == "manifest.json"}
    missed = []
    for number in range(FLIPS):
        # Half of them by bytes, half by files: the small files hold what matters most.
        path = draw.choice(files) if number % 2 else draw.choices(files, weights)[0]
        data = path.read_bytes()
        if not data:
            continue
        at, bit = draw.randrange(len(data)), draw.randrange(8)
        path.write_bytes(flip(data, at, bit))
        sealed = number % 3 == 0 and path.name != "manifest.json"
        if sealed:
            reseal(export)
        try:
            report = audit_sources([str(export)], pinned=world.weave.founding.document)
            found = report.verdict is Verdict.INCONSISTENT
        except CannotAudit:
            found = True
        if not found:
            missed.append((path.relative_to(export).as_posix(), at, bit, sealed))
        path.write_bytes(data)
        for manifest, held in manifests.items():
            manifest.write_bytes(held)
    assert missed == []
    assert audit_sources([str(export)]).verdict is Verdict.CONSISTENT


def test_a_flipped_genesis_without_a_pinned_one(export: Path) -> None:
    path = export / "genesis.cbor"
    path.write_bytes(flip(path.read_bytes(), 200))
    report = audit(export)
    assert "not one that all its members signed" in report.findings[0].what


def test_an_entry_altered_in_the_bundle(world: World, export: Path) -> None:
    """Manifest, blocks and law each show it; the bytes are those of the signed blocks."""
    path = export / "tile" / "entries" / f"000.p/{world.exported['CN'].size}"
    data = path.read_bytes()
    leaf = world.weave.entries[0]
    at = data.index(leaf)
    path.write_bytes(flip(data, at + 30))
    reseal(export)
    report = audit(export)
    (found,) = [finding for finding in report.findings if finding.entry is not None]
    assert found.byte_range is not None
    assert (found.byte_range.first, found.byte_range.last) == (30, 30)
    assert found.proven_by == ("BR", "CN", "GB", "KE", "US")


def test_a_bundle_lost_is_named_with_its_entries(world: World, export: Path) -> None:
    size = world.exported["CN"].size
    (export / "tile" / "entries" / f"000.p/{size}").unlink()
    report = audit(export)
    (found,) = [finding for finding in report.findings if finding.entries is not None]
    assert found.entries == (0, size - 1)
    assert found.file == f"tile/entries/000.p/{size}"


Alter = Callable[[World, Path], None]


def _tile(world: World, export: Path) -> None:
    path = export / "tile" / "0" / f"000.p/{world.exported['CN'].size}"
    path.write_bytes(flip(path.read_bytes(), 32 * 7))


def _no_line(world: World, export: Path) -> None:
    """Two lines of five are left out: three are no quorum."""
    del world
    path = export / "checkpoint"
    kept = path.read_bytes().splitlines(keepends=True)[:-2]
    path.write_bytes(b"".join(kept))


def _line_of_another_size(world: World, export: Path) -> None:
    """A good line of the same state, over another size."""
    path = export / "checkpoint"
    text = path.read_bytes()
    founding = world.weave.founding
    (line,) = lines(founding, 12, bytes(32), [4])
    genesis = founding.genesis
    made = note_lines(genesis.origin, genesis.members, [line])
    kept = text.splitlines(keepends=True)[:-1]
    path.write_bytes(b"".join(kept) + str(made[0]).encode())


def _forged_checkpoint(world: World, export: Path) -> None:
    """Another root in text and note, with the old lines: nobody signed that."""
    size = world.exported["CN"].size
    path = export / "checkpoint"
    text = path.read_bytes().split(b"\n")
    text[2] = b"A" * 43 + b"="
    path.write_bytes(b"\n".join(text))
    assert size > 0


def _block_left_out(world: World, export: Path) -> None:
    """From records, blocks and signatures alike: an order without one member's block."""
    records = world.weave.records[: world.exported["CN"].commits]
    cut = records[3].commit.blocks[0]
    path = export / "commits" / "0000000001.commits"
    parts = []
    for record in records:
        blocks = tuple(ref for ref in record.commit.blocks if ref != cut)
        data = encode_commit_record(
            replace(record, commit=replace(record.commit, blocks=blocks), deciders=())
        )
        parts.append(len(data).to_bytes(4, "big") + data)
    path.write_bytes(b"".join(parts))
    position = [ref for record in records for ref in record.commit.blocks].index(cut)
    bodies = export / "blocks" / "0000000001.blocks"
    data = bodies.read_bytes()
    at = 0
    for _ in range(position):
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    length = 4 + int.from_bytes(data[at : at + 4], "big")
    bodies.write_bytes(data[:at] + data[at + length :])
    signatures = export / "signatures" / "0000000001.blocks"
    held = signatures.read_bytes()
    signatures.write_bytes(held[: 64 * position] + held[64 * (position + 1) :])


def _signature(world: World, export: Path) -> None:
    del world
    path = export / "signatures" / "0000000001.blocks"
    path.write_bytes(flip(path.read_bytes(), 64 * 9 + 3))


def _undecided(world: World, export: Path) -> None:
    del world
    (export / "signatures" / "undecided").write_bytes(b"")


def _fewer_commits(world: World, export: Path) -> None:
    """The manifest claims fewer commits: then their entries have no order."""
    path = export / "manifest.json"
    commits = world.exported["CN"].commits
    path.write_bytes(
        path.read_bytes().replace(b'"commits":%d,' % commits, b'"commits":%d,' % (commits - 2))
    )


def _another_policy(world: World, export: Path) -> None:
    del world
    path = export / "policy"
    path.write_bytes(path.read_bytes().replace(b"group states 4", b"group states 2"))


def _strange_file(world: World, export: Path) -> None:
    del world
    (export / "readme.txt").write_text("not of the export", encoding="utf-8")


@pytest.mark.parametrize(
    ("alter", "sealed", "depth", "says"),
    [
        (_tile, True, Depth.STRUCTURE, "tree hash of level 0, index 7 was altered"),
        (_tile, False, Depth.PARSE, "SHA-256 is not the manifest's"),
        (_no_line, True, Depth.CERTIFICATES, "make a quorum"),
        (_line_of_another_size, True, Depth.CERTIFICATES, "line of US is not by its cosigner"),
        (_forged_checkpoint, True, Depth.CERTIFICATES, "is not by its cosigner"),
        (_block_left_out, True, Depth.ORDER, "is missing"),
        (_signature, True, Depth.SIGNATURES, "is not signed by"),
        (_undecided, True, Depth.ORDER, "is missing"),
        (_fewer_commits, False, Depth.STRUCTURE, "9 commits are listed"),
        (_another_policy, True, Depth.PARSE, "not the trust policy"),
        (_strange_file, False, Depth.PARSE, "no manifest lists this file"),
    ],
)
def test_each_depth_finds_its_kind(
    world: World, export: Path, alter: Alter, *, sealed: bool, depth: Depth, says: str
) -> None:
    alter(world, export)
    if sealed:
        reseal(export)
    report = audit(export)
    found = [f for f in report.findings if f.depth is depth and says in f.what]
    assert found, [str(finding) for finding in report.findings]


def _pipe_for_a_file(export: Path) -> None:
    (export / "policy").unlink()
    os.mkfifo(export / "policy")


def _pipe_beside(export: Path) -> None:
    os.mkfifo(export / "signatures" / "pipe")


def _device_without_end(export: Path) -> None:
    (export / "policy").unlink()
    (export / "policy").symlink_to("/dev/zero")


def _link_out(export: Path) -> None:
    (export / "policy").rename(export.parent / "policy")
    (export / "policy").symlink_to(export.parent / "policy")


def _folder_elsewhere(export: Path) -> None:
    (export / "blocks").rename(export.parent / "blocks")
    (export / "blocks").symlink_to(export.parent / "blocks", target_is_directory=True)


def _link_that_nobody_lists(export: Path) -> None:
    (export / "more").symlink_to(export.parent, target_is_directory=True)


def _link_to_itself(export: Path) -> None:
    (export / "policy").unlink()
    (export / "policy").symlink_to("policy")


def _folder_for_a_file(export: Path) -> None:
    (export / "policy").unlink()
    (export / "policy").mkdir()


def _name_not_utf8(export: Path) -> None:
    Path(os.fsdecode(os.fsencode(export) + b"/\xff\xfe")).write_bytes(b"")


def _name_for_a_terminal(export: Path) -> None:
    (export / "\x1b[2Jall is well\n").write_bytes(b"")


def _listed_name(name: str) -> Callable[[Path], None]:
    def alter(export: Path) -> None:
        path = export / "manifest.json"
        escaped = json.dumps(name).encode()
        path.write_bytes(
            path.read_bytes().replace(
                b'"policy":', escaped + b':[0,"' + b"0" * 64 + b'"],"policy":'
            )
        )

    return alter


@pytest.mark.parametrize(
    "alter",
    [
        *(_pipe_for_a_file, _pipe_beside, _device_without_end, _link_out, _folder_elsewhere),
        *(_link_that_nobody_lists, _link_to_itself, _folder_for_a_file, _name_not_utf8),
        *(_name_for_a_terminal, _listed_name("\ud800"), _listed_name("../../etc/passwd")),
        *(_listed_name("/dev/zero"), _listed_name("\x1b[2J"), _listed_name("")),
    ],
)
def test_a_folder_of_plain_files_and_names_that_can_be_shown(
    export: Path, alter: Callable[[Path], None]
) -> None:
    """Each is found, none holds the reader, and the report can be written and shown."""
    alter(export)
    report = audit(export)
    for finding in report.findings:
        assert str(finding).isprintable()
    json.dumps(report.as_json(), ensure_ascii=False).encode()


def test_what_is_no_source_could_not_be_checked(tmp_path: Path) -> None:
    with pytest.raises(CannotAudit, match="neither a node's home"):
        audit_sources([str(tmp_path)])
    with pytest.raises(CannotAudit, match="no genesis document"):
        audit_sources(["https://127.0.0.1:1"])


def test_an_export_of_another_ledger_is_refused(world: World, export: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(export, other)
    (other / "genesis.cbor").write_bytes(found(4, 0).document)
    with pytest.raises(CannotAudit, match="is of ledger"):
        audit_sources([str(world.exports["CN"]), str(other)])


def test_an_archive_that_only_claims_its_size(export: Path) -> None:
    path = export / "checkpoint"
    text = path.read_bytes().split(b"\n")
    text[1] = b"%d" % (1 << 60)
    path.write_bytes(b"\n".join(text))
    report = audit(export)
    assert any("bundles of 256 are there" in finding.what for finding in report.findings)

"""The files of an archive against its two manifests: each there, whole, and no other."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from node.audit.archive import (
    CHECKPOINT,
    COMMITS_PER_FILE,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    SIGNATURES_FORMAT,
    SIGNATURES_MANIFEST,
    ArchiveSource,
    is_beside,
    parse_manifest,
    read_file,
)
from node.audit.findings import Depth, Findings
from node.audit.source import Lost
from node.audit.swift import Workers, digests
from node.ledger.genesis import Genesis, chain_id
from node.ledger.trust import trust_policy
from node.log.checkpoint import parse_checkpoint
from node.log.errors import MalformedInput
from node.log.note import NOTE_BYTES_MAX, parse_note

FILES_STEP: Final = 64  # files of one task
ALONE_MAX: Final = 256  # files that are not worth starting processes for


def check_files(
    source: ArchiveSource,
    genesis: Genesis,
    document: bytes,
    findings: Findings,
    tick: Callable[[int], None],
    workers: Workers | None = None,
) -> int:
    """Every byte of the folder is one that a manifest covers, or a finding. How many files."""
    folder = source.path
    held = set(_files(folder))
    inside = {name for name in held if not is_beside(name)}
    seen = 0
    if source.manifest is not None:
        _manifest_fields(source, genesis, document, findings)
        listed = source.manifest.files
        seen += _compare(folder, listed, inside - {MANIFEST}, findings, tick, workers)
    try:
        data = read_file(folder, SIGNATURES_MANIFEST, MANIFEST_BYTES_MAX)
        listed = parse_manifest(data, SIGNATURES_FORMAT, frozenset()).files
    except Lost as lost:
        findings.add(Depth.PARSE, lost.why, file=SIGNATURES_MANIFEST)
        return seen
    beside = held - inside - {SIGNATURES_MANIFEST}
    return seen + _compare(folder, listed, beside, findings, tick, workers)


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _compare(
    folder: Path,
    listed: dict[str, tuple[int, str]],
    held: set[str],
    findings: Findings,
    tick: Callable[[int], None],
    workers: Workers | None,
) -> int:
    for name in sorted(held - set(listed)):
        findings.add(Depth.PARSE, "no manifest lists this file", file=name)
    names = sorted(listed)
    tasks = [
        (str(folder), [name for name in names[first : first + FILES_STEP] if name in held])
        for first in range(0, len(names), FILES_STEP)
    ]
    seen: dict[str, tuple[int, str] | str] = {}
    for made in (workers or Workers(1)).map(digests, tasks, ALONE_MAX // FILES_STEP):
        seen.update(made)
        tick(len(made))
    for name in names:
        expected = listed[name]
        if name not in held:
            findings.add(Depth.PARSE, "listed in the manifest, and not there", file=name)
            continue
        found = seen[name]
        if isinstance(found, str):
            findings.add(Depth.PARSE, f"cannot be read: {found}", file=name)
        elif found != expected:
            what = (
                f"has {found[0]} bytes, the manifest says {expected[0]}"
                if found[0] != expected[0]
                else "altered: its SHA-256 is not the manifest's"
            )
            findings.add(Depth.PARSE, what, file=name)
    return len(listed)


def _manifest_fields(
    source: ArchiveSource, genesis: Genesis, document: bytes, findings: Findings
) -> None:
    assert source.manifest is not None, "called with one"
    fields = source.manifest.fields
    expected: dict[str, object] = {
        "chain_id": chain_id(document).hex(),
        "origin": genesis.origin,
        "commits_per_file": COMMITS_PER_FILE,
    }
    try:
        note = parse_note(read_file(source.path, CHECKPOINT, NOTE_BYTES_MAX))
        checkpoint = parse_checkpoint(note.text)
        expected |= {"size": checkpoint.size, "root": checkpoint.root.hex()}
    except (Lost, MalformedInput):
        pass  # the source has said so
    for name, value in expected.items():
        if fields[name] != value:
            findings.add(
                Depth.PARSE, f"{name} is {fields[name]!r:.80}, it must be {value!r}", file=MANIFEST
            )
    if not isinstance(fields["commits"], int) or fields["commits"] < 0:
        findings.add(Depth.PARSE, f"commits is {fields['commits']!r:.40}", file=MANIFEST)
    try:
        if read_file(source.path, "policy", MANIFEST_BYTES_MAX) != trust_policy(genesis):
            findings.add(Depth.PARSE, "is not the trust policy of this genesis", file="policy")
    except Lost as lost:
        findings.add(Depth.PARSE, lost.why, file="policy")

"""The files of an archive against its two manifests: each there, whole, and no other."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from consensus.codec import BLOCK_BYTES_MAX, MalformedBlock, peek_ref
from node.audit.archive import (
    CHECKPOINT,
    COMMITS_PER_FILE,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    POLICIES,
    SIGNATURES,
    SIGNATURES_FORMAT,
    SIGNATURES_MANIFEST,
    UNDECIDED,
    ArchiveSource,
    first_of_range,
    frames,
    is_beside,
    parse_manifest,
    range_name,
    read_file,
)
from node.audit.findings import Depth, Findings
from node.audit.plain_files import shown_name
from node.audit.source import Lost
from node.audit.swift import Workers, digests
from node.ledger.genesis import Genesis, chain_id
from node.ledger.trust import trust_policy
from node.log.checkpoint import parse_checkpoint
from node.log.errors import MalformedInput
from node.log.note import NOTE_BYTES_MAX, parse_note
from node.log.tiles import paths

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
    """Every byte of the folder is one that a manifest covers, and every file one that an archive has; or a finding. How many."""
    folder = source.path
    held = set(_files(folder))
    inside = {name for name in held if not is_beside(name)}
    seen = 0
    if source.manifest is not None:
        _manifest_fields(source, genesis, document, findings)
        listed = source.manifest.files
        _names(source, listed, findings)
        seen += _compare(folder, listed, inside - {MANIFEST}, findings, tick, workers)
    try:
        data = read_file(folder, SIGNATURES_MANIFEST, MANIFEST_BYTES_MAX)
        listed = parse_manifest(data, SIGNATURES_FORMAT, frozenset()).files
    except Lost as lost:
        findings.add(Depth.PARSE, lost.why, file=SIGNATURES_MANIFEST)
        return seen
    _names_beside(source, listed, findings)
    _undecided(source, findings)
    beside = held - inside - {SIGNATURES_MANIFEST}
    return seen + _compare(folder, listed, beside, findings, tick, workers)


def _names(
    source: ArchiveSource, listed: Mapping[str, tuple[int, str]], findings: Findings
) -> None:
    """The manifest lists what an archive of this size and of so many commits has: no file more, none less."""
    wanted = {"genesis.cbor", "policy", *map(str, paths(source.size))}
    for name in sorted(wanted - set(listed)):
        findings.add(Depth.PARSE, "the manifest does not list this file", file=name)
    others = set(listed) - wanted
    _ranges(source, others, (("commits/", ".commits"), ("blocks/", ".blocks")), MANIFEST, findings)


def _names_beside(
    source: ArchiveSource, listed: Mapping[str, tuple[int, str]], findings: Findings
) -> None:
    """The same for the second part; the way from policy to policy is there only where members have changed."""
    for name in (CHECKPOINT, UNDECIDED):
        if name not in listed:
            findings.add(Depth.PARSE, "the manifest does not list this file", file=name)
    others = set(listed) - {CHECKPOINT, UNDECIDED, POLICIES}
    kinds = ((f"{SIGNATURES}/", ".blocks"), (f"{SIGNATURES}/", ".deciders"))
    _ranges(source, others, kinds, SIGNATURES_MANIFEST, findings)


def _ranges(
    source: ArchiveSource,
    names: Collection[str],
    kinds: Sequence[tuple[str, str]],
    manifest: str,
    findings: Findings,
) -> None:
    """One file of each of these kinds for each range of commits, and no other; nobody counts to a number that is only claimed."""
    last = max(source.last_commit or 0, 0)
    many = dict.fromkeys(kinds, 0)
    for name in sorted(names):
        kind = next(((a, z) for a, z in kinds if name.startswith(a) and name.endswith(z)), None)
        stem = "" if kind is None else name[len(kind[0]) : -len(kind[1])]
        first = int(stem) if stem.isascii() and stem.isdecimal() else 0
        if kind is None or stem != range_name(first) or first != first_of_range(max(first, 1)):
            findings.add(Depth.PARSE, "an archive has no such file", file=name)
        elif first > last:
            findings.add(Depth.PARSE, f"beyond the archive's {last} commits", file=name)
        else:
            many[kind] += 1
    wanted = -(-last // COMMITS_PER_FILE)
    for (start, end), found in many.items():
        if found != wanted:
            what = f"lists {found} files {start}*{end}, and {last} commits have {wanted}"
            findings.add(Depth.PARSE, what, file=manifest)


def _undecided(source: ArchiveSource, findings: Findings) -> None:
    """Each block once, in the order of their names: as every exporter writes them."""
    try:
        refs = [peek_ref(data) for data in frames(source.path / UNDECIDED, BLOCK_BYTES_MAX)]
    except (Lost, MalformedBlock) as err:
        findings.add(Depth.PARSE, str(err), file=UNDECIDED)
        return
    if any(later <= earlier for earlier, later in pairwise(refs)):
        findings.add(Depth.PARSE, "blocks do not ascend, each once", file=UNDECIDED)


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):  # it does not go through links
        if path.is_symlink() or not path.is_dir():
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
        findings.add(Depth.PARSE, "no manifest lists this file", file=shown_name(name))
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
            findings.add(
                Depth.PARSE, "listed in the manifest, and not there", file=shown_name(name)
            )
            continue
        found = seen[name]
        if isinstance(found, str):
            findings.add(Depth.PARSE, f"cannot be read: {found}", file=shown_name(name))
        elif found != expected:
            what = (
                f"has {found[0]} bytes, the manifest says {expected[0]}"
                if found[0] != expected[0]
                else "altered: its SHA-256 is not the manifest's"
            )
            findings.add(Depth.PARSE, what, file=shown_name(name))
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

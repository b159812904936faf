"""The files of an export against its two manifests: each there, whole, and no other."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from node.audit.archive import (
    COMMITS_PER_FILE,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    SIGNATURES,
    SIGNATURES_FORMAT,
    ExportSource,
    file_digest,
    parse_manifest,
    read_file,
)
from node.audit.findings import Depth, Findings
from node.audit.source import Lost
from node.ledger.genesis import Genesis, chain_id
from node.ledger.trust import trust_policy
from node.log.checkpoint import parse_checkpoint
from node.log.errors import MalformedInput
from node.log.note import NOTE_BYTES_MAX

_SHOWN_MAX: Final = 20


def check_files(
    source: ExportSource,
    genesis: Genesis,
    document: bytes,
    findings: Findings,
    tick: Callable[[int], None],
) -> int:
    """Every byte of the folder is one that a manifest covers, or a finding. How many files."""
    folder = source.path
    prefix = f"{SIGNATURES}/"
    held = set(_files(folder))
    inside = {name for name in held if not name.startswith(prefix)}
    beside = {name.removeprefix(prefix) for name in held - inside}
    seen = 0
    if source.manifest is not None:
        _manifest_fields(source, genesis, document, findings)
        listed = source.manifest.files
        seen += _compare(folder, "", listed, inside - {MANIFEST}, findings, tick)
    name = prefix + MANIFEST
    try:
        data = read_file(folder, name, MANIFEST_BYTES_MAX)
        listed = parse_manifest(data, SIGNATURES_FORMAT, frozenset()).files
    except Lost as lost:
        findings.add(Depth.PARSE, lost.why, file=name)
        return seen
    return seen + _compare(folder, prefix, listed, beside - {MANIFEST}, findings, tick)


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _compare(
    folder: Path,
    prefix: str,
    listed: dict[str, tuple[int, str]],
    held: set[str],
    findings: Findings,
    tick: Callable[[int], None],
) -> int:
    for name in sorted(held - set(listed)):
        findings.add(Depth.PARSE, "no manifest lists this file", file=prefix + name)
    for name, expected in sorted(listed.items()):
        tick(1)
        if name not in held:
            findings.add(Depth.PARSE, "listed in the manifest, and not there", file=prefix + name)
            continue
        try:
            found = file_digest(folder / prefix / name)
        except OSError as err:
            findings.add(Depth.PARSE, f"cannot be read: {err.strerror}", file=prefix + name)
            continue
        if found != expected:
            what = (
                f"has {found[0]} bytes, the manifest says {expected[0]}"
                if found[0] != expected[0]
                else "altered: its SHA-256 is not the manifest's"
            )
            findings.add(Depth.PARSE, what, file=prefix + name)
    return len(listed)


def _manifest_fields(
    source: ExportSource, genesis: Genesis, document: bytes, findings: Findings
) -> None:
    assert source.manifest is not None, "called with one"
    fields = source.manifest.fields
    expected: dict[str, object] = {
        "chain_id": chain_id(document).hex(),
        "origin": genesis.origin,
        "commits_per_file": COMMITS_PER_FILE,
    }
    try:
        checkpoint = parse_checkpoint(read_file(source.path, "checkpoint", NOTE_BYTES_MAX))
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

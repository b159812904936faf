"""An audit of several copies that was interrupted: what was found clean before is not run again (`foedus audit --resume FILE`).

    {"format":"foedus/audit-state/1","clean":{NAME OF THE COPY'S BYTES: {...what its replay came to...}}}

Each copy's files, tree and certificates are looked at again, each time: that is cheap, and it is what ties the file to the bytes
at hand. A copy's name here is the hash over the program, the genesis, the depth, and what those checks have just shown: for an
archive its two manifests, which cover every file, for a running node the root over all entries. Only what came out clean is kept:
where there is anything to find it is found again. A node's own store has no such name, so it is replayed anew.

Nobody signs this file: whoever can write it could as well write the auditor's report. It is taken up where it fits, it is said in
the report, and it is read as strictly as anything from outside.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, cast

from node.audit.archive import MANIFEST, MANIFEST_BYTES_MAX, SIGNATURES, ArchiveSource, read_file
from node.audit.copies import Copy, Ground
from node.audit.findings import Checked, Depth
from node.audit.law import LawResult
from node.audit.source import CannotAudit, Lost
from node.audit.web import WebSource

FORMAT: Final = "foedus/audit-state/1"
FILE_BYTES_MAX: Final = 4 * 1024 * 1024
REPLAYED: Final = (Depth.SIGNATURES, Depth.ORDER, Depth.LAW)


@dataclass(slots=True, kw_only=True)
class AuditState:
    """What earlier runs found clean. `path` None: nothing is kept."""

    path: Path | None
    clean: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: Path | None) -> "AuditState":
        """A file that is not there begins one. Raises CannotAudit for one that is no such file."""
        if path is None or not path.exists():
            return cls(path=path, clean={})
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        try:
            held = json.loads(data)
        except (ValueError, RecursionError) as err:
            raise CannotAudit(f"{path}: no audit state: {err}: name another file") from err
        match held:
            case {"format": str(form), "clean": dict(clean)} if form == FORMAT and len(held) == 2:
                return cls(path=path, clean={name: _checked(path, clean[name]) for name in clean})
        raise CannotAudit(f"{path}: no audit state of format {FORMAT}: name another file")

    def take(self, copy: Copy, ground: Ground) -> bool:
        """True if this copy's replay is known to be clean: then it stands in `copy`."""
        name = _name(copy, ground)
        held = None if name is None else self.clean.get(name)
        if held is None:
            return False
        copy.law = LawResult(
            entries=held["entries"],
            commits=held["commits"],
            root=bytes.fromhex(held["root"]),
            state_digest=bytes.fromhex(held["state_digest"]),
        )
        copy.law_from_blocks = held["from_blocks"]
        for depth in REPLAYED:
            done, how_far = held["checked"][depth.value]
            copy.checked[depth] = Checked(done=done, how_far=f"{how_far}; in an earlier run")
        return True

    def keep(self, copy: Copy, ground: Ground) -> None:
        """Durably, if its replay was clean. Raises OSError."""
        name = _name(copy, ground)
        if self.path is None or name is None or not _is_clean(copy):
            return
        self.clean[name] = {
            "entries": copy.law.entries,
            "commits": copy.law.commits,
            "root": copy.law.root.hex(),
            "state_digest": copy.law.state_digest.hex(),
            "from_blocks": copy.law_from_blocks,
            "checked": {
                depth.value: [copy.checked[depth].done, copy.checked[depth].how_far]
                for depth in REPLAYED
            },
        }
        text = json.dumps({"format": FORMAT, "clean": self.clean}, sort_keys=True) + "\n"
        temporary = self.path.with_name(self.path.name + ".new")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


def _is_clean(copy: Copy) -> bool:
    found = copy.findings
    return (
        not found.all()
        and not found.misdeeds
        and not copy.law.expected
        and copy.checked[Depth.LAW].done
    )


def _name(copy: Copy, ground: Ground) -> str | None:
    """None: nothing names these bytes, or something was asked that the file does not answer."""
    source = copy.source
    if ground.promises or copy.findings.all() or not copy.checked[Depth.STRUCTURE].done:
        return None
    parts = [FORMAT.encode(), _version().encode(), ground.document, ground.depth.value.encode()]
    if isinstance(source, ArchiveSource):
        try:
            parts.append(read_file(source.path, MANIFEST, MANIFEST_BYTES_MAX))
            parts.append(read_file(source.path, f"{SIGNATURES}/{MANIFEST}", MANIFEST_BYTES_MAX))
        except Lost:
            return None
    elif isinstance(source, WebSource):
        parts.append(copy.structure.roots.get(source.size, b""))
        parts.append(source.size.to_bytes(8, "big"))
    else:
        return None
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _version() -> str:
    try:
        return metadata.version("foedus")
    except metadata.PackageNotFoundError:
        return "not installed"


def _checked(path: Path, held: object) -> dict[str, Any]:
    """Raises CannotAudit."""
    match held:
        case {
            "entries": int(),
            "commits": int(),
            "root": str(root),
            "state_digest": str(digest),
            "from_blocks": bool(),
            "checked": dict(checked),
        } if set(checked) == {depth.value for depth in REPLAYED}:
            try:
                sizes = {len(bytes.fromhex(root)), len(bytes.fromhex(digest))}
            except ValueError:
                sizes = set()
            shaped = all(
                isinstance(each, list)
                and len(each) == 2
                and isinstance(each[0], bool)
                and isinstance(each[1], str)
                for each in checked.values()
            )
            if sizes == {32} and shaped:
                return cast(dict[str, Any], held)
    raise CannotAudit(f"{path}: a result is not of its form: name another file")

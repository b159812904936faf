"""An audit that was interrupted: what was found clean before is not run again (`foedus audit --resume FILE`).

    FILE            {"format":...,"clean":{NAME OF THE COPY'S BYTES: {...what its replay came to...}},"sha256":"..."}
    FILE.points/    for each copy whose replay is under way: where it stands (`points`)

Each copy's files, tree and certificates are looked at again, each time: that is cheap, and it is what ties the file to the bytes
at hand. A copy's name here is the hash over the program, the genesis, the depth, and what those checks have just shown: for an
archive its two manifests, which cover every file, for a running node the root over all entries. Only what came out clean is kept:
where there is anything to find it is found again. A node's own store has no such name, so it is replayed anew; points are kept of
archives alone.

Nobody signs this file: whoever can write it could as well write the auditor's report. It is taken up where it fits, it is said in
the report, and it is read as strictly as anything from outside: what is damaged, or of another program, copy or depth, is said
and not taken up, and the audit begins anew. A file that is something else altogether is refused, so that none is overwritten.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final, cast

import consensus
import foedus
from node.audit.archive import MANIFEST, MANIFEST_BYTES_MAX, SIGNATURES, ArchiveSource, read_file
from node.audit.copies import NO_STORE, Copy, Ground
from node.audit.findings import Checked, Depth
from node.audit.law import LawResult
from node.audit.points import Keeping, Note, unheard
from node.audit.source import CannotAudit, Lost
from node.audit.web import WebSource
from node.storage.files import OsFiles

FORMAT: Final = "foedus/audit-state/2"
BEGINNING: Final = b'{"format": "foedus/audit-state/'  # of every version's file
FILE_BYTES_MAX: Final = 4 * 1024 * 1024
REPLAYED: Final = (Depth.SIGNATURES, Depth.ORDER, Depth.LAW)


@dataclass(slots=True, kw_only=True)
class AuditState:
    """What earlier runs found clean. `path` None: nothing is kept."""

    path: Path | None
    clean: dict[str, dict[str, Any]]

    @classmethod
    @contextmanager
    def open(cls, path: Path | None, note: Note) -> "Iterator[AuditState]":
        """For one audit; another one meanwhile is refused. A file that is not there begins one.

        Raises CannotAudit for a file that is something else, or in use; OSError.
        """
        if path is None:
            yield cls(path=None, clean={})
            return
        clean = _read(path, note)
        folder = _points(path)
        try:
            release = OsFiles().lock(folder)
        except BlockingIOError as err:
            raise CannotAudit(f"{path}: another audit uses it: name another file") from err
        try:
            yield cls(path=path, clean=clean)
        finally:
            release()
            _remove_if_empty(folder)

    def resume(self, copy: Copy, ground: Ground) -> "Resume | None":
        """Where points of this copy's replay are kept, asked before it begins; None: they are not."""
        if self.path is None or not ground.goes_to(Depth.LAW):
            return None
        of = _identity(copy, ground)
        if of is None or not isinstance(copy.source, ArchiveSource) or not copy.certified:
            return None
        place = str(Path(copy.source.where).resolve())
        name = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:16]
        return Resume(base=_points(self.path) / name, of=of)

    def take(self, copy: Copy, ground: Ground) -> bool:
        """True if this copy's replay is known to be clean: then it stands in `copy`."""
        name = _name(copy, ground) if self.clean else None
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
        if ground.goes_to(Depth.STORE):
            copy.checked[Depth.STORE] = NO_STORE
        return True

    def keep(self, copy: Copy, ground: Ground) -> None:
        """Durably, if its replay was clean. Raises OSError."""
        if self.path is None or not copy.is_clean or copy.findings.misdeeds:
            return
        name = _name(copy, ground)
        if name is None:
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
        text = json.dumps(_sealed(self.clean)) + "\n"
        files, temporary = OsFiles(), self.path.with_name(self.path.name + ".new")
        files.write(temporary, text.encode())
        files.rename(temporary, self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Where the points of one copy lie and what they are good for: a value, for the process that replays it."""

    base: Path
    of: Mapping[str, str]

    def keeping(self, note: Note) -> Keeping:
        """To be taken from and written to."""
        return Keeping(self.base, self.of, note)

    def forget(self) -> None:
        """The copy is done. Raises OSError."""
        Keeping(self.base, self.of, unheard).forget()


def _points(path: Path) -> Path:
    return path.with_name(path.name + ".points")


def _remove_if_empty(folder: Path) -> None:
    """No replay is under way any more."""
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == ["lock"]:
            (folder / "lock").unlink()
            folder.rmdir()


# --- what is named -------------------------------------------------------------------------------


def _name(copy: Copy, ground: Ground) -> str | None:
    """None: nothing names these bytes, or something was asked that the file does not answer."""
    of = _identity(copy, ground)
    if of is None:
        return None
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()


def _identity(copy: Copy, ground: Ground) -> dict[str, str] | None:
    """What a result is good for, each part by what people call it. None as `_name`."""
    source = copy.source
    if ground.promises or copy.findings or not copy.checked[Depth.STRUCTURE].done:
        return None
    of = {
        "program": program(),
        "ledger": ground.chain_id.hex(),
        "depth": ground.depth.value,
    }
    if isinstance(source, ArchiveSource):
        try:
            first = read_file(source.path, MANIFEST, MANIFEST_BYTES_MAX)
            second = read_file(source.path, f"{SIGNATURES}/{MANIFEST}", MANIFEST_BYTES_MAX)
        except Lost:
            return None
        digests = hashlib.sha256(first).digest() + hashlib.sha256(second).digest()
        of["copy"] = hashlib.sha256(digests).hexdigest()
    elif isinstance(source, WebSource):
        of["copy"] = f"{source.size} {copy.structure.roots.get(source.size, b'').hex()}"
    else:
        return None
    return of


@cache
def program() -> str:
    """The hash over the files of this program and what it checks with: what another version found is not what this one finds."""
    with_it = [f"{name} {_version(name)}" for name in ("pynacl", "protobuf", "cbor2")]
    digest = hashlib.sha256("\n".join([sys.version, *with_it]).encode())
    own = Path(__file__).resolve().parent.parent
    for folder in (own, *map(Path, (*consensus.__path__, *foedus.__path__))):
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".py", ".so"} and path.is_file():
                name = str(path.relative_to(folder))
                data = hashlib.sha256(path.read_bytes()).digest()
                digest.update(hashlib.sha256(name.encode()).digest() + data)
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


# --- the file ------------------------------------------------------------------------------------


def _sealed(clean: Mapping[str, Any]) -> dict[str, Any]:
    """The file's value: with the digest over what it says."""
    text = json.dumps({"clean": clean, "format": FORMAT}, sort_keys=True)
    return {
        "format": FORMAT,  # first: by it a file is known as one of ours
        "clean": clean,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _read(path: Path, note: Note) -> dict[str, dict[str, Any]]:
    """What it says was clean; nothing, and a note, where it is damaged or another version's. Raises CannotAudit."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if data and not data.replace(b'":"', b'": "').startswith(BEGINNING):
        raise CannotAudit(f"{path}: no audit state of format {FORMAT}: name another file")

    def begin_anew(why: str) -> None:
        note(f"{path}: {why}: not taken up, the audit begins anew")

    try:
        held = json.loads(data)
    except (ValueError, RecursionError) as err:
        begin_anew(f"damaged: {err}")
        return {}
    match held:
        case {"format": str(form)} if form != FORMAT:
            begin_anew(f"of format {form!r:.40}, this program reads {FORMAT!r}")
        case {"clean": dict(clean), "sha256": _} if held == _sealed(clean):
            if all(_is_result(result) for result in clean.values()):
                return cast(dict[str, dict[str, Any]], clean)
            begin_anew("a result in it is not of its form")
        case _:
            begin_anew("damaged: it does not have the digest in it")
    return {}


def _is_result(held: object) -> bool:
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
                return False
            shaped = all(
                isinstance(each, list)
                and len(each) == 2
                and isinstance(each[0], bool)
                and isinstance(each[1], str)
                for each in checked.values()
            )
            return sizes == {32} and shaped
    return False

"""A damaged node's store made whole again: sound rows are kept, lost ones come from other copies, what nobody has is cut.

    data/rocksdb.mending       the new store, until its last byte is durable; begun anew after an interruption
    data/rocksdb.repaired      then, for the moment between two renames
    data/rocksdb               then; what was damaged lies beside it as rocksdb.damaged, rocksdb.damaged-2, ...

Nothing is mended in place: a database with an unreadable file may refuse the write, and half a repair is worse than none. The
order and the law are run again (see `mending`, `rebuilding`) over the node's own blocks, and over those of other copies where its
own are damaged, so every row that is written is what the signed blocks give; the root must be the one that quorums cosigned,
at every size of which a certificate is at hand. Where no copy holds what is lost the new store ends there, and the node
fetches the rest from its peers when it starts (RULINGS R31). The sign state is read and never touched.
"""

import contextlib
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from node.audit.archive import ArchiveSource, is_archive
from node.audit.certificates import Judged, judge
from node.audit.copies import Progress, Readable, Silent
from node.audit.epochs import Trust
from node.audit.findings import Findings
from node.audit.keeping import Keeping, Kept, mark, take_certificate
from node.audit.mending import MendingReplay
from node.audit.rebuilding import Rebuilding
from node.audit.row_damage import RowDamage, row_damage
from node.audit.source import CannotAudit, Source
from node.audit.store_source import Folders, StoreSource, Unopenable, find_folders
from node.ledger.genesis import GENESIS_BYTES_MAX, Genesis, chain_id, parse_genesis
from node.settings import FILE_NAME, Settings, load_settings
from node.signing.verify import VerifyPool
from node.storage.errors import StoreDamaged
from node.storage.sign_state import SignState
from node.storage.store import Store

THREADS: Final = 4
MENDING: Final = ".mending"
REPAIRED: Final = ".repaired"
DAMAGED: Final = ".damaged"


class CannotRepair(CannotAudit):
    """Nothing was changed: says why, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was wrong with a node's store, and what it holds now."""

    home: Path
    chain_id: str
    is_sound: bool  # nothing was wrong: the store stands as it stood
    replaced: bool
    size: int
    root: str
    commits: int
    commits_before: int | None  # None: it could not be told
    final_size: int
    cosigned_by: tuple[str, ...]  # of the newest certificate that the new store was compared with
    opening_error: str | None  # why the database could not be opened as it is
    damage: RowDamage = field(default_factory=RowDamage)
    cut: str | None = None  # why the new store ends before the old one did
    set_aside: Path | None = None  # where the damaged store is
    sources: tuple[str, ...] = ()


def repair_home(
    home: Path,
    others: Sequence[Source] = (),
    *,
    check_only: bool = False,
    progress: Progress | None = None,
    threads: int = THREADS,
    sign_state: SignState | None = None,
    from_nothing: bool = False,
) -> Repaired:
    """Look at this home's store and, unless `check_only` or sound, put a whole one in its place.

    `others`: copies to take from; nothing of them is believed. `sign_state`: of a caller who has locked the home already.
    `from_nothing`: a store that cannot be read at all gives way to an empty one, for peers to fill.

    Raises:
        CannotRepair: copies contradict a certificate, or there is nothing to begin with.
        BadSettings, MalformedGenesis: the home's own files are wrong.
        StoreLocked: a node runs there. StoreDamaged: the sign state cannot be read. OSError: the disk refuses.
    """
    settings = load_settings(home / FILE_NAME, {})
    with settings.genesis_path.open("rb") as file:
        document = file.read(GENESIS_BYTES_MAX + 1)
    genesis = parse_genesis(document)
    with ExitStack() as stack:
        if sign_state is None:
            settings.data_path.mkdir(parents=True, exist_ok=True, mode=0o700)
            sign_state = SignState(settings.data_path)
            stack.callback(sign_state.close)
        _finish_interrupted(settings.store_path)
        pool = stack.enter_context(VerifyPool(threads=threads))
        work = _Repair(home, settings, genesis, document, sign_state, pool, progress or Silent())
        return work.run(others, check_only=check_only, from_nothing=from_nothing)


def sources_of(targets: Sequence[str]) -> list[Readable]:
    """Archives and other nodes' homes, as copies to take from. Raises CannotAudit, BadSettings."""
    found: list[Readable] = []
    for target in targets:
        path = Path(target)
        if is_archive(path):
            found.append(ArchiveSource.open(path))
            continue
        folders = find_folders(path)
        if folders is None:
            raise CannotAudit(
                f"{path}: neither an archive nor a node's home: want manifest.json, {FILE_NAME} or a database"
            )
        found.append(StoreSource.open(folders))
    return found


class _Repair:
    def __init__(
        self,
        home: Path,
        settings: Settings,
        genesis: Genesis,
        document: bytes,
        sign_state: SignState,
        pool: VerifyPool,
        progress: Progress,
    ) -> None:
        self._home = home
        self._path = settings.store_path
        self._folders = Folders(
            home=home,
            data=settings.data_path,
            database=settings.store_path,
            state=settings.node.state,
            genesis=settings.genesis_path,
        )
        self._genesis = genesis
        self._document = document
        self._sign_state = sign_state
        self._pool = pool
        self._progress = progress

    def run(self, others: Sequence[Source], *, check_only: bool, from_nothing: bool) -> Repaired:
        mending = self._path.with_name(self._path.name + MENDING)
        shutil.rmtree(mending, ignore_errors=True)
        own, error = self._own()
        copies: list[Source] = [*([] if own is None else [own]), *others]
        if not copies and not from_nothing:
            raise CannotRepair(
                f"{self._path}: {error}: name an archive or another node's home by --from, or set the folder aside and start"
                " the node: it rebuilds its store from its peers"
            )
        try:
            with Store.open(mending) as new:
                made = self._made(new, own, error, copies)
                new.sync()
        finally:
            if own is not None:
                own.close()
        if made.is_sound or check_only:
            shutil.rmtree(mending)
            return made
        return self._put_in_place(made, mending)

    def _own(self) -> tuple[StoreSource | None, str | None]:
        """The node's own store as far as it can be read, and why it cannot be opened as it is."""
        if not self._path.is_dir():
            return None, "no database there"
        try:
            own = StoreSource.open(self._folders)
        except Unopenable as err:
            return None, str(err)
        if own.document != self._document and own.tip is not None and _is_other(own.document):
            own.close()
            raise CannotRepair(
                f"{self._path}: belongs to ledger {chain_id(own.document).hex()}, the home's genesis is"
                f" {chain_id(self._document).hex()}"
            )
        return own, own.opening_error

    def _made(
        self, new: Store, own: StoreSource | None, error: str | None, copies: Sequence[Source]
    ) -> Repaired:
        signed = self._sign_state.cosign()
        made = Rebuilding(new, self._genesis, self._document, self._pool, self._progress)
        stood = _stood(own)
        findings = Findings(self._path.name)
        if copies:
            order = MendingReplay(copies, made.epochs, self._pool, findings)
            made.run(order, _goal(own, stood, copies))
        judged = self._judged(copies, made)
        old = None if own is None else own.store
        kept = Kept()
        if old is not None:
            kept = Keeping(old, new, made, self._genesis.origin, self._pool).run()
        take_certificate(new, kept, judged, made.tree.size)
        mark(old, new, signed, made.tree.size)
        tick = self._progress.start("rows", None)
        damage = RowDamage() if old is None else row_damage(old, new, tick)
        cut = None
        if own is not None and _is_cut(own, made.commits, made.tree.size):
            cut = _why_cut(findings, made.commits)
        newest = [found for found in judged if found.is_final and found.size <= made.tree.size]
        return Repaired(
            home=self._home,
            chain_id=chain_id(self._document).hex(),
            is_sound=error is None and not damage.total and cut is None,
            replaced=False,
            size=made.tree.size,
            root=made.tree.root().hex(),
            commits=made.commits,
            commits_before=stood,
            final_size=kept.final_size,
            cosigned_by=newest[-1].signers if newest else (),
            opening_error=error,
            damage=damage,
            cut=cut,
            sources=tuple(copy.where for copy in copies if copy is not own),
        )

    def _judged(self, copies: Sequence[Source], made: Rebuilding) -> list[Judged]:
        """Certificates of all copies, ascending. Raises CannotRepair if one of them is over another root."""
        trust = Trust(genesis=self._genesis, epochs=tuple(made.epochs))
        found: list[Judged] = []
        for copy in copies:
            if isinstance(copy, StoreSource | ArchiveSource):
                copy.read_certificates(trust.at)
            judged = [
                judge(each, trust.at(each.checkpoint.size), Findings(copy.name))
                for each in copy.certificates
            ]
            found += judged
            for final in judged:
                if not final.is_final or final.size > made.tree.size:
                    continue
                root = made.root_at(final.size)
                if root != final.root:
                    raise CannotRepair(
                        f"{copy.where}: {', '.join(final.signers)} cosigned root {final.root.hex()} at size {final.size}, and the"
                        f" signed blocks give {root.hex()}: nothing was repaired; run `foedus audit` on all copies"
                    )
        return sorted(found, key=lambda judged: judged.size)

    def _put_in_place(self, made: Repaired, mending: Path) -> Repaired:
        repaired = self._path.with_name(self._path.name + REPAIRED)
        mending.rename(repaired)
        aside = None
        if self._path.exists():
            aside = _free_name(self._path.with_name(self._path.name + DAMAGED))
            self._path.rename(aside)
        repaired.rename(self._path)
        return _replaced(made, aside)


def _replaced(made: Repaired, aside: Path | None) -> Repaired:
    return replace(made, replaced=True, set_aside=aside)


def _finish_interrupted(path: Path) -> None:
    """A repair that ended between its two renames is complete."""
    repaired = path.with_name(path.name + REPAIRED)
    if not repaired.is_dir():
        return
    if path.exists():
        shutil.rmtree(repaired)
    else:
        repaired.rename(path)


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _is_other(document: bytes) -> bool:
    try:
        parse_genesis(document)
    except ValueError:
        return False
    return True


def _stood(own: StoreSource | None) -> int | None:
    """The last commit that the damaged store says anything of; None: it says nothing."""
    if own is None:
        return None
    # A tip may have been put back or altered, and records lost: each is only a hint how far to look.
    return max(own.tip.commit if own.tip is not None else 0, _newest_record(own.store)) or None


def _newest_record(store: Store) -> int:
    """As far as they can be listed."""
    newest = 0
    with contextlib.suppress(StoreDamaged):
        for key, _ in store.rows("commits"):
            newest = int.from_bytes(key, "big")
    return newest


def _goal(own: StoreSource | None, stood: int | None, copies: Sequence[Source]) -> int:
    """The last commit to come to: where the node stood; if that cannot be told, as far as any copy goes."""
    known = [stood or 0]
    if stood is None or own is None or own.tip is None or own.opening_error is not None:
        known += [copy.last_commit or 0 for copy in copies]
    return max(known)


def _is_cut(own: StoreSource, commits: int, size: int) -> bool:
    """Whether the damaged store holds rows of later commits: else its tip was wrong."""
    if _newest_record(own.store) > commits:
        return True
    try:
        return own.store.row("log", size.to_bytes(8, "big")) is not None
    except StoreDamaged:
        return True


def _why_cut(findings: Findings, commits: int) -> str:
    last = [str(finding.what) for finding in findings.all()][-1:]
    return f"nothing after commit {commits} could be had: {last[0] if last else 'no copy goes further'}"

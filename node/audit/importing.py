"""Make a node's store of an archive: the node then starts from it and fetches only what came after (RULINGS R31).

Nothing in the archive is believed. The genesis is the home's own; every file is compared with the manifests, every block's
signature checked, the order computed again by the commit rule and every leaf by the law, and what comes out must have the root
that a quorum cosigned: the store is what this node would have written had it been there.

    data/rocksdb.importing      until its last byte is durable; begun anew after an interruption
    data/rocksdb                then

What this node itself may have signed before it lost its store is not in an archive. If the home has no sign state, the store is
marked, and finality keeps the cosigner silent until it is past everything that its peers have seen from it.
"""

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.audit.archive import ArchiveSource, is_archive
from node.audit.archive_files import check_files
from node.audit.certificates import Judged, judge
from node.audit.collector import collected_seldom
from node.audit.copies import WORTH_PROCESSES, Progress, Silent
from node.audit.epochs import trust_of
from node.audit.findings import Findings
from node.audit.order import OrderReplay
from node.audit.rebuilding import Rebuilding
from node.audit.source import CannotAudit
from node.audit.swift import Workers
from node.ledger.cosigned import encode_cosigned
from node.ledger.genesis import GENESIS_BYTES_MAX, Genesis, chain_id, parse_genesis
from node.settings import FILE_NAME, load_settings
from node.signing.verify import VerifyPool
from node.storage import keys
from node.storage.sign_state import CosignSigned, SignState
from node.storage.store import Store

THREADS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What the home holds now."""

    home: Path
    chain_id: str
    size: int
    root: str
    commits: int
    blocks: int
    cosigned_by: tuple[str, ...]


def import_archive(
    archive: Path,
    home: Path,
    *,
    progress: Progress | None = None,
    threads: int = THREADS,
    processes: int | None = None,
) -> Imported:
    """Fill the empty data folder of this home from the archive. `processes` as for an audit: None is one for each core.

    Raises:
        CannotAudit: no archive, one of another ledger, one that does not lead to its cosigned root, or the home has a store.
        BadSettings, MalformedGenesis: the home's own files are wrong.
        StoreLocked: a node runs there. OSError: it cannot be written.
    """
    settings = load_settings(home / FILE_NAME, {})
    if settings.store_path.exists():
        raise CannotAudit(
            f"{settings.store_path}: a store stands there already: set it aside first, its sign state stays where it is"
        )
    if not is_archive(archive):
        raise CannotAudit(f"{archive}: no archive: want manifest.json and tile/")
    document = _document(settings.genesis_path)
    genesis = parse_genesis(document)
    shown = progress or Silent()
    with ExitStack() as stack:
        pool = stack.enter_context(VerifyPool(threads=threads))
        settings.data_path.mkdir(parents=True, exist_ok=True, mode=0o700)
        sign_state = SignState(settings.data_path)  # locks the folder: no node runs meanwhile
        stack.callback(sign_state.close)
        workers = stack.enter_context(Workers(processes))
        source, final = _opened(archive, genesis, document, shown, workers)
        executor = workers.processes() if final.size > WORTH_PROCESSES else None
        partial = settings.store_path.with_name(settings.store_path.name + ".importing")
        shutil.rmtree(partial, ignore_errors=True)
        with Store.open(partial) as store:
            made = Rebuilding(store, genesis, document, pool, shown, executor)
            with collected_seldom():
                _fill(made, source, final, pool)
            _certify(store, final, sign_state.cosign())
            store.sync()
        partial.rename(settings.store_path)
    return Imported(
        home=home,
        chain_id=chain_id(document).hex(),
        size=final.size,
        root=final.root.hex(),
        commits=source.last_commit or 0,
        blocks=made.blocks,
        cosigned_by=final.signers,
    )


def _document(path: Path) -> bytes:
    """The home's own genesis: whom to trust is never learnt from the archive. Raises OSError."""
    with path.open("rb") as file:
        return file.read(GENESIS_BYTES_MAX + 1)


def _opened(
    archive: Path, genesis: Genesis, document: bytes, progress: Progress, workers: Workers
) -> tuple[ArchiveSource, Judged]:
    """The archive, its files as its manifests say, and the checkpoint it ends with. Raises CannotAudit."""
    source = ArchiveSource.open(archive)
    if source.document != document:
        raise CannotAudit(
            f"{archive}: is of ledger {chain_id(source.document).hex()}, this home of {chain_id(document).hex()}"
        )
    findings = Findings(source.name)
    check_files(source, genesis, document, findings, progress.start("files", None), workers)
    trust = trust_of(source, genesis, document, findings)
    source.read_certificates(trust.at)
    finals = [
        judge(certificate, trust.at(certificate.checkpoint.size), findings)
        for certificate in source.certificates
    ]
    for lost in source.damage:
        raise _refused(archive, f"{lost.file}: {lost.why}")
    for finding in findings.all():
        raise _refused(archive, str(finding))
    if not finals or not finals[-1].is_final:
        raise _refused(archive, "its checkpoint has no quorum of good cosignatures")
    return source, finals[-1]


def _refused(archive: Path, why: str) -> CannotAudit:
    return CannotAudit(f"{archive}: {why}: nothing was imported; run `foedus audit` on it")


def _fill(
    made: Rebuilding,
    source: ArchiveSource,
    final: Judged,
    pool: VerifyPool,
) -> None:
    """All commits of the archive. Raises CannotAudit if they do not lead to the cosigned root."""
    last = source.last_commit or 0
    findings = Findings(source.name)
    order = OrderReplay(source, made.epochs, pool, findings)
    made.run(order, last)
    for finding in findings.all():
        raise _refused(source.path, str(finding))
    tree = made.tree
    if made.commits != last or tree.size != final.size or tree.root() != final.root:
        raise _refused(
            source.path,
            f"{made.commits} commits give {tree.size} entries and root {tree.root().hex()}, cosigned are {final.size} and"
            f" {final.root.hex()}",
        )


def _certify(store: Store, final: Judged, signed: CosignSigned | None) -> None:
    """The cosignatures that came with the archive; and a mark: what this node has `signed`, or that nobody here knows."""
    rows = [(line.size, line.member, encode_cosigned(line)) for line in final.good]
    store.put_cosignatures(rows)
    second = [(line.size, line.member, encode_cosigned(line)) for line in final.second]
    store.put_second_lines(second)
    store.put_meta(keys.META_FINAL, keys.u64(final.size))
    if signed is None:
        store.put_meta(keys.META_RESTORED, b"")
    else:  # the store may stand below it until it has caught up
        store.put_meta(keys.META_REBUILD, keys.u64(signed.size))

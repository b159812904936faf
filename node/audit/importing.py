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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.codec import encode_block
from consensus.types import Block
from node.audit.archive import ArchiveSource, is_archive
from node.audit.archive_files import check_files
from node.audit.certificates import Judged, judge
from node.audit.copies import Progress, Silent
from node.audit.epochs import trust_of
from node.audit.findings import Findings
from node.audit.order import OrderReplay
from node.audit.source import CannotAudit
from node.ledger.append import StoreBuckets, StoreFacts, write_plan
from node.ledger.batch import CommittedBatch
from node.ledger.cosigned import encode_cosigned
from node.ledger.genesis import GENESIS_BYTES_MAX, Genesis, chain_id, parse_genesis
from node.ledger.plan import CommitMachine
from node.ledger.reader import EntryReader, Malformed, open_checks, resolve
from node.settings import FILE_NAME, load_settings
from node.signing.verify import SignatureCheck, VerifyPool
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
    archive: Path, home: Path, *, progress: Progress | None = None, threads: int = THREADS
) -> Imported:
    """Fill the empty data folder of this home from the archive.

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
        source, final = _opened(archive, genesis, document, shown)
        partial = settings.store_path.with_name(settings.store_path.name + ".importing")
        shutil.rmtree(partial, ignore_errors=True)
        with Store.open(partial) as store:
            made = _Import(store, source, genesis, document, pool, shown)
            blocks = made.run(final)
            made.certify(final, sign_state.cosign())
            store.sync()
        partial.rename(settings.store_path)
    return Imported(
        home=home,
        chain_id=chain_id(document).hex(),
        size=final.size,
        root=final.root.hex(),
        commits=source.last_commit or 0,
        blocks=blocks,
        cosigned_by=final.signers,
    )


def _document(path: Path) -> bytes:
    """The home's own genesis: whom to trust is never learnt from the archive. Raises OSError."""
    with path.open("rb") as file:
        return file.read(GENESIS_BYTES_MAX + 1)


def _opened(
    archive: Path, genesis: Genesis, document: bytes, progress: Progress
) -> tuple[ArchiveSource, Judged]:
    """The archive, its files as its manifests say, and the checkpoint it ends with. Raises CannotAudit."""
    source = ArchiveSource.open(archive)
    if source.document != document:
        raise CannotAudit(
            f"{archive}: is of ledger {chain_id(source.document).hex()}, this home of {chain_id(document).hex()}"
        )
    findings = Findings(source.name)
    check_files(source, genesis, document, findings, progress.start("files", None))
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


class _Import:
    """The order and the law, run over the archive into a store."""

    def __init__(
        self,
        store: Store,
        source: ArchiveSource,
        genesis: Genesis,
        document: bytes,
        pool: VerifyPool,
        progress: Progress,
    ) -> None:
        self._store = store
        self._source = source
        self._genesis = genesis
        self._document = document
        self._pool = pool
        self._progress = progress
        self._reader = EntryReader()
        self._findings = Findings(source.name)

    def run(self, final: Judged) -> int:
        """All commits. Returns how many blocks. Raises CannotAudit if they do not lead to the cosigned root."""
        store, source = self._store, self._source
        last = source.last_commit or 0
        order = OrderReplay(
            source,
            trust_of(source, self._genesis, self._document, self._findings).epochs,
            self._pool,
            self._findings,
        )
        order.on_blocks = self._put_blocks
        store.put_meta(keys.META_GENESIS, self._document)
        machine, plan = CommitMachine.found(
            self._genesis, self._document, facts=StoreFacts(store), buckets=StoreBuckets(store)
        )
        write_plan(store, plan, b"")
        tick = self._progress.start("order and law", last)
        done = 0
        for batch in _batches(order, last):
            self._verify_ahead(machine, batch)
            plan = machine.commit(batch, self._reader.read, self._pool.known)
            write_plan(store, plan, source.commit_record(batch.index))
            for raw in batch.entries:
                self._reader.forget(raw)
            done += 1
            tick(1)
        for finding in self._findings.all():
            raise _refused(source.path, str(finding))
        tree = machine.standing.tree
        if done != last or tree.size != final.size or tree.root() != final.root:
            raise _refused(
                source.path,
                f"{done} commits give {tree.size} entries and root {tree.root().hex()}, cosigned are {final.size} and"
                f" {final.root.hex()}",
            )
        return order.blocks

    def certify(self, final: Judged, signed: CosignSigned | None) -> None:
        """The cosignatures that came with the archive; and a mark: what this node has `signed`, or that nobody here knows."""
        rows = [(line.size, line.member, encode_cosigned(line)) for line in final.good]
        self._store.put_cosignatures(rows)
        second = [(line.size, line.member, encode_cosigned(line)) for line in final.second]
        self._store.put_second_lines(second)
        self._store.put_meta(keys.META_FINAL, keys.u64(final.size))
        if signed is None:
            self._store.put_meta(keys.META_RESTORED, b"")
        else:  # the store may stand below it until it has caught up
            self._store.put_meta(keys.META_REBUILD, keys.u64(signed.size))

    def _put_blocks(self, blocks: Sequence[Block]) -> None:
        epoch = blocks[0].header.epoch if blocks else 0  # those of one commit are of one epoch
        self._store.put_blocks([(block.ref, encode_block(block)) for block in blocks], epoch)

    def _verify_ahead(self, machine: CommitMachine, batch: CommittedBatch) -> None:
        checks: list[SignatureCheck] = []
        for raw in batch.entries:
            entry = self._reader.read(raw)
            if isinstance(entry, Malformed):
                continue
            resolved = resolve(entry, machine.law.resolve_key)
            if resolved is not None:
                checks += open_checks(resolved, self._pool.known)
        self._pool.verify_now(checks)


def _batches(order: OrderReplay, last: int) -> Iterator[CommittedBatch]:
    for ordered in order.commits(last):
        commit = ordered.commit
        yield CommittedBatch(
            index=commit.index,
            time_ms=commit.time_ms,
            order_digest=commit.digest,
            entries=ordered.entries,
            evidence=ordered.evidence,
            ends_epoch=ordered.ends_epoch,
        )

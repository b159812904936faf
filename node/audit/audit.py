"""`audit_sources`: open what was named, look at every copy, set them side by side, and say what came of it.

    report = audit_sources(["us-home", "https://ke.example:7452"], pinned=None)
    report.verdict, report.findings, report.entries_replayed, report.roots_equal

The genesis that everything is judged by is the pinned one, if one is given; else a home's own file, else what the first source
holds. Copies of another ledger are not compared but refused.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from consensus.committee import quorum_of
from node.audit.apart import each, replay_all
from node.audit.archive import ArchiveSource, is_archive
from node.audit.certificates import Judged, believed, contradictions, judge, links_of_copy
from node.audit.compare import Comparison, compare
from node.audit.copies import (
    NOT_RUN,
    REFERENCE,
    Copy,
    Ground,
    Progress,
    Readable,
    Silent,
    certificate_sizes,
    read,
)
from node.audit.epochs import Trust, trust_of
from node.audit.explaining import explain
from node.audit.findings import (
    AuditReport,
    Checked,
    Depth,
    Finding,
    Findings,
    SourceReport,
)
from node.audit.opening import open_source
from node.audit.points import Note, unheard
from node.audit.resuming import AuditState
from node.audit.source import CannotAudit, Source
from node.audit.store_source import Folders, StoreSource, Unopenable, find_folders
from node.audit.structure import prover
from node.audit.swift import Workers
from node.audit.withheld import open_promises
from node.ledger.errors import MalformedGenesis
from node.ledger.genesis import chain_id, parse_genesis
from node.signing.verify import VerifyPool

THREADS: Final = 4
BETWEEN: Final = "between the sources"


@dataclass(slots=True, kw_only=True)
class _Opened:
    """All copies, and what could not even be opened."""

    copies: list[Copy] = field(default_factory=list)
    unopenable: list[tuple[str, Unopenable, Folders]] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(
        default_factory=list
    )  # (URL, why): says nothing of anybody


def audit_sources(
    targets: Sequence[str],
    *,
    against: Sequence[str] = (),
    pinned: bytes | None = None,
    progress: Progress | None = None,
    threads: int = THREADS,
    processes: int | None = None,
    depth: Depth = Depth.COMPARE,
    acknowledgements: Sequence[tuple[str, bytes]] = (),
    resume: Path | None = None,
    note: Note = unheard,
) -> AuditReport:
    """Audit homes, data folders, archives (by path) and running nodes (by https URL); compare all of them with each other.

    `against`: copies that are only read for comparison: their tree and cosignatures are checked, their history is not run again.
    `pinned`: the genesis document to judge by. `depth`: the last one to look at, in the order of `Depth`.
    `acknowledgements`: (name, bytes) of nodes' signed promises to include an entry (R58).
    A node that does not answer, or is a stranger's, is told as `unread`; the others are audited all the same.
    `processes`: for hashing and signatures, or for copies; None: one for each core. `resume`: the file of `resuming`;
    `note`: told what of it was not taken up.

    Raises:
        CannotAudit: nothing is known: no such folder, no answer of any node, no genesis, another ledger.
        BadSettings: a home's settings cannot be read.
    """
    with ExitStack() as stack:
        pool = stack.enter_context(VerifyPool(threads=threads))
        named = [*targets, *against]
        if not named:
            raise CannotAudit("name a home, an archive or a node's URL to audit")
        document = _document(named, pinned)
        try:
            genesis = parse_genesis(document)
        except MalformedGenesis as err:
            if pinned is not None:
                raise CannotAudit(f"--genesis: {err}") from err
            return _no_genesis(named[0], document, err)
        workers = stack.enter_context(Workers(processes))
        ground = Ground(
            workers=workers,
            genesis=genesis,
            document=document,
            pool=pool,
            progress=progress or Silent(),
            depth=depth,
            pinned=pinned is not None,
            note=note,
        )
        opened = _open_all(named, ground, stack)
        members = [m for copy in opened.copies for e in copy.trust.epochs for m in e.members]
        promises = open_promises(acknowledgements, members or genesis.members, chain_id(document))
        ground = replace(ground, promises=promises)
        primary = [copy for copy in opened.copies if copy.source.where not in _wheres(against)]
        state = stack.enter_context(AuditState.open(resume, note))
        return _audit(ground, opened, primary, state)


def _wheres(against: Sequence[str]) -> set[str]:
    return {str(Path(target)) if "://" not in target else target for target in against}


def _audit(
    ground: Ground, opened: _Opened, primary: Sequence[Copy], state: AuditState
) -> AuditReport:
    copies = opened.copies
    for copy in copies:
        copy.source.read_certificates(copy.trust.at)
    sizes = sorted(
        {size for copy in copies for size in certificate_sizes(copy.source.certificates)}
    )
    each(copies, lambda copy: read(copy, ground, sizes))
    if ground.goes_to(Depth.SIGNATURES):
        replay_all(ground, copies, primary, state)
        for copy in copies:
            if copy not in primary:
                for depth in (Depth.SIGNATURES, Depth.ORDER, Depth.LAW, Depth.STORE):
                    copy.checked[depth] = REFERENCE
    beside = _side_by_side(ground, copies)
    for copy in copies:
        explain(copy, beside[copy.source.name])
    between = Findings(BETWEEN)
    furthest = max(
        (believed(copy.source, copy.trust, copy.judged) for copy in copies),
        key=lambda trust: len(trust.epochs),
        default=Trust.founding(ground.genesis, ground.document),
    )
    contradictions(
        furthest,
        [
            (
                copy.source.name,
                _judged_by(copy, furthest),
                copy.structure.root_at,
                prover(copy.source),
            )
            for copy in copies
        ],
        between,
    )
    lost = [_all_lost(name, err, copies) for name, err, _ in opened.unopenable]
    newest = max((copy.trust.epochs[-1] for copy in copies), key=lambda e: e.number, default=None)
    members = ground.genesis.members if newest is None else newest.members
    return AuditReport(
        chain_id=ground.chain_id.hex(),
        origin=ground.genesis.origin,
        drill=ground.genesis.drill,
        members=tuple(member.state for member in members),
        quorum=quorum_of(len(members)),
        sources=(
            *(copy.report() for copy in copies),
            *(
                _nothing(name, "store", str(folders.database))
                for name, _, folders in opened.unopenable
            ),
        ),
        findings=(
            *lost,
            *between.all(),
            *(finding for copy in copies for finding in copy.findings.all()),
        ),
        misdeeds=_distinct([m for copy in copies for m in copy.findings.misdeeds]),
        genesis=ground.document,
        pinned=ground.pinned,
        unread=tuple(opened.unread),
        links=max(
            (tuple(links_of_copy(copy.source, copy.trust, copy.judged)) for copy in copies),
            key=len,
            default=(),
        ),
        block_keys=tuple(
            tuple(member.block_key for member in epoch.members) for epoch in furthest.epochs
        ),
    )


def _judged_by(copy: Copy, trust: Trust) -> Sequence[Judged]:
    """A copy's checkpoints by the members whom another copy proves, where its own log shows others."""
    own = copy.trust
    if own.policies is not None or trust.policies is not None or own.epochs == trust.epochs:
        return copy.judged
    scratch, held = Findings(copy.source.name), copy.source.certificates
    copy.source.read_certificates(trust.at)
    again = copy.source.certificates
    copy.source.certificates = held
    return [judge(found, trust.at(found.checkpoint.size), scratch) for found in again]


def _side_by_side(
    ground: Ground, copies: Sequence[Copy]
) -> dict[str, list[tuple[Copy, Comparison]]]:
    """Each pair once, told from both sides."""
    beside: dict[str, list[tuple[Copy, Comparison]]] = {copy.source.name: [] for copy in copies}
    if not ground.goes_to(Depth.COMPARE):
        return beside
    done: dict[str, int] = {}
    for position, copy in enumerate(copies):
        for other in copies[position + 1 :]:
            upto = min(copy.source.size, other.source.size)
            names = f"{copy.source.name} beside {other.source.name}"
            found = compare(copy.source, other.source, ground.progress.start(names, upto))
            turned = Comparison(
                upto=found.upto,
                differing={index: (b, a) for index, (a, b) in found.differing.items()},
                hashes_differ=found.hashes_differ,
            )
            beside[copy.source.name].append((other, found))
            beside[other.source.name].append((copy, turned))
            for name in (copy.source.name, other.source.name):
                done[name] = max(done.get(name, 0), found.upto)
    for copy in copies:
        alone = copy.source.name not in done
        copy.checked[Depth.COMPARE] = (
            Checked(done=False, how_far="one source alone")
            if alone
            else Checked(
                done=True,
                how_far=f"{done[copy.source.name]} entries with {len(copies) - 1} other copies{_behind(copy, copies)}",
            )
        )
    return beside


def _behind(copy: Copy, copies: Sequence[Copy]) -> str:
    """A home that ends before what its own node has signed elsewhere. No finding: a backup is no other than one put back."""
    source = copy.source
    if not isinstance(source, StoreSource) or source.state is None:
        return ""
    signed = [
        (judged.size, other.source.name)
        for other in copies
        for judged in other.judged
        if source.state in judged.signers and judged.size > source.size
    ]
    if not signed:
        return ""
    size, name = max(signed)
    return (
        f"; ends at {source.size}, and {source.state} has cosigned {size} entries, as {name} shows:"
        " an earlier copy of this home, or it was put back"
    )


# --- opening -------------------------------------------------------------------------------------


def _document(named: Sequence[str], pinned: bytes | None) -> bytes:
    """The genesis to judge by. Raises CannotAudit."""
    if pinned is not None:
        return pinned
    for target in named:
        if "://" in target:
            continue
        path = Path(target)
        folders = find_folders(path)
        if folders is not None and folders.genesis is not None and folders.genesis.is_file():
            return folders.genesis.read_bytes()
        source: Source
        try:
            if is_archive(path):
                source = ArchiveSource.open(path)
            elif folders is not None:
                source = StoreSource.open(folders)
            else:
                raise CannotAudit(
                    f"{path}: neither a node's home or data folder nor an archive: want foedus.toml, a database or manifest.json"
                )
        except Unopenable:
            continue
        source.close()
        return source.document
    raise CannotAudit(
        "no genesis document: name one by --genesis, or a home by --home, to know whom to trust"
    )


def _open_all(named: Sequence[str], ground: Ground, stack: ExitStack) -> _Opened:
    """All at once: each waits for its own disk or node."""
    targets = list(dict.fromkeys(named))
    found: dict[str, Readable | Unopenable | CannotAudit] = {}
    each(targets, lambda target: found.update({target: _open(target, ground, stack)}))
    opened = _Opened()
    names: set[str] = set()
    for target in targets:
        source = found[target]
        if isinstance(source, CannotAudit) and not isinstance(source, Unopenable):
            opened.unread.append((target, str(source)))
            continue
        if isinstance(source, Unopenable):
            folders = find_folders(Path(target))
            assert folders is not None, "it was opened as a store"
            opened.unopenable.append((folders.state or target, source, folders))
            continue
        source.name = _unique(source, names)
        findings = Findings(source.name)
        _same_ledger(source, ground, findings)
        copy = Copy(
            source=source,
            findings=findings,
            trust=Trust.founding(ground.genesis, ground.document),
            checked=dict.fromkeys(Depth, NOT_RUN),
        )
        opened.copies.append(copy)
    if len(opened.unread) == len(targets):
        raise CannotAudit("; ".join(why for _, why in opened.unread))
    each(opened.copies, lambda copy: _trust(copy, ground))
    return opened


def _open(target: str, ground: Ground, stack: ExitStack) -> Readable | Unopenable | CannotAudit:
    """Raises CannotAudit: a path that is none is a slip of the keys; that a node is down is not the auditor's."""
    try:
        source = open_source(target, ground.genesis, ground.document)
    except Unopenable as err:
        return err
    except CannotAudit as err:
        if "://" not in target:
            raise
        return err
    stack.callback(source.close)
    return source


def _trust(copy: Copy, ground: Ground) -> None:
    copy.trust = trust_of(copy.source, ground.genesis, ground.document, copy.findings)


def _unique(source: Source, names: set[str]) -> str:
    """Its state or folder; with its kind, then with a number, where that is taken."""
    for name in (source.name, f"{source.name} ({source.kind})"):
        if name not in names:
            names.add(name)
            return name
    number = next(n for n in range(2, len(names) + 3) if f"{source.name} {n}" not in names)
    names.add(f"{source.name} {number}")
    return f"{source.name} {number}"


def _same_ledger(source: Source, ground: Ground, findings: Findings) -> None:
    """Raises CannotAudit if the source is of another ledger; an altered genesis is a finding."""
    if source.document == ground.document:
        return
    try:
        parse_genesis(source.document)
    except MalformedGenesis as err:
        findings.add(Depth.PARSE, f"its genesis document was altered: {err}")
        return
    raise CannotAudit(
        f"{source.where}: is of ledger {chain_id(source.document).hex()}, not of {ground.chain_id.hex()}: audit it by itself"
    )


# --- what could not be read ----------------------------------------------------------------------


def _all_lost(name: str, err: Unopenable, copies: Sequence[Copy]) -> Finding:
    finals = [final for copy in copies if (final := copy.final) is not None]
    largest = max(finals, key=lambda judged: judged.size, default=None)
    return Finding(
        depth=Depth.PARSE,
        source=name,
        what=str(err),
        entries=None if largest is None else (0, largest.size - 1),
        file=err.file,
        proven_by=() if largest is None else largest.signers,
    )


def _nothing(name: str, kind: str, where: str) -> SourceReport:
    return SourceReport(
        name=name,
        kind=kind,
        where=where,
        size=0,
        root="",
        final_size=0,
        final_root="",
        final_at_s=None,
        cosigned_by=(),
        checked=dict.fromkeys(Depth, NOT_RUN),
        entries_replayed=0,
        commits_replayed=0,
        replayed_root="",
    )


def _no_genesis(target: str, document: bytes, err: MalformedGenesis) -> AuditReport:
    """Without a genesis that its members signed nobody's signature means anything."""
    finding = Finding(
        depth=Depth.CERTIFICATES,
        source=target,
        what=f"its genesis document is not one that all its members signed: {err}",
    )
    return AuditReport(
        chain_id=chain_id(document).hex(),
        origin="",
        drill=False,
        members=(),
        quorum=0,
        sources=(_nothing(target, "unknown", target),),
        findings=(finding,),
        misdeeds=(),
    )


def _distinct(misdeeds: Sequence[Finding]) -> tuple[Finding, ...]:
    """One of each, whichever copies show it."""
    return tuple({(m.what, m.accused): m for m in misdeeds}.values())

"""What `foedus bench audit` measures, each on its own archive and in the same run.

    structure    `audit_sources` to the depth `certificates`: manifests, every bundle through every tile to the root, cosignatures
    full         to the depth `law`: besides, every signature, the commit rule over the blocks, every leaf by the law
    limit        what the cores could do if they checked signatures alone: cores x PyNaCl verifications a second of one core; and
                 what they do, all at once (`limit`)
    transfer     an archive imported into a home, and exported from it; beside the disk's own speed
    receipts     receipts with a quorum of cosignatures, judged one after another on one core
    ccf          the Python replay of CCF's ledger (PyPI `ccf`), which checks the tree and one node signature for many entries

Each replay runs in a process of its own, so that its memory is its own: the peak counts that process and those that it started.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.audit.archive import ArchiveSource
from node.audit.bench.limit import Check, of_all_cores, of_one_core
from node.audit.bench.synthetic import History, make
from node.audit.bench.transfer import ENTRIES_MAX, Transfer, transfer
from node.audit.source import CannotAudit
from node.ledger.trust import trust_policy
from node.log import merkle
from node.log.cose import parse_entry
from node.log.policy import Evaluation, Judge, TrustPolicy, evaluate, parse_policy
from node.log.proof import ProofFile, parse_proof
from node.log.tiles import TILE_HEIGHT
from node.signing.checkpoints import sign_log_line
from node.signing.verify import verify_ed25519
from node.treaty import law

RECEIPTS: Final = 400
LIMIT_CHECKS: Final = 4_000
RUN_S_MAX: Final = 3 * 3600
CURVE: Final = (10_000, 100_000)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One replay in a process of its own."""

    entries: int
    seconds: float
    own_cpu_s: float  # of the process itself, which runs the law
    cpu_s: float  # of it and its children
    rss_max: int  # bytes: the largest sum of it and its children that was seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one length costs."""

    entries: int
    structure: Replayed
    full: Replayed


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that was measured."""

    cores: int
    points: tuple[Point, ...]  # ascending by length
    verifications_per_second: float  # of one core
    verifications_of_all_cores: float  # a second, all of them at work at once
    is_compiled: bool  # the law and what reads entries for it (decision 0260)
    signatures: int  # checked by the longest full replay
    receipts_per_second: float  # of one core, each with its checkpoint's signatures
    receipts_of_one_checkpoint: float  # the same, with those checked once
    ccf: dict[str, Any] | None
    transfer: Transfer


def run(folder: Path, entries: int, ccf_python: str | None, say: Say) -> Found:
    """Make what is missing in `folder`, then measure. Raises CannotAudit, OSError."""
    sizes = sorted({*(size for size in CURVE if size < entries), entries})
    histories = [make(folder, size, say) for size in sizes]
    points = []
    for history in histories:
        say(f"replaying {history.size} entries: structure, then full")
        points.append(
            Point(
                entries=history.size,
                structure=replayed(history, "certificates"),
                full=replayed(history, "law"),
            )
        )
    longest = histories[-1]
    moved = [history for history in histories if history.size <= 1.1 * ENTRIES_MAX] or histories
    say(f"{moved[-1].size} entries into a node's store and out of it")
    moving = transfer(moved[-1], folder)
    say("signatures and receipts on one core")
    receipts, together = _receipts(longest)
    checks, cores = _signatures(longest), os.cpu_count() or 1
    return Found(
        cores=cores,
        points=tuple(points),
        verifications_per_second=of_one_core(checks),
        verifications_of_all_cores=of_all_cores(checks, cores),
        is_compiled=not (law.__file__ or "").endswith(".py"),
        signatures=longest.signed_entries,
        receipts_per_second=receipts,
        receipts_of_one_checkpoint=together,
        ccf=_ccf(ccf_python, folder, say),
        transfer=moving,
    )


def replayed(history: History, depth: str) -> Replayed:
    """Raises CannotAudit if the history is not found consistent: then nothing was measured."""
    words = [sys.executable, "-m", "node.audit.bench.replay", str(history.folder), depth]
    started = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603 - our own interpreter
        peak = 0
        while child.poll() is None:
            peak = max(peak, _tree_bytes(child.pid))
            if time.perf_counter() - started > RUN_S_MAX:
                child.kill()
                raise CannotAudit(f"{history.folder}: no end after {RUN_S_MAX} s")
            time.sleep(0.05)
        assert child.stdout is not None, "a pipe was asked for"
        said = child.stdout.read()
    if child.returncode != 0:
        raise CannotAudit(f"{history.folder}: its replay ended with {child.returncode}")
    told = json.loads(said)
    return Replayed(
        entries=history.size,
        seconds=told["seconds"],
        own_cpu_s=told["own_cpu_s"],
        cpu_s=told["cpu_s"],
        rss_max=max(peak, told["rss_max"]),
    )


def _tree_bytes(pid: int) -> int:
    """Resident bytes of a process and its children; what has ended meanwhile counts nothing. Zero without /proc."""
    total = 0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            task = Path(f"/proc/{one}/task/{one}/children").read_text(encoding="ascii")
            pages = int(Path(f"/proc/{one}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            continue
        waiting += [int(child) for child in task.split()]
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def _signatures(history: History) -> list[Check]:
    """Of the last entries of this history, to be checked for the limit."""
    source = ArchiveSource.open(history.folder)
    keys = {keys.author_id: keys.author.public for keys in history.founding.operators}
    checks: list[Check] = []
    for leaf in source.entries(max(0, history.size - LIMIT_CHECKS - 64), LIMIT_CHECKS):
        if leaf[:1] == b"\xd2":
            statement = parse_entry(leaf)
            checks.append(
                (keys[statement.header.issuer], statement.to_be_signed(), statement.signature)
            )
    return checks


def _make_receipts(history: History) -> tuple[TrustPolicy, list[bytes]]:
    """The policy, and receipts of entries all over the history."""
    source = ArchiveSource.open(history.folder)
    source.read_certificates(lambda _: history.founding.genesis)
    certificate = source.certificates[-1]
    line = sign_log_line(history.founding.nodes[0].log, certificate.checkpoint)
    note = certificate.note(history.founding.genesis) + str(line).encode()
    policy = parse_policy(trust_policy(history.founding.genesis))

    def read(level: int, index: int) -> bytes:
        stored = level - level % TILE_HEIGHT
        count = 1 << level - stored
        hashes = source.hashes(stored, index * count, count)
        return merkle.append(merkle.EMPTY_TREE, hashes).tree.peaks[0]

    step = max(1, history.size // RECEIPTS)
    receipts = []
    for index in range(0, step * RECEIPTS, step):
        path = merkle.inclusion_proof(index, history.size, read)
        leaf = source.entries(index, 1)[0]
        receipts.append(bytes(ProofFile(index=index, hashes=tuple(path), note=note, extra=leaf)))
    return policy, receipts


def _receipts(history: History) -> tuple[float, float]:
    """A second: each with all of its checkpoint's signatures; and many of one checkpoint, whose signatures are checked once."""
    policy, receipts = _make_receipts(history)
    alone = _fastest(receipts, lambda: lambda note: evaluate(policy, note, verify_ed25519))
    together = _fastest(receipts, lambda: Judge(policy, verify_ed25519).of)
    return alone, together


def _fastest(
    receipts: Sequence[bytes], begin: Callable[[], Callable[[bytes], Evaluation]]
) -> float:
    """Receipts a second, of three turns. Parsed, judged by the trust policy, folded to the root: from bytes to verdict."""
    best = 0.0
    for _ in range(3):
        started = time.perf_counter()
        judge = begin()
        for receipt in receipts:
            proof = parse_proof(receipt)
            judged = judge(proof.note)
            assert judged.satisfied, judged.why
            leaf = merkle.leaf_hash(proof.extra or b"")
            size = judged.checkpoint.size
            root = merkle.fold_inclusion(leaf, proof.index, size, proof.hashes)
            assert root == judged.checkpoint.root, "proven"
        best = max(best, len(receipts) / (time.perf_counter() - started))
    return best


def _ccf(named: str | None, folder: Path, say: Say) -> dict[str, Any] | None:
    """By the interpreter named; else by this one, if it has the package."""
    if named is None and importlib.util.find_spec("ccf") is None:
        return None
    say("CCF's own replay of a ledger made for it")
    return ccf(named or sys.executable, folder, say)


def ccf(python: str, folder: Path, say: Say) -> dict[str, Any] | None:
    """CCF's own replay, by an interpreter that has PyPI `ccf`; None if it has not, or the script is not here."""
    script = Path(__file__).resolve().parents[3] / "bench" / "ccf_replay.py"
    if not script.is_file():
        say("bench/ccf_replay.py is not here: run from a checkout to compare with ccf")
        return None
    done = subprocess.run(  # noqa: S603 - the operator names the interpreter
        [python, str(script), str(folder / "ccf")],
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
    )
    if done.returncode != 0:
        say(f"{python} could not replay a CCF ledger: {done.stderr.strip()[-200:]}")
        return None
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def document(found: Found) -> dict[str, Any]:
    """Figures for machines; rates are entries of the log a second, records included."""
    longest = found.points[-1]
    full_signed = found.signatures / longest.full.seconds
    limit = found.cores * found.verifications_per_second
    return {
        "entries": longest.entries,
        "cores": found.cores,
        "structure_entries_per_second": round(longest.entries / longest.structure.seconds),
        "ccf_entries_per_second": None if found.ccf is None else found.ccf["entries_per_second"],
        "ccf": found.ccf,
        "full_entries_per_second": round(longest.entries / longest.full.seconds),
        "verifications_per_second_per_core": round(found.verifications_per_second),
        "signature_limit_all_cores_per_second": round(found.verifications_of_all_cores),
        "full_ratio_to_signature_limit": round(full_signed / limit, 3),
        "full_ratio_to_all_cores": round(full_signed / found.verifications_of_all_cores, 3),
        "compiled": found.is_compiled,
        "receipts_per_second_per_core": round(found.receipts_per_second),
        "receipts_of_one_checkpoint_per_second_per_core": round(found.receipts_of_one_checkpoint),
        "transfer": found.transfer.as_json(),
        "rss_mib_max": round(
            max(max(p.structure.rss_max, p.full.rss_max) for p in found.points) / (1 << 20)
        ),
        "curve": [
            {
                "entries": point.entries,
                "structure_us": _us(point.structure.seconds, point.entries),
                "structure_cpu_us": _us(point.structure.cpu_s, point.entries),
                "full_us": _us(point.full.seconds, point.entries),
                "full_cpu_us": _us(point.full.cpu_s, point.entries),
                "full_law_cpu_us": _us(point.full.own_cpu_s, point.entries),
                "rss_mib": round(max(point.structure.rss_max, point.full.rss_max) / (1 << 20)),
            }
            for point in found.points
        ],
    }


def _us(seconds: float, entries: int) -> float:
    return round(1e6 * seconds / entries, 2)


def lines(shown: dict[str, Any]) -> Sequence[str]:
    """The same for people."""
    ccf_rate = shown["ccf_entries_per_second"]
    structure, full = shown["structure_entries_per_second"], shown["full_entries_per_second"]
    limit = f"{shown['cores']} x {shown['verifications_per_second_per_core']}/s"
    ratio, of_all = shown["full_ratio_to_signature_limit"], shown["full_ratio_to_all_cores"]
    build = "compiled" if shown["compiled"] else "plain"
    together = shown["receipts_of_one_checkpoint_per_second_per_core"]
    made = [
        f"structure  {structure} entries/s; CCF's Python replay: {ccf_rate or 'not measured'}",
        f"full       {full} entries/s ({build} build); {ratio} of the signature limit, {limit}",
        f"           {of_all} of what all cores check at once, {shown['signature_limit_all_cores_per_second']}/s",
        f"receipts   {shown['receipts_per_second_per_core']}/s on one core, {together}/s of one checkpoint",
        f"memory     {shown['rss_mib_max']} MiB at most",
    ]
    moved = shown["transfer"]
    for way in ("import", "export"):
        turn = moved[way]
        made.append(
            f"{way:10} {turn['entries_per_second']} entries/s, {turn['mib_per_second']} MiB/s, limited by {turn['limited_by']};"
            f" the disk takes {moved['disk_mib_per_second']} MiB/s"
        )
    for point in shown["curve"]:
        made.append(
            f"  {point['entries']:>9} entries: structure {point['structure_us']} us"
            f" ({point['structure_cpu_us']} of processors), full {point['full_us']} us"
            f" ({point['full_cpu_us']}, of it the law's process {point['full_law_cpu_us']}), {point['rss_mib']} MiB"
        )
    return made

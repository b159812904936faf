"""Every other row of a node's store against the replay: state, indexes, blocks, sign state, what waits in the mempool.

A row that the replay writes must be there with its value; that there are no others is shown by counting, since the end of a scan
proves nothing (RULINGS R54). Rows that no replay gives carry their own proof: a block its name and signature, a cosignature
its signature (see `certificates`), a waiting entry its hash.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import islice
from typing import Final

from consensus.codec import MalformedBlock, block_signing_bytes, decode_block
from consensus.types import Block, Digest, Ref
from node.audit.epochs import Trust
from node.audit.findings import Depth, Findings
from node.audit.law import LawResult, Replay
from node.audit.order import OrderReplay
from node.audit.source import Lost
from node.audit.store_source import StoreSource, lost_by
from node.ledger.append import commit_write
from node.ledger.conflicts import META_CONFLICT, META_SECOND_CONFLICT
from node.ledger.epochs import Epoch
from node.ledger.plan import AppendPlan
from node.ledger.records import encode_dropped
from node.log.checkpoint import Checkpoint
from node.log.cosignature import Cosignature
from node.signing.checkpoints import verify_cosignature
from node.signing.verify import VerifyPool, verify_ed25519
from node.storage import keys
from node.storage.errors import StoreDamaged
from node.storage.rows import IndexRow
from node.storage.sign_state import BLOCK_FILE_BYTES_MAX, block_file, parse_block, parse_cosign

BLOCKS_STEP: Final = 512
PENDING_HEAD_BYTES: Final = 17  # u64 arrival | u64 inclusion_by_ms | u8 held

META_NAMES: Final = frozenset(
    {
        *(keys.META_FORMAT, keys.META_GENESIS, keys.META_TIP, keys.META_DROPPED, keys.META_FINAL),
        *(keys.META_SECOND, keys.META_REBUILD, keys.META_RESTORED),
        *(META_CONFLICT, META_SECOND_CONFLICT),
    }
)
EQUIVOCATION_NAME_BYTES: Final = len(keys.META_EQUIVOCATION) + 4 + 2


class StoreRows:
    """Told of each plan of the replay; `finish` counts and says what is left over."""

    def __init__(self, source: StoreSource, findings: Findings) -> None:
        self._source = source
        self._store = source.store
        self._findings = findings
        self._counts = dict.fromkeys(("index", "sequence", "contents", "facets", "hashes"), 0)

    def on_plan(self, plan: AppendPlan) -> None:
        write = commit_write(plan, b"")
        self._counts["hashes"] += sum(len(run.hashes) for run in write.hashes)
        for row in write.index_rows:
            try:
                self._index_row(row, plan.index)
            except StoreDamaged as err:
                lost = lost_by(err)
                self._add(f"index rows of entry {row.index} cannot be read: {lost.why}", lost.file)

    def _index_row(self, row: IndexRow, commit: int) -> None:
        if row.entry_hash is not None:
            self._counts["index"] += 1
            if self._store.facts(row.entry_hash) != (commit, row.facts):
                self._add(f"index row of entry {row.index} is not what the replay writes")
            if row.sequence is not None:
                self._counts["sequence"] += 1
                if self._store.hash_at_seq(*row.sequence) != row.entry_hash:
                    self._add(f"sequence row of entry {row.index} does not lead to it")
            if row.content_hash is not None:
                self._counts["contents"] += 1
                if self._store.hash_by_content(row.content_hash) != row.entry_hash:
                    self._add(f"content row of entry {row.index} does not lead to it")
        for facet, value in dict.fromkeys(row.facets):
            self._counts["facets"] += 1
            if not self._store.has_facet(facet, value, row.index):
                self._add(f"entry {row.index} is not listed under {facet.name} {value!r:.60}")

    def finish(self, replay: Replay, result: LawResult) -> None:
        """After the last plan of a complete replay."""
        for family, expected in {**self._counts, "log": result.entries}.items():
            self._count(family, expected)
        self._state(replay)
        self._tip(replay)

    def _count(self, family: str, expected: int) -> None:
        try:
            held = sum(1 for _ in self._source.rows(family))
        except Lost as lost:
            self._add(f"{family} rows cannot be read to the end: {lost.why}", lost.file)
            return
        if held != expected:
            self._add(f"{held} {family} rows, the replay writes {expected}")

    def _state(self, replay: Replay) -> None:
        expected = replay.state()
        wrong = 0
        try:
            for key, value in self._source.rows("state"):
                held = expected.pop((int.from_bytes(key[:2], "big"), key[2:]), None)
                wrong += held != value
        except Lost as lost:
            self._add(f"state rows cannot be read to the end: {lost.why}", lost.file)
            return
        if wrong or expected:
            self._add(f"the law's state: {wrong} rows altered or too many, {len(expected)} missing")

    def _tip(self, replay: Replay) -> None:
        tip = self._source.tip
        assert tip is not None, "a replay needs entries"
        standing = replay.machine.standing
        expected = {
            "log_size": standing.tree.size,
            "state_keys": replay.machine.state_keys,
            "state_digest": replay.machine.state_digest,
            "commit": standing.index,
            "time_ms": standing.time_ms,
        }
        self._meta(keys.META_DROPPED, encode_dropped(standing.dropped))
        self._names()
        self._second()
        self._count("commits", standing.index + 1)
        for name, value in expected.items():
            if getattr(tip, name) != value:
                self._add(f"the tip's {name} is not what the replay comes to, {_text(value)}")

    def _names(self) -> None:
        """No row beside those that a node writes: nobody reads another one, and nobody put it there but by hand."""
        try:
            for name, _ in self._source.rows("meta"):
                proof = name.startswith(keys.META_EQUIVOCATION)
                if name not in META_NAMES and not (proof and len(name) == EQUIVOCATION_NAME_BYTES):
                    self._add(f"the row {name[:40]!r} of meta is none that a node writes")
        except Lost as lost:
            self._add(f"meta rows cannot be read to the end: {lost.why}", lost.file)

    def _second(self) -> None:
        """The row `second` is there with the first ML-DSA line, is never below the largest size of one, nor beyond the log.

        It may be above it: lines of old sizes are let go, and newer sizes may have got none.
        """
        try:
            held = self._store.meta(keys.META_SECOND)
            found = [
                int.from_bytes(key[:8], "big")
                for key, _ in self._source.rows("cosignatures")
                if int.from_bytes(key[8:], "big") & keys.SECOND_LINE
            ]
        except StoreDamaged as err:
            self._add(str(err), lost_by(err).file)
            return
        except Lost as lost:
            self._add(f"cosignatures cannot be read to the end: {lost.why}", lost.file)
            return
        largest = max(found, default=0)
        told = None if held is None or len(held) != 8 else int.from_bytes(held, "big")
        if held is None and not found:
            return
        if told is None or not largest <= told <= self._source.size:
            shown = "missing" if held is None else held[:8].hex()
            self._add(f"the row second is {shown}, and second lines are held up to size {largest}")

    def _meta(self, name: bytes, expected: bytes) -> None:
        try:
            held = self._store.meta(name)
        except StoreDamaged as err:
            self._add(str(err), lost_by(err).file)
            return
        if held != expected:
            self._add(f"the row {name.decode()} is not what the replay writes")

    def _add(self, what: str, file: str | None = None) -> None:
        self._findings.add(Depth.STORE, what, file=file)


def check_blocks(
    source: StoreSource,
    order: OrderReplay,
    pool: VerifyPool,
    findings: Findings,
    tick: Callable[[int], None],
) -> int:
    """Every stored block, committed or not: name, form, signature; and its row in the authors' index. How many."""
    seen = 0
    for name in ("blocks", "later_blocks"):
        try:
            found = 0
            stored = source.rows(name)
            while rows := list(islice(stored, BLOCKS_STEP)):
                _check_stored(rows, order, pool, findings)
                found += len(rows)
                tick(len(rows))
            named = sum(1 for _ in source.rows(name.replace("blocks", "authors")))
        except Lost as lost:
            what = f"{name} cannot be read to the end: {lost.why}"
            findings.add(Depth.STORE, what, file=lost.file)
            return seen
        if named != found:
            findings.add(Depth.STORE, f"{found} {name}, {named} rows in their authors' index")
        seen += found
    return seen


def _check_stored(
    rows: Sequence[tuple[bytes, bytes]], order: OrderReplay, pool: VerifyPool, findings: Findings
) -> None:
    good: list[Block] = []
    for key, data in rows:
        block = _block(key, data, findings)
        if block is not None:
            good.append(block)
    verdicts = pool.verify_now([order.signature_check(block) for block in good])
    for block, verdict in zip(good, verdicts, strict=True):
        if not verdict:
            findings.add(
                Depth.SIGNATURES, f"stored block {_name(block.ref)}: not signed by its author"
            )


def _block(key: bytes, data: bytes, findings: Findings) -> Block | None:
    epoch, round_, author, digest = keys.split_block(key)
    where = f"stored block {round_}/{author} {digest.hex()}"
    try:
        block = decode_block(data)
    except MalformedBlock as err:
        findings.add(Depth.STORE, f"{where} was altered: {err}")
        return None
    if (block.header.epoch, *block.ref) != (epoch, round_, author, digest):
        findings.add(Depth.STORE, f"{where} was altered: it is {_name(block.ref)}")
        return None
    return block


def check_mempool(source: StoreSource, findings: Findings) -> int:
    """Waiting entries are named by their hashes. How many."""
    seen = 0
    try:
        for key, value in source.rows("mempool"):
            seen += 1
            if sha256(value[PENDING_HEAD_BYTES:]).digest() != key:
                findings.add(Depth.STORE, f"waiting entry {key.hex()} was altered")
    except Lost as lost:
        findings.add(Depth.STORE, f"the mempool cannot be read: {lost.why}", file=lost.file)
    return seen


def check_sign_state(
    source: StoreSource, trust: Trust, chain_id: bytes, findings: Findings
) -> None:
    """The two files beside the database: whole, signed by this node's keys, and not ahead of the store (R53)."""
    data = source.folders.data
    if data is None:
        return
    try:
        _check_cosign(source, trust, findings)
        for epoch in trust.epochs[-2:]:
            name = block_file(epoch.number)
            held = _file(source, name)
            newest = _newest_own(source, epoch)
            if held is not None:
                _check_own_block(name, held, source.state, trust, chain_id, findings)
                signed = parse_block(held)
                if newest is not None and (signed.epoch, signed.round) < (epoch.number, newest):
                    findings.add(
                        Depth.STORE,
                        f"sign state `{name}`: of round {signed.round}, and the store holds an own block of round {newest}:"
                        " it was put back",
                    )
            elif newest is not None and not _is_restored(source):
                findings.add(
                    Depth.STORE,
                    f"sign state `{name}` is gone, and the store holds an own block of round {newest}",
                )
    except StoreDamaged as err:
        findings.add(Depth.STORE, str(err), file=str(data))
    except Lost as lost:
        findings.add(Depth.STORE, lost.why, file=lost.file)


def _newest_own(source: StoreSource, epoch: Epoch) -> int | None:
    """The round of the newest own block of an epoch, if this node has one in its store. Raises StoreDamaged."""
    own = None if source.state is None else epoch.index_of(source.state)
    found = None if own is None else source.store.newest_block_of(own, epoch.number)
    return None if found is None else found[0].round


def _is_restored(source: StoreSource) -> bool:
    """Made of an archive, with own blocks and without what was signed: the node knows (DESIGN D12)."""
    return source.store.meta(keys.META_RESTORED) is not None


def _check_cosign(source: StoreSource, trust: Trust, findings: Findings) -> None:
    """Raises StoreDamaged, Lost."""
    held = _file(source, "cosign")
    newest = _newest_own_line(source, trust)
    if held is None:
        if newest is not None and not _is_restored(source):
            findings.add(
                Depth.STORE,
                f"sign state `cosign` is gone, and the store holds an own line of size {newest}",
            )
        return
    signed = parse_cosign(held)
    if newest is not None and newest > signed.size:
        findings.add(
            Depth.STORE,
            f"sign state `cosign`: of size {signed.size}, and the store holds an own line of size {newest}: it was put back",
        )
    if signed.size > source.size:
        findings.add(
            Depth.STORE,
            f"this node has cosigned {signed.size} entries, its store holds {source.size}: the store was put back",
        )
    elif source.root_at(signed.size) != signed.root:
        findings.add(
            Depth.STORE,
            f"this node has cosigned root {signed.root.hex()} at size {signed.size}, and its store has another",
        )
    genesis = trust.at(signed.size)
    member = next((m for m in genesis.members if m.state == source.state), None)
    checkpoint = Checkpoint(origin=genesis.origin, size=signed.size, root=signed.root)
    line = Cosignature(timestamp=signed.timestamp, signature=signed.signature)
    if member is not None and not verify_cosignature(
        member.state, member.cosigner_key, checkpoint, line
    ):
        findings.add(Depth.STORE, "sign state `cosign`: not by this node's cosigner")


def _newest_own_line(source: StoreSource, trust: Trust) -> int | None:
    """The largest size of the certificates here that this node's own line is among."""
    sizes = []
    for certificate in source.certificates:
        size = certificate.checkpoint.size
        states = [member.state for member in trust.at(size).members]
        if any(states[line.member] == source.state for line in certificate.lines):
            sizes.append(size)
    return max(sizes, default=None)


def _check_own_block(
    name: str, held: bytes, state: str | None, trust: Trust, chain_id: bytes, findings: Findings
) -> None:
    signed = parse_block(held)
    members = trust.epochs[signed.epoch].members if signed.epoch < len(trust.epochs) else ()
    block_key = next((m.block_key for m in members if m.state == state), None)
    try:
        block = decode_block(signed.block)
    except MalformedBlock as err:
        findings.add(Depth.STORE, f"sign state `{name}`: {err}")
        return
    named = (signed.round, signed.digest)
    message = block_signing_bytes(Digest(chain_id), signed.epoch, block.ref)
    if (block.ref.round, block.ref.digest) != named or (
        block_key is not None and not verify_ed25519(block_key, message, block.signature)
    ):
        findings.add(
            Depth.STORE, f"sign state `{name}`: not the block it names, by this node's key"
        )


def _file(source: StoreSource, name: str) -> bytes | None:
    assert source.folders.data is not None, "asked for with a data folder"
    path = source.folders.data / name
    try:
        with path.open("rb") as file:
            return file.read(BLOCK_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as err:
        raise Lost(f"{path}: {err.strerror}", str(path)) from err


def _name(ref: Ref) -> str:
    return f"{ref.round}/{ref.author} {ref.digest.hex()}"


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)

"""Histories for audits: a DAG of signed blocks by five states, ordered by the rule, applied by the real ledger, cosigned by all.

    made = weave(rounds=24)                         blocks and commits, once for all nodes
    folder = await live(made, tmp_path / "CN", "CN")   that node's home: settings, genesis, store, sign state

The weave has what makes orders differ from rounds: leaders that are silent for a round (skipped slots), one who is slow (blocks
that are referenced late), blocks at the end that nothing commits, commits without payload; and entries of every fate: accepted,
endorsed, rejected by the law, with a bad signature, and given twice.
"""

import asyncio
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import rocksdict

from consensus.codec import (
    assemble_block,
    block_signing_bytes,
    encode_block,
    encode_commit_record,
    encode_header,
    header_digest,
    payload_root,
)
from consensus.commit_rule import Status, decide, deciders
from consensus.committee import Committee
from consensus.dag import Dag
from consensus.linearizer import Linearizer
from consensus.types import (
    Block,
    CommitRecord,
    Digest,
    EquivocationProof,
    Header,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)
from node.ledger.batch import CommittedBatch
from node.ledger.cosigned import Cosigned
from node.ledger.evidence import evidence_of
from node.log.checkpoint import Checkpoint
from node.settings import FILE_NAME, ListenSettings, NodeSettings, Settings, documented_toml
from node.signing.checkpoints import sign_cosignature
from node.signing.keys import SigningKey
from node.storage.sign_state import BlockSigned
from node.storage.store import Store
from tests.unit.ledger.founding import GENESIS_MS, Founding, found
from tests.unit.ledger.running import Running, start

MEMBERS = 5
ROUND_MS = 100
DEADLINE_S = 20.0


@dataclass
class Weave:
    """One history before any node has stored it."""

    founding: Founding
    committee: Committee
    blocks: list[Block] = field(default_factory=list)
    records: list[CommitRecord] = field(default_factory=list)
    entries: list[bytes] = field(default_factory=list)  # proposed, in order
    by_ref: dict[Ref, Block] = field(default_factory=dict)

    def batch(self, record: CommitRecord) -> CommittedBatch:
        commit = record.commit
        payloads = [self.by_ref[ref].payload for ref in commit.blocks]
        return CommittedBatch(
            index=commit.index,
            time_ms=commit.time_ms,
            order_digest=commit.digest,
            entries=tuple(entry for payload in payloads for entry in payload),
            evidence=evidence_of(
                [self.by_ref[ref].header for ref in commit.blocks],
                [member.state for member in self.founding.genesis.members],
            ),
        )


def committee_of(founding: Founding) -> Committee:
    return Committee.found(
        chain_id=Digest(founding.chain_id),
        block_keys=[node.block.public for node in founding.nodes],
        genesis_time_ms=Millis(GENESIS_MS),
    )


def sign_block(
    founding: Founding,
    committee: Committee,
    round_: int,
    author: int,
    parents: tuple[Ref, ...],
    payload: tuple[bytes, ...] = (),
    *,
    late_ms: int = 0,
    evidence: tuple[EquivocationProof, ...] = (),
) -> Block:
    """A block by its author's own key."""
    header = Header(
        chain_id=committee.chain_id,
        epoch=0,
        round=Round(round_),
        author=ValidatorIndex(author),
        time_ms=Millis(GENESIS_MS + round_ * ROUND_MS + late_ms),
        flags=0,
        parents=parents,
        payload_root=payload_root(payload),
        payload_len=sum(map(len, payload)),
        commit_votes=(),
        evidence=evidence,
    )
    ref = Ref(header.round, header.author, header_digest(encode_header(header)))
    key = founding.nodes[author].block
    signature = key.sign(block_signing_bytes(committee.chain_id, 0, ref))
    return assemble_block(header, payload, signature)


def payloads(founding: Founding) -> list[tuple[bytes, ...]]:
    """What is proposed, one tuple a block: every fate that an entry can have."""
    first, second = founding.author(0), founding.author(1)
    agency = founding.agencies[0]
    found: list[tuple[bytes, ...]] = [(first.facility("dc1", agency),)]
    for number in range(12):
        found.append((first.energy(10 + number), second.energy(20 + number)))
    found.append((first.facility("dc2", founding.agencies[1], endorsed=False),))  # COUNTERSIGN
    found.append((found[1][0],))  # again: DUPLICATE
    broken = bytearray(second.energy(99))
    broken[-1] ^= 1
    found.append((bytes(broken), b"\xd2no entry at all"))  # SIGNATURE (its seq is burnt), SCHEMA
    found.append(tuple(first.energy(200 + number, meter="m2") for number in range(8)))
    return found


def proof_of(first: Block, second: Block) -> EquivocationProof:
    """That one author signed both."""
    first, second = sorted((first, second), key=lambda block: block.ref.digest)
    return EquivocationProof(
        epoch=0,
        round=first.ref.round,
        author=first.ref.author,
        digest1=first.ref.digest,
        signature1=first.signature,
        digest2=second.ref.digest,
        signature2=second.signature,
    )


def weave(
    *,
    rounds: int = 26,
    founding: Founding | None = None,
    equivocate: bool = False,
    accused_by: Mapping[int, bool] | None = None,
) -> Weave:
    """A DAG of `rounds` rounds. Author 4 is silent in some; author 3's blocks are seen a round late in some.

    `equivocate`: author 2 signs two blocks for round 9. `accused_by`: who carries a proof of it in round 11, and whether it
    is good.
    """
    founding = founding or found(MEMBERS, 2)
    committee = committee_of(founding)
    made = Weave(founding=founding, committee=committee)
    waiting = payloads(founding)
    last = {author: committee.genesis[author] for author in range(MEMBERS)}
    shown = dict(last)  # what others can reference
    dag, linearizer = Dag(committee), Linearizer(committee)
    next_round = Round(1)
    proof: EquivocationProof | None = None
    for round_ in range(1, rounds + 1):
        fresh: dict[int, Block] = {}
        for author in range(MEMBERS):
            if author == 4 and _silent(round_):
                continue
            parents = (
                last[author],
                *(shown[other] for other in range(MEMBERS) if other != author),
            )
            payload = waiting.pop(0) if waiting and author == round_ % MEMBERS else ()
            evidence: tuple[EquivocationProof, ...] = ()
            if accused_by and round_ == 11 and author in accused_by:
                assert proof is not None, "nobody has equivocated"
                good = accused_by[author]
                evidence = (proof if good else replace(proof, signature1=bytes(64)),)
            fresh[author] = sign_block(
                founding, committee, round_, author, parents, payload, evidence=evidence
            )
            made.entries += payload
        blocks = list(fresh.values())
        if equivocate and round_ == 9:
            twin = sign_block(founding, committee, round_, 2, fresh[2].header.parents, late_ms=7)
            blocks.append(twin)
            proof = proof_of(fresh[2], twin)
        for block in blocks:
            dag.accept(block)
            made.by_ref[block.ref] = block
        made.blocks += sorted(blocks, key=lambda block: block.ref)
        for author, block in fresh.items():
            last[author] = block.ref
            if not (author == 3 and round_ % 5 == 2 and not _silent(round_)):
                shown[author] = block.ref
        if equivocate and round_ == 9:
            shown[2] = twin.ref
        next_round = _commit(made, dag, linearizer, next_round)
    return made


def _silent(round_: int) -> bool:
    """Never with author 3 late as well: a block names a quorum of the round before."""
    return round_ % 7 in (3, 4)


def _commit(made: Weave, dag: Dag, linearizer: Linearizer, next_round: Round) -> Round:
    decisions = decide(dag, next_round)
    why: set[Ref] = set()
    for position, decision in enumerate(decisions):
        if decision.status is Status.UNDECIDED:
            break
        why.update(deciders(dag, decisions, position))
        next_round = Round(decision.round + 1)
        if decision.leader is not None:
            commit = linearizer.order(dag, decision.leader)
            made.records.append(CommitRecord(commit=commit, deciders=tuple(sorted(why))))
            dag.raise_floor(linearizer.floor)
            why = set()
    return next_round


async def live(
    made: Weave,
    home: Path,
    state: str,
    *,
    commits: int | None = None,
    cosigners: int = MEMBERS,
    killed: bool = False,
) -> Path:
    """This state's node has lived through the history and was stopped; or `killed`, with its rows in the write-ahead log.

    `cosigners`: how many states signed its checkpoints.
    """
    own = made.founding.genesis.member_index(state)
    furnish(made, home, state)
    node = await start(made.founding, home / "data", own=own)
    cosigning = asyncio.create_task(node.finality.run())
    try:
        await _cosigned(node, own, cosigners)
        blocks = iter(made.blocks)
        held: set[Ref] = set()
        for record in made.records[:commits]:
            wanted = {*record.commit.blocks, *record.deciders}
            while not wanted <= held:
                block = next(blocks)
                node.store.put_blocks([(block.ref, encode_block(block))])
                held.add(block.ref)
            node.now_ms = record.commit.time_ms
            applied = await node.ledger.apply(made.batch(record), encode_commit_record(record))
            if applied.appended:
                await _cosigned(node, own, cosigners)
        if commits is None:
            rest = list(blocks)
            node.store.put_blocks([(block.ref, encode_block(block)) for block in rest])
            held |= {block.ref for block in rest}
        own_last = max((ref for ref in held if ref.author == own), default=None)
        if own_last is not None:
            node.sign_state.save_block(
                BlockSigned(
                    epoch=0,
                    round=own_last.round,
                    digest=own_last.digest,
                    block=encode_block(made.by_ref[own_last]),
                )
            )
        if killed:
            node.store.sync()
            shutil.copytree(home / "data", home / "killed")
    finally:
        cosigning.cancel()
        await asyncio.gather(cosigning, return_exceptions=True)
        node.close()
    if killed:
        shutil.rmtree(home / "data")
        (home / "killed").rename(home / "data")
    return home


def furnish(made: Weave, home: Path, state: str) -> None:
    home.mkdir(parents=True)
    settings = Settings(home=home, node=NodeSettings(state=state), listen=ListenSettings())
    (home / FILE_NAME).write_text(documented_toml(settings), encoding="utf-8")
    (home / "genesis.cbor").write_bytes(made.founding.document)


async def _cosigned(node: Running, own: int, cosigners: int) -> None:
    size = node.ledger.size
    others = [index for index in range(MEMBERS) if index != own][: cosigners - 1]
    for line in lines(node.founding, size, node.ledger.root, others):
        node.finality.add(line)
    deadline = time.monotonic() + DEADLINE_S
    while len(node.finality.lines(size)) < cosigners:
        assert time.monotonic() < deadline, f"size {size}: {len(node.finality.lines(size))} lines"
        await asyncio.sleep(0.001)


def line_by(signer: SigningKey, member: int, origin: str, size: int, root: bytes) -> Cosigned:
    """A good cosignature by this member's key."""
    checkpoint = Checkpoint(origin=origin, size=size, root=root)
    made = sign_cosignature(signer, checkpoint, 1_700_000_000 + size)
    return Cosigned(
        member=member, size=size, root=root, timestamp=made.timestamp, signature=made.signature
    )


def lines(founding: Founding, size: int, root: bytes, members: list[int]) -> list[Cosigned]:
    """Good cosignatures by these members."""
    origin = founding.genesis.origin
    return [line_by(founding.nodes[each].cosigner, each, origin, size, root) for each in members]


def database(home: Path) -> Path:
    return home / "data" / "rocksdb"


def put(home: Path, family: str, key: bytes, value: bytes) -> None:
    """Rewrite one row through the database's own software, as a forger would."""
    change(home, [(family, key, value)])


def delete(home: Path, family: str, key: bytes) -> None:
    change(home, [(family, key, None)])


def change(home: Path, rows: Iterable[tuple[str, bytes, bytes | None]]) -> None:
    """Many rows (family, key, value) at once; None deletes."""
    with Store.open(database(home)) as store:
        batch = rocksdict.WriteBatch(raw_mode=True)
        for family, key, value in rows:
            if value is None:
                batch.delete(key, store._handles[family])
            else:
                batch.put(key, value, store._handles[family])
        store._write(batch)


def get(home: Path, family: str, key: bytes) -> bytes:
    with Store.open(database(home), read_only=True) as store:
        value = store._get(family, key)
        assert value is not None, f"{family} {key.hex()}"
        return value


def clone(home: Path, to: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(home, to))


def flip(data: bytes, at: int, bit: int = 0) -> bytes:
    altered = bytearray(data)
    altered[at] ^= 1 << bit
    return bytes(altered)

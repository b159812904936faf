"""A history of any length, signed by everybody whom it takes, written as an archive: the same bytes each time.

    made = make(folder, entries=1_000_000, note=print)      folder/history-1000000, there already or made now

Four states, AUTHORS operators with METERS meters each, one energy statement of about 300 bytes a meter and slot of ten minutes:
so one commit a slot with AUTHORS x METERS entries, in the blocks of all four states. Everything is what a network would have
written: chains of entries, blocks that reference a quorum, commits by the rule, leaves by the law, one checkpoint.

Signing takes most of the time, and goes over all cores. Each author's statements are written to a file of their own first; an
interrupted run finds those again, and the archive itself goes on from its journal.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO, Final

from consensus.codec import (
    encode_block,
    encode_commit_record,
    payload_root,
)
from consensus.commit_rule import Status, decide, deciders
from consensus.committee import Committee
from consensus.dag import Dag
from consensus.linearizer import Linearizer
from consensus.types import (
    SIGNATURE_BYTES,
    Block,
    CommitRecord,
    Header,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)
from foedus.v1 import content_pb2 as pb
from node.audit.archive import (
    CHECKPOINT,
    COMMITS_PER_FILE,
    FORMAT,
    SIGNATURES,
    encode_ref,
    framed,
    range_name,
)
from node.audit.export import TileWriter, seal
from node.audit.order import committee_of
from node.audit.unfinished import Unfinished
from node.ledger.batch import CommittedBatch
from node.ledger.cosigned import Cosigned, note_lines
from node.ledger.genesis import (
    Genesis,
    GenesisMember,
    GenesisParty,
    chain_id,
    encode_genesis,
    signed_bytes,
    with_signature,
)
from node.ledger.plan import AppendPlan, CommitMachine, MemoryFacts
from node.ledger.reader import EntryReader
from node.ledger.state_digest import MemoryBuckets
from node.ledger.trust import trust_policy
from node.log.checkpoint import Checkpoint
from node.log.note import Note
from node.log.tiles import TILE_WIDTH
from node.signing.blocks import sign_block
from node.signing.checkpoints import sign_cosignature
from node.signing.keys import AgencyKeys, NodeKeys, generate_agency_keys, generate_node_keys
from node.signing.statements import FIRST_PREV, entry_hash, sign_endorsement, sign_entry

STATES: Final = ("BR", "CN", "KE", "US")
AUTHORS: Final = 64
METERS: Final = 16
SLOT_S: Final = 600
SLOT_ENTRIES: Final = AUTHORS * METERS
GENESIS_S: Final = 1_700_000_000
FACILITY: Final = "dc1"
LENGTH_BYTES: Final = 2

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """Who founded the ledger, with all keys: they are nobody's."""

    genesis: Genesis
    document: bytes
    nodes: tuple[NodeKeys, ...]
    agencies: tuple[AgencyKeys, ...]
    operators: tuple[AgencyKeys, ...]


def found() -> Founding:
    """The same ledger each time."""
    nodes = tuple(generate_node_keys(state, seed=_seed(state)) for state in STATES)
    agencies = tuple(generate_agency_keys(state, seed=_seed("agency/" + state)) for state in STATES)
    operators = tuple(_operator(number) for number in range(AUTHORS))
    genesis = Genesis(
        origin="bench.example/audit",
        time_ms=GENESIS_S * 1000,
        drill=True,
        publication="open",
        protocol={},
        policy={},
        law_version=1,  # frozen: a history that was kept stays what it is
        states=STATES,
        members=tuple(map(_member, nodes, agencies)),
        parties=tuple(
            GenesisParty(
                id=keys.author_id,
                role="operator",
                state=STATES[number % len(STATES)],
                author_key=keys.author.public,
            )
            for number, keys in enumerate(operators)
        ),
    )
    message = signed_bytes(genesis)
    for node in nodes:
        genesis = with_signature(genesis, node.state, node.block.sign(message))
    return Founding(
        genesis=genesis,
        document=encode_genesis(genesis),
        nodes=nodes,
        agencies=agencies,
        operators=operators,
    )


def _member(node: NodeKeys, agency: AgencyKeys) -> GenesisMember:
    assert agency.vote is not None, "an agency votes"
    return GenesisMember(
        state=node.state,
        block_key=node.block.public,
        log_key=node.log.public,
        cosigner_key=node.cosigner.public,
        author_key=agency.author.public,
        vote_key=agency.vote.public,
        certificate_pem=node.transport.certificate_pem,
        peer_endpoint="127.0.0.1:7450",
        client_endpoint="127.0.0.1:7451",
        http_endpoint="127.0.0.1:7452",
    )


def _operator(number: int) -> AgencyKeys:
    return generate_agency_keys(f"op{number:02}", with_vote=False, seed=_seed(f"op{number}"))


def _seed(label: str) -> bytes:
    return sha256(b"foedus bench audit/" + label.encode()).digest()


# --- what authors sign ---------------------------------------------------------------------------


def _declaration(keys: AgencyKeys, agency: AgencyKeys, ledger: bytes) -> bytes:
    """The facility that an author's statements speak of: small, so that no duty to report begins."""
    content = pb.Content(
        ver=1,
        ledger=ledger,
        author=keys.author_id,
        confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
        facility=pb.Facility(facility=FACILITY, capacity_mh=500, mem_gb=40),
    ).SerializeToString()
    endorsement = sign_endorsement(
        agency.author, endorser=agency.author_id, kind="facility", subject=FACILITY, content=content
    )
    return sign_entry(
        keys.author,
        author=keys.author_id,
        kind="facility",
        subject=FACILITY,
        content=content,
        seq=1,
        prev=FIRST_PREV,
        endorsements=(endorsement,),
    )


def _sign_lane(number: int, slots: int, prev: bytes, ledger: bytes, path: str) -> int:
    """One author's whole chain after its declaration, to a file: u16 length | entry, ... Runs in a process of its own."""
    keys = _operator(number)
    meters = [f"meter-{meter:02}-of-the-main-incomer" for meter in range(METERS)]
    made = 0
    temporary = f"{path}.new"
    with Path(temporary).open("wb") as file:
        for slot in range(slots):
            end = GENESIS_S + (slot + 1) * SLOT_S
            for meter in range(METERS):
                content = pb.Content(
                    ver=1,
                    ledger=ledger,
                    author=keys.author_id,
                    period=pb.Period(start=end - SLOT_S, end=end),
                    confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
                    energy=pb.Energy(
                        facility=FACILITY,
                        meter=meters[meter],
                        wh=1_000_000 + made,
                        peak_w=7_000_000,
                        min_w=5_000_000,
                        point=pb.METER_POINT_SITE,
                    ),
                )
                entry = sign_entry(
                    keys.author,
                    author=keys.author_id,
                    kind="energy",
                    subject=FACILITY,
                    content=content.SerializeToString(),
                    seq=made + 2,
                    prev=prev,
                )
                prev = entry_hash(entry)
                made += 1
                file.write(len(entry).to_bytes(LENGTH_BYTES, "big") + entry)
    Path(temporary).rename(path)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The declarations, and a file of statements for each author."""

    declarations: tuple[bytes, ...]
    lanes: tuple[Path, ...]


def _signed(founding: Founding, folder: Path, slots: int, say: Say) -> Signed:
    ledger = chain_id(founding.document)
    declarations = tuple(
        _declaration(keys, founding.agencies[number % len(STATES)], ledger)
        for number, keys in enumerate(founding.operators)
    )
    lanes = tuple(folder / f"author-{number:02}-{slots}.entries" for number in range(AUTHORS))
    missing = [number for number, path in enumerate(lanes) if not path.is_file()]
    if missing:
        say(f"signing {len(missing) * slots * METERS} statements of {len(missing)} authors")
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            waiting = [
                pool.submit(
                    _sign_lane,
                    number,
                    slots,
                    entry_hash(declarations[number]),
                    ledger,
                    str(lanes[number]),
                )
                for number in missing
            ]
            for signed in waiting:
                signed.result()
    return Signed(declarations=declarations, lanes=lanes)


def _payloads(signed: Signed, slots: int) -> Iterator[list[tuple[bytes, ...]]]:
    """For each round the payload of each state's block: first the declarations, then slot by slot."""
    share = AUTHORS // len(STATES)
    own = [[n for n in range(AUTHORS) if n % len(STATES) == state] for state in range(len(STATES))]
    assert all(len(numbers) == share for numbers in own), f"{AUTHORS} authors, {len(STATES)} states"
    yield [tuple(signed.declarations[number] for number in numbers) for numbers in own]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in signed.lanes]
        for _ in range(slots):
            yield [
                tuple(_read(files[number]) for number in numbers for _ in range(METERS))
                for numbers in own
            ]


def _read(file: BinaryIO) -> bytes:
    return file.read(int.from_bytes(file.read(LENGTH_BYTES), "big"))


# --- what states make of it ----------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Woven:
    """One commit with what it takes to write it down."""

    record: CommitRecord
    blocks: tuple[Block, ...]


@dataclass(slots=True, kw_only=True)
class _Loom:
    """Rounds in, commits out: every block references all of the round before."""

    founding: Founding
    committee: Committee
    dag: Dag = field(init=False)
    linearizer: Linearizer = field(init=False)
    last: list[Ref] = field(init=False)
    next_round: Round = field(default=Round(1))
    deciding: list[Ref] = field(default_factory=list)  # what decided the last commits
    round: int = 0

    def __post_init__(self) -> None:
        self.dag, self.linearizer = Dag(self.committee), Linearizer(self.committee)
        self.last = list(self.committee.genesis)

    def weave(self, payloads: list[tuple[bytes, ...]]) -> Iterator[Woven]:
        """One round. Commit times are those of the round before: by then what is reported has happened."""
        self.round += 1
        made = []
        for author, payload in enumerate(payloads):
            others = [ref for other, ref in enumerate(self.last) if other != author]
            header = Header(
                chain_id=self.committee.chain_id,
                epoch=0,
                round=Round(self.round),
                author=ValidatorIndex(author),
                time_ms=Millis((GENESIS_S + self.round * SLOT_S) * 1000),
                flags=0,
                parents=(self.last[author], *others),
                payload_root=payload_root(payload),
                payload_len=sum(map(len, payload)),
                commit_votes=(),
                evidence=(),
            )
            made.append(sign_block(self.founding.nodes[author].block, header, payload).block)
        for block in made:
            self.dag.accept(block)
        self.last = [block.ref for block in made]
        decisions = decide(self.dag, self.next_round)
        for position, decision in enumerate(decisions):
            if decision.status is Status.UNDECIDED:
                break
            why = deciders(self.dag, decisions, position)
            self.deciding = [ref for ref in self.deciding if ref.round > decision.round - 8]
            self.deciding += why
            self.next_round = Round(decision.round + 1)
            assert decision.leader is not None, "every leader is there and voted for"
            commit = self.linearizer.order(self.dag, decision.leader)
            blocks = [self.dag.block(ref) for ref in commit.blocks]
            yield Woven(
                record=CommitRecord(commit=commit, deciders=tuple(sorted(why))),
                blocks=tuple(block for block in blocks if block is not None),
            )
            for ref in commit.blocks:
                self.dag.release(ref)
            self.dag.raise_floor(self.linearizer.floor)

    def left_over(self, committed: set[Ref]) -> list[Block]:
        """Blocks that no commit holds and that deciders of the last commits rest on: what an export puts beside the others."""
        found: dict[Ref, Block] = {}
        pending = list(self.deciding)
        while pending:
            ref = pending.pop()
            block = None if ref in committed or ref in found else self.dag.block(ref)
            if block is not None:
                found[ref] = block
                pending += block.header.parents
        return [found[ref] for ref in sorted(found)]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """An archive, and the founding it is of."""

    folder: Path
    founding: Founding
    size: int  # entries, records included
    signed_entries: int
    blocks: int


def slots_for(entries: int) -> int:
    """Slots whose leaves come to at least so many: statements, a record for each commit, declarations."""
    return max(4, -(-(entries - AUTHORS) // (SLOT_ENTRIES + 1)))


def make(folder: Path, entries: int, say: Say) -> History:
    """The archive of a history of at least `entries` leaves below `folder`; found there if it was made before."""
    founding = found()
    slots = slots_for(entries)
    out = folder / f"history-{entries}"
    if not out.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        signed = _signed(founding, folder, slots, say)
        say(f"ordering and applying {slots * SLOT_ENTRIES} statements")
        _Archivist(founding, out).write(signed, slots)
        for lane in signed.lanes:
            lane.unlink()
    return _history(out, founding)


def _history(out: Path, founding: Founding) -> History:
    lines = (out / CHECKPOINT).read_bytes().split(b"\n")
    counts = (out.with_name(out.name + ".counts")).read_text(encoding="ascii").split()
    return History(
        folder=out,
        founding=founding,
        size=int(lines[1]),
        signed_entries=int(counts[0]),
        blocks=int(counts[1]),
    )


class _Archivist:
    """Writes it all down."""

    def __init__(self, founding: Founding, out: Path) -> None:
        self._founding = founding
        self._out = out
        self._committed: set[Ref] = set()  # lately
        self._blocks = 0
        self._signed = 0

    def write(self, signed: Signed, slots: int) -> None:
        """Empty rounds at the end decide the last slots."""
        founding = self._founding
        loom = _Loom(founding=founding, committee=committee_of(founding.genesis, founding.document))
        with Unfinished.open(self._out, {"bench": self._out.name}) as files:
            applied = _Applied(founding)
            tiles = TileWriter(files)
            bundle = _Bundles(tiles)
            bundle.add(applied.founding)
            waiting: list[Woven] = []
            commits = 0
            empty: list[tuple[bytes, ...]] = [()] * len(STATES)
            rounds = [*(empty for _ in range(3))]
            for payloads in (*_payloads(signed, slots), *rounds):
                for woven in loom.weave(payloads):
                    if woven.record.commit.blocks and not any(b.payload for b in woven.blocks):
                        continue  # the history ends with the last payload
                    bundle.add(self._apply(applied, woven))
                    waiting.append(woven)
                    commits += 1
                    if len(waiting) == COMMITS_PER_FILE:
                        self._range(files, commits, waiting)
                        waiting = []
            self._range(files, commits, waiting)
            bundle.finish()
            files.write(
                f"{SIGNATURES}/undecided",
                (framed(encode_block(block)) for block in loom.left_over(self._committed)),
            )
            self._finish(files, tiles, commits)
        counts = self._out.with_name(self._out.name + ".counts")
        counts.write_text(f"{self._signed} {self._blocks}\n", encoding="ascii")

    def _apply(self, applied: "_Applied", woven: Woven) -> list[bytes]:
        commit = woven.record.commit
        entries = tuple(entry for block in woven.blocks for entry in block.payload)
        batch = CommittedBatch(
            index=commit.index,
            time_ms=commit.time_ms,
            order_digest=commit.digest,
            entries=entries,
        )
        self._signed += len(entries)
        self._blocks += len(woven.blocks)
        self._committed = {r for r in self._committed if r.round > commit.leader.round - 8}
        self._committed.update(commit.blocks)
        return applied.commit(batch)

    def _range(self, files: Unfinished, last: int, woven: list[Woven]) -> None:
        if not woven:
            return
        name = range_name(last - len(woven) + 1)
        records = [one.record for one in woven]
        bare = [CommitRecord(commit=record.commit, deciders=()) for record in records]
        files.write(f"commits/{name}.commits", (framed(encode_commit_record(r)) for r in bare))
        files.write(
            f"{SIGNATURES}/{name}.deciders",
            (
                len(record.deciders).to_bytes(2, "big") + b"".join(map(encode_ref, record.deciders))
                for record in records
            ),
        )
        blocks = [block for one in woven for block in one.blocks]
        files.write(
            f"blocks/{name}.blocks",
            (framed(encode_block(block)[:-SIGNATURE_BYTES]) for block in blocks),
        )
        files.write(f"{SIGNATURES}/{name}.blocks", (block.signature for block in blocks))

    def _finish(self, files: Unfinished, tiles: TileWriter, commits: int) -> None:
        founding = self._founding
        genesis = founding.genesis
        checkpoint = Checkpoint(origin=genesis.origin, size=tiles.tree.size, root=tiles.tree.root())
        lines = []
        for member, node in enumerate(founding.nodes):
            signed = sign_cosignature(node.cosigner, checkpoint, GENESIS_S + checkpoint.size)
            lines.append(
                Cosigned(
                    member=member,
                    size=checkpoint.size,
                    root=checkpoint.root,
                    timestamp=signed.timestamp,
                    signature=signed.signature,
                )
            )
        note = Note(
            text=checkpoint.text(),
            lines=tuple(note_lines(genesis.origin, genesis.members, lines)),
        )
        files.write("genesis.cbor", [founding.document])
        files.write("policy", [trust_policy(genesis)])
        files.write(CHECKPOINT, [bytes(note)])
        seal(
            files,
            {
                "format": FORMAT,
                "chain_id": chain_id(founding.document).hex(),
                "origin": genesis.origin,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "commits": commits,
                "commits_per_file": COMMITS_PER_FILE,
            },
        )
        files.finish()


class _Applied:
    """The law over what was just signed: its signatures are taken on trust here, and by nobody else."""

    def __init__(self, founding: Founding) -> None:
        self._facts, self._buckets = MemoryFacts(), MemoryBuckets()
        self._machine, plan = CommitMachine.found(
            founding.genesis, founding.document, facts=self._facts, buckets=self._buckets
        )
        self.founding = self._take_over(plan)

    def commit(self, batch: CommittedBatch) -> list[bytes]:
        """The leaves that this commit appends."""
        plan = self._machine.commit(batch, EntryReader(bytes_max=0).read, lambda *_: True)
        refused = [judged.code for judged in plan.judged if judged.code]
        assert not refused, f"the history holds no rejected entry, and here are {refused[:3]}"
        return self._take_over(plan)

    def _take_over(self, plan: AppendPlan) -> list[bytes]:
        self._facts.write(plan)
        self._buckets.write(plan.state_rows)
        return [appended.leaf for appended in plan.leaves]


class _Bundles:
    """Leaves, cut into bundles."""

    def __init__(self, tiles: TileWriter) -> None:
        self._tiles = tiles
        self._waiting: list[bytes] = []

    def add(self, leaves: list[bytes]) -> None:
        self._waiting += leaves
        while len(self._waiting) >= TILE_WIDTH:
            self._tiles.bundle(self._waiting[:TILE_WIDTH])
            del self._waiting[:TILE_WIDTH]

    def finish(self) -> None:
        if self._waiting:
            self._tiles.bundle(self._waiting)
        self._tiles.finish()

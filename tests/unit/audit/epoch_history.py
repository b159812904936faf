"""A history across three ends of epochs, woven as by `history`: a state joins, one changes its keys, one leaves.

    epoch 0   BR CN DE GB KE US        the founders; BR and CN have ML-DSA cosigners too
    epoch 1   and FR
    epoch 2   US by new keys, with an ML-DSA cosigner
    epoch 3   without KE

The law itself says when an epoch closes and who comes next: it is run beside the weaving, commit by commit.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

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
from consensus.epoch import EpochEnd
from consensus.linearizer import Linearizer
from consensus.types import (
    FLAG_EPOCH_CLOSE,
    Block,
    CommitRecord,
    Header,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)
from node.audit.law import Replay
from node.ledger.batch import CommittedBatch
from node.ledger.cosigned import Cosigned
from node.ledger.epochs import Epoch, epoch_of_size
from node.log.checkpoint import Checkpoint
from node.signing.checkpoints import sign_cosignature, sign_mldsa_cosignature
from node.signing.keys import AgencyKeys, NodeKeys
from node.signing.verify import VerifyPool
from node.storage.sign_state import BlockSigned
from tests.unit.audit.history import DEADLINE_S, Weave, furnish, payloads
from tests.unit.ledger.founding import GENESIS_MS, Author, Founding, found
from tests.unit.ledger.joining import accedes, declares, new_state, registers, rotated, withdraws
from tests.unit.ledger.running import Running, start

FOUNDERS = 6
ROUND_MS = 10_000  # so that each commit is due for second lines (RULINGS R46)
POLICY = {"epoch_min_s": 1, "withdrawal_s": 2}
AFTERMATH = 2  # rounds of blocks that come after an epoch's last commit, and count for nothing
LAST_ROUNDS = 8  # of the last epoch
LONG_COMMITS = 270  # of a long history: more than one file of an archive holds
LONG_ENTRIES = (30, 17)  # so many times so many: more than two tiles hold
EPOCHS = 4
SIGNED_S = 1_700_000_000


@dataclass
class EpochWeave(Weave):
    """As `Weave`; `epochs` as they went by, and everybody's keys by their block key."""

    epochs: list[Epoch] = field(default_factory=list)
    keys: dict[bytes, NodeKeys] = field(default_factory=dict)
    epoch_of: dict[Ref, int] = field(default_factory=dict)
    batches: list[CommittedBatch] = field(default_factory=list)
    clock_ms: int = GENESIS_MS

    def batch(self, record: CommitRecord) -> CommittedBatch:
        return self.batches[record.commit.index - 1]

    def keys_of(self, epoch: Epoch, state: str) -> NodeKeys:
        """By which this state validates in that epoch."""
        member = next(member for member in epoch.members if member.state == state)
        return self.keys[member.block_key]

    def sign(self, epoch: Epoch, size: int, root: bytes, states: Sequence[str]) -> list[Cosigned]:
        """These members' cosignatures by their keys of that epoch: Ed25519 of all, then ML-DSA-44 of those who can."""
        checkpoint = Checkpoint(origin=self.founding.genesis.origin, size=size, root=root)
        first, second = [], []
        for state in states:
            index, keys = epoch.index_of(state), self.keys_of(epoch, state)
            assert index is not None, f"{state} is no member of epoch {epoch.number}"
            line = Cosigned(
                member=index, size=size, root=root, timestamp=SIGNED_S + size, signature=b""
            )
            made = sign_cosignature(keys.cosigner, checkpoint, line.timestamp)
            first.append(replace(line, signature=made.signature))
            if keys.cosigner_pq is not None:
                made = sign_mldsa_cosignature(keys.cosigner_pq, state, checkpoint, line.timestamp)
                second.append(replace(line, signature=made.signature))
        return first + second


class _Weaver:
    """One epoch after another."""

    def __init__(self, founding: Founding, pool: VerifyPool) -> None:
        self.run = Replay(founding.genesis, founding.document, pool)
        self.made = EpochWeave(founding=founding, committee=self.run.epoch.committee)
        self.waiting: list[tuple[bytes, ...]] = []
        for node in founding.nodes:
            self.made.keys[node.block.public] = node
        self._begin()

    def _begin(self) -> None:
        committee = self.run.epoch.committee
        self.made.epochs.append(self.run.epoch)
        self._dag, self._linearizer = Dag(committee), Linearizer(committee)
        self._end = EpochEnd(committee)
        self._next = Round(1)
        self._round = 0
        self._last = {author: committee.genesis[author] for author in range(committee.size)}
        self._shown = dict(self._last)

    def epoch(self, rounds: int | None = None) -> None:
        """So many rounds, or until the epoch has ended."""
        done = 0
        while not self._end.reached and (rounds is None or done < rounds):
            self._one_round()
            done += 1
            assert done < 200, "this epoch does not end"
        if self._end.reached:
            for _ in range(AFTERMATH):
                self._one_round()
            self._begin()

    def _one_round(self) -> None:
        self._round += 1
        self.made.clock_ms += ROUND_MS
        epoch = self.made.epochs[-1]
        size = epoch.committee.size
        fresh = []
        for author in range(size):
            if author == size - 1 and self._round % 7 in (3, 4):
                continue  # silent
            others = (self._shown[other] for other in range(size) if other != author)
            payload: tuple[bytes, ...] = ()
            if self.waiting and author == self._round % (size - 1) and not self._closing:
                payload = self.waiting.pop(0)
            fresh.append(self._block(epoch, author, (self._last[author], *others), payload))
            self.made.entries += payload
        for block in fresh:
            self._dag.accept(block)
            self.made.by_ref[block.ref] = block
            self.made.epoch_of[block.ref] = epoch.number
            self._last[block.ref.author] = block.ref
            if not (block.ref.author == 3 and self._round % 5 == 2 and self._round % 7 > 4):
                self._shown[block.ref.author] = block.ref  # author 3 is seen a round late at times
        self.made.blocks += fresh
        if not self._end.reached:
            self._commit()

    @property
    def _closing(self) -> bool:
        return self._end.reached or self.run.machine.law.is_closing

    def _block(
        self, epoch: Epoch, author: int, parents: tuple[Ref, ...], payload: tuple[bytes, ...]
    ) -> Block:
        header = Header(
            chain_id=epoch.committee.chain_id,
            epoch=epoch.number,
            round=Round(self._round),
            author=ValidatorIndex(author),
            time_ms=Millis(self.made.clock_ms),
            flags=FLAG_EPOCH_CLOSE if self._closing else 0,
            parents=parents,
            payload_root=payload_root(payload),
            payload_len=sum(map(len, payload)),
            commit_votes=(),
            evidence=(),
        )
        key = self.made.keys[epoch.members[author].block_key]
        return signed(header, payload, key, epoch.committee)

    def _commit(self) -> None:
        made = self.made
        decisions = decide(self._dag, self._next)
        why: set[Ref] = set()
        for position, decision in enumerate(decisions):
            if decision.status is Status.UNDECIDED:
                break
            why.update(deciders(self._dag, decisions, position))
            self._next = Round(decision.round + 1)
            if decision.leader is None:
                continue
            commit = self._linearizer.order(self._dag, decision.leader)
            blocks = [made.by_ref[ref] for ref in commit.blocks]
            closed_by = self._end.committed(commit.leader.round, blocks)
            made.records.append(
                CommitRecord(commit=commit, deciders=tuple(sorted(why)), closed_by=closed_by)
            )
            batch = CommittedBatch(
                index=commit.index,
                time_ms=commit.time_ms,
                order_digest=commit.digest,
                entries=tuple(entry for block in blocks for entry in block.payload),
                ends_epoch=self._end.reached,
                evidence=(),
            )
            made.batches.append(batch)
            self.run.commit(batch)
            if self._end.reached:
                return
            self._dag.raise_floor(self._linearizer.floor)
            why = set()


def signed(
    header: Header, payload: tuple[bytes, ...], key: NodeKeys, committee: Committee
) -> Block:
    """The block of this header, by that node's block key."""
    ref = Ref(header.round, header.author, header_digest(encode_header(header)))
    message = block_signing_bytes(committee.chain_id, header.epoch, ref)
    return assemble_block(header, payload, key.block.sign(message))


def weave_epochs(*, long: bool = False) -> EpochWeave:
    """See the module's text. `long`: the last epoch goes on, through full tiles and more than one range of commits."""
    founding = found(FOUNDERS, 2, law_version=2, policy=POLICY, second=2)
    with VerifyPool(threads=0) as pool:
        weaver = _Weaver(founding, pool)
        made = weaver.made
        node, agency = new_state("FR")
        joining, sponsor = Author(agency, founding.chain_id), state_author(founding, "BR")
        kenya, america = state_author(founding, "KE"), state_author(founding, "US")
        for keys in (node, rotated("US", with_mldsa=True)):
            made.keys[keys.block.public] = keys
        behind: list[AgencyKeys] = list(founding.agencies[:2])
        operator = founding.author(0)
        weaver.waiting = [
            *payloads(founding),
            (registers(sponsor, agency, behind),),
            (accedes(joining, behind), declares(joining, node)),
        ]
        weaver.epoch()
        weaver.waiting = [
            (declares(america, rotated("US", with_mldsa=True)),),
            tuple(operator.energy(1, meter="m3") for _ in range(3)),
        ]
        weaver.epoch()
        weaver.waiting = [(withdraws(kenya),), (state_energy(founding),)]
        weaver.epoch()
        weaver.waiting = [tuple(operator.energy(9, meter="m4") for _ in range(4))]
        weaver.epoch(LAST_ROUNDS)
        if long:
            times, many = LONG_ENTRIES
            law = weaver.run.machine.law
            following, operator.prev = law.author_tip(operator.keys.author_id)
            operator.seq = following - 1  # its chain here has gaps, and entries that never came in
            weaver.waiting = [
                tuple(operator.energy(number, meter="m5") for _ in range(many))
                for number in range(times)
            ]
            while len(made.records) < LONG_COMMITS:
                weaver.epoch(LAST_ROUNDS)
            weaver.waiting = [tuple(operator.energy(1, meter="m6") for _ in range(4))]
            weaver.epoch(LAST_ROUNDS)
    assert len(made.epochs) == EPOCHS
    return made


def state_author(founding: Founding, state: str) -> Author:
    return founding.state_author(founding.genesis.member_index(state))


def state_energy(founding: Founding) -> bytes:
    """An entry that the law turns down: its author has no such facility."""
    return founding.author(1).energy(7, facility="nowhere")


async def live_epochs(
    made: EpochWeave, home: Path, state: str, *, commits: int | None = None
) -> Path:
    """The home of a founder's node that lived through this history, or the first `commits` of it."""
    furnish(made, home, state)
    own = made.founding.genesis.member_index(state)
    later = [keys for keys in made.keys.values() if keys.state == state][1:]
    node = await start(made.founding, home / "data", own=own, later_keys=tuple(later))
    cosigning = asyncio.create_task(node.finality.run())
    try:
        await _cosigned(made, node, state)
        blocks = iter(made.blocks)
        held: set[Ref] = set()

        def take(block: Block) -> None:
            node.store.put_blocks([(block.ref, encode_block(block))], made.epoch_of[block.ref])
            held.add(block.ref)

        for record in made.records[:commits]:
            wanted = {*record.commit.blocks, *record.deciders}
            while not wanted <= held:
                take(next(blocks))
            node.now_ms = record.commit.time_ms
            applied = await node.ledger.apply(made.batch(record), encode_commit_record(record))
            if applied.appended:
                await _cosigned(made, node, state)
        if commits is None:
            for block in blocks:
                take(block)
        _last_signed(made, node, state, held)
    finally:
        cosigning.cancel()
        await asyncio.gather(cosigning, return_exceptions=True)
        node.close()
    return home


def _last_signed(made: EpochWeave, node: Running, state: str, held: set[Ref]) -> None:
    """The sign states of its newest block of either of the last two epochs."""
    for epoch in node.ledger.epochs[-2:]:
        own = epoch.index_of(state)
        mine = [ref for ref in held if made.epoch_of[ref] == epoch.number and ref.author == own]
        newest = max(mine, default=None)
        if newest is None:
            continue
        node.sign_state.save_block(
            BlockSigned(
                epoch=epoch.number,
                round=newest.round,
                digest=newest.digest,
                block=encode_block(made.by_ref[newest]),
            )
        )


async def _cosigned(made: EpochWeave, node: Running, state: str) -> None:
    size = node.ledger.size
    epoch = epoch_of_size(node.ledger.epochs, size)
    others = [member.state for member in epoch.members if member.state != state]
    for line in made.sign(epoch, size, node.ledger.root, others):
        node.finality.add(line)
    await _until(lambda: len(node.finality.lines(size)) == len(epoch.members))


async def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline, "the node did not cosign"
        await asyncio.sleep(0.001)


def without_deciders(record: CommitRecord) -> CommitRecord:
    """As a node keeps it that took the commit over on a quorum's certificate (SPEC 11)."""
    return replace(record, deciders=())

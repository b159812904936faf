"""The sequence of commits again, from the signed blocks: by the same commit rule and linearizer that every node runs.

For each commit record the source is asked for the leader, for the blocks that decided it, and for their history above the
floor of that commit (SPEC 8). All are checked as a node checks a peer's: form, name, validity, signature. Then the rule is asked
which leader comes next. What the record says is only compared with the answer:

    record 7: leader 20/3, deciders 22/0 22/1 22/3
      accepted: 20/3, 21/*, 22/0 22/1 22/3 and whatever they rest on that is not there yet
      decide -> slot 19 skipped, slot 20 commits 20/3;  order -> blocks, time, digest: as recorded, or a finding

So a record can neither add, drop nor move a block: it could at most withhold the proof of its own, and that is a finding too.

A node that was away takes commits over on a quorum's certificate, and its records of them name no deciders (SPEC 11). Those are
looked for in what follows: the history of later commits brings them. Where nothing follows yet, the recorded leader stands until
the law: the commit's digest is in a commit record, and that record under the cosigned root (`taken`).
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from consensus.codec import (
    MalformedBlock,
    block_signing_bytes,
    decode_block,
    decode_commit_record,
    encode_proof,
)
from consensus.commit_rule import Forked, Status, decide
from consensus.committee import Committee
from consensus.dag import Dag
from consensus.epoch import EpochEnd
from consensus.linearizer import Linearizer
from consensus.types import (
    GC_DEPTH,
    Block,
    Commit,
    CommitIndex,
    CommitRecord,
    Digest,
    EquivocationProof,
    Header,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)
from consensus.validity import InvalidBlock, check_block
from node.audit.findings import Depth, Findings, two_blocks_of
from node.audit.ordered import BrokenOrder, Led, NotTakenUp, Ordered, OrderStand
from node.audit.source import Lost, Source
from node.ledger.epochs import Epoch
from node.ledger.evidence import evidence_of, proof_checks
from node.ledger.genesis import Genesis, chain_id
from node.signing.verify import SignatureCheck, VerifyPool

LOOK_AHEAD: Final = (
    64  # commits: a leader is decided three rounds later, and each commit has a round of its own
)


def committee_of(genesis: Genesis, document: bytes) -> Committee:
    """The validators of the founding epoch."""
    return Committee.found(
        chain_id=Digest(chain_id(document)),
        block_keys=[member.block_key for member in genesis.members],
        genesis_time_ms=Millis(genesis.time_ms),
    )


class OrderReplay:
    """Commits one after another. `others`: sources that are asked for a block which this one has lost."""

    def __init__(
        self,
        source: Source,
        epochs: Sequence[Epoch],
        pool: VerifyPool,
        findings: Findings,
        *,
        others: Sequence[Source] = (),
        certified: int | None = None,
    ) -> None:
        """`certified`: so many epochs were each handed over to by a quorum of the one before. By keys of later ones, which
        whoever wrote this copy may have made up, nobody is accused; nor of a block that is invalid only among their members.
        None: all of them, as the law said.
        """
        self._certified = len(epochs) if certified is None else certified
        self._known = None if certified is None else _keys_of(epochs[:certified])
        self._source = source
        self._others = [other for other in others if other.last_commit is not None]
        self._epochs = epochs
        self._pool = pool
        self._findings = findings
        self._before = len(findings.misdeeds)
        self._begin(epochs[0])
        self._reported: set[Ref] = set()
        self.on_blocks: Callable[[Sequence[Block]], None] | None = (
            None  # told of each that was accepted
        )
        self.blocks = 0  # verified so far
        self.taken = 0  # the last commit whose leader no block here decides: by its record alone

    def _begin(self, epoch: Epoch) -> None:
        """A fresh DAG; index, digests and time go on (SPEC 14.4)."""
        self._epoch = epoch
        self._committee = epoch.committee
        self._members = epoch.members
        self._dag = Dag(epoch.committee)
        self._linearizer = Linearizer(epoch.committee)
        self._end = EpochEnd(epoch.committee)
        self._next_round = Round(1)  # the first leader slot not yet decided

    def _follow(self, index: CommitIndex) -> None:
        """The commit before this one ended its epoch: go on with the members that the log names."""
        number = self._epoch.number + 1
        if number >= len(self._epochs):
            self._findings.add(
                Depth.ORDER,
                f"commit {index}: of epoch {number}, and no epoch record says who validates",
            )
            raise BrokenOrder
        following, last = self._epochs[number].committee, self._linearizer
        if (following.previous_index, following.previous_commit) != (
            last.last_index,
            last.last_digest,
        ):
            self._findings.add(
                Depth.ORDER,
                f"commit {index}: the log begins epoch {number} after commit {following.previous_index}, the blocks end"
                f" epoch {number - 1} with commit {last.last_index} {last.last_digest.hex()}",
            )
            raise BrokenOrder
        self._begin(self._epochs[number])

    def commits(self, last: int) -> Iterator[Ordered]:
        """Commits 1, or the one after that where it was taken up, to `last`. Ends early, with a finding, where the order cannot
        be followed.
        """
        try:
            for index in range(self._linearizer.last_index + 1, last + 1):
                yield self._commit(CommitIndex(index))
        except BrokenOrder:
            return

    def _commit(self, index: CommitIndex) -> Ordered:
        if self._end.reached:
            self._follow(index)
        led = self._lead(index)
        commit = self._linearizer.order(self._dag, led.leader)
        if led.record is not None:
            self._compare(led.record.commit, commit)
        entries: list[bytes] = []
        headers: list[Header] = []
        blocks: list[Block] = []
        for ref in commit.blocks:
            block = self._dag.block(ref)
            assert block is not None, f"{ref} was accepted and not released"
            entries += block.payload
            headers.append(block.header)
            blocks.append(block)
            self._dag.release(ref)
        self._dag.raise_floor(self._linearizer.floor)
        closed_by = self._end.committed(commit.leader.round, blocks)
        if led.record is not None:
            self._compare_closing(led.record, closed_by)
        evidence = evidence_of(headers, [member.state for member in self._members])
        return Ordered(
            commit=commit,
            record=CommitRecord(commit=commit, deciders=led.deciders, closed_by=closed_by),
            entries=tuple(entries),
            evidence=evidence,
            ends_epoch=self._end.reached,
        )

    def _compare_closing(
        self, recorded: CommitRecord, closed_by: tuple[ValidatorIndex, ...]
    ) -> None:
        if recorded.closed_by != closed_by:
            self._findings.add(
                Depth.ORDER,
                f"commit {recorded.commit.index}: recorded as closed by {recorded.closed_by}, the blocks give {closed_by}",
            )
            raise BrokenOrder

    def _lead(self, index: CommitIndex) -> Led:
        """The leader that the rule gives, by the blocks that the record names. Raises BrokenOrder."""
        record = self._record(index)
        self._load(index, [record.commit.leader, *record.deciders])
        leader = self._decided()
        if leader is None and not record.deciders:
            leader = self._decided_later(index)
            if leader is None:
                leader = self._named(record)
                self.taken = index
                self._next_round = Round(leader.round + 1)
        if leader is None:
            self._findings.add(
                Depth.ORDER,
                f"commit {index}: the blocks that its record names do not decide the leader of round {self._next_round}",
            )
            raise BrokenOrder
        return Led(leader, record.deciders, record)

    def _named(self, record: CommitRecord) -> Ref:
        """The leader of a commit that was taken over on a certificate, as its record names it. Raises BrokenOrder."""
        leader, last = record.commit.leader, self._linearizer.last_leader_round
        if leader.round <= last:
            self._findings.add(
                Depth.ORDER,
                f"commit {self._linearizer.last_index + 1}: its record, that of commit {record.commit.index}, names a leader of"
                f" round {leader.round}, and the leader before has round {last}",
            )
            raise BrokenOrder
        return leader

    def _decided_later(self, index: CommitIndex) -> Ref | None:
        """With the blocks of the commits that follow, one after another. What is wrong with those is said in their turn.

        Who signed two of them is said now: blocks that are accepted have no turn any more.
        """
        scratch = Findings(self._source.name)
        told, self._findings = self._findings, scratch
        reported = set(self._reported)
        try:
            for later in range(index + 1, index + 1 + LOOK_AHEAD):
                record = self._record(CommitIndex(later))
                self._load(index, [record.commit.leader, *record.deciders])
                leader = self._decided()
                if leader is not None:
                    return leader
        except BrokenOrder:
            pass
        finally:
            self._findings, self._reported = told, reported
            for misdeed in scratch.misdeeds:
                proof = two_blocks_of(misdeed)
                if proof is not None:
                    told.two_blocks(Depth.ORDER, misdeed.accused[0], proof)
        return None

    def _record(self, index: CommitIndex) -> CommitRecord:
        """From this source, or from another one where it is lost."""
        for source in (self._source, *self._others):
            try:
                return decode_commit_record(source.commit_record(index))
            except (Lost, MalformedBlock) as err:
                if source is self._source:
                    file = err.file if isinstance(err, Lost) else None
                    self._findings.add(Depth.ORDER, f"commit {index}: {err}", file=file)
        raise BrokenOrder

    def _load(self, index: CommitIndex, wanted: Sequence[Ref]) -> None:
        """Accept these blocks and all of their history above the floor, parents first."""
        found: dict[Ref, Block] = {}
        pending = [ref for ref in wanted if not self._dag.has(ref)]
        while pending:
            ref = pending.pop()
            if ref in found:
                continue
            block = self._block(index, ref)
            found[ref] = block
            pending += [
                parent
                for parent in block.header.parents
                if parent not in found and not self._dag.has(parent)
            ]
        blocks = self._verified(index, [found[ref] for ref in sorted(found)])
        for block in blocks:
            before = self._dag.slot(block.ref.round, block.ref.author)
            self._dag.accept(block)
            if before:
                self._equivocation(before[0], block)
        self.blocks += len(blocks)
        if self.on_blocks is not None:
            self.on_blocks(blocks)

    def _block(self, index: CommitIndex, ref: Ref) -> Block:
        for source in (self._source, *self._others):
            try:
                if source is not self._source:
                    _turn_to(source, index)
                return self._read(source, ref)
            except Lost as lost:
                if source is self._source and ref not in self._reported:
                    self._reported.add(ref)
                    where = f"block {ref.round}/{self._name(ref)} {ref.digest.hex()}"
                    self._findings.add(
                        Depth.ORDER,
                        f"commit {index} needs {where}: {lost.why}",
                        file=lost.file,
                    )
        raise BrokenOrder

    def _read(self, source: Source, ref: Ref) -> Block:
        """A block that is what its name says. Raises Lost for anything else."""
        try:
            block = decode_block(source.block(ref, self._epoch.number))
        except MalformedBlock as err:
            raise Lost(f"altered: {err}") from err
        if block.ref != ref:
            raise Lost(f"altered: its header has the digest {block.ref.digest.hex()}")
        if (block.header.epoch, block.header.chain_id) != (
            self._epoch.number,
            self._committee.chain_id,
        ):
            # Its author signed it, for where it belongs: it is put here by somebody else.
            raise Lost(f"altered: a block of epoch {block.header.epoch}, or of another ledger")
        return block

    def _verified(self, index: CommitIndex, blocks: list[Block]) -> list[Block]:
        """These, each signed by its author and valid. Raises BrokenOrder."""
        blocks = self._signed(index, blocks)
        for block in blocks:
            try:
                check_block(block, self._committee)
            except InvalidBlock as err:
                # Its author signed it, and no honest validator accepts it: a commit that rests on it is none.
                self._findings.add(
                    Depth.ORDER,
                    f"{self._place(index, block.ref)} is invalid: {err}",
                    accused=self._judging(block.ref.author),
                    proof={"signature": block.signature.hex()},
                )
                raise BrokenOrder from err
        self._verify_evidence(index, blocks)
        return blocks

    def _signed(self, index: CommitIndex, blocks: list[Block]) -> list[Block]:
        """These, if each is signed by its author. Raises BrokenOrder."""
        checks = [self.signature_check(block) for block in blocks]
        for block, good in zip(blocks, self._pool.verify_now(checks), strict=True):
            if not good:
                self._unsigned(index, block.ref)
                raise BrokenOrder
        return blocks

    def _unsigned(self, index: CommitIndex, ref: Ref) -> None:
        self._findings.add(
            Depth.SIGNATURES, f"{self._place(index, ref)} is not signed by {self._name(ref)}"
        )

    def _place(self, index: CommitIndex, ref: Ref) -> str:
        return f"commit {index}: block {ref.round}/{self._name(ref)} {ref.digest.hex()}"

    def _verify_evidence(self, index: CommitIndex, blocks: Sequence[Block]) -> None:
        """Whoever carries a proof that proves nothing has signed an invalid block (SPEC 12)."""
        carried = [(block, proof) for block in blocks for proof in block.header.evidence]
        for block, proof in carried:
            if self._proves(proof):
                # A copy may hold one of the two blocks, or none: the proof in a block is as good.
                accused = self._members[proof.author].state
                if self._accusing(proof.author):
                    self._findings.two_blocks(Depth.ORDER, accused, proof)
                continue
            name = self._name(block.ref)
            self._findings.add(
                Depth.ORDER,
                f"commit {index}: block {block.ref.round}/{name} {block.ref.digest.hex()} carries a proof against"
                f" {self._members[proof.author].state} that its keys did not sign",
                accused=self._judging(block.ref.author),
                proof={"signature": block.signature.hex(), "proof": encode_proof(proof).hex()},
            )
            raise BrokenOrder

    def _proves(self, proof: EquivocationProof) -> bool:
        keys = [member.block_key for member in self._members]
        return all(self._pool.verify_now(proof_checks(encode_proof(proof), self._committee, keys)))

    def author_of(self, block: Block) -> str:
        """The state whose key the log names for it, in the block's own epoch."""
        return self._epochs[block.header.epoch].members[block.ref.author].state

    def may_accuse(self, block: Block) -> bool:
        """Whether its author's key there is one that a quorum of those before vouched for."""
        number, author = block.header.epoch, block.ref.author
        if number >= len(self._epochs) or author >= len(self._epochs[number].members):
            return False
        member = self._epochs[number].members[author]
        return self._known is None or (member.state, member.block_key) in self._known

    def _accusing(self, author: ValidatorIndex) -> tuple[str, ...]:
        member = self._members[author]
        known = self._known is None or (member.state, member.block_key) in self._known
        return (member.state,) if known else ()

    def _judging(self, author: ValidatorIndex) -> tuple[str, ...]:
        """Of what is wrong by the committee that it is for: whoever made that one up, made the block look wrong."""
        return self._accusing(author) if self._epoch.number < self._certified else ()

    def signature_check(self, block: Block) -> SignatureCheck:
        """The author's signature, for the verify pool; a name for nobody is checked against no key, and fails."""
        ref, number = block.ref, block.header.epoch
        members = self._epochs[number].members if number < len(self._epochs) else ()
        return SignatureCheck(
            members[ref.author].block_key if ref.author < len(members) else b"",
            block_signing_bytes(self._committee.chain_id, number, ref),
            block.signature,
        )

    def _decided(self) -> Ref | None:
        """The next leader by the rule; everything before it is skipped. None: the blocks here do not tell. Raises BrokenOrder."""
        try:
            decisions = decide(self._dag, self._next_round)
        except Forked as err:
            self._findings.add(
                Depth.ORDER,
                f"after round {self._next_round - 1}: {err}: more than f validators signed against the rules",
            )
            raise BrokenOrder from err
        for decision in decisions:
            if decision.status is Status.UNDECIDED:
                break
            self._next_round = Round(decision.round + 1)
            if decision.leader is not None:
                return decision.leader
        return None

    def _compare(self, recorded: Commit, made: Commit) -> None:
        for name in ("epoch", "index", "prev_digest", "leader", "time_ms", "committee_hash"):
            was, should = getattr(recorded, name), getattr(made, name)
            if was != should:
                self._findings.add(
                    Depth.ORDER,
                    f"commit {made.index}: {name} is recorded as {_text(was)}, the blocks give {_text(should)}",
                )
                raise BrokenOrder
        if recorded.blocks != made.blocks:
            added = [ref for ref in recorded.blocks if ref not in made.blocks]
            left_out = [ref for ref in made.blocks if ref not in recorded.blocks]
            self._findings.add(
                Depth.ORDER,
                f"commit {made.index}: its record has other blocks than the leader's history: {len(added)} added,"
                f" {len(left_out)} left out{'' if added or left_out else ', the order changed'}",
            )
            raise BrokenOrder
        assert recorded.digest == made.digest, f"equal commits {made.index}, two digests"

    def _equivocation(self, first: Ref, second: Block) -> None:
        node = self._dag.node(first)
        assert node is not None, f"{first} stands in its slot"
        halves = sorted(((first.digest, node.signature), (second.ref.digest, second.signature)))
        (digest1, signature1), (digest2, signature2) = halves
        proof = EquivocationProof(
            epoch=self._committee.epoch,
            round=first.round,
            author=first.author,
            digest1=digest1,
            signature1=signature1,
            digest2=digest2,
            signature2=signature2,
        )
        if self._accusing(first.author):
            self._findings.two_blocks(Depth.ORDER, self._name(first), proof)

    def _name(self, ref: Ref) -> str:
        known = ref.author < len(self._members)
        return self._members[ref.author].state if known else f"validator {ref.author}"

    # --- an earlier run's part ---

    @property
    def last(self) -> CommitIndex:
        """The commit that was given last; 0 before the first."""
        return self._linearizer.last_index

    def stand(self) -> OrderStand:
        """Where the order stands after the commit that was given last."""
        dag = self._dag
        rounds = range(dag.floor + 1, dag.highest_round + 1)
        misdeeds = [two_blocks_of(found) for found in self._findings.misdeeds[self._before :]]
        return OrderStand(
            index=self._linearizer.last_index,
            accepted=tuple([ref for round_ in rounds for ref in dag.refs(Round(round_))]),
            blocks=self.blocks,
            misdeeds=tuple([proof for proof in misdeeds if proof is not None]),
        )

    def take_up(self, stand: OrderStand, order_digest: bytes) -> None:
        """Go on after commit `stand.index`. Raises NotTakenUp; then this object is good for nothing more.

        `order_digest`: of that commit, as the cosigned log has it. It covers every commit before it, so the records read here are
        the ones that were followed. The blocks above the floor are read and checked again, as every block that is accepted.
        """
        records = self._records_back_from(stand.index, order_digest)
        last = records[-1].commit
        self._begin(self._epochs[last.epoch])
        self._linearizer.restore([record.commit for record in records])
        self._end.restore(records)
        self._next_round = Round(last.leader.round + 1)
        self._dag.raise_floor(self._linearizer.floor)
        try:
            blocks = [self._read(self._source, ref) for ref in stand.accepted]
            self._findings, told = Findings(self._source.name), self._findings
            self._verified(stand.index, blocks)
        except (Lost, BrokenOrder) as err:
            raise NotTakenUp(f"a block before commit {stand.index} is not as it was") from err
        self._findings = told
        for block in blocks:
            if self._dag.has(block.ref) or self._dag.lacking(block.header.parents):
                raise NotTakenUp(
                    f"the blocks before commit {stand.index} do not rest on one another"
                )
            self._dag.accept(block)
            if self._linearizer.is_committed(block.ref):
                self._dag.release(block.ref)
        self.blocks = stand.blocks
        for proof in stand.misdeeds:
            self._tell_again(proof)

    def _records_back_from(self, index: CommitIndex, digest: bytes) -> list[CommitRecord]:
        """Of this commit and those before it, back to the first whose blocks are all below the floor. Raises NotTakenUp."""
        found: list[CommitRecord] = []
        floor = 0
        while True:
            try:
                record = decode_commit_record(self._source.commit_record(index))
            except (Lost, MalformedBlock) as err:
                raise NotTakenUp(f"commit {index}: {err}") from err
            commit = record.commit
            if (commit.index, commit.digest) != (index, digest) or commit.epoch >= len(
                self._epochs
            ):
                raise NotTakenUp(f"commit {index} is not the one that the log has")
            if not found:
                floor = commit.leader.round - GC_DEPTH
            found.append(record)
            first = self._epochs[commit.epoch].after_commit + 1
            if commit.leader.round <= floor or index <= first:
                return found[::-1]
            index, digest = CommitIndex(index - 1), commit.prev_digest

    def _tell_again(self, proof: EquivocationProof) -> None:
        """Somebody whom an earlier run found to have signed twice: by the signatures. Raises NotTakenUp."""
        if not proof.epoch < len(self._epochs):
            raise NotTakenUp(f"two blocks of epoch {proof.epoch}, which the log does not have")
        epoch = self._epochs[proof.epoch]
        keys = [member.block_key for member in epoch.members]
        if not all(self._pool.verify_now(proof_checks(encode_proof(proof), epoch.committee, keys))):
            raise NotTakenUp(f"two blocks of round {proof.round} are not both signed")
        self._findings.two_blocks(Depth.ORDER, epoch.members[proof.author].state, proof)


def _keys_of(epochs: Sequence[Epoch]) -> frozenset[tuple[str, bytes]]:
    return frozenset((member.state, member.block_key) for e in epochs for member in e.members)


def _turn_to(source: Source, index: CommitIndex) -> None:
    """An archive finds blocks by the commits near which they stand: it is read from this one on."""
    with contextlib.suppress(Lost):
        source.commit_record(index)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Ref):
        return f"{value.round}/{value.author} {value.digest.hex()}"
    return str(value)

"""A block's way into the DAG: order, limits and their exemptions, evidence (SPEC 4, 12, 13; PACEMAKER P1 to P3)."""

from dataclasses import replace
from hashlib import sha256

from consensus.admission import Admission
from consensus.dag import Dag
from consensus.evidence import Evidence
from consensus.types import GC_DEPTH, Block, Ref, Round, ValidatorIndex, VerifiedBlock
from consensus.waiting import WaitingRoom
from tests.unit.consensus.blocks import History, block, committee_of, proof, ref

FOUR = committee_of(4)


class Desk:
    """Admission with its DAG and waiting room."""

    def __init__(self, size: int = 4) -> None:
        self.committee = committee_of(size)
        self.dag = Dag(self.committee)
        self.room = WaitingRoom(self.dag, payload_bytes_max=1_000_000)
        self.evidence = Evidence(self.committee)
        self.admission = Admission(self.dag, self.room, self.evidence, GC_DEPTH)

    def take(
        self,
        *blocks: Block,
        sender: int | None = 1,
        asked_for: bool = False,
        deciders: bool = False,
    ) -> list[Ref]:
        """What came into the DAG, in the order of acceptance."""
        self.admission.take(
            map(VerifiedBlock, blocks),
            None if sender is None else ValidatorIndex(sender),
            asked_for=asked_for,
            deciders=deciders,
        )
        accepted = [made.ref for made, _ in self.admission.admitted.blocks]
        self.admission.admitted.blocks.clear()
        return accepted

    def missing(self) -> list[tuple[Ref, ValidatorIndex]]:
        found = list(self.admission.admitted.missing)
        self.admission.admitted.missing.clear()
        return found


def full(last: int) -> History:
    history = History(committee=FOUR)
    history.rounds(1, last)
    return history


def test_a_bundle_in_any_order_is_accepted_parents_first() -> None:
    history = full(3)
    desk = Desk()
    accepted = desk.take(*reversed(history.blocks))
    assert accepted == sorted(made.ref for made in history.blocks)
    assert desk.missing() == []


def test_a_block_again_changes_nothing() -> None:
    history = full(2)
    desk = Desk()
    desk.take(*history.blocks)
    assert desk.take(*history.blocks, sender=2) == []
    orphan = block(FOUR, 1, 9, [ref(8, a) for a in (1, 0, 2)])
    desk.take(orphan)
    desk.take(orphan)
    assert len(desk.room) == 1


def test_what_is_missing_is_asked_of_who_sent_the_child() -> None:
    history = full(2)
    desk = Desk()
    assert desk.take(history.blocks[4], sender=3) == []
    assert desk.missing() == [(made.ref, 3) for made in history.blocks[:4]]
    # And then what waited goes in with the last of them, after its parents.
    assert desk.take(*history.blocks[:4], sender=2)[-1] == history.blocks[4].ref


def test_what_completes_what_waits_goes_down_the_whole_chain() -> None:
    history = full(5)
    desk = Desk()
    first, *rest = history.blocks
    for made in reversed(rest):
        desk.take(made)
    assert len(desk.room) == 16
    assert set(desk.take(first)) == {first.ref} | {m.ref for m in rest if m.ref.round > 1}
    assert len(desk.room) == 0


def test_at_or_below_the_floor_nothing_is_taken() -> None:
    history = full(3)
    desk = Desk()
    desk.take(*history.blocks)
    desk.dag.raise_floor(Round(2))
    assert desk.take(*full(2).blocks) == []
    late = block(FOUR, 1, 2, [made.ref for made in history.blocks[:4]], payload=(b"late",))
    assert desk.take(late) == []
    assert len(desk.room) == 0


# --- far ahead -----------------------------------------------------------------------------------


def far(round_: int, author: int = 2) -> Block:
    parents = [ref(round_ - 1, a, "invented") for a in (author, *(set(range(3)) - {author}))]
    return block(FOUR, author, round_, parents)


def test_a_pushed_block_too_far_ahead_is_dropped_but_its_round_is_noted() -> None:
    """P3: a member absent for longer than the limit would otherwise never learn how far the others are."""
    desk = Desk()
    desk.take(*full(3).blocks)
    edge, beyond = 3 + 2 * GC_DEPTH, 3 + 2 * GC_DEPTH + 1
    desk.take(far(edge))
    assert far(edge).ref in desk.room
    desk.take(far(beyond, 1))
    assert far(beyond, 1).ref not in desk.room
    assert desk.admission.shown == [3, beyond, edge, 3]


def test_what_was_asked_for_is_never_too_far_ahead() -> None:
    desk = Desk()
    desk.take(far(10_000), asked_for=True)
    assert far(10_000).ref in desk.room


# --- variants ------------------------------------------------------------------------------------


def variants(history: History, count: int) -> list[Block]:
    """Of validator 1, round 1."""
    return [
        block(
            FOUR,
            1,
            1,
            (FOUR.genesis[1], *(g for g in FOUR.genesis if g.author != 1)),
            payload=(b"%d" % i,),
        )
        for i in range(count)
    ]


def test_from_its_author_the_first_of_a_slot_only() -> None:
    desk = Desk()
    several = variants(full(1), 3)
    first = min(several, key=lambda made: made.ref)
    assert desk.take(*several, sender=1) == [first.ref]
    assert desk.take(*several, sender=1) == []


def test_from_others_as_many_as_there_are_validators() -> None:
    desk = Desk()
    taken = [one for made in variants(full(1), 9) for one in desk.take(made, sender=2)]
    assert len(taken) == 4


def test_variants_in_the_waiting_room_count_as_well() -> None:
    desk = Desk()
    for i in range(9):
        parents = [ref(7, a, f"of variant {i}") for a in (1, 0, 2)]
        desk.take(block(FOUR, 1, 8, parents), sender=2)
    assert desk.room.variants(Round(8), ValidatorIndex(1)) == 4


def test_p2_a_variant_that_another_needs_is_always_admitted() -> None:
    """Else one equivocator and a helper make each honest member refuse another one, and all stand still."""
    desk = Desk()
    several = variants(full(1), 12)
    rest = full(1).blocks
    desk.take(rest[0], rest[2], rest[3])
    for made in several[:4]:
        desk.take(made, sender=2)
    wanted = several[11]
    child = block(FOUR, 2, 2, (rest[2].ref, rest[0].ref, wanted.ref, rest[3].ref))
    # In one bundle with the block that needs it, even from its own author...
    assert desk.take(wanted, child, sender=1) == [wanted.ref, child.ref]
    # ... or after that block is here and waits.
    other = several[10]
    waiting = block(FOUR, 3, 2, (rest[3].ref, rest[0].ref, other.ref, rest[2].ref))
    assert desk.take(waiting, sender=3) == []
    assert desk.take(other, sender=1) == [other.ref, waiting.ref]


def test_that_its_own_later_block_needs_a_variant_is_no_reason() -> None:
    desk = Desk()
    several = variants(full(1), 6)
    rest = full(1).blocks
    desk.take(rest[0], rest[2], rest[3])
    desk.take(several[0], sender=1)
    child = block(FOUR, 1, 2, (several[5].ref, rest[0].ref, rest[2].ref, rest[3].ref))
    assert desk.take(several[5], child, sender=1) == []
    assert several[5].ref not in desk.room


def certificates() -> tuple[History, Block, Block]:
    """Validator 3 has two blocks of round 3; the second certifies the leader of round 1, the first does not."""
    history = full(1)
    leader = history.blocks[1].ref
    history.round(2, (0, 1, 2))
    history.draw(3, 2, [link for link in history.round_before(2) if link != leader])
    links = history.round_before(3)
    plain = history.draw(3, 3, [link for link in links if link.author != 0])
    certifying = history.draw(3, 3, links)
    return history, plain, certifying


def test_p1_a_variant_that_certifies_a_leader_is_always_admitted() -> None:
    history, plain, certifying = certificates()
    desk = Desk()
    desk.take(*history.blocks[:-2])
    assert desk.take(plain, sender=3) == [plain.ref]
    assert desk.take(certifying, sender=3) == [certifying.ref]
    other = replace_payload(plain)
    assert desk.take(other, sender=3) == []


def test_one_certifying_variant_is_enough() -> None:
    """Its author could make any number of them: each pushed on by everybody, none adding anything to a count of authors."""
    history, _, certifying = certificates()
    desk = Desk()
    desk.take(*history.blocks[:-2])
    assert desk.take(certifying, sender=3) == [certifying.ref]
    for number in range(50):
        parents = certifying.header.parents
        copy = block(FOUR, 3, 3, parents, payload=(b"copy %d" % number,))
        assert desk.take(copy, sender=3) == []


def replace_payload(made: Block) -> Block:
    return block(FOUR, made.ref.author, made.ref.round, made.header.parents, payload=(b"other",))


def test_p1_a_variant_served_as_a_decider_is_never_refused() -> None:
    desk = Desk()
    for made in variants(full(1), 9):
        assert desk.take(made, sender=1, asked_for=True, deciders=True) == [made.ref]


# --- evidence ------------------------------------------------------------------------------------


def test_the_second_block_of_a_slot_is_proof_once_for_each_author() -> None:
    desk = Desk()
    first, second, third = variants(full(1), 3)
    first = replace(first, signature=b"\x01" * 64)
    second = replace(second, signature=b"\x02" * 64)
    desk.take(first, sender=2)
    assert desk.admission.admitted.proofs == []
    desk.take(second, sender=2)
    (proof,) = desk.admission.admitted.proofs
    assert (proof.epoch, proof.round, proof.author) == (0, 1, 1)
    assert proof.digest1 < proof.digest2
    assert {(proof.digest1, proof.signature1), (proof.digest2, proof.signature2)} == {
        (first.ref.digest, first.signature),
        (second.ref.digest, second.signature),
    }
    desk.take(third, sender=2)
    assert len(desk.admission.admitted.proofs) == 1


def test_the_same_header_signed_again_is_no_proof() -> None:
    """SPEC 2: the digest does not cover the signature, so it is the same block."""
    desk = Desk()
    made = full(1).blocks[1]
    desk.take(made)
    desk.take(replace(made, signature=sha256(b"").digest() * 2), sender=2)
    assert desk.admission.admitted.proofs == []


def test_a_raised_floor_lets_in_what_waited() -> None:
    history = full(3)
    desk = Desk()
    desk.take(*history.blocks[8:])
    desk.dag.raise_floor(Round(2))
    desk.admission.floor_raised()
    accepted = {made.ref for made, _ in desk.admission.admitted.blocks}
    assert accepted == {made.ref for made in history.blocks[8:]}


def test_blocks_that_are_not_let_in_need_nothing() -> None:
    """Two colluders: one's variants of a slot, each named by a variant of the other's, of which only some are let in."""
    desk = Desk()
    start = full(1)
    desk.take(*start.blocks, sender=3)
    links = [made.ref for made in start.blocks]
    named, naming = [], []
    for number in range(200):
        payload = (b"%d" % number,)
        lower = block(FOUR, 1, 2, [links[1], links[0], *links[2:]], payload=payload)
        named.append(lower)
        others = [ref(3 - 1, author, "nobody's") for author in (0, 3)]
        naming.append(block(FOUR, 2, 3, [links[2], others[0], lower.ref, others[1]]))
    desk.take(*named, *naming, sender=1)
    kept = len(desk.dag.slot(Round(2), ValidatorIndex(1)))
    assert len(desk.room) <= FOUR.size
    assert kept <= FOUR.size + 1  # the first of its slot needs nobody's word
    # And what one that is let in needs, is let in.
    assert all(desk.dag.has(made.header.parents[2]) for made in naming if made.ref in desk.room)


# --- the accused (SPEC 12): what they push themselves, on demand only -----------------------------


def accusing(desk: Desk, author: int = 1) -> None:
    assert desk.evidence.take(proof(author, 1))


def settled_round_3(desk: Desk) -> tuple[History, Block]:
    """Rounds 1 to 3 of four; validator 1 leads round 1 and is accused; its block of round 3 is still to come."""
    history = full(3)
    late = next(made for made in history.blocks if (made.ref.round, made.ref.author) == (3, 1))
    desk.take(*[made for made in history.blocks if made is not late], sender=2)
    accusing(desk)
    return history, late


def test_an_accused_authors_push_that_no_quorum_needs_is_not_taken_in() -> None:
    desk = Desk()
    _, late = settled_round_3(desk)
    assert desk.take(late, sender=1) == []
    assert late.ref not in desk.room
    assert not desk.dag.slot(late.ref.round, late.ref.author)
    assert desk.admission.shown[1] == 3  # noted all the same


def test_from_another_peer_or_asked_for_it_is() -> None:
    for how in ({"sender": 2}, {"sender": 1, "asked_for": True}, {"sender": 1, "deciders": True}):
        desk = Desk()
        _, late = settled_round_3(desk)
        assert desk.take(late, **how) == [late.ref]  # type: ignore[arg-type]


def test_a_push_that_somebodys_block_needs_is_taken_in() -> None:
    desk = Desk()
    history, late = settled_round_3(desk)
    child = history.draw(2, 4)
    desk.take(child, sender=2)
    assert desk.take(late, sender=1) == [late.ref, child.ref]
    other = Desk()
    history, late = settled_round_3(other)
    assert other.take(late, history.draw(2, 4), sender=1)[0] == late.ref


def test_while_the_round_has_no_quorum_without_it_it_is_taken_in() -> None:
    history = full(3)
    desk = Desk()
    desk.take(*history.blocks[:8], sender=2)
    accusing(desk)
    mine = {int(made.ref.author): made for made in history.blocks if made.ref.round == 3}
    desk.take(mine[0], mine[2], sender=2)
    assert desk.take(mine[1], sender=1) == [mine[1].ref]
    assert desk.take(replace_payload(mine[1]), sender=1) == []  # one, as from anybody


def test_its_block_as_a_leader_is_taken_in() -> None:
    """L1 waits for it: refused, each of its turns would cost everybody a timeout."""
    history = full(5)
    late = next(made for made in history.blocks if (made.ref.round, made.ref.author) == (5, 1))
    desk = Desk()
    desk.take(*[made for made in history.blocks if made is not late], sender=2)
    accusing(desk)
    assert desk.committee.leader(late.ref.round) == 1
    assert desk.take(late, sender=1) == [late.ref]


def test_while_the_vote_before_is_open_it_is_taken_in() -> None:
    """Its vote may be the one that a certificate lacks (P7)."""
    history = full(2)
    leader = history.blocks[6].ref
    links = history.round_before(3)
    voting = history.draw(1, 3, links)
    rest = [
        history.draw(0, 3, links),
        history.draw(2, 3, links),
        history.draw(3, 3, [link for link in links if link != leader]),
    ]
    desk = Desk()
    desk.take(*history.blocks[:8], *rest, sender=2)
    accusing(desk)
    assert desk.take(voting, sender=1) == [voting.ref]


# --- a withheld chain, released at once (SPEC 13, "chain bomb") -----------------------------------


def test_a_withheld_chain_comes_in_above_the_floor_alone_whatever_its_order() -> None:
    """Validator 1 keeps its blocks of 40 rounds to itself; the others' floor is at round 30 when it lets them go."""
    history = History(committee=FOUR)
    for round_ in range(1, 41):
        links = [link for link in history.round_before(round_) if link.author != 1]
        history.round(round_, (0, 2, 3)) if round_ == 1 else [
            history.draw(author, round_, links) for author in (0, 2, 3)
        ]
        history.draw(1, round_, links if round_ > 1 else None)
    chain = [made for made in history.blocks if made.ref.author == 1]
    desk = Desk()
    desk.take(*[made for made in history.blocks if made.ref.author != 1], sender=2)
    desk.dag.raise_floor(Round(30))
    for made in reversed(chain):  # the newest first: each dangles until the last
        desk.take(made, sender=1)
        assert len(desk.room) <= GC_DEPTH
    accepted = desk.dag.authors(Round(40)) >> 1 & 1
    assert accepted
    assert len(desk.room) == 0
    held = [round_ for round_ in range(1, 41) if desk.dag.slot(Round(round_), ValidatorIndex(1))]
    assert held == list(range(31, 41))

"""Suspended blocks: who waits for what, and how many may (SPEC 4 and 13)."""

import pytest

from consensus.dag import Dag
from consensus.types import GC_DEPTH, Block, Ref, Round, ValidatorIndex, VerifiedBlock
from consensus.waiting import MISSING_MAX, SUSPENDED_PER_MEMBER, WaitingRoom
from tests.unit.consensus.blocks import History, block, committee_of, ref

FOUR = committee_of(4)
PEER = ValidatorIndex(1)


def room_of(dag: Dag, payload_bytes_max: int = 1_000_000) -> WaitingRoom:
    return WaitingRoom(dag, payload_bytes_max=payload_bytes_max)


def orphan(author: int, round_: int, *, parents: int = 3, payload: tuple[bytes, ...] = ()) -> Block:
    """A block whose parents nobody has."""
    names = [ref(round_ - 1, a, f"{author} {round_}") for a in range(parents)]
    return block(FOUR, author, round_, names, payload=payload)


def hold(room: WaitingRoom, *blocks: Block) -> None:
    for made in blocks:
        room.hold(VerifiedBlock(made), PEER)


def names(released: list[tuple[VerifiedBlock, ValidatorIndex]]) -> list[Ref]:
    assert all(holder == PEER for _, holder in released)
    return [verified.block.ref for verified, _ in released]


def test_a_block_waits_for_each_of_its_missing_parents() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2)
    dag = Dag(FOUR)
    room = room_of(dag)
    child = history.blocks[4]
    hold(room, child)
    missing = [made.ref for made in history.blocks[:4]]
    assert list(room.missing) == [missing[0], *missing[1:]]
    assert child.ref in room
    for made in history.blocks[:3]:
        dag.accept(made)
        assert room.accepted(made.ref) == []
    dag.accept(history.blocks[3])
    assert names(room.accepted(missing[3])) == [child.ref]
    assert (len(room), list(room.missing)) == (0, [])


def test_parents_that_are_here_or_void_are_not_waited_for() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2)
    dag = Dag(FOUR)
    for made in history.blocks[:3]:
        dag.accept(made)
    room = room_of(dag)
    hold(room, history.blocks[4])
    assert list(room.missing) == [history.blocks[3].ref]


def test_a_held_block_is_not_missing_though_others_wait_for_it() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 3)
    room = room_of(Dag(FOUR))
    hold(room, *history.blocks[4:])
    assert set(room.missing) == {made.ref for made in history.blocks[:4]}
    assert not room.is_missing(history.blocks[4].ref)
    assert room.is_missing(history.blocks[0].ref)


def test_several_that_one_parent_completes_come_in_order() -> None:
    history = History(committee=FOUR)
    history.round(1)
    history.round(2)
    dag = Dag(FOUR)
    room = room_of(dag)
    hold(room, *reversed(history.blocks[4:]))
    for made in history.blocks[:4]:
        dag.accept(made)
        released = room.accepted(made.ref)
    assert names(released) == sorted(made.ref for made in history.blocks[4:])


def test_a_raised_floor_voids_the_low_and_completes_those_above() -> None:
    """SPEC 4: a parent at or below the floor counts as present; what is itself there is void."""
    history = History(committee=FOUR)
    history.rounds(1, 3)
    dag = Dag(FOUR)
    room = room_of(dag)
    hold(room, *history.blocks[4:])
    dag.raise_floor(Round(2))
    released = names(room.floor_raised())
    assert released == sorted(made.ref for made in history.blocks[8:])
    assert (len(room), list(room.missing)) == (0, [])


def test_a_raised_floor_leaves_who_still_waits() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 3)
    dag = Dag(FOUR)
    room = room_of(dag)
    hold(room, *history.blocks[8:])
    dag.raise_floor(Round(1))
    assert room.floor_raised() == []
    assert set(room.missing) == {made.ref for made in history.blocks[4:8]}


def test_needed_by_another_counts_what_its_chain_is_needed_for() -> None:
    """Who votes for the third block of a chain needs the first, though only blocks of the chain itself name that."""
    room = room_of(Dag(FOUR))
    first = ref(3, 0, "first")
    second = block(FOUR, 0, 4, [first])
    third = block(FOUR, 0, 5, [second.ref])
    hold(room, second, third)
    assert not room.needed_by_another(first)
    hold(room, block(FOUR, 1, 6, [ref(5, 1, "own"), third.ref]))
    assert room.needed_by_another(first)
    assert room.needed_by_another(second.ref)
    assert not room.needed_by_another(ref(3, 0, "another variant"))


def test_needed_by_another_means_by_another_author() -> None:
    room = room_of(Dag(FOUR))
    wanted = ref(4, 2)
    hold(room, block(FOUR, 2, 5, [wanted, ref(4, 0)]))
    assert not room.needed_by_another(wanted)
    assert room.needed_by_another(ref(4, 0))
    hold(room, block(FOUR, 3, 5, [ref(4, 3), wanted]))
    assert room.needed_by_another(wanted)
    assert not room.needed_by_another(ref(4, 1))


def test_variants_held_are_counted_by_slot() -> None:
    room = room_of(Dag(FOUR))
    hold(room, orphan(2, 5, payload=(b"a",)), orphan(2, 5, payload=(b"b",)), orphan(2, 6))
    assert room.variants(Round(5), ValidatorIndex(2)) == 2
    assert room.variants(Round(6), ValidatorIndex(2)) == 1
    assert room.variants(Round(5), ValidatorIndex(1)) == 0


# --- bounds --------------------------------------------------------------------------------------


def test_of_one_author_at_most_gc_depth_and_the_lowest_stay() -> None:
    room = room_of(Dag(FOUR))
    other = orphan(1, 9_000)
    hold(room, other)
    for round_ in range(GC_DEPTH + 50, 1, -1):
        hold(room, orphan(2, round_))
    kept = [made for made in range(2, GC_DEPTH + 51) if orphan(2, made).ref in room]
    assert kept == list(range(2, GC_DEPTH + 2))
    assert other.ref in room  # one author's flood pushes out no other's


def test_in_all_at_most_64_a_member() -> None:
    room = room_of(Dag(FOUR))
    for round_ in range(2, 100):
        hold(room, *(orphan(author, round_) for author in range(4)))
    assert len(room) == SUSPENDED_PER_MEMBER * 4
    assert orphan(0, 2).ref in room
    assert orphan(0, 99).ref not in room


def test_payload_held_is_bounded_in_bytes() -> None:
    room = room_of(Dag(FOUR), payload_bytes_max=1_000)
    hold(room, orphan(1, 5, payload=(bytes(600),)))
    hold(room, orphan(2, 9, payload=(bytes(600),)))  # the highest goes: itself
    assert orphan(2, 9, payload=(bytes(600),)).ref not in room
    hold(room, orphan(2, 4, payload=(bytes(600),)))
    assert len(room) == 1
    assert orphan(2, 4, payload=(bytes(600),)).ref in room
    hold(room, orphan(3, 6, payload=(bytes(400),)))
    assert len(room) == 2


def test_missing_names_are_bounded_and_die_with_who_named_them() -> None:
    """SPEC 13, dangling parents: a name lives no longer than the last block that waits for it."""
    wide = committee_of(200)
    room = WaitingRoom(Dag(wide), payload_bytes_max=1_000_000)
    for author in range(60):
        parents = [ref(8, a, f"invented by {author}") for a in range(200)]
        room.hold(VerifiedBlock(block(wide, author, 9, parents)), PEER)
        assert sum(1 for _ in room.missing) <= MISSING_MAX
    assert sum(1 for _ in room.missing) == 200 * len(room)
    assert len(room) == MISSING_MAX // 200


@pytest.mark.parametrize("payload", [0, 100])
def test_nothing_is_left_when_all_is_gone(payload: int) -> None:
    """Whatever was held, dropped or released, the counts come back to nothing: else a bound would creep down for ever."""
    dag = Dag(FOUR)
    room = room_of(dag, payload_bytes_max=5_000)
    for round_ in range(2, 300):
        for author in range(4):
            hold(room, orphan(author, round_, payload=(bytes(payload),) if payload else ()))
    dag.raise_floor(Round(1_000))
    assert room.floor_raised() == []
    assert (len(room), list(room.missing)) == (0, [])
    assert (room._payload_bytes, room._of_author, room._variants, room._waiting_for) == (
        0,
        {},
        {},
        {},
    )


def test_a_block_held_twice_or_for_nothing_is_our_own_mistake() -> None:
    history = History(committee=FOUR)
    history.round(1)
    room = room_of(Dag(FOUR))
    hold(room, orphan(1, 5))
    with pytest.raises(AssertionError, match="suspended twice"):
        hold(room, orphan(1, 5))
    with pytest.raises(AssertionError, match="lacks nothing"):
        hold(room, history.blocks[0])

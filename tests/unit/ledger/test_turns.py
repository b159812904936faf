"""Whose entry is next: by states, then by authors; checked against a plain simulation of the same rule."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from node.ledger.turns import Turns


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def drain(turns: Turns) -> list[int]:
    order = []
    while (found := turns.next()) is not None:
        order.append(int.from_bytes(found, "big"))
        turns.take(found)
    return order


def test_the_story_of_the_module() -> None:
    turns = Turns()
    names = {name: number for number, name in enumerate("abcdexy")}
    for author, entries in (("op1", "abcd"), ("op2", "e")):
        for name in entries:
            turns.add(digest(names[name]), "KE", author)
    for name in "xy":
        turns.add(digest(names[name]), "US", "op3")
    assert [list("abcdexy")[number] for number in drain(turns)] == list("axeybcd")


def test_a_state_with_a_thousand_authors_has_one_states_turns() -> None:
    turns = Turns()
    for number in range(1_000):
        turns.add(digest(number), "KE", f"op{number}")
    for number in range(1_000, 1_005):
        turns.add(digest(number), "US", "quiet")
    assert set(range(1_000, 1_005)) < set(drain(turns)[:11])


def test_what_is_discarded_takes_no_turn_and_what_comes_back_is_first() -> None:
    turns = Turns()
    for number in (1, 2, 3):
        turns.add(digest(number), "KE", "op1")
    turns.discard(digest(1))
    turns.discard(digest(9))
    turns.add(digest(0), "KE", "op1", first=True)
    turns.add(digest(3), "KE", "op1")  # it waits already
    assert len(turns) == 3
    assert digest(1) not in turns
    assert drain(turns) == [0, 2, 3]
    assert turns.next() is None


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans(), st.booleans()), max_size=60
    )
)
def test_nobody_is_passed_over_twice(steps: list[tuple[int, int, bool, bool]]) -> None:
    """Whatever comes and goes: while somebody waits, no other state, and in it no other author, has two turns."""
    turns = Turns()
    state_of: dict[int, tuple[int, int]] = {}
    since: dict[tuple[int, int], Counter[tuple[int, int]]] = {}  # who waits -> turns of others
    for number, (state, author, is_taken, is_gone) in enumerate(steps):
        turns.add(digest(number), f"s{state}", f"s{state}a{author}")
        state_of[number] = (state, author)
        since.setdefault((state, author), Counter())
        if is_gone and number:
            turns.discard(digest(number - 1))
            state_of.pop(number - 1, None)
            held = set(state_of.values())
            since = {who: others for who, others in since.items() if who in held}
        if is_taken and (found := turns.next()) is not None:
            turns.take(found)
            who = state_of.pop(int.from_bytes(found, "big"))
            for waiting, others in since.items():
                others[who] += 1
                same_state = waiting[0] == who[0]
                assert others[who] <= 1 or waiting == who or not same_state
            since[who] = Counter()
        held = set(state_of.values())
        since = {who: others for who, others in since.items() if who in held}
    assert sorted(drain(turns)) == sorted(state_of)

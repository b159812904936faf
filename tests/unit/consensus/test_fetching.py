"""Whom to ask for what is missing, and when to ask again (SPEC 4; PACEMAKER P1 and P6)."""

from collections import Counter

import pytest

from consensus.dag import Dag
from consensus.events import BelowAnswered, FetchAnswered, SendBelow, SendFetch, SendNewest
from consensus.fetching import Fetcher
from consensus.requests import Requests
from consensus.types import (
    FETCH_LEVELS_MAX,
    FETCH_REFS_MAX,
    GC_DEPTH,
    CommitIndex,
    Millis,
    Parameters,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)
from consensus.waiting import WaitingRoom
from tests.unit.consensus.blocks import block, committee_of, ref

SEVEN = committee_of(7)
OWN = ValidatorIndex(0)
PEERS = tuple(map(ValidatorIndex, range(1, 7)))
PARAMETERS = Parameters()
START = Millis(1_000_000)
TIMEOUT = PARAMETERS.request_timeout_ms
NO_FLOOR = Round(0)


class Desk:
    def __init__(self) -> None:
        self.dag = Dag(SEVEN)
        self.room = WaitingRoom(self.dag, payload_bytes_max=1_000_000)
        self.requests = Requests()
        self.fetcher = Fetcher(self.room, self.requests, PARAMETERS, OWN)

    def lack(self, *refs: Ref, holder: int = 1, deep: bool = False) -> None:
        """A block of round 900 by validator 6 that names these as parents came from `holder`."""
        others = [one for one in refs if one.author != 6] or [ref(899, 5)]
        child = block(SEVEN, 6, 900, [ref(899, 6), *others], payload=(b"%d" % len(self.room),))
        self.room.hold(VerifiedBlock(child), ValidatorIndex(holder))
        for one in child.header.parents:
            self.fetcher.want(one, ValidatorIndex(holder), deep=deep)

    def due(
        self, after_ms: int, *, peers: tuple[ValidatorIndex, ...] = PEERS, floor: Round = NO_FLOOR
    ) -> list[SendFetch | SendBelow]:
        return self.fetcher.due(Millis(START + after_ms), peers, floor)

    def asked(
        self, after_ms: int, wanted: Ref, *, peers: tuple[ValidatorIndex, ...] = PEERS
    ) -> set[int]:
        """Who is asked for `wanted` now."""
        return {
            question.peer
            for question in self.due(after_ms, peers=peers)
            if isinstance(question, SendFetch) and wanted in question.refs
        }


def answer(question: SendFetch, *, floor: int = 0, below: tuple[Ref, ...] = ()) -> FetchAnswered:
    """With none of the blocks."""
    return FetchAnswered(
        peer=question.peer, request=question.request, blocks=(), floor=Round(floor), below=below
    )


def fetches(questions: list[SendFetch | SendBelow]) -> list[SendFetch]:
    return [question for question in questions if isinstance(question, SendFetch)]


WANTED = ref(899, 3)


def test_first_who_sent_the_child_then_two_others_at_a_time() -> None:
    desk = Desk()
    desk.lack(WANTED, holder=4)
    assert desk.asked(0, WANTED) == {4}
    asked = {4}
    for attempt in range(1, 8):
        for question in desk.requests.expired(Millis(START + 100_000 * attempt)):
            assert isinstance(question, SendFetch)
            desk.fetcher.failed(question)
        now = desk.asked(100_000 * attempt, WANTED)
        assert len(now) == 2 or asked | now == set(PEERS)
        asked |= now
    assert asked == set(PEERS)  # whoever withholds it


@pytest.mark.parametrize("count", range(3, 10))
def test_nobody_is_asked_twice_before_all_were(count: int) -> None:
    """Of four peers the same two were asked for ever, and the holder's answer had been lost once (simulation, 0xce0264aea4b4)."""
    peers = tuple(ValidatorIndex(peer) for peer in range(1, count + 1))
    desk = Desk()
    desk.lack(WANTED, holder=2)
    asked: Counter[int] = Counter()
    for attempt in range(4 * count):
        for question in desk.requests.expired(Millis(START + 100_000 * attempt)):
            assert isinstance(question, SendFetch)
            desk.fetcher.failed(question)
        asked.update(desk.asked(100_000 * attempt, WANTED, peers=peers))
        assert max(asked.values()) - min(asked[peer] for peer in peers) <= 1
    assert min(asked[peer] for peer in peers) >= 3


def test_a_busy_peer_keeps_its_turn() -> None:
    """A liar's invented parents keep peers busy: the one that has the block must not be passed over for that."""
    desk = Desk()
    desk.lack(WANTED, holder=4)
    assert desk.asked(0, WANTED, peers=PEERS[:4]) == {4}
    other = ref(898, 3)
    desk.lack(other, holder=1)
    desk.asked(1, other, peers=PEERS[:4])  # peer 1 is busy with this
    for question in desk.requests.expired(Millis(START + 100_000)):
        assert isinstance(question, SendFetch)
        desk.fetcher.failed(question)
    seen: set[int] = set()
    for attempt in range(1, 4):
        seen |= desk.asked(100_000 * attempt, WANTED, peers=PEERS[:4])
        desk.requests.expired(Millis(START + 100_000 * attempt + 99_000))
    assert seen == set(PEERS[:4])


def test_a_holder_that_is_gone_is_not_waited_for() -> None:
    desk = Desk()
    desk.lack(WANTED, holder=4)
    assert desk.asked(0, WANTED, peers=PEERS[:2]) == {1, 2}
    assert Desk().due(0, peers=()) == []


def test_a_failed_first_question_is_put_to_others_at_once() -> None:
    desk = Desk()
    desk.lack(WANTED, holder=4)
    (question,) = fetches(desk.due(0))
    assert desk.requests.failed(question.request, question.peer) == question
    desk.fetcher.failed(question)
    assert len(desk.asked(1, WANTED)) == 2


def test_the_pause_grows_up_to_its_cap() -> None:
    desk = Desk()
    desk.lack(WANTED, holder=4)
    pauses, last = [], 0
    for now in range(0, 60_000, 100):
        for question in desk.requests.expired(Millis(START + now)):
            assert isinstance(question, SendFetch)
            desk.fetcher.failed(question)
        if WANTED in {one for question in fetches(desk.due(now)) for one in question.refs}:
            pauses.append(now - last)
            last = now
    later = pauses[2:]
    assert later == sorted(later)
    assert later[-1] == PARAMETERS.fetch_backoff_cap_ms
    assert max(pauses) <= PARAMETERS.fetch_backoff_cap_ms


def test_a_question_holds_at_most_64_names_and_the_rest_comes_later() -> None:
    desk = Desk()
    names = [ref(800, author % 6, f"{author}") for author in range(FETCH_REFS_MAX + 10)]
    for start in range(0, len(names), 6):
        desk.lack(*names[start : start + 6], holder=1)
    asked: set[Ref] = set()
    for step in range(10):
        for question in fetches(desk.due(step)):
            assert 1 <= len(question.refs) <= FETCH_REFS_MAX
            asked |= set(question.refs)
            desk.requests.answered(SendFetch, question.request, question.peer)
    assert asked >= set(names)


def test_at_most_one_question_to_each_peer_is_open() -> None:
    desk = Desk()
    desk.lack(WANTED, holder=4)
    desk.due(0)
    desk.lack(ref(899, 2), holder=4)
    assert desk.asked(0, ref(899, 2)) == set()


def test_ancestors_are_asked_for_only_where_they_are_likely_to_be_missing() -> None:
    shallow, deep = Desk(), Desk()
    shallow.lack(WANTED)
    deep.lack(WANTED, deep=True)
    (plain,) = fetches(shallow.due(0))
    (far,) = fetches(deep.due(0))
    assert plain.known_round == 898
    assert far.known_round == 898 - FETCH_LEVELS_MAX
    floored = Desk()
    floored.lack(WANTED, deep=True)
    (bounded,) = fetches(floored.due(0, floor=Round(880)))
    assert bounded.known_round == 880


def test_what_came_another_way_is_asked_for_no_more() -> None:
    desk = Desk()
    desk.lack(WANTED)
    desk.dag.raise_floor(Round(899))
    desk.room.floor_raised()
    assert desk.due(0) == []


def test_what_was_evicted_while_another_waits_for_it_is_asked_for_again() -> None:
    """An author's flood of lower rounds pushes its own block out of the waiting room. Others' blocks still need it, and
    nobody will push it a second time: without a new question they would wait for ever.
    """
    desk = Desk()
    needed = block(SEVEN, 3, 899, [ref(898, author) for author in (3, 0, 1, 2, 4)])
    desk.lack(needed.ref, holder=1)
    desk.room.hold(VerifiedBlock(needed), ValidatorIndex(3))  # it came, and its parents are late
    desk.due(0)
    desk.requests.expired(Millis(START + TIMEOUT))
    for round_ in range(700, 700 + GC_DEPTH):
        flood = block(SEVEN, 3, round_, [ref(round_ - 1, a, "invented") for a in (3, 0, 1, 2, 4)])
        desk.room.hold(VerifiedBlock(flood), ValidatorIndex(3))
    assert needed.ref not in desk.room
    assert desk.room.is_missing(needed.ref)
    assert desk.asked(10 * TIMEOUT, needed.ref)


# --- below the floor of others -------------------------------------------------------------------


def test_p1_who_lost_it_below_its_floor_is_asked_what_decided_its_commits() -> None:
    desk = Desk()
    desk.lack(WANTED, holder=4)
    (question,) = fetches(desk.due(0))
    desk.requests.answered(SendFetch, question.request, question.peer)
    desk.fetcher.fetch_answered(
        answer(question, floor=899, below=(WANTED,)), question, CommitIndex(17), NO_FLOOR
    )
    below = [one for one in desk.due(1) if isinstance(one, SendBelow)]
    assert [(one.peer, one.after_commit) for one in below] == [(4, 17)]


@pytest.mark.parametrize(("floor", "below"), [(0, (WANTED,)), (899, ()), (899, (ref(5, 5),))])
def test_no_floor_above_ours_or_nothing_we_miss_asks_nothing(
    floor: int, below: tuple[Ref, ...]
) -> None:
    desk = Desk()
    desk.lack(WANTED, holder=4)
    (question,) = fetches(desk.due(0))
    desk.requests.answered(SendFetch, question.request, question.peer)
    desk.fetcher.fetch_answered(
        answer(question, floor=floor, below=below), question, CommitIndex(17), NO_FLOOR
    )
    assert not [one for one in desk.due(1) if isinstance(one, SendBelow)]


@pytest.mark.parametrize(("last", "again"), [(20, True), (17, False)])
def test_p1_an_answer_that_brought_something_is_followed_up(last: int, again: bool) -> None:
    desk = Desk()
    desk.lack(WANTED, holder=4)
    question = SendBelow(peer=ValidatorIndex(4), request=9, after_commit=CommitIndex(17))
    served = BelowAnswered(
        peer=ValidatorIndex(4),
        request=9,
        floor=Round(5),
        blocks=(),
        last_commit=CommitIndex(last),
    )
    desk.fetcher.below_answered(served, question, CommitIndex(18))
    below = [one.after_commit for one in desk.due(1) if isinstance(one, SendBelow)]
    assert below == ([20] if again else [])


# --- questions and answers -----------------------------------------------------------------------


def newest(number: int, peer: int = 2) -> SendNewest:
    return SendNewest(peer=ValidatorIndex(peer), request=number, author=OWN)


def test_an_answer_is_matched_by_number_kind_and_peer() -> None:
    requests = Requests()
    question = requests.ask(newest, START)
    number = question.request
    assert requests.answered(SendNewest, number, ValidatorIndex(3)) is None
    assert requests.answered(SendFetch, number, ValidatorIndex(2)) is None
    assert requests.answered(SendNewest, number + 1, ValidatorIndex(2)) is None
    assert requests.failed(number, ValidatorIndex(3)) is None
    assert requests.answered(SendNewest, number, ValidatorIndex(2)) == question
    assert requests.answered(SendNewest, number, ValidatorIndex(2)) is None


def test_what_is_over_its_time_is_open_no_more() -> None:
    requests = Requests()
    first = requests.ask(newest, Millis(10))
    second = requests.ask(lambda number: newest(number, 3), Millis(20))
    assert requests.next_deadline() == 10
    assert requests.expired(Millis(9)) == []
    assert requests.expired(Millis(10)) == [first]
    assert not requests.is_open(SendNewest, ValidatorIndex(2))
    assert requests.is_open(SendNewest, ValidatorIndex(3))
    assert requests.failed(second.request, ValidatorIndex(3)) == second
    assert requests.next_deadline() is None


def test_two_questions_of_a_kind_to_one_peer_are_our_own_mistake() -> None:
    requests = Requests()
    requests.ask(newest, START)
    with pytest.raises(AssertionError, match="asked twice"):
        requests.ask(newest, START)

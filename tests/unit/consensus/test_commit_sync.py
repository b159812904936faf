"""Certified commits instead of live blocks: who is asked what, what each lie costs, and that the order is the quorum's (SPEC 11).

Validator 3 of four, far behind. The history it lacks was decided by a core of validator 0; peers answer from that, or lie.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from consensus import commit_sync
from consensus.codec import commit_digest, encode_block, encode_commit_record
from consensus.commit_sync import NEAR_COMMITS, TURN_LOST_MS
from consensus.core import Core
from consensus.events import (
    BlocksReceived,
    CommitDecided,
    CommitsAnswered,
    CommitsApplied,
    Effect,
    Event,
    Fault,
    ListedAnswered,
    NewestAnswered,
    PeerConnected,
    Propose,
    Reject,
    RequestFailed,
    SendCommits,
    SendFetch,
    SendListed,
    SendNewest,
    SendRange,
    StoreBlocks,
    TimerFired,
    Trouble,
)
from consensus.serving import recover
from consensus.types import (
    COMMITS_ANSWERED_MAX,
    COMMITS_MAX,
    Block,
    Certified,
    Commit,
    CommitIndex,
    Digest,
    Millis,
    Parameters,
    Recovered,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)
from tests.unit.consensus.blocks import History, block, commit_vote, ref
from tests.unit.consensus.member import FOUR, NOTHING, Member, answer_to, only, troubles

ROUNDS = 200
BEHIND = 30  # instead of 100: the test's history is short
PARAMETERS = Parameters(delta_ms=500, min_round_delay_ms=100, sync_commits_behind=BEHIND)
PEERS = tuple(map(ValidatorIndex, (0, 1, 2)))
OWN = ValidatorIndex(3)
START = 1_700_001_000_000
Q = TypeVar("Q", SendCommits, SendListed)


class World:
    """What was decided while validator 3 was away."""

    def __init__(self) -> None:
        source = Member().ready()
        history = History(committee=FOUR)
        for _ in range(ROUNDS):
            wanted: list[Propose] = []
            while not wanted:  # where 3 would lead, the timeout
                wanted = only(Propose, source.tick(PARAMETERS.min_round_delay_ms))
            source.propose(wanted[0])
            history.blocks.append(answer_to(wanted[0]))
            for author in (1, 2):
                source.receive(history.draw(author, wanted[0].round))
        self.blocks: dict[Ref, Block] = dict(source.blocks)
        self.commits = [effect.record.commit for effect in only(CommitDecided, source.history)]
        self.head = len(self.commits)

    def commit(self, index: int) -> Commit:
        return self.commits[index - 1]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


class Laggard:
    """Validator 3: its core and what it is owed. `answer` plays honest peers until nothing is asked any more."""

    def __init__(
        self, world: World, *, parameters: Parameters = PARAMETERS, recovered: Recovered = NOTHING
    ) -> None:
        self.world = world
        self.now = START
        self.core = Core(committee=FOUR, own=OWN, parameters=parameters, recovered=recovered)
        self.history: list[Effect] = []
        self.open: list[SendCommits | SendListed] = []
        self.applies = True
        decided = only(CommitDecided, self._note(self.core.start(Millis(self.now))))
        if decided:
            self.step(CommitsApplied(decided[-1].record.commit.index))
        for peer in PEERS:
            self.step(PeerConnected(peer))
            for question in only(SendNewest, self.history):
                if question.peer == peer:
                    self.step(NewestAnswered(peer=peer, request=question.request, block=None))

    def _note(self, effects: list[Effect]) -> list[Effect]:
        self.history += effects
        self.open += [e for e in effects if isinstance(e, SendCommits | SendListed)]
        return effects

    def step(self, event: Event, after_ms: int = 0) -> list[Effect]:
        self.now += after_ms
        effects = self._note(self.core.step(Millis(self.now), event))
        decided = only(CommitDecided, effects)
        if decided and self.applies:
            return effects + self.step(CommitsApplied(decided[-1].record.commit.index))
        return effects

    def hear(self, index: int, authors: Iterable[int] = PEERS) -> list[Effect]:
        """Live blocks of these authors, far ahead, which vote for commit `index`."""
        effects: list[Effect] = []
        digest = self.world.commit(index).digest if index <= self.world.head else None
        for author in authors:
            parents = [ref(ROUNDS + 2, other) for other in (author, *({*PEERS} - {author}))]
            live = block(
                FOUR, author, ROUNDS + 3, parents, commit_votes=(commit_vote(index, digest),)
            )
            effects += self.step(BlocksReceived(ValidatorIndex(author), (VerifiedBlock(live),)))
        return effects

    def take(self, kind: type[Q]) -> Q:
        """The oldest question of this kind that is not answered."""
        question = next(q for q in self.open if isinstance(q, kind))
        self.open.remove(question)
        return question

    def honest(self, question: SendCommits | SendListed) -> Event:
        world = self.world
        if isinstance(question, SendCommits):
            commits = world.commits[question.first - 1 : question.last]
            return commits_answer(question, commits)
        return blocks_answer(question, [world.blocks[ref] for ref in question.refs])

    def answer_all(self) -> None:
        while self.open:
            question = self.open.pop(0)
            self.step(self.honest(question))

    @property
    def decided(self) -> list[Commit]:
        return [effect.record.commit for effect in only(CommitDecided, self.history)]


def commits_answer(
    question: SendCommits, commits: Sequence[Commit], certified: Certified | None = None
) -> CommitsAnswered:
    if certified is None and commits:
        certified = Certified(commits[-1].index, commits[-1].digest)
    return CommitsAnswered(
        peer=question.peer, request=question.request, commits=tuple(commits), certified=certified
    )


def blocks_answer(question: SendListed, blocks: Sequence[Block]) -> ListedAnswered:
    return ListedAnswered(
        peer=question.peer,
        request=question.request,
        blocks=tuple(map(VerifiedBlock, blocks)),
        size=sum(len(encode_block(one)) for one in blocks),
    )


def renamed(commit: Commit, **changes: object) -> Commit:
    """Another commit, with the digest of its fields."""
    made = replace(commit, **changes)  # type: ignore[arg-type]
    digest = commit_digest(
        epoch=made.epoch,
        index=made.index,
        prev_digest=made.prev_digest,
        leader=made.leader,
        blocks=made.blocks,
        time_ms=made.time_ms,
        committee_hash=made.committee_hash,
    )
    return replace(made, digest=digest)


def behind(world: World, **changes: int) -> Laggard:
    laggard = Laggard(world, parameters=replace(PARAMETERS, **changes))
    laggard.hear(world.head)
    assert laggard.core.is_catching_up
    return laggard


# --- when ----------------------------------------------------------------------------------------


def test_a_quorum_further_ahead_than_the_bound_begins_it_and_f_liars_do_not(world: World) -> None:
    laggard = Laggard(world)
    laggard.hear(world.head, authors=(0, 1))
    assert not laggard.core.is_catching_up
    assert not laggard.open
    laggard.hear(BEHIND, authors=(2,))
    assert not only(SendCommits, laggard.history)  # the quorum is where the slowest of three is
    laggard.hear(BEHIND + 1, authors=(2,))
    assert [(q.first, q.last) for q in only(SendCommits, laggard.history)] == [(1, BEHIND + 1)]


def test_it_ends_at_the_head_with_the_very_order_of_the_others_and_signs_nothing_before(
    world: World,
) -> None:
    laggard = behind(world)
    laggard.answer_all()
    assert not laggard.core.is_catching_up
    assert len(laggard.decided) >= world.head - NEAR_COMMITS
    assert laggard.decided == world.commits[: len(laggard.decided)]
    assert not only(Propose, laggard.history)
    assert not troubles(laggard.history)
    assert not only(Reject, laggard.history)
    # Each commit's blocks are handed over with it, in its order, and were stored before.
    stored: set[Ref] = set()
    for effect in laggard.history:
        if isinstance(effect, StoreBlocks):
            stored.update(one.ref for one in effect.blocks)
        elif isinstance(effect, CommitDecided):
            refs = tuple(one.ref for one in effect.blocks)
            assert refs == effect.record.commit.blocks
            assert stored.issuperset(refs)
            assert effect.record.deciders == ()
    # What was committed stands in the DAG: the live rounds hang on it.
    newest = laggard.decided[-1]
    assert laggard.core.dag.node(newest.leader) is not None
    assert laggard.core.linearizer.last_digest == newest.digest


def test_live_blocks_then_bring_the_rest(world: World) -> None:
    laggard = Laggard(world)
    laggard.hear(world.head - 40)
    laggard.answer_all()
    reached = len(laggard.decided)
    rest = [one for ref, one in world.blocks.items() if laggard.core.dag.node(ref) is None]
    for one in sorted(rest, key=lambda made: made.ref):
        laggard.step(BlocksReceived(PEERS[0], (VerifiedBlock(one),)))
    assert laggard.decided == world.commits
    assert len(laggard.decided) > reached


def test_live_blocks_are_read_for_their_votes_alone_and_the_live_fetcher_stands_still(
    world: World,
) -> None:
    laggard = behind(world)
    before = len(laggard.core.room), len(laggard.core.dag)
    asked = len(only(SendFetch, laggard.history)), len(only(SendRange, laggard.history))
    laggard.step(TimerFired(), after_ms=1)
    near = [one for ref, one in world.blocks.items() if ref.round in (5, 6)]
    laggard.step(BlocksReceived(PEERS[1], tuple(map(VerifiedBlock, near))))
    assert (len(laggard.core.room), len(laggard.core.dag)) == before
    assert (len(only(SendFetch, laggard.history)), len(only(SendRange, laggard.history))) == asked
    assert laggard.core.votes.certified_index == world.head


def test_who_dies_in_the_middle_goes_on_from_what_the_ledger_applied(world: World) -> None:
    """A crash loses what was ordered and not applied, and keeps more blocks than commits."""
    first = behind(world)
    while len(first.decided) < 60:
        first.step(first.honest(first.open.pop(0)))
    applied = 47
    store = Kept(first.history, applied)
    second = Laggard(world, recovered=recover(store, None))
    second.hear(world.head)
    assert second.core.linearizer.last_index >= applied
    second.answer_all()
    assert second.decided == world.commits[applied : applied + len(second.decided)]
    assert applied + len(second.decided) >= world.head - NEAR_COMMITS
    assert not troubles(second.history)


class Kept:
    """A BlockReader over what a laggard had stored, its ledger being at commit `applied`."""

    def __init__(self, history: Iterable[Effect], applied: int) -> None:
        listed = list(history)
        self.blocks = {
            one.ref: encode_block(one) for e in only(StoreBlocks, listed) for one in e.blocks
        }
        records = [encode_commit_record(e.record) for e in only(CommitDecided, listed)]
        self.records = records[:applied]

    def block(self, name: Ref, /) -> bytes | None:
        return self.blocks.get(name)

    def blocks_in_rounds(
        self, first: int, last: int, limit_bytes: int, /
    ) -> list[tuple[Ref, bytes]]:
        return [(r, self.blocks[r]) for r in sorted(self.blocks) if first <= r.round <= last]

    def newest_block_of(self, author: int, /) -> tuple[Ref, bytes] | None:
        names = [name for name in self.blocks if name.author == author]
        return (max(names), self.blocks[max(names)]) if names else None

    def commit_record(self, index: int, /) -> bytes | None:
        return self.records[index - 1] if 1 <= index <= len(self.records) else None

    def last_commit_index(self) -> int:
        return len(self.records)


# --- bounds --------------------------------------------------------------------------------------


def test_questions_keep_within_their_bounds(world: World) -> None:
    laggard = behind(world)
    laggard.answer_all()
    questions = only(SendCommits, laggard.history)
    assert all(0 <= q.last - q.first < COMMITS_MAX for q in questions)
    assert len({q.peer for q in questions}) == len(PEERS)  # in turn
    listed = only(SendListed, laggard.history)
    assert all(1 <= len(q.refs) <= 1_000 for q in listed)
    refs = [ref for q in listed for ref in q.refs]
    assert len(refs) == len(set(refs))  # nothing twice, where all answer


def test_a_ledger_that_does_not_keep_up_stops_the_fetching(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_sync, "BATCHES_AHEAD", 1)
    laggard = behind(world)
    laggard.applies = False
    laggard.answer_all()
    assert len(laggard.decided) == commit_sync.ORDERED_AHEAD_MAX
    assert max(q.last for q in only(SendCommits, laggard.history)) <= COMMITS_MAX
    laggard.applies = True
    laggard.step(CommitsApplied(CommitIndex(10)))
    laggard.answer_all()
    assert laggard.decided == world.commits[: len(laggard.decided)]
    assert len(laggard.decided) >= world.head - NEAR_COMMITS


def test_payload_beyond_the_budget_is_not_asked_for_until_the_ledger_has_applied(
    world: World,
) -> None:
    laggard = behind(world, sync_bytes_max=1)
    laggard.applies = False
    asked: list[int] = []
    while laggard.open:
        question = laggard.open.pop(0)
        laggard.step(laggard.honest(question))
        asked.append(len([q for q in laggard.open if isinstance(q, SendListed)]))
    assert max(asked) <= 1  # the next commit's alone
    assert laggard.decided == world.commits[: len(laggard.decided)]


# --- lies ----------------------------------------------------------------------------------------


def lie(laggard: Laggard, question: SendCommits | SendListed, answer: Event) -> list[Effect]:
    """Tell it, and see that nothing came of it but the liar's lost turn; then the others bring all."""
    told = len(laggard.history)
    effects = laggard.step(answer)
    liar = question.peer
    assert not troubles(effects)
    until = laggard.now + TURN_LOST_MS
    laggard.answer_all()
    asked = laggard.history[told:]
    assert liar not in {q.peer for q in asked if isinstance(q, SendCommits | SendListed)}
    assert laggard.now < until
    assert laggard.decided == laggard.world.commits[: len(laggard.decided)]
    assert len(laggard.decided) >= laggard.world.head - NEAR_COMMITS
    return effects


@pytest.mark.parametrize(
    "what", ["start", "gap", "chain", "no certificate", "certificate of another", "epoch", "many"]
)
def test_commits_that_are_no_answer_cost_the_sender_its_turn(world: World, what: str) -> None:
    laggard = behind(world)
    question = laggard.take(SendCommits)
    commits = list(world.commits[question.first - 1 : question.last])
    certified = Certified(commits[-1].index, commits[-1].digest)
    match what:
        case "start":
            commits = commits[1:]
        case "gap":
            del commits[5]
        case "chain":
            commits[5] = renamed(commits[5], time_ms=Millis(commits[5].time_ms + 1))
        case "no certificate":
            answer = replace(commits_answer(question, commits), certified=None)
        case "certificate of another":
            certified = Certified(commits[-1].index, world.commit(1).digest)
        case "epoch":
            for at, commit in enumerate(commits):
                before = commits[at - 1].digest if at else commit.prev_digest
                commits[at] = renamed(commit, epoch=1, prev_digest=before)
            certified = Certified(commits[-1].index, commits[-1].digest)
        case "many":
            while len(commits) <= COMMITS_ANSWERED_MAX:
                last = commits[-1]
                index = CommitIndex(last.index + 1)
                commits.append(renamed(last, index=index, prev_digest=last.digest))
            certified = Certified(commits[-1].index, commits[-1].digest)
    if what != "no certificate":
        answer = commits_answer(question, commits, certified)
    effects = lie(laggard, question, answer)
    rejects = only(Reject, effects)
    assert [(r.peer, r.fault) for r in rejects] == [(question.peer, Fault.BAD_COMMITS)]


def test_what_is_not_certified_at_the_end_is_trimmed_and_asked_for_anew(world: World) -> None:
    laggard = behind(world)
    question = laggard.take(SendCommits)
    laggard.step(commits_answer(question, world.commits[question.first - 1 : question.first + 9]))
    laggard.answer_all()
    assert question.first + 10 in {q.first for q in only(SendCommits, laggard.history)}
    assert len(laggard.decided) >= world.head - NEAR_COMMITS


def test_a_peer_with_nothing_to_certify_loses_its_turn_unpunished(world: World) -> None:
    laggard = behind(world)
    question = laggard.take(SendCommits)
    effects = lie(laggard, question, commits_answer(question, ()))
    assert not only(Reject, effects)


def test_an_answer_may_go_on_to_the_first_commit_that_can_be_certified(world: World) -> None:
    """Commits that append nothing have no record: nothing certifies them but a later one."""
    laggard = behind(world)
    question = laggard.take(SendCommits)
    laggard.step(commits_answer(question, world.commits[: question.last + 30]))
    laggard.answer_all()
    assert laggard.decided == world.commits[: len(laggard.decided)]
    assert not only(Reject, laggard.history)


@pytest.mark.parametrize("what", ["none", "some", "others", "refused"])
def test_blocks_withheld_or_not_asked_for_cost_the_sender_its_turn(world: World, what: str) -> None:
    laggard = behind(world)
    laggard.step(laggard.honest(laggard.take(SendCommits)))
    question = laggard.take(SendListed)
    blocks = [world.blocks[ref] for ref in question.refs]
    foreign = [one for ref, one in world.blocks.items() if ref not in question.refs]
    answer: Event
    match what:
        case "none":
            answer = blocks_answer(question, [])
        case "some":
            answer = blocks_answer(question, blocks[::2])
        case "others":
            answer = blocks_answer(question, foreign[:3])
        case _:
            answer = RequestFailed(peer=question.peer, request=question.request, refused=True)
    effects = lie(laggard, question, answer)
    faults = [(r.peer, r.fault) for r in only(Reject, effects)]
    assert faults == ([(question.peer, Fault.UNREQUESTED)] if what == "others" else [])


def test_an_answer_as_full_as_it_may_be_withholds_nothing(world: World) -> None:
    laggard = behind(world)
    laggard.step(laggard.honest(laggard.take(SendCommits)))
    question = laggard.take(SendListed)
    part = blocks_answer(question, [world.blocks[ref] for ref in question.refs[:3]])
    effects = laggard.step(replace(part, size=commit_sync.ANSWER_FULL_BYTES))
    laggard.open += []
    again = [ref for q in only(SendListed, effects) for ref in q.refs]
    assert set(question.refs[3:]) <= set(again)
    assert not set(question.refs[:3]) & set(again)


def test_who_does_not_answer_pauses_longer_each_time_and_is_asked_again(world: World) -> None:
    laggard = behind(world)
    pauses: list[int] = []
    for _ in range(3):
        question = laggard.take(SendCommits)
        while question.peer != 0:
            laggard.step(RequestFailed(peer=question.peer, request=question.request))
            question = next_question_of(laggard)
        failed_at = laggard.now
        laggard.step(RequestFailed(peer=question.peer, request=question.request))
        laggard.open.clear()
        while not any(q.peer == 0 for q in laggard.open):
            laggard.step(TimerFired(), after_ms=100)
        laggard.open = [q for q in laggard.open if q.peer == 0]
        pauses.append(laggard.now - failed_at)
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 4 * commit_sync.PAUSE_FIRST_MS


def next_question_of(laggard: Laggard) -> SendCommits:
    while not any(isinstance(q, SendCommits) for q in laggard.open):
        laggard.step(TimerFired(), after_ms=100)
    return laggard.take(SendCommits)


def test_a_gap_that_all_else_waits_for_halves_what_is_asked_for_at_once(world: World) -> None:
    laggard = behind(world)
    laggard.step(laggard.honest(laggard.take(SendCommits)))
    sync = laggard.core._catch_up
    assert sync._parallel == commit_sync.PARALLEL_FIRST
    first = laggard.take(SendListed)
    laggard.step(blocks_answer(first, []))
    assert sync._parallel == commit_sync.PARALLEL_FIRST // 2
    laggard.step(laggard.honest(laggard.take(SendListed)))
    assert sync._parallel == commit_sync.PARALLEL_FIRST // 2 + 1


def test_where_nobody_can_certify_rounds_are_fetched_and_later_it_is_tried_again(
    world: World,
) -> None:
    laggard = behind(world)
    while laggard.open:
        question = laggard.take(SendCommits)
        laggard.step(commits_answer(question, ()))
    assert not laggard.core.is_catching_up
    laggard.step(TimerFired(), after_ms=PARAMETERS.request_timeout_ms)  # of the one asked at first
    assert only(SendRange, laggard.step(TimerFired(), after_ms=PARAMETERS.half_delta_ms))
    laggard.step(TimerFired(), after_ms=TURN_LOST_MS)
    assert laggard.core.is_catching_up


# --- a quorum that lies, or ourselves ------------------------------------------------------------


def forged(world: World, what: str) -> tuple[list[Commit], list[Block]]:
    """Commits that chain from the first on and that more than f liars might have certified."""
    commits = list(world.commits[:COMMITS_MAX])
    extra: list[Block] = []
    at = 10
    match what:
        case "time":
            commits[at] = renamed(commits[at], time_ms=Millis(commits[at].time_ms + 1))
        case "left out":
            commits[at] = renamed(commits[at], blocks=commits[at].blocks[1:])
        case "leader":
            commits[at] = renamed(commits[at], leader=commits[at - 1].leader)
        case "ancestors":
            lone = block(FOUR, 1, 30, [Ref(Round(29), ValidatorIndex(1), Digest(bytes(32)))])
            extra.append(lone)
            blocks = tuple(sorted((*commits[at].blocks, lone.ref)))
            commits[at] = renamed(commits[at], blocks=blocks)
        case _:
            commits[at] = renamed(
                commits[at], leader=Ref(Round(99), ValidatorIndex(3), Digest(bytes(32)))
            )
    for index in range(at + 1, len(commits)):
        commits[index] = renamed(commits[index], prev_digest=commits[index - 1].digest)
    return commits, extra


@pytest.mark.parametrize("what", ["time", "left out", "leader", "ancestors", "no such leader"])
def test_certified_commits_that_are_not_what_the_dag_gives_are_a_fork(
    world: World, what: str
) -> None:
    laggard = behind(world)
    commits, extra = forged(world, what)
    question = laggard.take(SendCommits)
    laggard.step(commits_answer(question, commits))
    laggard.open = [q for q in laggard.open if isinstance(q, SendListed)]
    held = world.blocks | {one.ref: one for one in extra}
    while laggard.open:
        listed = laggard.take(SendListed)
        laggard.step(blocks_answer(listed, [held[ref] for ref in listed.refs]))
    assert Trouble.FORK in troubles(laggard.history)
    assert laggard.decided == world.commits[:10]
    assert not laggard.core.is_catching_up


def test_a_certified_chain_that_is_not_ours_is_a_fork(world: World) -> None:
    laggard = behind(world)
    commits = [renamed(world.commit(1), prev_digest=Digest(b"\x01" * 32))]
    effects = laggard.step(commits_answer(laggard.take(SendCommits), commits))
    assert troubles(effects) == [Trouble.FORK]
    assert not laggard.decided
    assert not laggard.core.is_catching_up


def test_two_certified_commits_of_one_index_are_a_fork(world: World) -> None:
    laggard = behind(world)
    first, second = laggard.take(SendCommits), laggard.take(SendCommits)
    other = [renamed(world.commit(1), time_ms=Millis(world.commit(1).time_ms + 5))]
    laggard.step(commits_answer(first, other))
    answer = commits_answer(second, world.commits[second.first - 1 : second.last])
    laggard.step(answer)
    laggard.open = [q for q in laggard.open if isinstance(q, SendCommits)]
    laggard.answer_all()
    assert Trouble.FORK in troubles(laggard.history)

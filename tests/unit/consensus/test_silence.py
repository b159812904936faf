"""Who is silent, and what that changes in the pacemaker (decision 0166)."""

from consensus.dag import Dag
from consensus.pacemaker import Pacemaker, Rule
from consensus.silence import ENTRIES_PER_TIMEOUT, GRACE_TIMEOUTS, Silence
from consensus.types import Millis, Parameters, Round, ValidatorIndex
from tests.unit.consensus.blocks import History, committee_of

FOUR = committee_of(4)
PUSH = Parameters(delta_ms=500, timeout_deltas=2, timeout_cap_ms=60_000)
T = 1_000
GRACE = GRACE_TIMEOUTS * T
START = 1_000_000
ALIVE, DEAD = ValidatorIndex(1), ValidatorIndex(3)


def at(after_ms: int) -> Millis:
    return Millis(START + after_ms)


def watched(shown: dict[int, int], *, rounds: int, every_ms: int) -> Silence:
    """Entered rounds 1 to `rounds`, one each `every_ms`."""
    newest = [Round(shown.get(author, 10**6)) for author in range(FOUR.size)]
    silence = Silence(newest, PUSH)
    for turn in range(rounds):
        silence.entered(Round(1 + turn), at(turn * every_ms))
    return silence


def test_silent_is_who_showed_nothing_since_a_round_was_entered_a_grace_ago() -> None:
    silence = watched({DEAD: 5}, rounds=10, every_ms=100)
    # Round 7, entered at 600 ms, is the first that was entered by blocks of a round later than its newest.
    assert silence.begins_at(DEAD) == at(600 + GRACE)
    assert not silence.is_silent(DEAD, at(600 + GRACE - 1))
    assert silence.is_silent(DEAD, at(600 + GRACE))
    assert silence.begins_at(ALIVE) is None
    assert not silence.is_silent(ALIVE, at(10**9))


def test_one_block_behind_is_not_silent() -> None:
    """We enter a round by a quorum of the one before: who is last has not shown its block of that yet."""
    silence = watched({DEAD: 9}, rounds=10, every_ms=100)
    assert silence.begins_at(DEAD) is None


def test_nobody_grows_silent_while_no_round_is_entered() -> None:
    """As where nothing is to be ordered, or where there is no quorum."""
    silence = watched({ALIVE: 9, DEAD: 2}, rounds=10, every_ms=10)
    assert not silence.is_silent(ALIVE, at(3_600_000))


def test_the_first_block_shown_ends_it() -> None:
    shown = [Round(50), Round(50), Round(50), Round(3)]
    silence = Silence(shown, PUSH)
    for turn in range(50):
        silence.entered(Round(turn + 1), at(turn * 100))
    assert silence.is_silent(DEAD, at(5_000))
    shown[DEAD] = Round(49)
    assert not silence.is_silent(DEAD, at(5_000))


def test_a_slow_validator_that_shows_old_blocks_is_waited_for() -> None:
    """Rounds of 100 ms, and its blocks come 900 ms late: nine rounds behind, and not silent in any of them."""
    shown = [Round(10**6)] * 4
    silence = Silence(shown, PUSH)
    for turn in range(200):
        silence.entered(Round(turn + 1), at(turn * 100))
        shown[DEAD] = Round(max(0, turn - 9))
        assert not silence.is_silent(DEAD, at(turn * 100))


def test_what_is_kept_is_bounded_however_fast_rounds_are() -> None:
    shown = [Round(0)] * 4
    silence = Silence(shown, PUSH)
    most = 0
    for turn in range(20_000):
        silence.entered(Round(turn + 1), at(turn))
        most = max(most, len(silence._entries))
    assert most <= GRACE // (T // ENTRIES_PER_TIMEOUT) + 3
    assert silence.is_silent(DEAD, at(20_000))
    shown[DEAD] = Round(20_000 - GRACE + T)  # within the grace: kept finely enough to tell
    assert not silence.is_silent(DEAD, at(20_000))


# --- in the pacemaker ----------------------------------------------------------------------------


def without(dead: int, last: int) -> Dag:
    """Rounds up to `last` by all but one."""
    history = History(committee=FOUR)
    history.rounds(1, last, tuple(author for author in range(4) if author != dead))
    dag = Dag(FOUR)
    for made in history.blocks:
        dag.accept(made)
    return dag


def entered(round_: int, dead_showed: int) -> Pacemaker:
    """Now in `round_`, whose leader before is the one that is silent or not; rounds took 100 ms."""
    shown = [Round(round_)] * 4
    shown[FOUR.leader(Round(round_ - 1))] = Round(dead_showed)
    pacemaker = Pacemaker(FOUR, PUSH, shown)
    for number in range(1, round_ + 1):
        pacemaker.enter(Round(number), at(100 * number))
        pacemaker.committed()
    pacemaker.last_signed = Round(round_ - 1)
    return pacemaker


def test_a_leader_that_is_silent_is_not_waited_for() -> None:
    dead, round_ = FOUR.leader(Round(39)), 40
    pacemaker, dag = entered(round_, 0), without(dead, 39)
    soon = at(100 * round_ + PUSH.min_round_delay_ms)
    assert pacemaker.rule(dag, soon, may_idle=False) is Rule.C1


def test_a_leader_that_showed_a_block_lately_is_waited_for() -> None:
    """A liar that speaks and leaves out its turns costs the timeout in each, as ever."""
    dead, round_ = FOUR.leader(Round(39)), 40
    pacemaker, dag = entered(round_, 35), without(dead, 39)
    assert pacemaker.rule(dag, at(100 * round_ + T - 1), may_idle=False) is None
    assert pacemaker.rule(dag, at(100 * round_ + T), may_idle=False) is Rule.C2


def test_votes_on_the_leader_before_are_waited_for_all_the_same() -> None:
    """L2 is about another leader: to give it up would cost that one's slot."""
    round_ = 40
    dead = FOUR.leader(Round(round_ - 1))
    others = tuple(author for author in range(4) if author != dead)
    history = History(committee=FOUR)
    history.rounds(1, round_ - 2, others)
    led = FOUR.leader(Round(round_ - 2))
    against = next(author for author in others if author != led)
    for author in others:  # two of three vote for it: neither a quorum for it nor one against it
        links = [
            ref
            for ref in history.round_before(round_ - 1)
            if ref.author != led or author != against
        ]
        history.draw(author, round_ - 1, links)
    dag = Dag(FOUR)
    for made in history.blocks:
        dag.accept(made)
    pacemaker = entered(round_, 0)
    soon = at(100 * round_ + PUSH.min_round_delay_ms)
    assert pacemaker.rule(dag, soon, may_idle=False) is None


def test_the_time_at_which_a_leader_falls_silent_is_a_deadline() -> None:
    pacemaker = entered(8, 3)  # round 5 was the first entered without a word of it, at 500 ms
    assert at(500 + GRACE) in pacemaker.deadlines()

"""When to go to the next round, and when to make a block: the Push pacemaker of Starfish (SPEC 5, PACEMAKER.md).

    A1   round r-1 has blocks of a quorum                                   -> enter r, if A2
    A2   I made my own block of r-1 (waived for rounds that a commit decided, RULINGS R30)
    L1   a block of the leader of r-1 is accepted, or that leader is silent (decision 0166)
    L2   the leader slot of r-2 has a block with a quorum of votes, or shows the skip pattern
    C1   L1 and L2 and min_round_delay since entry                          -> make my block of r
    C2   the leader timeout T(r) passed
    C3   a quorum already has blocks of r: I am late

A production clock that jumps on one higher block can be held without a commit for ever by one late leader; A2, L2 and C3 are what
stops that (SPEC D3). Every wait has an exit that needs a quorum only, so no single validator is ever required.

Quiescence: with nothing to order, C1 and C2 may wait until `idle_delay`; whoever has something to order lifts it by `Wake`.
"""

from collections.abc import Sequence
from enum import Enum, unique

from consensus.commit_rule import is_skipped, supported
from consensus.committee import Committee
from consensus.dag import Dag
from consensus.silence import Silence
from consensus.types import GENESIS_ROUND, Millis, Parameters, Round, ValidatorIndex


@unique
class Rule(Enum):
    """What let this validator make its block of a round."""

    C1 = "leaders and votes are here"
    C2 = "leader timeout"
    C3 = "a quorum is already here"


def has_leader(dag: Dag, round_: Round) -> bool:
    """L1, for a block of `round_`, silence apart. Round 1 has no leader before it to wait for."""
    before = Round(round_ - 1)
    return before <= GENESIS_ROUND or bool(dag.slot(before, dag.committee.leader(before)))


def has_votes(dag: Dag, round_: Round) -> bool:
    """L2, for a block of `round_`: whether the leader two rounds before can be certified or is skipped is already settled."""
    voted = Round(round_ - 2)
    return voted <= GENESIS_ROUND or supported(dag, voted) is not None or is_skipped(dag, voted)


class Pacemaker:
    """The round this validator is in, when it entered it, and the last round it signed."""

    def __init__(
        self, committee: Committee, parameters: Parameters, shown: Sequence[Round]
    ) -> None:
        """`shown`: of each validator the highest round of which it signed a block, as far as we saw; read, never written."""
        self.round = Round(GENESIS_ROUND + 1)
        self.last_signed = GENESIS_ROUND
        self._committee = committee
        self._parameters = parameters
        self._entered_ms = Millis(0)
        self._timeout_at = Millis(0)
        self._round_at_commit = Round(GENESIS_ROUND + 1)  # mine, when the newest commit came
        self._wakes: dict[ValidatorIndex, Round] = {}  # the newest of each peer
        self._silence = Silence(shown, parameters)

    @property
    def has_made_block(self) -> bool:
        """True if my block of the present round is signed."""
        return self.last_signed >= self.round

    def enter(self, round_: Round, now: Millis) -> None:
        """Be in this round; its timer runs from now, on every entry, whatever caused it."""
        self.round = round_
        self._silence.entered(round_, now)
        self._entered_ms = now
        self._timeout_at = Millis(now + self.timeout_ms)

    @property
    def timeout_ms(self) -> int:
        """T: doubled after every n rounds without a commit, up to the cap; the base again after one."""
        parameters = self._parameters
        doublings = max(0, self.round - self._round_at_commit) // self._committee.size
        base = parameters.delta_ms * parameters.timeout_deltas
        return min(base << min(doublings, 16), max(base, parameters.timeout_cap_ms))

    def committed(self) -> None:
        """A commit came out in sequence."""
        self._round_at_commit = self.round

    def woken(self, peer: ValidatorIndex, round_: Round) -> None:
        """A Wake of this peer; one for a round not entered yet is kept (PACEMAKER P4). Only the newest counts."""
        self._wakes[peer] = round_

    def advance(self, dag: Dag, committed_leader_round: Round, now: Millis) -> bool:
        """Enter as many rounds as A1 and A2 allow. True if it entered one."""
        before = self.round
        while True:
            if self.round <= committed_leader_round:
                # Decided rounds: my blocks there would be useless. First round after the gap (SPEC 5).
                self.round = Round(max(self.last_signed, committed_leader_round) + 1)
            elif self.has_made_block and dag.has_quorum(self.round):
                self.round = Round(self.round + 1)
            else:
                break
        if self.round == before:
            return False
        self.enter(self.round, now)
        return True

    def rule(self, dag: Dag, now: Millis, *, may_idle: bool) -> Rule | None:
        """What lets me make my block of this round now, if anything does. `may_idle`: this node has nothing to order."""
        round_ = self.round
        if self.has_made_block or not dag.has_quorum(Round(round_ - 1)):
            return None
        here = dag.authors(round_).bit_count()
        if here >= self._committee.quorum:
            return Rule.C3
        if may_idle and not self._is_awake(here, now):
            return None
        if now >= self._timeout_at:
            return Rule.C2
        settled = now >= self._entered_ms + self._parameters.min_round_delay_ms
        led = has_leader(dag, round_) or self._silence.is_silent(self._leader_before, now)
        if settled and led and has_votes(dag, round_):
            return Rule.C1
        return None

    @property
    def _leader_before(self) -> ValidatorIndex:
        return self._committee.leader(Round(self.round - 1))

    def _is_awake(self, here: int, now: Millis) -> bool:
        return (
            here >= self._committee.validity
            or self.round in self._wakes.values()
            or now >= self._entered_ms + self._parameters.idle_delay_ms
        )

    def deadlines(self) -> tuple[Millis, ...]:
        """When `rule` may answer differently although nothing was accepted."""
        if self.has_made_block:
            return ()
        parameters = self._parameters
        silent = self._silence.begins_at(self._leader_before)
        return (
            Millis(self._entered_ms + parameters.min_round_delay_ms),
            self._timeout_at,
            Millis(self._entered_ms + parameters.idle_delay_ms),
            *((silent,) if silent is not None else ()),
        )

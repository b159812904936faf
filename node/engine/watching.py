"""The engine seen from outside: what it counts, as metrics and as the figures of `foedus status`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from consensus.core import Core
from consensus.own_slot import Signing
from consensus.waiting import SUSPENDED_PER_MEMBER
from node.engine import applying
from node.engine import inbox as inboxes
from node.engine.accusations import Accusations
from node.engine.applying import Applier
from node.engine.figures import EngineFigures, MemberFigures, QueueDepth
from node.engine.inbox import Inbox
from node.engine.outcomes import Outcomes
from node.engine.pulse import Pulse
from node.ledger.ledger import Ledger
from node.ledger.mempool import Mempool
from node.network.network import Network
from node.telemetry import Metrics

CoreOf = Callable[[], Core | None]


@dataclass(kw_only=True)
class Watch:
    """Looks at the parts of one engine; changes none of them. `rounds`: the newest block of each member here."""

    own: int | None
    states: Sequence[str]
    rounds: Sequence[int]
    quorum: int
    outcomes: Outcomes
    accusations: Accusations
    inbox: Inbox
    applier: Applier
    network: Network
    newest_cosigned: Callable[[int], int]
    ledger: Ledger
    mempool: Mempool
    pulse: Pulse
    metrics: Metrics
    _refusals: dict[str, int] = field(default_factory=dict)  # by reason, of which there are a few

    def __post_init__(self) -> None:
        counter = self.metrics.counter
        self.step_seconds = counter("foedus_core_seconds", "Time spent in the core.")
        self._refused = counter(
            "foedus_blocks_refused",
            "Bundles and answers of blocks refused, by reason.",
            ("reason",),
        )

        self.certified = counter(
            "foedus_commits_certified",
            "Commits taken over on a quorum's certificate, instead of decided here.",
        )

    def refused(self, reason: str) -> None:
        """A bundle or an answer of a peer was not taken."""
        self._refused.labels(reason).inc()
        self._refusals[reason] = self._refusals.get(reason, 0) + 1

    def measure(self, core: CoreOf) -> None:
        """Have the rest read whenever the metrics are."""
        show, gauge = self.metrics.read_at_scrape, self.metrics.gauge
        show("foedus_inbox_events", "Events that wait for the core.", lambda: len(self.inbox))
        show(
            "foedus_quorum_index",
            "Highest commit that a quorum says it has reached.",
            lambda: self._quorum_index(core()),
        )
        show(
            "foedus_commit_lag",
            "Commits that a quorum has reached and this node has not applied.",
            lambda: self.commit_lag(core()),
        )
        show(
            "foedus_quorum_round",
            "Newest round of which a quorum's blocks are here.",
            self._quorum_round,
        )
        show("foedus_commits_waiting", "Commits that wait for the law.", lambda: len(self.applier))
        show(
            "foedus_catching_up",
            "1 while certified commits are fetched instead of live blocks.",
            lambda: int(_is_catching_up(core())),
        )
        show(
            "foedus_timers_late_seconds",
            "How far this process is behind its own timers, smoothed.",
            lambda: self.pulse.late_ms / 1000,
        )
        show(
            "foedus_flood_allowance_units",
            "Of a state that brings most: entries of at most half a KiB in one own block, while it is held back.",
            lambda: self.mempool.shares.allowance,
        )
        newest = gauge("foedus_member_round", "Newest block of each member here.", ("state",))
        cosigned = gauge(
            "foedus_member_cosigned_size", "Newest size cosigned by each other member.", ("state",)
        )
        for member, state in enumerate(self.states):
            newest.labels(state).set_function(partial(self.rounds.__getitem__, member))
            if member != self.own:
                cosigned.labels(state).set_function(partial(self.newest_cosigned, member))

    def figures(self, core: Core | None) -> EngineFigures:
        """How this node stands."""
        if core is None:
            return EngineFigures(signing="not started")
        state = core.signing
        return EngineFigures(
            signing=state.signing.value,
            sign_state_lost=state.signing is Signing.LOST,
            answers=state.answers,
            answers_needed=state.answers_needed,
            may_confirm_loss=state.may_confirm,
            quorum_index=self._quorum_index(core),
            commit_lag=self.commit_lag(core),
            quorum_round=self._quorum_round(),
            members=tuple(self._member(core, member) for member in range(len(self.states))),
            refused=dict(sorted(self._refusals.items())),
            queues=self._queues(core),
        )

    def _member(self, core: Core, member: int) -> MemberFigures:
        voted = core.votes.highest_of(member)
        return replace(
            self.outcomes.figures_of(member),
            round=self.rounds[member],
            commit_index=self.ledger.last_commit if member == self.own else voted,
            equivocated_round=self.accusations.round_of(member),
        )

    def _queues(self, core: Core) -> tuple[QueueDepth, ...]:
        inbox, applier, mempool = self.inbox, self.applier, self.mempool
        outbox, outbox_max = self.network.outbox_bytes
        suspended_max = SUSPENDED_PER_MEMBER * len(self.states)
        depths = (
            ("core inbox", len(inbox), inboxes.EVENTS_MAX, "events"),
            ("core inbox", inbox.bytes_held, inboxes.BYTES_MAX, "bytes"),
            ("suspended blocks", len(core.room), suspended_max, "blocks"),
            ("commits for the law", len(applier), applying.COMMITS_MAX, "commits"),
            ("commits for the law", applier.bytes_held, applying.BYTES_MAX, "bytes"),
            ("readers' queues", outbox, outbox_max, "bytes"),
            ("mempool", len(mempool), mempool.limits.entries_max, "entries"),
            ("mempool", mempool.bytes_held, mempool.limits.bytes_max, "bytes"),
        )
        return tuple(
            QueueDepth(name=name, held=held, limit=limit, unit=unit)
            for name, held, limit, unit in depths
        )

    def commit_lag(self, core: Core | None) -> int:
        """Commits that a quorum has reached and this node has not applied."""
        return max(0, self._quorum_index(core) - self.ledger.last_commit)

    def _quorum_index(self, core: Core | None) -> int:
        """Highest commit that a quorum has reached: as the others say in their blocks, and as this node knows of itself."""
        if core is None:
            return 0
        reached = [
            self.ledger.last_commit if member == self.own else core.votes.highest_of(member)
            for member in range(len(self.states))
        ]
        return sorted(reached, reverse=True)[self.quorum - 1]

    def _quorum_round(self) -> int:
        return sorted(self.rounds, reverse=True)[self.quorum - 1]


def _is_catching_up(core: Core | None) -> bool:
    return core is not None and core.is_catching_up

"""One regime, one run: by `cluster`, or by `succession` where members change."""

from consensus.simulate.cluster import Cluster, Outcome
from consensus.simulate.regime import Regime
from consensus.simulate.succession import Succession
from consensus.simulate.trace import Trace


def simulate(regime: Regime, *, trace: Trace | None = None) -> Outcome:
    """Raises Violation, or the core's own AssertionError, with a note on how to see it again."""
    if regime.changes:
        return Succession(regime, trace=trace).run()
    return Cluster(regime, trace=trace).run()

"""Whole nodes in virtual time while states join, leave and change keys: one history, and nobody waits for who has left (SPEC 14).

Drawn changes are in `test_driver`; these are laid out by hand, each after a mistake that was found or for a path to be gone.
"""

from dataclasses import replace

from consensus.codec import decode_commit_record
from tests.simulation.driver.cluster import Cluster
from tests.simulation.driver.regime import Change, Client, Crash, Regime, What
from tests.simulation.driver.scripted import calm


def keys(seat: int, at_ms: int) -> Change:
    return Change(at_ms=at_ms, seat=seat)


def leaves(seat: int, at_ms: int) -> Change:
    return Change(at_ms=at_ms, seat=seat, what=What.LEAVES)


def joins(seat: int, at_ms: int, boots_ms: int = 0) -> Change:
    return Change(at_ms=at_ms, seat=seat, what=What.JOINS, boots_ms=boots_ms)


def ran(regime: Regime) -> Cluster:
    cluster = Cluster(regime)
    cluster.run()
    return cluster


def test_a_liar_that_stays_through_two_epochs_stops_nobody() -> None:
    """It cosigns another root in each: still one member of four, not two (seed 0x3, when it was drawn)."""
    regime = replace(calm(200, changes=(keys(1, 1_000),)), liars=((2, "two-roots"),))
    assert Cluster(regime).run().epochs == 2


def test_one_joins_one_leaves_one_changes_keys() -> None:
    regime = calm(
        300, size=5, storm_ms=5_000, changes=(joins(5, 500), leaves(1, 800), keys(3, 2_000))
    )
    outcome = Cluster(regime).run()
    assert outcome.members == 5
    assert outcome.epochs >= 3
    assert outcome.acknowledged == outcome.entries


def test_who_knocked_before_it_was_registered_comes_through_all_epochs() -> None:
    """The first epoch is over when it knocks, and its certificate unknown then: later it must be let in (seed 0x12)."""
    regime = calm(200, storm_ms=7_000, changes=(keys(0, 300), joins(4, 4_500, boots_ms=3_000)))
    assert Cluster(regime).run().members == 5


def test_what_a_node_took_before_its_state_left_is_ordered_all_the_same() -> None:
    """Its client goes on handing in while the epoch ends, and nowhere else: members put it in their blocks (seed 0x2f)."""
    regime = calm(size=5, storm_ms=6_000, changes=(leaves(2, 500),))
    regime = replace(regime, clients=(Client(author=0, home=2, every_ms=40),))
    outcome = Cluster(regime).run()
    assert outcome.members == 4
    assert outcome.entries > 100
    assert outcome.acknowledged == outcome.entries


def test_a_state_that_never_starts_its_node_stops_nobody() -> None:
    regime = replace(calm(100, storm_ms=4_000, changes=(joins(4, 300),)), liars=((4, "silent"),))
    assert Cluster(regime).run().members == 5


BEHIND = 12  # commits, instead of 100: no test can wait for those


def test_who_was_away_through_two_changes_takes_over_certified_commits_of_both_epochs() -> None:
    """Killed in the founding epoch, back in the third: it asks for ranges with certificates in both that are over (SPEC 11)."""
    changes = (keys(0, 4_000), keys(1, 9_000))
    regime = calm(100, storm_ms=15_000, changes=changes)
    regime = replace(
        regime,
        pace=replace(regime.pace, sync_commits_behind=BEHIND, sync_rounds_behind=1_000),
        crashes=(Crash(at_ms=700, seat=3, how="kill", down_ms=20_000),),
    )
    cluster = ran(regime)
    rows = cluster.machines[3].disk.tables["commits"].rows
    certified = {
        int.from_bytes(key, "big")
        for key, row in rows.items()
        if row and not decode_commit_record(row).deciders
    }
    life = cluster.machines[0].life
    assert life is not None
    assert life.ledger is not None
    first, second, third = life.ledger.epochs
    assert first.last_commit is not None
    assert second.last_commit is not None
    assert any(index <= first.last_commit for index in certified)
    assert any(first.last_commit < index <= second.last_commit for index in certified)
    # Near enough by then, it may follow the third by live blocks; it validates there.
    assert life.ledger.last_commit > third.after_commit
    # As the others, byte for byte but for who decided: leaves and roots were compared by the checkers.
    ours = cluster.machines[0].disk.tables["log"].rows
    assert cluster.machines[3].disk.tables["log"].rows == ours

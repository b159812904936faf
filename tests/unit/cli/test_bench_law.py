"""`foedus bench law`: the figures follow from a law that does what the bench says."""

import json

import pytest
from typer.testing import CliRunner

from node.cli.bench import law, law_figures
from node.cli.bench.law import Court, Plan, batches, points_of
from node.cli.bench.law_world import GENESIS_S, SLOT_S, Size, World, entry_of
from node.cli.main import build_app
from node.ledger.state_digest import Row
from node.reporting import CouldNot

SMALL = Size(states=5, facilities=20, runs=80)


def test_every_site_reports_every_hour_and_nothing_is_found() -> None:
    world = World(SMALL)
    court, registered = Court.founded(world)
    assert len(court.law.book.state.facilities) == SMALL.facilities
    assert len(court.law.book.state.plans) == SMALL.runs
    statuses = [life.status for life in court.law.book.state.lives.values()]
    assert {"RUNNING", "PLANNED"} == set(statuses)
    ahead = batches(world, 7)
    for number in range(3 * 3):  # three hours of 20 reports in commits of 7, 7, 6
        batch = next(ahead)
        assert not court.law.advance(batch.at_s)
        court.take([entry_of(said, registered) for said in batch.said])
        court.close()
        assert len(batch.said) == (6 if number % 3 == 2 else 7)
    assert not court.law.book.state.cases
    assert {row.due_slot for row in court.law.book.state.facilities.values()} == {3}
    assert sum(life.used for life in court.law.book.state.lives.values()) == 3 * 20 * 2 * 5


def test_reports_that_come_in_another_order_are_reports() -> None:
    """The later hour first: neither is missed, and the sums that C10 compares are those of each hour."""
    world = World(SMALL)
    court, registered = Court.founded(world)
    later, earlier = list(world.reports(1)), list(world.reports(0))
    court.law.advance(GENESIS_S + 2 * SLOT_S)
    court.take([entry_of(said, registered) for said in (*later, *earlier)])
    rows = court.law.book.state
    assert {(row.due_slot, row.reported) for row in rows.facilities.values()} == {(2, ())}
    assert {slot[0] for tally in rows.tallies.values() for slot in tally.slots} == {0, 1}
    assert not court.law.advance(GENESIS_S + 4 * SLOT_S - 1)
    assert not rows.tallies


def test_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(law, "WINDOW", 100)
    told: list[str] = []
    found = law.run(Plan(statements=400, commit=50, size=SMALL), told.append)
    document = json.loads(json.dumps(law_figures.document(found)))
    assert document["statements_per_second"] > document["with_parsing_per_second"] > 0
    assert document["curve"][-1]["statements"] == document["statements"] >= 400
    assert document["state_rows"] > SMALL.runs
    assert document["restore"]["digests_equal"] is True
    assert SMALL.facilities <= document["deadlines"]["missed"] <= 3 * SMALL.facilities
    assert isinstance(document["state_mib"], float)  # so small a world is lost in what else grew
    assert told
    assert law_figures.tables(document)


def test_another_history_has_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison with the restored law can fail."""
    monkeypatch.setattr(law, "WINDOW", 100)
    restored = Court.restored

    def later(size: Size, rows: dict[Row, bytes], now_s: int) -> Court:
        court = restored(size, rows, now_s)
        court.law.advance(now_s + 5 * SLOT_S)
        court.law._book.now = now_s
        return court

    monkeypatch.setattr(Court, "restored", later)
    found = law.run(Plan(statements=200, commit=50, size=SMALL), lambda _: None)
    assert not found.restored.equal


def test_points() -> None:
    assert points_of(10_000) == [10_000]
    assert points_of(120_000) == [10_000, 20_000, 50_000, 100_000, 120_000]


def test_too_few_statements_are_no_curve() -> None:
    with pytest.raises(CouldNot, match="begins at"):
        law.run(Plan(statements=10, size=SMALL), lambda _: None)
    answer = CliRunner().invoke(build_app(), ["bench", "law", "--statements", "10"])
    assert answer.exit_code == 2

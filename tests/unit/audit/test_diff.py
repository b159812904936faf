"""`foedus audit diff`: what changed between two places, whichever is named first, and between two copies."""

from pathlib import Path

from node.audit.diff import COMPARED, difference
from tests.unit.audit.conftest import World
from tests.unit.audit.history import live
from tests.unit.audit.test_archives import run
from tests.unit.audit.test_travel import stops
from tests.unit.cli.conftest import document_of


def test_rows_are_compared_field_by_field() -> None:
    found = difference(
        {"a": {"x": 1, "y": 2}, "b": {"x": 1}, "d": {"x": 0}},
        {"a": {"x": 1, "y": 3}, "c": {"x": 5}, "d": {"x": 0}},
    )
    assert found.added == {"c": {"x": 5}}
    assert found.removed == {"b": {"x": 1}}
    assert found.changed == {"a": {"y": (2, 3)}}
    assert not difference({"a": {"x": 1}}, {"a": {"x": 1}})


def test_two_places_of_one_archive(world: World) -> None:
    archive = world.exports["US"]
    places = stops(archive)
    first, last = places[0][0] - 1, places[-1][0] - 1
    shown = run("audit", "diff", str(first), str(last), "--from", archive, "--json")
    assert shown.exit_code == 1
    found = document_of(shown)
    assert set(found["changes"]) == set(COMPARED)
    sites = found["changes"]["facilities"]
    assert [row["operator"] for row in sites["added"].values()] == ["op0"]
    assert found["one_log"] is True
    assert (found["before"]["size"], found["after"]["size"]) == (first + 1, last + 1)

    turned = document_of(run("audit", "diff", str(last), str(first), "--from", archive, "--json"))
    assert turned["changes"]["facilities"]["removed"] == sites["added"]
    assert turned["before"] == found["after"]

    dates = run("audit", "diff", "2023-11-14T22:13:20Z", str(last), "--from", archive)
    of_second = max(size for size, second in places if second == 1_700_000_000)
    assert dates.stdout.startswith(f"A stands on entry {of_second - 1}, commit ")
    people = run("audit", "diff", str(first), str(last), "--from", archive).stdout
    assert "  + op0/dc1: " in people or "  + dc1: " in people
    same = run("audit", "diff", str(last), str(last), "--from", archive)
    assert same.exit_code == 0
    assert "facilities: nothing changed" in same.stdout


def test_two_copies(world: World) -> None:
    us, cn = world.exports["US"], world.exports["CN"]
    assert run("audit", "diff", us, cn).exit_code == 0
    assert run("audit", "diff", us, world.homes["CN"]).exit_code == 0
    early = stops(us)[2][0] - 1
    shown = document_of(run("audit", "diff", f"{us}@{early}", cn, "--json"))
    assert shown["differs"] is True
    assert shown["one_log"] is True
    nothing = run("audit", "diff", "1", "2")
    assert nothing.exit_code == 2
    assert "--from DIR" in nothing.stderr


async def test_two_logs_are_called_two(world: World, tmp_path: Path) -> None:
    """The same founders, another history: both certified, neither begins with the other."""
    from tests.unit.audit.history import weave

    other = weave(rounds=19, founding=world.weave.founding, equivocate=True)
    home = await live(other, tmp_path / "CN", "CN")
    shown = run("audit", "diff", world.exports["US"], home)
    assert shown.exit_code == 1
    assert "TWO LOGS" in shown.stdout


def test_a_history_is_still_what_audit_means(world: World) -> None:
    archive = world.exports["US"]
    plain = document_of(run("audit", archive, "--depth", "certificates", "--json"))
    assert plain == document_of(
        run("audit", "history", archive, "--depth", "certificates", "--json")
    )
    assert document_of(run("audit", "--json", archive, "--depth", "parse"))["sources"]
    assert "foedus audit us-home" in run("audit", "--help").stdout
    assert run("audit").exit_code == 2

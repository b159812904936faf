"""The questions of MODEL 11: what they say, and that the past is what it was when it was the present."""

import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from node.ledger.append import StoreFacts
from node.ledger.questions.answer import QUESTIONS, as_bytes, ask
from node.ledger.questions.moment import Moment, NoMoment, parse_moment, time_text
from node.ledger.questions.past import CannotReplay, Past
from node.ledger.questions.state_views import days_to
from node.ledger.records import decode_record, is_record
from node.treaty.rows.sites import Meters
from tests.unit.ledger.courtroom import START, Courtroom, answers, founding, held, page_of
from tests.unit.ledger.running import start


@pytest_asyncio.fixture
async def room(tmp_path: Path) -> AsyncIterator[Courtroom]:
    made = await held(await start(founding(), tmp_path))
    yield made
    made.running.close()


def past_of(room: Courtroom, *, size: int | None = None) -> Past:
    ledger, store = room.running.ledger, room.running.store
    end = ledger.size if size is None else size
    return Past(ledger.genesis, ledger.document, StoreFacts(store), ledger.entries, end)


def go(past: Past, index: int) -> None:
    while past.step(Moment(index=index)):
        pass


@pytest.mark.measure("M02", "M06")
async def test_every_past_answer_is_the_one_given_then(room: Courtroom) -> None:
    """After each commit that appended, all questions were answered from the live law; replay gives the same bytes."""
    past = past_of(room)
    seen = 0
    while past.step(Moment(index=room.running.ledger.size - 1)):
        assert answers(past.sight(room.running.ledger)) == room.said[past.size]
        seen += 1
    assert seen == len(room.said) >= 14
    assert past.size == room.running.ledger.size
    different = {name: {said[name] for said in room.said.values()} for name in QUESTIONS}
    assert all(len(values) > 1 for values in different.values()), (
        "an answer that never changes proves little"
    )


async def test_an_index_inside_a_commit_is_the_state_before_it(room: Courtroom) -> None:
    sizes = sorted(room.said)
    past = past_of(room)
    target = sizes[3] - 1  # the last leaf of a commit: with it
    go(past, target)
    assert past.size == sizes[3]
    early = past_of(room)
    go(early, target - 1)  # one leaf short of it
    assert early.size == sizes[2]
    go(early, target)  # from there
    assert answers(early.sight(room.running.ledger)) == room.said[sizes[3]]


async def test_the_log_may_grow_meanwhile(room: Courtroom) -> None:
    sizes = sorted(room.said)
    past = past_of(room, size=sizes[4])
    go(past, 10**9)
    assert past.size == sizes[4]
    past.grow(room.running.ledger.size)
    go(past, 10**9)
    assert past.size == room.running.ledger.size


async def test_a_log_that_says_otherwise_has_no_past(room: Courtroom) -> None:
    ledger = room.running.ledger
    leaves = ledger.entries(0, ledger.size)
    last = max(
        n
        for n, leaf in enumerate(leaves)
        if is_record(leaf) and decode_record(leaf)["type"] == "commit"
    )
    digest = decode_record(leaves[last])["state_digest"]
    assert isinstance(digest, bytes)
    forged = [*leaves[:last], leaves[last].replace(digest, bytes(32)), *leaves[last + 1 :]]
    past = Past(
        ledger.genesis,
        ledger.document,
        StoreFacts(room.running.store),
        lambda first, count: forged[first : first + count],
        ledger.size,
    )
    with pytest.raises(CannotReplay, match="the log says state 0000"):
        go(past, ledger.size - 1)


@pytest.mark.measure("M45")
async def test_what_the_answers_say(room: Courtroom) -> None:
    live = room.live
    runs = page_of(live, "runs")
    assert runs["op0/r3"]["lineage_pflop"] == 33_000_000
    assert runs["op0/r3"]["headroom"]["frontier_flop"] == 30_000_000 - 33_000_000
    assert set(page_of(live, "runs", "2")) == {"op0/r3"}
    tree = page_of(live, "lineage", "op0/r2")
    assert {run: row["generation"] for run, row in tree.items()} == {
        "op0/r1": -1,
        "op0/r2": 0,
        "op0/r3": 1,
    }
    decisions = page_of(live, "decisions", "TRAIN")
    (train,) = decisions.values()
    assert [tuple(vote) for vote in train["votes"]] == [("CN", "yes"), ("GB", "yes"), ("KE", "yes")]
    assert train["one_state_could_change"] is True
    assert train["margin"] == 0
    cases = page_of(live, "cases")
    assert {case["check"] for case in cases.values()} >= {"C02", "C14"}
    replied = [case for case in cases.values() if case["reply"]]
    assert replied
    assert all(case["age_s"] == live.now - case["raised_at"] for case in cases.values())
    assert page_of(live, "members")["CN"]["status"] == "WITHDRAWING"
    chips = page_of(live, "chips")
    assert chips["op0/dc1:H100"]["balance"] == 20
    owed = page_of(live, "obligations", "BR")
    assert owed["report:op0/dc1"]["missed"] > 0
    assert not page_of(live, "obligations", "KE")
    assert page_of(live, "status")["treaty"]["members"] == 5
    assert page_of(live, "veto")["veto_check"]["one_recused_high"] == 1
    assert page_of(live, "knew", "KE")["KE"]["entries"] == live.size
    assert page_of(live, "knew", "XX")["XX"]["reads"] == "P"
    dossier = page_of(live, "dossier", "op0/m1")
    assert dossier["model"]["developer"] == "op0"
    assert any(key.startswith("case:") for key in dossier)
    assert page_of(live, "membership")["BR"]["capacity_bp"] == 10_000


@pytest.mark.measure("X13")
async def test_the_policy_in_force_against_the_proposal(room: Courtroom) -> None:
    differs = page_of(room.live, "diff")
    assert differs["frontier_flop"] == {
        "key": "frontier_flop",
        "unit": "PFLOP",
        "proposed": 10**9,
        "founded": 30_000_000,
        "in_force": 30_000_000,
        "direction": "safer",
    }
    assert differs["reply"]["direction"] == "looser"
    assert "horizon_open" not in differs
    assert page_of(room.live, "diff", "all")["horizon_open"]["direction"] == "same"
    assert set(page_of(room.live, "diff", "param_cap")) >= {"param_cap"}


@pytest.mark.measure("X08", "X14")
async def test_days_to_one_significant_quantity(room: Courtroom) -> None:
    """29,257 H100-days; 80 of them take a year, rounded down (CHECKS 3)."""
    assert days_to(10**9, 1_000) == 29_257
    assert days_to(10**9, 80_000) == 365
    assert days_to(10**9, 29_258_000) == 0
    assert days_to(10**9, 0) is None
    clock = page_of(room.live, "breakout", "80000")
    assert clock["presumed"]["days"] == 365
    assert clock["declared"]["mh"] == 20_500
    assert clock["unaccounted"]["days"] is None


@pytest.mark.measure("M23")
async def test_labels_are_covered_by_two_live_checks_of_two_groups(room: Courtroom) -> None:
    """The site was counted and never reported: C rests on its operator alone. A device's counters make it two."""
    found = page_of(room.live, "labels")
    assert set(found) == {"BR", "CN", "GB", "KE", "US"}
    assert found["BR"]["C"] == {"covered": False, "checks": ["C03"], "groups": ["operator"]}
    assert found["BR"]["sites"] == 1
    assert not found["KE"]["A"]["checks"]
    meters = Meters(groups=(("op0/dc1", "g", 1, 1, b""),))
    room.live.book.state.meters.load("counter", meters)
    both = page_of(room.live, "labels", "BR")["BR"]["C"]
    assert both == {"covered": True, "checks": ["C03", "C10"], "groups": ["device", "operator"]}
    site = room.live.book.state.facilities["op0/dc1"]
    room.live.book.state.facilities.load("op0/dc1", site._replace(missed=0))
    reported = page_of(room.live, "labels", "BR")["BR"]
    assert reported["A"]["checks"] == ["C07", "C15"]
    assert not reported["A"]["covered"]  # two checks, one source


async def test_pages_and_bytes(room: Courtroom) -> None:
    whole = ask(room.live, "runs")
    keys = [row["key"] for row in whole["rows"]]
    assert keys == sorted(keys)
    assert whole["next_after"] is None
    after, found = "", []
    while True:
        page = ask(room.live, "runs", after=after, limit=3)
        found += [row["key"] for row in page["rows"]]
        if page["next_after"] is None:
            break
        after = page["next_after"]
    assert found == keys
    assert json.loads(as_bytes(whole)) == whole
    assert as_bytes(whole) == as_bytes(ask(room.live, "runs"))
    with pytest.raises(KeyError):
        ask(room.live, "tea")


def test_times_are_those_of_the_ledger() -> None:
    assert founding().genesis.time_ms // 1000 == START


def test_a_moment_is_an_index_a_day_or_a_second() -> None:
    assert parse_moment("1200") == Moment(index=1200)
    assert parse_moment("2026-03-31T12:00:00Z") == Moment(time_s=1_774_958_400)
    assert parse_moment("2026-03-31T14:00:00+02:00") == Moment(time_s=1_774_958_400)
    day = parse_moment("2026-03-31")
    assert day.time_s is not None
    assert time_text(day.time_s) == "2026-03-31T23:59:59Z"
    assert day.holds(10, day.time_s * 1000 + 999)
    assert not day.holds(10, day.time_s * 1000 + 1000)
    assert Moment(index=9).holds(10, 0)
    assert not Moment(index=8).holds(10, 0)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "-1", "2026-03-31T12:00:00", "2026-13-01", "9" * 99, "\u0661"]
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(NoMoment, match="want an index, a date"):
        parse_moment(text)


async def test_a_second_means_the_last_commit_up_to_it(room: Courtroom) -> None:
    """At each commit's own second, and just before it."""
    ledger = room.running.ledger
    walk = past_of(room)
    stands = {walk.size: walk.time_ms // 1000}
    while walk.step(Moment()):
        stands[walk.size] = walk.time_ms // 1000
    sizes = sorted(stands)
    for before, size in itertools.pairwise(sizes):
        again = past_of(room)
        while again.step(Moment(time_s=stands[size])):
            pass
        assert again.time_ms // 1000 == stands[size]
        if stands[before] < stands[size] - 1:
            early = past_of(room)
            while early.step(Moment(time_s=stands[size] - 1)):
                pass
            assert early.size == before
    assert walk.root == ledger.root


async def test_policy_findings_and_rows(room: Courtroom) -> None:
    live = room.live
    policy = page_of(live, "policy")
    assert policy["frontier_flop"]["value"] == 30_000_000
    assert policy["frontier_flop"]["safe_dir"] == "lower"
    assert policy["rule/SUP"] == {"key": "rule/SUP", "num": 2, "den": 3, "amended": False}
    assert set(page_of(live, "policy", "reply")) == {"reply"}
    found = page_of(live, "findings")
    assert {row["check"] for row in found.values()} >= {"C02", "C14"}
    assert {row["check"] for row in page_of(live, "findings", "C14").values()} == {"C14"}
    counts = page_of(live, "state")
    runs = page_of(live, "state", "life")
    assert counts["life"]["rows"] == len(runs) == 4
    assert runs["op0/r3"]["lineage"] == 33_000_000

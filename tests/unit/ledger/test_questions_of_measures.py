"""Levels, regions, makers, firmware, remedies and papers, as a small history leaves them."""

from typing import Any

import pytest

from foedus.v1 import content_pb2 as pb
from node.ledger.questions.answer import ask
from node.ledger.questions.sight import Sight
from tests.unit.treaty.court import Court, genesis_of

QUARTER = 91 * 86_400


class NoLeaves:
    """These questions read rows alone."""

    def list_indexes(self, **_: Any) -> list[int]:
        raise AssertionError("asked the log")

    def entries(self, first: int, count: int) -> list[bytes]:
        raise AssertionError("asked the log")


def rows(court: Court, question: str, about: str = "") -> dict[str, dict[str, Any]]:
    sight = Sight(law=court.law, size=1, state_digest=bytes(32), leaves=NoLeaves())
    page = ask(sight, question, about=about)
    return {row["key"]: row for row in page["rows"]}


@pytest.fixture
def court() -> Court:
    return Court(genesis_of(policy={"census": 10, "meeting": 1_000_000_000}))


@pytest.mark.measure("M41")
def test_each_level_has_its_own_obligations_and_cases(court: Court) -> None:
    site = pb.Facility(facility="dc1", capacity_mh=20_000, mem_gb=1)
    court.must("acme", site, by=("US",))
    before = rows(court, "levels", "US")
    assert {row["level"] for row in before.values()} == {
        *("use", "deployment", "training", "hardware and algorithms"),
    }
    assert (before["US/4"]["due"], before["US/3"]["due"]) == (1, 1)  # the count, and reports
    court.pass_time(11)  # the count is overdue: a case of level 4, and owed again
    after = rows(court, "levels")
    assert (after["US/4"]["open_cases"], after["US/3"]["open_cases"]) == (1, 0)
    assert after["US/2"] == before["US/2"]
    assert after["SEC/3"]["due"] == 1  # the meeting
    assert all(not row["due"] for key, row in after.items() if key.startswith("CN/"))


@pytest.mark.measure("M04")
def test_capacity_and_developers_by_region(court: Court) -> None:
    for name, capacity, place in (("dc1", 6_000, "US/CA"), ("dc2", 3_000, "US/NV"), ("dc3", 0, "")):
        body = pb.Facility(facility=name, capacity_mh=capacity, mem_gb=1)
        if place:
            body.jurisdiction = place
        court.must("acme", body, by=("US",))
    court.must("beta", pb.Facility(facility="dc4", capacity_mh=1_000, mem_gb=1), by=("CN",))
    told = pb.Identity(party="acme", role=pb.PARTY_ROLE_OPERATOR, state="US", jurisdiction="US/CA")
    court.must("US", told)
    for run, author, pflop in (("r1", "acme", 300), ("r2", "beta", 100)):
        court.plan(run, pflop, author)
        assert court.phase(run, pb.RUN_PHASE_START, author).code is None
        court.phase(run, pb.RUN_PHASE_PROGRESS, author, pflop_done=pflop)
    found = rows(court, "places")
    assert {place: row["capacity_bp"] for place, row in found.items()} == {
        "CN": 1_000,
        "US": 9_000,
        "US/CA": 6_000,
        "US/NV": 3_000,
    }
    assert (found["US/CA"]["developers_bp"], found["CN"]["developers_bp"]) == (7_500, 2_500)
    assert set(rows(court, "places", "US")) == {"US", "US/CA", "US/NV"}


@pytest.mark.measure("M34")
def test_shares_of_makers(court: Court) -> None:
    source = pb.Identity(
        party="carrier", role=pb.PARTY_ROLE_SOURCE, state="US", trades=[pb.TRADE_TYPE_LITHO_TOOL]
    )
    court.must("US", source)

    def made(maker: str, count: int) -> None:
        kind = pb.TRADE_TYPE_LITHO_TOOL
        court.must("carrier", pb.Trade(type=kind, item="euv", count=count, usd=1, seller=maker))

    made("one", 70)
    made("two", 20)
    court.pass_time(QUARTER)
    made("two", 10)
    found = rows(court, "makers")
    assert {key: row["share_bp"] for key, row in found.items()} == {
        "litho_tool/one": 7_000,
        "litho_tool/two": 3_000,
    }
    court.pass_time(4 * QUARTER)  # the first quarters count no more
    assert rows(court, "makers")["litho_tool/one"]["share_bp"] == 0
    assert rows(court, "makers", "hbm") == {}


@pytest.mark.measure("X12")
def test_firmware_by_state_and_keys_made_before_witnesses(court: Court) -> None:
    court.must("acme", pb.Facility(facility="dc1", capacity_mh=20_000, mem_gb=1), by=("US",))
    start = court.law.book.now
    court.pass_time(100)
    for group, firmware in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        body = pb.Chipmeter(
            facility="acme/dc1",
            group=group,
            chip_type="H100",
            chips=8,
            chip_seconds=800,
            pflop=0,
            fw_hash=firmware * 32,
            counter_start=0,
            counter_end=0,
        )
        court.must("meter", body, period=(start, start + 100))
    ceremony = pb.Note(type=pb.NOTE_TYPE_CEREMONY, about="H100", hash=b"k" * 32)
    court.must("carrier", ceremony, by=("BR", "CN"))
    found = rows(court, "firmware")
    assert found[f"US/{(b'1' * 32).hex()}"]["share_bp"] == 6_666
    assert found[f"US/{(b'2' * 32).hex()}"]["groups"] == 1
    assert found["key/H100"]["witnesses"] == ["BR", "CN"]


def test_remedies_and_papers(court: Court) -> None:
    evidence = pb.Note(type=pb.NOTE_TYPE_EVIDENCE, about="CN", hash=bytes(32))
    court.must("BR", evidence)
    court.must("BR", pb.Breach(), refs=(court.entries[-1].entry_hash,))
    case = court.entries[-1].name
    for state in ("BR", "GB", "KE", "US"):
        assert court.vote(state, case, pb.CHOICE_YES) is None
    court.pass_time(31)
    owed = rows(court, "remedies", "open")[case]
    assert (owed["subject"], owed["confirmed"], owed["overdue"]) == ("CN", None, False)
    court.must(
        "insp-gb", pb.Note(type=pb.NOTE_TYPE_REMEDY, about=case, hash=bytes(32)), by=("insp-ke",)
    )
    assert rows(court, "remedies", "open") == {}
    assert rows(court, "remedies", "CN")[case]["confirmed"] == court.entries[-1].entry_hash.hex()
    prior = pb.Note(type=pb.NOTE_TYPE_PRIOR_LOG, about="ledger.br/solo", hash=b"r" * 32, size=100)
    court.must("BR", prior)
    found = rows(court, "papers")
    assert found["prior_log/BR/ledger.br/solo"]["size"] == 100


@pytest.mark.measure("M39", "M19")
def test_who_is_named_and_not_heard_and_who_teaches(court: Court) -> None:
    named = pb.Identity(
        party="acme", role=pb.PARTY_ROLE_OPERATOR, state="US", owners=["beta", "eval-gb"]
    )
    court.must("US", named)
    court.must("GB", pb.Note(type=pb.NOTE_TYPE_OBJECTION, about="acme"))
    teacher = court.plan("r1", 10)
    assert teacher
    pupil = pb.Run(
        run="r2",
        phase=pb.RUN_PHASE_PLAN,
        model="m2",
        params_total=1,
        pflop_plan=10,
        teachers=["acme/" + next(iter(court.law.book.state.models)).partition("/")[2]],
    )
    court.must("acme", pupil, by=("US",))
    assert rows(court, "papers", "claimed")["claimed/acme"] == {
        "key": "claimed/acme",
        "sort": "claimed",
        "owners": ["beta", "eval-gb"],
        "its_state_answers": True,
        "objected": ["eval-gb"],
    }
    assert rows(court, "papers", "teachers")["teachers/acme/r2"]["of"] == [["acme/r1", 10_000]]
    tree = rows(court, "lineage", "acme/r2")
    assert {run: row["generation"] for run, row in tree.items()} == {"acme/r2": 0, "acme/r1": -1}
    assert (tree["acme/r2"]["teachers"], tree["acme/r2"]["lineage_pflop"]) == (
        [["acme/r1", 10_000]],
        20,
    )
    assert rows(court, "lineage", "acme/r1")["acme/r2"]["generation"] == 1

"""Absence and lateness: what a certified log shows that nobody filed, and whom that accuses."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import foedus_evidence
import foedus_verify
from consensus.codec import commit_digest, encode_commit_record
from consensus.types import (
    Commit,
    CommitIndex,
    CommitRecord,
    Digest,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)
from node.audit import absence
from node.audit.absence import Claim, check_absence, state_absence
from node.audit.export import export_home
from node.audit.owed import owed
from node.audit.source import CannotAudit
from node.audit.travel import travel
from node.cli.author import Author
from node.ledger.questions.answer import QUESTIONS
from node.ledger.questions.moment import THE_END, Moment
from node.ledger.state_digest import verify_bucket
from node.treaty.codec import decode
from tests.unit.audit import history
from tests.unit.audit.history import MEMBERS, _cosigned, live, weave
from tests.unit.audit.test_archives import run
from tests.unit.cli.conftest import document_of
from tests.unit.ledger.founding import found
from tests.unit.ledger.running import start

HOUR = 3_600
SITE = "op0/dc1"


def silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class Year:
    """A site that reports by the hour: in time, not at all, late, not at all but the ledger stood still."""

    data: Path
    document: bytes
    began: int  # second of the site's first slot

    def claim(self, first: int, slots: int = 1, **other: Any) -> Claim:
        """About these hours, by the end of the hour after them."""
        start_s, end_s = self.began + first * HOUR, self.began + (first + slots) * HOUR
        fields = {"who": "BR", "kind": "usage", "about": SITE, "by_s": end_s + HOUR, **other}
        return Claim(start_s=start_s, end_s=end_s, **fields)

    def state(self, first: int, slots: int = 1, **other: Any) -> dict[str, Any]:
        claim = self.claim(first, slots, **other)
        return state_absence(self.data, self.document, claim, THE_END, silent)


async def _lived(folder: Path) -> Year:
    founding = found(MEMBERS, 2, law_version=2, policy={"slot_s": HOUR})
    node = await start(founding, folder)
    cosigning = asyncio.create_task(node.finality.run())
    lab = Author(founding.operators[0], ledger=founding.chain_id)
    home = next(keys for keys in founding.agencies if keys.author_id == "BR")
    agency = Author(home, ledger=founding.chain_id)
    began = 0

    def report(slot: int) -> bytes:
        body = {"facility": "dc1", "chip_type": "H100", "chips_on": 20, "chip_seconds": 20 * HOUR}
        amounts = {"pflop_total": 7, "by_class": [{"name": "infer", "amount": 7}]}
        period = (began + slot * HOUR, began + (slot + 1) * HOUR)
        return lab.say("usage", {**body, **amounts}, period=period).entry

    async def until(second: int, *entries: bytes) -> None:
        """Commits every nine minutes, so that none is an outage; the last at that second, with these entries."""
        while node.now_ms // 1000 + 540 < second:
            await node.commit(after_ms=540_000)
        await node.commit(*entries, after_ms=second * 1000 - node.now_ms)
        await _cosigned(node, 0, MEMBERS)

    try:
        await _cosigned(node, 0, MEMBERS)
        site = {"facility": "dc1", "capacity_mh": 20_000, "mem_gb": 99}
        began = node.now_ms // 1000 + 60
        await until(began, lab.say("facility", site, endorsed_by=[agency]).entry)
        await until(began + HOUR + 1_200, report(0))  # in time
        await until(began + 4 * HOUR + 60, report(2))  # slot 1 never; slot 2 a minute late
        await until(began + 4 * HOUR + 600, report(3))
        gap_from = (
            began + 5 * HOUR + 300
        )  # slot 4 could be filed for five minutes, then the ledger stands still
        await until(gap_from)
        await node.commit(after_ms=3 * HOUR * 1000)
        await until(began + 8 * HOUR + 900, report(4))  # in time, as the deadline has moved
        await until(began + 9 * HOUR)
    finally:
        cosigning.cancel()
        await asyncio.gather(cosigning, return_exceptions=True)
        node.close()
    return Year(folder, founding.document, began)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Year:
    return asyncio.run(_lived(tmp_path_factory.mktemp("year")))


def test_a_report_that_is_there_accuses_nobody(year: Year) -> None:
    made = year.state(0)
    assert (made["verdict"], made["accuses"]) == ("filed", False)
    assert [filed["in_time"] for filed in made["filed"]] == [True]
    assert made["uncovered"] == []
    assert year.state(0, who="op0")["verdict"] == "filed"
    assert year.state(0, kind="")["verdict"] == "filed"


def test_nothing_at_all(year: Year) -> None:
    made = year.state(1)
    assert (made["verdict"], made["accuses"]) == ("absent", True)
    assert made["filed"] == []
    assert made["what"].startswith(f"BR filed no usage about {SITE} for ")
    assert made["findings"][0]["finding"].startswith("C02:BR:")
    assert made["seen"]["without"]["size"] == made["stands_on"]["checkpoint_size"]
    assert made["stands_on"]["time_s"] >= made["due_s"]
    (owed,) = made["owed"]
    assert owed["about"] == SITE
    assert owed["period"] == [made["claim"]["start_s"], made["claim"]["end_s"]]
    assert owed["due_s"] == made["due_s"]


@pytest.mark.parametrize(
    ("slot", "verdict", "other"),
    [
        (0, "absent", {"about": "op0/dc9"}),  # no such site
        (1, "absent", {"kind": "energy"}),  # nobody owes this by a date
        (1, "absent", {"who": "CN"}),  # has no site
        (1, "absent", {"by_s": 0}),  # see below: before the treaty's own deadline
        (2, "late", {"by_s": 0}),
        (1, "absent", {"kind": "inventory"}),  # owed by the census, not yet
    ],
)
def test_what_nobody_owes_by_then_accuses_nobody(
    year: Year, slot: int, verdict: str, other: dict[str, Any]
) -> None:
    """Whoever asks may name any kind, subject and deadline: only a duty of the treaty makes absence an accusation."""
    if other.get("by_s") == 0:
        other = {"by_s": year.claim(slot).by_s - 1}
    made = year.state(slot, **other)
    assert (made["verdict"], made["accuses"], made["owed"]) == (verdict, False, [])
    assert "asker's own" in made["why_not"]


def test_a_count_that_the_law_found_overdue_is_owed() -> None:
    """C28 names a site whose chips were not counted: an inventory would have done, a report of use would not."""
    record = {
        "check": "C28",
        "subject": "BR",
        "about": SITE,
        "at": 101,
        "finding": "f",
        "numbers": [],
    }
    book: Any = SimpleNamespace(state=SimpleNamespace(facilities={}, models={}))
    book.state.facilities[SITE] = SimpleNamespace(slot=0)

    def of(kind: str, about: str = "", who: str = "BR", due_s: int = 100, **other: Any) -> int:
        asked = Claim(who=who, kind=kind, about=about, start_s=50, end_s=60, by_s=due_s)
        fields = {**record, **{name.removeprefix("its_"): value for name, value in other.items()}}
        return len(owed(book, [(0, fields)], asked, "BR", [(50, 60)], due_s))

    assert of("inventory") == of("") == of("inventory", SITE) == of("inventory", who="op0") == 1
    assert of("usage") == of("energy") == of("note") == of("inventory", "op0/dc2") == 0
    assert of("inventory", due_s=99) == of("inventory", its_at=49) == 0
    assert of("inventory", its_subject="CN") == of("inventory", who="op1") == 0
    assert of("note", its_about="meeting") == of("custody", its_about=f"removal:{SITE}") == 1
    progress: dict[str, Any] = {"its_check": "C14", "its_about": "op0/r1"}
    assert of("run", **progress) == 0  # over its budget: nothing is missing
    assert of("run", **progress, its_numbers=[["last_report_at", 3]]) == 1


def test_late_is_not_absent(year: Year) -> None:
    made = year.state(2)
    assert (made["verdict"], made["accuses"]) == ("late", True)
    (filed,) = made["filed"]
    assert filed["at_s"] == made["due_s"] + 60
    assert not filed["in_time"]
    seen = made["seen"]  # by members' clocks: not there, then there
    assert seen["without"]["size"] <= filed["index"] < seen["with"]["size"]
    assert year.state(2, by_s=year.claim(2).by_s + 60)["verdict"] == "filed"


def test_a_part_is_no_whole(year: Year) -> None:
    made = year.state(0, 2)
    assert made["verdict"] == "partly"
    assert made["uncovered"] == [[year.began + HOUR, year.began + 2 * HOUR]]


def test_an_outage_moves_the_deadline(year: Year) -> None:
    """Filed hours after its hour was over, in the first minutes after the ledger went on (R34)."""
    made = year.state(4)
    assert (made["verdict"], made["accuses"]) == ("filed", False)
    (gap,) = made["outages"]
    assert gap["moved"] == 3 * HOUR - 600
    assert made["due_s"] == year.claim(4).by_s + gap["moved"]
    before = Moment(index=made["filed"][0]["index"] - 1)
    shut = state_absence(year.data, year.document, year.claim(4), before, silent)
    assert (shut["verdict"], shut["accuses"]) == ("undecided", False)
    assert any("R34" in bound for bound in made["bounds"])


def test_what_is_owed_is_told_with_the_outage(year: Year) -> None:
    """The question of obligations says the second that the law judges by."""
    filed = year.state(4)["filed"][0]
    with travel(year.data, year.document, Moment(index=filed["index"] - 1), silent) as place:
        owed_now = dict(QUESTIONS["obligations"](place.sight, "BR"))
        now_s = place.sight.now
    report = owed_now[f"report:{SITE}"]
    assert year.claim(4).by_s < now_s < report["due"] == year.state(4)["due_s"]
    assert not report["overdue"]


def test_before_the_deadline_nothing_is_decided(year: Year) -> None:
    made = year.state(8)
    assert (made["verdict"], made["accuses"]) == ("undecided", False)
    assert "ends before the deadline" in made["why_not"]


def test_each_authors_chain_is_proven_by_the_state(year: Year) -> None:
    made = year.state(1)
    digest = bytes.fromhex(made["stands_on"]["state_digest"])
    for author, chain in made["chains"].items():
        pairs = [(bytes.fromhex(key), bytes.fromhex(value)) for key, value in chain["pairs"]]
        path = [bytes.fromhex(part) for part in chain["path"]]
        key = f"chain/{author}".encode()
        assert verify_bucket(key, pairs, path, digest)
        assert not verify_bucket(key, [*pairs, (b"\xff", b"")], path, digest)
        assert not verify_bucket(key, pairs, path, bytes(32))
        row = dict(pairs).get(key)
        assert (row is None) == (chain["seq"] == 0)
        if row is not None:
            assert decode(row) == (chain["seq"], bytes.fromhex(chain["entry"]))
            assert not verify_bucket(key, [], path, digest)
    assert made["chains"]["op0"]["seq"] == 5


def test_a_second_that_is_no_time_is_refused(year: Year) -> None:
    with pytest.raises(CannotAudit, match="at most"):
        year.claim(1, by_s=10**40)
    told = json.loads(json.dumps(year.state(1)))
    told["claim"]["end_s"] = 10**40
    with pytest.raises(CannotAudit, match="at most"):
        check_absence(year.data, year.document, told, silent)


def test_a_third_party_makes_it_again(year: Year, tmp_path: Path) -> None:
    claim = year.claim(1)
    early = state_absence(
        year.data, year.document, claim, Moment(time_s=claim.by_s + 1_000), silent
    )
    assert early["stands_on"]["size"] < year.state(1)["stands_on"]["size"]
    for made in (early, year.state(1), year.state(2), year.state(4)):
        told = json.loads(json.dumps(made))
        assert check_absence(year.data, year.document, told, silent) == []
    for field, other in (
        ("verdict", "late"),
        ("accuses", False),
        ("findings", []),
        ("due_s", 1),
        ("chains", {}),
    ):
        forged = {**json.loads(json.dumps(year.state(1))), field: other}
        assert check_absence(year.data, year.document, forged, silent) == [field]
    hidden = json.loads(json.dumps(year.state(2)))
    hidden["filed"] = []
    assert check_absence(year.data, year.document, hidden, silent) == ["filed"]
    rooted = json.loads(json.dumps(year.state(1)))
    rooted["stands_on"]["root"] = "00" * 32
    assert check_absence(year.data, year.document, rooted, silent) == ["stands_on.root"]
    with pytest.raises(CannotAudit, match="format"):
        check_absence(year.data, year.document, {"format": "x"}, silent)
    with pytest.raises(CannotAudit, match="want who"):
        check_absence(year.data, year.document, {**early, "claim": {"who": 3}}, silent)


def test_what_a_file_alone_can_show(year: Year, tmp_path: Path) -> None:
    """The outsider's program: how far the log goes and where chains stand; no word of its own on the absence."""
    path = tmp_path / "absence.json"
    ledger = sha256(year.document).hexdigest()

    def verified(made: Any, pinned: str = ledger) -> int:
        path.write_text(json.dumps(made), encoding="utf-8")
        return foedus_verify.main(["evidence", str(path), "--chain-id", pinned])

    claim = year.claim(1)
    early = Moment(time_s=claim.by_s + 1_000)
    for made in (
        year.state(1),
        year.state(0),
        year.state(8),
        state_absence(year.data, year.document, claim, early, silent),
    ):
        assert verified(made) == 0
    assert verified(year.state(1), "00" * 32) == 1
    text = json.dumps(year.state(1))
    shown = foedus_evidence.evidence(text.encode(), None, None)
    assert "op0 #5" in shown["last_entries"]
    assert "absence --check" in shown["not_shown"]

    def altered(*names: str, to: Any) -> int:
        made = at = json.loads(text)
        for name in names[:-1]:
            at = at[name]
        assert at[names[-1]] != to
        at[names[-1]] = to
        return verified(made)

    stand = json.loads(text)["stands_on"]
    assert altered("stands_on", "time_s", to=stand["time_s"] + 1) == 1
    assert altered("stands_on", "commit", to=stand["commit"] + 1) == 1
    assert altered("stands_on", "root", to="00" * 32) == 1
    assert altered("stands_on", "state_digest", to="00" * 32) == 1
    assert altered("stands_on", "chain_id", to="00" * 32) == 1
    assert altered("stands_on", "size", to=stand["size"] - 1) in (1, 2)
    assert altered("stands_on", "size", to=0) == 2
    record = bytearray.fromhex(stand["commit_record"])
    record[-1] ^= 1
    assert altered("stands_on", "commit_record", to=record.hex()) == 1
    assert altered("due_s", to=stand["time_s"] + 1) == 1
    assert altered("chains", "op0", "seq", to=4) == 1
    assert altered("chains", "op0", "seq", to=0) == 1
    assert altered("chains", "op0", "entry", to="00" * 32) == 1
    assert altered("chains", "op0", "pairs", to=[]) == 1
    assert altered("chains", "op0", "path", to=[]) == 2
    assert altered("chains", to={}) == 2
    assert altered("format", to="foedus/absence/2") == 2


def test_the_command(year: Year, tmp_path: Path) -> None:
    def words(slot: int, *more: str | Path) -> tuple[str | Path, ...]:
        claim = year.claim(slot)
        period = (
            "--since",
            str(claim.start_s),
            "--until",
            str(claim.end_s),
            "--by",
            str(claim.by_s),
        )
        where = ("--from", year.data, *period)
        return ("audit", "absence", "BR", "--kind", "usage", "--about", SITE, *where, *more)

    out = tmp_path / "absence.json"
    said = run(*words(1, "--out", out))
    assert said.exit_code == 0
    assert "verdict: absent" in said.stdout
    assert "under the checkpoint of size" in said.stdout
    checked = run("audit", "absence", "--check", out, "--from", year.data, "--json")
    assert checked.exit_code == 0
    assert document_of(checked)["holds"] is True
    out.write_text(out.read_text().replace('"absent"', '"late"'))
    denied = run("audit", "absence", "--check", out, "--from", year.data)
    assert denied.exit_code == 1
    assert "verdict" in denied.stdout
    assert run(*words(1, "--out", out)).exit_code == 2  # never overwritten
    assert run(*words(0)).exit_code == 1
    assert run(*words(8)).exit_code == 2
    assert run("audit", "absence", "BR", "--from", year.data).exit_code == 2
    assert run("audit", "absence", "XX", *words(1)[3:]).exit_code == 2
    said = run(*("usag" if word == "usage" else word for word in words(1)))
    assert said.exit_code == 2  # a slip of the keys accuses nobody
    assert "want one of" in said.stderr


def test_a_state_whose_node_was_shut_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No block of US was ordered: absent, and not accused. CN's were, and it filed as little."""
    monkeypatch.setattr(history, "_silent", lambda _round: True)  # author 4, US
    made = weave()
    home = asyncio.run(live(made, tmp_path / "CN", "CN"))
    archive = tmp_path / "archive"
    export_home(home, archive)
    began = made.founding.genesis.time_ms // 1000

    def of(who: str) -> dict[str, Any]:
        claim = Claim(who=who, kind="", about="", start_s=began, end_s=began + 1, by_s=began + 1)
        return state_absence(archive, None, claim, THE_END, silent)

    shut, heard = of("US"), of("CN")
    assert (shut["verdict"], shut["accuses"]) == ("absent", False)
    assert "shut out" in shut["why_not"]
    assert shut["node"] == {"validator": True, "whole": True, "first_s": None, "last_s": None}
    assert heard["node"]["first_s"] is not None
    assert heard["verdict"] == "absent"
    assert "asker's own" in heard["why_not"]  # heard, and owing nothing


class Endless:
    """A FAKE copy of millions of commits, one a second, each with a block of US (author 1) where `heard` says so."""

    def __init__(self, heard: Callable[[int], bool]) -> None:
        self.source, self.last_commit = self, 5_000_000
        seats = SimpleNamespace(number=0, index_of=lambda _state: 1)
        self.trust, self._heard, self.asked = SimpleNamespace(epochs=[seats]), heard, 0

    def commit_record(self, index: int) -> bytes:
        self.asked += 1
        refs = [Ref(Round(index), ValidatorIndex(author), Digest(bytes(32))) for author in (0, 1)]
        fields: dict[str, Any] = {
            "epoch": 0,
            "index": CommitIndex(index),
            "prev_digest": Digest(bytes(32)),
            "leader": refs[0],
            "time_ms": Millis(index * 1000),
            "committee_hash": Digest(bytes(32)),
            "blocks": tuple(refs[: 1 + self._heard(index)]),
        }
        commit = Commit(**fields, digest=commit_digest(**fields))
        return encode_commit_record(CommitRecord(commit=commit, deciders=()))

    def tell(self, what: str) -> None:
        raise AssertionError(f"so few were looked at, and it says: {what}")


def test_a_node_is_looked_for_however_long_the_history_is() -> None:
    """Four million commits lie in the time asked about; a few hundred are read, from either end."""
    copy = Endless(lambda index: index % 100 == 0)
    claim = Claim(who="US", kind="", about="", start_s=500_001, end_s=500_002, by_s=4_500_000)
    node = absence._node(copy, claim, 4_500_050, "US")  # type: ignore[arg-type]
    assert node == {"validator": True, "whole": True, "first_s": 500_100, "last_s": 4_500_000}
    assert copy.asked < 300


@pytest.mark.parametrize(
    ("start_s", "end_s", "by_s"), [(5, 5, 9), (6, 5, 9), (5, 9, 4), (-1, 5, 9)]
)
def test_a_claim_makes_sense(start_s: int, end_s: int, by_s: int) -> None:
    with pytest.raises(CannotAudit, match=r"^(period|deadline) "):
        Claim(who="BR", kind="", about="", start_s=start_s, end_s=end_s, by_s=by_s)

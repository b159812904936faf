"""`Law.check` says what `apply` would, and leaves no trace."""

import copy
from typing import Any

import pytest

from foedus.v1 import content_pb2 as pb
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.law import Law, Outcome
from node.treaty.rehearsal import Rehearsal
from node.treaty.state import State
from node.treaty.tables import WouldChange
from tests.compiled import plain_law_only
from tests.property.treaty import test_law, test_motions
from tests.unit.treaty.court import Court

APPLY = Law.apply


def indexes(law: Law) -> dict[str, Any]:
    """What the book holds beside its rows."""
    return {
        name: copy.deepcopy(value)
        for name, value in vars(law.book).items()
        if isinstance(value, list | dict | bool | int)
    }


class Watch:
    """Every entry is checked before it is applied."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compared: list[tuple[Code | None, Code | None]] = []
        self.disagreed: list[tuple[str, Code | None, Code | None]] = []
        watch = self

        def apply(law: Law, entry: Entry) -> Outcome:
            rows = {name: dict(table.items()) for name, table in law.book.state._tables.items()}
            changed = dict(law.book.state._changed)
            before = indexes(law)
            code, why = law.check(entry)
            assert (code is None) == (not why)
            assert rows == {name: dict(t.items()) for name, t in law.book.state._tables.items()}
            assert changed == law.book.state._changed
            for name, value in indexes(law).items():
                if name not in {"groups", "component"}:
                    assert value == before[name], name
            for name in ("groups", "component"):
                held = getattr(law.book, name)
                assert {k: (g.done, g.runs) for k, g in held.items()} == {
                    k: (g.done, g.runs) for k, g in before[name].items()
                }
            outcome = APPLY(law, entry)
            watch.compared.append((code, outcome.code))
            if code is not outcome.code:
                watch.disagreed.append((entry.parsed.kind, code, outcome.code))
            return outcome

        monkeypatch.setattr(Law, "apply", apply)


@plain_law_only
@pytest.mark.parametrize("seed", range(3))
def test_a_check_agrees_and_changes_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plain: list[Any] = []
    test_law.history(seed, 60, plain)
    watch = Watch(monkeypatch)
    checked: list[Any] = []
    test_law.history(seed, 60, checked)
    assert checked == plain
    assert not watch.disagreed
    codes = {code for code, _ in watch.compared}
    assert None in codes
    assert len(codes) >= 6


@plain_law_only
@pytest.mark.parametrize("seed", range(2))
def test_motions_too(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    test_motions.history(seed, 80)
    assert not [one for one in watch.disagreed if one[0] != "AMEND"]
    assert len(watch.compared) > 30


def test_what_a_rule_reaches_is_barred() -> None:
    court = Court()
    barred = State(shown=court.law.book.state)
    assert barred.members.get("US") == court.law.book.state.members.get("US")
    with pytest.raises(WouldChange):
        barred.members.put("US", court.law.book.state.members["US"])
    with pytest.raises(WouldChange):
        barred.members.drop("US")
    assert "US" in court.law.book.state.members


@plain_law_only
def test_a_rehearsal_shares_or_bars_all_that_the_book_has() -> None:
    book = Court().law.book
    rehearsal = Rehearsal(book)
    own = {name for name in vars(book) if getattr(rehearsal, name) is not getattr(book, name)}
    assert own == {"derived", "state", "to_draw", "to_judge"}


def test_the_codes_of_the_chain_are_told() -> None:
    court = Court()
    site = pb.Facility(facility="dc1", capacity_mh=1, mem_gb=1)
    assert court.law.check(court.entry("acme", site, seq=9))[0] is Code.SEQ_GAP
    assert court.law.check(court.entry("acme", site))[0] is Code.COUNTERSIGN
    assert court.law.check(court.entry("acme", site, by=("US",))) == (None, "")
    assert court.law.check(court.entry("nobody", site))[0] is Code.UNKNOWN_AUTHOR

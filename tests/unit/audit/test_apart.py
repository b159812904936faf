"""Several copies at once: the same report as one after another, whoever is faster."""

import json
import threading
from pathlib import Path

import pytest

from node.audit import apart
from node.audit.audit import audit_sources
from node.audit.copies import Tick
from node.audit.findings import Verdict
from node.audit.source import CannotAudit
from node.storage import keys
from node.storage.store import Store
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, database


class Shown:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}

    def start(self, what: str, total: int | None) -> Tick:
        del total
        self.steps.setdefault(what, 0)

        def tick(steps: int) -> None:
            self.steps[what] += steps

        return tick


def test_copies_in_processes_give_the_same_report(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = clone(world.homes["US"], tmp_path / "damaged")
    with Store.open(database(damaged)) as store:
        store.put_row("log", keys.u64(12), store.entry(12)[:-1] + b"x")
    ref = world.weave.records[5].commit.blocks[0]
    lost = clone(world.homes["CN"], tmp_path / "lost")
    with Store.open(database(lost)) as store:
        store.put_row("blocks", keys.block(ref.round, ref.author, ref.digest), b"")
    sources = [str(damaged), str(lost), str(world.exports["CN"])]
    one_by_one = audit_sources(sources, processes=1)
    assert one_by_one.verdict is Verdict.INCONSISTENT
    monkeypatch.setattr(apart, "WORTH_PROCESSES", 0)
    shown = Shown()
    at_once = audit_sources(sources, processes=2, progress=shown)
    assert json.dumps(at_once.as_json()) == json.dumps(one_by_one.as_json())
    told = [what for what in shown.steps if "order and law" in what]
    assert len(told) == len(sources), "each process says how far it is"


def test_copies_are_read_at_the_same_time() -> None:
    """Each waits for all others: one after another would never end."""
    together = threading.Barrier(4, timeout=20)
    seen: list[int] = []

    def work(copy: int) -> None:
        together.wait()
        seen.append(copy)

    apart.each(range(4), work)
    assert sorted(seen) == [0, 1, 2, 3]


def test_the_first_failure_in_order_is_told_after_all_ended() -> None:
    ended: list[int] = []

    def work(copy: int) -> None:
        ended.append(copy)
        if copy in (1, 2):
            raise CannotAudit(f"copy {copy}")

    with pytest.raises(CannotAudit, match="copy 1"):
        apart.each([0, 1, 2, 3], work)
    assert sorted(ended) == [0, 1, 2, 3]

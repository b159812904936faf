"""The verdict on one entry, under the rule that was in force when it came."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from node.audit.one_entry import judge_entry
from node.audit.source import CannotAudit
from node.audit.travel import journey
from node.ledger.plan import AppendPlan
from node.ledger.questions.moment import THE_END
from node.log import merkle
from node.treaty.book import Book
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, flip
from tests.unit.audit.test_archives import run
from tests.unit.cli.conftest import document_of


def silent(_: str) -> None:
    pass


def plans_of(path: Path) -> list[AppendPlan]:
    plans: list[AppendPlan] = []

    def watch(plan: AppendPlan, _: Book) -> None:
        plans.append(plan)

    with journey(path, None, silent, watch) as going:
        going.to(THE_END)
    return plans


def verdict(world: World, wanted: int | bytes) -> dict[str, Any]:
    document = world.weave.founding.document
    return judge_entry(world.exports["US"], document, wanted, silent)


def test_each_entry_has_the_verdict_that_the_replay_gives(world: World) -> None:
    archive = world.exports["US"]
    told: Counter[str] = Counter()
    for number, plan in enumerate(plans_of(archive)):
        for index, leaf in enumerate(plan.leaves, start=plan.first):
            if leaf.facts is None and number % 8:
                continue  # of records some
            made = verdict(world, index)
            assert made["stands_on"]["size"] == plan.tree.size
            told[made["form"]] += 1
            if leaf.facts is None:
                assert (made["form"], made["says"]["type"]) != ("entry", "")
                continue
            assert made["verdict"] == (leaf.facts.code or "accepted")
            assert bool(made["why"]) == bool(leaf.facts.code)
            assert made["author"] == leaf.facts.author
            assert made["key_in_force_before"]
            told[made["verdict"]] += 1
            if leaf.facts.code:
                assert verdict(world, leaf.facts.entry_hash) == made
    assert told["entry"]
    assert told["record"]
    assert told["accepted"]
    assert set(told) - {"accepted", "entry", "record", "founding"}, "some entry was refused"


def test_the_answer_is_proven(world: World) -> None:
    made = verdict(world, 5)
    stand = made["stands_on"]
    with journey(world.exports["US"], None, silent) as going:
        raw = going.source.entries(5, 1)[0]
    path = [bytes.fromhex(part) for part in made["inclusion"]]
    root = bytes.fromhex(stand["checkpoint_root"])
    leaf = merkle.leaf_hash(raw)
    assert merkle.verify_inclusion(leaf, 5, stand["checkpoint_size"], path, root)
    states = sorted(member.state for member in world.weave.founding.genesis.members)
    assert made["rule"]["members"] == dict.fromkeys(states, "MEMBER")
    assert made["rule"]["law_version"] == world.weave.founding.genesis.law_version
    assert verdict(world, 0)["verdict"] == "founding"


def test_what_is_not_certified_has_no_verdict(world: World, tmp_path: Path) -> None:
    size = world.exported["US"].size
    for wanted in (size, bytes(32)):
        with pytest.raises(CannotAudit, match="certified"):
            verdict(world, wanted)
    altered = clone(world.exports["US"], tmp_path / "altered")
    (bundle,) = (altered / "tile" / "entries").glob("000*/*")
    bundle.write_bytes(flip(bundle.read_bytes(), 900))
    with pytest.raises(CannotAudit):
        judge_entry(altered, None, size - 1, silent)


def test_the_command(world: World) -> None:
    archive = world.exports["US"]
    plans = plans_of(archive)
    facts = [leaf.facts for plan in plans for leaf in plan.leaves if leaf.facts is not None]
    accepted = next(one for one in facts if not one.code)
    said = run("audit", "entry", str(accepted.leaf), "--from", archive)
    assert said.exit_code == 0
    assert "verdict: accepted" in said.stdout
    assert "in force then: law" in said.stdout
    shown = run("audit", "entry", accepted.entry_hash.hex(), "--from", archive, "--json")
    assert document_of(shown)["index"] == accepted.leaf
    for refused in [one for one in facts if one.code][:1]:
        no = run("audit", "entry", str(refused.leaf), "--from", archive)
        assert no.exit_code == 1
        assert refused.code in no.stdout
    assert run("audit", "entry", "ab", "--from", archive).exit_code == 2
    assert run("audit", "entry", "100000", "--from", archive).exit_code == 2

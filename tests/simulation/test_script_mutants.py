"""The script that hunts mutants: a few of them here, all by `python -m tests.simulation.mutants`."""

import pytest

from tests.simulation.driver_mutants import DRIVER
from tests.simulation.mutant import Mutant
from tests.simulation.mutants import CORE, HUNTERS, ROOT, RULE, caught_by, mutate

QUICK = ("a block one parent short goes in", "a block on f+1 parents", "needs end at blocks")


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    names = [mutant.name for mutant in (*RULE, *CORE, *DRIVER)]
    assert len(names) == len(set(names)) >= 70
    assert len({mutant.file for mutant in CORE}) >= 10
    assert len(HUNTERS) >= 4


def test_each_seam_of_the_driver_has_a_mutant_that_is_still_one() -> None:
    for mutant in DRIVER:
        text = (ROOT / mutant.room / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, mutant.name
    assert {mutant.file.partition("/")[0] for mutant in DRIVER} == {
        *("storage", "engine", "signing", "ledger", "network")
    }


def test_each_mutant_of_consensus_finds_its_text_once() -> None:
    for mutant in (*RULE, *CORE):
        text = (ROOT / mutant.room / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, mutant.name


def test_a_text_that_is_gone_is_told() -> None:
    """A mutant that changes nothing would escape, or be caught for nothing."""
    with pytest.raises(ValueError, match=r"waiting\.py has its text 0 times"):
        mutate(ROOT, Mutant("gone", "waiting.py", "no such line", ""))


@pytest.mark.slow
@pytest.mark.parametrize("start", QUICK)
def test_a_mutant_is_caught_by_a_test_of_its_part(start: str) -> None:
    mutant = next(each for each in CORE if each.name.startswith(start))
    assert caught_by(mutant) in {"part", "unit", "breaks"}

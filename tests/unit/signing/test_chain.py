"""Hash chains for the beacon: the links that the law takes, one for each round, and none ahead of its time."""

from pathlib import Path

import pytest

from node.signing.chain import LINKS_MAX, BeaconChain
from node.signing.errors import BadKeyFile, CannotReveal
from node.signing.keys import generate_agency_keys
from node.signing.keystore import KdfCost, read_chain, read_facts, write_agency_keys, write_chain
from node.treaty.beacon import LINKS_MAX as STEPS_MAX
from node.treaty.beacon import link

CHEAP = KdfCost(ops=1, memory_bytes=8_192)


def test_the_law_takes_link_after_link() -> None:
    """Rounds with and without this member's reveal, from whatever round it anchored at."""
    chain = BeaconChain.generate(40)
    held, held_round = chain.anchor, 7
    shown = []
    for number in (8, 9, 12, 13, 30):  # 10, 11 and 14 to 29 went without it
        value, chain = chain.reveal(number, held=held, held_round=held_round)
        assert link(value, number - held_round) == held  # `beacon.check_reveal`
        held, held_round = value, number
        shown.append(value)
    assert len(set(shown)) == 5
    assert chain.shown == 40 - (30 - 7)
    assert not chain.is_fresh


def test_a_link_that_came_too_late_is_passed_over() -> None:
    """Shown for round 3 and not included: the ledger still holds the anchor, and round 5 goes on from there."""
    chain = BeaconChain.generate(10)
    _, chain = chain.reveal(3, held=chain.anchor, held_round=2)
    value, chain = chain.reveal(5, held=chain.anchor, held_round=2)
    assert link(value, 3) == chain.anchor


def test_again_for_the_same_round_is_the_same_link() -> None:
    chain = BeaconChain.generate(10)
    first, after = chain.reveal(3, held=chain.anchor, held_round=2)
    again, same = after.reveal(3, held=chain.anchor, held_round=2)
    assert (again, same) == (first, after)


@pytest.mark.parametrize(
    ("number", "held_round", "why"),
    [(2, 2, "after round 2"), (3 + STEPS_MAX, 2, "after round 2"), (9, 2, "is used up")],
)
def test_what_no_round_can_want(number: int, held_round: int, why: str) -> None:
    chain = BeaconChain.generate(6)
    with pytest.raises(CannotReveal, match=why):
        chain.reveal(number, held=chain.anchor, held_round=held_round)


def test_nothing_goes_back_and_nothing_is_anchored_twice() -> None:
    chain = BeaconChain.generate(20)
    _, after = chain.reveal(9, held=chain.anchor, held_round=2)
    with pytest.raises(CannotReveal, match="has shown its link for round 9"):
        after.reveal(8, held=chain.anchor, held_round=2)
    with pytest.raises(
        CannotReveal, match="was anchored twice"
    ):  # link 19 again, which 13 gave away
        after.reveal(10, held=chain.anchor, held_round=9)
    with pytest.raises(CannotReveal, match="is no link of this chain"):
        after.reveal(10, held=bytes(32), held_round=9)
    for links in (0, LINKS_MAX + 1):
        with pytest.raises(CannotReveal, match="want from 1"):
            BeaconChain.generate(links)


def test_its_file(tmp_path: Path) -> None:
    path = tmp_path / "ke.chain"
    chain = BeaconChain.generate(30)
    write_chain(path, "KE", chain, b"passphrase", cost=CHEAP)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_facts(path).public == {"chain": chain.anchor}
    assert chain.secret not in path.read_bytes()
    owner, back = read_chain(path, b"passphrase")
    assert (owner, back, back.secret) == ("KE", chain, chain.secret)
    _, after = back.reveal(1, held=chain.anchor, held_round=0)
    with pytest.raises(FileExistsError):
        write_chain(path, "KE", after, b"passphrase", cost=CHEAP)
    write_chain(path, "KE", after, b"passphrase", replace=True, cost=CHEAP)
    assert read_chain(path, b"passphrase")[1] == after
    other = tmp_path / "other.key"
    write_agency_keys(other, generate_agency_keys("KE"), b"passphrase", cost=CHEAP)
    with pytest.raises(BadKeyFile, match="not chain keys"):
        read_chain(other, b"passphrase")
    assert "secret" not in repr(chain)

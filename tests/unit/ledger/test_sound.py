"""What a disk altered is refused by name, and everything else goes on being served."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.ledger.ledger import Ledger
from node.log import merkle
from node.storage import keys
from node.storage.errors import StoreDamaged
from tests.unit.ledger.founding import found
from tests.unit.ledger.running import Running, start

SIZES = (1, 2, 3, 7, 8, 13, 64, 100, 255, 256, 300)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Running]:
    founding = found(4, 1)
    running = await start(founding, tmp_path)
    author = founding.author(0)
    running.now_ms += 1
    await running.commit(author.facility("dc1", founding.agencies[0]))
    for number in range(20):
        running.now_ms += 1
        await running.commit(author.energy(number))
    yield running
    running.close()


def alter(node: Running, family: str, key: bytes) -> None:
    value = node.store.row(family, key)
    assert value is not None
    node.store.put_row(family, key, value[:-1] + bytes((value[-1] ^ 1,)))


def served(ledger: Ledger) -> set[int]:
    """Indexes of entries that are handed out."""
    found: set[int] = set()
    for index in range(ledger.size):
        try:
            ledger.entry(index)
        except StoreDamaged:
            continue
        found.add(index)
    return found


async def test_an_altered_entry_is_refused_alone(node: Running) -> None:
    ledger = node.ledger
    assert served(ledger) == set(range(ledger.size))
    assert not ledger.damage
    alter(node, "log", keys.u64(9))
    assert served(ledger) == set(range(ledger.size)) - {9}
    with pytest.raises(StoreDamaged, match=r"entry 9 was altered: .*foedus repair"):
        ledger.entries(4, 12)
    assert ledger.entries(0, 9)
    assert len(ledger.damage) == 1, "one place, one sentence"
    assert ledger.inclusion_proof(9, ledger.size), "its hash and the proof of it are sound"


@pytest.mark.parametrize("node_at", [(0, 6), (1, 2), (3, 1), (4, 0)])
@pytest.mark.parametrize("lost", [False, True])
async def test_a_damaged_hash_is_made_again(
    node: Running, node_at: tuple[int, int], *, lost: bool
) -> None:
    """Nothing is refused for it: entries and their proofs are there. But it is said."""
    ledger = node.ledger
    root, size = ledger.root, ledger.size
    good = ledger.hashes(0, 0, size)
    roots = [ledger.root_at(at) for at in range(1, size + 1)]
    if lost:
        node.store.put_row("hashes", keys.node_hash(*node_at), b"")
    else:
        alter(node, "hashes", keys.node_hash(*node_at))
    assert served(ledger) == set(range(size))
    assert ledger.hashes(0, 0, size) == good
    for index in range(size):
        proof = ledger.inclusion_proof(index, size)
        assert merkle.verify_inclusion(good[index], index, size, proof, root)
    ledger._roots.clear()
    assert [ledger.root_at(at) for at in range(1, size + 1)] == roots
    for old in range(1, size):
        proof = ledger.consistency_proof(old, size)
        assert merkle.verify_consistency(old, size, roots[old - 1], root, proof)
    assert [line for line in ledger.damage if f"level {node_at[0]}, index {node_at[1]}" in line]


async def test_an_entry_and_its_hash_altered_to_fit_are_refused_by_the_tree(node: Running) -> None:
    ledger = node.ledger
    alter(node, "log", keys.u64(9))
    changed = node.store.entry(9)
    node.store.put_row("hashes", keys.node_hash(0, 9), merkle.leaf_hash(changed))
    assert 9 not in served(ledger)
    with pytest.raises(StoreDamaged, match=r"index 8 and 9: .* does not lead to the root"):
        ledger.entry(9)


@pytest.mark.parametrize("size", SIZES)
def test_what_leads_to_the_tree_and_what_does_not(size: int) -> None:
    draw = random.Random(size)
    leaves = [bytes((draw.randrange(256),)) * 32 for _ in range(size)]
    stored: dict[tuple[int, int], bytes] = {}
    grown = merkle.append(merkle.EMPTY_TREE, leaves)
    for run in grown.runs:
        for index, digest in enumerate(run.hashes, start=run.first):
            stored[run.level, index] = digest

    def read(level: int, index: int) -> bytes:
        return stored[level, index]

    for _ in range(40):
        level = draw.randrange(size.bit_length())
        count = size >> level
        first = draw.randrange(count)
        many = draw.randrange(1, count - first + 1)
        row = [stored[level, first + offset] for offset in range(many)]
        assert merkle.leads_to(grown.tree, level, first, row, read)
        row[draw.randrange(many)] = b"\xff" * 32
        assert not merkle.leads_to(grown.tree, level, first, row, read)

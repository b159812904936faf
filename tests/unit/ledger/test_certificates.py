"""The proof that a quorum made a commit: found in a log, believed, and refused when anything of it is changed (RULINGS R45)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.ledger import records
from node.ledger.certificates import (
    BadCertificate,
    CommitCertificate,
    LogCertifier,
    verify,
)
from node.ledger.cosigned import Added, Cosigned, encode_cosigned, parse_cosigned
from node.ledger.genesis import GenesisMember
from node.log import merkle
from node.log.checkpoint import Checkpoint
from node.signing.checkpoints import sign_cosignature
from tests.unit.ledger.founding import Founding, found
from tests.unit.ledger.running import Running, start

NOW = 1_700_000_100


@pytest.fixture(scope="module")
def founding() -> Founding:
    return found(4)


@pytest.fixture
async def running(founding: Founding, tmp_path: Path) -> AsyncIterator[Running]:
    """Commits 1 to 9; of these 1, 2, 5, 6 and 9 append something."""
    made = await start(founding, tmp_path)
    author = founding.author()
    await made.commit(author.facility("dc1", founding.agencies[0]))
    await made.commit(author.energy(1), author.energy(2))
    await made.commit()
    await made.commit()
    await made.commit(author.energy(3))
    await made.commit(author.energy(4))
    await made.commit()
    await made.commit()
    await made.commit(author.energy(5))
    yield made
    made.close()


def lines(running: Running, size: int, members: tuple[int, ...] = (0, 1, 2)) -> list[Cosigned]:
    founding, root = running.founding, running.ledger.root_at(size)
    checkpoint = Checkpoint(origin=founding.genesis.origin, size=size, root=root)
    found: list[Cosigned] = []
    for member in members:
        made = sign_cosignature(founding.nodes[member].cosigner, checkpoint, NOW)
        found.append(
            Cosigned(member=member, size=size, root=root, timestamp=NOW, signature=made.signature)
        )
    return found


def make_final(running: Running, size: int) -> LogCertifier:
    for line in lines(running, size):
        assert running.finality.add(line) is Added.HELD
    assert running.finality.final_size == size
    return LogCertifier(running.store, running.finality)


def size_after(running: Running, commit: int) -> int:
    return running.applied[commit - 1].size


async def test_commits_with_a_record_that_is_final_are_certified(running: Running) -> None:
    certifier = make_final(running, size_after(running, 6))
    certified = [1, 2, 5, 6]
    for first in range(1, 10):
        for last in range(first, 10):
            inside = [index for index in certified if first <= index <= last]
            assert certifier.last_certified(first, last) == (inside[-1] if inside else None)
        after = [index for index in certified if index > first]
        assert certifier.next_certified(first) == (after[0] if after else None)
    for index in range(1, 10):
        assert (certifier.certificate(index) is not None) == (index in certified)


async def test_nothing_is_certified_before_anything_is_final(running: Running) -> None:
    certifier = LogCertifier(running.store, running.finality)
    assert certifier.last_certified(1, 9) is None
    assert certifier.next_certified(0) is None
    assert certifier.certificate(1) is None


def certificate_of(running: Running, commit: int) -> CommitCertificate:
    certifier = make_final(running, running.ledger.size)
    made = certifier.certificate(commit)
    assert made is not None
    return made


def members(running: Running) -> tuple[GenesisMember, ...]:
    return running.founding.genesis.members


async def test_a_good_one_gives_the_record_and_what_it_stands_for(running: Running) -> None:
    made = certificate_of(running, 5)
    origin = running.founding.genesis.origin
    found = verify(made, origin=origin, members=members(running))
    assert (found.index, found.order_digest) == (5, (5).to_bytes(32, "big"))
    assert found.leaf == running.ledger.entry(size_after(running, 5) - 1).leaf
    assert found.leaf_index == size_after(running, 5) - 1
    assert found.checkpoint.root == running.ledger.root
    assert [line.member for line in found.lines] == [0, 1, 2]


def changed(running: Running, made: CommitCertificate, what: str) -> CommitCertificate:
    size = running.ledger.size
    good = lines(running, size)
    rows = [encode_cosigned(line) for line in good]
    match what:
        case "another leaf":
            return replace(made, leaf=running.ledger.entry(made.leaf_index - 1).leaf)
        case "another state digest":
            record = records.decode_record(made.leaf)
            record["state_digest"] = bytes(32)
            record.pop("type")
            return replace(made, leaf=records.encode_commit_record(**record))
        case "another index":
            return replace(made, leaf_index=made.leaf_index + 1)
        case "beyond the end":
            return replace(made, leaf_index=size)
        case "a hash less":
            return replace(made, proof=made.proof[:-1])
        case "a hash more":
            return replace(made, proof=(*made.proof, bytes(32)))
        case "a quorum less one":
            return replace(made, lines=tuple(rows[:2]))
        case "one twice":
            return replace(made, lines=(rows[0], rows[0], rows[1]))
        case "not ascending":
            return replace(made, lines=(rows[1], rows[0], rows[2]))
        case "no member":
            stranger = encode_cosigned(replace(good[2], member=4))
            return replace(made, lines=(rows[0], rows[1], stranger))
        case "signed by another":
            other = encode_cosigned(replace(good[2], member=3))
            return replace(made, lines=(rows[0], rows[1], other))
        case "another size":
            older = [encode_cosigned(line) for line in lines(running, size - 1)]
            return replace(made, lines=(rows[0], rows[1], older[2]))
        case "an older checkpoint":
            return replace(made, lines=tuple(map(encode_cosigned, lines(running, size - 1))))
        case "no line":
            return replace(made, lines=(rows[0], rows[1], rows[2][:-1]))
        case "a statement":
            entry = made.leaf_index - 1
            leaf = running.ledger.entry(entry).leaf
            proof = merkle.inclusion_proof(entry, size, running.store.hash)
            return replace(made, leaf_index=entry, leaf=leaf, proof=tuple(proof))
        case "the genesis' commit record":
            leaf = running.ledger.entry(2).leaf
            assert records.decode_record(leaf)["index"] == 0
            proof = merkle.inclusion_proof(2, size, running.store.hash)
            return replace(made, leaf_index=2, leaf=leaf, proof=tuple(proof))
        case _:
            assert what == "the genesis record"
            proof = merkle.inclusion_proof(0, size, running.store.hash)
            leaf = running.ledger.entry(0).leaf
            return replace(made, leaf_index=0, leaf=leaf, proof=tuple(proof))


@pytest.mark.parametrize(
    "what",
    [
        "another leaf",
        "another state digest",
        "another index",
        "beyond the end",
        "a hash less",
        "a hash more",
        "a quorum less one",
        "one twice",
        "not ascending",
        "no member",
        "signed by another",
        "another size",
        "an older checkpoint",
        "no line",
        "a statement",
        "the genesis record",
        "the genesis' commit record",
    ],
)
async def test_one_with_anything_changed_proves_nothing(running: Running, what: str) -> None:
    made = certificate_of(running, 5)
    forged = changed(running, made, what)
    assert forged != made
    with pytest.raises(BadCertificate):
        verify(forged, origin=running.founding.genesis.origin, members=members(running))


async def test_signatures_are_for_one_origin_and_one_committee(
    running: Running, founding: Founding
) -> None:
    made = certificate_of(running, 5)
    with pytest.raises(BadCertificate, match="not signed"):
        verify(made, origin="elsewhere.example/log", members=members(running))
    with pytest.raises(BadCertificate, match="not signed"):
        verify(made, origin=founding.genesis.origin, members=members(running)[::-1])
    assert [parse_cosigned(row).member for row in made.lines] == [0, 1, 2]

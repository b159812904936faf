"""Evidence of equivocation in the ledger: from a commit's blocks to records that anybody can check (SPEC 12, record 0138)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from consensus.codec import decode_proof, encode_proof
from consensus.types import ValidatorIndex
from node.ledger.errors import MalformedRecord
from node.ledger.evidence import evidence_in, evidence_of, evidence_recorded, proof_checks
from node.signing.verify import VerifyPool
from tests.unit.engine.nodes import block_of, committee, proof_against
from tests.unit.ledger.founding import Founding, found
from tests.unit.ledger.running import Running, start

STATES = ("BR", "CN", "GB", "KE")


@pytest.fixture(scope="module")
def founding() -> Founding:
    return found(4, 2, law_version=2)


@pytest.fixture
async def node(founding: Founding, tmp_path: Path) -> AsyncIterator[Running]:
    running = await start(founding, tmp_path)
    yield running
    running.close()


def test_the_first_proof_against_each_stands_for_all(founding: Founding) -> None:
    early, late = proof_against(founding, 3), proof_against(founding, 3, round_=2)
    other = proof_against(founding, 1)
    headers = [
        block_of(founding, author, evidence=(proof,)).block.header
        for author, proof in ((0, late), (1, early), (2, other))
    ]
    found_ = evidence_of(headers, STATES)
    assert [(one.state, one.epoch, one.round) for one in found_] == [("CN", 0, 1), ("KE", 0, 2)]
    assert [decode_proof(one.proof) for one in found_] == [other, late]
    assert evidence_of(headers[::-1], STATES)[1].proof == encode_proof(early)
    assert evidence_of([block_of(founding, 0).block.header], STATES) == ()


def test_who_believes_the_log_needs_no_list_of_validators(founding: Founding) -> None:
    """In a later epoch the founders' list names another state for the same index, or none."""
    proof = encode_proof(proof_against(founding, 3))
    record = {"state": "DE", "proof": proof}
    assert evidence_recorded(record).state == "DE"
    assert evidence_in(record, STATES).state == "KE"
    for wrong in ({"proof": proof}, {"state": 3, "proof": proof}, {"state": "DE", "proof": b"x"}):
        with pytest.raises(MalformedRecord):
            evidence_recorded(wrong)


async def test_evidence_comes_after_the_clock_and_before_the_entries(
    node: Running, founding: Founding
) -> None:
    first, second = (
        evidence_of(
            [block_of(founding, 0, evidence=(proof_against(founding, other),)).block.header], STATES
        )
        for other in (1, 3)
    )
    author = founding.author(0)
    await node.commit(author.facility("dc1", founding.agencies[0]), evidence=first)
    six_days_ms = 6 * 86_400_000
    applied = await node.commit(author.energy(1), after_ms=six_days_ms, evidence=second)
    kinds = [
        "entry" if appended.facts else type(appended.derived).__name__
        for appended in applied.plan.leaves
    ]
    at = kinds.index("Equivocation")
    assert kinds[:at] == ["Outage"], "what time does comes before"
    assert kinds[at : at + 4] == ["Equivocation", "Finding", "CaseStep", "MotionOpened"]
    assert kinds.index("entry") > at
    record = node.records(applied.first)[1]
    assert (record["type"], record["state"], record["finding"]) == (
        "equivocation",
        "KE",
        "C29:KE:epoch0",
    )
    # The next block that brings it, by whomever, adds nothing: not even a commit record.
    assert not (await node.commit(evidence=second)).appended


async def test_a_commit_of_evidence_alone_appends(node: Running, founding: Founding) -> None:
    evidence = evidence_of(
        [block_of(founding, 0, evidence=(proof_against(founding, 3),)).block.header], STATES
    )
    applied = await node.commit(evidence=evidence)
    assert applied.appended
    assert node.records(applied.first)[-1]["type"] == "commit"


async def test_it_is_found_by_state_by_case_and_by_what_the_finding_names(
    node: Running, founding: Founding
) -> None:
    evidence = evidence_of(
        [block_of(founding, 0, evidence=(proof_against(founding, 3),)).block.header], STATES
    )
    first = (await node.commit(evidence=evidence)).first
    ask = node.ledger.list_indexes
    assert ask(kind="equivocation", subject="KE") == [first]
    assert ask(kind="finding", subject="KE") == [first + 1]
    assert first in ask(case="C29:KE:epoch0")
    (finding,) = (one for one in node.records() if one["type"] == "finding")
    assert ask(kind="equivocation", subject=finding["inputs"][0].hex()) == [first]


async def test_law_1_appends_nothing(tmp_path: Path) -> None:
    founding = found(4, 2)
    node = await start(founding, tmp_path)
    evidence = evidence_of(
        [block_of(founding, 0, evidence=(proof_against(founding, 3),)).block.header], STATES
    )
    assert not (await node.commit(evidence=evidence)).appended
    node.close()


async def test_the_record_alone_proves_it(node: Running, founding: Founding) -> None:
    """With the genesis, and nothing else: no header, no block, no other record."""
    evidence = evidence_of(
        [block_of(founding, 0, evidence=(proof_against(founding, 3),)).block.header], STATES
    )
    await node.commit(evidence=evidence)
    record = next(one for one in node.records() if one["type"] == "equivocation")
    assert len(record["proof"]) == 202
    assert evidence_in(record, STATES) == evidence[0]
    keys = [member.block_key for member in founding.genesis.members]
    spoiled = bytearray(record["proof"])
    spoiled[50] ^= 1  # in the first signature
    with VerifyPool(threads=1) as pool:

        def holds(proof: bytes) -> bool:
            return all(pool.verify_now(proof_checks(proof, committee(founding), keys)))

        assert holds(record["proof"])
        assert not holds(bytes(spoiled))
        stranger = encode_proof(replace(decode_proof(record["proof"]), author=ValidatorIndex(9)))
        assert not holds(stranger)
    (finding,) = (one for one in node.records() if one["type"] == "finding")
    assert finding["inputs"] == [sha256(record["proof"]).digest()]


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({}, "lacks its proof"),
        ({"proof": "text"}, "lacks its proof"),
        ({"proof": b"short"}, "202"),
        ({"proof": bytes(202)}, "must be below"),
    ],
)
def test_a_record_without_a_proof_is_none(record: dict[str, object], why: str) -> None:
    with pytest.raises(MalformedRecord, match=why):
        evidence_in(record, STATES)


def test_a_proof_against_nobody_is_no_record(founding: Founding) -> None:
    proof = encode_proof(replace(proof_against(founding, 3), author=ValidatorIndex(9)))
    with pytest.raises(MalformedRecord, match="there are 4 validators"):
        evidence_in({"proof": proof}, STATES)

"""Proofs of equivocation before the law: one case of severity 4 for each state and epoch, and none under law 1 (record 0138)."""

import dataclasses
from hashlib import sha256
from typing import Any

from node.treaty.derived import CaseStep, Derived, Equivocation, Finding, MotionOpened
from node.treaty.law import Law
from tests.unit.treaty.court import Court, genesis_of

PROOF, OTHER = b"p" * 202, b"q" * 202


def accuse(court: Court, state: str = "CN", proof: bytes = PROOF, **where: Any) -> list[Derived]:
    return list(court.law.accuse(state, **{"epoch": 0, "round_": 17} | where, proof=proof))


def test_a_proof_is_a_record_then_a_finding_of_severity_four_then_a_breach() -> None:
    court = Court()
    court.pass_time(5)
    record, finding, motion, step = sorted(
        accuse(court),
        key=lambda value: [Equivocation, Finding, MotionOpened, CaseStep].index(type(value)),
    )
    assert record == Equivocation(
        state="CN",
        epoch=0,
        round=17,
        proof=PROOF,
        finding="C29:CN:epoch0",
        at=court.law.book.now,
        law=3,
        policy=1,
    )
    assert isinstance(finding, Finding)
    assert (finding.finding, finding.check, finding.subject) == ("C29:CN:epoch0", "C29", "CN")
    assert (finding.about, finding.severity) == ("epoch0", 4)
    assert finding.numbers == (("epoch", 0), ("round", 17))
    assert (finding.inputs, finding.at) == ((sha256(PROOF).digest(),), court.law.book.now)
    assert isinstance(motion, MotionOpened)
    assert (motion.motion, motion.default) == ("BREACH:C29:CN:epoch0", "upheld")
    assert "CN" not in motion.eligible
    assert isinstance(step, CaseStep)
    assert (step.status, step.severity) == ("RAISED", 4)


def test_the_record_comes_first() -> None:
    assert isinstance(accuse(Court())[0], Equivocation)


def test_a_second_proof_adds_nothing_even_when_the_case_is_decided() -> None:
    court = Court()
    assert accuse(court)
    assert accuse(court) == accuse(court, proof=OTHER, round_=99) == []
    court.pass_time(10_000)
    assert court.law.book.state.cases["C29:CN:epoch0"].result == "UPHELD"
    assert accuse(court, proof=OTHER, round_=99) == []


def test_another_epoch_and_another_state_are_cases_of_their_own() -> None:
    court = Court()
    assert accuse(court)
    assert accuse(court, epoch=1)
    assert accuse(court, "KE")
    assert sorted(court.law.book.state.cases) == [
        "C29:CN:epoch0",
        "C29:CN:epoch1",
        "C29:KE:epoch0",
    ]


def test_law_1_says_nothing_and_remembers_nothing() -> None:
    court = Court(genesis_of(law_version=1))
    court.law.drain_changes()
    assert accuse(court) == []
    assert court.law.drain_changes() == {}


def test_a_restored_law_knows_whom_it_has_accused() -> None:
    court = Court()
    rows = {key: value for key, value in court.law.drain_changes().items() if value is not None}
    accuse(court)
    rows |= {key: value for key, value in court.law.drain_changes().items() if value is not None}
    restored = Law.restore(court.genesis, court.index, rows.items())
    restored.advance(court.law.book.now)
    assert restored.accuse("CN", epoch=0, round_=17, proof=PROOF) == ()
    assert restored.accuse("KE", epoch=0, round_=17, proof=PROOF) != ()


def test_the_effect_is_a_case_and_nothing_else() -> None:
    """SPEC 12: policy effect only. The accused votes, files and reports as before; its own case alone recuses it."""
    court = Court()
    before = court.law.members()
    accuse(court)
    assert court.law.members() == before
    assert dataclasses.asdict(court.law.veto_check())["members"] == 5

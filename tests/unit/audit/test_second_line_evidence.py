"""Evidence by ML-DSA-44 lines: who contradicts itself by them alone is named, and this software confirms it (record 0205)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import foedus_verify as fv
from node.audit.blame import evidence_documents
from node.audit.certificates import Judged, contradictions, judge
from node.audit.confirm import confirm
from node.audit.epochs import Trust
from node.audit.findings import AuditReport, Findings
from node.audit.source import CannotAudit, certificate_of
from node.cli.main import build_app
from node.ledger.cosigned import Cosigned, note_lines
from node.log import merkle
from node.log.checkpoint import Checkpoint
from node.log.note import Note, parse_note
from node.signing.checkpoints import sign_cosignature, sign_mldsa_cosignature
from tests.unit.ledger.founding import Founding, found

SIZE, LARGER, NOW = 9, 14, 1_700_000_100
OWN = [b"entry-%d" % index for index in range(LARGER)]


@pytest.fixture(scope="module")
def founding() -> Founding:
    """Four members, all with an ML-DSA cosigner."""
    return found(4, 0, second=4)


@pytest.fixture(scope="module")
def tree() -> merkle.MemoryHashes:
    made = merkle.MemoryHashes()
    made.append(merkle.leaf_hashes(OWN))
    return made


def judged(
    founding: Founding, size: int, root: bytes, first: Sequence[int], second: Sequence[int]
) -> Judged:
    """A checkpoint with Ed25519 lines of some members and ML-DSA-44 lines of others."""
    checkpoint = Checkpoint(origin=founding.genesis.origin, size=size, root=root)
    lines = []
    for member in first:
        made = sign_cosignature(founding.nodes[member].cosigner, checkpoint, NOW)
        lines.append(line_of(member, checkpoint, made.signature))
    for member in second:
        node = founding.nodes[member]
        assert node.cosigner_pq is not None
        made = sign_mldsa_cosignature(node.cosigner_pq, node.state, checkpoint, NOW)
        lines.append(line_of(member, checkpoint, made.signature))
    shown = note_lines(checkpoint.origin, founding.genesis.members, lines)
    note = parse_note(bytes(Note(text=checkpoint.text(), lines=tuple(shown))))
    findings = Findings("copy")
    certificate = certificate_of(note, checkpoint, founding.genesis)
    result = judge(certificate, founding.genesis, findings)
    assert not len(findings)
    return result


def line_of(member: int, checkpoint: Checkpoint, signature: bytes) -> Cosigned:
    return Cosigned(
        member=member,
        size=checkpoint.size,
        root=checkpoint.root,
        timestamp=NOW,
        signature=signature,
    )


def documents(
    founding: Founding, tree: merkle.MemoryHashes, early: Judged, late: Judged
) -> list[dict[str, Any]]:
    """As `foedus audit` writes them, of two copies of which the second has the whole log."""
    findings = Findings("copies")

    def prove(small: int, large: int) -> list[bytes]:
        return merkle.consistency_proof(small, large, tree.read)

    trust = Trust.founding(founding.genesis, founding.document)
    contradictions(
        trust,
        [
            ("one", [early], lambda _size: early.root, prove),
            ("other", [late], tree.root_at, prove),
        ],
        findings,
    )
    report = AuditReport(
        chain_id="",
        origin="",
        drill=True,
        members=(),
        quorum=0,
        sources=(),
        findings=tuple(findings.all()),
        misdeeds=(),
    )
    return evidence_documents(report, founding.document)


def encoded(document: dict[str, Any], **other: Any) -> bytes:
    return json.dumps({**document, **other}).encode()


@pytest.mark.parametrize("late_size", [SIZE, LARGER])
def test_who_contradicts_itself_by_second_lines(
    founding: Founding, tree: merkle.MemoryHashes, tmp_path: Path, late_size: int
) -> None:
    """BR by Ed25519, CN by ML-DSA-44, GB by one of each; KE signed one of the two alone."""
    forged = b"f" * 32
    early = judged(founding, SIZE, forged, [0, 2], [1])
    late = judged(founding, late_size, tree.root_at(late_size), [0, 3], [1, 2, 3])
    by_first, by_second = documents(founding, tree, early, late)
    assert (by_first["accused"], by_first.get("lines")) == (["BR"], None)
    assert by_second["accused"] == ["CN", "GB"]
    assert by_second["lines"] == "ml-dsa-44"
    made = confirm(encoded(by_second), founding.chain_id)
    assert made.holds
    assert made.shown_of == ("BR", "CN", "GB")
    assert made.by_ed25519_alone == ("BR",)
    assert made.by_second_alone == ("CN",)
    assert not confirm(encoded(by_second, accused=["KE"]), None).holds
    # PyNaCl has no ML-DSA: what rests on it could not be checked, which is neither proven nor refuted.
    path = tmp_path / "evidence.json"
    words = ["evidence", str(path), "--chain-id", founding.chain_id.hex()]
    for document, status in ((by_first, 0), (by_second, 2), ({**by_first, "accused": ["KE"]}, 1)):
        path.write_bytes(encoded(document))
        assert fv.main(words) == status


def test_a_forged_second_line_shows_nothing(founding: Founding, tree: merkle.MemoryHashes) -> None:
    early = judged(founding, SIZE, b"f" * 32, [], [1])
    late = judged(founding, SIZE, tree.root_at(SIZE), [], [1])
    (document,) = documents(founding, tree, early, late)
    assert confirm(encoded(document), None).holds
    (line,) = early.second
    for altered in (
        replace(line, signature=bytes([line.signature[0] ^ 1]) + line.signature[1:]),
        replace(line, timestamp=NOW + 1),
        replace(line, member=2),  # CN's signature under GB's name
    ):
        place = "first" if document["first"] == early.note(founding.genesis) else "second"
        other = {place: replace(early, second=(altered,)).note(founding.genesis)}
        assert document[place] != other[place]
        for accused in ("CN", "GB"):
            assert confirm(encoded(document, **other, accused=[accused]), None).shown_of == ()
    assert not confirm(encoded(document, first=document["second"]), None).holds, "one log"
    wrongs: tuple[dict[str, Any], ...] = (
        {"format": "foedus/evidence/2"},
        {"kind": "two-blocks"},
        {"accused": []},
        {"accused": "CN"},
        {"genesis": "AA=="},
        {"genesis": "?"},
        {"first": 3},
        {"policies": [{}]},
        {"prefix_root": 0},
    )
    for wrong in wrongs:
        with pytest.raises(CannotAudit, match="evidence"):
            confirm(encoded(document, **wrong), None)
    with pytest.raises(CannotAudit, match="not of the one named"):
        confirm(encoded(document), bytes(32))
    with pytest.raises(CannotAudit, match="twice"):
        confirm(b'{"kind": 1, "kind": 2}', None)


def test_a_machine_without_ml_dsa_says_so(
    founding: Founding, tree: merkle.MemoryHashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.audit.confirm.mldsa_check", lambda: None)
    with pytest.raises(CannotAudit, match="ML-DSA-44"):
        confirm(b"{}", None)


def test_the_command(founding: Founding, tree: merkle.MemoryHashes, tmp_path: Path) -> None:
    early = judged(founding, SIZE, b"f" * 32, [], [1])
    late = judged(founding, LARGER, tree.root_at(LARGER), [], [1])
    (document,) = documents(founding, tree, early, late)
    path = tmp_path / "evidence.json"

    def status(*words: str, **other: Any) -> int:
        path.write_bytes(encoded(document, **other))
        words = ("audit", "confirm", str(path), *words)
        return CliRunner().invoke(build_app(), [*words, "--json"]).exit_code

    assert status() == 0
    assert status("--chain-id", founding.chain_id.hex()) == 0
    assert status(accused=["KE"]) == 1
    assert status("--chain-id", "00" * 32) == 2
    assert status("--chain-id", "00") == 2
    assert status("--chain-id", "x") == 2
    assert status(kind="withheld") == 2

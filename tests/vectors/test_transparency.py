"""The published cases for the public formats, judged by the conformance command as others run it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.shared import shared_path

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = (
    "merkle.json",
    "tiles.json",
    "notes.json",
    "checkpoints.json",
    "cosignatures.json",
    "finality.json",
    "policies.json",
    "witness_add_checkpoint.json",
    "tlog_proofs.json",
    "cose_receipts.json",
    "ed25519_edges.json",
    "upstream/ed25519_speccheck.json",
    "upstream/litewitness_sequence.json",
    "upstream/merkle_consistency.json",
    "upstream/merkle_inclusion.json",
    "upstream/tessera_testdata_log.json",
    "upstream/wycheproof_ed25519_test.json",
)


def run(*paths: Path) -> tuple[int, list[dict[str, Any]]]:
    result = subprocess.run(
        [sys.executable, "-m", "node.log.conformance", *map(str, paths)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.returncode, [json.loads(line) for line in result.stdout.splitlines()]


def test_every_published_case_holds() -> None:
    folder = shared_path("vectors/transparency")
    status, lines = run(*(folder / name for name in FILES))
    assert [line for line in lines if not line["pass"]] == []
    assert status == 0
    judged = {Path(line["file"]).relative_to(folder).as_posix() for line in lines}
    assert judged == set(FILES), "a file without a single case proves nothing"


def test_every_case_of_a_second_reading_holds() -> None:
    """Written from the texts alone, with other code for the tree, the encodings and the curve (see own/README.md)."""
    files = sorted((ROOT / "tests/vectors/own").glob("*.json"))
    status, lines = run(*files)
    assert [line for line in lines if not line["pass"]] == []
    assert status == 0
    assert len(lines) > 3_700
    assert {Path(line["file"]) for line in lines} == set(files)


def change(value: Any, old: object, new: object) -> Any:
    if isinstance(value, dict):
        return {key: change(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [change(item, old, new) for item in value]
    return new if value == old and type(value) is type(old) else value


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("finality.json", "not_final", "final"),
        ("finality.json", "caspia", "aland"),
        ("notes.json", "bad_signature", "no_known_key"),
        ("witness_add_checkpoint.json", 409, 200),
        ("policies.json", True, False),
        ("cose_receipts.json", -19, -8),
        ("tiles.json", "tile/0/000", "tile/0/001"),
        ("upstream/merkle_inclusion.json", True, False),
        ("upstream/wycheproof_ed25519_test.json", "invalid", "valid"),
    ],
)
def test_a_wrong_expectation_is_noticed(
    tmp_path: Path, name: str, old: object, new: object
) -> None:
    """The judge is no rubber stamp: files whose expectations were altered fail, naming the case."""
    data = json.loads(shared_path(f"vectors/transparency/{name}").read_text())
    altered = tmp_path / "altered.json"
    altered.write_text(json.dumps(change(data, old, new)))
    status, lines = run(altered)
    failed = [line for line in lines if not line["pass"]]
    assert status == 1
    assert failed
    assert all(line["note"] for line in failed)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"about": "nothing"}'])
def test_what_cannot_be_judged_is_exit_2(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    assert run(path)[0] == 2
    assert run(tmp_path / "missing.json")[0] == 2


def test_a_section_that_nobody_reads_fails(tmp_path: Path) -> None:
    data = json.loads(shared_path("vectors/transparency/checkpoints.json").read_text())
    path = tmp_path / "more.json"
    path.write_text(json.dumps(data | {"accept_later": [{"text": "x"}]}))
    status, lines = run(path)
    assert status == 1
    assert [line["case"] for line in lines if not line["pass"]] == ["accept_later"]


def test_a_case_without_its_fields_fails_and_hides_no_other(tmp_path: Path) -> None:
    """An odd case is its own failure; those after it are judged."""
    merkle = json.loads(shared_path("vectors/transparency/merkle.json").read_text())["generated"]
    proofs = json.loads(shared_path("vectors/transparency/tlog_proofs.json").read_text())
    del merkle["inclusion_reject"][0]["root"]
    del proofs["reject_parse"][0]["why"]
    paths = (tmp_path / "merkle.json", tmp_path / "proofs.json")
    paths[0].write_text(json.dumps({"generated": merkle}))
    paths[1].write_text(json.dumps(proofs))
    status, lines = run(*paths)
    assert status == 1
    (failed,) = [line for line in lines if not line["pass"]]
    assert failed["case"].startswith("generated refuse inclusion 0")
    assert "root" in failed["note"]
    assert len(lines) > 60

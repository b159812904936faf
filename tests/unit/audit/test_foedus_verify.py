"""The outsider's verifier on what this software writes, and on what strangers make of it."""

import ast
import io
import json
import random
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import foedus_verify as fv
from node.ledger.genesis import chain_id
from node.ledger.trust import trust_policy
from node.log import merkle
from node.log.proof import ProofFile
from node.storage.store import Store
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, database, flip
from tests.unit.audit.test_altered_archives import reseal

FILE = Path(fv.__file__)
SEED = 20_2611
FLIPS = 250


def run(*words: str | Path) -> int:
    return fv.main([str(word) for word in words])


@pytest.fixture
def policy(world: World, tmp_path: Path) -> Path:
    path = tmp_path / "policy"
    path.write_bytes(trust_policy(world.weave.founding.genesis))
    return path


@pytest.fixture
def certificate(world: World, tmp_path: Path) -> Path:
    """As a node serves it, and as an archive holds it: log line and cosignatures."""
    path = tmp_path / "certificate"
    path.write_bytes((world.exports["CN"] / "checkpoint").read_bytes())
    return path


@pytest.fixture
def receipt(world: World, certificate: Path, tmp_path: Path) -> Path:
    with Store.open(database(world.homes["CN"]), read_only=True) as store:
        size = world.exported["CN"].size
        proof = merkle.inclusion_proof(9, size, store.hash)
        entry = store.entry(9)
    path = tmp_path / "entry9.tlog-proof"
    made = ProofFile(index=9, hashes=tuple(proof), note=certificate.read_bytes(), extra=entry)
    path.write_bytes(bytes(made))
    return path


@pytest.mark.parametrize(
    ("file", "others"),
    [
        ("foedus_verify.py", {"nacl", "foedus_evidence"}),  # the second file for what needs it
        ("foedus_evidence.py", {"foedus_verify"}),
    ],
)
def test_it_imports_the_standard_library_and_pynacl_alone(file: str, others: set[str]) -> None:
    names = set()
    tree = ast.parse(FILE.with_name(file).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert names - set(sys.stdlib_module_names) == others
    at_top = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert "foedus_evidence" not in at_top


@pytest.mark.parametrize(
    ("file", "code", "all_lines"),
    [("foedus_verify.py", 315, 440), ("foedus_evidence.py", 325, 430)],
)
def test_it_stays_short(file: str, code: int, all_lines: int) -> None:
    """To be read in an hour: lines with code, without blank ones, comments and docstrings; and in all."""
    path = FILE.with_name(file)
    assert _lines_of_code(path) <= code
    assert path.read_text(encoding="utf-8").count("\n") <= all_lines


def _lines_of_code(file: Path) -> int:
    source = file.read_text(encoding="utf-8")
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING):
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(
            node
        ):
            lines.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def test_it_runs_alone(
    world: World, receipt: Path, certificate: Path, policy: Path, tmp_path: Path
) -> None:
    """Copied away from everything: `python foedus_verify.py`."""
    alone = tmp_path / "foedus_verify.py"
    alone.write_bytes(FILE.read_bytes())

    def ran(*words: str | Path) -> subprocess.CompletedProcess[str]:
        """The second file is not there, though here it may be installed."""
        hidden = (
            "import runpy, sys; sys.modules['foedus_evidence'] = None; sys.argv = sys.argv[1:];"
            " runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        return subprocess.run(
            [sys.executable, "-I", "-c", hidden, alone, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    for what, path in (
        ("archive", world.exports["CN"]),
        ("certificate", certificate),
        ("receipt", receipt),
    ):
        done = ran(what, path, "--policy", policy)
        assert (done.returncode, done.stderr) == (0, ""), what
        assert f"size: {world.exported['CN'].size}\n" in done.stdout
        assert f"root: {world.exported['CN'].root}\n" in done.stdout
    for what, path in (("archive", world.exports["CN"]), ("evidence", alone)):
        done = ran(what, path, "--chain-id", "00" * 32, "--json")
        assert done.returncode == 2, "a chain id needs the second file"
        assert "foedus_evidence" in json.loads(done.stdout)["why"]


def test_a_receipt_and_a_certificate(
    receipt: Path, certificate: Path, policy: Path, tmp_path: Path
) -> None:
    assert run("receipt", receipt, "--policy", policy) == 0
    assert run("certificate", certificate, "--policy", policy) == 0
    entry = tmp_path / "entry"
    entry.write_bytes(b"another entry")
    assert run("receipt", receipt, "--policy", policy, "--entry", entry) == 1
    assert run("receipt", receipt) == 2
    few = tmp_path / "few"
    lines = certificate.read_bytes().splitlines(keepends=True)
    few.write_bytes(b"".join([*lines[:5], *lines[7:]]))
    assert run("certificate", few, "--policy", policy) == 1


def test_an_archive_of_another_ledger(world: World) -> None:
    assert run("archive", world.exports["US"], "--chain-id", "00" * 32) == 1
    assert run("archive", world.exports["US"], "--chain-id", "00") == 2
    assert run("archive", world.homes["US"]) == 2


def test_whom_to_trust_is_said_and_said_once(world: World, policy: Path, receipt: Path) -> None:
    """By the founders' policy or by the chain id, of which both lead to the same; never by the archive itself."""
    archive = world.exports["US"]
    pinned = chain_id(world.weave.founding.document).hex()
    assert run("archive", archive, "--policy", policy) == 0
    assert run("archive", archive, "--chain-id", pinned) == 0
    assert run("archive", archive) == 2
    assert run("archive", archive, "--chain-id", pinned, "--policy", policy) == 2
    assert run("receipt", receipt, "--chain-id", pinned) == 2
    data = policy.read_bytes()
    policy.write_bytes(data.replace(b"group states 4 ", b"group states 3 "))
    assert policy.read_bytes() != data
    assert run("archive", archive, "--policy", policy) == 1, "not the policy in the archive"
    policy.write_bytes(data + b"# the same, said otherwise\n")
    assert run("archive", archive, "--policy", policy) == 0


def test_no_flip_of_a_receipt_or_certificate_passes_or_breaks_it(
    receipt: Path, certificate: Path, policy: Path
) -> None:
    """A bit anywhere: refused, or of no meaning (an unknown line, unauthenticated spelling of nothing)."""
    draw = random.Random(SEED)
    for path, what in ((receipt, "receipt"), (certificate, "certificate")):
        data = path.read_bytes()
        passed = 0
        for _ in range(FLIPS):
            at = draw.randrange(len(data))
            path.write_bytes(flip(data, at, draw.randrange(8)))
            status = run(what, path, "--policy", policy)
            assert status in (0, 1, 2)
            # A line whose name or key ID is altered is a stranger's: five states signed, and four are enough.
            passed += status == 0
        path.write_bytes(data)
        assert passed < FLIPS // 4, what


def test_no_byte_of_what_a_manifest_covers_can_change(
    world: World, policy: Path, tmp_path: Path
) -> None:
    """Whatever manifests are brought into line with it, as far as structure and certificates reach; and never a trace."""
    archive = clone(world.exports["CN"], tmp_path / "archive")
    pinned = chain_id(world.weave.founding.document).hex()
    draw = random.Random(SEED)
    files = sorted(path for path in archive.rglob("*") if path.is_file())
    for number in range(FLIPS // 2):
        path = draw.choice(files)
        data = path.read_bytes()
        if not data:
            continue
        path.write_bytes(flip(data, draw.randrange(len(data)), draw.randrange(8)))
        status = run("archive", archive, "--chain-id", pinned)
        assert status in (1, 2), path
        assert run("archive", archive, "--policy", policy) in (1, 2), path
        if path.name != "manifest.json" and number % 3 == 0:
            before = {p: p.read_bytes() for p in files if p.name == "manifest.json"}
            reseal(archive)
            status = run("archive", archive, "--chain-id", pinned)
            tree = path.relative_to(archive).parts[0] in ("tile", "genesis.cbor")
            assert status in ((1, 2) if tree else (0, 1, 2)), path
            for manifest, held in before.items():
                manifest.write_bytes(held)
        path.write_bytes(data)
    assert run("archive", archive, "--chain-id", pinned) == 0


def test_files_lost_added_and_not_files(world: World, policy: Path, tmp_path: Path) -> None:
    archive = clone(world.exports["CN"], tmp_path / "archive")
    (archive / "more").write_bytes(b"")
    assert run("archive", archive, "--policy", policy) == 1
    (archive / "more").unlink()
    (archive / "policy").unlink()
    assert run("archive", archive, "--policy", policy) == 1
    (archive / "policy").symlink_to("/dev/zero")
    assert run("archive", archive, "--policy", policy) == 2


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"format":"foedus/evidence/1"}',
        b'{"format":"foedus/evidence/1","genesis":"AA=="}',
        b'{"format":"foedus/evidence/1","genesis":[]}',
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v1\nextra \nindex 1\n\n",
        b"a\n\n\xe2\x80\x94 a AAAAAAA=\n",
        b"log \xff+00+AA==\nquorum none\n",
        b"9" * 5000,
    ],
)
def test_garbage_is_no_trace(text: bytes, policy: Path, tmp_path: Path) -> None:
    path = tmp_path / "garbage"
    path.write_bytes(text)
    for what in ("receipt", "certificate", "evidence", "archive"):
        assert run(what, path, "--policy", policy) == 2
    assert run("certificate", policy, "--policy", path) == 2

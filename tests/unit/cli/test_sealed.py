"""`foedus seal`, `open` and `tip` as a whistleblower and the states that read it use them; the law takes what they write."""

import json
from pathlib import Path
from typing import Any

import pytest

from foedus.v1 import content_pb2 as pb
from node.cli.statements import content_bytes, parse_draft
from node.signing.keystore import KdfCost, write_sealing_key
from node.signing.sealing import SealingKey
from node.treaty.parsing import parse_content
from tests.unit.cli.conftest import Run, document_of
from tests.unit.treaty.court import CHAIN_ID, Court

TEXT = b"Chips of hall 3 are dummies.\n"
STATES = ("BR", "GB", "KE", "US")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sealing keys of four states, one passphrase, a text."""
    (tmp_path / "pass").write_text("correct horse\n")
    (tmp_path / "pass").chmod(0o600)
    for state in STATES:
        path = tmp_path / f"{state}.seal"
        cheap = KdfCost(ops=1, memory_bytes=8_192)
        write_sealing_key(path, state, SealingKey.generate(), b"correct horse", cost=cheap)
    (tmp_path / "saw.txt").write_bytes(TEXT)
    return tmp_path


def to(folder: Path, *states: str) -> list[str]:
    return [word for state in states for word in ("--to", f"{state}={folder / f'{state}.seal'}")]


def take_share(run: Run, folder: Path, document: str, state: str) -> Path:
    share = folder / f"{state}.share"
    keys, passphrase = folder / f"{state}.seal", folder / "pass"
    run(
        "open",
        "share",
        folder / document,
        "--keys",
        keys,
        "--passphrase-file",
        passphrase,
        "-o",
        share,
    )
    return share


def write_tip(run: Run, folder: Path) -> Any:
    words = [*to(folder, *STATES), "--decoy", "US", "--threshold", "2"]
    files = ["-o", folder / "tip.json", "--receipt", folder / "mine"]
    return document_of(run("tip", "write", folder / "saw.txt", *words, *files, "--json"))


def test_seal_and_open(run: Run, folder: Path) -> None:
    words = [*to(folder, "BR", "KE", "GB"), "--threshold", "2"]
    files = ["-o", folder / "doc", "--receipt", folder / "mine"]
    made = document_of(run("seal", folder / "saw.txt", *words, *files, "--json"))
    assert TEXT.strip() not in (folder / "doc").read_bytes()
    assert (folder / "mine").stat().st_mode & 0o077 == 0
    shares = [take_share(run, folder, "doc", state) for state in ("KE", "BR")]
    assert shares[0].stat().st_mode & 0o077 == 0
    run("open", "join", folder / "doc", *shares, "-o", folder / "out")
    assert (folder / "out").read_bytes() == TEXT
    run(
        "open", "join", folder / "doc", *shares, "-o", folder / "out", status=2
    )  # never overwritten
    run("open", "join", folder / "doc", shares[0], "-o", folder / "other", status=2)
    check = ["open", "check", folder / "saw.txt", "--receipt", folder / "mine"]
    run(*check, "--commitment", made["commitment"])
    run(*check, "--commitment", "00" * 32, status=1)
    (folder / "saw.txt").write_bytes(b"Something else.")
    assert not document_of(run(*check, "--json", status=1))["matches"]


@pytest.mark.measure("M25")
def test_a_tip_from_the_whistleblower_to_the_open_case(run: Run, folder: Path) -> None:
    """Sealed by somebody without a key, relayed by the accused's own state, opened by two others: the law takes each step."""
    made = write_tip(run, folder)
    court = Court()

    def say(author: str, path: Path, *by: str) -> str:
        draft = parse_draft(path.read_bytes())
        content = parse_content(content_bytes(draft, ledger=CHAIN_ID, author=author))
        assert content.confidentiality == (pb.CONFIDENTIALITY_SECRET if not by else 2)
        court.must(author, content.tip, by=by)
        return court.entries[-1].name

    name = say("US", folder / "tip.json")  # the accused relays it, and cannot know
    row = court.law.book.state.tips[name]
    assert (row.commitment.hex(), row.subject) == (made["commitment"], "")
    shares = [take_share(run, folder, "tip.json", state) for state in STATES]
    own = folder / "own.json"
    disclose = ["tip", "disclose", folder / "tip.json"]
    told = ["--report", name, "--subject", "US"]
    run(
        *disclose, shares[3], shares[0], *told, "-o", own, status=2
    )  # US has a decoy: it is no second reader
    run(*disclose, *shares, *told, "-o", folder / "open.json")
    assert json.loads((folder / "open.json").read_text())["body"]["text"] == TEXT.hex()
    say("BR", folder / "open.json", "KE")
    assert court.law.book.state.tips[name].subject == "US"


def test_nothing_names_the_author(run: Run, folder: Path) -> None:
    """Two tips of one hand share no field but their form; the receipt alone proves whose one is."""
    write_tip(run, folder)
    first = json.loads((folder / "tip.json").read_text())["body"]
    for name in ("tip.json", "mine"):
        (folder / name).unlink()
    write_tip(run, folder)
    second = json.loads((folder / "tip.json").read_text())["body"]
    assert set(first) == {"type", "commitment", "sealed", "threshold", "shares"}
    assert first["commitment"] != second["commitment"]
    assert not {share["box"] for share in first["shares"]} & {
        share["box"] for share in second["shares"]
    }


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no json", "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "want commitment, sealed"),
        (b'{"commitment": "zz", "sealed": "", "threshold": 1, "shares": []}', "not hex"),
        (b'{"commitment": "00", "sealed": "", "threshold": 1, "shares": [1]}', "a recipient and a box"),
    ],
)  # fmt: skip
def test_a_document_that_is_none(run: Run, folder: Path, content: bytes, why: str) -> None:
    (folder / "doc").write_bytes(content)
    keys = ["--keys", folder / "KE.seal", "--passphrase-file", folder / "pass", "-o", folder / "x"]
    assert why in run("open", "share", folder / "doc", *keys, status=2).stderr


def test_recipients_that_are_none(run: Run, folder: Path) -> None:
    rest = ["--threshold", "1", "-o", folder / "doc", "--receipt", folder / "mine"]
    for word, why in (("KE", "NAME=KEY"), ("KE=" + "00" * 32, "no X25519 key")):
        assert why in run("seal", folder / "saw.txt", "--to", word, *rest, status=2).stderr
    assert not (folder / "doc").exists()


def test_a_new_sealing_key(run: Run, folder: Path) -> None:
    made = [
        "keys",
        "new",
        folder / "cn.seal",
        "--party",
        "CN",
        "--passphrase-file",
        folder / "pass",
    ]
    run(*made, "--sealing", "--vote", status=2)
    shown = document_of(run(*made, "--sealing", "--json"))
    assert [key["role"] for key in shown["keys"]] == ["sealing"]
    run("keys", "check", folder / "cn.seal", "--passphrase-file", folder / "pass")

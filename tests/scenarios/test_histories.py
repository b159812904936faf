"""Histories of older laws replay to the same bytes: outcomes, records and state rows, for ever.

Each file of `histories` holds scenarios as they were when that law was the newest, and the SHA-256 of what they made.
The forms are frozen: new scenarios go into `law`. `python -m tests.scenarios.test_histories FILE...` makes a file for the
present law out of scenario files.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from node.ledger.records import NONCE_BYTES, encode_derived
from node.treaty.codes import Code
from node.treaty.derived import Derived
from node.treaty.genesis import LAW_VERSION, LAW_VERSIONS
from node.treaty.scenario import Scenario

FOLDER = Path(__file__).parent / "histories"
HISTORIES = [
    (version, history)
    for version in LAW_VERSIONS
    for history in (
        json.loads((FOLDER / f"law{version}.json").read_text(encoding="utf-8"))
        if (FOLDER / f"law{version}.json").exists()
        else ()
    )
]


class Recorded(Scenario):
    """A scenario that hashes whatever the law says and keeps."""

    def __init__(self, form: dict[str, Any]) -> None:
        super().__init__(form)
        self.digest = hashlib.sha256()

    def _keep(self, derived: tuple[object, ...]) -> None:
        super()._keep(derived)
        for value in derived:
            assert isinstance(value, Derived)
            self._hash(encode_derived(value, bytes(NONCE_BYTES)))
        for key, row in sorted(self.law.drain_changes().items()):
            self._hash(key)
            self._hash(b"gone" if row is None else row)

    def _submit(
        self, name: str, step: dict[str, Any], payload: dict[str, Any]
    ) -> tuple[Code | None, str]:
        code, why = super()._submit(name, step, payload)
        self._hash(f"{code or 'accepted'}".encode())
        return code, why

    def _hash(self, data: bytes) -> None:
        self.digest.update(len(data).to_bytes(4, "big") + data)


def digest_of(form: dict[str, Any]) -> str:
    scenario = Recorded(form)
    assert scenario.run() == []
    return scenario.digest.hexdigest()


@pytest.mark.parametrize(
    ("version", "history"),
    HISTORIES,
    ids=[f"law{version}-{history['form']['name']}" for version, history in HISTORIES],
)
@pytest.mark.measure("M02")
def test_a_history_of_an_older_law_replays_to_the_same_bytes(
    version: int, history: dict[str, Any]
) -> None:
    assert digest_of(history["form"] | {"law_version": version}) == history["sha256"]


def test_every_law_but_the_newest_has_kept_histories() -> None:
    assert {version for version, _ in HISTORIES} >= set(LAW_VERSIONS) - {LAW_VERSION}


def main(files: list[str]) -> None:
    forms = [form for file in files for form in json.loads(Path(file).read_text(encoding="utf-8"))]
    histories = [{"sha256": digest_of(form), "form": form} for form in forms]
    print("[\n" + ",\n".join(json.dumps(item) for item in histories) + "\n]")


if __name__ == "__main__":
    main(sys.argv[1:])
